//! Writing GGUF's blocks of 32 elements. Scale, integers and rounding are those of the Python `gguf` package, bit for bit: the scale comes from the largest
//! element, integers are rounded before the scale is.

use super::fit::{inverse, largest};
use super::put_f16;

/// The elements as integers from 0 to `highest`, rounded half up.
#[inline(always)]
fn integers(x: &[f32; 32], to_level: impl Fn(f32) -> f32, highest: u8) -> [u8; 32] {
    let mut q = [0; 32];
    for (q, x) in q.iter_mut().zip(x) {
        // The cast cuts the fraction off.
        *q = (to_level(*x) as u8).min(highest);
    }
    q
}

/// Element `i` low, element `i + 16` high, four bits each.
#[inline(always)]
fn put_nibbles(q: &[u8; 32], out: &mut [u8]) {
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = q[i] & 15 | q[i + 16] << 4;
    }
}

/// The fifth bits, one an element.
#[inline(always)]
fn fifth_bits(q: &[u8; 32]) -> [u8; 4] {
    q.iter().enumerate().fold(0u32, |bits, (i, q)| bits | u32::from(q >> 4 & 1) << i).to_le_bytes()
}

/// The smallest and the largest element.
#[inline(always)]
fn bounds(x: &[f32; 32]) -> (f32, f32) {
    x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)))
}

#[inline(always)]
pub(super) fn q4_0(x: &[f32; 32], out: &mut [u8; 18]) -> Option<()> {
    let d = largest(x).1 / -8.0;
    let to_level = inverse(d);
    put_nibbles(&integers(x, |x| x * to_level + 8.5, 15), &mut out[2..]);
    put_f16(out, 0, d)
}

#[inline(always)]
pub(super) fn q4_1(x: &[f32; 32], out: &mut [u8; 20]) -> Option<()> {
    let (low, high) = bounds(x);
    let d = (high - low) / 15.0;
    let to_level = inverse(d);
    put_nibbles(&integers(x, |x| (x - low) * to_level + 0.5, 15), &mut out[4..]);
    put_f16(out, 2, low)?;
    put_f16(out, 0, d)
}

#[inline(always)]
pub(super) fn q5_0(x: &[f32; 32], out: &mut [u8; 22]) -> Option<()> {
    let d = largest(x).1 / -16.0;
    let to_level = inverse(d);
    let q = integers(x, |x| x * to_level + 16.5, 31);
    out[2..6].copy_from_slice(&fifth_bits(&q));
    put_nibbles(&q, &mut out[6..]);
    put_f16(out, 0, d)
}

#[inline(always)]
pub(super) fn q5_1(x: &[f32; 32], out: &mut [u8; 24]) -> Option<()> {
    let (low, high) = bounds(x);
    let d = (high - low) / 31.0;
    let to_level = inverse(d);
    let q = integers(x, |x| (x - low) * to_level + 0.5, 31);
    out[4..8].copy_from_slice(&fifth_bits(&q));
    put_nibbles(&q, &mut out[8..]);
    put_f16(out, 2, low)?;
    put_f16(out, 0, d)
}

#[inline(always)]
pub(super) fn q8_0(x: &[f32; 32], out: &mut [u8; 34]) -> Option<()> {
    let d = largest(x).1.abs() / 127.0;
    let to_level = inverse(d);
    for (byte, x) in out[2..].iter_mut().zip(x) {
        // Half away from zero: what is cut off after adding a half in the direction of the sign. `x * to_level` is at most 127 and a rounding.
        let level = x * to_level;
        *byte = (half_away(level) as i8) as u8;
    }
    put_f16(out, 0, d)
}

/// The nearest whole number, halves away from zero; [`f32::round`] without a call.
#[inline(always)]
fn half_away(x: f32) -> f32 {
    let size = x.abs();
    let whole = size as i32 as f32;
    // The difference is exact, and so is its double.
    (whole + if size - whole >= 0.5 { 1.0 } else { 0.0 }).copysign(x)
}
