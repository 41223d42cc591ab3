//! The numbers of BM25 as tantivy computes them, in single precision and with its rounding of lengths, so that every store gives a passage the same score.

use tantivy::fieldnorm::FieldNormReader;

use crate::analysis::{Field, Terms};

/// How soon a term's repetitions stop counting.
const K1: f32 = 1.2;
/// How much a passage's length counts.
const B: f32 = 0.75;

/// How many passages there are and how many terms they have, by [`Field::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passages: u64,
    pub(crate) terms: [u64; 3],
}

impl Totals {
    /// Adds a passage.
    pub(crate) fn add(&mut self, terms: &Terms) {
        self.passages += 1;
        for field in Field::ALL {
            self.terms[field as usize] += terms.of(field).len() as u64;
        }
    }

    /// What a passage's length adds to the frequency of a term below the line, by field and [`length_class`].
    pub(crate) fn norms(&self) -> Vec<f32> {
        let of_field = |field: Field| {
            let average = self.terms[field as usize] as f32 / self.passages as f32;
            (0..=u8::MAX).map(move |class| K1 * (1.0 - B + B * FieldNormReader::id_to_fieldnorm(class) as f32 / average))
        };
        Field::ALL.into_iter().flat_map(of_field).collect()
    }

    /// A term's weight that stands in `frequency` passages and counts `weight`.
    pub(crate) fn weight(&self, frequency: u64, weight: f32) -> f32 {
        let x = (self.passages.saturating_sub(frequency) as f32 + 0.5) / (frequency as f32 + 0.5);
        (1.0 + x).ln() * (1.0 + K1) * weight
    }
}

/// A length as indexes keep it: one of 256 classes.
pub(crate) fn length_class(terms: usize) -> u8 {
    FieldNormReader::fieldnorm_to_id(u32::try_from(terms).unwrap_or(u32::MAX))
}

/// The part of a term's score that the passage has: at most 1 + [`K1`].
pub(crate) fn passage_part(frequency: u32, norm: f32) -> f32 {
    (1.0 + K1) * saturation(frequency, norm)
}

/// The same below 1: what a term's weight is multiplied by.
pub(crate) fn saturation(frequency: u32, norm: f32) -> f32 {
    frequency as f32 / (frequency as f32 + norm)
}

/// The terms of a field with their frequencies, in order.
pub(crate) fn frequencies(terms: &[String]) -> Vec<(&str, u32)> {
    let mut sorted: Vec<&str> = terms.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect()
}
