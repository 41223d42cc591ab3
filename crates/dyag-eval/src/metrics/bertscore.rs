//! BERTScore (Zhang et al. 2020) as bert-score 0.3.13 computes it without idf: each token of a text is matched with the most similar token of the other.
//!
//! Similarity is the cosine of the tokens' vectors after one layer of an encoder. The special tokens around a text may be matched, but do not count; precision is the mean over the answer's
//! tokens, recall over the expected text's. A text without a token scores 0. Where bert-score pads texts to one length, it takes 0 for the similarity of a padded place, so that a token all of
//! whose similarities are negative scores 0 in some batches; here, as when it scores one pair at a time, it scores what it has.

use dyag_text::TokenVectors;

/// BERTScore of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BertScore {
    /// Mean best similarity of the answer's tokens.
    pub precision: f64,
    /// Mean best similarity of the expected text's tokens.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// The score of an answer from the vectors of its tokens and of the expected text's, by one encoder.
///
/// # Panics
/// If the vectors have different widths, or a text has not as many vectors as tokens.
pub fn bert_score(answer: &TokenVectors, expected: &TokenVectors) -> BertScore {
    assert!(answer.width == expected.width, "vectors of one encoder");
    if !answer.counts.contains(&true) || !expected.counts.contains(&true) {
        return BertScore::default();
    }
    let [answer_units, expected_units] = [answer, expected].map(unit_vectors);
    let mut best_of_expected = vec![f32::NEG_INFINITY; expected.counts.len()];
    let mut precision = 0.0;
    for (vector, counts) in answer_units.chunks_exact(answer.width).zip(&answer.counts) {
        let mut best = f32::NEG_INFINITY;
        for (other, best_of_other) in expected_units.chunks_exact(expected.width).zip(&mut best_of_expected) {
            let similarity = dot(vector, other);
            best = best.max(similarity);
            *best_of_other = best_of_other.max(similarity);
        }
        precision += if *counts { f64::from(best) } else { 0.0 };
    }
    let recall: f64 =
        best_of_expected.iter().zip(&expected.counts).map(|(best, counts)| if *counts { f64::from(*best) } else { 0.0 }).sum();
    let n = |text: &TokenVectors| text.counts.iter().filter(|counts| **counts).count() as f64;
    let (precision, recall) = (precision / n(answer), recall / n(expected));
    let sum = precision + recall;
    BertScore { precision, recall, f1: if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum } }
}

/// The vectors, scaled to length 1.
fn unit_vectors(text: &TokenVectors) -> Vec<f32> {
    assert_eq!(text.values.len(), text.width * text.counts.len(), "a vector a token");
    let mut units = Vec::with_capacity(text.values.len());
    for vector in text.values.chunks_exact(text.width) {
        let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        units.extend(vector.iter().map(|v| (f64::from(*v) / norm) as f32));
    }
    units
}

/// Sum of products, in sixteen partial sums.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// The layers that bert-score 0.3.13 takes for the BERT and RoBERTa models it knows (its `model2layers`), by the last part of their names.
const TUNED_LAYERS: [(&str, usize); 27] = [
    ("bert-base-uncased", 9),
    ("bert-large-uncased", 18),
    ("bert-base-cased-finetuned-mrpc", 9),
    ("bert-base-multilingual-cased", 9),
    ("bert-base-chinese", 8),
    ("roberta-base", 10),
    ("roberta-large", 17),
    ("roberta-large-mnli", 19),
    ("roberta-base-openai-detector", 7),
    ("roberta-large-openai-detector", 15),
    ("scibert_scivocab_uncased", 8),
    ("scibert_scivocab_cased", 9),
    ("scibert_basevocab_uncased", 9),
    ("distilroberta-base", 5),
    ("xlm-roberta-base", 9),
    ("xlm-roberta-large", 17),
    ("bertweet-base", 9),
    ("spanbert-base-cased", 8),
    ("spanbert-large-cased", 17),
    ("finbert", 10),
    ("bert-base-turkish-cased", 10),
    ("unsup-simcse-bert-base-uncased", 10),
    ("unsup-simcse-bert-large-uncased", 18),
    ("unsup-simcse-roberta-base", 8),
    ("sup-simcse-bert-base-uncased", 10),
    ("sup-simcse-bert-large-uncased", 18),
    ("sup-simcse-roberta-base", 10),
];

/// The layer to take of a model of `n_layers` layers in a folder of this name: bert-score's where it knows the name, else three quarters of the way up, rounded up, which is what its tuning on
/// average gives (9 of 12, 18 of 24, 5 of 6).
pub fn layer_of(name: &str, n_layers: usize) -> usize {
    let name = name.to_lowercase();
    let tuned = TUNED_LAYERS.iter().find(|(known, layer)| *known == name && *layer <= n_layers).map(|(_, layer)| *layer);
    tuned.unwrap_or((3 * n_layers).div_ceil(4))
}
