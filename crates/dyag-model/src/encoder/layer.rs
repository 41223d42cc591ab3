//! One layer of an encoder.

use dyag_kernels::Device;
use dyag_kernels::device::{AttentionInputs, AttentionShape, AttentionSpan, LayerNormWeights, Projection};

use crate::config::EncoderConfig;
use crate::weights::{BiasedMatrix, EncoderLayerWeights, NormWeights};

/// What a pass over some rows has in common for all layers.
pub(super) struct Pass<'a, D: Device> {
    pub(super) device: &'a D,
    pub(super) config: &'a EncoderConfig,
    /// T.
    pub(super) rows: usize,
    pub(super) spans: &'a [AttentionSpan],
}

/// A LayerNorm on the device.
pub(super) struct Norm<D: Device> {
    gain: D::Buffer,
    shift: D::Buffer,
}

/// A matrix with its bias on the device.
pub(super) struct Linear<D: Device> {
    pub(super) weight: D::Weight,
    pub(super) bias: D::Buffer,
    n_out: usize,
}

/// A layer's frozen weights on the device.
pub(super) struct Layer<D: Device> {
    qkv: [Linear<D>; 3],
    o: Linear<D>,
    attention_norm: Norm<D>,
    up: Linear<D>,
    down: Linear<D>,
    feed_forward_norm: Norm<D>,
}

impl<D: Device> Norm<D> {
    pub(super) fn load(device: &D, NormWeights { gain, shift }: &NormWeights) -> Self {
        Self { gain: device.upload(gain), shift: device.upload(shift) }
    }
}

impl<D: Device> Linear<D> {
    pub(super) fn load(device: &D, BiasedMatrix { weight, bias }: &BiasedMatrix) -> Self {
        Self { weight: device.load_weight(weight), bias: device.upload(bias), n_out: weight.rows() }
    }
}

impl<D: Device> Pass<'_, D> {
    /// LayerNorm of `x + residual` `[T, C]`.
    pub(super) fn norm(&self, x: &D::Buffer, residual: Option<&D::Buffer>, Norm { gain, shift }: &Norm<D>) -> D::Buffer {
        let mut y = self.device.scratch(self.rows * self.config.hidden_size);
        self.device.layer_norm(x, residual, LayerNormWeights { w: gain, b: shift }, self.config.layer_norm_eps, &mut y);
        y
    }

    /// Attention of all heads `[T, C]`.
    fn attention(&self, q: &D::Buffer, k: &D::Buffer, v: &D::Buffer) -> D::Buffer {
        let EncoderConfig { n_heads, head_size, .. } = *self.config;
        let mut a = self.device.scratch(self.rows * n_heads * head_size);
        let mut log_sum_exp = self.device.scratch(self.rows * n_heads);
        let scale = 1.0 / (head_size as f32).sqrt();
        let shape = AttentionShape { n_heads, n_kv_heads: n_heads, head_size, scale, window: None, causal: false };
        self.device.attention(&AttentionInputs { shape, spans: self.spans, q, k, v }, &mut a, &mut log_sum_exp);
        a
    }

    /// All products of one input, each in a buffer that `new` makes.
    fn project<const N: usize>(&self, x: &D::Buffer, linears: [&Linear<D>; N], new: impl Fn(&D, usize) -> D::Buffer) -> [D::Buffer; N] {
        let mut results = linears.map(|linear| new(self.device, self.rows * linear.n_out));
        let parts = linears.into_iter().zip(&mut results);
        let parts = parts.map(|(linear, y)| Projection { weight: &linear.weight, bias: Some(&linear.bias), pair: None, y });
        self.device.project(x, self.rows, None, parts.collect());
        results
    }
}

impl<D: Device> Layer<D> {
    pub(super) fn load(device: &D, weights: &EncoderLayerWeights) -> Self {
        let EncoderLayerWeights { qkv, o, attention_norm, up, down, feed_forward_norm } = weights;
        Self {
            qkv: qkv.each_ref().map(|matrix| Linear::load(device, matrix)),
            o: Linear::load(device, o),
            attention_norm: Norm::load(device, attention_norm),
            up: Linear::load(device, up),
            down: Linear::load(device, down),
            feed_forward_norm: Norm::load(device, feed_forward_norm),
        }
    }

    /// The layer's output `[T, C]` for `x` `[T, C]`.
    pub(super) fn forward(&self, pass: &Pass<'_, D>, x: &D::Buffer) -> D::Buffer {
        let [q, k, v] = pass.project(x, self.qkv.each_ref(), D::scratch);
        self.after_attention(pass, x, &pass.attention(&q, &k, &v))
    }

    /// The layer's output `[N, C]` for the N of the rows of `x` `[T, C]` that are wanted, `rows`; `of_rows` has one span for each, with that row as its query. A row has the bits that
    /// [`Layer::forward`] gives it.
    pub(super) fn forward_rows(&self, pass: &Pass<'_, D>, x: &D::Buffer, rows: &[usize], of_rows: &Pass<'_, D>) -> D::Buffer {
        let width = pass.config.hidden_size;
        let mut wanted = pass.device.scratch(rows.len() * width);
        pass.device.gather_rows(x, rows, width, &mut wanted);
        let [q, k, v] = self.qkv.each_ref();
        let ([q], [k, v]) = (of_rows.project(&wanted, [q], D::scratch), pass.project(x, [k, v], D::scratch));
        self.after_attention(of_rows, &wanted, &of_rows.attention(&q, &k, &v))
    }

    /// What follows attention, whose result is `a` `[T, C]`.
    fn after_attention(&self, pass: &Pass<'_, D>, x: &D::Buffer, a: &D::Buffer) -> D::Buffer {
        let [o] = pass.project(a, [&self.o], D::scratch);
        let m = pass.norm(&o, Some(x), &self.attention_norm);
        let [mut h] = pass.project(&m, [&self.up], D::scratch_activations);
        pass.device.activate(pass.config.activation, &mut h);
        let [y] = pass.project(&h, [&self.down], D::scratch);
        pass.norm(&y, Some(&m), &self.feed_forward_norm)
    }
}
