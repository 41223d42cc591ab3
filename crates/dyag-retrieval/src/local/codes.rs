//! Eight-bit copies of a generation's vectors: a search looks through these and compares the best of them exactly, which reads a quarter of the bytes.
//!
//! A copy is a row of Q8_0 (32 numbers share a scale in f16), so the engine's products with quantised weights read it. A number is off by half a step of its block at most, in the question's vector too,
//! so a cosine by some 5e-4; what a search compares exactly is several times what it wants.

use std::io::{self, Write};

use dyag_kernels::Format;
use dyag_kernels::quant::quantize;

/// Vectors from which on a collection has copies, unless it is told otherwise: below, comparing all of them exactly takes a few milliseconds.
pub(crate) const FROM: usize = 50_000;
/// What is compared exactly: so many times what is wanted,
const TIMES_WANTED: usize = 4;
/// and at least so many.
const FEWEST: usize = 256;

/// What copies are stored in.
pub(super) const FORMAT: Format = Format::Q8_0;

/// Numbers of a copy of a vector of `dimension` numbers: zeros fill its last block.
pub(super) fn padded(dimension: usize) -> usize {
    dimension.next_multiple_of(FORMAT.block_len())
}

/// How many of the best copies are compared exactly for `wanted` passages.
pub(super) fn candidates(wanted: usize) -> usize {
    wanted.saturating_mul(TIMES_WANTED).max(FEWEST)
}

/// Writes copies of unit vectors of `dimension` numbers, one after the other.
///
/// # Errors
/// What `out` says; a number that is not finite.
pub(super) fn write(rows: &[&[f32]], dimension: usize, out: &mut dyn Write) -> io::Result<()> {
    let width = padded(dimension);
    let (mut values, mut bytes) = (vec![0.0; width], vec![0; FORMAT.row_bytes(width).unwrap_or(0)]);
    for row in rows {
        values[..dimension].copy_from_slice(row);
        quantize(FORMAT, &values, &mut bytes).map_err(|error| io::Error::other(format!("a vector with the number {}", error.value)))?;
        out.write_all(&bytes)?;
    }
    Ok(())
}
