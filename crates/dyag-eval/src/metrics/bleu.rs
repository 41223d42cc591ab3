//! BLEU (Papineni et al. 2002) as sacrebleu 2.6 computes it (Post 2018): one reference, case kept, n-grams of one to four words, exponential smoothing (Chen and Cherry 2014, method 3).

use std::ops::AddAssign;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::VERSION;
use super::text::{count, is_python_space, pattern, split_spaces};

/// Longest n-gram.
const MAX_ORDER: usize = 4;

/// How a text becomes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BleuTokenizer {
    /// `mteval-v13a.pl`'s, which WMT uses: ASCII punctuation and symbols apart, full stops and commas kept within numbers.
    #[serde(rename = "13a")]
    V13a,
    /// `mteval-v14.pl`'s international one: all of Unicode's punctuation and symbols apart, punctuation kept between digits.
    #[serde(rename = "intl")]
    International,
}

impl BleuTokenizer {
    /// The name in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::V13a => "13a",
            Self::International => "intl",
        }
    }

    /// The words of a text.
    pub fn tokens(self, text: &str) -> Vec<String> {
        let text = text.trim_end_matches(is_python_space);
        let text = match self {
            Self::V13a => separate_13a(text),
            Self::International => separate_international(text),
        };
        split_spaces(&text).map(str::to_owned).collect()
    }
}

/// Applies rules one after the other.
fn apply(rules: &[(Regex, &str)], text: String) -> String {
    rules.iter().fold(text, |text, (rule, replacement)| rule.replace_all(&text, *replacement).into_owned())
}

fn separate_13a(text: &str) -> String {
    static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        [
            // ASCII but letters, digits and ' , - .
            (pattern(r"([\x20-\x26\x28-\x2B\x2F\x3A-\x40\x5B-\x60\x7B-\x7E])"), " ${1} "),
            // Full stops and commas, unless a digit stands before them
            (pattern(r"([^0-9])([.,])"), "${1} ${2} "),
            // and unless one stands behind them
            (pattern(r"([.,])([^0-9])"), " ${1} ${2}"),
            // A hyphen behind a digit
            (pattern(r"([0-9])(-)"), "${1} ${2} "),
        ]
    });
    let mut text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    // In this order: `&amp;lt;` is `<`.
    for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(entity, character);
    }
    apply(&*RULES, format!(" {text} "))
}

fn separate_international(text: &str) -> String {
    static RULES: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        [(pattern(r"(\P{N})(\p{P})"), "${1} ${2} "), (pattern(r"(\p{P})(\P{N})"), " ${1} ${2}"), (pattern(r"(\p{S})"), " ${1} ")]
    });
    apply(&*RULES, text.to_owned())
}

/// The whole numbers from which BLEU is computed. Those of a set of answers are the sums of theirs, so that a set is resampled without looking at a text again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BleuStats {
    /// Words of the answer.
    pub answer_length: u64,
    /// Words of the expected text.
    pub expected_length: u64,
    /// The answer's n-grams that were expected, for n from one to four; each no more often than the expected text has it.
    pub n_correct: [u64; MAX_ORDER],
    /// The answer's n-grams.
    pub n_total: [u64; MAX_ORDER],
}

impl BleuStats {
    /// Counts the n-grams of one answer.
    pub fn new(answer: &str, expected: &str, tokenizer: BleuTokenizer) -> Self {
        let (answer, expected) = (tokenizer.tokens(answer), tokenizer.tokens(expected));
        let mut stats = Self { answer_length: answer.len() as u64, expected_length: expected.len() as u64, ..Self::default() };
        for order in 1..=MAX_ORDER {
            let expected = count(expected.windows(order));
            for (ngram, n) in count(answer.windows(order)) {
                stats.n_total[order - 1] += n;
                stats.n_correct[order - 1] += n.min(expected.get(ngram).copied().unwrap_or(0));
            }
        }
        stats
    }

    /// BLEU of a set of answers, in `0..=100`. Zero where no answer has four words.
    pub fn corpus_score(&self) -> f64 {
        self.score(false)
    }

    /// BLEU of one answer, in `0..=100`: only n-grams as long as the answer count ("effective order").
    pub fn sentence_score(&self) -> f64 {
        self.score(true)
    }

    /// The answer is shorter than expected: what that costs, a factor.
    pub fn brevity_penalty(&self) -> f64 {
        if self.answer_length >= self.expected_length {
            1.0
        } else if self.answer_length == 0 {
            0.0
        } else {
            (1.0 - self.expected_length as f64 / self.answer_length as f64).exp()
        }
    }

    fn score(&self, effective_order: bool) -> f64 {
        if self.n_correct.iter().all(|&n| n == 0) {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let mut log_sum = 0.0;
        let mut order = 0;
        for (&n_correct, &n_total) in self.n_correct.iter().zip(&self.n_total) {
            if n_total == 0 {
                break;
            }
            order += 1;
            log_sum += if n_correct == 0 {
                smoothing *= 2.0;
                (100.0 / (smoothing * n_total as f64)).ln()
            } else {
                (100.0 * n_correct as f64 / n_total as f64).ln()
            };
        }
        if order < MAX_ORDER && !effective_order {
            // A precision of zero: no smoothing of n-grams that the answers are too short for.
            return 0.0;
        }
        self.brevity_penalty() * (log_sum / order as f64).exp()
    }
}

impl AddAssign for BleuStats {
    fn add_assign(&mut self, other: Self) {
        self.answer_length += other.answer_length;
        self.expected_length += other.expected_length;
        for order in 0..MAX_ORDER {
            self.n_correct[order] += other.n_correct[order];
            self.n_total[order] += other.n_total[order];
        }
    }
}

impl std::iter::Sum for BleuStats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        super::add_all(stats)
    }
}

impl<'a> std::iter::Sum<&'a BleuStats> for BleuStats {
    fn sum<I: Iterator<Item = &'a Self>>(stats: I) -> Self {
        super::add_all(stats.copied())
    }
}

/// How BLEU was computed, with sacrebleu's fields.
pub fn bleu_signature(tokenizer: BleuTokenizer, effective_order: bool) -> String {
    let eff = if effective_order { "yes" } else { "no" };
    format!("nrefs:1|case:mixed|eff:{eff}|tok:{}|smooth:exp|version:{VERSION}", tokenizer.name())
}
