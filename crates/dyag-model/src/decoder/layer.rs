//! One layer, forward and backward side by side.
//!
//! ```text
//! n1 = norm(x)       q, k, v = project(n1), rotated      a = attention(q, k, v)      m = x + project(a)
//! n2 = norm(m)       g, u = project(n2)                  h = act(g) * u              y = m + project(h)
//! ```
//! Kept for the backward: x, q, k, v, a, m, g, u, three small vectors and the narrow products of the adapter; n1, n2 and h are cheap to make again.

use dyag_kernels::Device;
use dyag_kernels::device::{AttentionGradients, AttentionInputs, AttentionResult, AttentionShape, AttentionSpan, Place};

use super::device_adapter::DeviceAdapter;
use super::projection::{Backward, Linear, Projected, Projecting, Trace};
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
    /// What the pairs leave, one for each matrix.
    narrow: Vec<Trace<D>>,
}

/// What lies between a layer's attention and its last projection.
pub(super) struct Middle<D: Device> {
    m: D::Buffer,
    inv_rms: D::Buffer,
    g: D::Buffer,
    u: D::Buffer,
    /// What the pairs leave: of o, and of gate and up.
    of_o: Trace<D>,
    narrow: Vec<Trace<D>>,
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
            scale: 1.0 / (head_size as f32).sqrt(),
            window: self.config.windows[layer],
            causal: true,
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
        let DecoderConfig { n_heads, n_kv_heads, head_size, .. } = *pass.config;
        pass.device.rope(&mut q, n_heads, head_size, &pass.angles.cos, &pass.angles.sin, false);
        pass.device.rope(&mut k, n_kv_heads, head_size, &pass.angles.cos, &pass.angles.sin, false);
        Queries { q, k, v, inv_rms, narrow }
    }

    /// Attention's output joined to the residual stream, and gate and up of the feed-forward block.
    fn middle(&self, pass: &Pass<'_, D>, layer: usize, x: &D::Buffer, a: &D::Buffer) -> Middle<D> {
        let projecting = pass.projecting(layer);
        let [Projected { y: m, trace: of_o }] = projecting.forward([&self.o], a, Some(x), false);
        let (n2, inv_rms) = pass.norm(&m, &self.feed_forward_norm);
        let f = pass.config.intermediate_size;
        let ([g, u], narrow) = match &self.gate_up {
            GateUp::Separate(parts) => apart(projecting.forward(parts.each_ref(), &n2, None, true)),
            GateUp::Fused(gate_up) => {
                let [Projected { y, trace }] = projecting.forward([gate_up], &n2, None, true);
                (pass.split(&y, [f, f], |len| projecting.activations(len)), vec![trace])
            }
        };
        Middle { m, inv_rms, g, u, of_o, narrow }
    }

    /// The layer's output, and what the pair of its last projection leaves.
    fn output(&self, pass: &Pass<'_, D>, layer: usize, middle: &Middle<D>) -> (D::Buffer, Trace<D>) {
        let projecting = pass.projecting(layer);
        let mut h = projecting.activations(pass.rows * pass.config.intermediate_size);
        pass.device.gated(pass.config.activation, &middle.g, &middle.u, &mut h);
        let [Projected { y, trace }] = projecting.forward([&self.down], &h, Some(&middle.m), false);
        (y, trace)
    }

    /// Attention's output joined to the residual stream, and the feed-forward block on top.
    pub(super) fn after_attention(&self, pass: &Pass<'_, D>, layer: usize, x: &D::Buffer, a: &D::Buffer) -> D::Buffer {
        self.output(pass, layer, &self.middle(pass, layer, x, a)).0
    }

    /// What the backward needs of a layer, but for the narrow product of its last projection.
    pub(super) fn activations(&self, pass: &Pass<'_, D>, layer: usize, x: D::Buffer) -> Activations<D> {
        let qkv = self.queries_keys_values(pass, layer, &x);
        let mut a = pass.device.scratch(pass.device.len(&qkv.q));
        let mut log_sum_exp = pass.device.scratch(pass.rows * pass.config.n_heads);
        let inputs = AttentionInputs { shape: pass.shape(layer), spans: pass.spans, q: &qkv.q, k: &qkv.k, v: &qkv.v };
        pass.device.attention(&inputs, &mut a, &mut log_sum_exp);
        let middle = self.middle(pass, layer, &x, &a);
        Activations { x, qkv, a, log_sum_exp, middle }
    }

    /// The layer's output for `x`, and what its backward needs: the activations, and the narrow product of its last projection.
    pub(super) fn forward(&self, pass: &Pass<'_, D>, layer: usize, x: D::Buffer) -> (D::Buffer, Activations<D>, Trace<D>) {
        let activations = self.activations(pass, layer, x);
        let (y, narrow) = self.output(pass, layer, &activations.middle);
        (y, activations, narrow)
    }

    /// What is kept of `activations`, in as little memory as the device's precision takes.
    pub(super) fn compacted(device: &D, activations: Activations<D>) -> Activations<D> {
        let Activations { x, qkv, a, log_sum_exp, middle } = activations;
        let middle = Middle { m: device.compact(middle.m), ..middle };
        Activations { x: device.compact(x), qkv, a: device.compact(a), log_sum_exp, middle }
    }

    /// Turns `d_x`, the gradient of the layer's output, into that of its input, and adds the gradients of this layer's pairs. In the lowest adapted layer
    /// it stops as soon as nothing below is adapted.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        (saved, of_down): (Activations<D>, Trace<D>),
        gradients: &mut DeviceAdapter<D>,
        d_x: &mut D::Buffer,
    ) {
        let adapted = |linear: &Linear<D>| gradients.pairs().contains_key(&linear.site(layer));
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
        let Activations { x, qkv, a, log_sum_exp, mut middle } = saved;
        let of_o = std::mem::take(&mut middle.of_o);
        let [x, a] = [x, a].map(|buffer| pass.device.expand(buffer));
        middle.m = pass.device.expand(middle.m);
        let mut way = Way { gradients, d_x, reach };
        self.feed_forward_backward(pass, layer, middle, of_down, &mut way);
        if into_attention {
            self.attention_backward(pass, layer, (&x, qkv), (&a, &log_sum_exp, of_o), &mut way);
        }
    }

    fn feed_forward_backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        middle: Middle<D>,
        of_down: Trace<D>,
        Way { gradients, d_x, reach }: &mut Way<'_, D>,
    ) {
        let (device, f, projecting) = (pass.device, pass.config.intermediate_size, pass.projecting(layer));
        let Middle { m, inv_rms, g: mut d_g, u: mut d_u, narrow, .. } = middle;
        let mut h = projecting.activations(pass.rows * f);
        device.gated(pass.config.activation, &d_g, &d_u, &mut h);
        let mut d_h = reach.into_gate_up.then(|| projecting.activations(pass.rows * f));
        projecting.backward([Backward { linear: &self.down, d_y: d_x, trace: &of_down }], &h, gradients, d_h.as_mut());
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
            device.rms_norm_backward(&d_n2, &m, &self.feed_forward_norm, &inv_rms, d_x);
        }
    }

    fn attention_backward(
        &self,
        pass: &Pass<'_, D>,
        layer: usize,
        (x, qkv): (&D::Buffer, Queries<D>),
        (a, log_sum_exp, of_o): (&D::Buffer, &D::Buffer, Trace<D>),
        Way { gradients, d_x, reach }: &mut Way<'_, D>,
    ) {
        let (device, projecting) = (pass.device, pass.projecting(layer));
        let mut d_a = reach.into_qkv.then(|| device.scratch(device.len(a)));
        projecting.backward([Backward { linear: &self.o, d_y: d_x, trace: &of_o }], a, gradients, d_a.as_mut());
        let Some(d_a) = d_a else { return };
        let Queries { q, k, v, inv_rms, narrow } = qkv;
        let mut d_q = device.scratch(device.len(&q));
        let [mut d_k, mut d_v] = [&k, &v].map(|like| device.zeros(device.len(like)));
        let inputs = AttentionInputs { shape: pass.shape(layer), spans: pass.spans, q: &q, k: &k, v: &v };
        let result = AttentionResult { out: a, log_sum_exp, d_out: &d_a };
        device.attention_backward(&inputs, &result, AttentionGradients { q: &mut d_q, k: &mut d_k, v: &mut d_v });
        let DecoderConfig { n_heads, n_kv_heads, head_size, hidden_size, .. } = *pass.config;
        device.rope(&mut d_q, n_heads, head_size, &pass.angles.cos, &pass.angles.sin, true);
        device.rope(&mut d_k, n_kv_heads, head_size, &pass.angles.cos, &pass.angles.sin, true);
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
