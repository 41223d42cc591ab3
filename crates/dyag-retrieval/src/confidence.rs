//! How sure a search is that what it found bears on the question.

use std::collections::HashSet;

use dyag_text::chunk::Chunk;
use serde::Serialize;

use crate::analysis::{Analyzer, Language, searched_text};

/// Share of the question's weight below which words alone do not speak for a passage.
const LITTLE_COVERAGE: f64 = 0.34;
/// Share of the question's weight from which words alone do.
const MUCH_COVERAGE: f64 = 0.65;
/// Standard deviations above unrelated passages from which a vector alone speaks for a passage.
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
#[derive(Clone, Debug)]
pub(crate) struct WeighedWord {
    /// The word, or what it was corrected to.
    pub(crate) forms: Vec<String>,
    /// Its inverse document frequency.
    pub(crate) weight: f64,
}

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
        _ if coverage >= MUCH_COVERAGE => Verdict::Sure,
        Some(deviations) if deviations < NEAR && coverage < LITTLE_COVERAGE => Verdict::Nothing,
        None if coverage < LITTLE_COVERAGE => Verdict::Nothing,
        _ => Verdict::Unsure,
    }
}
