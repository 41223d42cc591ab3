//! The scalar references: every operation of a [`Device`] as its definition, in plain loops with f64 sums.
//!
//! It is what the kernels are tested against, and it runs whole models (`dyag check --device reference`), so that the trait has two
//! implementations that share no arithmetic.

mod activation;

use crate::device::{
    Activation, AdamwStep, AttentionGradients, AttentionInputs, AttentionResult, AttentionShape, AttentionSpan, Device, LayerNormWeights,
    LossSum, LowRank, LowRankPair, Matmul, Place, Precision,
};
use crate::random::dropped;
use crate::rounding::round_to_bf16;
use crate::weight::WeightMatrix;

use activation::activate;
#[cfg(test)]
pub(crate) use activation::erf;

/// Plain loops on one thread.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceDevice {
    precision: Precision,
}

impl ReferenceDevice {
    /// With what products with frozen weights round to.
    pub fn new(precision: Precision) -> Self {
        Self { precision }
    }

    fn rounded(&self, value: f32) -> f64 {
        f64::from(match self.precision {
            Precision::F32 => value,
            Precision::Bf16 => round_to_bf16(value),
        })
    }

    fn row(&self, w: &WeightMatrix, row: usize) -> Vec<f64> {
        let mut values = vec![0.0; w.cols()];
        w.widen_row(row, 0, &mut values);
        values.into_iter().map(|v| self.rounded(v)).collect()
    }
}

/// Weights of the keys that one query sees, in order: `(row of k and v, probability)`.
fn probabilities(shape: AttentionShape, span: &AttentionSpan, query: usize, q: &[f32], k: &[f32], head: usize) -> (Vec<(usize, f64)>, f64) {
    let AttentionShape { n_heads, n_kv_heads, head_size, scale, window, causal } = shape;
    let (row, kv_head) = (span.queries.start + query, head / (n_heads / n_kv_heads));
    let q = &q[(row * n_heads + head) * head_size..][..head_size];
    let position = span.prefix.len() + span.own.len() - span.queries.len() + query;
    let n_own = if causal { position + 1 - span.prefix.len() } else { span.own.len() };
    let keys: Vec<usize> = span.prefix.clone().chain(span.own.start..span.own.start + n_own).collect();
    let first = window.map_or(0, |w| (position + 1).saturating_sub(w));
    let scores: Vec<(usize, f64)> = keys[first..]
        .iter()
        .map(|key| {
            let k = &k[(key * n_kv_heads + kv_head) * head_size..][..head_size];
            (*key, dot(q, k) * f64::from(scale))
        })
        .collect();
    let largest = scores.iter().fold(f64::NEG_INFINITY, |m, (_, s)| m.max(*s));
    let total: f64 = scores.iter().map(|(_, s)| (s - largest).exp()).sum();
    (scores.into_iter().map(|(key, s)| (key, (s - largest).exp() / total)).collect(), largest + total.ln())
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

impl Device for ReferenceDevice {
    type Buffer = Vec<f32>;
    type Weight = WeightMatrix;

    fn describe(&self) -> String {
        match self.precision {
            Precision::F32 => "reference f64 sums".into(),
            Precision::Bf16 => "reference bf16 operands, f64 sums".into(),
        }
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn load_weight(&self, weight: &WeightMatrix) -> WeightMatrix {
        weight.clone()
    }

    fn freeze(&self, values: &Vec<f32>, rows: usize, cols: usize) -> WeightMatrix {
        WeightMatrix::from_f32(values, rows, cols)
    }

    fn scratch(&self, len: usize) -> Vec<f32> {
        vec![f32::NAN; len]
    }

    fn zeros(&self, len: usize) -> Vec<f32> {
        vec![0.0; len]
    }

    fn upload(&self, values: &[f32]) -> Vec<f32> {
        values.to_vec()
    }

    fn download(&self, buffer: &Vec<f32>) -> Vec<f32> {
        buffer.clone()
    }

    fn len(&self, buffer: &Vec<f32>) -> usize {
        buffer.len()
    }

    fn fill_zero(&self, buffer: &mut Vec<f32>) {
        buffer.fill(0.0);
    }

    fn copy_block(&self, from: &Vec<f32>, from_place: Place, to: &mut Vec<f32>, to_place: Place, rows: usize, cols: usize) {
        for i in 0..rows {
            for j in 0..cols {
                to[(to_place.row + i) * to_place.width + to_place.col + j] =
                    from[(from_place.row + i) * from_place.width + from_place.col + j];
            }
        }
    }

    fn gather_rows(&self, from: &Vec<f32>, rows: &[usize], width: usize, to: &mut Vec<f32>) {
        for (i, row) in rows.iter().enumerate() {
            for j in 0..width {
                to[i * width + j] = from[row * width + j];
            }
        }
    }

    fn scatter_add_rows(&self, from: &Vec<f32>, rows: &[usize], width: usize, to: &mut Vec<f32>) {
        for (i, row) in rows.iter().enumerate() {
            for j in 0..width {
                to[row * width + j] += from[i * width + j];
            }
        }
    }

    fn add(&self, x: &mut Vec<f32>, y: &Vec<f32>) {
        assert_eq!(x.len(), y.len());
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    }

    fn scale(&self, factor: f32, x: &mut Vec<f32>) {
        x.iter_mut().for_each(|x| *x *= factor);
    }

    fn embed(&self, table: &WeightMatrix, ids: &[u32], out: &mut Vec<f32>) {
        for (i, id) in ids.iter().enumerate() {
            let row = self.row(table, *id as usize);
            out[i * row.len()..(i + 1) * row.len()].iter_mut().zip(&row).for_each(|(o, v)| *o = *v as f32);
        }
    }

    fn rms_norm(&self, x: &Vec<f32>, w: &Vec<f32>, eps: f32, y: &mut Vec<f32>, inv_rms: &mut Vec<f32>) {
        let c = w.len();
        for (i, x) in x.chunks_exact(c).enumerate() {
            let r = 1.0 / (dot(x, x) / c as f64 + f64::from(eps)).sqrt();
            inv_rms[i] = r as f32;
            for j in 0..c {
                y[i * c + j] = (f64::from(w[j]) * f64::from(x[j]) * r) as f32;
            }
        }
    }

    fn rms_norm_backward(&self, d_y: &Vec<f32>, x: &Vec<f32>, w: &Vec<f32>, inv_rms: &Vec<f32>, d_x: &mut Vec<f32>) {
        let c = w.len();
        for (i, x) in x.chunks_exact(c).enumerate() {
            let (d_y, r) = (&d_y[i * c..(i + 1) * c], f64::from(inv_rms[i]));
            let mean: f64 = (0..c).map(|j| f64::from(x[j]) * f64::from(w[j]) * f64::from(d_y[j])).sum::<f64>() / c as f64;
            for j in 0..c {
                d_x[i * c + j] += (r * (f64::from(w[j]) * f64::from(d_y[j]) - f64::from(x[j]) * r * r * mean)) as f32;
            }
        }
    }

    fn rms_norm_gain_backward(&self, d_y: &Vec<f32>, x: &Vec<f32>, inv_rms: &Vec<f32>, d_w: &mut Vec<f32>) {
        let c = d_w.len();
        for (j, d_w) in d_w.iter_mut().enumerate() {
            let term = |i: usize| f64::from(d_y[i * c + j]) * f64::from(x[i * c + j]) * f64::from(inv_rms[i]);
            *d_w = (f64::from(*d_w) + (0..inv_rms.len()).map(term).sum::<f64>()) as f32;
        }
    }

    fn weight_backward(&self, d_y: &Vec<f32>, x: &Vec<f32>, rows: usize, d_w: &mut Vec<f32>) {
        let (n, k) = (d_y.len() / rows, x.len() / rows);
        for (i, d_w) in d_w.iter_mut().enumerate() {
            let (row, col) = (i / k, i % k);
            let sum: f64 = (0..rows).map(|t| f64::from(d_y[t * n + row]) * f64::from(x[t * k + col])).sum();
            *d_w = (f64::from(*d_w) + sum) as f32;
        }
    }

    fn bias_backward(&self, d_y: &Vec<f32>, d_b: &mut Vec<f32>) {
        let n = d_b.len();
        for (j, d_b) in d_b.iter_mut().enumerate() {
            *d_b = (f64::from(*d_b) + d_y.chunks_exact(n).map(|row| f64::from(row[j])).sum::<f64>()) as f32;
        }
    }

    fn layer_norm(
        &self,
        x: &Vec<f32>,
        residual: Option<&Vec<f32>>,
        LayerNormWeights { w, b }: LayerNormWeights<'_, Vec<f32>>,
        eps: f32,
        y: &mut Vec<f32>,
    ) {
        let c = w.len();
        for (i, x) in x.chunks_exact(c).enumerate() {
            let x: Vec<f64> = (0..c).map(|j| f64::from(x[j]) + residual.map_or(0.0, |residual| f64::from(residual[i * c + j]))).collect();
            let mean = x.iter().sum::<f64>() / c as f64;
            let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / c as f64;
            let r = 1.0 / (variance + f64::from(eps)).sqrt();
            for j in 0..c {
                y[i * c + j] = (f64::from(w[j]) * (x[j] - mean) * r + f64::from(b[j])) as f32;
            }
        }
    }

    fn linear(
        &self,
        w: &WeightMatrix,
        x: &Vec<f32>,
        rows: usize,
        bias: Option<&Vec<f32>>,
        low_rank: Option<LowRank<'_, Vec<f32>>>,
        y: &mut Vec<f32>,
    ) {
        let x: Vec<f64> = x.iter().map(|v| self.rounded(*v)).collect();
        for j in 0..w.rows() {
            let weights = self.row(w, j);
            for i in 0..rows {
                let sum: f64 = x[i * w.cols()..(i + 1) * w.cols()].iter().zip(&weights).map(|(x, w)| x * w).sum();
                let beside = low_rank.as_ref().map_or(0.0, |low_rank| {
                    let (u, v) = (&low_rank.u[i * low_rank.rank..], &low_rank.v[j * low_rank.rank..]);
                    u.iter().zip(v).take(low_rank.rank).map(|(u, v)| f64::from(*u) * f64::from(*v)).sum()
                });
                y[i * w.rows() + j] = (sum + beside + bias.map_or(0.0, |b| f64::from(b[j]))) as f32;
            }
        }
    }

    fn linear_few(&self, w: &WeightMatrix, x: &Vec<f32>, rows: usize, bias: Option<&Vec<f32>>, y: &mut Vec<f32>) {
        self.linear(w, x, rows, bias, None, y);
    }

    fn linear_backward(
        &self,
        w: &WeightMatrix,
        d_y: &Vec<f32>,
        rows: usize,
        low_rank: Option<LowRank<'_, Vec<f32>>>,
        d_x: &mut Vec<f32>,
        accumulate: bool,
    ) {
        let (n, k) = (w.rows(), w.cols());
        let mut sums: Vec<f64> = d_x.iter().map(|v| if accumulate { f64::from(*v) } else { 0.0 }).collect();
        for j in 0..n {
            let weights = self.row(w, j);
            for i in 0..rows {
                let d = self.rounded(d_y[i * n + j]);
                sums[i * k..(i + 1) * k].iter_mut().zip(&weights).for_each(|(sum, w)| *sum += d * w);
            }
        }
        if let Some(LowRank { u, v, rank }) = low_rank {
            for (u, sums) in u.chunks_exact(rank).zip(sums.chunks_exact_mut(k)) {
                for (u, v) in u.iter().zip(v.chunks_exact(k)) {
                    sums.iter_mut().zip(v).for_each(|(sum, v)| *sum += f64::from(*u) * f64::from(*v));
                }
            }
        }
        d_x.iter_mut().zip(sums).for_each(|(d, sum)| *d = sum as f32);
    }

    fn scale_columns(&self, x: &Vec<f32>, factors: &Vec<f32>, bias: Option<&Vec<f32>>, residual: Option<&Vec<f32>>, y: &mut Vec<f32>) {
        for (i, y) in y.iter_mut().enumerate() {
            let beside = [bias.map(|bias| bias[i % factors.len()]), residual.map(|residual| residual[i])].into_iter().flatten();
            *y = (f64::from(factors[i % factors.len()]) * f64::from(x[i]) + beside.map(f64::from).sum::<f64>()) as f32;
        }
    }

    fn add_column_products(&self, x: &Vec<f32>, y: &Vec<f32>, factors: &Vec<f32>, sums: &mut Vec<f32>) {
        let width = sums.len();
        for (j, sum) in sums.iter_mut().enumerate() {
            let products: f64 = (j..x.len()).step_by(width).map(|i| f64::from(x[i]) * f64::from(y[i])).sum();
            *sum = (f64::from(*sum) + f64::from(factors[j]) * products) as f32;
        }
    }

    fn row_squares(&self, w: &WeightMatrix, squares: &mut Vec<f32>) {
        let mut row = vec![0.0; w.cols()];
        for (j, square) in squares.iter_mut().enumerate() {
            w.widen_row(j, 0, &mut row);
            *square = dot(&row, &row) as f32;
        }
    }

    fn adapted_norms(&self, w: &WeightMatrix, _: &Vec<f32>, pair: LowRankPair<'_, Vec<f32>>, norms: &mut Vec<f32>) {
        let LowRankPair { a, b, rank, scale } = pair;
        let mut row = vec![0.0; w.cols()];
        for (j, norm) in norms.iter_mut().enumerate() {
            w.widen_row(j, 0, &mut row);
            let added = |i: usize| (0..rank).map(|r| f64::from(b[j * rank + r]) * f64::from(a[r * w.cols() + i])).sum::<f64>();
            let sum: f64 = row.iter().enumerate().map(|(i, w)| (f64::from(*w) + f64::from(scale) * added(i)).powi(2)).sum();
            *norm = sum.sqrt() as f32;
        }
    }

    fn matmul(&self, s: Matmul, a: &Vec<f32>, b: &Vec<f32>, c: &mut Vec<f32>) {
        for i in 0..s.m {
            for j in 0..s.n {
                let term = |l: usize| {
                    let a = a[if s.transpose_a { l * s.m + i } else { i * s.k + l }];
                    let b = b[if s.transpose_b { j * s.k + l } else { l * s.n + j }];
                    f64::from(a) * f64::from(b)
                };
                let sum: f64 = (0..s.k).map(term).sum();
                let old = if s.beta == 0.0 { 0.0 } else { f64::from(s.beta) * f64::from(c[i * s.n + j]) };
                c[i * s.n + j] = (f64::from(s.alpha) * sum + old) as f32;
            }
        }
    }

    fn matmul_few(&self, sizes: Matmul, x: &Vec<f32>, w: &Vec<f32>, y: &mut Vec<f32>) {
        self.matmul(sizes, x, w, y);
    }

    fn rope(&self, x: &mut Vec<f32>, n_heads: usize, head_size: usize, cos: &Vec<f32>, sin: &Vec<f32>, inverse: bool) {
        let rows = x.len() / (n_heads * head_size);
        let half = cos.len() / rows.max(1);
        for row in 0..rows {
            for head in 0..n_heads {
                let at = (row * n_heads + head) * head_size;
                for j in 0..half {
                    let (c, s) = (f64::from(cos[row * half + j]), f64::from(sin[row * half + j]));
                    let s = if inverse { -s } else { s };
                    let (a, b) = (f64::from(x[at + j]), f64::from(x[at + half + j]));
                    x[at + j] = (a * c - b * s) as f32;
                    x[at + half + j] = (b * c + a * s) as f32;
                }
            }
        }
    }

    fn attention(&self, inputs: &AttentionInputs<'_, Vec<f32>>, out: &mut Vec<f32>, log_sum_exp: &mut Vec<f32>) {
        let AttentionInputs { shape, spans, q, k, v } = *inputs;
        let AttentionShape { n_heads, n_kv_heads, head_size, .. } = shape;
        for span in spans {
            for query in 0..span.queries.len() {
                for head in 0..n_heads {
                    let (weights, lse) = probabilities(shape, span, query, q, k, head);
                    let at = (span.queries.start + query) * n_heads + head;
                    log_sum_exp[at] = lse as f32;
                    for j in 0..head_size {
                        let value = |key: usize| f64::from(v[(key * n_kv_heads + head / (n_heads / n_kv_heads)) * head_size + j]);
                        out[at * head_size + j] = weights.iter().map(|(key, p)| p * value(*key)).sum::<f64>() as f32;
                    }
                }
            }
        }
    }

    fn attention_backward(
        &self,
        inputs: &AttentionInputs<'_, Vec<f32>>,
        result: &AttentionResult<'_, Vec<f32>>,
        gradients: AttentionGradients<'_, Vec<f32>>,
    ) {
        let AttentionInputs { shape, spans, q, k, v } = *inputs;
        let AttentionGradients { q: d_q, k: d_k, v: d_v } = gradients;
        let AttentionShape { n_heads, n_kv_heads, head_size, scale, .. } = shape;
        let mut sums_k: Vec<f64> = d_k.iter().map(|v| f64::from(*v)).collect();
        let mut sums_v: Vec<f64> = d_v.iter().map(|v| f64::from(*v)).collect();
        d_q.fill(0.0);
        for span in spans {
            for query in 0..span.queries.len() {
                for head in 0..n_heads {
                    let (weights, _) = probabilities(shape, span, query, q, k, head);
                    let at = ((span.queries.start + query) * n_heads + head) * head_size;
                    let kv = |key: usize| (key * n_kv_heads + head / (n_heads / n_kv_heads)) * head_size;
                    let d_o = &result.d_out[at..at + head_size];
                    let d_p: Vec<f64> = weights.iter().map(|(key, _)| dot(d_o, &v[kv(*key)..][..head_size])).collect();
                    let mean: f64 = weights.iter().zip(&d_p).map(|((_, p), d)| p * d).sum();
                    for j in 0..head_size {
                        let mut d_query = 0.0;
                        for ((key, p), d) in weights.iter().zip(&d_p) {
                            let d_score = p * (d - mean) * f64::from(scale);
                            d_query += d_score * f64::from(k[kv(*key) + j]);
                            sums_k[kv(*key) + j] += d_score * f64::from(q[at + j]);
                            sums_v[kv(*key) + j] += p * f64::from(d_o[j]);
                        }
                        d_q[at + j] = d_query as f32;
                    }
                }
            }
        }
        d_k.iter_mut().zip(sums_k).for_each(|(d, sum)| *d = sum as f32);
        d_v.iter_mut().zip(sums_v).for_each(|(d, sum)| *d = sum as f32);
    }

    fn gated(&self, activation: Activation, gate: &Vec<f32>, up: &Vec<f32>, out: &mut Vec<f32>) {
        for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
            *o = (activate(activation, f64::from(*g)).0 * f64::from(*u)) as f32;
        }
    }

    fn gated_backward(&self, activation: Activation, d_out: &Vec<f32>, gate: &mut Vec<f32>, up: &mut Vec<f32>) {
        for ((d, g), u) in d_out.iter().zip(gate).zip(up) {
            let (value, slope) = activate(activation, f64::from(*g));
            *g = (f64::from(*d) * f64::from(*u) * slope) as f32;
            *u = (f64::from(*d) * value) as f32;
        }
    }

    fn activate(&self, activation: Activation, x: &mut Vec<f32>) {
        x.iter_mut().for_each(|x| *x = activate(activation, f64::from(*x)).0 as f32);
    }

    fn cross_entropy(&self, logits: &mut Vec<f32>, targets: &[u32], weights: &[f32], sum: &mut LossSum) {
        let vocab = logits.len() / targets.len().max(1);
        for (i, (target, weight)) in targets.iter().zip(weights).enumerate() {
            let row = &mut logits[i * vocab..(i + 1) * vocab];
            let (target, weight) = (*target as usize, f64::from(*weight));
            let largest = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(f64::from(*v)));
            let first = row.iter().position(|v| f64::from(*v) == largest);
            let total: f64 = row.iter().map(|v| (f64::from(*v) - largest).exp()).sum();
            let n_correct = if first == Some(target) { weight } else { 0.0 };
            *sum += LossSum { loss_sum_nats: weight * (largest + total.ln() - f64::from(row[target])), n_tokens: weight, n_correct };
            for (j, v) in row.iter_mut().enumerate() {
                let p = (f64::from(*v) - largest).exp() / total;
                *v = (weight * (p - if j == target { 1.0 } else { 0.0 })) as f32;
            }
        }
    }

    fn dropout(&self, p: f32, seed: u64, x: &Vec<f32>, out: &mut Vec<f32>) {
        for (i, (o, x)) in out.iter_mut().zip(x).enumerate() {
            *o = if dropped(p, seed, i) { 0.0 } else { x * (1.0 / (1.0 - p)) };
        }
    }

    fn largest(&self, x: &Vec<f32>, width: usize) -> Vec<u32> {
        let of_row = |row: &[f32]| {
            let mut best = (0, f32::NEG_INFINITY);
            for (place, value) in row.iter().enumerate() {
                if *value > best.1 {
                    best = (place as u32, *value);
                }
            }
            best.0
        };
        x.chunks_exact(width).map(of_row).collect()
    }

    fn sum_of_squares(&self, x: &Vec<f32>) -> f64 {
        dot(x, x)
    }

    fn adamw(&self, step: AdamwStep, gradient: &Vec<f32>, parameter: &mut Vec<f32>, first: &mut Vec<f32>, second: &mut Vec<f32>) {
        let [lr, beta1, beta2, eps, decay, scale] =
            [step.learning_rate, step.beta1, step.beta2, step.eps, step.weight_decay, step.gradient_scale].map(f64::from);
        for i in 0..gradient.len() {
            let g = f64::from(gradient[i]) * scale;
            let m = beta1 * f64::from(first[i]) + (1.0 - beta1) * g;
            let v = beta2 * f64::from(second[i]) + (1.0 - beta2) * g * g;
            let (m_hat, v_hat) = (m / (1.0 - beta1.powi(step.t as i32)), v / (1.0 - beta2.powi(step.t as i32)));
            parameter[i] = (f64::from(parameter[i]) * (1.0 - lr * decay) - lr * m_hat / (v_hat.sqrt() + eps)) as f32;
            first[i] = m as f32;
            second[i] = v as f32;
        }
    }
}
