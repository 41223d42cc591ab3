//! What training taught of the questions: how many it asked itself, and results without those and by what was taught.

use super::super::TrainingCheck;
use super::Context;
use super::advice::write_sentence;
use super::page::{Page, Part};
use super::pair_section::metrics;
use super::table::{Cell, Column, table};

/// A part for each training set that is known.
pub(super) fn write(context: &Context<'_>, page: &mut Page<'_>) {
    let words = context.words;
    for (number, check) in context.comparison.training.iter().enumerate() {
        page.raw("<p>");
        write_sentence(context, page, &check.sentence());
        page.raw(".</p>\n");
        for (place, group) in check.groups.iter().enumerate().filter(|(_, group)| !group.pairs.is_empty()) {
            page.raw("<h3>");
            let taught = words.taught.iter().find(|(taught, _)| *taught == group.taught).map_or(group.taught.words(), |(_, words)| words);
            page.sentence(words.group, &[Part::Text(words.language.len(group.n_questions)), Part::Text(taught.to_owned())]);
            page.raw("</h3>\n");
            for (pair_number, pair) in group.pairs.iter().enumerate() {
                let name = format!("taught-{number}-{place}-{pair_number}");
                metrics(context, page, &name, words.quality_caption, pair, &pair.metrics);
            }
        }
        if !check.leaks.is_empty() {
            leaks(context, page, check, number);
        }
    }
}

fn leaks(context: &Context<'_>, page: &mut Page<'_>, check: &TrainingCheck, number: usize) {
    let (words, language) = (context.words, context.words.language);
    let columns = [
        Column::Text(words.question),
        Column::Text("id"),
        Column::Text(words.asked_at),
        Column::Text(words.asked_as),
        Column::Number(words.likeness),
    ];
    let rows = check.leaks.iter().map(|leak| {
        let likeness = Cell::Number(language.number(&format!("{:.2}", leak.similarity)));
        let id = Cell::Name(leak.id.as_deref().unwrap_or(""));
        vec![Cell::Name(&leak.question), id, Cell::Name(&leak.training_place), Cell::Name(&leak.training_question), likeness]
    });
    table(context, page, &format!("leaks-{number}"), (words.leaks, &[]), &columns, rows);
    let n_hidden = check.n_leaked - check.leaks.len();
    if n_hidden > 0 {
        page.element("p", &[], words.fill(words.more, &[&language.len(n_hidden)]));
    }
}
