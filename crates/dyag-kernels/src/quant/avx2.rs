//! Widening with AVX2.

use crate::weight::Format;

/// Widens if there is a kernel for `format`.
pub(super) fn widen(_format: Format, _bytes: &[u8], _out: &mut [f32]) -> bool {
    false
}
