//! The metrics that need an encoder, over a file of results: BERTScore and embedding similarity, each beside its own baseline.
//!
//! Both are named after the model, since numbers of two encoders cannot be compared. Unrelated texts do not score 0 with either, and how much they score depends on the encoder, the language
//! and the kind of answers. So the expected answers of different questions of the set are scored against each other, and `_rescaled` scores are 0 at that mean and 1 for the same text, as
//! Zhang et al. (2020) rescale with a corpus.

use std::collections::{BTreeMap, BTreeSet};

use dyag_text::language_model::ModelFailure;
use dyag_text::{Embedder, TextRole, TokenEncoder, TokenVectors};

use super::VERSION;
use super::bertscore::{BertScore, bert_score};
use super::similarity::cosine;
use crate::results::Results;
use crate::statistics::Random;

/// Pairs that are encoded together: what is in memory at a time.
const PAIRS_A_BATCH: usize = 64;

/// Texts that a baseline is made of at most, and how many others each is paired with.
const BASELINE_TEXTS: usize = 512;
const PARTNERS: usize = 4;

/// Names of an encoder's metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderMetricNames {
    model: String,
}

impl EncoderMetricNames {
    /// For the encoder of a name: letters of ASCII, digits, `-` and `.` stay, all else becomes `-`.
    pub fn new(model: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c.to_ascii_lowercase() } else { '-' };
        Self { model: model.chars().map(plain).collect() }
    }

    /// BERTScore's `precision`, `recall`, `f1` or `f1_rescaled`.
    pub fn bertscore(&self, part: &str) -> String {
        format!("bertscore_{}_{part}", self.model)
    }

    /// The similarity.
    pub fn similarity(&self) -> String {
        format!("similarity_{}", self.model)
    }

    /// The similarity beside its baseline.
    pub fn similarity_rescaled(&self) -> String {
        format!("similarity_{}_rescaled", self.model)
    }
}

/// An encoder as both metrics see it.
#[derive(Clone, Copy)]
pub struct Encoders<'a> {
    /// For BERTScore.
    pub tokens: &'a dyn TokenEncoder,
    /// For similarity.
    pub texts: &'a dyn Embedder,
}

/// What [`Encoders::score`] added: names and means, for people.
pub type Headline = Vec<(String, f64)>;

impl Encoders<'_> {
    /// Scores every row that has an answer and an expected one, and adds the scores to the rows, and means and signatures to the figures of the set. `expected_answers` are those of all
    /// questions of the set, whatever part of it was asked: the baseline is made of them. `watch` is told how many of how many texts are encoded.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn score(
        self,
        results: &mut Results,
        expected_answers: &[&str],
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<Headline, ModelFailure> {
        let names = EncoderMetricNames::new(&self.tokens.name());
        let of_row =
            |(row, answer): (usize, &crate::results::Row)| Some((row, (answer.generated_answer.clone()?, answer.expected_answer.clone()?)));
        let (rows, pairs): (Vec<usize>, Vec<(String, String)>) = results.results.iter().enumerate().filter_map(of_row).unzip();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(answer, expected)| (answer.as_str(), expected.as_str())).collect();
        let unrelated = unrelated_pairs(expected_answers);
        let n_all = 2 * (pairs.len() + unrelated.len());
        let mut n_done = 0;
        let mut step = |n: usize| {
            n_done += n;
            watch(n_done, n_all);
        };
        let (scores, between) = (self.bert_scores(&pairs, &mut step)?, self.bert_scores(&unrelated, &mut step)?);
        let (similarities, between_texts) = (self.similarities(&pairs, &mut step)?, self.similarities(&unrelated, &mut step)?);
        let baselines = [mean(between.iter().map(|score| score.f1)), mean(between_texts.iter().copied())];
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for ((row, score), similarity) in rows.iter().zip(&scores).zip(&similarities) {
            let BertScore { precision, recall, f1 } = *score;
            let mut values = vec![
                (names.bertscore("precision"), precision),
                (names.bertscore("recall"), recall),
                (names.bertscore("f1"), f1),
                (names.similarity(), *similarity),
            ];
            values.extend(baselines[0].map(|baseline| (names.bertscore("f1_rescaled"), rescaled(f1, baseline))));
            values.extend(baselines[1].map(|baseline| (names.similarity_rescaled(), rescaled(*similarity, baseline))));
            for (name, value) in values {
                results.results[*row].metrics.insert(name.as_str().into(), value);
                *sums.entry(name).or_default() += value;
            }
        }
        let means: Headline = sums.into_iter().map(|(name, sum)| (name, sum / rows.len() as f64)).collect();
        for (name, value) in &means {
            results.metrics.values.insert(name.clone(), *value);
            results.metrics.values.insert(format!("avg_{name}"), *value);
            results.metrics.signatures.insert(name.clone(), self.signature(&names, name, baselines, unrelated.len()));
        }
        Ok(means)
    }

    /// How one of the metrics is computed.
    fn signature(self, names: &EncoderMetricNames, name: &str, baselines: [Option<f64>; 2], n_pairs: usize) -> String {
        let of_similarity = name == names.similarity() || name == names.similarity_rescaled();
        let how = if of_similarity {
            format!("embedding-similarity|cosine|{}", self.texts.signature())
        } else {
            let part =
                ["precision", "recall", "f1", "f1_rescaled"].into_iter().find(|part| name == names.bertscore(part)).unwrap_or_default();
            format!("bertscore|{}|{}|idf:no|like:bert-score-0.3.13", part.trim_end_matches("_rescaled"), self.tokens.signature())
        };
        let baseline = match baselines[usize::from(of_similarity)] {
            Some(baseline) if name.ends_with("_rescaled") => format!("|baseline:{baseline:.6} of {n_pairs} pairs of expected answers"),
            _ => String::new(),
        };
        format!("{how}{baseline}|version:{VERSION}")
    }

    fn bert_scores(self, pairs: &[(&str, &str)], step: &mut dyn FnMut(usize)) -> Result<Vec<BertScore>, ModelFailure> {
        let mut scores = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(PAIRS_A_BATCH) {
            let (texts, places) = distinct(pairs);
            let mut vectors = vec![TokenVectors::default(); texts.len()];
            self.tokens.encode_tokens(&texts, &mut |text, tokens| vectors[text] = tokens)?;
            scores.extend(places.iter().map(|[answer, expected]| bert_score(&vectors[*answer], &vectors[*expected])));
            step(pairs.len());
        }
        Ok(scores)
    }

    fn similarities(self, pairs: &[(&str, &str)], step: &mut dyn FnMut(usize)) -> Result<Vec<f64>, ModelFailure> {
        let mut similarities = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(4 * PAIRS_A_BATCH) {
            let (texts, places) = distinct(pairs);
            let vectors = self.texts.embed(&texts, TextRole::Plain)?;
            similarities.extend(places.iter().map(|[answer, expected]| cosine(&vectors[*answer], &vectors[*expected])));
            step(pairs.len());
        }
        Ok(similarities)
    }
}

fn rescaled(score: f64, baseline: f64) -> f64 {
    (score - baseline) / (1.0 - baseline)
}

/// The mean, when there is one that leaves room below 1.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let n = values.len();
    Some(values.sum::<f64>() / n as f64).filter(|mean| n > 0 && *mean < 1.0 - 1e-6)
}

/// Each text once, and the places of a pair's texts among them.
fn distinct<'a>(pairs: &[(&'a str, &'a str)]) -> (Vec<&'a str>, Vec<[usize; 2]>) {
    let mut places = BTreeMap::new();
    let mut texts = Vec::new();
    let mut place = |text: &'a str| {
        *places.entry(text).or_insert_with(|| {
            texts.push(text);
            texts.len() - 1
        })
    };
    let of_pairs = pairs.iter().map(|(answer, expected)| [place(answer), place(expected)]).collect();
    (texts, of_pairs)
}

/// Pairs of different texts, always the same for the same set of texts: the texts, sorted, mixed by a fixed seed and laid in circles of [`PAIRS_A_BATCH`], each with the [`PARTNERS`] after it.
fn unrelated_pairs<'a>(texts: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let texts: BTreeSet<&str> = texts.iter().copied().filter(|text| !text.trim().is_empty()).collect();
    let mut texts: Vec<&str> = texts.into_iter().collect();
    let mut random = Random::new(42);
    for last in (1..texts.len()).rev() {
        texts.swap(last, random.below(last + 1));
    }
    texts.truncate(BASELINE_TEXTS);
    let mut pairs = Vec::new();
    for circle in texts.chunks(PAIRS_A_BATCH) {
        // Half the circle at most, so that no pair comes twice; two texts are one pair.
        for distance in 1..=PARTNERS.min(circle.len().saturating_sub(1) / 2).max(usize::from(circle.len() == 2)) {
            let n = if circle.len() == 2 { 1 } else { circle.len() };
            pairs.extend((0..n).map(|at| (circle[at], circle[(at + distance) % circle.len()])));
        }
    }
    pairs
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
