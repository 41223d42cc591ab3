//! A frozen matrix with its low-rank pair: `y = x Wᵀ + bias + s (x Aᵀ) Bᵀ` (Hu et al. 2021, eq. 3), and its backward.

use dyag_kernels::device::{LowRank, Matmul};
use dyag_kernels::{Device, WeightMatrix};

use super::device_adapter::{DeviceAdapter, DevicePair};
use super::training::Dropout;
use crate::adapter::{Projection, Site};

/// A frozen matrix on the device.
pub(super) struct Linear<D: Device> {
    projection: Projection,
    weight: D::Weight,
    bias: Option<D::Buffer>,
    /// Input channels.
    n_in: usize,
    /// Output channels.
    pub(super) n_out: usize,
}

/// The adapter's part of one projection during a pass.
pub(super) struct Lora<'a, D: Device> {
    pair: &'a DevicePair<D>,
    dropout: Option<Dropout>,
}

impl<D: Device> Linear<D> {
    /// Puts a matrix and its bias (empty: none) on the device.
    pub(super) fn load(device: &D, projection: Projection, weight: &WeightMatrix, bias: &[f32]) -> Self {
        Self {
            projection,
            weight: device.load_weight(weight),
            bias: (!bias.is_empty()).then(|| device.upload(bias)),
            n_in: weight.cols(),
            n_out: weight.rows(),
        }
    }

    /// Where this matrix sits in `layer`.
    pub(super) fn site(&self, layer: usize) -> Site {
        Site { layer, projection: self.projection }
    }

    /// The pair that acts on this matrix in `layer`, with the pass' dropout made this site's own.
    pub(super) fn lora<'a>(&self, layer: usize, adapter: Option<&'a DeviceAdapter<D>>, dropout: Option<Dropout>) -> Option<Lora<'a, D>> {
        let pair = adapter?.pairs.get(&self.site(layer))?;
        Some(Lora { pair, dropout: dropout.map(|dropout| dropout.at_site(layer, self.projection as usize)) })
    }

    /// `y` `[T, out]` from `x` `[T, in]`.
    pub(super) fn forward(&self, device: &D, x: &D::Buffer, rows: usize, lora: Option<&Lora<'_, D>>) -> D::Buffer {
        let mut y = device.scratch(rows * self.n_out);
        let u = lora.map(|lora| self.squeeze(device, x, rows, lora));
        let low_rank = lora.zip(u.as_ref()).map(|(lora, u)| LowRank { u, v: &lora.pair.b, rank: lora.pair.rank });
        device.linear(&self.weight, x, rows, self.bias.as_ref(), low_rank, &mut y);
        y
    }

    /// As `forward`, for the few rows of a decoding step.
    pub(super) fn forward_few(&self, device: &D, x: &D::Buffer, rows: usize, lora: Option<&Lora<'_, D>>) -> D::Buffer {
        let mut y = device.scratch(rows * self.n_out);
        device.linear_few(&self.weight, x, rows, self.bias.as_ref(), &mut y);
        if let Some(Lora { pair, .. }) = lora {
            let mut u = device.scratch(rows * pair.rank);
            device.matmul_few(self.squeezing(pair, rows), x, &pair.a, &mut u);
            let expand = Matmul { m: rows, n: self.n_out, k: pair.rank, transpose_a: false, transpose_b: true, alpha: 1.0, beta: 1.0 };
            device.matmul_few(expand, &u, &pair.b, &mut y);
        }
        y
    }

    /// Sizes of `u = s x Aᵀ`.
    fn squeezing(&self, pair: &DevicePair<D>, rows: usize) -> Matmul {
        Matmul { m: rows, n: pair.rank, k: self.n_in, transpose_a: false, transpose_b: true, alpha: pair.scale, beta: 0.0 }
    }

    /// `u = s x Aᵀ` `[T, R]`.
    fn squeeze(&self, device: &D, x: &D::Buffer, rows: usize, lora: &Lora<'_, D>) -> D::Buffer {
        let mut u = device.scratch(rows * lora.pair.rank);
        let sizes = self.squeezing(lora.pair, rows);
        match lora.dropout {
            None => device.matmul(sizes, x, &lora.pair.a, &mut u),
            Some(dropout) => device.matmul(sizes, &dropout.apply(device, x), &lora.pair.a, &mut u),
        }
        u
    }

    /// Adds this site's gradients, and gives `d_x` `[T, in]` (overwritten, or added to when `accumulate`) unless nothing below needs it.
    pub(super) fn backward(
        &self,
        device: &D,
        pass: Backward<'_, D>,
        gradient: Option<&mut DevicePair<D>>,
        d_x: Option<(&mut D::Buffer, bool)>,
    ) {
        let Backward { d_y, x, rows, lora } = pass;
        let Some((lora, gradient)) = lora.zip(gradient) else {
            if let Some((d_x, accumulate)) = d_x {
                device.linear_backward(&self.weight, d_y, rows, None, d_x, accumulate);
            }
            return;
        };
        let DevicePair { rank, scale, a, b } = lora.pair;
        let (rank, scale) = (*rank, *scale);
        let u = self.squeeze(device, x, rows, lora);
        // dB += d_yᵀ u
        let sizes = Matmul { m: self.n_out, n: rank, k: rows, transpose_a: true, transpose_b: false, alpha: 1.0, beta: 1.0 };
        device.matmul(sizes, d_y, &u, &mut gradient.b);
        // d_u = s d_y B
        let mut d_u = u;
        let sizes = Matmul { m: rows, n: rank, k: self.n_out, transpose_a: false, transpose_b: false, alpha: scale, beta: 0.0 };
        device.matmul(sizes, d_y, b, &mut d_u);
        // dA += d_uᵀ x, and d_x += d_u A, through the dropout of the forward pass when there was one
        let to_a = Matmul { m: rank, n: self.n_in, k: rows, transpose_a: true, transpose_b: false, alpha: 1.0, beta: 1.0 };
        match lora.dropout {
            None => {
                device.matmul(to_a, &d_u, x, &mut gradient.a);
                if let Some((d_x, accumulate)) = d_x {
                    device.linear_backward(&self.weight, d_y, rows, Some(LowRank { u: &d_u, v: a, rank }), d_x, accumulate);
                }
            }
            Some(dropout) => {
                device.matmul(to_a, &d_u, &dropout.apply(device, x), &mut gradient.a);
                if let Some((d_x, accumulate)) = d_x {
                    device.linear_backward(&self.weight, d_y, rows, None, d_x, accumulate);
                    let mut d_dropped = device.scratch(rows * self.n_in);
                    let to_x = Matmul { m: rows, n: self.n_in, k: rank, transpose_a: false, transpose_b: false, alpha: 1.0, beta: 0.0 };
                    device.matmul(to_x, &d_u, a, &mut d_dropped);
                    device.add(d_x, &dropout.apply(device, &d_dropped));
                }
            }
        }
    }
}

/// What the backward of a projection starts from.
pub(super) struct Backward<'a, D: Device> {
    /// Gradient of the output `[T, out]`.
    pub(super) d_y: &'a D::Buffer,
    /// The input of the forward pass `[T, in]`.
    pub(super) x: &'a D::Buffer,
    /// T.
    pub(super) rows: usize,
    /// The pair that acted.
    pub(super) lora: Option<&'a Lora<'a, D>>,
}
