//! Noise on the embeddings while training (NEFTune, Jain et al. 2023), as Transformers and TRL define it for one example at a time.

use dyag_model::decoder::{Noise, Pack};

use crate::order::noise_seed;
use crate::packing::Sequence;

/// What the noise of a step is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseOptions {
    /// Numerator of its size.
    pub alpha: f64,
    /// C, channels of the model.
    pub channels: usize,
    /// The run's seed.
    pub seed: u64,
    /// Number of the step, from 0.
    pub step: u64,
}

/// Puts noise on the examples of `packs`, which were made of `sequences` without sharing: uniform in `±alpha / sqrt(T C)`, T being the example's tokens. Which, follows from
/// the seed, the step and the example's number in the training set, and not from what it is packed with.
///
/// # Panics
/// If the packs share beginnings, or are not of these sequences.
pub fn add_noise(packs: &mut [Pack], sequences: &[&Sequence], numbers: &[usize], options: NoiseOptions) {
    let NoiseOptions { alpha, channels, seed, step } = options;
    assert_eq!(sequences.len(), numbers.len(), "a number for each example");
    let mut examples = sequences.iter().zip(numbers).filter(|(sequence, _)| sequence.n_rows() > 0);
    for pack in packs {
        for span in &pack.spans {
            let (sequence, number) = examples.next().expect("a span for each example");
            assert!(span.prefix.is_empty() && span.queries.len() == sequence.n_rows(), "an example by itself");
            let magnitude = (alpha / ((sequence.n_tokens() * channels) as f64).sqrt()) as f32;
            pack.noise.push(Noise { rows: span.queries.clone(), magnitude, seed: noise_seed(seed, step, *number as u64) });
        }
    }
    assert!(examples.next().is_none(), "a span for each example");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::packing::{PackOptions, pack};

    const OPTIONS: NoiseOptions = NoiseOptions { alpha: 5.0, channels: 64, seed: 42, step: 3 };

    /// Noise of each example, by number.
    fn noise(sequences: &[Sequence], numbers: &[usize], max_tokens: usize, options: NoiseOptions) -> BTreeMap<usize, Vec<f32>> {
        let chosen: Vec<&Sequence> = numbers.iter().map(|i| &sequences[*i]).collect();
        let mut packs = pack(&chosen, PackOptions { max_tokens, share_prefixes: false, rope_length: 0 });
        add_noise(&mut packs, &chosen, numbers, options);
        let all = packs.iter().flat_map(|pack| &pack.noise);
        numbers.iter().copied().zip(all.map(|noise| noise.values(options.channels).collect())).collect()
    }

    #[test]
    fn it_is_of_the_example_and_not_of_its_neighbours() {
        let sequences: Vec<Sequence> = (0..9).map(|i| Sequence::new(vec![7; 5 + i], vec![true; 5 + i])).collect();
        let together = noise(&sequences, &[0, 1, 2, 3, 4, 5, 6, 7, 8], 1000, OPTIONS);
        let otherwise = noise(&sequences, &[8, 3, 0, 5, 1, 7, 2, 6, 4], 20, OPTIONS);
        assert_eq!(together, otherwise);
        assert_ne!(together, noise(&sequences, &[0, 1, 2, 3, 4, 5, 6, 7, 8], 1000, NoiseOptions { step: 4, ..OPTIONS }));
        assert_ne!(together, noise(&sequences, &[0, 1, 2, 3, 4, 5, 6, 7, 8], 1000, NoiseOptions { seed: 43, ..OPTIONS }));
    }

    #[test]
    fn it_is_uniform_within_its_bound() {
        // 401 tokens, of which the last is only predicted.
        let sequences = [Sequence::new(vec![7; 401], vec![true; 401])];
        let values = &noise(&sequences, &[0], 1000, OPTIONS)[&0];
        assert_eq!(values.len(), 400 * 64);
        let bound = 5.0 / (401.0 * 64.0_f64).sqrt();
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
        assert!(largest <= bound * 1.000_001 && largest > 0.999 * bound, "{largest} of {bound}");
        assert!(
            mean.abs() < 4.0 * bound / (3.0 * n).sqrt() && (variance / (bound * bound / 3.0) - 1.0).abs() < 4.0 / n.sqrt(),
            "{mean} {variance}"
        );
    }
}
