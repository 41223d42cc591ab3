//! Differences with their intervals, a line at zero, and what can be said.

use super::super::super::{MetricComparison, Pair, Unit};
use super::super::Context;
use super::super::page::{Page, Part, Percent};
use super::super::table::{Cell, Column, table};
use super::scale::Scale;
use super::{Anchor, at, details, figure, label, line, short, svg};

/// The height of a metric, of what stands above all of them, and below.
const ROW: usize = 68;
const ABOVE: usize = 26;
const BELOW: usize = 24;

/// A figure for each unit that metrics are counted in.
pub(in super::super) fn write(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, number: usize) {
    let mut is_first = true;
    for unit in [Unit::Share, Unit::Number, Unit::Seconds, Unit::Tokens] {
        let metrics: Vec<&MetricComparison> = pair.metrics.iter().filter(|metric| metric.unit == unit).collect();
        if !metrics.is_empty() {
            // How to read them is said once.
            let note = if is_first { context.words.intervals_note } else { "" };
            is_first = false;
            write_unit(context, page, (pair, number), unit, &metrics, note);
        }
    }
}

fn write_unit(
    context: &Context<'_>,
    page: &mut Page<'_>,
    (pair, number): (&Pair, usize),
    unit: Unit,
    metrics: &[&MetricComparison],
    note: &str,
) {
    let words = context.words;
    let counted = words.language.difference_unit(unit).trim_start();
    let counted = if counted.is_empty() { words.units } else { counted };
    let parts = [Part::Name(&pair.first), Part::Name(&pair.second), Part::Text(context.confidence()), Part::Text(counted.to_owned())];
    let name = format!("intervals-{number}-{}", unit as u8);
    figure(
        context,
        page,
        &name,
        (words.intervals_figure, &parts, note),
        |_| {},
        |page, id| svg(page, id, ABOVE + ROW * metrics.len() + BELOW, |page| draw(context, page, pair, unit, metrics)),
        |page| details(context, page, |page| figures(context, page, &name, (words.intervals_figure, &parts), metrics)),
    );
}

/// Differences as they are shown.
fn shown(unit: Unit, difference: f64) -> f64 {
    if unit == Unit::Share { 100.0 * difference } else { difference }
}

fn draw(context: &Context<'_>, page: &mut Page<'_>, pair: &Pair, unit: Unit, metrics: &[&MetricComparison]) {
    let (words, language) = (context.words, context.words.language);
    let ends = |metric: &&MetricComparison| {
        let interval = metric.difference.interval.map_or([metric.difference.mean; 2], |interval| [interval.low, interval.high]);
        [interval[0], interval[1], metric.difference.mean, 0.0].map(|value| shown(unit, value))
    };
    let all: Vec<f64> = metrics.iter().flat_map(ends).collect();
    let limit = |value: f64| if unit == Unit::Share { value.clamp(-100.0, 100.0) } else { value };
    let low = limit(all.iter().copied().fold(f64::INFINITY, f64::min));
    let high = limit(all.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let room = 0.05 * (high - low);
    let scale = Scale::linear(limit(low - room), limit(high + room));
    let bottom = ABOVE + ROW * metrics.len();
    for (value, text) in scale.ticks(5, language) {
        let x = scale.place(value);
        line(page, "grid", (x, ABOVE), (x, bottom));
        label(page, "tick", x, bottom + 16, Anchor::Middle, &text);
    }
    let zero = scale.place(0.0);
    line(page, "zero", (zero, ABOVE), (zero, bottom));
    // Which side is whose can be said once only where all agree.
    if metrics.iter().all(|metric| metric.higher_is_better == metrics[0].higher_is_better) {
        let (left, right) = if metrics[0].higher_is_better { (&pair.first, &pair.second) } else { (&pair.second, &pair.first) };
        let text = |name: &str| words.fill(words.favours, &[&short(name, 14)]);
        label(page, "quiet", 0.0, 14, Anchor::Start, &format!("← {}", text(left)));
        label(page, "quiet", 100.0, 14, Anchor::End, &format!("{} →", text(right)));
    }
    for (row, metric) in metrics.iter().enumerate() {
        draw_metric(context, page, ABOVE + ROW * row, &scale, metric);
    }
}

fn draw_metric(context: &Context<'_>, page: &mut Page<'_>, top: usize, scale: &Scale, metric: &MetricComparison) {
    let (words, unit) = (context.words, metric.unit);
    let mut name = short(words.metric_label(&metric.metric), 40);
    if !metric.higher_is_better {
        name = format!("{name} ({})", words.lower_is_better);
    }
    label(page, "strong", 0.0, top + 18, Anchor::Start, &name);
    let winner = metric.winner.as_deref();
    let y = top + 34;
    let class = winner
        .map_or_else(|| "interval neutral-line".to_owned(), |winner| format!("interval line-{}", super::series(context.place(winner))));
    if let Some(interval) = metric.difference.interval {
        let (from, to) = (scale.place(shown(unit, interval.low)), scale.place(shown(unit, interval.high)));
        line(page, &class, (from, y), (to, y));
        line(page, &class, (from, y - 5), (from, y + 5));
        line(page, &class, (to, y - 5), (to, y + 5));
    }
    let x = scale.place(shown(unit, metric.difference.mean));
    match winner {
        // A diamond for every winner: the shape says that one is shown.
        Some(winner) => {
            let class = format!("mark series-{}", super::series(context.place(winner)));
            at(page, x, y, |page| page.empty("path", &[("class", &class), ("d", &"M-8 0L0 -8L8 0L0 8Z")]));
        }
        None => page.empty("circle", &[("class", &"ring"), ("cx", &Percent(x)), ("cy", &y), ("r", &6)]),
    }
    let verdict = words.verdict(metric.verdict, winner.map(|winner| short(winner, 16)).as_deref());
    label(page, "small", 0.0, top + 58, Anchor::Start, &words.language.bare_difference(metric));
    label(page, "small verdict", 100.0, top + 58, Anchor::End, &verdict);
}

fn figures(context: &Context<'_>, page: &mut Page<'_>, name: &str, caption: (&str, &[Part<'_>]), metrics: &[&MetricComparison]) {
    let (words, language) = (context.words, context.words.language);
    let columns = [
        Column::Text(words.metric),
        Column::Number(words.difference_alone),
        Column::Number(words.low),
        Column::Number(words.high),
        Column::Text(words.outcome),
    ];
    let rows = metrics.iter().map(|metric| {
        let end = |value: Option<f64>| Cell::Number(value.map_or_else(|| "–".to_owned(), |value| language.signed(metric.unit, value)));
        let interval = metric.difference.interval;
        let winner = metric.winner.as_deref();
        vec![
            Cell::Metric(&metric.metric),
            end(Some(metric.difference.mean)),
            end(interval.map(|interval| interval.low)),
            end(interval.map(|interval| interval.high)),
            Cell::Outcome(words.verdict(metric.verdict, winner), winner.map(|winner| context.place(winner))),
        ]
    });
    table(context, page, &format!("{name}-table"), caption, &columns, rows);
}
