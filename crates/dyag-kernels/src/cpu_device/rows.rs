//! Numbers widened where they are bf16, and rectangles copied.

use super::CpuBuffer;
use crate::device::Place;

/// Numbers in f32, as they were or copied.
pub(super) enum Widened<'a> {
    Borrowed(&'a CpuBuffer),
    Owned(CpuBuffer),
}

impl std::ops::Deref for Widened<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Borrowed(buffer) => buffer,
            Self::Owned(buffer) => buffer,
        }
    }
}

/// Copies a `[rows, cols]` rectangle.
pub(super) fn copy_rows<T: Copy>(from: &[T], from_place: Place, to: &mut [T], to_place: Place, rows: usize, cols: usize) {
    for i in 0..rows {
        let source = (from_place.row + i) * from_place.width + from_place.col;
        let target = (to_place.row + i) * to_place.width + to_place.col;
        to[target..target + cols].copy_from_slice(&from[source..source + cols]);
    }
}
