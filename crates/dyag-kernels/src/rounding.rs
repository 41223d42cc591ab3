//! Rounding to bf16.

/// The bf16 nearest to `value`, ties to even, as f32; NaN stays NaN.
#[inline(always)]
pub fn round_to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    if value.is_nan() { value } else { f32::from_bits(rounded) }
}
