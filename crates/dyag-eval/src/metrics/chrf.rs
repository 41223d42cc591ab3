//! chrF (Popović 2015) and chrF++ (Popović 2017) as sacrebleu 2.6 computes them: one reference, case kept, n-grams of one to six characters without spaces, beta 2, no epsilon smoothing.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::VERSION;
use super::text::{count, is_python_space, overlap, split_spaces};

/// Longest n-gram of characters.
const CHARACTER_ORDER: usize = 6;
/// Longest n-gram of words in chrF++.
const WORD_ORDER: usize = 2;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Chrf {
    /// chrF2: characters alone.
    #[serde(rename = "chrF2")]
    Chrf2,
    /// chrF2++: characters, words and pairs of words.
    #[serde(rename = "chrF2++")]
    PlusPlus,
}

impl Chrf {
    /// The longest n-gram of words that counts.
    pub fn word_order(self) -> usize {
        match self {
            Self::Chrf2 => 0,
            Self::PlusPlus => WORD_ORDER,
        }
    }

    /// How it was computed, with sacrebleu's fields.
    pub fn signature(self) -> String {
        format!("nrefs:1|case:mixed|eff:yes|nc:{CHARACTER_ORDER}|nw:{}|space:no|version:{VERSION}", self.word_order())
    }
}

/// N-grams of one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChrfCounts {
    /// The answer's; none where the expected text is too short to have any.
    pub n_answer: u64,
    /// The expected text's.
    pub n_expected: u64,
    /// Those in both.
    pub n_match: u64,
}

/// The whole numbers from which chrF and chrF++ are computed: those of a set of answers are the sums of theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChrfStats {
    /// N-grams of one to six characters.
    pub characters: [ChrfCounts; CHARACTER_ORDER],
    /// N-grams of one and two words.
    pub words: [ChrfCounts; WORD_ORDER],
}

impl ChrfStats {
    /// Counts the n-grams of one answer.
    pub fn new(answer: &str, expected: &str) -> Self {
        let characters = |text: &str| -> Vec<char> { text.chars().filter(|&character| !is_python_space(character)).collect() };
        let mut stats = Self::default();
        count_orders(&characters(answer), &characters(expected), &mut stats.characters);
        count_orders(&words(answer), &words(expected), &mut stats.words);
        stats
    }

    /// The F score, in `0..=100`: of one answer, or of a set when these are sums. Precision and recall are means over the lengths of n-gram that both sides have.
    pub fn score(&self, kind: Chrf) -> f64 {
        const BETA_SQUARED: f64 = 4.0;
        let (mut precision, mut recall, mut n_orders) = (0.0, 0.0, 0.0);
        for counts in self.characters.iter().chain(&self.words[..kind.word_order()]) {
            if counts.n_answer > 0 && counts.n_expected > 0 {
                precision += counts.n_match as f64 / counts.n_answer as f64;
                recall += counts.n_match as f64 / counts.n_expected as f64;
                n_orders += 1.0;
            }
        }
        if n_orders == 0.0 || precision + recall == 0.0 {
            return 0.0;
        }
        precision /= n_orders;
        recall /= n_orders;
        100.0 * ((1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall))
    }
}

fn count_orders<T: Eq + std::hash::Hash>(answer: &[T], expected: &[T], orders: &mut [ChrfCounts]) {
    for (n, counts) in (1..).zip(orders) {
        let n_ngrams = |length: usize| (length + 1).saturating_sub(n) as u64;
        let n_expected = n_ngrams(expected.len());
        if n_expected > 0 {
            let n_match = overlap(&count(answer.windows(n)), &count(expected.windows(n)));
            *counts = ChrfCounts { n_answer: n_ngrams(answer.len()), n_expected, n_match };
        }
    }
}

/// The words of a text, with one mark of ASCII punctuation taken off: the last one if there is one, else the first. A mark alone is a word.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in split_spaces(text) {
        let is_single = word.chars().nth(1).is_none();
        if !is_single && word.ends_with(|last: char| last.is_ascii_punctuation()) {
            words.extend([&word[..word.len() - 1], &word[word.len() - 1..]]);
        } else if !is_single && word.starts_with(|first: char| first.is_ascii_punctuation()) {
            words.extend([&word[..1], &word[1..]]);
        } else {
            words.push(word);
        }
    }
    words
}

impl AddAssign for ChrfStats {
    fn add_assign(&mut self, other: Self) {
        let mine = self.characters.iter_mut().chain(&mut self.words);
        for (mine, theirs) in mine.zip(other.characters.iter().chain(&other.words)) {
            mine.n_answer += theirs.n_answer;
            mine.n_expected += theirs.n_expected;
            mine.n_match += theirs.n_match;
        }
    }
}

impl std::iter::Sum for ChrfStats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        super::add_all(stats)
    }
}

impl<'a> std::iter::Sum<&'a ChrfStats> for ChrfStats {
    fn sum<I: Iterator<Item = &'a Self>>(stats: I) -> Self {
        super::add_all(stats.copied())
    }
}
