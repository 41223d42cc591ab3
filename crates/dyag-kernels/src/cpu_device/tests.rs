//! Every operation, on every instruction set of this machine and on one and two threads, against the scalar references.

mod columns;
mod functions;
mod together;

use super::*;
use crate::device::{AttentionShape, AttentionSpan, LayerNormWeights, LowRankPair, PairGradient};
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
    let device = |level, threads| {
        CpuDevice::new(CpuOptions { precision, threads: Some(threads), level: Some(level), int8_activations: false }).unwrap()
    };
    let mut devices: Vec<CpuDevice> = cpu::available().into_iter().flat_map(|level| [device(level, 1), device(level, 2)]).collect();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if precision == Precision::Bf16 && cpu::detected() == Level::Avx512Bf16 {
        bf16::emulator::install();
        devices.extend([1, 2].map(|threads| CpuDevice { bf16: Some(bf16::Kind::Tiles), ..device(cpu::detected(), threads) }));
    }
    devices
}

/// [`devices`] whose activations become bytes.
fn int8_devices() -> Vec<CpuDevice> {
    let with_bytes = |device: CpuDevice| CpuDevice { int8: Some(int8::Kernel::at(device.level)), ..device };
    devices(Precision::F32).into_iter().map(with_bytes).collect()
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
    compare_where(precision, |_| tolerance, what, operation);
}

/// [`compare`] where the tolerance depends on the rung that multiplies.
fn compare_where(precision: Precision, tolerance: impl Fn(Level) -> f32, what: &str, operation: impl Fn(&dyn Operations) -> Vec<Vec<f32>>) {
    let expected = operation(&ReferenceDevice::new(precision));
    for pair in devices(precision).chunks(2) {
        let tolerance = tolerance(pair[0].product_level());
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
    fn projections(&self, weights: &[WeightMatrix], rows: usize, rank: usize) -> Vec<Vec<f32>>;
    fn projections_few(&self, weights: &[WeightMatrix], rows: usize, rank: usize, together: bool) -> Vec<Vec<f32>>;
    fn feed_forward(&self, weights: &[WeightMatrix; 2], rows: usize) -> Vec<Vec<f32>>;
    fn matmul(&self, sizes: Matmul, a: &[f32], b: &[f32], c: &mut [f32]);
    fn attention(&self, shape: AttentionShape, spans: &[AttentionSpan], qkv: [&[f32]; 3], d_out: &[f32]) -> Vec<Vec<f32>>;
    fn rows(&self, x: &[f32], w: &[f32], d_y: &[f32]) -> Vec<Vec<f32>>;
    fn layer_norms(&self, x: &[f32], residual: &[f32], w: &[f32], b: &[f32]) -> Vec<Vec<f32>>;
    fn activations(&self, x: &[f32]) -> Vec<Vec<f32>>;
    fn elements(&self, gate: &[f32], up: &[f32], d_out: &[f32]) -> Vec<Vec<f32>>;
    fn loss(&self, logits: &[f32], targets: &[u32], weights: &[f32]) -> Vec<Vec<f32>>;
    fn adamw(&self, gradient: &[f32], parameter: &[f32]) -> Vec<Vec<f32>>;
    fn rope(&self, x: &[f32], heads: (usize, usize), cos: &[f32], sin: &[f32]) -> Vec<Vec<f32>>;
}

const ACTIVATIONS: [Activation; 4] = [Activation::Silu, Activation::GeluTanh, Activation::Gelu, Activation::Relu];

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
    /// Every second projection has a pair; the first result has a bias, and a residual where there is one projection.
    fn projections(&self, weights: &[WeightMatrix], rows: usize, rank: usize) -> Vec<Vec<f32>> {
        let (k, scaled) =
            (weights[0].cols(), |seed, len, scale: f32| self.upload(&numbers(seed, len).iter().map(|v| v * scale).collect::<Vec<_>>()));
        let x = scaled(1, rows * k, 1.0);
        let a: Vec<D::Buffer> = weights.iter().zip(10..).map(|(_, seed)| scaled(seed, rank * k, 0.2)).collect();
        let b: Vec<D::Buffer> = weights.iter().zip(20..).map(|(w, seed)| scaled(seed, w.rows() * rank, 0.2)).collect();
        let d_y: Vec<D::Buffer> = weights.iter().zip(30..).map(|(w, seed)| scaled(seed, rows * w.rows(), 1.0)).collect();
        let bias = scaled(2, weights[0].rows(), 1.0);
        let residual = (weights.len() == 1).then(|| scaled(3, rows * weights[0].rows(), 1.0));
        let mut y: Vec<D::Buffer> = weights.iter().map(|w| self.upload(&poisoned(rows * w.rows()))).collect();
        let mut u: Vec<D::Buffer> = weights.iter().map(|_| self.upload(&poisoned(rows * rank))).collect();
        let pair = |i: usize| i.is_multiple_of(2).then(|| LowRankPair { a: &a[i], b: &b[i], rank, scale: 0.5 });
        let parts = weights.iter().zip(&mut y).zip(&mut u).enumerate().map(|(i, ((weight, y), u))| Projection {
            weight,
            bias: (i == 0).then_some(&bias),
            pair: pair(i).map(|pair| (pair, u)),
            y,
        });
        self.project(&x, rows, residual.as_ref(), parts.collect());
        let mut results: Vec<Vec<f32>> = y.iter().map(|y| self.download(y)).collect();
        let [mut d_a, mut d_b] = [&a, &b].map(|like| like.iter().map(|like| scaled(4, self.len(like), 1.0)).collect::<Vec<_>>());
        let mut d_x = [scaled(5, rows * k, 1.0), self.upload(&poisoned(rows * k))];
        for (d_x, add) in d_x.iter_mut().zip([true, false]) {
            let parts = d_y.iter().zip(weights).zip(d_a.iter_mut().zip(&mut d_b)).enumerate().map(|(i, ((d_y, weight), (d_a, d_b)))| {
                ProjectionGradient { weight, d_y, pair: pair(i).map(|pair| PairGradient { pair, u: &u[i], d_a, d_b }) }
            });
            self.project_backward(&x, rows, parts.collect(), Some((d_x, add)));
        }
        results.extend(d_a.iter().chain(&d_b).chain(&d_x).map(|buffer| self.download(buffer)));
        results.extend(u.iter().step_by(2).map(|u| self.download(u)));
        results
    }
    /// Every second projection has a pair; each has a bias.
    fn projections_few(&self, weights: &[WeightMatrix], rows: usize, rank: usize, together: bool) -> Vec<Vec<f32>> {
        let k = weights[0].cols();
        let upload = |seed, len| self.upload(&numbers(seed, len));
        let (x, a) = (upload(1, rows * k), upload(2, rank * k));
        let [b, bias] = [rank, 1].map(|width| weights.iter().map(|w| upload(3 + width as u64, w.rows() * width)).collect::<Vec<_>>());
        let mut y: Vec<D::Buffer> = weights.iter().map(|w| self.upload(&poisoned(rows * w.rows()))).collect();
        let mut u: Vec<D::Buffer> = weights.iter().map(|_| self.upload(&poisoned(rows * rank))).collect();
        let parts = weights.iter().zip(&mut y).zip(&mut u).enumerate().map(|(i, ((weight, y), u))| Projection {
            weight,
            bias: Some(&bias[i]),
            pair: i.is_multiple_of(2).then(|| (LowRankPair { a: &a, b: &b[i], rank, scale: 0.5 }, u)),
            y,
        });
        if together {
            self.project_few(&x, rows, None, parts.collect());
        } else {
            device::project_few_one_by_one(self, &x, rows, None, parts.collect());
        }
        y.iter().map(|y| self.download(y)).collect()
    }
    fn feed_forward(&self, [up, down]: &[WeightMatrix; 2], rows: usize) -> Vec<Vec<f32>> {
        let (f, c) = (up.rows(), up.cols());
        let [x, d_out] = [1, 2].map(|seed| self.upload(&numbers(seed, rows * c)));
        let ones = self.upload(&vec![1.0; c]);
        let (mut n, mut inv_rms) = (self.scratch_activations(rows * c), self.scratch(rows));
        self.rms_norm(&x, &ones, 1e-5, &mut n, &mut inv_rms);
        let [mut g, mut u, mut h, mut d_h] = std::array::from_fn(|_| self.scratch_activations(rows * f));
        fn part<'a, D: Device>(weight: &'a D::Weight, y: &'a mut D::Buffer) -> Projection<'a, D> {
            Projection { weight, bias: None, pair: None, y }
        }
        self.project(&n, rows, None, vec![part(up, &mut g), part(up, &mut u)]);
        self.gated(Activation::Silu, &g, &u, &mut h);
        let mut out = self.scratch(rows * c);
        self.project(&h, rows, Some(&x), vec![part(down, &mut out)]);
        let back = |weight, d_y| ProjectionGradient { weight, d_y, pair: None };
        self.project_backward(&h, rows, vec![back(down, &d_out)], Some((&mut d_h, false)));
        self.gated_backward(Activation::Silu, &d_h, &mut g, &mut u);
        let mut d_n = self.scratch(rows * c);
        self.project_backward(&n, rows, vec![back(up, &g), back(up, &u)], Some((&mut d_n, false)));
        [n, h, out, d_h, g, u, d_n].iter().map(|buffer| self.download(buffer)).collect()
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
    fn layer_norms(&self, x: &[f32], residual: &[f32], w: &[f32], b: &[f32]) -> Vec<Vec<f32>> {
        let [x, residual, w, b] = [x, residual, w, b].map(|values| self.upload(values));
        let affine = LayerNormWeights { w: &w, b: &b };
        let mut y = [(); 2].map(|()| self.upload(&poisoned(self.len(&x))));
        self.layer_norm(&x, None, affine, 1e-5, &mut y[0]);
        self.layer_norm(&x, Some(&residual), affine, 1e-12, &mut y[1]);
        y.iter().map(|y| self.download(y)).collect()
    }
    fn activations(&self, x: &[f32]) -> Vec<Vec<f32>> {
        let activated = ACTIVATIONS.map(|activation| {
            let mut x = self.upload(x);
            self.activate(activation, &mut x);
            self.download(&x)
        });
        activated.to_vec()
    }
    fn elements(&self, gate: &[f32], up: &[f32], d_out: &[f32]) -> Vec<Vec<f32>> {
        let mut results = Vec::new();
        let [gate, up, d_out] = [gate, up, d_out].map(|values| self.upload(values));
        for activation in ACTIVATIONS {
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
        let mut sum = LossSum::default();
        self.cross_entropy(&mut gradient, targets, weights, &mut sum);
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
pub(super) fn random_weight(format: Format, rows: usize, cols: usize) -> WeightMatrix {
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

pub(super) const FORMATS: [Format; 12] = [
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

/// Adapters are computed in f32, or in bf16 where products are: then their factors are rounded, by half of 2^-8 at most each.
fn of_pairs(level: Level) -> f32 {
    if level >= Level::Avx512Bf16 { 8e-3 } else { 2e-6 }
}

/// Several projections of one input, forward and backward, as a layer has them: with pairs and without, residual and bias.
#[test]
fn projections_of_one_input() {
    for precision in [Precision::F32, Precision::Bf16] {
        for (rows, k, ns, rank) in [
            (1, 8, vec![5], 3),
            (37, 264, vec![33, 8, 70], 16),
            (70, 512, vec![300, 40], 40),
            (523, 256, vec![48], 4),
            (300, 32, vec![290], 16),
        ] {
            let weights: Vec<WeightMatrix> = ns.iter().map(|n| random_weight(Format::Bf16, *n, k)).collect();
            let what = format!("projections {rows}x{k} to {ns:?}, rank {rank}");
            compare_where(precision, of_pairs, &what, |device| device.projections(&weights, rows, rank));
        }
    }
}

#[test]
fn activations_are_kept_in_bf16() {
    let (rows, k, n) = (45, 40, 70);
    let weights = [random_weight(Format::Bf16, n, k), random_weight(Format::Bf16, k, n)];
    compare_where(Precision::Bf16, |_| 2e-2, "a feed-forward block", |device| device.feed_forward(&weights, rows));
}

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
                    compare_where(precision, of_pairs, &format!("{} {rows}x{n}x{k}, rank {rank} beside it", format.name()), |device| {
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
    let devices = || devices(Precision::F32).into_iter().chain(int8_devices());
    for (format, device) in FORMATS.into_iter().flat_map(|format| devices().map(move |device| (format, device))) {
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

/// Parts that share an input, of formats with bytes and without, give what each gives by itself, with the same bits on every level where all are in bytes.
#[test]
fn projections_of_few_rows() {
    let formats = [Format::Q4K, Format::Q6K, Format::Bf16, Format::Q5_0, Format::Q8_0];
    let weights: Vec<WeightMatrix> = formats.into_iter().zip([70, 5, 33, 64, 1]).map(|(format, n)| random_weight(format, n, 768)).collect();
    for rows in [1, 3, 33] {
        let mut of_bytes: Vec<Vec<Vec<f32>>> = Vec::new();
        for device in devices(Precision::F32).into_iter().chain(int8_devices()) {
            let what = format!("{rows} rows, {}", device.describe());
            let [mut together, one_by_one] = [true, false].map(|together| device.projections_few(&weights, rows, 16, together));
            assert_eq!(together, one_by_one, "{what}");
            // The one in bf16 and the pairs are summed in f32, whose rounding depends on the level.
            if device.int8.is_some() {
                of_bytes.push(vec![together.swap_remove(3), together.swap_remove(1)]);
            }
        }
        assert!(of_bytes.windows(2).all(|pair| pair[0] == pair[1]), "{rows} rows: levels differ");
    }
}

#[test]
fn norms() {
    for (rows, c) in [(1, 1), (3, 7), (40, 100), (5, 896)] {
        let (x, w, d_y) = (numbers(1, rows * c), numbers(2, c), numbers(3, rows * c));
        compare(Precision::F32, 3e-6, &format!("norm {rows}x{c}"), |device| device.rows(&x, &w, &d_y));
    }
}

/// Rows far from zero too, whose mean must go before the squares.
#[test]
fn layer_norms() {
    for (rows, c) in [(1, 1), (3, 7), (40, 100), (5, 384), (33, 17)] {
        for offset in [0.0, 30.0] {
            let x: Vec<f32> = numbers(1, rows * c).into_iter().map(|v| v + offset).collect();
            let (residual, w, b) = (numbers(2, rows * c), numbers(3, c), numbers(4, c));
            compare(Precision::F32, 1e-5, &format!("layer norm {rows}x{c}"), |device| device.layer_norms(&x, &residual, &w, &b));
        }
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
