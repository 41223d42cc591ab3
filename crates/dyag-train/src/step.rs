//! One optimiser step's arithmetic: packs to summed gradients, and the factor they are applied with.

use std::sync::atomic::{AtomicBool, Ordering};

use dyag_kernels::Device;
use dyag_kernels::device::LossSum;
use dyag_model::decoder::{Checkpointing, Decoder, DeviceAdapter, Dropout, Pack, StepOptions};

use crate::order::dropout_seed;

/// How the packs of a step are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientOptions {
    /// What the forward keeps.
    pub checkpointing: Checkpointing,
    /// Share of the adapters' inputs that are dropped; 0 for none.
    pub dropout: f32,
    /// The run's seed.
    pub seed: u64,
    /// Number of the step, from 0.
    pub step: u64,
}

/// Sums loss and gradients over `packs`: a pure function of weights and packs, so that several machines can each take some packs and add.
/// `gradients` is overwritten. `None` when `stop` was raised between two packs.
pub fn summed_gradients<D: Device>(
    decoder: &Decoder<D>,
    adapter: &DeviceAdapter<D>,
    packs: &[Pack],
    options: GradientOptions,
    gradients: &mut DeviceAdapter<D>,
    stop: &AtomicBool,
) -> Option<LossSum> {
    let GradientOptions { checkpointing, dropout, seed, step } = options;
    gradients.fill_zero(decoder.device());
    let mut sum = LossSum::default();
    for (index, pack) in packs.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let dropout = (dropout > 0.0).then(|| Dropout { p: dropout, seed: dropout_seed(seed, step, index as u64) });
        sum += decoder.loss_and_gradients(adapter, pack, &StepOptions { checkpointing, dropout }, gradients);
    }
    Some(sum)
}

/// Sums the loss over `packs` without gradients.
pub fn summed_loss<D: Device>(decoder: &Decoder<D>, adapter: &DeviceAdapter<D>, packs: &[Pack]) -> LossSum {
    let mut sum = LossSum::default();
    for pack in packs {
        sum += decoder.loss(Some(adapter), pack);
    }
    sum
}

/// Global norm of the mean gradient, and what the summed gradients are multiplied with: one over the number of tokens, and PyTorch's
/// `clip_grad_norm_` (`max / (norm + 1e-6)`, at most 1) when `clip` is above 0.
pub fn norm_and_scale(sum_of_squares: f64, n_tokens: f64, clip: f64) -> (f64, f64) {
    let norm = sum_of_squares.sqrt() / n_tokens;
    let factor = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
    (norm, factor / n_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_as_pytorch_does() {
        // Sum of gradients 30 over 10 tokens: norm 3.
        let (norm, scale) = norm_and_scale(900.0, 10.0, 0.3);
        assert_eq!(norm, 3.0);
        assert!((scale - 0.3 / (3.0 + 1e-6) / 10.0).abs() < 1e-15);
        // Below the limit, and without one.
        assert_eq!(norm_and_scale(900.0, 10.0, 5.0).1, 0.1);
        assert_eq!(norm_and_scale(900.0, 10.0, 0.0).1, 0.1);
        // At the limit PyTorch's epsilon still shrinks it a little.
        assert!(norm_and_scale(900.0, 10.0, 3.0).1 < 0.1);
    }
}
