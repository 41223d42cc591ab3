//! How much of an answer stands in the passages it was given: its content words, and apart from them its numbers, dates, versions and identifiers.
//!
//! A definition of our own, counted and not judged, so that the same texts always give the same numbers. Words are compared in lower case and without accents; words that every text has
//! (`stop_words`) and words of the question do not count, and neither do figures among the words, which are compared as values ([`super::facts`]). An answer without such
//! words, or without such values, has no share of them.
//!
//! What it does not see: the order of words and who did what to whom (an answer that swaps two names of its passages is grounded), negation, synonyms and inflected forms (which count as
//! missing), numbers in words, and whether a passage has anything to do with the question. A high share does not say that an answer is right; a low one says that it was not taken from
//! the passages word for word.

use std::collections::{BTreeSet, HashSet};

use super::facts::{Fact, Language, compare_facts};
use super::text::unicode_words;
use super::{VERSION, stop_words};

/// Share of the content words of a sentence from which it counts as grounded, where all its values are.
const GROUNDED_SENTENCE: f64 = 0.8;

/// Parts of a text that stand in passages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Support {
    /// Content words that count, each as often as it stands there.
    pub n_words: usize,
    /// Those that stand in a passage.
    pub n_words_found: usize,
    /// Content words that stand in no passage, each once, folded, in order of the alphabet.
    pub words_missing: Vec<String>,
    /// Values that stand in a passage, or that a date of a passage tells; each once.
    pub facts_found: Vec<Fact>,
    /// Values that do not.
    pub facts_missing: Vec<Fact>,
}

impl Support {
    /// Share of the content words that stand in a passage, in `0..=1`; none without such words.
    pub fn words(&self) -> Option<f64> {
        (self.n_words > 0).then(|| self.n_words_found as f64 / self.n_words as f64)
    }

    /// Share of the numbers, dates, versions and identifiers that stand in a passage, in `0..=1`; none without such values.
    pub fn facts(&self) -> Option<f64> {
        let n = self.facts_found.len() + self.facts_missing.len();
        (n > 0).then(|| self.facts_found.len() as f64 / n as f64)
    }

    /// Whether all values and at least eight in ten of the content words stand in a passage; none where there is nothing to look for.
    pub fn is_grounded(&self) -> Option<bool> {
        if self.n_words == 0 && self.facts().is_none() {
            return None;
        }
        Some(self.facts_missing.is_empty() && self.words().is_none_or(|share| share >= GROUNDED_SENTENCE))
    }
}

/// An answer beside the passages it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Groundedness {
    /// The whole answer.
    pub answer: Support,
    /// Its sentences, in order, with their text.
    pub sentences: Vec<(String, Support)>,
}

impl Groundedness {
    /// Share of the sentences that are grounded, those without anything to look for aside; in `0..=1`, none where there is no other.
    pub fn sentences_share(&self) -> Option<f64> {
        let grounded: Vec<bool> = self.sentences.iter().filter_map(|(_, support)| support.is_grounded()).collect();
        (!grounded.is_empty()).then(|| grounded.iter().filter(|grounded| **grounded).count() as f64 / grounded.len() as f64)
    }
}

/// Looks for the parts of an answer in `passages`. Words and values of `question` are given with it, and do not count.
pub fn groundedness(question: &str, answer: &str, passages: &[&str], language: Language) -> Groundedness {
    let context = Context::new(question, passages, language);
    let sentences = sentences(answer).into_iter().map(|sentence| (sentence.to_owned(), context.support(sentence))).collect();
    Groundedness { answer: context.support(answer), sentences }
}

/// How it is computed, in one line; `part` is `words`, `facts` or `sentences`.
pub fn groundedness_signature(part: &str, language: Language) -> String {
    let how = match part {
        "facts" => "facts:as-values".to_owned(),
        "sentences" => format!("words>={GROUNDED_SENTENCE}|facts:all"),
        _ => format!("tok:unicode-words|norm:lower-no-accents|stop:{}|figures:no", stop_words::NAME),
    };
    format!("groundedness|{part}|{how}|question:not-counted|lang:{}|version:{VERSION}", language.name())
}

/// What an answer is looked up in.
struct Context<'a> {
    question: &'a str,
    passages: String,
    words: HashSet<String>,
    not_counted: HashSet<String>,
    language: Language,
}

impl<'a> Context<'a> {
    fn new(question: &'a str, passages: &[&str], language: Language) -> Self {
        // An empty line parts them: no value goes from one to the next.
        let passages = passages.join("\n\n");
        let words = folded_words(&passages).collect();
        let stop = stop_words::of(language).iter().map(|word| (*word).to_owned());
        Self { question, words, not_counted: stop.chain(folded_words(question)).collect(), passages, language }
    }

    fn support(&self, text: &str) -> Support {
        let counts = |word: &String| !self.not_counted.contains(word) && !word.chars().any(char::is_numeric);
        let (mut n_words, mut n_words_found, mut missing) = (0, 0, BTreeSet::new());
        for word in folded_words(text).filter(counts) {
            n_words += 1;
            if self.words.contains(&word) {
                n_words_found += 1;
            } else {
                missing.insert(word);
            }
        }
        let known = super::facts::facts(self.question, self.language);
        let is_new = |fact: &Fact| !known.iter().any(|given| given.is_same(fact));
        let mut report = compare_facts(&self.passages, text, self.question, self.language);
        report.found.retain(is_new);
        report.missing.retain(is_new);
        Support {
            n_words,
            n_words_found,
            words_missing: missing.into_iter().collect(),
            facts_found: report.found,
            facts_missing: report.missing,
        }
    }
}

/// Words in lower case and without accents.
fn folded_words(text: &str) -> impl Iterator<Item = String> {
    unicode_words(text).into_iter().map(|word| dyag_text::near_duplicates::fold(&word))
}

/// The sentences of an answer: its lines, cut after `.`, `!`, `?` before white space.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        for (at, c) in line.char_indices() {
            let end = at + c.len_utf8();
            if matches!(c, '.' | '!' | '?' | '…') && line[end..].starts_with(char::is_whitespace) {
                found.push(line[start..end].trim());
                start = end;
            }
        }
        found.push(line[start..].trim());
    }
    found.retain(|sentence| sentence.chars().any(char::is_alphanumeric));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSAGES: [&str; 2] =
        ["L'application Géo-IDE est en production depuis le 12 mars 2019.", "Port par défaut : 8080. Éditeur : CGDD."];

    fn of(question: &str, answer: &str) -> Groundedness {
        groundedness(question, answer, &PASSAGES, Language::French)
    }

    #[test]
    fn words_and_values_are_counted_apart() {
        let all = of("", "Elle est en PRODUCTION depuis mars 2019, sur le port 8080.");
        assert_eq!((all.answer.words(), all.answer.facts()), (Some(1.0), Some(1.0)), "{all:?}");
        let made_up = of("", "Production abandonnée en 2021, port 8080");
        assert_eq!((made_up.answer.n_words, made_up.answer.n_words_found), (3, 2));
        assert_eq!(made_up.answer.words_missing, ["abandonnee"]);
        assert_eq!(made_up.answer.facts(), Some(0.5));
    }

    #[test]
    fn accents_case_stop_words_and_the_question_do_not_count() {
        assert_eq!(of("", "editeur cgdd").answer.words(), Some(1.0));
        assert_eq!(of("", "C'est pour elle, avec les nôtres").answer.words(), None);
        let repeated = of("Quel est le budget de Chorus 7 ?", "Budget de Chorus 7 : production");
        assert_eq!((repeated.answer.words(), repeated.answer.facts()), (Some(1.0), None));
        assert_eq!(of("", "12").answer.words(), None);
    }

    #[test]
    fn sentences_are_judged_one_by_one() {
        let two = of("", "L'application est en production. Elle coûte 300 euros !\n- Éditeur : CGDD");
        let grounded: Vec<Option<bool>> = two.sentences.iter().map(|(_, support)| support.is_grounded()).collect();
        assert_eq!(grounded, [Some(true), Some(false), Some(true)], "{two:?}");
        assert_eq!(two.sentences_share(), Some(2.0 / 3.0));
        assert_eq!(of("", " … ").sentences_share(), None);
    }

    #[test]
    fn a_swap_of_names_is_not_seen_and_the_documentation_says_so() {
        assert_eq!(of("", "Géo-IDE : éditeur de CGDD").answer.words(), Some(1.0));
    }
}
