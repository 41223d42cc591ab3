//! What a reader takes away: one statement for each pair; and who was compared.

use std::fmt::Write as _;

use super::super::{Comparison, MetricComparison, Pair, Unit, Verdict};
use super::page::{Page, Part};
use super::table::{Cell, Column, table};
use super::{Context, charts};

/// One statement for each pair, about the primary metric.
pub(super) fn headlines(context: &Context<'_>, page: &mut Page<'_>) {
    let words = context.words;
    page.raw("<ul class=\"headlines\">\n");
    for pair in &context.comparison.pairs {
        headline(context, page, pair);
    }
    page.raw("</ul>\n");
    side_by_side(context, page);
    let n_notes = context.comparison.notes.len();
    if n_notes > 0 {
        page.raw("<p class=\"note\">");
        page.open("a", &[("href", &format!("#{}", context.id("notes")))]);
        page.sentence(words.see_notes, &[Part::Text(words.language.len(n_notes))]);
        page.raw("</a></p>\n");
    }
}

/// What every way scores: a row a metric, a column each.
fn side_by_side(context: &Context<'_>, page: &mut Page<'_>) {
    let (words, language, comparison) = (context.words, context.words.language, context.comparison);
    let columns: Vec<Column<'_>> =
        std::iter::once(Column::Text(words.metric)).chain(comparison.arms.iter().map(|arm| Column::Arm(&arm.name))).collect();
    let rows: Vec<Vec<Cell<'_>>> = comparison
        .side_by_side()
        .into_iter()
        .map(|figure| {
            let mut label = words.metric_label(figure.metric).to_owned();
            if let Some(n) = figure.n_having.filter(|_| figure.taught.is_none()) {
                let _ = write!(label, " ({} questions)", language.len(n));
            }
            if let Some((taught, n)) = figure.taught {
                let taught = words.taught.iter().find(|(one, _)| *one == taught).map_or(taught.words(), |(_, words)| words);
                let _ = write!(label, " · {}", words.fill(words.group, &[&language.len(n), taught]));
            }
            if let Some(trained) = figure.trained {
                let _ = write!(label, " ({})", trained.join(", "));
            }
            let value = |mean: &Option<f64>| mean.map_or_else(|| "–".to_owned(), |mean| language.value(figure.unit, mean));
            std::iter::once(Cell::Text(label)).chain(figure.means.iter().map(|mean| Cell::Number(value(mean)))).collect()
        })
        .collect();
    if !rows.is_empty() {
        table(context, page, "side-by-side", (words.side_by_side_caption, &[]), &columns, rows.into_iter());
    }
}

fn headline(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair) {
    let (words, language) = (context.words, context.words.language);
    let primary = context.comparison.primary(pair);
    let winner = primary.and_then(|primary| primary.winner.as_deref());
    let class = winner.map_or_else(|| "undecided".to_owned(), |winner| format!("decided series-{}", charts::series(context.place(winner))));
    page.open("li", &[("class", &class)]);
    let names = [Part::Name(&pair.first), Part::Name(&pair.second)];
    let (template, names) = match (primary, winner) {
        (None, _) if pair.set_figures.is_empty() => (words.nothing_shared, names),
        (None, _) => (words.only_set_figures, names),
        (Some(_), Some(winner)) => {
            let loser = if *winner == *pair.first { &pair.second } else { &pair.first };
            (words.better, [Part::Name(winner), Part::Name(loser)])
        }
        (Some(primary), None) if primary.verdict == Verdict::Tie => (words.equal, names),
        (Some(_), None) => (words.undecided, names),
    };
    page.raw("<strong>");
    page.sentence(template, &names);
    page.raw("</strong>");
    let Some(primary) = primary else {
        page.raw("</li>\n");
        return;
    };
    page.raw("<p>");
    write_figures(context, page, pair, primary);
    if primary.verdict == Verdict::NoDifferenceShown
        && let Some(smallest) = primary.difference.smallest_detectable
    {
        page.raw(" ");
        page.sentence(words.undecided_from, &[Part::Text(language.amount(primary.unit, smallest))]);
    }
    page.raw("</p></li>\n");
}

/// Values, difference and interval: in the winner's favour where there is one, else of the second less the first.
fn write_figures(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, primary: &MetricComparison) {
    let (words, language, unit) = (context.words, context.words.language, primary.unit);
    let winner = primary.winner.as_deref();
    let is_second = winner.is_some_and(|winner| *winner == *pair.second);
    let (a, b) = if is_second { (primary.second_mean, primary.first_mean) } else { (primary.first_mean, primary.second_mean) };
    let label = words.metric_label(&primary.metric).to_owned();
    let values = [label, language.value(unit, a), language.value(unit, b)];
    let Some(interval) = primary.difference.interval else {
        return page.sentence(words.without_interval, &values.map(Part::Text));
    };
    let signed = |value: f64| language.signed(unit, value);
    let difference = format!("{}{}", signed(primary.difference.mean), language.difference_unit(unit));
    let (template, difference, ends) = match winner {
        Some(_) => {
            let (a, b) = (interval.low.abs(), interval.high.abs());
            let ends = [a.min(b), a.max(b)].map(|end| signed(end).trim_start_matches('+').to_owned());
            (words.margin, language.amount(unit, primary.difference.mean), ends)
        }
        None => (words.with_interval, difference, [signed(interval.low), signed(interval.high)]),
    };
    let [low, high] = ends;
    let n = language.len(primary.difference.n_observations);
    let more = [difference, context.confidence(), low, high, language.p_value(primary.p_adjusted), n];
    let texts = values.into_iter().chain(more).map(Part::Text);
    page.sentence(template, &texts.chain([Part::Name(&pair.second), Part::Name(&pair.first)]).collect::<Vec<_>>());
}

/// Who was compared: a row a property, a column each.
pub(super) fn arms(context: &Context<'_>, page: &mut Page<'_>) {
    let (words, language) = (context.words, context.words.language);
    let comparison: &Comparison = context.comparison;
    let columns: Vec<Column<'_>> =
        std::iter::once(Column::Text(words.property)).chain(comparison.arms.iter().map(|arm| Column::Arm(&arm.name))).collect();
    let mut rows: Vec<Vec<Cell<'static>>> = Vec::new();
    let mut row = |title: &str, values: Vec<Option<Cell<'static>>>| {
        if values.iter().any(Option::is_some) {
            let cells = values.into_iter().map(|value| value.unwrap_or_else(|| Cell::Number("–".to_owned())));
            rows.push(std::iter::once(Cell::Text(title.to_owned())).chain(cells).collect());
        }
    };
    let of = |value: &dyn Fn(&super::super::ArmSummary) -> Option<Cell<'static>>| comparison.arms.iter().map(value).collect::<Vec<_>>();
    row(words.kind, of(&|arm| arm.arm.map(|kind| Cell::Value(words.kind_of(kind).to_owned()))));
    row(words.model, of(&|arm| arm.model.clone().map(Cell::Value)));
    row(words.base_model, of(&|arm| arm.base_model.clone().map(Cell::Value)));
    row(words.rows, of(&|arm| Some(Cell::Number(language.len(arm.n_rows)))));
    row(words.failed, of(&|arm| Some(Cell::Number(language.len(arm.n_failed)))));
    let seconds = |value: Option<f64>| value.map(|value| Cell::Number(language.value(Unit::Seconds, value)));
    let tokens = |value: Option<f64>| value.map(|value| Cell::Number(language.value(Unit::Tokens, value)));
    row(words.time_mean, of(&|arm| seconds(arm.cost.mean_seconds)));
    row(words.time_median, of(&|arm| seconds(arm.cost.median_seconds)));
    row(words.time_p95, of(&|arm| seconds(arm.cost.p95_seconds)));
    row(words.tokens_mean, of(&|arm| tokens(arm.cost.mean_tokens)));
    row(words.tokens_in, of(&|arm| tokens(arm.cost.mean_tokens_in)));
    row(words.tokens_out, of(&|arm| tokens(arm.cost.mean_tokens_out)));
    let gigabytes = |bytes: u64| words.fill(words.gigabytes, &[&language.number(&format!("{:.2}", bytes as f64 / 1e9))]);
    row(words.memory, of(&|arm| arm.cost.peak_memory_bytes.map(|bytes| Cell::Number(gigabytes(bytes)))));
    row(words.training, of(&|arm| seconds(arm.cost.training_seconds)));
    table(context, page, "arms-table", (words.arms_caption, &[]), &columns, rows.into_iter());
    for pair in &comparison.pairs {
        if let Some(payback) = &pair.payback {
            let other = if payback.arm == pair.first { &pair.second } else { &pair.first };
            page.raw("<p>");
            page.sentence(
                words.payback,
                &[
                    Part::Name(&payback.arm),
                    Part::Text(language.value(Unit::Seconds, payback.training_seconds)),
                    Part::Text(language.count(payback.n_questions as u64)),
                    Part::Text(language.value(Unit::Seconds, payback.saved_seconds_per_question)),
                    Part::Name(other),
                ],
            );
            page.raw("</p>\n");
        }
    }
}
