//! Means of the primary metric by category, two bars each.

use super::super::super::{CategoryWins, MetricComparison, Pair, Unit};
use super::super::Context;
use super::super::page::{Page, Part, Percent};
use super::super::table::{Cell, Column, table};
use super::{Anchor, Fill, at, details, figure, label, legend, short, svg};

/// So many categories are drawn; the table has all.
const MAX_DRAWN: usize = 24;
const ROW: usize = 66;
/// The longest bar, in percent of the width; the rest is for its number.
const LONGEST: f64 = 84.0;

fn n_questions(one: &CategoryWins) -> usize {
    one.wins.first + one.wins.second + one.wins.ties
}

/// The figure and its table.
pub(in super::super) fn write(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, primary: &MetricComparison, number: usize) {
    let words = context.words;
    let names = [&pair.first, &pair.second];
    let mut drawn: Vec<&CategoryWins> = primary.categories.iter().collect();
    if drawn.len() > MAX_DRAWN {
        drawn.sort_by(|a, b| n_questions(b).cmp(&n_questions(a)).then_with(|| a.category.cmp(&b.category)));
        drawn.truncate(MAX_DRAWN);
    }
    let label = words.metric_label(&primary.metric).to_owned();
    let parts = || [Part::Name(names[0]), Part::Name(names[1]), Part::Text(label.clone())];
    let name = format!("categories-{number}");
    figure(
        context,
        page,
        &name,
        (words.categories_figure, &parts(), words.categories_note),
        |page| legend(page, names.into_iter().map(|name| (Fill::Series(context.place(name)), name.clone()))),
        |page, id| svg(page, id, ROW * drawn.len(), |page| draw(context, page, pair, primary, &drawn)),
        |page| {
            if drawn.len() < primary.categories.len() {
                let counts = [drawn.len(), primary.categories.len()].map(|n| words.language.len(n));
                page.element("p", &[("class", &"quiet")], words.fill(words.categories_left, &[&counts[0], &counts[1]]));
            }
            details(context, page, |page| {
                figures(context, page, &format!("{name}-table"), (words.categories_figure, &parts()), pair, primary)
            });
        },
    );
}

fn draw(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, primary: &MetricComparison, drawn: &[&CategoryWins]) {
    let language = context.words.language;
    let largest = drawn.iter().flat_map(|one| [one.first_mean, one.second_mean]).fold(0.0, f64::max);
    // A share is part of a whole, which the longest bar stands for.
    let whole = if primary.unit == Unit::Share { 1.0 } else { largest };
    for (row, one) in drawn.iter().enumerate() {
        let top = ROW * row;
        label(page, "strong", 0.0, top + 16, Anchor::Start, &short(&one.category, 36));
        label(page, "small", 100.0, top + 16, Anchor::End, &format!("n\u{A0}=\u{A0}{}", language.len(n_questions(one))));
        for (bar, (name, value)) in [(&pair.first, one.first_mean), (&pair.second, one.second_mean)].into_iter().enumerate() {
            let y = top + 22 + 18 * bar;
            let width = if whole > 0.0 { LONGEST * (value / whole).clamp(0.0, 1.0) } else { 0.0 };
            let fill = Fill::Series(context.place(name)).url();
            page.empty(
                "rect",
                &[("class", &"segment"), ("x", &0), ("y", &y), ("width", &Percent(width)), ("height", &15), ("fill", &fill)],
            );
            at(page, width, y + 12, |page| page.element("text", &[("class", &"small"), ("x", &6)], language.value(primary.unit, value)));
        }
        super::line(page, "zero", (0.0, top + 21), (0.0, top + 56));
    }
}

fn figures(context: &Context<'_>, page: &mut Page<'_>, name: &str, caption: (&str, &[Part<'_>]), pair: &Pair, primary: &MetricComparison) {
    let (words, language) = (context.words, context.words.language);
    let titles = [&pair.first, &pair.second].map(|name| words.fill(words.better_questions, &[name]));
    let columns = [
        Column::Text(words.category),
        Column::Number(words.n),
        Column::Arm(&pair.first),
        Column::Arm(&pair.second),
        Column::Number(&titles[0]),
        Column::Number(&titles[1]),
        Column::Number(words.equal_questions),
    ];
    let rows = primary.categories.iter().map(|one| {
        let means = [one.first_mean, one.second_mean].map(|mean| Cell::Number(language.value(primary.unit, mean)));
        let wins = [one.wins.first, one.wins.second, one.wins.ties].map(|n| Cell::Number(language.len(n)));
        let n = Cell::Number(language.len(n_questions(one)));
        [Cell::Name(&one.category), n].into_iter().chain(means).chain(wins).collect()
    });
    table(context, page, name, caption, &columns, rows);
}
