//! How long answers take: the share of answers that were there within a time.

use std::fmt::Write as _;

use super::super::super::{Contestant, Unit};
use super::super::Context;
use super::super::page::{Page, Part};
use super::super::table::{Cell, Column, table};
use super::scale::Scale;
use super::{Anchor, details, figure, label, line, mark, series, svg};

/// The most steps of a line.
const MAX_STEPS: usize = 200;
/// Where the longest time is so many times the shortest, the scale multiplies.
const LOGARITHMIC_FROM: f64 = 30.0;
const TOP: usize = 20;
const HEIGHT: usize = 220;

/// The times of one way, sorted.
struct Times<'a> {
    name: &'a str,
    place: usize,
    seconds: Vec<f64>,
}

fn times(contestant: &Contestant, place: usize) -> Option<Times<'_>> {
    let mut seconds: Vec<f64> = contestant.results.results.iter().filter_map(|row| row.time_seconds).collect();
    seconds.sort_by(f64::total_cmp);
    (!seconds.is_empty()).then_some(Times { name: &contestant.name, place, seconds })
}

/// The figure and its table.
pub(in super::super) fn write(context: &Context<'_>, page: &mut Page<'_>) {
    let words = context.words;
    let all: Vec<Times<'_>> = context.contestants.iter().enumerate().filter_map(|(place, one)| times(one, place)).collect();
    let ends = all.iter().flat_map(|times| [times.seconds[0], times.seconds[times.seconds.len() - 1]]);
    let (shortest, longest) = ends.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let is_logarithmic = shortest > 0.0 && longest > LOGARITHMIC_FROM * shortest;
    let scale = if is_logarithmic { Scale::logarithmic(shortest, longest) } else { Scale::linear(0.0, longest) };
    let note = [words.times_marks, " ", if is_logarithmic { words.times_scale } else { "" }].concat();
    figure(
        context,
        page,
        "times-figure",
        (words.times_figure, &[], note.trim_end()),
        |page| write_legend(page, &all),
        |page, id| svg(page, id, TOP + HEIGHT + 40, |page| draw(context, page, &scale, &all)),
        |page| details(context, page, |page| figures(context, page, &all)),
    );
}

fn write_legend(page: &mut Page<'_>, all: &[Times<'_>]) {
    page.raw("<ul class=\"legend\">");
    for times in all {
        page.raw("<li><svg class=\"swatch\" width=\"40\" height=\"14\" aria-hidden=\"true\" focusable=\"false\">");
        let class = format!("curve line-{}", series(times.place));
        page.empty("line", &[("class", &class), ("x1", &0), ("y1", &7), ("x2", &40), ("y2", &7)]);
        mark(page, 50.0, 7, times.place);
        page.raw("</svg> ");
        page.name(times.name);
        page.raw("</li>");
    }
    page.raw("</ul>\n");
}

fn draw(context: &Context<'_>, page: &mut Page<'_>, scale: &Scale, all: &[Times<'_>]) {
    let (words, language) = (context.words, context.words.language);
    let y_of = |share: f64| TOP + (HEIGHT as f64 * (1.0 - share)) as usize;
    for (value, text) in scale.ticks(5, language) {
        let x = scale.place(value);
        line(page, "grid", (x, TOP), (x, TOP + HEIGHT));
        label(page, "tick", x, TOP + HEIGHT + 18, Anchor::Middle, &text);
    }
    label(page, "tick", 100.0, TOP + HEIGHT + 36, Anchor::End, words.seconds);
    for share in [0.0, 0.5, 0.95] {
        line(page, if share == 0.0 { "zero" } else { "grid" }, (0.0, y_of(share)), (100.0, y_of(share)));
        if share > 0.0 {
            let text = format!("{} {}", language.number(&format!("{:.0} %", 100.0 * share)), words.share_answered);
            label(page, "tick", 0.0, y_of(share) - 4, Anchor::Start, &text);
        }
    }
    for times in all {
        let class = format!("curve line-{}", series(times.place));
        page.open(
            "svg",
            &[
                ("class", &"at"),
                ("x", &0),
                ("y", &TOP),
                ("width", &"100%"),
                ("height", &HEIGHT),
                ("viewBox", &"0 0 100 100"),
                ("preserveAspectRatio", &"none"),
            ],
        );
        page.empty("path", &[("class", &class), ("d", &steps(scale, &times.seconds))]);
        page.raw("</svg>");
    }
    for (times, cost) in all.iter().filter_map(|times| Some((times, &context.comparison.arms.get(times.place)?.cost))) {
        for (seconds, share) in [(cost.median_seconds, 0.5), (cost.p95_seconds, 0.95)] {
            if let Some(seconds) = seconds {
                mark(page, scale.place(seconds), y_of(share), times.place);
            }
        }
    }
}

/// The distribution function as a line of steps, in percent of the width and of the height.
fn steps(scale: &Scale, sorted: &[f64]) -> String {
    let n = sorted.len();
    let n_steps = n.min(MAX_STEPS);
    let mut path = format!("M{:.2} 100", scale.place(sorted[0]));
    for step in 1..=n_steps {
        // So many answers were there by the time of the last of them.
        let n_there = step * n / n_steps;
        // Writing to a String does not fail.
        let _ = write!(path, "H{:.2}V{:.2}", scale.place(sorted[n_there - 1]), 100.0 - 100.0 * n_there as f64 / n as f64);
    }
    path.push_str("H100");
    path
}

fn figures(context: &Context<'_>, page: &mut Page<'_>, all: &[Times<'_>]) {
    let (words, language) = (context.words, context.words.language);
    let columns = [
        Column::Text(words.file),
        Column::Number(words.n),
        Column::Number(words.smallest),
        Column::Number(words.time_median),
        Column::Number(words.time_p95),
        Column::Number(words.largest),
    ];
    let rows = all.iter().map(|times| {
        let cost = context.comparison.arms.get(times.place).map(|arm| &arm.cost);
        let value = |value: Option<f64>| Cell::Number(value.map_or_else(|| "–".to_owned(), |value| language.value(Unit::Seconds, value)));
        vec![
            Cell::Name(times.name),
            Cell::Number(language.len(times.seconds.len())),
            value(times.seconds.first().copied()),
            value(cost.and_then(|cost| cost.median_seconds)),
            value(cost.and_then(|cost| cost.p95_seconds)),
            value(times.seconds.last().copied()),
        ]
    });
    let caption: (&str, &[Part<'_>]) = (words.times, &[]);
    table(context, page, "times-table", caption, &columns, rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_at_the_top() {
        let path = steps(&Scale::linear(0.0, 4.0), &[1.0, 2.0, 2.0, 4.0]);
        assert_eq!(path, "M26.00 100H26.00V75.00H50.00V50.00H50.00V25.00H98.00V0.00H100");
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let path = steps(&Scale::linear(0.0, 1e4), &many);
        assert!(path.matches('V').count() == MAX_STEPS && path.ends_with("V0.00H100"), "{path}");
    }
}
