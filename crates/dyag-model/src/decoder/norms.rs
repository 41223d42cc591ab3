//! Norms that some families have beside the two that all have: of the heads of q and k, and of what a block gives before it joins the residual stream.

use dyag_kernels::Device;

use super::layer::Pass;
use super::projection::{Linear, Projected, Projecting, Trace};

/// What went into a norm.
pub(super) struct Normed<D: Device> {
    x: D::Buffer,
    /// `1 / rms` of each row.
    inv_rms: D::Buffer,
}

impl<D: Device> Normed<D> {
    /// The same in as little memory as the device's precision takes.
    pub(super) fn compacted(self, device: &D) -> Self {
        Self { x: device.compact(self.x), ..self }
    }
}

/// RMSNorm of each head of q and of k (Qwen3, Gemma 3), before they are rotated.
pub(super) struct HeadNorms<D: Device> {
    /// Gains `[D]` of q and k.
    pub(super) gains: [D::Buffer; 2],
}

impl<D: Device> HeadNorms<D> {
    /// Normalises q `[T, H, D]` and k `[T, G, D]`, and gives what they were.
    pub(super) fn forward(&self, pass: &Pass<'_, D>, heads: [&mut D::Buffer; 2]) -> [Normed<D>; 2] {
        let [q_gain, k_gain] = &self.gains;
        let [q, k] = heads;
        [(q, q_gain), (k, k_gain)].map(|(x, gain)| {
            let len = pass.device.len(x);
            let (mut y, mut inv_rms) = (pass.device.scratch(len), pass.device.scratch(len / pass.config.head_size));
            pass.device.rms_norm(x, gain, pass.config.rms_norm_eps, &mut y, &mut inv_rms);
            Normed { x: std::mem::replace(x, y), inv_rms }
        })
    }

    /// Gradients of q and k as they were before.
    /// The gains' gradients are added to `d_gains`, where those are trained.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_, D>,
        [d_q, d_k]: [D::Buffer; 2],
        [q, k]: [Normed<D>; 2],
        [d_q_gain, d_k_gain]: [Option<&mut D::Buffer>; 2],
    ) -> [D::Buffer; 2] {
        let [q_gain, k_gain] = &self.gains;
        [norm_backward(pass.device, &d_q, q, q_gain, d_q_gain), norm_backward(pass.device, &d_k, k, k_gain, d_k_gain)]
    }
}

fn norm_backward<D: Device>(
    device: &D,
    d_y: &D::Buffer,
    Normed { x, inv_rms }: Normed<D>,
    gain: &D::Buffer,
    d_gain: Option<&mut D::Buffer>,
) -> D::Buffer {
    let x = device.expand(x);
    if let Some(d_gain) = d_gain {
        device.rms_norm_gain_backward(d_y, &x, &inv_rms, d_gain);
    }
    let mut d_x = device.zeros(device.len(&x));
    device.rms_norm_backward(d_y, &x, gain, &inv_rms, &mut d_x);
    d_x
}

/// The norm of a block's output (Gemma 3), where the family has one.
pub(super) struct OutputNorm<D: Device> {
    /// `[C]`.
    pub(super) gain: Option<D::Buffer>,
}

impl<D: Device> OutputNorm<D> {
    /// `residual + norm(project(x))`, or without the norm; also what the projection gave, where it was normalised, and what the pair left.
    pub(super) fn project(
        &self,
        pass: &Pass<'_, D>,
        projecting: &Projecting<'_, D>,
        linear: &Linear<D>,
        x: &D::Buffer,
        residual: &D::Buffer,
    ) -> (D::Buffer, Option<Normed<D>>, Trace<D>) {
        let Some(gain) = &self.gain else {
            let [Projected { y, trace }] = projecting.forward([linear], x, Some(residual), false);
            return (y, None, trace);
        };
        let [Projected { y: raw, trace }] = projecting.forward([linear], x, None, false);
        let device = pass.device;
        let (mut y, mut inv_rms) = (device.scratch(device.len(&raw)), device.scratch(pass.rows));
        device.rms_norm(&raw, gain, pass.config.rms_norm_eps, &mut y, &mut inv_rms);
        device.add(&mut y, residual);
        (y, Some(Normed { x: raw, inv_rms }), trace)
    }

    /// The gradient of what the projection gave, where it was normalised; `d_y` is that of the block's output. The gain's gradient is added to `d_gain`, where it is trained.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_, D>,
        d_y: &D::Buffer,
        raw: Option<Normed<D>>,
        d_gain: Option<&mut D::Buffer>,
    ) -> Option<D::Buffer> {
        self.gain.as_ref().zip(raw).map(|(gain, raw)| norm_backward(pass.device, d_y, raw, gain, d_gain))
    }
}
