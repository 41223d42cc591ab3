//! Two ways at a time: intervals, who answered which questions better, categories, and cost.

use super::super::{MetricComparison, Pair, Unit};
use super::page::{Page, Part};
use super::table::{Cell, Column, table};
use super::{Context, charts};

/// All pairs.
pub(super) fn write(context: &Context<'_>, page: &mut Page<'_>) {
    for (number, pair) in context.comparison.pairs.iter().enumerate() {
        page.raw("<h3>");
        page.sentence(context.words.against, &names(pair));
        page.raw("</h3>\n");
        write_pair(context, page, pair, number);
    }
}

pub(super) fn names(pair: &Pair) -> [Part<'_>; 2] {
    [Part::Name(&pair.first), Part::Name(&pair.second)]
}

fn write_pair(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, number: usize) {
    let words = context.words;
    if !pair.metrics.is_empty() {
        metrics(context, page, &format!("quality-{number}"), words.quality_caption, pair, &pair.metrics);
        page.raw("<div class=\"figures\">\n");
        charts::intervals::write(context, page, pair, number);
        charts::wins::write(context, page, pair, number);
        if let Some(primary) = context.comparison.primary(pair).filter(|primary| !primary.categories.is_empty()) {
            charts::categories::write(context, page, pair, primary, number);
        }
        page.raw("</div>\n");
    }
    if !pair.corpus.is_empty() {
        corpus(context, page, pair, number);
    }
    if !pair.cost.is_empty() {
        metrics(context, page, &format!("cost-{number}"), words.cost_caption, pair, &pair.cost);
    }
    if !pair.set_figures.is_empty() {
        let columns = [Column::Text(words.metric), Column::Arm(&pair.first), Column::Arm(&pair.second), Column::Text(words.outcome)];
        let value = |value: f64| Cell::Number(words.language.value(Unit::Number, value));
        let rows = pair.set_figures.iter().map(|figure| {
            let outcome = Cell::Outcome(words.verdict(figure.verdict, None), None);
            vec![Cell::Metric(&figure.metric), value(figure.first), value(figure.second), outcome]
        });
        table(context, page, &format!("set-{number}"), (words.set_caption, &names(pair)), &columns, rows);
    }
}

pub(super) fn metrics(context: &Context<'_>, page: &mut Page<'_>, name: &str, caption: &str, pair: &Pair, metrics: &[MetricComparison]) {
    let (words, language) = (context.words, context.words.language);
    let difference = words.fill(words.difference, &[&context.confidence()]);
    let columns = [
        Column::Text(words.metric),
        Column::Number(words.n),
        Column::Arm(&pair.first),
        Column::Arm(&pair.second),
        Column::Number(&difference),
        Column::Number(words.p_adjusted),
        Column::Number(words.better_on),
        Column::Text(words.outcome),
    ];
    let rows = metrics.iter().map(|metric| {
        let wins = [metric.wins.first, metric.wins.second, metric.wins.ties].map(|n| language.len(n));
        vec![
            Cell::Metric(&metric.metric),
            Cell::Number(language.len(metric.difference.n_observations)),
            Cell::Number(language.value(metric.unit, metric.first_mean)),
            Cell::Number(language.value(metric.unit, metric.second_mean)),
            Cell::Number(language.difference(metric)),
            Cell::Number(language.p_value(metric.p_adjusted)),
            Cell::Number(words.fill(words.wins_counts, &[&wins[0], &wins[1], &wins[2]])),
            outcome(context, metric),
        ]
    });
    table(context, page, name, (caption, &names(pair)), &columns, rows);
}

/// Scores that are no means of single answers.
fn corpus(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, number: usize) {
    let (words, language) = (context.words, context.words.language);
    let difference = words.fill(words.difference, &[&context.confidence()]);
    let columns = [
        Column::Text(words.metric),
        Column::Number(words.n),
        Column::Arm(&pair.first),
        Column::Arm(&pair.second),
        Column::Number(&difference),
        Column::Number(words.p_adjusted),
        Column::Text(words.outcome),
    ];
    let rows = pair.corpus.iter().map(|score| {
        let winner = score.winner.as_deref();
        vec![
            Cell::Metric(&score.metric),
            Cell::Number(language.len(score.n_questions)),
            Cell::Number(language.value(Unit::Number, score.first)),
            Cell::Number(language.value(Unit::Number, score.second)),
            Cell::Number(language.signed_with_interval(Unit::Number, score.difference, score.interval)),
            Cell::Number(language.p_value(score.p_adjusted)),
            Cell::Outcome(words.verdict(score.verdict, winner), winner.map(|winner| context.place(winner))),
        ]
    });
    table(context, page, &format!("corpus-{number}"), (words.corpus_caption, &names(pair)), &columns, rows);
}

/// The outcome of a metric; of one that is better when lower, the words say so.
fn outcome<'a>(context: &Context<'_>, metric: &MetricComparison) -> Cell<'a> {
    let winner = metric.winner.as_deref();
    let verdict = context.words.verdict(metric.verdict, winner);
    Cell::Outcome(verdict, winner.map(|winner| context.place(winner)))
}
