//! Recommendations, each with its rule and with what would change it.

use super::super::RULES;
use super::Context;
use super::page::{Page, Part};
use super::sentences::sentence;
use super::table::{Cell, Column, table};

/// The recommendations, and all rules.
pub(super) fn write(context: &Context<'_>, page: &mut Page<'_>) {
    let words = context.words;
    let all = &context.comparison.recommendations;
    if all.is_empty() {
        page.element("p", &[], words.no_recommendation);
    } else {
        page.raw("<ul class=\"advice\">\n");
        for one in all {
            page.raw("<li><p>");
            write_statement(context, page, &one.text);
            page.raw(". <span class=\"rule\">");
            page.text(words.rule);
            page.raw(" ");
            page.element("code", &[], one.rule);
            page.raw("</span></p><p class=\"quiet\">");
            page.text(words.would_change);
            write_sentence(context, page, &one.would_change);
            page.raw(".</p></li>\n");
        }
        page.raw("</ul>\n");
    }
    page.raw("<details><summary>");
    page.text(words.all_rules);
    page.raw("</summary>");
    let rows =
        RULES.iter().map(|rule| vec![Cell::Text(rule.name.to_owned()), Cell::Text(sentence(words.language, rule.when).0.into_owned())]);
    table(context, page, "rules", (words.rules_caption, &[]), &[Column::Text(words.rule), Column::Text(words.applies_when)], rows);
    page.raw("</details>\n");
}

/// What a language model said, where one was asked.
pub(super) fn judgement(context: &Context<'_>, page: &mut Page<'_>) {
    let Some(judgement) = &context.comparison.judgement else { return };
    page.raw("<p>");
    page.sentence(context.words.judge_intro, &[Part::Name(&judgement.model)]);
    page.raw("</p>\n<ul>\n");
    for pair in &judgement.pairs {
        page.raw("<li>");
        write_sentence(context, page, &pair.sentence());
        page.raw(".</li>\n");
    }
    page.raw("</ul>\n");
}

/// A sentence of the comparison, marked with its language where that is not the page's.
pub(super) fn write_sentence(context: &Context<'_>, page: &mut Page<'_>, english: &str) {
    let (text, language) = sentence(context.words.language, english);
    if language == context.words.language {
        page.text(text);
    } else {
        page.element("span", &[("lang", &language.code())], text);
    }
}

/// The same, its first letter large unless it is a contestant's name.
fn write_statement(context: &Context<'_>, page: &mut Page<'_>, english: &str) {
    let (text, language) = sentence(context.words.language, english);
    let is_name = context.comparison.arms.iter().any(|arm| text.starts_with(&arm.name));
    let text = if is_name { text.into_owned() } else { capitalised(&text) };
    page.element("span", &[("lang", &language.code())], text);
}

/// A text whose first letter is large.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
