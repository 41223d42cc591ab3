//! The form that chooses questions. It is hidden until the script of the page has taken it over; without it every question is listed.

use std::fmt::Display;

use super::page::Page;
use super::questions::Asked;
use super::words::{Language, Words};

/// The most questions that are printed unless a reader asks for it.
const MAX_PRINTED: usize = 100;

/// Writes the form and the count.
pub(super) fn write(asked: &Asked<'_>, page: &mut Page<'_>) {
    page.raw("<form id=\"filters\" hidden><fieldset><legend>");
    page.both(|words| words.filters.to_owned());
    page.raw("</legend>\n");
    field(
        page,
        "filter-outcome",
        |words| words.show,
        |page| {
            option(page, "", |words| words.show_all.to_owned());
            let Some(judge) = asked.judge else { return };
            option(page, "d", |words| words.show_differing.to_owned());
            option(page, "e", |words| words.show_equal.to_owned());
            if judge.tells_right {
                option(page, "r", |words| words.show_right.to_owned());
                option(page, "w", |words| words.show_wrong.to_owned());
            }
            option(page, "f", |words| words.show_failed.to_owned());
            for (i, (a, _)) in asked.arms.iter().enumerate() {
                for (j, (b, _)) in asked.arms.iter().enumerate().filter(|(j, _)| *j != i) {
                    option(page, &format!("p{i}-{j}"), |words| words.fill(words.show_better, &[a, b]));
                }
            }
        },
    );
    for (id, title, names) in [
        ("filter-category", (|words| words.category) as fn(&'static Words) -> &'static str, &asked.categories),
        ("filter-document", |words| words.document, &asked.documents),
    ] {
        if names.len() > 1 {
            field(page, id, title, |page| {
                option(page, "", |words| words.every.to_owned());
                for (place, name) in names.iter().enumerate() {
                    page.element("option", &[("value", &place)], name);
                }
            });
        }
    }
    page.raw("<div class=\"field wide\"><label for=\"filter-text\">");
    page.both(|words| words.search.to_owned());
    page.raw("</label><input type=\"search\" id=\"filter-text\" autocomplete=\"off\" spellcheck=\"false\"></div>\n<button type=\"reset\">");
    page.both(|words| words.reset.to_owned());
    page.raw("</button></fieldset>\n");
    page.raw("<p role=\"status\" id=\"count\"");
    let [english, french] = Language::ALL.map(|language| language.words().shown);
    page.attributes(&[("data-en", &english as &dyn Display), ("data-fr", &french)]);
    page.raw("></p></form>\n<p class=\"print-choice\"><input type=\"checkbox\" id=\"print-questions\"");
    if asked.questions.len() <= MAX_PRINTED {
        page.raw(" checked");
    }
    page.raw("> <label for=\"print-questions\">");
    page.both(|words| words.print_questions.to_owned());
    page.raw("</label></p>\n");
}

fn field(page: &mut Page<'_>, id: &'static str, title: impl Fn(&'static Words) -> &'static str, options: impl FnOnce(&mut Page<'_>)) {
    page.raw("<div class=\"field\">");
    page.open("label", &[("for", &id)]);
    page.both(|words| title(words).to_owned());
    page.raw("</label>");
    page.open("select", &[("id", &id)]);
    options(page);
    page.raw("</select></div>\n");
}

/// An option in both languages: an option holds no elements, so the script shows the one that was chosen.
fn option(page: &mut Page<'_>, value: &str, text: impl Fn(&'static Words) -> String) {
    let [english, french] = Language::ALL.map(|language| text(language.words()));
    page.element("option", &[("value", &value), ("data-en", &english), ("data-fr", &french)], &english);
}
