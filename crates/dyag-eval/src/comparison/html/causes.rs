//! Where wrong answers come from.

use super::super::attribution::Attribution;
use super::charts::{self, Fill, Segment};
use super::page::Page;
use super::table::{Cell, Column, table};
use super::{Context, charts::wins};

/// A bar for each way that searches first, and the table.
pub(super) fn write(context: &Context<'_>, page: &mut Page<'_>) {
    let (words, language) = (context.words, context.words.language);
    let found = &context.comparison.attribution;
    let fills = [Fill::Series(0), Fill::Series(1), Fill::Failed, Fill::Neutral];
    let labels = [words.cause_retrieval, words.cause_generation, words.cause_failed, words.cause_unknown];
    let bars = found.iter().map(|one| {
        let segments = counts(one).into_iter().zip(fills).map(|(n, fill)| Segment { n, fill }).collect();
        wins::Bar { name: one.arm.clone(), segments }
    });
    let bars: Vec<wins::Bar> = bars.collect();
    charts::figure(
        context,
        page,
        "causes-figure",
        (words.causes_figure, &[], ""),
        |page| charts::legend(page, fills.into_iter().zip(labels.map(str::to_owned))),
        |page, id| wins::draw(context, page, id, &bars),
        |_| {},
    );
    let columns = [
        Column::Text(words.file),
        Column::Text(words.judged_by),
        Column::Number(words.wrong),
        Column::Number(words.cause_retrieval),
        Column::Number(words.cause_generation),
        Column::Number(words.cause_failed),
        Column::Number(words.cause_unknown),
    ];
    let rows = found.iter().map(|one| {
        let wrong = format!("{}\u{A0}/\u{A0}{}", language.len(one.n_wrong), language.len(one.n_judged));
        let mut cells = vec![Cell::Name(&one.arm), Cell::Metric(&one.judged_by), Cell::Number(wrong)];
        cells.extend(counts(one).map(|n| Cell::Number(language.len(n))));
        cells
    });
    table(context, page, "causes-table", (words.causes_figure, &[]), &columns, rows);
    for one in found {
        examples(context, page, one);
    }
}

fn counts(one: &Attribution) -> [usize; 4] {
    [one.retrieval.n, one.generation.n, one.failed.n, one.unknown.n]
}

fn examples(context: &Context<'_>, page: &mut Page<'_>, one: &Attribution) {
    let words = context.words;
    let causes = [(words.cause_retrieval, &one.retrieval), (words.cause_generation, &one.generation), (words.cause_failed, &one.failed)];
    if causes.iter().all(|(_, cause)| cause.examples.is_empty()) {
        return;
    }
    page.raw("<details><summary>");
    page.text(words.examples);
    page.raw(" (");
    page.name(&one.arm);
    page.raw(")</summary><dl class=\"examples\">");
    for (name, cause) in causes.into_iter().filter(|(_, cause)| !cause.examples.is_empty()) {
        page.element("dt", &[], name);
        for example in &cause.examples {
            page.raw("<dd>");
            page.name(example);
            page.raw("</dd>");
        }
    }
    page.raw("</dl></details>\n");
}
