//! How to read a comparison, how it was computed, what a reader should know besides, and what was not compared.

use std::collections::BTreeMap;

use super::Context;
use super::advice::{capitalised, write_sentence};
use super::page::{Page, Part};
use super::sentences::sentence;
use super::table::{Cell, Column, table};

/// All of it.
pub(super) fn write(context: &Context<'_>, page: &mut Page<'_>) {
    let words = context.words;
    page.element("h3", &[], words.how_to_read);
    list(page, words.reading.iter(), |page, text| page.text(text));
    page.element("h3", &[("id", &context.id("notes"))], words.notes);
    if context.comparison.notes.is_empty() {
        page.element("p", &[], words.no_notes);
    } else {
        list(page, context.comparison.notes.iter(), |page, note| write_sentence(context, page, note));
    }
    page.element("h3", &[], words.how_computed);
    computed(context, page);
    beside(context, page);
    signatures(context, page);
    page.element("h3", &[], words.mismatches);
    mismatches(context, page);
}

fn list<T>(page: &mut Page<'_>, items: impl Iterator<Item = T>, write: impl Fn(&mut Page<'_>, T)) {
    page.raw("<ul>\n");
    for item in items {
        page.raw("<li>");
        write(page, item);
        page.raw("</li>\n");
    }
    page.raw("</ul>\n");
}

fn computed(context: &Context<'_>, page: &mut Page<'_>) {
    let (words, method) = (context.words, &context.comparison.method);
    let language = words.language;
    let text = |english: &str| sentence(language, english).0.into_owned();
    let below = language.number(&format!("{:.3}", 1.0 - method.confidence));
    page.raw("<p>");
    page.sentence(
        words.computed,
        &[
            Part::Text(capitalised(&text(method.interval))),
            Part::Text(text(method.adjustment)),
            Part::Text(context.confidence()),
            Part::Text(language.len(method.n_tests)),
            Part::Text(below),
            Part::Text(method.seed.to_string()),
        ],
    );
    page.raw("</p>\n");
}

/// The tests that stand beside the interval.
fn beside(context: &Context<'_>, page: &mut Page<'_>) {
    let (words, language) = (context.words, context.words.language);
    if context.comparison.pairs.iter().all(|pair| pair.metrics.is_empty()) {
        return;
    }
    let columns = [
        Column::Text(words.pair),
        Column::Text(words.metric),
        Column::Number(words.detectable),
        Column::Number(words.degrees),
        Column::Number(words.mcnemar),
        Column::Number(words.randomisation),
        Column::Number(words.bootstrap),
    ];
    let known = |text: Option<String>| Cell::Number(text.unwrap_or_else(|| "–".to_owned()));
    let rows = context.comparison.pairs.iter().flat_map(|pair| {
        let names = words.fill(words.against, &[&pair.first, &pair.second]);
        pair.metrics.iter().map(move |metric| {
            let unit = metric.unit;
            let bootstrap = metric.bootstrap.as_ref().map(|found| {
                let ends = [found.interval.low, found.interval.high].map(|end| language.signed(unit, end));
                format!("{} {} {}", ends[0], words.to, ends[1])
            });
            vec![
                Cell::Text(names.clone()),
                Cell::Metric(&metric.metric),
                known(metric.difference.smallest_detectable.map(|smallest| language.amount(unit, smallest))),
                known(metric.difference.degrees_of_freedom.map(|degrees| language.number(&format!("{degrees:.1}")))),
                known(metric.mcnemar.as_ref().map(|test| language.p_value(test.p_value))),
                known(metric.randomisation.as_ref().map(|test| language.p_value(test.p_value))),
                known(bootstrap),
            ]
        })
    });
    page.raw("<details><summary>");
    page.text(words.beside);
    page.raw("</summary>");
    table(context, page, "beside", (words.beside_caption, &[]), &columns, rows);
    page.raw("</details>\n");
}

fn signatures(context: &Context<'_>, page: &mut Page<'_>) {
    let words = context.words;
    let of_metrics = context.comparison.pairs.iter().flat_map(|pair| &pair.metrics);
    let of_metrics = of_metrics.filter_map(|metric| Some((metric.metric.as_str(), metric.signature.as_deref()?)));
    let corpus = context.comparison.pairs.iter().flat_map(|pair| &pair.corpus);
    let known: BTreeMap<&str, &str> = of_metrics.chain(corpus.map(|score| (score.metric.as_str(), score.signature.as_str()))).collect();
    if known.is_empty() {
        return;
    }
    page.raw("<details><summary>");
    page.text(words.signatures);
    page.raw("</summary>");
    let rows = known.into_iter().map(|(metric, signature)| vec![Cell::Metric(metric), Cell::Name(signature)]);
    table(context, page, "signatures", (words.signatures, &[]), &[Column::Text(words.metric), Column::Text(words.signature)], rows);
    page.raw("</details>\n");
}

fn mismatches(context: &Context<'_>, page: &mut Page<'_>) {
    let (words, mismatches) = (context.words, &context.comparison.questions.mismatches);
    if mismatches.n == 0 {
        page.element("p", &[], words.no_mismatches);
        return;
    }
    let columns = [Column::Text(words.file), Column::Text("id"), Column::Text(words.question), Column::Text(words.why)];
    let rows = mismatches.listed.iter().map(|one| {
        let why = Cell::Text(words.mismatch(one.kind).to_owned());
        vec![Cell::Name(&one.arm), Cell::Name(one.id.as_deref().unwrap_or("")), Cell::Name(&one.question), why]
    });
    table(context, page, "mismatches", (words.mismatches_caption, &[]), &columns, rows);
    let n_hidden = mismatches.n - mismatches.listed.len();
    if n_hidden > 0 {
        page.element("p", &[], words.fill(words.more, &[&words.language.len(n_hidden)]));
    }
}
