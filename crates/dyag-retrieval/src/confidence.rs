//! How sure a search is that what it found bears on the question.

use std::collections::HashSet;

use dyag_text::chunk::Chunk;
use serde::Serialize;

use crate::analysis::{Analyzer, Language, searched_text};

/// Share of the question's weight below which words alone do not speak for a passage, where there are no vectors.
const LITTLE_COVERAGE: f64 = 0.2;
/// The same where the vectors do not speak for it either. Chosen, with [`FAR`] and [`VERY_FAR`], on questions inside and outside a collection (docs/benchmarks.md says what they lose and see).
const SOME_COVERAGE: f64 = 0.33;
/// The same where the vectors speak against it.
const HALF_COVERAGE: f64 = 0.5;
/// Share of the question's weight from which words alone do speak for a passage.
const MUCH_COVERAGE: f64 = 0.65;
/// Standard deviations above unrelated passages below which a vector does not speak for a passage.
const FAR: f64 = 0.5;
/// Below which it speaks against it.
const VERY_FAR: f64 = -1.0;
/// From which a vector alone speaks for it.
const NEAR: f64 = 2.0;

/// What a search makes of its own result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing found bears on the question: a model should not be asked.
    Nothing,
    /// Something may.
    Unsure,
    /// Something does.
    Sure,
}

impl Verdict {
    /// In a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing relevant found",
            Self::Unsure => "perhaps relevant",
            Self::Sure => "relevant",
        }
    }
}

/// How sure, and from what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confidence {
    /// What follows.
    pub verdict: Verdict,
    /// The largest share of the question's words that one of the passages has, rare words counting more (by inverse document frequency), 0 to 1.
    pub coverage: f64,
    /// The largest cosine of question and passage, where there are vectors.
    pub cosine: Option<f64>,
    /// That cosine in standard deviations above those of unrelated passages of the collection.
    pub deviations: Option<f64>,
    /// Words of the question that stand nowhere in the collection, nor anything like them.
    pub unknown_words: Vec<String>,
}

/// A word of the question: what counts as it, and how much it weighs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WeighedWord {
    /// The word, or what it was corrected to.
    pub(crate) forms: Vec<String>,
    /// Its inverse document frequency.
    pub(crate) weight: f64,
}

/// What a word that stands nowhere in the collection weighs, beside one that stands in a single passage: it may be a name that is missing, or a way of putting it.
pub(crate) const UNKNOWN_SHARE: f64 = 0.6;

/// `ln(1 + (n - df + 0.5) / (df + 0.5))`, BM25's.
pub(crate) fn inverse_document_frequency(document_frequency: u64, n: usize) -> f64 {
    let (df, n) = (document_frequency as f64, n as f64);
    (1.0 + (n - df + 0.5).max(0.0) / (df + 0.5)).ln()
}

/// The largest share of the words' weight that one passage has.
pub(crate) fn coverage(analyzer: &Analyzer, words: &[WeighedWord], languages: &[Language], chunks: &[Chunk]) -> f64 {
    let all: f64 = words.iter().map(|word| word.weight).sum();
    if all <= 0.0 {
        return 0.0;
    }
    let share = |chunk: &Chunk| {
        let text = searched_text(chunk);
        let language = analyzer.language(&text).unwrap_or(languages[0]);
        let stems: HashSet<String> = analyzer.stems(&text, language).into_iter().collect();
        let has =
            |word: &&WeighedWord| word.forms.iter().any(|form| analyzer.stems(form, language).iter().any(|stem| stems.contains(stem)));
        words.iter().filter(has).map(|word| word.weight).sum::<f64>() / all
    };
    chunks.iter().map(share).fold(0.0, f64::max)
}

/// What follows from words and vectors.
pub(crate) fn verdict(coverage: f64, deviations: Option<f64>) -> Verdict {
    match deviations {
        None if coverage < LITTLE_COVERAGE => Verdict::Nothing,
        None if coverage >= MUCH_COVERAGE => Verdict::Sure,
        None => Verdict::Unsure,
        Some(deviations) if deviations < VERY_FAR && coverage < HALF_COVERAGE => Verdict::Nothing,
        Some(deviations) if deviations < FAR && coverage < SOME_COVERAGE => Verdict::Nothing,
        Some(deviations) if deviations >= NEAR || (coverage >= MUCH_COVERAGE && deviations >= FAR) => Verdict::Sure,
        Some(_) => Verdict::Unsure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_vectors_together_say_what_is_relevant() {
        for (coverage, deviations, expected) in [
            (0.0, None, Verdict::Nothing),
            (0.3, None, Verdict::Unsure),
            (0.7, None, Verdict::Sure),
            (0.0, Some(0.4), Verdict::Nothing),
            (0.4, Some(-1.7), Verdict::Nothing),
            (0.4, Some(0.0), Verdict::Unsure),
            (0.0, Some(0.6), Verdict::Unsure),
            (0.0, Some(2.5), Verdict::Sure),
            (0.9, Some(0.7), Verdict::Sure),
            (0.9, Some(-2.0), Verdict::Unsure),
        ] {
            assert_eq!(verdict(coverage, deviations), expected, "{coverage} {deviations:?}");
        }
    }

    #[test]
    fn rare_words_weigh_more_and_all_is_above_zero() {
        assert!(inverse_document_frequency(1, 100) > inverse_document_frequency(50, 100));
        assert!(inverse_document_frequency(100, 100) > 0.0);
    }
}
