//! Widening stored blocks to f32.

use crate::weight::Format;

/// Widens whole blocks of `format` to f32. `bytes` must hold exactly `out.len() / block_len` blocks.
///
/// # Panics
/// If the two lengths do not agree.
pub fn widen(format: Format, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len(), out.len() / format.block_len() * format.block_bytes());
    match format {
        Format::F32 => {
            for (o, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *o = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        _ => todo!("block formats"),
    }
}
