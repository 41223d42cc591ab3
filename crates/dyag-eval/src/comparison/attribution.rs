//! Where the wrong answers of a way that searches first come from: passages that were not found, or an answer that did not use them.

use std::collections::HashSet;

use dyag_text::near_duplicates::fold;
use serde::Serialize;

use super::{Contestant, PLAIN};
use crate::metrics::Abstention;
use crate::results::{Row, Source};

/// Below it an answer is wrong.
const RIGHT_FROM: f64 = 0.5;
/// The share of an expected answer's words that a passage must hold to support it, where it does not hold them in one piece.
const SUPPORT_SHARE: f64 = 0.9;
/// So many questions are named for each cause.
const MAX_EXAMPLES: usize = 5;

/// The wrong answers of one way, by cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attribution {
    /// The way's name.
    pub arm: String,
    /// The metric that says what is wrong: one below 0.5 is, unless both answers say that the documents do not say.
    pub judged_by: String,
    /// Answers that were judged.
    pub n_judged: usize,
    /// Wrong answers, failures included.
    pub n_wrong: usize,
    /// Nothing was answered.
    pub failed: Cause,
    /// No passage that was shown holds the answer.
    pub retrieval: Cause,
    /// A passage that was shown holds the answer, or there is none to hold it.
    pub generation: Cause,
    /// The file does not say: neither the right chunks nor the passages' texts are known.
    pub unknown: Cause,
}

/// Answers that are wrong for one cause.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cause {
    /// How many.
    pub n: usize,
    /// Some of their questions, by id where they have one.
    pub examples: Vec<String>,
}

impl Cause {
    fn add(&mut self, row: &Row) {
        self.n += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(row.id.clone().unwrap_or_else(|| row.question.clone()));
        }
    }
}

/// The causes of wrong answers; none for a way that shows no passages. Questions without an expected answer are not judged.
pub(super) fn attribute(contestant: &Contestant, notes: &mut Vec<String>) -> Option<Attribution> {
    let rows = &contestant.results.results;
    let retrieves = contestant.results.metadata.arm.is_some_and(|arm| arm.retrieves());
    if !retrieves && !rows.iter().any(|row| row.sources.is_some()) {
        return None;
    }
    let Some(judged_by) = PLAIN.into_iter().find(|name| rows.iter().any(|row| row.metrics.contains_key(*name))) else {
        notes.push(format!("{}: no metric says which answers are wrong, so their causes are not known", contestant.name));
        return None;
    };
    let mut found = Attribution {
        arm: contestant.name.clone(),
        judged_by: judged_by.to_owned(),
        n_judged: 0,
        n_wrong: 0,
        failed: Cause::default(),
        retrieval: Cause::default(),
        generation: Cause::default(),
        unknown: Cause::default(),
    };
    let abstention = Abstention::default();
    for row in rows {
        let Some(expected) = row.expected_answer.as_deref() else { continue };
        let score = row.metrics.get(judged_by).copied();
        if score.is_none() && row.error.is_none() {
            continue;
        }
        found.n_judged += 1;
        // What the documents do not say no search finds: to say so, in whatever words, is right, and anything else is made up.
        let is_unanswerable = row.gold_chunk_ids.is_empty() && abstention.abstains(expected);
        let says_so = is_unanswerable && row.generated_answer.as_deref().is_some_and(|answer| abstention.abstains(answer));
        if row.error.is_none() && (says_so || score.is_some_and(|score| score >= RIGHT_FROM)) {
            continue;
        }
        found.n_wrong += 1;
        let cause = match (&row.error, holds_answer(row, expected)) {
            (Some(_), _) => &mut found.failed,
            (None, _) if is_unanswerable => &mut found.generation,
            (None, Some(true)) => &mut found.generation,
            (None, Some(false)) => &mut found.retrieval,
            (None, None) => &mut found.unknown,
        };
        cause.add(row);
    }
    Some(found)
}

/// Whether a passage that was shown holds the answer: one of the right chunks, where those are known (of which a part that was shown must support the expected answer), or one whose text
/// supports it. None when neither can be told.
fn holds_answer(row: &Row, expected: &str) -> Option<bool> {
    let sources = row.shown_sources()?;
    let ids_known = sources.iter().all(|source| source.id.is_some());
    if !row.gold_chunk_ids.is_empty() && ids_known {
        let is_right = |source: &&&Source| source.id.as_ref().is_some_and(|id| row.gold_chunk_ids.contains(id));
        let is_cut = |source: &Source| source.other.get("cut").is_some_and(|cut| cut == true);
        let holds = |source: &Source| !is_cut(source) || source.text.as_deref().is_none_or(|text| supports(text, expected));
        return Some(sources.iter().filter(is_right).any(|source| holds(source)));
    }
    if sources.is_empty() {
        return Some(false);
    }
    let texts: Option<Vec<&str>> = sources.iter().map(|source| source.text.as_deref()).collect();
    texts.map(|texts| texts.iter().any(|text| supports(text, expected)))
}

/// Whether a passage holds an answer: its words in one piece, or nearly all of them and every one with a figure in it.
fn supports(passage: &str, expected: &str) -> bool {
    let (passage, expected) = (fold(passage), fold(expected));
    if format!(" {passage} ").contains(&format!(" {expected} ")) {
        return true;
    }
    let has: HashSet<&str> = passage.split(' ').collect();
    let wanted: Vec<&str> = expected.split(' ').collect();
    let figures = wanted.iter().filter(|word| word.chars().any(char::is_numeric));
    let n_found = wanted.iter().filter(|word| has.contains(*word)).count();
    figures.clone().all(|figure| has.contains(figure)) && n_found as f64 >= SUPPORT_SHARE * wanted.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: &str, text: Option<&str>) -> Source {
        Source { id: Some(id.to_owned()), text: text.map(str::to_owned), ..Source::default() }
    }

    #[test]
    fn what_no_document_says_is_not_the_fault_of_the_search() {
        let row = |answer: &str| Row {
            question: "Qui héberge Alpha ?".to_owned(),
            expected_answer: Some("Cette information n'est pas dans les documents.".to_owned()),
            generated_answer: Some(answer.to_owned()),
            metrics: [(std::sync::Arc::from("exact_match"), 0.0)].into(),
            sources: Some(vec![source("a", Some("nom : Alpha"))]),
            ..Row::default()
        };
        let rows = vec![row("Je ne sais pas : les documents ne le précisent pas."), row("Le centre de Nantes")];
        let results = crate::results::Results { results: rows, ..Default::default() };
        let found = attribute(&Contestant { name: "rag".to_owned(), results }, &mut Vec::new()).expect("passages were shown");
        assert_eq!((found.n_judged, found.n_wrong, found.retrieval.n, found.generation.n), (2, 1, 0, 1));
    }

    #[test]
    fn of_a_right_chunk_the_part_that_was_shown_counts() {
        let shown = |text: &str, cut: bool| {
            let mut source = source("a", Some(text));
            source.other.insert("cut".to_owned(), cut.into());
            holds_answer(&Row { sources: Some(vec![source]), gold_chunk_ids: vec!["a".to_owned()], ..Row::default() }, "En production")
        };
        assert_eq!(shown("statut : En production.", true), Some(true));
        assert_eq!(shown("nom : Alpha", true), Some(false), "the part with the answer was left out");
        assert_eq!(shown("c'est en service", false), Some(true), "the whole of a right chunk, in other words");
        let [mut first, mut second] = ["b", "a"].map(|id| source(id, Some("statut : En production.")));
        first.other.insert("shown".to_owned(), true.into());
        second.other.insert("shown".to_owned(), false.into());
        let row = Row { sources: Some(vec![first, second]), gold_chunk_ids: vec!["a".to_owned()], ..Row::default() };
        assert_eq!(holds_answer(&row, "En production"), Some(false), "there was no room for the right one");
    }

    #[test]
    fn chunks_decide_before_texts() {
        let mut row = Row { sources: Some(vec![source("a", Some("statut : En production."))]), ..Row::default() };
        assert_eq!(holds_answer(&row, "En production"), Some(true));
        assert_eq!(holds_answer(&row, "production en"), Some(true), "all of its words");
        assert_eq!(holds_answer(&row, "En projet"), Some(false));
        row.gold_chunk_ids = vec!["b".to_owned()];
        assert_eq!(holds_answer(&row, "En production"), Some(false));
        row.sources = Some(vec![source("a", None), source("b", None)]);
        assert_eq!(holds_answer(&row, "En production"), Some(true));
        row.gold_chunk_ids.clear();
        assert_eq!(holds_answer(&row, "En production"), None);
        row.sources = Some(Vec::new());
        assert_eq!(holds_answer(&row, "En production"), Some(false), "nothing was found");
        row.sources = None;
        assert_eq!(holds_answer(&row, "En production"), None);
    }

    #[test]
    fn figures_have_to_be_there() {
        let passage = "Application un deux trois quatre cinq six sept huit neuf dix, identifiant 1239";
        assert!(!supports(passage, "un deux trois quatre cinq six sept huit neuf dix 1238"));
        assert!(supports(passage, "identifiant 1239"));
        assert!(!supports("12380", "1238"), "words, not parts of them");
    }
}
