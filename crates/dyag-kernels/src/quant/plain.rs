//! Formats whose block is one number.

/// Four bytes, little-endian.
#[inline]
pub(super) fn f32(block: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*block);
}

/// IEEE half precision.
#[inline]
pub(super) fn f16(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = super::f16_at(block, 0);
}

/// The upper half of an f32.
#[inline]
pub(super) fn bf16(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
}
