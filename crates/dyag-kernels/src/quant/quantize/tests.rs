//! Blocks against the Python `gguf` package, errors against llama.cpp's, and what cannot be stored.

use std::path::{Path, PathBuf};

use super::*;
use crate::quant::widen;

const ALL: [Format; 12] = [
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

/// What tools/reference/make_quantize_fixtures.py wrote.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/quant/quantize").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn values() -> Vec<f32> {
    bytes("values.bin").chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn stored(format: Format, values: &[f32]) -> Vec<u8> {
    let mut out = vec![0xa5; values.len() / format.block_len() * format.block_bytes()];
    quantize(format, values, &mut out).unwrap_or_else(|bad| panic!("{}: {bad:?}", format.name()));
    out
}

fn round_trip(format: Format, values: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; values.len()];
    widen(format, &stored(format, values), &mut out);
    out
}

fn relative_rmse(found: &[f32], expected: &[f32]) -> f64 {
    let sum = |term: &dyn Fn(usize) -> f64| (0..expected.len()).map(term).sum::<f64>();
    let error = sum(&|i| (f64::from(found[i]) - f64::from(expected[i])).powi(2));
    (error / sum(&|i| f64::from(expected[i]).powi(2))).sqrt()
}

#[test]
fn plain_formats_and_blocks_of_32_are_the_python_packages_bits() {
    let values = values();
    for format in [Format::F16, Format::Bf16, Format::Q4_0, Format::Q4_1, Format::Q5_0, Format::Q5_1, Format::Q8_0] {
        let (found, expected) = (stored(format, &values), bytes(&format!("{}.bin", format.name())));
        assert_eq!(found.len(), expected.len(), "{}", format.name());
        for (block, (found, expected)) in found.chunks(format.block_bytes()).zip(expected.chunks(format.block_bytes())).enumerate() {
            assert_eq!(found, expected, "{}: block {block}", format.name());
        }
    }
}

#[test]
fn searched_formats_err_no_more_than_llama_cpp() {
    let (values, table) = (values(), String::from_utf8(bytes("errors.tsv")).expect("text"));
    let mut next = std::collections::HashMap::new();
    let mut n_compared = 0;
    for line in table.lines() {
        let [name, kind, rows, reference] = line.split('\t').collect::<Vec<_>>().try_into().expect("four columns");
        let format = ALL.into_iter().find(|format| format.name() == name).expect("a format");
        let len = 256 * rows.parse::<usize>().expect("a number");
        let from = next.entry(format).or_insert(0);
        let values = &values[*from..*from + len];
        *from += len;
        let (found, reference) = (relative_rmse(&round_trip(format, values), values), reference.parse::<f64>().expect("a number"));
        // Half a hundredth worse at most, but for rows of one outlier, whose other elements count less in the fit than in this sum.
        let bound = if kind == "one outlier" { 1.03 } else { 1.005 };
        assert!(found <= bound * reference + 1e-9, "{name} {kind}: {found}, llama.cpp {reference}");
        n_compared += 1;
    }
    assert_eq!(n_compared, 3 * 6);
}

/// Largest error of an element, in steps of its block's largest element: half a step of the integers, and what the rounding of scales adds.
#[test]
fn elements_come_back_within_the_width_of_a_step() {
    let values = values();
    let bounds = [
        (Format::F32, 0.0),
        (Format::F16, 1.0 / 1024.0),
        (Format::Bf16, 1.0 / 256.0),
        (Format::Q4_0, 1.02 / 8.0),
        (Format::Q4_1, 1.1 / 15.0),
        (Format::Q5_0, 1.02 / 16.0),
        (Format::Q5_1, 1.1 / 31.0),
        (Format::Q8_0, 0.57 / 127.0),
        (Format::Q4K, 1.6 / 15.0),
        (Format::Q5K, 1.6 / 31.0),
        (Format::Q6K, 1.6 / 32.0),
        (Format::Nf4, 0.16),
    ];
    for (format, bound) in bounds {
        let found = round_trip(format, &values);
        let len = format.block_len().max(32);
        for (block, (values, found)) in values.chunks(len).zip(found.chunks(len)).enumerate() {
            // Scales are multiples of 6e-8 at best, and some 4096 of them make an element.
            let coarse = 3e-8 * if len == 256 { 4096.0 } else { 128.0 };
            let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (value, found) in values.iter().zip(found) {
                assert!((value - found).abs() <= bound * largest + coarse, "{} block {block}: {value} came back as {found}", format.name());
            }
        }
    }
}

#[test]
fn what_was_read_from_blocks_is_stored_as_it_was() {
    // Blocks of 32 whose largest element is at the end of the range come back to the same integers.
    let values = values();
    for format in [Format::F32, Format::F16, Format::Bf16, Format::Q8_0] {
        let once = round_trip(format, &values);
        assert_eq!(round_trip(format, &once), once, "{}", format.name());
    }
}

#[test]
fn values_that_no_format_holds_are_named() {
    for format in ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![0.5; 512];
            values[300] = bad;
            let mut out = vec![0; 512 / format.block_len() * format.block_bytes()];
            let error = quantize(format, &values, &mut out).expect_err("refused");
            assert!(error.index == 300 && error.value.to_bits() == bad.to_bits(), "{}: {error:?}", format.name());
        }
    }
}

#[test]
fn values_beyond_a_formats_range_are_named() {
    for format in ALL.into_iter().filter(|f| !matches!(f, Format::F32 | Format::Bf16 | Format::Nf4)) {
        let mut values = vec![0.5; 512];
        values[300] = 1e30;
        let mut out = vec![0; 512 / format.block_len() * format.block_bytes()];
        assert_eq!(quantize(format, &values, &mut out), Err(Unstorable { index: 300, value: 1e30 }), "{}", format.name());
    }
}

#[test]
fn vectors_change_no_bit() {
    let values = values();
    for format in ALL {
        let mut plain = vec![0; values.len() / format.block_len() * format.block_bytes()];
        quantize_here(format, &values, &mut plain).expect("stored");
        assert_eq!(stored(format, &values), plain, "{}", format.name());
    }
}
