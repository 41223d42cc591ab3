//! One layer, forward and backward side by side.
//!
//! ```text
//! n1 = norm(x)       q, k, v = project(n1), rotated      a = attention(q, k, v)      m = x + project(a)
//! n2 = norm(m)       g, u = project(n2)                  h = act(g) * u              y = m + project(h)
//! ```
//! Kept for the backward: x, q, k, v, a, m, g, u and three small vectors; n1, n2 and h are cheap to make again.

use dyag_kernels::Device;
use dyag_kernels::device::{AttentionGradients, AttentionInputs, AttentionResult, AttentionShape, AttentionSpan, Place};

use super::device_adapter::DeviceAdapter;
use super::projection::{Backward, Linear};
use super::rope::Angles;
use super::training::Dropout;
use crate::config::DecoderConfig;

/// A layer's frozen weights on the device.
pub(super) struct Layer<D: Device> {
    pub(super) attention_norm: D::Buffer,
    pub(super) qkv: Qkv<D>,
    pub(super) o: Linear<D>,
    pub(super) feed_forward_norm: D::Buffer,
    pub(super) gate_up: GateUp<D>,
    pub(super) down: Linear<D>,
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
    inv_rms_1: D::Buffer,
    q: D::Buffer,
    k: D::Buffer,
    v: D::Buffer,
    a: D::Buffer,
    log_sum_exp: D::Buffer,
    m: D::Buffer,
    inv_rms_2: D::Buffer,
    g: D::Buffer,
    u: D::Buffer,
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

impl<D: Device> Pass<'_, D> {
    pub(super) fn shape(&self, layer: usize) -> AttentionShape {
        let DecoderConfig { n_heads, n_kv_heads, head_size, .. } = *self.config;
        AttentionShape { n_heads, n_kv_heads, head_size, scale: 1.0 / (head_size as f32).sqrt(), window: self.config.windows[layer] }
    }

    fn project(&self, layer: usize, linear: &Linear<D>, x: &D::Buffer) -> D::Buffer {
        let lora = linear.lora(layer, self.adapter, self.dropout);
        if self.few {
            linear.forward_few(self.device, x, self.rows, lora.as_ref())
        } else {
            linear.forward(self.device, x, self.rows, lora.as_ref())
        }
    }

    /// Norm of `x` `[T, C]`, with `1 / rms` `[T]`.
    pub(super) fn norm(&self, x: &D::Buffer, gain: &D::Buffer) -> (D::Buffer, D::Buffer) {
        let (mut y, mut inv_rms) = (self.device.scratch(self.rows * self.config.hidden_size), self.device.scratch(self.rows));
        self.device.rms_norm(x, gain, self.config.rms_norm_eps, &mut y, &mut inv_rms);
        (y, inv_rms)
    }

    /// Cuts `[T, widths...]` into one buffer a width.
    fn split<const N: usize>(&self, from: &D::Buffer, widths: [usize; N]) -> [D::Buffer; N] {
        let width = widths.iter().sum();
        let mut col = 0;
        widths.map(|part| {
            let mut to = self.device.scratch(self.rows * part);
            let (from_place, to_place) = (Place { row: 0, col, width }, Place { row: 0, col: 0, width: part });
            self.device.copy_block(from, from_place, &mut to, to_place, self.rows, part);
            col += part;
            to
        })
    }

    /// The reverse of `split`.
    fn join<const N: usize>(&self, parts: [(&D::Buffer, usize); N]) -> D::Buffer {
        let width = parts.iter().map(|(_, width)| width).sum();
        let mut to = self.device.scratch(self.rows * width);
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
    /// q, k (rotated) and v from the layer's input, and `1 / rms` of the norm before them.
    pub(super) fn queries_keys_values(&self, pass: &Pass<'_, D>, layer: usize, x: &D::Buffer) -> ([D::Buffer; 3], D::Buffer) {
        let (n1, inv_rms) = pass.norm(x, &self.attention_norm);
        let [mut q, mut k, v] = match &self.qkv {
            Qkv::Separate(parts) => parts.each_ref().map(|part| pass.project(layer, part, &n1)),
            Qkv::Fused(qkv) => pass.split(&pass.project(layer, qkv, &n1), qkv_widths(pass.config)),
        };
        let DecoderConfig { n_heads, n_kv_heads, head_size, .. } = *pass.config;
        pass.device.rope(&mut q, n_heads, head_size, &pass.angles.cos, &pass.angles.sin, false);
        pass.device.rope(&mut k, n_kv_heads, head_size, &pass.angles.cos, &pass.angles.sin, false);
        ([q, k, v], inv_rms)
    }

    /// Attention's output joined to the residual stream, and the feed-forward block on top. Returns the layer's output and `[m, 1/rms, g, u]`.
    pub(super) fn after_attention(&self, pass: &Pass<'_, D>, layer: usize, x: &D::Buffer, a: &D::Buffer) -> (D::Buffer, [D::Buffer; 4]) {
        let mut m = pass.project(layer, &self.o, a);
        pass.device.add(&mut m, x);
        let (n2, inv_rms) = pass.norm(&m, &self.feed_forward_norm);
        let f = pass.config.intermediate_size;
        let [g, u] = match &self.gate_up {
            GateUp::Separate(parts) => parts.each_ref().map(|part| pass.project(layer, part, &n2)),
            GateUp::Fused(gate_up) => pass.split(&pass.project(layer, gate_up, &n2), [f, f]),
        };
        let mut h = pass.device.scratch(pass.rows * f);
        pass.device.gated(pass.config.activation, &g, &u, &mut h);
        let mut y = pass.project(layer, &self.down, &h);
        pass.device.add(&mut y, &m);
        (y, [m, inv_rms, g, u])
    }

    /// The layer's output for `x`, and what its backward needs.
    pub(super) fn forward(&self, pass: &Pass<'_, D>, layer: usize, x: D::Buffer) -> (D::Buffer, Activations<D>) {
        let ([q, k, v], inv_rms_1) = self.queries_keys_values(pass, layer, &x);
        let mut a = pass.device.scratch(pass.device.len(&q));
        let mut log_sum_exp = pass.device.scratch(pass.rows * pass.config.n_heads);
        let inputs = AttentionInputs { shape: pass.shape(layer), spans: pass.spans, q: &q, k: &k, v: &v };
        pass.device.attention(&inputs, &mut a, &mut log_sum_exp);
        let (y, [m, inv_rms_2, g, u]) = self.after_attention(pass, layer, &x, &a);
        (y, Activations { x, inv_rms_1, q, k, v, a, log_sum_exp, m, inv_rms_2, g, u })
    }

    /// Turns `d_x`, the gradient of the layer's output, into that of its input, and adds the gradients of this layer's pairs. In the lowest adapted layer
    /// it stops as soon as nothing below is adapted.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        saved: Activations<D>,
        gradients: &mut DeviceAdapter<D>,
        d_x: &mut D::Buffer,
    ) {
        let adapted = |linear: &Linear<D>| gradients.pairs.contains_key(&linear.site(layer));
        let below = gradients.lowest_layer().is_some_and(|lowest| lowest < layer);
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
        self.feed_forward_backward(pass, layer, &saved, gradients, d_x, reach);
        if into_attention {
            self.attention_backward(pass, layer, saved, gradients, d_x, reach);
        }
    }

    /// Backward of one projection; `d_x` as in [`Linear::backward`].
    fn project_backward(
        pass: &Pass<'_, D>,
        layer: usize,
        linear: &Linear<D>,
        (d_y, x): (&D::Buffer, &D::Buffer),
        gradients: &mut DeviceAdapter<D>,
        d_x: Option<(&mut D::Buffer, bool)>,
    ) {
        let lora = linear.lora(layer, pass.adapter, pass.dropout);
        let gradient = gradients.pairs.get_mut(&linear.site(layer));
        linear.backward(pass.device, Backward { d_y, x, rows: pass.rows, lora: lora.as_ref() }, gradient, d_x);
    }

    fn feed_forward_backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        saved: &Activations<D>,
        gradients: &mut DeviceAdapter<D>,
        d_x: &mut D::Buffer,
        reach: Reach,
    ) {
        let (device, f) = (pass.device, pass.config.intermediate_size);
        let mut h = device.scratch(pass.rows * f);
        device.gated(pass.config.activation, &saved.g, &saved.u, &mut h);
        if !reach.into_gate_up {
            return Self::project_backward(pass, layer, &self.down, (d_x, &h), gradients, None);
        }
        let mut d_h = device.scratch(pass.rows * f);
        Self::project_backward(pass, layer, &self.down, (d_x, &h), gradients, Some((&mut d_h, false)));
        let whole = |from: &D::Buffer| {
            let mut to = device.scratch(pass.rows * f);
            let place = Place { row: 0, col: 0, width: f };
            device.copy_block(from, place, &mut to, place, pass.rows, f);
            to
        };
        let (mut d_g, mut d_u) = (whole(&saved.g), whole(&saved.u));
        device.gated_backward(pass.config.activation, &d_h, &mut d_g, &mut d_u);
        let (n2, _) = pass.norm(&saved.m, &self.feed_forward_norm);
        let mut d_n2 = reach.into_attention.then(|| device.scratch(pass.rows * pass.config.hidden_size));
        match &self.gate_up {
            GateUp::Separate([gate, up]) => {
                Self::project_backward(pass, layer, gate, (&d_g, &n2), gradients, d_n2.as_mut().map(|d| (d, false)));
                Self::project_backward(pass, layer, up, (&d_u, &n2), gradients, d_n2.as_mut().map(|d| (d, true)));
            }
            GateUp::Fused(gate_up) => {
                let d = pass.join([(&d_g, f), (&d_u, f)]);
                Self::project_backward(pass, layer, gate_up, (&d, &n2), gradients, d_n2.as_mut().map(|d| (d, false)));
            }
        }
        if let Some(d_n2) = d_n2 {
            device.rms_norm_backward(&d_n2, &saved.m, &self.feed_forward_norm, &saved.inv_rms_2, d_x);
        }
    }

    fn attention_backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        saved: Activations<D>,
        gradients: &mut DeviceAdapter<D>,
        d_x: &mut D::Buffer,
        reach: Reach,
    ) {
        let device = pass.device;
        if !reach.into_qkv {
            return Self::project_backward(pass, layer, &self.o, (d_x, &saved.a), gradients, None);
        }
        let mut d_a = device.scratch(device.len(&saved.a));
        Self::project_backward(pass, layer, &self.o, (d_x, &saved.a), gradients, Some((&mut d_a, false)));
        let Activations { x, inv_rms_1, q, k, v, a, log_sum_exp, .. } = saved;
        let mut d_q = device.scratch(device.len(&q));
        let [mut d_k, mut d_v] = [&k, &v].map(|like| device.zeros(device.len(like)));
        let inputs = AttentionInputs { shape: pass.shape(layer), spans: pass.spans, q: &q, k: &k, v: &v };
        let result = AttentionResult { out: &a, log_sum_exp: &log_sum_exp, d_out: &d_a };
        device.attention_backward(&inputs, &result, AttentionGradients { q: &mut d_q, k: &mut d_k, v: &mut d_v });
        let DecoderConfig { n_heads, n_kv_heads, head_size, hidden_size, .. } = *pass.config;
        device.rope(&mut d_q, n_heads, head_size, &pass.angles.cos, &pass.angles.sin, true);
        device.rope(&mut d_k, n_kv_heads, head_size, &pass.angles.cos, &pass.angles.sin, true);
        let (n1, _) = pass.norm(&x, &self.attention_norm);
        let mut d_n1 = reach.below.then(|| device.scratch(pass.rows * hidden_size));
        match &self.qkv {
            Qkv::Separate(parts) => {
                for (i, (part, d)) in parts.iter().zip([&d_q, &d_k, &d_v]).enumerate() {
                    Self::project_backward(pass, layer, part, (d, &n1), gradients, d_n1.as_mut().map(|d| (d, i > 0)));
                }
            }
            Qkv::Fused(qkv) => {
                let [q_width, k_width, v_width] = qkv_widths(pass.config);
                let d = pass.join([(&d_q, q_width), (&d_k, k_width), (&d_v, v_width)]);
                Self::project_backward(pass, layer, qkv, (&d, &n1), gradients, d_n1.as_mut().map(|d| (d, false)));
            }
        }
        if let Some(d_n1) = d_n1 {
            device.rms_norm_backward(&d_n1, &x, &self.attention_norm, &inv_rms_1, d_x);
        }
    }
}
