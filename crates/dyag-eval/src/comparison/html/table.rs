//! Tables that can be read aloud: a caption, headers with their scope, and numbers under numbers. Wide ones scroll within themselves.

use super::Context;
use super::page::{Page, Part};

/// A cell.
pub(super) enum Cell<'a> {
    /// Somebody's text.
    Name(&'a str),
    /// A text of the page.
    Text(String),
    /// A number.
    Number(String),
    /// A value that is not a number, under others.
    Value(String),
    /// A metric: what it measures, and its name in files.
    Metric(&'a str),
    /// An outcome, and the winner's place where there is one.
    Outcome(String, Option<usize>),
}

/// A column's header.
pub(super) enum Column<'a> {
    /// Over texts.
    Text(&'a str),
    /// Over numbers.
    Number(&'a str),
    /// A contestant's name over numbers.
    Arm(&'a str),
}

/// Writes a table; the first cell of each row is its header.
pub(super) fn table<'a>(
    context: &Context<'_>,
    page: &mut Page<'_>,
    name: &str,
    caption: (&str, &[Part<'_>]),
    columns: &[Column<'_>],
    rows: impl Iterator<Item = Vec<Cell<'a>>>,
) {
    let id = context.id(name);
    page.open("div", &[("class", &"scroll"), ("role", &"group"), ("tabindex", &0), ("aria-labelledby", &id)]);
    page.raw("<table>");
    page.open("caption", &[("id", &id)]);
    page.raw("<span>");
    page.sentence(caption.0, caption.1);
    page.raw("</span></caption><thead><tr>");
    for column in columns {
        match column {
            Column::Text(text) => page.element("th", &[("scope", &"col")], text),
            Column::Number(text) => page.element("th", &[("scope", &"col"), ("class", &"number")], text),
            Column::Arm(arm) => {
                page.raw("<th scope=\"col\" class=\"number\">");
                page.name(arm);
                page.raw("</th>");
            }
        }
    }
    page.raw("</tr></thead><tbody>\n");
    for row in rows {
        page.raw("<tr>");
        for (place, cell) in row.into_iter().enumerate() {
            write_cell(context, page, cell, place == 0);
        }
        page.raw("</tr>\n");
    }
    page.raw("</tbody></table></div>\n");
}

fn write_cell(context: &Context<'_>, page: &mut Page<'_>, cell: Cell<'_>, is_header: bool) {
    page.raw(match cell {
        _ if is_header => "<th scope=\"row\">",
        Cell::Number(_) => "<td class=\"number\">",
        Cell::Value(_) => "<td class=\"number value\">",
        _ => "<td>",
    });
    match cell {
        Cell::Name(name) => page.name(name),
        Cell::Text(text) | Cell::Number(text) | Cell::Value(text) => page.text(text),
        Cell::Metric(metric) => {
            let label = context.words.metric_label(metric);
            if label != metric {
                page.text(label);
                page.raw(" ");
            }
            page.element("code", &[], metric);
        }
        Cell::Outcome(text, winner) => {
            let class = winner.map_or_else(|| "outcome".to_owned(), |place| format!("outcome series-{}", super::charts::series(place)));
            page.element("span", &[("class", &class)], text);
        }
    }
    page.raw(if is_header { "</th>" } else { "</td>" });
}
