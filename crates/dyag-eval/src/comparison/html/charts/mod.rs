//! Charts in SVG, drawn by hand. Places along the width are percentages and letters have one size, so a chart is as legible on a telephone as on
//! a screen or on paper. Colours come from the style sheet; a pattern or a shape always says the same.

pub(super) mod categories;
pub(super) mod intervals;
pub(super) mod scale;
pub(super) mod times;
pub(super) mod wins;

use super::Context;
use super::page::{Page, Part, Percent};

/// Colours and patterns of contestants; with more contestants they repeat, and names tell them apart.
const N_SERIES: usize = 6;

/// The style of the contestant in a place.
pub(super) fn series(place: usize) -> usize {
    place % N_SERIES
}

/// The patterns that areas are filled with. Both languages' charts use them, so they stand outside of both.
pub(super) const PATTERNS: &str = concat!(
    "<svg class=\"patterns\" width=\"0\" height=\"0\" aria-hidden=\"true\" focusable=\"false\"><defs>",
    "<pattern id=\"fill-0\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect class=\"series-0\" width=\"8\" height=\"8\"/></pattern>",
    "<pattern id=\"fill-1\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect class=\"series-1\" width=\"7\" height=\"7\"/><rect class=\"hatch\" width=\"2\" height=\"7\"/></pattern>",
    "<pattern id=\"fill-2\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\"><rect class=\"series-2\" width=\"7\" height=\"7\"/><circle class=\"hatch\" cx=\"3.5\" cy=\"3.5\" r=\"1.5\"/></pattern>",
    "<pattern id=\"fill-3\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect class=\"series-3\" width=\"6\" height=\"6\"/><rect class=\"hatch\" width=\"1.5\" height=\"6\"/></pattern>",
    "<pattern id=\"fill-4\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(-45)\"><rect class=\"series-4\" width=\"7\" height=\"7\"/><rect class=\"hatch\" width=\"2\" height=\"7\"/></pattern>",
    "<pattern id=\"fill-5\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect class=\"series-5\" width=\"6\" height=\"6\"/><rect class=\"hatch\" width=\"6\" height=\"1.5\"/></pattern>",
    "<pattern id=\"fill-neutral\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect class=\"neutral\" width=\"8\" height=\"8\"/></pattern>",
    "<pattern id=\"fill-failed\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\"><rect class=\"failed\" width=\"7\" height=\"7\"/><path class=\"cross\" d=\"M0 0L7 7M7 0L0 7\"/></pattern>",
    "</defs></svg>\n"
);

/// What an area is filled with.
#[derive(Clone, Copy)]
pub(super) enum Fill {
    /// A contestant's colour and pattern.
    Series(usize),
    /// Neither of two.
    Neutral,
    /// What failed.
    Failed,
}

impl Fill {
    pub(super) fn url(self) -> String {
        match self {
            Self::Series(place) => format!("url(#fill-{})", series(place)),
            Self::Neutral => "url(#fill-neutral)".to_owned(),
            Self::Failed => "url(#fill-failed)".to_owned(),
        }
    }
}

/// A part of a bar.
pub(super) struct Segment {
    pub(super) n: usize,
    pub(super) fill: Fill,
}

/// A figure: its caption and how to read it, its legend, the drawing, and what follows, such as the figures as a table. `draw` is given the caption's id.
pub(super) fn figure(
    context: &Context<'_>,
    page: &mut Page<'_>,
    name: &str,
    (caption, parts, note): (&str, &[Part<'_>], &str),
    legend: impl FnOnce(&mut Page<'_>),
    draw: impl FnOnce(&mut Page<'_>, &str),
    after: impl FnOnce(&mut Page<'_>),
) {
    let id = context.id(name);
    page.raw("<figure><figcaption>");
    page.open("strong", &[("id", &id)]);
    page.sentence(caption, parts);
    page.raw("</strong>");
    if !note.is_empty() {
        page.raw(" ");
        page.element("span", &[("class", &"quiet")], note);
    }
    page.raw("</figcaption>\n");
    legend(page);
    draw(page, &id);
    after(page);
    page.raw("</figure>\n");
}

/// The figures of a chart, closed until they are wanted.
pub(super) fn details(context: &Context<'_>, page: &mut Page<'_>, table: impl FnOnce(&mut Page<'_>)) {
    page.raw("<details class=\"data\"><summary>");
    page.text(context.words.as_table);
    page.raw("</summary>");
    table(page);
    page.raw("</details>\n");
}

/// An SVG of the page's width, named by a caption.
pub(super) fn svg(page: &mut Page<'_>, caption: &str, height: usize, draw: impl FnOnce(&mut Page<'_>)) {
    page.open("svg", &[("class", &"chart"), ("role", &"img"), ("aria-labelledby", &caption), ("width", &"100%"), ("height", &height)]);
    draw(page);
    page.raw("</svg>\n");
}

/// What fills mean.
pub(super) fn legend(page: &mut Page<'_>, entries: impl Iterator<Item = (Fill, String)>) {
    page.raw("<ul class=\"legend\">");
    for (fill, name) in entries {
        page.raw("<li><svg class=\"swatch\" width=\"22\" height=\"14\" aria-hidden=\"true\" focusable=\"false\">");
        page.empty("rect", &[("width", &22), ("height", &14), ("fill", &fill.url())]);
        page.raw("</svg> ");
        page.name(&name);
        page.raw("</li>");
    }
    page.raw("</ul>\n");
}

/// Where a text begins or ends.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text in a chart; names that are too long for it are cut.
pub(super) fn label(page: &mut Page<'_>, class: &'static str, x: f64, y: usize, anchor: Anchor, text: &str) {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    page.element("text", &[("class", &class), ("x", &Percent(x)), ("y", &y), ("text-anchor", &anchor)], text);
}

/// A line across or down a chart.
pub(super) fn line(page: &mut Page<'_>, class: &str, from: (f64, usize), to: (f64, usize)) {
    page.empty("line", &[("class", &class), ("x1", &Percent(from.0)), ("y1", &from.1), ("x2", &Percent(to.0)), ("y2", &to.1)]);
}

/// A drawing in fixed units around a place that is a percentage.
pub(super) fn at(page: &mut Page<'_>, x: f64, y: usize, draw: impl FnOnce(&mut Page<'_>)) {
    page.open("svg", &[("class", &"at"), ("x", &Percent(x)), ("y", &y), ("overflow", &"visible")]);
    draw(page);
    page.raw("</svg>");
}

/// A contestant's mark: a shape for each style.
pub(super) fn mark(page: &mut Page<'_>, x: f64, y: usize, place: usize) {
    const SHAPES: [&str; N_SERIES] = [
        "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
        "M-6 0L0 -6L6 0L0 6Z",
        "M-5 -5H5V5H-5Z",
        "M-6 5L0 -6L6 5Z",
        "M-6 -5L0 6L6 -5Z",
        "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    ];
    let class = format!("mark series-{}", series(place));
    at(page, x, y, |page| page.empty("path", &[("class", &class), ("d", &SHAPES[series(place)])]));
}

/// A name that fits beside others in a chart.
pub(super) fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most { name.to_owned() } else { name.chars().take(most - 1).chain(['…']).collect() }
}
