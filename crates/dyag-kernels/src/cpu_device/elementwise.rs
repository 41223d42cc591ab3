//! Norms, rotary embedding, activations, gate, dropout and optimiser: operations on rows or single elements, forward and backward side by side.

use rayon::prelude::*;

use super::math::{self, for_each_level};
use crate::cpu::Level;
use crate::device::{Activation, AdamwStep};
use crate::random::dropped;
use crate::rounding::to_bf16;

/// Elements a task takes of an operation on single elements. Fixed: partial sums follow it.
pub(super) const CHUNK: usize = 1 << 14;

for_each_level! {
    /// One row of RMSNorm; returns `1 / rms`.
    fn rms_norm_row(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) -> f32 {
        let mean = math::sum_of_squares(x) / x.len() as f32;
        let inv_rms = 1.0 / (mean + eps).sqrt();
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = w * (x * inv_rms);
        }
        inv_rms
    }
}

for_each_level! {
    /// One row of the gradient of RMSNorm, added to `d_x`.
    fn rms_norm_backward_row(d_y: &[f32], x: &[f32], w: &[f32], r: f32, d_x: &mut [f32]) {
        let c = x.len();
        let dot = math::sum_of_products(d_y, w, x) / c as f32;
        let shift = r * r * r * dot;
        for (((d_x, d_y), x), w) in d_x.iter_mut().zip(d_y).zip(x).zip(w) {
            *d_x += r * (w * d_y) - shift * x;
        }
    }
}

/// RMSNorm of rows of `w.len()` channels.
pub(super) fn rms_norm(level: Level, x: &[f32], w: &[f32], eps: f32, y: &mut [f32], inv_rms: &mut [f32]) {
    let c = w.len();
    assert!(x.len().is_multiple_of(c) && x.len() == y.len() && inv_rms.len() == x.len() / c);
    y.par_chunks_mut(c).zip(x.par_chunks(c)).zip(inv_rms).with_min_len(16).for_each(|((y, x), r)| *r = rms_norm_row(level, x, w, eps, y));
}

for_each_level! {
    /// [`rms_norm_row`] with its result rounded to bf16.
    fn rms_norm_row_narrow(x: &[f32], w: &[f32], eps: f32, y: &mut [u16]) -> f32 {
        let mean = math::sum(x.len(), |i| x[i] * x[i]) / x.len() as f32;
        let inv_rms = 1.0 / (mean + eps).sqrt();
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = to_bf16(w * (x * inv_rms));
        }
        inv_rms
    }
}

/// [`rms_norm`] with its result rounded to bf16.
pub(super) fn rms_norm_narrow(level: Level, x: &[f32], w: &[f32], eps: f32, y: &mut [u16], inv_rms: &mut [f32]) {
    let c = w.len();
    assert!(x.len().is_multiple_of(c) && x.len() == y.len() && inv_rms.len() == x.len() / c);
    let rows = y.par_chunks_mut(c).zip(x.par_chunks(c)).zip(inv_rms).with_min_len(16);
    rows.for_each(|((y, x), r)| *r = rms_norm_row_narrow(level, x, w, eps, y));
}

/// Gradient of RMSNorm, added to `d_x`.
pub(super) fn rms_norm_backward(level: Level, d_y: &[f32], x: &[f32], w: &[f32], inv_rms: &[f32], d_x: &mut [f32]) {
    let c = w.len();
    assert!(x.len().is_multiple_of(c) && x.len() == d_y.len() && x.len() == d_x.len() && inv_rms.len() == x.len() / c);
    d_x.par_chunks_mut(c)
        .zip(d_y.par_chunks(c))
        .zip(x.par_chunks(c))
        .zip(inv_rms)
        .with_min_len(16)
        .for_each(|(((d_x, d_y), x), r)| rms_norm_backward_row(level, d_y, x, w, *r, d_x));
}

for_each_level! {
    /// One row of LayerNorm of `x + residual`; without a residual it is empty. The sums of the row lie in `y` until it is normalised.
    fn layer_norm_row(x: &[f32], residual: &[f32], w: &[f32], b: &[f32], eps: f32, y: &mut [f32]) {
        if residual.is_empty() {
            y.copy_from_slice(x);
        } else {
            for ((y, x), residual) in y.iter_mut().zip(x).zip(residual) {
                *y = x + residual;
            }
        }
        let scale = 1.0 / y.len() as f32;
        let mean = math::sum_of_slice(y) * scale;
        for y in y.iter_mut() {
            *y -= mean;
        }
        let r = 1.0 / (math::sum_of_squares(y) * scale + eps).sqrt();
        for ((y, w), b) in y.iter_mut().zip(w).zip(b) {
            *y = w * (*y * r) + b;
        }
    }
}

/// LayerNorm of rows of `w.len()` channels, of which `residual` has as many where there is one.
pub(super) fn layer_norm(level: Level, x: &[f32], residual: Option<&[f32]>, (w, b): (&[f32], &[f32]), eps: f32, y: &mut [f32]) {
    let c = w.len();
    assert!(c == b.len() && x.len().is_multiple_of(c) && x.len() == y.len() && residual.is_none_or(|residual| residual.len() == x.len()));
    y.par_chunks_mut(c).zip(x.par_chunks(c)).enumerate().with_min_len(16).for_each(|(i, (y, x))| {
        let residual = residual.map_or(&[][..], |residual| &residual[i * c..(i + 1) * c]);
        layer_norm_row(level, x, residual, w, b, eps, y);
    });
}

for_each_level! {
    /// Rotates the pairs `(i, i + rotary/2)` of one head by the angles of `cos` and `sin`; `sign` is -1 for the inverse.
    fn rotate_head(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        let half = cos.len();
        let (low, rest) = head.split_at_mut(half);
        for (((a, b), c), s) in low.iter_mut().zip(rest).zip(cos).zip(sin) {
            let (x, y, s) = (*a, *b, sign * s);
            *a = x * c - y * s;
            *b = y * c + x * s;
        }
    }
}

/// Rotary embedding of `[T, n_heads, D]`; `cos` and `sin` are `[T, half]`.
pub(super) fn rope(level: Level, x: &mut [f32], n_heads: usize, head_size: usize, cos: &[f32], sin: &[f32], inverse: bool) {
    let width = n_heads * head_size;
    let rows = x.len() / width;
    let half = cos.len() / rows.max(1);
    assert!(x.len() == rows * width && cos.len() == rows * half && cos.len() == sin.len() && 2 * half <= head_size);
    let sign = if inverse { -1.0 } else { 1.0 };
    x.par_chunks_mut(width).zip(cos.par_chunks(half)).zip(sin.par_chunks(half)).with_min_len(16).for_each(|((row, cos), sin)| {
        for head in row.chunks_exact_mut(head_size) {
            rotate_head(level, head, cos, sin, sign);
        }
    });
}

/// Constants of the tanh approximation of GELU.
const GELU: (f32, f32) = (0.797_884_6, 0.044_715);

#[inline(always)]
fn silu(g: f32) -> f32 {
    g * math::sigmoid(g)
}

/// Value and slope.
#[inline(always)]
fn silu_slope(g: f32) -> (f32, f32) {
    let s = math::sigmoid(g);
    (g * s, s * (1.0 + g * (1.0 - s)))
}

#[inline(always)]
fn gelu(g: f32) -> f32 {
    0.5 * g * (1.0 + math::tanh(GELU.0 * (g + GELU.1 * g * g * g)))
}

/// Value and slope.
#[inline(always)]
fn gelu_slope(g: f32) -> (f32, f32) {
    let t = math::tanh(GELU.0 * (g + GELU.1 * g * g * g));
    (0.5 * g * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * g * (1.0 - t * t) * GELU.0 * (1.0 + 3.0 * GELU.1 * g * g))
}

#[inline(always)]
fn gelu_erf(g: f32) -> f32 {
    0.5 * g * (1.0 + math::erf(g * std::f32::consts::FRAC_1_SQRT_2))
}

/// Value and slope.
#[inline(always)]
fn gelu_erf_slope(g: f32) -> (f32, f32) {
    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
    let normal = 0.5 * (1.0 + math::erf(g * std::f32::consts::FRAC_1_SQRT_2));
    (g * normal, normal + g * DENSITY * math::exp(-0.5 * g * g))
}

#[inline(always)]
fn relu(g: f32) -> f32 {
    if g < 0.0 { 0.0 } else { g }
}

/// Value and slope.
#[inline(always)]
fn relu_slope(g: f32) -> (f32, f32) {
    (relu(g), if g > 0.0 { 1.0 } else { 0.0 })
}

/// An element as it is kept: f32, or bits of bf16.
pub(super) trait Element: Copy + Send + Sync {
    fn widen(self) -> f32;
    fn narrow(value: f32) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
}

impl Element for u16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        to_bf16(value)
    }
}

for_each_level! {
    fn to_halves_part(from: &[f32], to: &mut [u16]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = to_bf16(*from);
        }
    }
}

for_each_level! {
    fn from_halves_part(from: &[u16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.widen();
        }
    }
}

/// Rounds to bf16.
pub(super) fn to_halves(level: Level, from: &[f32], to: &mut [u16]) {
    to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| to_halves_part(level, from, to));
}

/// Widens to f32.
pub(super) fn from_halves(level: Level, from: &[u16], to: &mut [f32]) {
    to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| from_halves_part(level, from, to));
}

#[inline(always)]
fn gate<T: Element>(gate: &[T], up: &[T], out: &mut [T], activate: impl Fn(f32) -> f32) {
    for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
        *o = T::narrow(activate(g.widen()) * u.widen());
    }
}

#[inline(always)]
fn gate_backward<T: Element>(d_out: &[T], gate: &mut [T], up: &mut [T], activate: impl Fn(f32) -> (f32, f32)) {
    for ((d, g), u) in d_out.iter().zip(gate).zip(up) {
        let (value, slope) = activate(g.widen());
        let d = d.widen();
        *g = T::narrow(d * u.widen() * slope);
        *u = T::narrow(d * value);
    }
}

#[inline(always)]
fn apply<T: Element>(x: &mut [T], activate: impl Fn(f32) -> f32) {
    for x in x {
        *x = T::narrow(activate(x.widen()));
    }
}

/// Defines the activation by itself, the gate and its backward for one kind of element.
macro_rules! gates {
    ($element:ty, $apply:ident, $apply_part:ident, $forward:ident, $forward_part:ident, $backward:ident, $backward_part:ident) => {
        for_each_level! {
            fn $apply_part(activation: Activation, x: &mut [$element]) {
                match activation {
                    Activation::Silu => apply(x, silu),
                    Activation::GeluTanh => apply(x, gelu),
                    Activation::Gelu => apply(x, gelu_erf),
                    Activation::Relu => apply(x, relu),
                }
            }
        }

        /// `x = activation(x)`.
        pub(super) fn $apply(level: Level, activation: Activation, x: &mut [$element]) {
            x.par_chunks_mut(CHUNK).for_each(|x| $apply_part(level, activation, x));
        }

        for_each_level! {
            fn $forward_part(activation: Activation, of_gate: &[$element], up: &[$element], out: &mut [$element]) {
                match activation {
                    Activation::Silu => gate(of_gate, up, out, silu),
                    Activation::GeluTanh => gate(of_gate, up, out, gelu),
                    Activation::Gelu => gate(of_gate, up, out, gelu_erf),
                    Activation::Relu => gate(of_gate, up, out, relu),
                }
            }
        }

        for_each_level! {
            fn $backward_part(activation: Activation, d_out: &[$element], of_gate: &mut [$element], up: &mut [$element]) {
                match activation {
                    Activation::Silu => gate_backward(d_out, of_gate, up, silu_slope),
                    Activation::GeluTanh => gate_backward(d_out, of_gate, up, gelu_slope),
                    Activation::Gelu => gate_backward(d_out, of_gate, up, gelu_erf_slope),
                    Activation::Relu => gate_backward(d_out, of_gate, up, relu_slope),
                }
            }
        }

        /// `out = activation(gate) * up`.
        pub(super) fn $forward(level: Level, activation: Activation, gate: &[$element], up: &[$element], out: &mut [$element]) {
            assert!(gate.len() == up.len() && gate.len() == out.len());
            out.par_chunks_mut(CHUNK)
                .zip(gate.par_chunks(CHUNK))
                .zip(up.par_chunks(CHUNK))
                .for_each(|((out, gate), up)| $forward_part(level, activation, gate, up, out));
        }

        /// Gradients written over `gate` and `up`.
        pub(super) fn $backward(level: Level, activation: Activation, d_out: &[$element], gate: &mut [$element], up: &mut [$element]) {
            assert!(gate.len() == up.len() && gate.len() == d_out.len());
            d_out
                .par_chunks(CHUNK)
                .zip(gate.par_chunks_mut(CHUNK))
                .zip(up.par_chunks_mut(CHUNK))
                .for_each(|((d_out, gate), up)| $backward_part(level, activation, d_out, gate, up));
        }
    };
}

gates!(f32, activate, activate_part, gated, gated_part, gated_backward, gated_backward_part);
gates!(u16, activate_narrow, activate_narrow_part, gated_narrow, gated_narrow_part, gated_backward_narrow, gated_backward_narrow_part);

/// `x += y`.
pub(super) fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len());
    x.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
}

/// Inverted dropout, a function of `seed` and the element's index alone.
pub(super) fn dropout(p: f32, seed: u64, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    let scale = 1.0 / (1.0 - p);
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).enumerate().for_each(|(chunk, (out, x))| {
        for (i, (o, x)) in out.iter_mut().zip(x).enumerate() {
            *o = if dropped(p, seed, chunk * CHUNK + i) { 0.0 } else { x * scale };
        }
    });
}

/// The place of the largest value of each row, the first of equal ones; NaN is never the largest.
pub(super) fn largest(x: &[f32], width: usize) -> Vec<u32> {
    x.par_chunks_exact(width).map(largest_of_row).collect()
}

/// The largest value first, in lanes that a compiler puts side by side, then its place.
fn largest_of_row(row: &[f32]) -> u32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = row.as_chunks::<16>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let largest = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |largest, value| if *value > largest { *value } else { largest });
    if largest == f32::NEG_INFINITY {
        return 0;
    }
    row.iter().position(|value| *value == largest).map_or(0, |place| place as u32)
}

/// Sum of squares in f64: within chunks of [`CHUNK`] and then over them, in order.
pub(super) fn sum_of_squares(x: &[f32]) -> f64 {
    let parts: Vec<f64> = x.par_chunks(CHUNK).map(|part| part.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()).collect();
    parts.iter().sum()
}

for_each_level! {
    fn adamw_part(step: AdamwStep, gradient: &[f32], parameter: &mut [f32], first: &mut [f32], second: &mut [f32]) {
        let AdamwStep { learning_rate, beta1, beta2, eps, weight_decay, t, gradient_scale } = step;
        let first_correction = (1.0 - f64::from(beta1).powi(t as i32)) as f32;
        let second_root = (1.0 - f64::from(beta2).powi(t as i32)).sqrt() as f32;
        let step_size = learning_rate / first_correction;
        let keep = 1.0 - learning_rate * weight_decay;
        for (((g, p), m), v) in gradient.iter().zip(parameter).zip(first).zip(second) {
            let g = g * gradient_scale;
            *m = *m + (g - *m) * (1.0 - beta1);
            *v = *v * beta2 + g * g * (1.0 - beta2);
            *p = *p * keep - step_size * (*m / (v.sqrt() / second_root + eps));
        }
    }
}

/// One AdamW update, decoupled weight decay first, as PyTorch does it.
pub(super) fn adamw(level: Level, step: AdamwStep, gradient: &[f32], parameter: &mut [f32], first: &mut [f32], second: &mut [f32]) {
    let n = gradient.len();
    assert!(parameter.len() == n && first.len() == n && second.len() == n);
    gradient
        .par_chunks(CHUNK)
        .zip(parameter.par_chunks_mut(CHUNK))
        .zip(first.par_chunks_mut(CHUNK))
        .zip(second.par_chunks_mut(CHUNK))
        .for_each(|(((g, p), m), v)| adamw_part(level, step, g, p, m, v));
}
