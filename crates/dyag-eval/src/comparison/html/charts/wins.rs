//! Bars of counts that add up: who answered how many questions better, and where wrong answers come from.

use super::super::super::Pair;
use super::super::Context;
use super::super::page::{Page, Part, Percent};
use super::super::table::{Cell, Column, table};
use super::{Anchor, Fill, Segment, details, figure, label, legend, short, svg};

/// A bar and its name.
pub(in super::super) struct Bar {
    pub(in super::super) name: String,
    pub(in super::super) segments: Vec<Segment>,
}

const ROW: usize = 54;

/// Questions that the first answered better, that are equal, and that the second answered better, for each metric.
pub(in super::super) fn write(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, number: usize) {
    let (words, language) = (context.words, context.words.language);
    let places = [context.place(&pair.first), context.place(&pair.second)];
    let bars: Vec<Bar> = pair
        .metrics
        .iter()
        .map(|metric| {
            let segments = vec![
                Segment { n: metric.wins.first, fill: Fill::Series(places[0]) },
                Segment { n: metric.wins.ties, fill: Fill::Neutral },
                Segment { n: metric.wins.second, fill: Fill::Series(places[1]) },
            ];
            Bar { name: words.metric_label(&metric.metric).to_owned(), segments }
        })
        .collect();
    let names = [&pair.first, &pair.second];
    let titles = names.map(|name| words.fill(words.better_questions, &[name]));
    let parts = || names.map(|name| Part::Name(name));
    let name = format!("wins-{number}");
    figure(
        context,
        page,
        &name,
        (words.wins_figure, &parts(), ""),
        |page| {
            let fills = [Fill::Series(places[0]), Fill::Neutral, Fill::Series(places[1])];
            legend(page, fills.into_iter().zip([titles[0].clone(), words.equal_questions.to_owned(), titles[1].clone()]));
        },
        |page, id| draw(context, page, id, &bars),
        |page| {
            details(context, page, |page| {
                let columns = [
                    Column::Text(words.metric),
                    Column::Number(&titles[0]),
                    Column::Number(words.equal_questions),
                    Column::Number(&titles[1]),
                ];
                let rows = pair.metrics.iter().map(|metric| {
                    let counts = [metric.wins.first, metric.wins.ties, metric.wins.second].map(|n| Cell::Number(language.len(n)));
                    std::iter::once(Cell::Metric(&metric.metric)).chain(counts).collect()
                });
                table(context, page, &format!("{name}-table"), (words.wins_figure, &parts()), &columns, rows);
            });
        },
    );
}

/// Bars of the same length, whatever their sum; the counts stand above each.
pub(in super::super) fn draw(context: &Context<'_>, page: &mut Page<'_>, caption: &str, bars: &[Bar]) {
    let language = context.words.language;
    svg(page, caption, ROW * bars.len(), |page| {
        for (row, bar) in bars.iter().enumerate() {
            let top = ROW * row;
            label(page, "strong", 0.0, top + 16, Anchor::Start, &short(&bar.name, 36));
            let sum = bar.segments.iter().map(|segment| segment.n).sum::<usize>();
            let counts: Vec<String> = bar.segments.iter().map(|segment| language.len(segment.n)).collect();
            label(page, "small", 100.0, top + 16, Anchor::End, &counts.join("\u{A0}/\u{A0}"));
            let mut x = 0.0;
            for segment in bar.segments.iter().filter(|segment| segment.n > 0) {
                let width = 100.0 * segment.n as f64 / sum as f64;
                let (start, width) = (Percent(x), Percent(width));
                page.empty(
                    "rect",
                    &[
                        ("class", &"segment"),
                        ("x", &start),
                        ("y", &(top + 24)),
                        ("width", &width),
                        ("height", &18),
                        ("fill", &segment.fill.url()),
                    ],
                );
                x += width.0;
            }
        }
    });
}
