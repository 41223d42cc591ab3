//! From f32 to stored elements: the other direction of [`super::widen`], for files that are written.
//!
//! A scale is chosen so that the block comes back with a small error: the formats of 32 elements take it from the largest element ([`legacy`]), the "K"
//! formats search and fit it ([`fit`], [`k`]). Sums run in eight chains, so that the compiler's vectors give the bits of the plain loop, and a file does not
//! depend on the machine that wrote it.

mod fit;
mod k;
mod legacy;
#[cfg(test)]
mod tests;

use half::{bf16, f16};

use crate::cpu::{self, Level};
use crate::weight::Format;

/// A value that the format cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unstorable {
    /// Which of the given elements.
    pub index: usize,
    /// The element: NaN, infinite, or too large for the format's scales.
    pub value: f32,
}

/// Writes `values` as whole blocks of `format`.
///
/// # Errors
/// [`Unstorable`] names the first value that is not finite, or the first of a block whose numbers are too large for the format. `out` then holds nothing of use.
///
/// # Panics
/// If `values` are no whole blocks, or `out` is of another length than they take.
pub fn quantize(format: Format, values: &[f32], out: &mut [u8]) -> Result<(), Unstorable> {
    assert_eq!(values.len() % format.block_len(), 0, "{} holds blocks of {} elements", format.name(), format.block_len());
    assert_eq!(out.len(), values.len() / format.block_len() * format.block_bytes(), "bytes and elements of {} disagree", format.name());
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(Unstorable { index, value: values[index] });
    }
    #[cfg(target_arch = "x86_64")]
    if cpu::level() >= Level::Avx2 {
        // SAFETY: `cpu::level` gives a level that this machine has, and every level from this one up has AVX2.
        return unsafe { quantize_avx2(format, values, out) };
    }
    quantize_here(format, values, out)
}

/// [`quantize_here`], compiled for AVX2.
///
/// # Safety
/// The machine must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn quantize_avx2(format: Format, values: &[f32], out: &mut [u8]) -> Result<(), Unstorable> {
    quantize_here(format, values, out)
}

#[inline(always)]
fn quantize_here(format: Format, values: &[f32], out: &mut [u8]) -> Result<(), Unstorable> {
    match format {
        Format::F32 => each_block(values, out, |x: &[f32; 1], out: &mut [u8; 4]| {
            *out = x[0].to_le_bytes();
            Some(())
        }),
        Format::F16 => each_block(values, out, |x: &[f32; 1], out: &mut [u8; 2]| put_f16(out, 0, x[0])),
        Format::Bf16 => each_block(values, out, |x: &[f32; 1], out: &mut [u8; 2]| {
            let rounded = bf16::from_f32(x[0]);
            *out = rounded.to_le_bytes();
            rounded.is_finite().then_some(())
        }),
        Format::Q4_0 => each_block(values, out, legacy::q4_0),
        Format::Q4_1 => each_block(values, out, legacy::q4_1),
        Format::Q5_0 => each_block(values, out, legacy::q5_0),
        Format::Q5_1 => each_block(values, out, legacy::q5_1),
        Format::Q8_0 => each_block(values, out, legacy::q8_0),
        Format::Q4K => each_block(values, out, k::q4_k),
        Format::Q5K => each_block(values, out, k::q5_k),
        Format::Q6K => each_block(values, out, k::q6_k),
        Format::Nf4 => {
            super::nf4::quantize(values, out);
            Ok(())
        }
    }
}

/// Runs `quantize_block` over blocks of `LEN` elements and `BYTES` bytes; it gives `None` for numbers that the format cannot hold.
#[inline(always)]
fn each_block<const LEN: usize, const BYTES: usize>(
    values: &[f32],
    out: &mut [u8],
    quantize_block: impl Fn(&[f32; LEN], &mut [u8; BYTES]) -> Option<()>,
) -> Result<(), Unstorable> {
    let (blocks, _) = values.as_chunks::<LEN>();
    let (outs, _) = out.as_chunks_mut::<BYTES>();
    for (number, (block, out)) in blocks.iter().zip(outs).enumerate() {
        if quantize_block(block, out).is_none() {
            let within = fit::largest(block).0;
            return Err(Unstorable { index: number * LEN + within, value: block[within] });
        }
    }
    Ok(())
}

/// Writes `value` as f16 at `out[at..at + 2]`; `None` where it is too large.
#[inline(always)]
fn put_f16(out: &mut [u8], at: usize, value: f32) -> Option<()> {
    let half = f16::from_f32(value);
    out[at..at + 2].copy_from_slice(&half.to_le_bytes());
    half.is_finite().then_some(())
}

/// Rounded to f16 and widened again: what a reader will multiply with.
#[inline(always)]
fn through_f16(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}
