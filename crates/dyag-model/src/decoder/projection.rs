//! A frozen matrix with its low-rank pair: `y = x Wᵀ + bias + s (x Aᵀ) Bᵀ` (Hu et al. 2021, eq. 3), and its backward.

use std::collections::BTreeMap;

use dyag_kernels::device::{LowRank, Matmul, PairGradient, Projection as Part, ProjectionGradient};
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

    /// `y` `[T, out]` from `x` `[T, in]` with dropout on the pair's input; also the pair's `u`.
    fn forward_dropped(&self, device: &D, x: &D::Buffer, rows: usize, lora: Option<&Lora<'_, D>>) -> Projected<D> {
        let mut y = device.scratch(rows * self.n_out);
        let u = lora.map(|lora| self.squeeze(device, x, rows, lora));
        let low_rank = lora.zip(u.as_ref()).map(|(lora, u)| LowRank { u, v: &lora.pair.b, rank: lora.pair.rank });
        device.linear(&self.weight, x, rows, self.bias.as_ref(), low_rank, &mut y);
        Projected { y, u }
    }

    /// `u = s x Aᵀ` `[T, R]`.
    fn squeeze(&self, device: &D, x: &D::Buffer, rows: usize, lora: &Lora<'_, D>) -> D::Buffer {
        let mut u = device.scratch(rows * lora.pair.rank);
        let sizes = Matmul::squeeze(rows, self.n_in, lora.pair.rank, lora.pair.scale);
        match lora.dropout {
            None => device.matmul(sizes, x, &lora.pair.a, &mut u),
            Some(dropout) => device.matmul(sizes, &dropout.apply(device, x), &lora.pair.a, &mut u),
        }
        u
    }

    /// Adds this site's gradients, and gives `d_x` `[T, in]` (overwritten, or added to when `accumulate`) unless nothing below needs it; with dropout.
    fn backward_dropped(
        &self,
        device: &D,
        (x, rows): (&D::Buffer, usize),
        (d_y, u): (&D::Buffer, &D::Buffer),
        (lora, dropout): (&Lora<'_, D>, Dropout),
        gradient: &mut DevicePair<D>,
        d_x: Option<(&mut D::Buffer, bool)>,
    ) {
        let DevicePair { rank, scale, a, b } = lora.pair;
        let (rank, scale) = (*rank, *scale);
        let sizes = |m, n, k, transpose_a, alpha, beta| Matmul { m, n, k, transpose_a, transpose_b: false, alpha, beta };
        // dB += d_yᵀ u, then d_u = s d_y B
        device.matmul(sizes(self.n_out, rank, rows, true, 1.0, 1.0), d_y, u, &mut gradient.b);
        let mut d_u = device.scratch(rows * rank);
        device.matmul(sizes(rows, rank, self.n_out, false, scale, 0.0), d_y, b, &mut d_u);
        // dA += d_uᵀ x, and d_x += d_u A, through the dropout of the forward pass
        device.matmul(sizes(rank, self.n_in, rows, true, 1.0, 1.0), &d_u, &dropout.apply(device, x), &mut gradient.a);
        if let Some((d_x, accumulate)) = d_x {
            device.linear_backward(&self.weight, d_y, rows, None, d_x, accumulate);
            let mut d_dropped = device.scratch(rows * self.n_in);
            device.matmul(sizes(rows, self.n_in, rank, false, 1.0, 0.0), &d_u, a, &mut d_dropped);
            device.add(d_x, &dropout.apply(device, &d_dropped));
        }
    }
}

/// What a projection gave.
pub(super) struct Projected<D: Device> {
    /// `[T, out]`.
    pub(super) y: D::Buffer,
    /// `s x Aᵀ` `[T, R]`, where a pair acted.
    pub(super) u: Option<D::Buffer>,
}

/// How a pass projects.
#[derive(Clone, Copy)]
pub(super) struct Projecting<'a, D: Device> {
    pub(super) device: &'a D,
    pub(super) layer: usize,
    /// T.
    pub(super) rows: usize,
    pub(super) adapter: Option<&'a DeviceAdapter<D>>,
    pub(super) dropout: Option<Dropout>,
    /// Use the kernels for few rows.
    pub(super) few: bool,
}

impl<D: Device> Projecting<'_, D> {
    /// A buffer for activations that projections read.
    pub(super) fn activations(&self, len: usize) -> D::Buffer {
        if self.few || self.dropout.is_some() { self.device.scratch(len) } else { self.device.scratch_activations(len) }
    }

    /// `y = x Wᵀ + bias + s (x Aᵀ) Bᵀ (+ residual)` of several matrices that read the same input. `inner`: only products read `y`.
    pub(super) fn forward<const N: usize>(
        &self,
        linears: [&Linear<D>; N],
        x: &D::Buffer,
        residual: Option<&D::Buffer>,
        inner: bool,
    ) -> [Projected<D>; N] {
        let (device, rows) = (self.device, self.rows);
        if self.dropout.is_some() {
            return linears.map(|linear| {
                let lora = linear.lora(self.layer, self.adapter, self.dropout);
                let mut projected = linear.forward_dropped(device, x, rows, lora.as_ref());
                if let Some(residual) = residual {
                    device.add(&mut projected.y, residual);
                }
                projected
            });
        }
        let loras = linears.map(|linear| linear.lora(self.layer, self.adapter, None));
        let mut projected: [Projected<D>; N] = std::array::from_fn(|i| {
            let len = rows * linears[i].n_out;
            let y = if inner && !self.few { device.scratch_activations(len) } else { device.scratch(len) };
            Projected { y, u: loras[i].as_ref().map(|lora| device.scratch(rows * lora.pair.rank)) }
        });
        let parts = projected.iter_mut().zip(linears).zip(&loras).map(|((Projected { y, u }, linear), lora)| Part {
            weight: &linear.weight,
            bias: linear.bias.as_ref(),
            pair: lora.as_ref().zip(u.as_mut()).map(|(lora, u)| (lora.pair.borrowed(), u)),
            y,
        });
        if self.few {
            device.project_few(x, rows, residual, parts.collect());
        } else {
            device.project(x, rows, residual, parts.collect());
        }
        projected
    }

    /// The way back through [`Projecting::forward`]: adds the sites' gradients, and gives `d_x` (overwritten) unless nothing below needs it.
    pub(super) fn backward<const N: usize>(
        &self,
        parts: [Backward<'_, D>; N],
        x: &D::Buffer,
        gradients: &mut DeviceAdapter<D>,
        mut d_x: Option<&mut D::Buffer>,
    ) {
        if self.dropout.is_some() {
            for (i, Backward { linear, d_y, u }) in parts.into_iter().enumerate() {
                let lora = linear.lora(self.layer, self.adapter, self.dropout);
                let d_x = d_x.as_deref_mut().map(|d_x| (d_x, i > 0));
                match (lora, gradients.pairs.get_mut(&linear.site(self.layer)), u) {
                    (Some(Lora { pair, dropout: Some(dropout) }), Some(gradient), Some(u)) => {
                        let lora = Lora { pair, dropout: Some(dropout) };
                        linear.backward_dropped(self.device, (x, self.rows), (d_y, u), (&lora, dropout), gradient, d_x);
                    }
                    _ => {
                        if let Some((d_x, accumulate)) = d_x {
                            self.device.linear_backward(&linear.weight, d_y, self.rows, None, d_x, accumulate);
                        }
                    }
                }
            }
            return;
        }
        let mut of_sites: BTreeMap<Site, &mut DevicePair<D>> =
            gradients.pairs.iter_mut().filter(|(site, _)| site.layer == self.layer).map(|(site, pair)| (*site, pair)).collect();
        let parts = parts.into_iter().map(|Backward { linear, d_y, u }| {
            let lora = linear.lora(self.layer, self.adapter, None);
            let pair = lora.zip(of_sites.remove(&linear.site(self.layer))).zip(u).map(|((lora, gradient), u)| PairGradient {
                pair: lora.pair.borrowed(),
                u,
                d_a: &mut gradient.a,
                d_b: &mut gradient.b,
            });
            ProjectionGradient { weight: &linear.weight, d_y, pair }
        });
        self.device.project_backward(x, self.rows, parts.collect(), d_x.map(|d_x| (d_x, false)));
    }
}

/// What the backward of a projection starts from.
pub(super) struct Backward<'a, D: Device> {
    pub(super) linear: &'a Linear<D>,
    /// Gradient of the output `[T, out]`.
    pub(super) d_y: &'a D::Buffer,
    /// The forward's `u`, where a pair acted.
    pub(super) u: Option<&'a D::Buffer>,
}
