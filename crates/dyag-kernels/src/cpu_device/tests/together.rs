//! Projections computed together have the bits of projections computed one by one, and turned blocks are where they belong.

use super::*;
use crate::cpu_device::microkernel::{MAX_ROWS, PANEL};
use crate::cpu_device::transpose;

#[test]
fn projections_together_are_those_one_by_one() {
    for device in devices(Precision::F32) {
        for (rows, k, ns) in [(1, 5, [3, 40, 7]), (29, 33, [64, 8, 130]), (70, 300, [200, 17, 17]), (64, 48, [96, 96, 96])] {
            let weights: Vec<WeightMatrix> = ns.iter().map(|n| WeightMatrix::from_f32(&numbers(*n as u64, n * k), *n, k)).collect();
            let x = device.upload(&numbers(1, rows * k));
            let biases = ns.map(|n| device.upload(&numbers(2, n)));
            let (a, b) = (device.upload(&numbers(3, 4 * k)), device.upload(&numbers(4, ns[1] * 4)));
            let run = |together: bool| {
                let mut results = ns.map(|n| device.upload(&poisoned(rows * n)));
                let mut u = device.upload(&poisoned(rows * 4));
                let mut pair = Some((LowRankPair { a: &a, b: &b, rank: 4, scale: 0.5 }, &mut u));
                let parts = weights.iter().zip(&biases).zip(&mut results).enumerate();
                let parts = parts.map(|(i, ((weight, bias), y))| Projection {
                    weight,
                    bias: (i != 2).then_some(bias),
                    pair: if i == 1 { pair.take() } else { None },
                    y,
                });
                let parts: Vec<Projection<'_, CpuDevice>> = parts.collect();
                if together {
                    device.project(&x, rows, None, parts);
                } else {
                    device::project_one_by_one(&device, &x, rows, None, parts);
                }
                results.map(|result| device.download(&result).iter().map(|v| v.to_bits()).collect::<Vec<u32>>())
            };
            assert_eq!(run(true), run(false), "{rows}x{k} to {ns:?}, {}", device.describe());
        }
    }
}

#[test]
fn turned_blocks_hold_every_element() {
    for level in cpu::available().into_iter().map(Level::vector) {
        for (rows, len) in [(1, 1), (3, 7), (8, 8), (9, 24), (14, 16), (14, 37), (16, 19), (16, 64)] {
            let step = len + 3;
            let values = numbers(5, rows * step);
            let mut panel = poisoned(len * PANEL);
            transpose::into_panel(level, &values, step, rows, len, &mut panel);
            assert!(
                (0..len * rows).all(|at| panel[at / rows * PANEL + at % rows] == values[at % rows * step + at / rows]),
                "{rows}x{len}, {level:?}"
            );
            let rows = rows.min(MAX_ROWS);
            // What comes after the panel is another's.
            let mut panel = poisoned(len * MAX_ROWS + 8);
            transpose::into_row_panel(level, &values, step, rows, len, &mut panel[..len * MAX_ROWS]);
            assert!(
                (0..len * rows).all(|at| panel[at / rows * MAX_ROWS + at % rows] == values[at % rows * step + at / rows]),
                "{rows}x{len}, {level:?}"
            );
            assert!(panel[len * MAX_ROWS..].iter().all(|value| value.is_nan()));
        }
        let square: [f32; 256] = numbers(6, 256).try_into().unwrap();
        let mut turned = [f32::NAN; 256];
        transpose::square(level, &square, &mut turned);
        assert!((0..256).all(|at| turned[at] == square[at % 16 * 16 + at / 16]), "{level:?}");
    }
}
