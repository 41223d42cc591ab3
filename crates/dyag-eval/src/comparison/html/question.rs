//! One question with what was expected and every answer.

use super::charts;
use super::diff::{Diff, Kind, diff};
use super::page::Page;
use super::questions::{Asked, Outcome, Question};
use super::words::Words;
use crate::results::{Row, Source};

/// The most characters of a question, an answer or an error, and of a passage.
const MAX_CHARS: usize = 4_000;
const MAX_PASSAGE_CHARS: usize = 1_200;
/// The most passages of an answer.
const MAX_PASSAGES: usize = 20;

/// About how many bytes of a row's texts are written.
pub(super) fn text_bytes(row: &Row) -> usize {
    let bounded = |text: Option<&str>, most: usize| text.map_or(0, |text| text.len().min(4 * most));
    let passages = row.sources.iter().flatten().take(MAX_PASSAGES).map(|source| bounded(source.text.as_deref(), MAX_PASSAGE_CHARS));
    bounded(Some(&row.question), MAX_CHARS)
        + bounded(row.expected_answer.as_deref(), MAX_CHARS)
        + bounded(row.generated_answer.as_deref(), MAX_CHARS)
        + bounded(row.error.as_deref(), MAX_CHARS)
        + passages.sum::<usize>()
}

/// Writes a question.
pub(super) fn write(asked: &Asked<'_>, page: &mut Page<'_>, question: &Question<'_>) {
    let category = question.first(|row| row.category.as_deref());
    let document = question.first(|row| row.document.as_deref());
    let place = |names: &[&str], name: Option<&str>| {
        name.and_then(|name| names.binary_search(&name).ok()).map_or(String::new(), |place| place.to_string())
    };
    let (of_category, of_document) = (place(&asked.categories, category), place(&asked.documents, document));
    page.open("article", &[("data-o", &tokens(asked, question)), ("data-c", &of_category), ("data-d", &of_document)]);
    page.raw("<h3>");
    let (text, n_cut) = cut(&question.rows[0].question, MAX_CHARS);
    foreign(asked, page, "bdi", |page| page.text(text));
    write_cut(page, n_cut);
    page.raw("</h3><p class=\"about\">");
    write_outcome(asked, page, &question.outcome);
    for known in [question.first(|row| row.id.as_deref()), category, document].into_iter().flatten() {
        page.raw(" · ");
        page.name(known);
    }
    page.raw("</p><dl>");
    let expected = question.first(|row| row.expected_answer.as_deref()).map(|text| cut(text, MAX_CHARS));
    page.raw("<div class=\"expected\"><dt>");
    page.both(|words| words.expected.to_owned());
    page.raw("</dt>");
    match expected {
        Some((text, n_cut)) => {
            foreign(asked, page, "dd", |page| page.text(text));
            write_cut_after(page, n_cut);
        }
        None => quiet(page, |words| words.no_expected),
    }
    page.raw("</div>");
    for (row, (name, place)) in question.rows.iter().zip(&asked.arms) {
        answer(asked, page, row, name, *place, expected.map(|(text, _)| text));
    }
    page.raw("</dl></article>\n");
}

/// What filters go by: d scores differ, e they are equal, r all right, w all wrong, f one failed, p0-1 the first better than the second.
fn tokens(asked: &Asked<'_>, question: &Question<'_>) -> String {
    let mut tokens: Vec<String> = Vec::new();
    tokens.extend(match &question.outcome {
        Outcome::Best(_) => Some("d".to_owned()),
        Outcome::NotJudged => None,
        _ => Some("e".to_owned()),
    });
    let right: Vec<Option<bool>> = question.rows.iter().map(|row| asked.judge.and_then(|judge| judge.is_right(row))).collect();
    if right.iter().all(|right| *right == Some(true)) {
        tokens.push("r".to_owned());
    }
    if right.iter().all(|right| *right == Some(false)) {
        tokens.push("w".to_owned());
    }
    if question.rows.iter().any(|row| row.error.is_some()) {
        tokens.push("f".to_owned());
    }
    if let Some(judge) = asked.judge {
        let scores: Vec<Option<f64>> = question.rows.iter().map(|row| judge.score(row)).collect();
        for (i, a) in scores.iter().enumerate() {
            for (j, b) in scores.iter().enumerate() {
                if let (Some(a), Some(b)) = (a, b)
                    && judge.is_better(*a, *b)
                {
                    tokens.push(format!("p{i}-{j}"));
                }
            }
        }
    }
    tokens.join(" ")
}

fn write_outcome(asked: &Asked<'_>, page: &mut Page<'_>, outcome: &Outcome) {
    let names = |best: &[usize]| best.iter().map(|place| asked.arms[*place].0).collect::<Vec<_>>().join(", ");
    let class = match outcome {
        Outcome::Best(best) if best.len() == 1 => format!("outcome series-{}", charts::series(asked.arms[best[0]].1)),
        _ => "outcome".to_owned(),
    };
    page.open("span", &[("class", &class)]);
    page.both(|words| match outcome {
        Outcome::Best(best) => words.fill(words.best, &[&names(best)]),
        Outcome::AllRight => words.all_right.to_owned(),
        Outcome::AllWrong => words.all_wrong.to_owned(),
        Outcome::Equal => words.all_equal.to_owned(),
        Outcome::NotJudged => words.not_judged.to_owned(),
    });
    page.raw("</span>");
}

fn answer(asked: &Asked<'_>, page: &mut Page<'_>, row: &Row, name: &str, place: usize, expected: Option<&str>) {
    page.open("div", &[("class", &format!("answer arm-{}", charts::series(place)))]);
    page.raw("<dt>");
    page.name(name);
    match asked.judge.and_then(|judge| judge.is_right(row)) {
        Some(true) => {
            page.raw(" <span class=\"right\">✓ ");
            page.both(|words| words.right.to_owned());
            page.raw("</span>");
        }
        Some(false) => {
            page.raw(" <span class=\"wrong\">✗ ");
            page.both(|words| words.not_right.to_owned());
            page.raw("</span>");
        }
        None => {}
    }
    page.raw("</dt>");
    if let Some(error) = &row.error {
        let (text, n_cut) = cut(error, MAX_CHARS);
        page.raw("<dd class=\"error\">");
        page.both(|words| words.error.to_owned());
        page.raw(" <samp>");
        page.text(text);
        page.raw("</samp>");
        write_cut(page, n_cut);
        page.raw("</dd>");
    }
    match row.generated_answer.as_deref() {
        Some(text) if text.trim().is_empty() => quiet(page, |words| words.empty_answer),
        Some(text) => write_answer(asked, page, text, expected),
        None if row.error.is_none() => quiet(page, |words| words.no_answer),
        None => {}
    }
    scores(asked, page, row);
    if let Some(sources) = row.sources.as_deref().filter(|sources| !sources.is_empty()) {
        write_sources(asked, page, row, sources);
    }
    page.raw("</div>");
}

fn write_answer(asked: &Asked<'_>, page: &mut Page<'_>, text: &str, expected: Option<&str>) {
    let (text, n_cut) = cut(text, MAX_CHARS);
    let compared = expected.map_or(Diff::TooLong, |expected| diff(expected, text));
    foreign(asked, page, "dd", |page| match &compared {
        Diff::Same | Diff::TooLong => page.text(text.trim()),
        Diff::Alike(pieces) => {
            // Missing words bring no spaces of their own.
            let (mut is_apart, mut is_after_missing) = (true, false);
            for piece in pieces {
                let is_missing = piece.kind == Kind::Missing;
                if (is_missing && !is_apart) || (is_after_missing && !piece.text.starts_with(char::is_whitespace)) {
                    page.raw(" ");
                }
                match piece.kind {
                    Kind::Same => page.text(piece.text),
                    Kind::Added => page.element("ins", &[], piece.text),
                    Kind::Missing => page.element("del", &[], piece.text),
                }
                (is_apart, is_after_missing) = (piece.text.ends_with(char::is_whitespace), is_missing);
            }
        }
        Diff::Unlike(pieces) => {
            for piece in pieces {
                match piece.kind {
                    Kind::Same if says_something(piece.text) => page.element("mark", &[], piece.text),
                    _ => page.text(piece.text),
                }
            }
        }
    });
    write_cut_after(page, n_cut);
    if compared == Diff::Same && n_cut == 0 {
        quiet(page, |words| words.same_words);
    }
}

/// Whether words in common are more than an article or a comma.
fn says_something(words: &str) -> bool {
    words.split(|c: char| !c.is_alphanumeric()).any(|word| word.chars().count() > 3 || word.chars().any(char::is_numeric))
}

fn scores(asked: &Asked<'_>, page: &mut Page<'_>, row: &Row) {
    let known = asked.metrics.iter().filter_map(|(name, unit)| Some((name, unit, row.metrics.get(*name)?)));
    for (number, (name, unit, value)) in known.enumerate() {
        page.raw(if number == 0 { "<dd class=\"scores\">" } else { " · " });
        page.element("code", &[], name);
        page.raw("\u{A0}");
        page.both(|words| words.language.value(*unit, *value));
    }
    if asked.metrics.iter().any(|(name, _)| row.metrics.contains_key(*name)) {
        page.raw("</dd>");
    }
}

fn write_sources(asked: &Asked<'_>, page: &mut Page<'_>, row: &Row, sources: &[Source]) {
    page.raw("<dd class=\"sources\"><details><summary>");
    page.both(|words| words.fill(words.sources, &[&words.language.len(sources.len())]));
    page.raw("</summary><ol>");
    for source in sources.iter().take(MAX_PASSAGES) {
        page.raw("<li>");
        if let Some(id) = &source.id {
            page.element("code", &[], id);
        }
        if let Some(score) = source.score {
            page.raw(" ");
            page.both(|words| words.fill(words.relevance, &[&words.language.number(&format!("{score:.3}"))]));
        }
        if source.id.as_ref().is_some_and(|id| row.gold_chunk_ids.contains(id)) {
            page.raw(" <strong>");
            page.both(|words| words.holds_answer.to_owned());
            page.raw("</strong>");
        }
        if let Some(text) = &source.text {
            let (text, n_cut) = cut(text, MAX_PASSAGE_CHARS);
            foreign(asked, page, "p", |page| page.text(text));
            write_cut(page, n_cut);
        }
        page.raw("</li>");
    }
    page.raw("</ol>");
    write_cut_passages(page, sources.len().saturating_sub(MAX_PASSAGES));
    page.raw("</details></dd>");
}

/// An element with a text of the files, in their language where that is known.
fn foreign(asked: &Asked<'_>, page: &mut Page<'_>, name: &'static str, write: impl FnOnce(&mut Page<'_>)) {
    match &asked.language {
        Some(language) => page.open(name, &[("class", &"t"), ("dir", &"auto"), ("lang", language)]),
        None => page.open(name, &[("class", &"t"), ("dir", &"auto")]),
    }
    write(page);
    page.close(name);
}

/// A remark of the page in place of a text.
fn quiet(page: &mut Page<'_>, text: impl Fn(&'static Words) -> &'static str) {
    page.raw("<dd class=\"quiet\">");
    page.both(|words| text(words).to_owned());
    page.raw("</dd>");
}

/// The beginning of a text, and how many characters are left out.
fn cut(text: &str, most: usize) -> (&str, usize) {
    match text.char_indices().nth(most) {
        Some((end, _)) => (&text[..end], text[end..].chars().count()),
        None => (text, 0),
    }
}

fn write_cut(page: &mut Page<'_>, n_cut: usize) {
    if n_cut > 0 {
        page.raw(" <span class=\"quiet\">");
        page.both(|words| words.fill(words.cut, &[&words.language.len(n_cut)]));
        page.raw("</span>");
    }
}

fn write_cut_after(page: &mut Page<'_>, n_cut: usize) {
    if n_cut > 0 {
        page.raw("<dd>");
        write_cut(page, n_cut);
        page.raw("</dd>");
    }
}

fn write_cut_passages(page: &mut Page<'_>, n_cut: usize) {
    if n_cut > 0 {
        page.raw("<p class=\"quiet\">");
        page.both(|words| words.fill(words.more, &[&words.language.len(n_cut)]));
        page.raw("</p>");
    }
}
