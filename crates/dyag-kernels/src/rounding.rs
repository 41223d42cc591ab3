//! Rounding to bf16.

/// The bf16 nearest to `value`, ties to even, as f32; NaN stays NaN.
#[inline(always)]
pub fn round_to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    if value.is_nan() { value } else { f32::from_bits(rounded) }
}

/// The bits of the bf16 nearest to `value`, ties to even; NaN stays NaN.
#[inline(always)]
pub fn to_bf16(value: f32) -> u16 {
    // A NaN whose upper half alone would be infinity gets a bit that keeps it one.
    let nan = if value.is_nan() { 0x40 } else { 0 };
    (round_to_bf16(value).to_bits() >> 16) as u16 | nan
}
