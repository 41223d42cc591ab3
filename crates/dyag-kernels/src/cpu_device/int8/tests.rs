//! Every kernel of this machine against the specification, bit for bit, and the specification against sums in f64 of the stored weights, within what bytes can hold.

use super::panel::{block_at, run_at};
use super::*;
use crate::cpu;
use crate::cpu_device::tests::{FORMATS, numbers, random_weight};

fn kernels() -> Vec<(Level, Kernel)> {
    let mut kernels: Vec<(Level, Kernel)> =
        cpu::available().into_iter().map(|level| (level.vector(), Kernel::at(level.vector()))).collect();
    kernels.dedup();
    // AVX-512 without VNNI.
    kernels.extend(kernels.last().filter(|(_, kernel)| *kernel == Kernel::Vnni).map(|(level, _)| (*level, Kernel::Avx2)));
    kernels
}

fn integer_formats() -> impl Iterator<Item = Format> {
    FORMATS.into_iter().filter(|format| has(*format))
}

/// `[rows, n]`, told nothing of what is in the result before.
fn product(level: Level, kernel: Kernel, w: &WeightMatrix, x: &[f32], rows: usize) -> Vec<f32> {
    let (n, mut scratch) = (w.rows(), Scratch::default());
    scratch.panel.bytes.fill(0xff);
    scratch.panel.scales.fill(f32::NAN);
    scratch.panel.minimums.fill(f32::NAN);
    scratch.chains.resize(10_000, f32::NAN);
    let mut y = vec![f32::NAN; rows * n];
    multiply(kernel, w, 0..n, &Activations::new(kernel, level, x, rows), &mut scratch, |row, column, sum| y[row * n + column] = sum);
    y
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Shapes: a column, whole and broken groups of blocks, more than a span.
fn shapes(format: Format) -> [(usize, usize); 4] {
    let whole = format.block_len();
    [(1, whole), (7, 3 * whole), (9, 5 * whole), (6, (SPAN + 3 * whole).next_multiple_of(whole))]
}

#[test]
fn panels_hold_the_same_bytes_and_scales_whatever_unpacks_them() {
    for format in integer_formats() {
        let blocks = Blocks::of(format).unwrap();
        for n_blocks in [1, 2, 3, 4, 7] {
            let w = random_weight(format, COLUMNS, n_blocks * format.block_len());
            for (_, kernel) in kernels() {
                let (mut expected, mut got) = (Box::<Panel>::default(), Box::<Panel>::default());
                for column in 0..COLUMNS {
                    expected.fill(Kernel::Scalar, &w, (column, column), 0, w.cols());
                    got.fill(kernel, &w, (column, column), 0, w.cols());
                }
                let what = format!("{} x {n_blocks}, {}", format.name(), kernel.name());
                assert!(expected.bytes == got.bytes, "{what}");
                assert_eq!(bits(&expected.scales), bits(&got.scales), "{what}");
                assert_eq!(bits(&expected.minimums), bits(&got.minimums), "{what}");
                // The integers stand for what widening gives, but for the rounding of a product and a sum.
                for column in 0..COLUMNS {
                    let mut widened = vec![f32::NAN; w.cols()];
                    w.widen_row(column, 0, &mut widened);
                    for (i, widened) in widened.into_iter().enumerate() {
                        let p = f32::from(got.bytes[run_at(i / 16, column) + i % 16]);
                        let at = block_at(i / blocks.len, column);
                        let value = match blocks.offset_bits {
                            Some(bits) => got.scales[at] * (p - (1 << bits) as f32),
                            None => got.scales[at] * p + got.minimums[at],
                        };
                        assert!((value - widened).abs() <= 1e-6 * widened.abs(), "{what}: element {i} is {value}, expected {widened}");
                    }
                }
            }
        }
    }
}

#[test]
fn kernels_give_the_bits_of_the_specification_for_any_rows() {
    for format in integer_formats() {
        for (n, k) in shapes(format) {
            let w = random_weight(format, n, k);
            for rows in [1, 2, 3, 5, 6, 17, 32, 33, 49] {
                let x = numbers(rows as u64, rows * k);
                let expected = product(Level::Scalar, Kernel::Scalar, &w, &x, rows);
                for (level, kernel) in kernels() {
                    let got = product(level, kernel, &w, &x, rows);
                    assert_eq!(bits(&got), bits(&expected), "{} {rows}x{n}x{k}, {}", format.name(), kernel.name());
                }
            }
        }
    }
}

/// Rounding activations to bytes moves each by half of `d` at most, so a sum by half of the sum of `d |w|`.
#[test]
fn sums_are_as_near_as_bytes_can_be() {
    for format in integer_formats() {
        for (n, k) in shapes(format) {
            let (w, rows) = (random_weight(format, n, k), 3);
            let x = numbers(4, rows * k);
            let y = product(Level::Scalar, Kernel::Scalar, &w, &x, rows);
            for (row, x) in x.chunks_exact(k).enumerate() {
                for column in 0..n {
                    let mut weights = vec![f32::NAN; k];
                    w.widen_row(column, 0, &mut weights);
                    let (mut exact, mut bound) = (0.0, 0.0);
                    for (x, w) in x.chunks_exact(ACTIVATIONS).zip(weights.chunks_exact(ACTIVATIONS)) {
                        let d = f64::from(x.iter().fold(0f32, |m, v| m.max(v.abs()))) / 127.0;
                        for (x, w) in x.iter().zip(w) {
                            exact += f64::from(*x) * f64::from(*w);
                            bound += d / 2.0 * f64::from(w.abs());
                        }
                    }
                    let error = (f64::from(y[row * n + column]) - exact).abs();
                    assert!(error <= 1.001 * bound + 1e-6, "{} {row}, {column}: {error} past {bound}", format.name());
                }
            }
        }
    }
}

#[test]
fn zeros_tiny_numbers_and_what_is_no_number() {
    let w = random_weight(Format::Q4K, 5, 256);
    for (level, kernel) in kernels() {
        let product = |x: &[f32]| product(level, kernel, &w, x, x.len() / 256);
        assert_eq!(product(&[0.0; 256]), [0.0; 5]);
        assert!(product(&[1e-39; 256]).iter().all(|y| y.abs() < 1e-30));
        assert!(product(&[f32::MAX / 1e6; 256]).iter().all(|y| y.is_finite()));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = numbers(1, 7 * 256);
            let good = product(&x);
            x[3 * 256 + 77] = bad;
            let y = product(&x);
            for (i, (y, good)) in y.iter().zip(good).enumerate() {
                assert!(if i / 5 == 3 { y.is_nan() } else { *y == good }, "{bad} and row {}", i / 5);
            }
        }
    }
}
