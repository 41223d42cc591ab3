//! Widening stored elements to f32: one scalar specification for each format, and faster twins that give the same bits.
//!
//! The block formats are GGUF's, and [`nf4`]. A block keeps small integers and one or two f16 scales; [`plain`], [`legacy`] and [`k`] say
//! how, one function a format. [`avx2`] and [`avx512`] do the same arithmetic in the same order (a product, then a sum, each rounded), so that
//! their results are the scalar ones bit for bit and a machine's instruction set never shows in the numbers.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod integers;
mod k;
mod legacy;
pub(crate) mod nf4;
mod plain;
mod quantize;
#[cfg(test)]
mod tests;

pub(crate) use integers::integers;
pub use quantize::{Unstorable, quantize};

use crate::cpu::{self, Level};
use crate::weight::Format;

/// Widens whole blocks of `format` to f32. `bytes` must hold exactly `out.len() / block_len` blocks.
///
/// # Panics
/// If the two lengths do not agree.
pub fn widen(format: Format, bytes: &[u8], out: &mut [f32]) {
    // SAFETY: `cpu::level` gives a level that this machine has.
    unsafe { widen_unchecked(cpu::level().vector(), format, bytes, out) }
}

/// [`widen`] with the instruction set named, for tests and benchmarks.
///
/// # Panics
/// If the two lengths do not agree, or if this machine lacks `level`.
pub fn widen_at(level: Level, format: Format, bytes: &[u8], out: &mut [f32]) {
    assert!(level <= cpu::detected(), "this machine lacks {}", level.name());
    // SAFETY: the machine has `level`, as was just asserted.
    unsafe { widen_unchecked(level.vector(), format, bytes, out) }
}

/// [`widen`] at `level`.
///
/// # Safety
/// The machine must have `level`.
unsafe fn widen_unchecked(level: Level, format: Format, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(out.len() % format.block_len(), 0, "{} holds blocks of {} elements", format.name(), format.block_len());
    assert_eq!(bytes.len(), out.len() / format.block_len() * format.block_bytes(), "bytes and elements of {} disagree", format.name());
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the caller vouches for `level`.
        let done = unsafe {
            match level {
                Level::Avx512 | Level::Avx512Bf16 | Level::Amx => {
                    avx512::widen(format, bytes, out);
                    true
                }
                Level::Avx2 => avx2::widen(format, bytes, out),
                Level::Scalar => false,
            }
        };
        if done {
            return;
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    widen_scalar(format, bytes, out);
}

/// Widens whole blocks and rounds them to bf16, as [`widen`] and rounding to nearest even do, but denormal numbers to zero. `false`, with `out` untouched, where this machine
/// or the format has no kernel for it.
///
/// # Panics
/// If the two lengths do not agree.
pub(crate) fn halves(format: Format, bytes: &[u8], out: &mut [u16]) -> bool {
    assert_eq!(out.len() % format.block_len(), 0, "{} holds blocks of {} elements", format.name(), format.block_len());
    assert_eq!(bytes.len(), out.len() / format.block_len() * format.block_bytes(), "bytes and elements of {} disagree", format.name());
    #[cfg(target_arch = "x86_64")]
    if crate::cpu_device::bf16_dots_available() {
        // SAFETY: the machine has the instructions.
        return unsafe { avx512::halves(format, bytes, out) };
    }
    false
}

/// Columns that [`dots`] takes at a time.
pub(crate) const COLUMNS: usize = 4;

/// Elements of which a row of `format` must have a multiple for [`dots`].
pub(crate) fn dots_len(format: Format) -> usize {
    format.block_len().max(16)
}

/// Dot products `[row][column]` of up to three rows with four runs of stored elements, widened in registers, where this machine has a kernel for it. Each
/// has sixteen chains, element `k` in chain `k mod 16`, folded by halves: what [`crate::cpu_device`] makes of widened rows, bit for bit.
pub(crate) fn dots(level: Level, format: Format, w: [&[u8]; COLUMNS], x: &[&[f32]]) -> Option<[[f32; COLUMNS]; 3]> {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        let mut out = [[0.0; COLUMNS]; 3];
        // SAFETY: the level was found on this machine.
        unsafe {
            match *x {
                [a] => out[..1].copy_from_slice(&avx512::dots(format, w, [a])),
                [a, b] => out[..2].copy_from_slice(&avx512::dots(format, w, [a, b])),
                [a, b, c] => out = avx512::dots(format, w, [a, b, c]),
                _ => return None,
            }
        }
        return Some(out);
    }
    let _ = (level, format, w, x);
    None
}

/// The specification.
fn widen_scalar(format: Format, bytes: &[u8], out: &mut [f32]) {
    match format {
        Format::F32 => each_block(bytes, out, plain::f32),
        Format::F16 => each_block(bytes, out, plain::f16),
        Format::Bf16 => each_block(bytes, out, plain::bf16),
        Format::Q4_0 => each_block(bytes, out, legacy::q4_0),
        Format::Q4_1 => each_block(bytes, out, legacy::q4_1),
        Format::Q5_0 => each_block(bytes, out, legacy::q5_0),
        Format::Q5_1 => each_block(bytes, out, legacy::q5_1),
        Format::Q8_0 => each_block(bytes, out, legacy::q8_0),
        Format::Q4K => each_block(bytes, out, k::q4_k),
        Format::Q5K => each_block(bytes, out, k::q5_k),
        Format::Q6K => each_block(bytes, out, k::q6_k),
        Format::Nf4 => each_block(bytes, out, nf4::nf4),
    }
}

/// Runs `widen_block` over blocks of `BYTES` bytes and `LEN` elements.
fn each_block<const BYTES: usize, const LEN: usize>(bytes: &[u8], out: &mut [f32], widen_block: impl Fn(&[u8; BYTES], &mut [f32; LEN])) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (outs, _) = out.as_chunks_mut::<LEN>();
    for (block, out) in blocks.iter().zip(outs) {
        widen_block(block, out);
    }
}

/// The f16 at `bytes[at..at + 2]`, widened.
fn f16_at(bytes: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Scales and minimums of the eight sub-blocks of Q4_K and Q5_K, a byte each from the lowest up: [`k::scales_and_minimums`] on whole words.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn packed_scales(packed: &[u8; 12]) -> (u64, u64) {
    let word = |at: usize| u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]]);
    let (s, m, both) = (word(0), word(4), word(8));
    let upper = |first: u32, nibbles: u32| u64::from(nibbles & 0x0f0f_0f0f | (first >> 6 & 0x0303_0303) << 4) << 32;
    (u64::from(s & 0x3f3f_3f3f) | upper(s, both), u64::from(m & 0x3f3f_3f3f) | upper(m, both >> 4))
}
