//! Angles of the rotary embedding.

use dyag_kernels::Device;

use crate::config::{DecoderConfig, Rope, RopeScaling};

/// How far every token's heads are turned.
pub(super) struct Angles<D: Device> {
    /// In all layers, or those without a window.
    pub(super) full: Turns<D>,
    /// In layers with a window, where they are others.
    pub(super) windowed: Option<Turns<D>>,
}

/// cos and sin of every token's angles, `[T, rotary/2]` each, on the device.
pub(super) struct Turns<D: Device> {
    pub(super) cos: D::Buffer,
    pub(super) sin: D::Buffer,
}

impl<D: Device> Angles<D> {
    /// For tokens at given positions, each with the length of its sequence, which decides between Phi-3's two lists of divisors.
    pub(super) fn new(device: &D, config: &DecoderConfig, tokens: &[(u32, usize)]) -> Self {
        let turns = |rope| Turns::new(device, rope, tokens);
        Self { full: turns(&config.rope), windowed: config.window_rope.as_ref().map(turns) }
    }
}

impl<D: Device> Turns<D> {
    fn new(device: &D, rope: &Rope, tokens: &[(u32, usize)]) -> Self {
        let [(short, scale), (long, _)] = [0, usize::MAX].map(|length| frequencies(rope, length));
        let limit = rope.short_up_to().unwrap_or(usize::MAX);
        let angles = || {
            tokens.iter().flat_map(|(position, length)| {
                let frequencies = if *length > limit { &long } else { &short };
                frequencies.iter().map(move |f| f64::from(*f * *position as f32))
            })
        };
        let cos: Vec<f32> = angles().map(|angle| (angle.cos() * scale) as f32).collect();
        let sin: Vec<f32> = angles().map(|angle| (angle.sin() * scale) as f32).collect();
        Self { cos: device.upload(&cos), sin: device.upload(&sin) }
    }
}

/// Radians a position for each pair of channels, and what cos and sin are multiplied with. Rounded to f32 as Transformers holds them.
fn frequencies(rope: &Rope, longest: usize) -> (Vec<f32>, f64) {
    let half = rope.rotary_size / 2;
    let plain = |i: usize| rope.theta.powf(-(2.0 * i as f64) / rope.rotary_size as f64);
    let divided = |divisors: &[f32]| (0..half).map(|i| (plain(i) / f64::from(divisors[i])) as f32).collect();
    match &rope.scaling {
        RopeScaling::None => ((0..half).map(|i| plain(i) as f32).collect(), 1.0),
        RopeScaling::Linear { factor } => ((0..half).map(|i| (plain(i) / factor) as f32).collect(), 1.0),
        RopeScaling::Divisors(divisors) => (divided(divisors), 1.0),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
            let original = *original_max_positions as f64;
            let stretched = |i: usize| {
                let frequency = plain(i);
                let turns = original * frequency / std::f64::consts::TAU; // original length over the wavelength
                if turns < *low_freq_factor {
                    frequency / factor
                } else if turns > *high_freq_factor {
                    frequency
                } else {
                    let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            };
            ((0..half).map(|i| stretched(i) as f32).collect(), 1.0)
        }
        RopeScaling::LongRope { short, long, original_max_positions, attention_factor } => {
            (divided(if longest > *original_max_positions { long } else { short }), *attention_factor)
        }
    }
}

#[cfg(test)]
mod tests;
