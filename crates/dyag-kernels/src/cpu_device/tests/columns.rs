//! What weight-decomposed adapters take, on every instruction set against the scalar references.

use super::super::columns;
use super::*;
use crate::rounding::to_bf16;

/// Scaled columns with and without what is added, in f32 and as activations; sums of column products likewise.
fn of_columns<D: Device>(device: &D, rows: usize, width: usize) -> Vec<Vec<f32>> {
    let [x, residual] = [1, 2].map(|seed| device.upload(&numbers(seed, rows * width)));
    let [factors, bias, old] = [3, 4, 5].map(|seed| device.upload(&numbers(seed, width)));
    let mut results = Vec::new();
    for (bias, residual) in [(None, None), (Some(&bias), None), (None, Some(&residual)), (Some(&bias), Some(&residual))] {
        let (mut wide, mut narrow) = (device.upload(&poisoned(rows * width)), device.scratch_activations(rows * width));
        device.scale_columns(&x, &factors, bias, residual, &mut wide);
        device.scale_columns(&x, &factors, bias, residual, &mut narrow);
        let mut again = device.scratch_activations(rows * width);
        device.scale_columns(&narrow, &factors, bias, residual, &mut again);
        for (x, y) in [(&x, &wide), (&x, &narrow), (&again, &wide), (&again, &narrow)] {
            let mut sums = device.upload(&device.download(&old));
            device.add_column_products(x, y, &factors, &mut sums);
            results.push(device.download(&sums));
        }
        results.extend([&wide, &narrow, &again].map(|buffer| device.download(buffer)));
    }
    results
}

/// `[rank, in]` and `[out, rank]`; the pair takes the first row away, all but a thousandth of it.
fn of_norms<D: Device<Weight = WeightMatrix>>(device: &D, w: &WeightMatrix, rank: usize) -> Vec<Vec<f32>> {
    let (mut a, mut b) = (numbers(1, rank * w.cols()), numbers(2, w.rows() * rank));
    w.widen_row(0, 0, &mut a[..w.cols()]);
    b[..rank].fill(0.0);
    b[0] = -0.999 / 0.25;
    let (a, b) = (device.upload(&a), device.upload(&b));
    let [mut squares, mut norms] = [(); 2].map(|()| device.upload(&poisoned(w.rows())));
    device.row_squares(w, &mut squares);
    device.adapted_norms(w, &squares, LowRankPair { a: &a, b: &b, rank, scale: 0.25 }, &mut norms);
    [squares, norms].map(|buffer| device.download(&buffer)).to_vec()
}

/// Every device against the references; devices of one level to the bit.
fn compare_devices(precision: Precision, tolerance: f32, what: &str, reference: &[Vec<f32>], run: impl Fn(&CpuDevice) -> Vec<Vec<f32>>) {
    for pair in devices(precision).chunks(2) {
        let [one, two] = [&pair[0], &pair[1]].map(&run);
        for (i, ((one, two), expected)) in one.iter().zip(&two).zip(reference).enumerate() {
            let what = format!("{what}, output {i}, {}", pair[0].describe());
            assert_close(one, expected, tolerance, &what);
            assert!(one.iter().zip(two).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}: two threads give other bits than one");
        }
    }
}

#[test]
fn columns_are_scaled_and_summed() {
    for (rows, width) in [(1, 1), (3, 7), (40, 300), (70, 128), (2, 1000)] {
        for (precision, tolerance) in [(Precision::F32, 1e-6), (Precision::Bf16, 2e-2)] {
            let expected = of_columns(&ReferenceDevice::new(precision), rows, width);
            compare_devices(precision, tolerance, &format!("columns {rows}x{width}"), &expected, |device| of_columns(device, rows, width));
        }
    }
}

#[test]
fn norms_of_adapted_rows() {
    for format in [Format::F32, Format::Bf16, Format::Q4K, Format::Q6K, Format::Q8_0, Format::Nf4] {
        let whole = format.block_len().max(8);
        for (n, k, rank) in [(3, whole, 1), (70, 320_usize.next_multiple_of(whole), 16), (33, 2 * whole, 70)] {
            let w = random_weight(format, n, k);
            for precision in [Precision::F32, Precision::Bf16] {
                let expected = of_norms(&ReferenceDevice::new(precision), &w, rank);
                let what = format!("norms {} {n}x{k}, rank {rank}", format.name());
                compare_devices(precision, 2e-6, &what, &expected, |device| of_norms(device, &w, rank));
                // The row that the pair takes away keeps its digits too.
                let norms = of_norms(&devices(precision)[0], &w, rank);
                assert!((norms[1][0] - expected[1][0]).abs() <= 1e-5 * expected[1][0], "{what}: {} and {}", norms[1][0], expected[1][0]);
            }
            let norms: Vec<f32> = of_norms(&ReferenceDevice::new(Precision::F32), &w, rank)[0].iter().map(|square| square.sqrt()).collect();
            assert_close(&w.row_norms(), &norms, 1e-6, format.name());
        }
    }
}

/// Activations in bf16, which a device keeps only where it multiplies in it, on every level all the same.
#[test]
fn columns_in_bf16_are_those_of_the_widened_numbers_rounded() {
    let (rows, width) = (21, 300);
    let narrow = |values: &[f32]| values.iter().map(|v| to_bf16(*v)).collect::<Vec<u16>>();
    let wide = |values: &[u16]| values.iter().map(|v| f32::from_bits(u32::from(*v) << 16)).collect::<Vec<f32>>();
    let [x, residual] = [1, 2].map(|seed| numbers(seed, rows * width));
    let [factors, bias, old] = [3, 4, 5].map(|seed| numbers(seed, width));
    let x_narrow = narrow(&x);
    let x_rounded = wide(&x_narrow);
    for level in cpu::available().into_iter().map(Level::vector) {
        for beside in [(None, None), (Some(&bias[..]), None), (None, Some(&residual[..])), (Some(&bias[..]), Some(&residual[..]))] {
            let scaled = |x: &[f32]| {
                let mut y = poisoned(rows * width);
                columns::scale(level, x, &factors, beside, &mut y);
                narrow(&y)
            };
            let (mut of_narrow, mut of_wide) = (vec![0x7fc0; rows * width], vec![0x7fc0; rows * width]);
            columns::scale_narrow(level, &x_narrow, &factors, beside, &mut of_narrow);
            columns::scale_to_narrow(level, &x, &factors, beside, &mut of_wide);
            assert!(of_narrow == scaled(&x_rounded) && of_wide == scaled(&x), "{level:?}");
        }
        let [mut expected, mut of_both, mut of_one] = [(); 3].map(|()| old.clone());
        columns::sum(level, &x_rounded, &x_rounded, &factors, &mut expected);
        columns::sum_narrow(level, &x_narrow, &x_narrow, &factors, &mut of_both);
        columns::sum_with_narrow(level, &x_rounded, &x_narrow, &factors, &mut of_one);
        assert!(expected == of_both && expected == of_one, "{level:?}");
    }
}
