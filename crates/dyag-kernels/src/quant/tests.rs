//! Every format at every level against the Python `gguf` package, and the levels against each other.

use std::path::Path;

use super::{widen_at, widen_scalar};
use crate::cpu;
use crate::rounding::round_to_bf16;
use crate::weight::Format;

const FORMATS: [Format; 12] = [
    Format::F32,
    Format::F16,
    Format::Bf16,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q5_0,
    Format::Q5_1,
    Format::Q8_0,
    Format::Q4K,
    Format::Q5K,
    Format::Q6K,
    Format::Nf4,
];

/// Blocks and their elements as tools/reference/make_quant_fixtures.py wrote them.
fn fixture(format: Format) -> (Vec<u8>, Vec<f32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/quant").join(format!("{}.bin", format.name()));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let n_blocks = u32::from_le_bytes(file[..4].try_into().unwrap()) as usize;
    let (blocks, values) = file[4..].split_at(n_blocks * format.block_bytes());
    let values: Vec<f32> = values.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(values.len(), n_blocks * format.block_len());
    (blocks.to_vec(), values)
}

/// Fails unless both are the same bits, any NaN being as good as any other.
fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(f.to_bits() == e.to_bits() || f.is_nan() && e.is_nan(), "{what}: element {i} is {f:e}, expected {e:e}");
    }
}

/// A small linear generator: tests need bytes, not randomness.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn every_level_equals_the_python_package_bit_for_bit() {
    for format in FORMATS.into_iter().filter(|f| !matches!(f, Format::F32 | Format::Nf4)) {
        let (blocks, expected) = fixture(format);
        for level in cpu::available() {
            let mut out = vec![f32::NAN; expected.len()];
            widen_at(level, format, &blocks, &mut out);
            assert_same_bits(&out, &expected, &format!("{} at {}", format.name(), level.name()));
        }
    }
}

#[test]
fn levels_agree_on_any_bytes_any_number_of_blocks_and_any_alignment() {
    for format in FORMATS {
        for n_blocks in (0..=19).chain([63, 64, 65, 127]) {
            for shift in 0..3 {
                let store = bytes(n_blocks as u64 * 3 + shift as u64, n_blocks * format.block_bytes() + shift);
                let blocks = &store[shift..];
                let mut expected = vec![0.0; n_blocks * format.block_len()];
                widen_scalar(format, blocks, &mut expected);
                for level in cpu::available() {
                    // The elements beside the output must stay as they are.
                    let mut out = vec![f32::NAN; expected.len() + 2 * 17];
                    let end = 17 + expected.len();
                    widen_at(level, format, blocks, &mut out[17..end]);
                    let what = format!("{} x {n_blocks} at {}", format.name(), level.name());
                    assert_same_bits(&out[17..end], &expected, &what);
                    assert!(out[..17].iter().chain(&out[end..]).all(|v| v.is_nan()), "{what} wrote outside its output");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "bytes and elements of Q4_K disagree")]
fn lengths_that_disagree_are_a_bug() {
    widen_at(cpu::Level::Scalar, Format::Q4K, &[0; 143], &mut [0.0; 256]);
}

#[test]
fn halves_are_what_was_widened_rounded_to_bf16() {
    for format in FORMATS {
        for n_blocks in [1, 2, 7, 64] {
            for shift in 0..2 {
                let store = bytes(n_blocks as u64 * 5 + shift as u64, n_blocks * format.block_bytes() + shift);
                let mut expected = vec![0.0; n_blocks * format.block_len()];
                widen_scalar(format, &store[shift..], &mut expected);
                let mut found = vec![0x7fc1; expected.len()];
                if !super::halves(format, &store[shift..], &mut found) {
                    assert!(found.iter().all(|half| *half == 0x7fc1), "{}: refused, and written to all the same", format.name());
                    continue;
                }
                for (i, (found, value)) in found.iter().zip(&expected).enumerate() {
                    let rounded = if value.is_subnormal() { 0.0 } else { round_to_bf16(*value) };
                    let found = f32::from_bits(u32::from(*found) << 16);
                    let same = found == rounded || found.is_nan() && rounded.is_nan();
                    assert!(same, "{} x {n_blocks}: element {i} is {found:e}, expected {rounded:e}", format.name());
                }
            }
        }
    }
}
