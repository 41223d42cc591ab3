//! ROUGE (Lin 2004) as `rouge-score` 0.1.2 computes it, without stemming.
//!
//! ROUGE-1 and ROUGE-2 are overlaps of n-grams, ROUGE-L the longest common subsequence of the whole texts. ROUGE-Lsum takes lines for sentences: for each expected line, the union of its
//! longest common subsequences with all lines of the answer, where a word counts no more often than either text has it.

use std::collections::HashMap;

use super::text::{count, overlap, unicode_words};

/// How a text becomes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RougeTokenizer {
    /// The library's: lower case, runs of `a-z0-9`. An accented letter parts words, as a space does: made for English.
    Google,
    /// Ours: runs of letters, marks and digits of any script, of the composed (NFC), lower-cased text.
    Unicode,
}

impl RougeTokenizer {
    /// The name in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Google => "google-ascii",
            Self::Unicode => "unicode-words",
        }
    }

    /// The words of a text.
    pub fn tokens(self, text: &str) -> Vec<String> {
        match self {
            Self::Google => text
                .to_lowercase()
                .split(|character: char| !(character.is_ascii_lowercase() || character.is_ascii_digit()))
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
            Self::Unicode => unicode_words(text),
        }
    }
}

/// Precision, recall and their harmonic mean, in `0..=1`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RougeScore {
    /// Share of the answer that was expected.
    pub precision: f64,
    /// Share of what was expected that the answer has.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f_measure: f64,
}

impl RougeScore {
    /// Scores of `n_hits` common units, of `n_answer` and `n_expected` ones. No units at all count as one that was missed.
    fn new(n_hits: u64, n_answer: u64, n_expected: u64) -> Self {
        let precision = n_hits as f64 / n_answer.max(1) as f64;
        let recall = n_hits as f64 / n_expected.max(1) as f64;
        let f_measure = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { precision, recall, f_measure }
    }
}

/// The four scores of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// Words.
    pub rouge1: RougeScore,
    /// Pairs of words.
    pub rouge2: RougeScore,
    /// Longest common subsequence of the texts.
    pub rouge_l: RougeScore,
    /// Union of the longest common subsequences of lines.
    pub rouge_lsum: RougeScore,
}

/// Scores an answer.
pub fn rouge(answer: &str, expected: &str, tokenizer: RougeTokenizer) -> Rouge {
    let mut ids = Ids::default();
    let answer_ids = ids.of(tokenizer.tokens(answer));
    let expected_ids = ids.of(tokenizer.tokens(expected));
    let mut lines = |text: &str| -> Vec<Vec<u32>> {
        text.split('\n').filter(|line| !line.is_empty()).map(|line| ids.of(tokenizer.tokens(line))).collect()
    };
    let (answer_lines, expected_lines) = (lines(answer), lines(expected));
    Rouge {
        rouge1: ngram_score(&answer_ids, &expected_ids, 1),
        rouge2: ngram_score(&answer_ids, &expected_ids, 2),
        rouge_l: RougeScore::new(lcs_length(&expected_ids, &answer_ids), answer_ids.len() as u64, expected_ids.len() as u64),
        rouge_lsum: summary_score(&answer_lines, &expected_lines),
    }
}

/// Words as numbers, so that comparing them is cheap.
#[derive(Default)]
struct Ids(HashMap<String, u32>);

impl Ids {
    fn of(&mut self, words: Vec<String>) -> Vec<u32> {
        words
            .into_iter()
            .map(|word| {
                let next = self.0.len() as u32;
                *self.0.entry(word).or_insert(next)
            })
            .collect()
    }
}

fn ngram_score(answer: &[u32], expected: &[u32], n: usize) -> RougeScore {
    let hits = overlap(&count(answer.windows(n)), &count(expected.windows(n)));
    let n_ngrams = |words: &[u32]| (words.len() + 1).saturating_sub(n) as u64;
    RougeScore::new(hits, n_ngrams(answer), n_ngrams(expected))
}

/// Length of the longest common subsequence.
fn lcs_length(expected: &[u32], answer: &[u32]) -> u64 {
    let mut row = vec![0u64; answer.len() + 1];
    for word in expected {
        let mut diagonal = 0;
        for (j, other) in answer.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[answer.len()]
}

/// Marks the words of `expected` that belong to its longest common subsequence with `answer`: the one that the library reads out of its table. Going back from the end, equal words are
/// taken; otherwise a word of the answer is left out where that keeps strictly more than leaving out an expected one. One bit a cell says which.
fn mark_lcs(expected: &[u32], answer: &[u32], marks: &mut [bool]) {
    let width = answer.len();
    let mut leave_answer = vec![0u64; (expected.len() * width).div_ceil(64)];
    let mut row = vec![0u32; width + 1];
    for (i, word) in expected.iter().enumerate() {
        let mut diagonal = 0;
        for (j, other) in answer.iter().enumerate() {
            let (above, left) = (row[j + 1], row[j]);
            if left > above {
                let cell = i * width + j;
                leave_answer[cell / 64] |= 1 << (cell % 64);
            }
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(left) };
            diagonal = above;
        }
    }
    let (mut i, mut j) = (expected.len(), width);
    while i > 0 && j > 0 {
        let cell = (i - 1) * width + j - 1;
        if expected[i - 1] == answer[j - 1] {
            marks[i - 1] = true;
            i -= 1;
            j -= 1;
        } else if leave_answer[cell / 64] >> (cell % 64) & 1 == 1 {
            j -= 1;
        } else {
            i -= 1;
        }
    }
}

fn summary_score(answer_lines: &[Vec<u32>], expected_lines: &[Vec<u32>]) -> RougeScore {
    let mut left_in_answer = count(answer_lines.iter().flatten());
    let mut left_in_expected = count(expected_lines.iter().flatten());
    let mut n_hits = 0;
    for line in expected_lines {
        let mut marks = vec![false; line.len()];
        for answer_line in answer_lines {
            mark_lcs(line, answer_line, &mut marks);
        }
        for (word, _) in line.iter().zip(&marks).filter(|(_, marked)| **marked) {
            if let (Some(answer @ 1..), Some(expected @ 1..)) = (left_in_answer.get_mut(word), left_in_expected.get_mut(word)) {
                n_hits += 1;
                *answer -= 1;
                *expected -= 1;
            }
        }
    }
    let n_words = |lines: &[Vec<u32>]| lines.iter().map(|line| line.len() as u64).sum();
    RougeScore::new(n_hits, n_words(answer_lines), n_words(expected_lines))
}
