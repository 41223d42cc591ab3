//! One layer, forward and backward side by side.
//!
//! ```text
//! n1 = norm(x)       q, k, v = project(n1), rotated      a = attention(q, k, v)      m = x + project(a)
//! n2 = norm(m)       g, u = project(n2)                  h = act(g) * u              y = m + project(h)
//! ```
//! Some families normalise the heads of q and k before they are rotated, and what `project` gives before it joins x and m.
//! Kept for the backward: x, q, k, v, a, m, g, u, three small vectors and the narrow products of the adapter; n1, n2 and h are cheap to make again.

use dyag_kernels::Device;
use dyag_kernels::device::{AttentionGradients, AttentionInputs, AttentionResult, AttentionShape, AttentionSpan, Place};

use super::device_adapter::DeviceAdapter;
use super::norms::{HeadNorms, Normed, OutputNorm};
use super::projection::{Backward, Linear, Projected, Projecting, Trace};
use super::rope::{Angles, Turns};
use super::training::Dropout;
use super::whole::{LayerPart, Part};
use crate::config::DecoderConfig;

/// A layer's frozen weights on the device.
pub(super) struct Layer<D: Device> {
    pub(super) attention_norm: D::Buffer,
    pub(super) qkv: Qkv<D>,
    pub(super) head_norms: Option<HeadNorms<D>>,
    pub(super) o: Linear<D>,
    pub(super) attention_output_norm: OutputNorm<D>,
    pub(super) feed_forward_norm: D::Buffer,
    pub(super) gate_up: GateUp<D>,
    pub(super) down: Linear<D>,
    pub(super) feed_forward_output_norm: OutputNorm<D>,
}

/// Query, key and value projections.
pub(super) enum Qkv<D: Device> {
    Separate([Linear<D>; 3]),
    Fused(Linear<D>),
}

/// Gate and up projections.
pub(super) enum GateUp<D: Device> {
    Separate([Linear<D>; 2]),
    Fused(Linear<D>),
}

/// What a pass over some rows has in common for all layers.
pub(super) struct Pass<'a, D: Device> {
    pub(super) device: &'a D,
    pub(super) config: &'a DecoderConfig,
    /// T.
    pub(super) rows: usize,
    pub(super) spans: &'a [AttentionSpan],
    pub(super) angles: &'a Angles<D>,
    pub(super) adapter: Option<&'a DeviceAdapter<D>>,
    pub(super) dropout: Option<Dropout>,
    /// Use the kernels for few rows.
    pub(super) few: bool,
}

/// What a layer's forward pass leaves for its backward.
pub(super) struct Activations<D: Device> {
    /// The layer's input.
    pub(super) x: D::Buffer,
    qkv: Queries<D>,
    a: D::Buffer,
    log_sum_exp: D::Buffer,
    middle: Middle<D>,
}

/// Queries, keys and values of a layer, rotated.
pub(super) struct Queries<D: Device> {
    pub(super) q: D::Buffer,
    pub(super) k: D::Buffer,
    pub(super) v: D::Buffer,
    inv_rms: D::Buffer,
    /// q and k before their heads were normalised.
    raw: Option<[Normed<D>; 2]>,
    /// What the pairs leave, one for each matrix.
    narrow: Vec<Trace<D>>,
}

/// What lies between a layer's attention and its last projection.
pub(super) struct Middle<D: Device> {
    m: D::Buffer,
    inv_rms: D::Buffer,
    g: D::Buffer,
    u: D::Buffer,
    /// What o gave, where it was normalised.
    raw: Option<Normed<D>>,
    /// What the pairs leave: of o, and of gate and up.
    of_o: Trace<D>,
    narrow: Vec<Trace<D>>,
}

/// What a layer's last projection leaves for the backward.
pub(super) struct Tail<D: Device> {
    /// What the pair left.
    trace: Trace<D>,
    /// What the projection gave, where it was normalised.
    raw: Option<Normed<D>>,
}

impl<D: Device> Tail<D> {
    /// The same in as little memory as the device's precision takes.
    pub(super) fn compacted(self, device: &D) -> Self {
        Self { raw: self.raw.map(|raw| raw.compacted(device)), ..self }
    }
}

/// How far down a layer's backward must go: into what something adapted lies in or below.
#[derive(Clone, Copy)]
struct Reach {
    /// A lower layer.
    below: bool,
    into_qkv: bool,
    into_attention: bool,
    into_gate_up: bool,
}

/// What attention and the projection after it left for the backward.
struct OfAttention<D: Device> {
    a: D::Buffer,
    log_sum_exp: D::Buffer,
    trace: Trace<D>,
    raw: Option<Normed<D>>,
}

/// What a layer's backward adds to and changes on its way down.
struct Way<'a, D: Device> {
    gradients: &'a mut DeviceAdapter<D>,
    /// Gradient of the residual stream.
    d_x: &'a mut D::Buffer,
    reach: Reach,
}

impl<D: Device> Pass<'_, D> {
    pub(super) fn shape(&self, layer: usize) -> AttentionShape {
        let DecoderConfig { n_heads, n_kv_heads, head_size, .. } = *self.config;
        AttentionShape {
            n_heads,
            n_kv_heads,
            head_size,
            scale: self.config.attention_scale,
            window: self.config.windows[layer],
            causal: true,
        }
    }

    /// The angles by which `layer` turns its heads.
    pub(super) fn angles(&self, layer: usize) -> &Turns<D> {
        match &self.angles.windowed {
            Some(windowed) if self.config.windows[layer].is_some() => windowed,
            _ => &self.angles.full,
        }
    }

    fn projecting(&self, layer: usize) -> Projecting<'_, D> {
        let Pass { device, rows, adapter, dropout, few, .. } = *self;
        Projecting { device, layer, rows, adapter, dropout, few }
    }

    /// Norm of `x` `[T, C]`, with `1 / rms` `[T]`.
    pub(super) fn norm(&self, x: &D::Buffer, gain: &D::Buffer) -> (D::Buffer, D::Buffer) {
        let (mut y, mut inv_rms) = (self.projecting(0).activations(self.rows * self.config.hidden_size), self.device.scratch(self.rows));
        self.device.rms_norm(x, gain, self.config.rms_norm_eps, &mut y, &mut inv_rms);
        (y, inv_rms)
    }

    /// Cuts `[T, widths...]` into one buffer a width, of the kind that `new` makes.
    fn split<const N: usize>(&self, from: &D::Buffer, widths: [usize; N], new: impl Fn(usize) -> D::Buffer) -> [D::Buffer; N] {
        let width = widths.iter().sum();
        let mut col = 0;
        widths.map(|part| {
            let mut to = new(self.rows * part);
            let (from_place, to_place) = (Place { row: 0, col, width }, Place { row: 0, col: 0, width: part });
            self.device.copy_block(from, from_place, &mut to, to_place, self.rows, part);
            col += part;
            to
        })
    }

    /// The reverse of `split`.
    fn join<const N: usize>(&self, parts: [(&D::Buffer, usize); N], new: impl Fn(usize) -> D::Buffer) -> D::Buffer {
        let width: usize = parts.iter().map(|(_, width)| width).sum();
        let mut to = new(self.rows * width);
        let mut col = 0;
        for (from, part) in parts {
            let (from_place, to_place) = (Place { row: 0, col: 0, width: part }, Place { row: 0, col, width });
            self.device.copy_block(from, from_place, &mut to, to_place, self.rows, part);
            col += part;
        }
        to
    }
}

/// The widths of q, k and v.
fn qkv_widths(config: &DecoderConfig) -> [usize; 3] {
    let keys = config.n_kv_heads * config.head_size;
    [config.n_heads * config.head_size, keys, keys]
}

impl<D: Device> Layer<D> {
    /// q, k (rotated) and v from the layer's input.
    pub(super) fn queries_keys_values(&self, pass: &Pass<'_, D>, layer: usize, x: &D::Buffer) -> Queries<D> {
        let (n1, inv_rms) = pass.norm(x, &self.attention_norm);
        let projecting = pass.projecting(layer);
        let ([mut q, mut k, v], narrow) = match &self.qkv {
            Qkv::Separate(parts) => apart(projecting.forward(parts.each_ref(), &n1, None, false)),
            Qkv::Fused(qkv) => {
                let [Projected { y, trace }] = projecting.forward([qkv], &n1, None, false);
                (pass.split(&y, qkv_widths(pass.config), |len| pass.device.scratch(len)), vec![trace])
            }
        };
        let raw = self.head_norms.as_ref().map(|norms| norms.forward(pass, [&mut q, &mut k]));
        let (&DecoderConfig { n_heads, n_kv_heads, head_size, .. }, angles) = (pass.config, pass.angles(layer));
        pass.device.rope(&mut q, n_heads, head_size, &angles.cos, &angles.sin, false);
        pass.device.rope(&mut k, n_kv_heads, head_size, &angles.cos, &angles.sin, false);
        Queries { q, k, v, inv_rms, raw, narrow }
    }

    /// Attention's output joined to the residual stream, and gate and up of the feed-forward block.
    fn middle(&self, pass: &Pass<'_, D>, layer: usize, x: &D::Buffer, a: &D::Buffer) -> Middle<D> {
        let projecting = pass.projecting(layer);
        let (m, raw, of_o) = self.attention_output_norm.project(pass, &projecting, &self.o, a, x);
        let (n2, inv_rms) = pass.norm(&m, &self.feed_forward_norm);
        let f = pass.config.intermediate_size;
        let ([g, u], narrow) = match &self.gate_up {
            GateUp::Separate(parts) => apart(projecting.forward(parts.each_ref(), &n2, None, true)),
            GateUp::Fused(gate_up) => {
                let [Projected { y, trace }] = projecting.forward([gate_up], &n2, None, true);
                (pass.split(&y, [f, f], |len| projecting.activations(len)), vec![trace])
            }
        };
        Middle { m, inv_rms, g, u, raw, of_o, narrow }
    }

    /// The layer's output, and what its last projection leaves for the backward.
    fn output(&self, pass: &Pass<'_, D>, layer: usize, middle: &Middle<D>) -> (D::Buffer, Tail<D>) {
        let projecting = pass.projecting(layer);
        let mut h = projecting.activations(pass.rows * pass.config.intermediate_size);
        pass.device.gated(pass.config.activation, &middle.g, &middle.u, &mut h);
        let (y, raw, trace) = self.feed_forward_output_norm.project(pass, &projecting, &self.down, &h, &middle.m);
        (y, Tail { trace, raw })
    }

    /// Attention's output joined to the residual stream, and the feed-forward block on top.
    pub(super) fn after_attention(&self, pass: &Pass<'_, D>, layer: usize, x: &D::Buffer, a: &D::Buffer) -> D::Buffer {
        self.output(pass, layer, &self.middle(pass, layer, x, a)).0
    }

    /// What the backward needs of a layer, but for what its last projection leaves.
    pub(super) fn activations(&self, pass: &Pass<'_, D>, layer: usize, x: D::Buffer) -> Activations<D> {
        let qkv = self.queries_keys_values(pass, layer, &x);
        let mut a = pass.device.scratch(pass.device.len(&qkv.q));
        let mut log_sum_exp = pass.device.scratch(pass.rows * pass.config.n_heads);
        let inputs = AttentionInputs { shape: pass.shape(layer), spans: pass.spans, q: &qkv.q, k: &qkv.k, v: &qkv.v };
        pass.device.attention(&inputs, &mut a, &mut log_sum_exp);
        let middle = self.middle(pass, layer, &x, &a);
        Activations { x, qkv, a, log_sum_exp, middle }
    }

    /// The layer's output for `x`, and what its backward needs: the activations, and what its last projection leaves.
    pub(super) fn forward(&self, pass: &Pass<'_, D>, layer: usize, x: D::Buffer) -> (D::Buffer, Activations<D>, Tail<D>) {
        let activations = self.activations(pass, layer, x);
        let (y, tail) = self.output(pass, layer, &activations.middle);
        (y, activations, tail)
    }

    /// What is kept of `activations`, in as little memory as the device's precision takes.
    pub(super) fn compacted(device: &D, activations: Activations<D>) -> Activations<D> {
        let Activations { x, qkv, a, log_sum_exp, middle } = activations;
        let raw = middle.raw.map(|raw| raw.compacted(device));
        let middle = Middle { m: device.compact(middle.m), raw, ..middle };
        let qkv = Queries { raw: qkv.raw.map(|raw| raw.map(|raw| raw.compacted(device))), ..qkv };
        Activations { x: device.compact(x), qkv, a: device.compact(a), log_sum_exp, middle }
    }

    /// Turns `d_x`, the gradient of the layer's output, into that of its input, and adds the gradients of this layer's pairs. In the lowest adapted layer
    /// it stops as soon as nothing below is adapted.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        (saved, tail): (Activations<D>, Tail<D>),
        gradients: &mut DeviceAdapter<D>,
        d_x: &mut D::Buffer,
    ) {
        let adapted = |linear: &Linear<D>| gradients.pairs().contains_key(&linear.site(layer));
        let below = gradients.is_whole() || gradients.lowest_layer().is_some_and(|lowest| lowest < layer);
        let into_qkv = below
            || match &self.qkv {
                Qkv::Separate(parts) => parts.iter().any(adapted),
                Qkv::Fused(qkv) => adapted(qkv),
            };
        let into_attention = into_qkv || adapted(&self.o);
        let into_gate_up = into_attention
            || match &self.gate_up {
                GateUp::Separate(parts) => parts.iter().any(adapted),
                GateUp::Fused(gate_up) => adapted(gate_up),
            };
        let reach = Reach { below, into_qkv, into_attention, into_gate_up };
        let Activations { x, qkv, a, log_sum_exp, mut middle } = saved;
        let (of_o, raw) = (std::mem::take(&mut middle.of_o), middle.raw.take());
        let [x, a] = [x, a].map(|buffer| pass.device.expand(buffer));
        middle.m = pass.device.expand(middle.m);
        let mut way = Way { gradients, d_x, reach };
        self.feed_forward_backward(pass, layer, middle, tail, &mut way);
        if into_attention {
            let of_attention = OfAttention { a, log_sum_exp, trace: of_o, raw };
            self.attention_backward(pass, layer, (&x, qkv), of_attention, &mut way);
        }
    }

    fn feed_forward_backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        middle: Middle<D>,
        tail: Tail<D>,
        Way { gradients, d_x, reach }: &mut Way<'_, D>,
    ) {
        let (device, f, projecting) = (pass.device, pass.config.intermediate_size, pass.projecting(layer));
        let Middle { m, inv_rms, g: mut d_g, u: mut d_u, narrow, .. } = middle;
        let mut h = projecting.activations(pass.rows * f);
        device.gated(pass.config.activation, &d_g, &d_u, &mut h);
        let mut d_h = reach.into_gate_up.then(|| projecting.activations(pass.rows * f));
        let whole = |part: LayerPart| Part::Layer(layer, part);
        let of_gain = gradients.whole_mut().get_mut(&whole(LayerPart::FeedForwardOutputNorm));
        let d_raw = self.feed_forward_output_norm.backward(pass, d_x, tail.raw, of_gain);
        let d_y = d_raw.as_ref().unwrap_or(d_x);
        projecting.backward([Backward { linear: &self.down, d_y, trace: &tail.trace }], &h, gradients, d_h.as_mut());
        drop(d_raw);
        drop(h);
        let Some(d_h) = d_h else { return };
        device.gated_backward(pass.config.activation, &d_h, &mut d_g, &mut d_u);
        drop(d_h);
        let (n2, _) = pass.norm(&m, &self.feed_forward_norm);
        let mut d_n2 = reach.into_attention.then(|| device.scratch(pass.rows * pass.config.hidden_size));
        let trace = |i: usize| &narrow[i];
        match &self.gate_up {
            GateUp::Separate([gate, up]) => {
                let parts = [Backward { linear: gate, d_y: &d_g, trace: trace(0) }, Backward { linear: up, d_y: &d_u, trace: trace(1) }];
                projecting.backward(parts, &n2, gradients, d_n2.as_mut());
            }
            GateUp::Fused(gate_up) => {
                let d = pass.join([(&d_g, f), (&d_u, f)], |len| projecting.activations(len));
                projecting.backward([Backward { linear: gate_up, d_y: &d, trace: trace(0) }], &n2, gradients, d_n2.as_mut());
            }
        }
        if let Some(d_n2) = d_n2 {
            if let Some(d_gain) = gradients.whole_mut().get_mut(&whole(LayerPart::FeedForwardNorm)) {
                device.rms_norm_gain_backward(&d_n2, &m, &inv_rms, d_gain);
            }
            device.rms_norm_backward(&d_n2, &m, &self.feed_forward_norm, &inv_rms, d_x);
        }
    }

    fn attention_backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        (x, qkv): (&D::Buffer, Queries<D>),
        OfAttention { a, log_sum_exp, trace: of_o, raw }: OfAttention<D>,
        Way { gradients, d_x, reach }: &mut Way<'_, D>,
    ) {
        let (device, projecting) = (pass.device, pass.projecting(layer));
        let mut d_a = reach.into_qkv.then(|| device.scratch(device.len(&a)));
        let whole = |part: LayerPart| Part::Layer(layer, part);
        let of_gain = gradients.whole_mut().get_mut(&whole(LayerPart::AttentionOutputNorm));
        let d_raw = self.attention_output_norm.backward(pass, d_x, raw, of_gain);
        let d_y = d_raw.as_ref().unwrap_or(d_x);
        projecting.backward([Backward { linear: &self.o, d_y, trace: &of_o }], &a, gradients, d_a.as_mut());
        drop(d_raw);
        let Some(d_a) = d_a else { return };
        let Queries { q, k, v, inv_rms, raw, narrow } = qkv;
        let mut d_q = device.scratch(device.len(&q));
        let [mut d_k, mut d_v] = [&k, &v].map(|like| device.zeros(device.len(like)));
        let inputs = AttentionInputs { shape: pass.shape(layer), spans: pass.spans, q: &q, k: &k, v: &v };
        let result = AttentionResult { out: &a, log_sum_exp: &log_sum_exp, d_out: &d_a };
        device.attention_backward(&inputs, &result, AttentionGradients { q: &mut d_q, k: &mut d_k, v: &mut d_v });
        let (&DecoderConfig { n_heads, n_kv_heads, head_size, hidden_size, .. }, angles) = (pass.config, pass.angles(layer));
        device.rope(&mut d_q, n_heads, head_size, &angles.cos, &angles.sin, true);
        device.rope(&mut d_k, n_kv_heads, head_size, &angles.cos, &angles.sin, true);
        if let Some((norms, raw)) = self.head_norms.as_ref().zip(raw) {
            let mut of_gains = gradients.whole_mut().range_mut(whole(LayerPart::QNorm)..=whole(LayerPart::KNorm)).map(|(_, d_gain)| d_gain);
            [d_q, d_k] = norms.backward(pass, [d_q, d_k], raw, [of_gains.next(), of_gains.next()]);
        }
        let (n1, _) = pass.norm(x, &self.attention_norm);
        let mut d_n1 = reach.below.then(|| device.scratch(pass.rows * hidden_size));
        let trace = |i: usize| &narrow[i];
        match &self.qkv {
            Qkv::Separate([q, k, v]) => {
                let parts = [
                    Backward { linear: q, d_y: &d_q, trace: trace(0) },
                    Backward { linear: k, d_y: &d_k, trace: trace(1) },
                    Backward { linear: v, d_y: &d_v, trace: trace(2) },
                ];
                projecting.backward(parts, &n1, gradients, d_n1.as_mut());
            }
            Qkv::Fused(qkv) => {
                let [q_width, k_width, v_width] = qkv_widths(pass.config);
                let d = pass.join([(&d_q, q_width), (&d_k, k_width), (&d_v, v_width)], |len| device.scratch(len));
                projecting.backward([Backward { linear: qkv, d_y: &d, trace: trace(0) }], &n1, gradients, d_n1.as_mut());
            }
        }
        if let Some(d_n1) = d_n1 {
            if let Some(d_gain) = gradients.whole_mut().get_mut(&whole(LayerPart::AttentionNorm)) {
                device.rms_norm_gain_backward(&d_n1, x, &inv_rms, d_gain);
            }
            device.rms_norm_backward(&d_n1, x, &self.attention_norm, &inv_rms, d_x);
        }
    }
}

/// Results and what pairs leave, apart.
fn apart<D: Device, const N: usize>(projected: [Projected<D>; N]) -> ([D::Buffer; N], Vec<Trace<D>>) {
    let mut traces = Vec::with_capacity(N);
    let y = projected.map(|Projected { y, trace }| {
        traces.push(trace);
        y
    });
    (y, traces)
}
