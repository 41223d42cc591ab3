//! Every operation, on every instruction set of this machine and on one and two threads, against the scalar references.

use super::*;
use crate::device::{AttentionShape, AttentionSpan};
use crate::random;
use crate::reference::ReferenceDevice;
use crate::weight::Format;

/// Numbers in -1 .. 1, a function of seed and index.
pub(super) fn numbers(seed: u64, len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (random::bits(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn poisoned(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

/// Every device of this machine: each level, one thread and two. Where the matrix unit is missing, a stand-in for it.
pub(super) fn devices(precision: Precision) -> Vec<CpuDevice> {
    let device = |level, threads| CpuDevice::new(CpuOptions { precision, threads: Some(threads), level: Some(level) }).unwrap();
    let mut devices: Vec<CpuDevice> = cpu::available().into_iter().flat_map(|level| [device(level, 1), device(level, 2)]).collect();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if precision == Precision::Bf16 && cpu::detected() < Level::Amx {
        tiles::emulator::install();
        devices.extend([1, 2].map(|threads| CpuDevice { tiles: true, ..device(cpu::detected(), threads) }));
    }
    devices
}

/// Relative to the largest element of the reference.
#[track_caller]
fn assert_close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-30f32, |m, v| m.max(v.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let error = (g - e).abs() / largest;
        assert!(error <= tolerance, "{what}: element {i} is {g}, expected {e} (error {error} of the largest)");
    }
}

/// Runs `operation` on the reference and on every device; all devices of one level must agree to the bit, and with the reference to `tolerance`.
pub(super) fn compare(precision: Precision, tolerance: f32, what: &str, operation: impl Fn(&dyn Operations) -> Vec<Vec<f32>>) {
    let expected = operation(&ReferenceDevice::new(precision));
    for pair in devices(precision).chunks(2) {
        let [one, two] = [&pair[0], &pair[1]].map(|device| operation(device));
        for (i, ((one, two), expected)) in one.iter().zip(&two).zip(&expected).enumerate() {
            let what = format!("{what}, output {i}, {}", pair[0].describe());
            assert_close(one, expected, tolerance, &what);
            assert!(one.iter().zip(two).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}: two threads give other bits than one");
        }
    }
}

/// The two devices behind one object type, with vectors for their buffers.
pub(super) trait Operations {
    fn linear(&self, w: &WeightMatrix, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]);
    fn linear_few(&self, w: &WeightMatrix, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]);
    fn linear_backward(&self, w: &WeightMatrix, d_y: &[f32], rows: usize, d_x: &mut [f32], accumulate: bool);
    fn low_rank(&self, w: &WeightMatrix, x_and_d_y: [&[f32]; 2], rows: usize, rank: usize) -> Vec<Vec<f32>>;
    fn matmul(&self, sizes: Matmul, a: &[f32], b: &[f32], c: &mut [f32]);
    fn attention(&self, shape: AttentionShape, spans: &[AttentionSpan], qkv: [&[f32]; 3], d_out: &[f32]) -> Vec<Vec<f32>>;
    fn rows(&self, x: &[f32], w: &[f32], d_y: &[f32]) -> Vec<Vec<f32>>;
    fn elements(&self, gate: &[f32], up: &[f32], d_out: &[f32]) -> Vec<Vec<f32>>;
    fn loss(&self, logits: &[f32], targets: &[u32], weights: &[f32]) -> Vec<Vec<f32>>;
    fn adamw(&self, gradient: &[f32], parameter: &[f32]) -> Vec<Vec<f32>>;
    fn rope(&self, x: &[f32], heads: (usize, usize), cos: &[f32], sin: &[f32]) -> Vec<Vec<f32>>;
}

/// Lets `operation` work on a device's copy of `values`.
fn in_place<D: Device>(device: &D, values: &mut [f32], operation: impl FnOnce(&mut D::Buffer)) {
    let mut buffer = device.upload(values);
    operation(&mut buffer);
    values.copy_from_slice(&device.download(&buffer));
}

impl<D: Device<Weight = WeightMatrix>> Operations for D {
    fn linear(&self, w: &WeightMatrix, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        let (x, bias) = (self.upload(x), bias.map(|bias| self.upload(bias)));
        in_place(self, y, |y| Device::linear(self, w, &x, rows, bias.as_ref(), None, y));
    }
    fn linear_few(&self, w: &WeightMatrix, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        let (x, bias) = (self.upload(x), bias.map(|bias| self.upload(bias)));
        in_place(self, y, |y| Device::linear_few(self, w, &x, rows, bias.as_ref(), y));
    }
    fn linear_backward(&self, w: &WeightMatrix, d_y: &[f32], rows: usize, d_x: &mut [f32], accumulate: bool) {
        in_place(self, d_x, |d_x| Device::linear_backward(self, w, &self.upload(d_y), rows, None, d_x, accumulate));
    }
    fn low_rank(&self, w: &WeightMatrix, [x, d_y]: [&[f32]; 2], rows: usize, rank: usize) -> Vec<Vec<f32>> {
        let [u, out, within] =
            [(4, rows * rank), (5, w.rows() * rank), (6, rank * w.cols())].map(|(seed, len)| self.upload(&numbers(seed, len)));
        let (mut y, mut d_x) = (self.scratch(rows * w.rows()), self.upload(x));
        Device::linear(self, w, &self.upload(x), rows, None, Some(LowRank { u: &u, v: &out, rank }), &mut y);
        let beside = Some(LowRank { u: &u, v: &within, rank });
        Device::linear_backward(self, w, &self.upload(d_y), rows, beside, &mut d_x, true);
        vec![self.download(&y), self.download(&d_x)]
    }
    fn matmul(&self, sizes: Matmul, a: &[f32], b: &[f32], c: &mut [f32]) {
        in_place(self, c, |c| Device::matmul(self, sizes, &self.upload(a), &self.upload(b), c));
    }
    fn attention(&self, shape: AttentionShape, spans: &[AttentionSpan], qkv: [&[f32]; 3], d_out: &[f32]) -> Vec<Vec<f32>> {
        let [q, k, v] = qkv.map(|values| self.upload(values));
        let (mut out, mut log_sum_exp) = (self.scratch(self.len(&q)), self.scratch(self.len(&q) / shape.head_size));
        let inputs = AttentionInputs { shape, spans, q: &q, k: &k, v: &v };
        Device::attention(self, &inputs, &mut out, &mut log_sum_exp);
        let [mut d_k, mut d_v] = [(&k, 0.5), (&v, -0.5)].map(|(like, old)| self.upload(&vec![old; self.len(like)]));
        let mut d_q = self.scratch(self.len(&q));
        let result = AttentionResult { out: &out, log_sum_exp: &log_sum_exp, d_out: &self.upload(d_out) };
        self.attention_backward(&inputs, &result, AttentionGradients { q: &mut d_q, k: &mut d_k, v: &mut d_v });
        [out, log_sum_exp, d_q, d_k, d_v].iter().map(|buffer| self.download(buffer)).collect()
    }
    fn rows(&self, x: &[f32], w: &[f32], d_y: &[f32]) -> Vec<Vec<f32>> {
        let (mut y, mut inv_rms, mut d_x) = (self.scratch(x.len()), self.scratch(x.len() / w.len()), self.upload(&numbers(9, x.len())));
        let [x, w, d_y] = [x, w, d_y].map(|values| self.upload(values));
        self.rms_norm(&x, &w, 1e-5, &mut y, &mut inv_rms);
        self.rms_norm_backward(&d_y, &x, &w, &inv_rms, &mut d_x);
        [y, inv_rms, d_x].iter().map(|buffer| self.download(buffer)).collect()
    }
    fn elements(&self, gate: &[f32], up: &[f32], d_out: &[f32]) -> Vec<Vec<f32>> {
        let mut results = Vec::new();
        let [gate, up, d_out] = [gate, up, d_out].map(|values| self.upload(values));
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let mut out = self.scratch(self.len(&gate));
            let [mut d_gate, mut d_up] = [&gate, &up].map(|from| self.upload(&self.download(from)));
            self.gated(activation, &gate, &up, &mut out);
            self.gated_backward(activation, &d_out, &mut d_gate, &mut d_up);
            results.extend([out, d_gate, d_up].iter().map(|buffer| self.download(buffer)));
        }
        let mut dropped = self.scratch(self.len(&gate));
        self.dropout(0.25, 7, &gate, &mut dropped);
        results.push(self.download(&dropped));
        results.push(vec![self.sum_of_squares(&gate) as f32]);
        results
    }
    fn loss(&self, logits: &[f32], targets: &[u32], weights: &[f32]) -> Vec<Vec<f32>> {
        let mut gradient = self.upload(logits);
        let sum = self.cross_entropy(&mut gradient, targets, weights);
        vec![self.download(&gradient), [sum.loss_sum_nats, sum.n_tokens, sum.n_correct].map(|v| v as f32).to_vec()]
    }
    fn adamw(&self, gradient: &[f32], parameter: &[f32]) -> Vec<Vec<f32>> {
        let (mut p, mut m, mut v) = (self.upload(parameter), self.zeros(parameter.len()), self.zeros(parameter.len()));
        for t in 1..=3 {
            let step = AdamwStep { learning_rate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, t, gradient_scale: 0.5 };
            Device::adamw(self, step, &self.upload(gradient), &mut p, &mut m, &mut v);
        }
        [p, m, v].iter().map(|buffer| self.download(buffer)).collect()
    }
    fn rope(&self, x: &[f32], (n_heads, head_size): (usize, usize), cos: &[f32], sin: &[f32]) -> Vec<Vec<f32>> {
        let [mut x, cos, sin] = [x, cos, sin].map(|values| self.upload(values));
        Device::rope(self, &mut x, n_heads, head_size, &cos, &sin, false);
        let turned = self.download(&x);
        Device::rope(self, &mut x, n_heads, head_size, &cos, &sin, true);
        vec![turned, self.download(&x)]
    }
}

/// Any bytes are blocks; scales that are not ordinary numbers are replaced.
fn random_weight(format: Format, rows: usize, cols: usize) -> WeightMatrix {
    let mut bytes: Vec<u8> =
        (0..rows as u64 * format.row_bytes(cols).unwrap() as u64).map(|i| random::bits(format as u64, i) as u8).collect();
    let scales: &[usize] = match format {
        Format::F32 => return WeightMatrix::from_f32(&numbers(5, rows * cols), rows, cols),
        Format::F16 | Format::Bf16 | Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::Nf4 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q6K => &[208],
    };
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        for at in scales {
            // 0x2c.. is a small positive half, 0x3f.. a bf16 near one.
            block[at + 1] = if format == Format::Bf16 { 0x3f } else { 0x2c };
        }
    }
    WeightMatrix::new(crate::map::Bytes::from_vec(bytes), format, rows, cols).unwrap()
}

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

#[test]
fn products_with_frozen_weights() {
    for precision in [Precision::F32, Precision::Bf16] {
        for format in FORMATS {
            let whole = format.block_len().max(8);
            for (rows, n, k) in [(1, 3, whole), (15, 70, 3 * whole), (29, 33, 320_usize.next_multiple_of(whole))] {
                let w = random_weight(format, n, k);
                let (x, d_y, bias) = (numbers(1, rows * k), numbers(2, rows * n), numbers(3, n));
                compare(precision, 2e-6, &format!("{} {rows}x{n}x{k}", format.name()), |device| {
                    let (mut plain, mut with_bias, mut few) = (poisoned(rows * n), poisoned(rows * n), poisoned(rows * n));
                    device.linear(&w, &x, rows, None, &mut plain);
                    device.linear(&w, &x, rows, Some(&bias), &mut with_bias);
                    device.linear_few(&w, &x, rows, Some(&bias), &mut few);
                    let (mut d_x, mut added) = (poisoned(rows * k), x.clone());
                    device.linear_backward(&w, &d_y, rows, &mut d_x, false);
                    device.linear_backward(&w, &d_y, rows, &mut added, true);
                    vec![plain, with_bias, few, d_x, added]
                });
                for rank in [1, 16, 300] {
                    compare(precision, 2e-6, &format!("{} {rows}x{n}x{k}, rank {rank} beside it", format.name()), |device| {
                        device.low_rank(&w, [&x, &d_y], rows, rank)
                    });
                }
            }
        }
    }
}

#[test]
fn interleaved_rows_are_served_in_order() {
    let (n_heads, head_size, k) = (3, 8, 5);
    let values = numbers(1, n_heads * head_size * k);
    let stored: Vec<f32> = (0..n_heads * head_size)
        .flat_map(|row| {
            let (head, within) = (row / head_size, row % head_size);
            let original = head * head_size + within / 2 + within % 2 * head_size / 2;
            values[original * k..(original + 1) * k].to_vec()
        })
        .collect();
    let w = WeightMatrix::from_f32(&stored, n_heads * head_size, k).with_interleaved_heads(head_size).unwrap();
    for row in 0..w.rows() {
        let mut out = poisoned(k);
        w.widen_row(row, 0, &mut out);
        assert_eq!(out, values[row * k..(row + 1) * k]);
    }
}

#[test]
fn plain_products() {
    for (m, n, k) in [(1, 1, 1), (16, 5, 300), (67, 16, 31), (3, 100, 7), (130, 129, 40), (31, 16, 1200)] {
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let (a, b, old) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n));
            compare(Precision::F32, 2e-6, &format!("matmul {m}x{n}x{k} {transpose_a} {transpose_b}"), |device| {
                [(1.0, 0.0), (0.5, 1.0), (2.0, -0.5)]
                    .into_iter()
                    .map(|(alpha, beta)| {
                        let mut c = if beta == 0.0 { poisoned(m * n) } else { old.clone() };
                        device.matmul(Matmul { m, n, k, transpose_a, transpose_b, alpha, beta }, &a, &b, &mut c);
                        c
                    })
                    .collect()
            });
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    let (n, k, rows) = (70, 768, 33);
    let x = numbers(1, rows * k);
    for (format, device) in FORMATS.into_iter().flat_map(|format| devices(Precision::F32).into_iter().map(move |device| (format, device))) {
        let w = random_weight(format, n, k);
        let (mut all, mut all_few) = (poisoned(rows * n), poisoned(rows * n));
        Operations::linear(&device, &w, &x, rows, None, &mut all);
        Operations::linear_few(&device, &w, &x, rows, None, &mut all_few);
        for group in [0..1, 13..16, 14..15, 31..33] {
            let (mut some, mut some_few) = (poisoned(group.len() * n), poisoned(group.len() * n));
            let x = &x[group.start * k..group.end * k];
            Operations::linear(&device, &w, x, group.len(), None, &mut some);
            Operations::linear_few(&device, &w, x, group.len(), None, &mut some_few);
            let expected = group.start * n..group.end * n;
            assert_eq!(some, all[expected.clone()], "{} rows {group:?}, {}", format.name(), device.describe());
            assert_eq!(some_few, all_few[expected], "{} rows {group:?}, few, {}", format.name(), device.describe());
        }
    }
}

#[test]
fn norms() {
    for (rows, c) in [(1, 1), (3, 7), (40, 100), (5, 896)] {
        let (x, w, d_y) = (numbers(1, rows * c), numbers(2, c), numbers(3, rows * c));
        compare(Precision::F32, 3e-6, &format!("norm {rows}x{c}"), |device| device.rows(&x, &w, &d_y));
    }
}

#[test]
fn gates_dropout_and_sums() {
    for len in [1, 17, 40_000] {
        let [gate, up, d_out] = [1, 2, 3].map(|seed| numbers(seed, len).into_iter().map(|v| v * 9.0).collect::<Vec<f32>>());
        compare(Precision::F32, 3e-6, &format!("gate {len}"), |device| device.elements(&gate, &up, &d_out));
    }
}

#[test]
fn losses() {
    for (rows, vocab) in [(1, 2), (5, 515), (3, 1000)] {
        let logits: Vec<f32> = numbers(1, rows * vocab).into_iter().map(|v| v * 12.0).collect();
        let targets: Vec<u32> = (0..rows as u32).map(|i| i * 37 % vocab as u32).collect();
        let weights: Vec<f32> = (1..=rows).map(|w| w as f32).collect();
        compare(Precision::F32, 2e-6, &format!("loss {rows}x{vocab}"), |device| device.loss(&logits, &targets, &weights));
    }
}

#[test]
fn updates_and_rotations() {
    let (gradient, parameter) = (numbers(1, 20_000), numbers(2, 20_000));
    compare(Precision::F32, 3e-6, "adamw", |device| device.adamw(&gradient, &parameter));
    let (rows, n_heads, head_size, half) = (19, 3, 24, 8);
    let angles = numbers(1, rows * half);
    let [cos, sin] = [f32::cos, f32::sin].map(|of| angles.iter().copied().map(of).collect::<Vec<f32>>());
    let x = numbers(2, rows * n_heads * head_size);
    compare(Precision::F32, 1e-6, "rope", |device| {
        let results = device.rope(&x, (n_heads, head_size), &cos, &sin);
        assert_close(&results[1], &x, 1e-6, "rotated and rotated back");
        results
    });
}

#[test]
fn exponentials_stay_within_two_units_in_the_last_place() {
    for i in -8_700..=8_800 {
        let x = i as f32 / 100.0 + 0.003;
        let (got, expected) = (f64::from(math::exp(x)), f64::from(x).exp());
        if expected > 1.2e-38 && x < 88.0 {
            assert!(((got - expected) / expected).abs() < 2.0 * f64::from(f32::EPSILON), "exp({x}) = {got}, expected {expected}");
        }
    }
    assert_eq!(math::exp(f32::NEG_INFINITY), 0.0);
}
