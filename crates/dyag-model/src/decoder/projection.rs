//! A frozen matrix with its low-rank pair: `y = x Wᵀ + bias + s (x Aᵀ) Bᵀ` (Hu et al. 2021, eq. 3), perhaps with magnitudes (`dora.rs`), and its backward.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use dyag_kernels::device::{LowRank, Matmul, PairGradient, Projection as Part, ProjectionGradient};
use dyag_kernels::{Device, WeightMatrix};

use super::device_adapter::{DeviceAdapter, DevicePair};
use super::dora::Stretch;
use super::training::Dropout;
use super::whole::{LayerPart, Part as Place};
use crate::adapter::{Projection, Site};

/// A frozen matrix on the device.
pub(super) struct Linear<D: Device> {
    projection: Projection,
    pub(super) weight: D::Weight,
    bias: Option<D::Buffer>,
    /// Input channels.
    n_in: usize,
    /// Output channels.
    pub(super) n_out: usize,
    /// Squared norms of the rows `[out]`, once somebody asked.
    pub(super) squares: OnceLock<D::Buffer>,
}

/// The adapter's part of one projection during a pass.
pub(super) struct Lora<'a, D: Device> {
    pair: &'a DevicePair<D>,
    /// Of a weight-decomposed adapter.
    stretch: Option<&'a Stretch<D>>,
    dropout: Option<Dropout>,
}

impl<D: Device> Linear<D> {
    /// Puts a matrix and its bias (empty: none) on the device.
    pub(super) fn load(device: &D, projection: Projection, weight: &WeightMatrix, bias: &[f32]) -> Self {
        let bias = (!bias.is_empty()).then(|| device.upload(bias));
        Self::new(projection, device.load_weight(weight), bias, (weight.cols(), weight.rows()))
    }

    /// A matrix that is on the device.
    pub(super) fn new(projection: Projection, weight: D::Weight, bias: Option<D::Buffer>, (n_in, n_out): (usize, usize)) -> Self {
        Self { projection, weight, bias, n_in, n_out, squares: OnceLock::new() }
    }

    /// Where this matrix sits in `layer`.
    pub(super) fn site(&self, layer: usize) -> Site {
        Site { layer, projection: self.projection }
    }

    /// The pair that acts on this matrix in `layer`, with the pass' dropout made this site's own.
    pub(super) fn lora<'a>(&self, layer: usize, adapter: Option<&'a DeviceAdapter<D>>, dropout: Option<Dropout>) -> Option<Lora<'a, D>> {
        let (adapter, site) = (adapter?, self.site(layer));
        Some(Lora {
            pair: adapter.pairs().get(&site)?,
            stretch: adapter.stretch(site),
            dropout: dropout.map(|dropout| dropout.at_site(layer, self.projection as usize)),
        })
    }

    /// `y` `[T, out]` from `x` `[T, in]` with dropout on the pair's input; also the pair's `u`.
    fn forward_dropped(&self, device: &D, x: &D::Buffer, rows: usize, lora: Option<&Lora<'_, D>>) -> Projected<D> {
        let mut y = device.scratch(rows * self.n_out);
        let u = lora.map(|lora| self.squeeze(device, x, rows, lora));
        let low_rank = || lora.zip(u.as_ref()).map(|(lora, u)| LowRank { u, v: &lora.pair.b, rank: lora.pair.rank });
        if let Some((Lora { stretch: Some(stretch), dropout: Some(dropout), .. }, low_rank)) = lora.zip(low_rank()) {
            // As PEFT has it, what is not dropped goes through the frozen matrix alone: y = (x - x') Wᵀ + bias + (m / n) (x' Wᵀ + u Bᵀ), x' being x dropped.
            let (mut rest, kept) = (device.scratch(device.len(x)), dropout.apply(device, x));
            device.scale_columns(&kept, &device.upload(&vec![-1.0; self.n_in]), None, Some(x), &mut rest);
            let (mut beside, mut z) = (device.scratch(rows * self.n_out), device.scratch(rows * self.n_out));
            device.linear(&self.weight, &rest, rows, self.bias.as_ref(), None, &mut beside);
            device.linear(&self.weight, &kept, rows, None, Some(low_rank), &mut z);
            device.scale_columns(&z, &stretch.factors, None, Some(&beside), &mut y);
            return Projected { y, trace: Trace { u, z: Some(z) } };
        }
        device.linear(&self.weight, x, rows, self.bias.as_ref(), low_rank(), &mut y);
        Projected { y, trace: Trace { u, z: None } }
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
        (d_y, trace): (&D::Buffer, &Trace<D>),
        (lora, dropout): (&Lora<'_, D>, Dropout),
        gradient: &mut DevicePair<D>,
        d_x: Option<(&mut D::Buffer, bool)>,
    ) {
        let DevicePair { rank, scale, a, b, magnitude: _ } = lora.pair;
        let (rank, scale) = (*rank, *scale);
        let stretched = self.stretch_backward(device, lora, d_y, trace, gradient, |len| device.scratch(len));
        let (d_frozen, d_y, u) = (d_y, stretched.as_ref().unwrap_or(d_y), trace.u.as_ref().expect("a pair leaves its u"));
        let sizes = |m, n, k, transpose_a, alpha, beta| Matmul { m, n, k, transpose_a, transpose_b: false, alpha, beta };
        // dB += d_yᵀ u, then d_u = s d_y B
        device.matmul(sizes(self.n_out, rank, rows, true, 1.0, 1.0), d_y, u, &mut gradient.b);
        let mut d_u = device.scratch(rows * rank);
        device.matmul(sizes(rows, rank, self.n_out, false, scale, 0.0), d_y, b, &mut d_u);
        // dA += d_uᵀ x, and d_x += d_u A, through the dropout of the forward pass
        device.matmul(sizes(rank, self.n_in, rows, true, 1.0, 1.0), &d_u, &dropout.apply(device, x), &mut gradient.a);
        if let Some((d_x, accumulate)) = d_x {
            device.linear_backward(&self.weight, d_frozen, rows, None, d_x, accumulate);
            let mut d_dropped = device.scratch(rows * self.n_in);
            if stretched.is_some() {
                // What was dropped went through the frozen matrix unstretched: x' has d_z W and not d_y W.
                let mut difference = device.scratch(rows * self.n_out);
                device.scale_columns(d_frozen, &device.upload(&vec![-1.0; self.n_out]), None, Some(d_y), &mut difference);
                let low_rank = LowRank { u: &d_u, v: a, rank };
                device.linear_backward(&self.weight, &difference, rows, Some(low_rank), &mut d_dropped, false);
            } else {
                device.matmul(sizes(rows, self.n_in, rank, false, 1.0, 0.0), &d_u, a, &mut d_dropped);
            }
            device.add(d_x, &dropout.apply(device, &d_dropped));
        }
    }

    /// The gradient before magnitudes, in a buffer that `new` makes, where the site has them; adds that of the magnitudes.
    fn stretch_backward(
        &self,
        device: &D,
        lora: &Lora<'_, D>,
        d_y: &D::Buffer,
        trace: &Trace<D>,
        gradient: &mut DevicePair<D>,
        new: impl Fn(usize) -> D::Buffer,
    ) -> Option<D::Buffer> {
        let Stretch { factors, inv_norms } = lora.stretch?;
        let (z, d_magnitude) = trace.z.as_ref().zip(gradient.magnitude.as_mut()).expect("a site with magnitudes leaves its z");
        device.add_column_products(d_y, z, inv_norms, d_magnitude);
        let mut d_z = new(device.len(d_y));
        device.scale_columns(d_y, factors, None, None, &mut d_z);
        Some(d_z)
    }
}

/// What a projection leaves for its backward, where a pair acted.
pub(super) struct Trace<D: Device> {
    /// `s x Aᵀ` `[T, R]`.
    u: Option<D::Buffer>,
    /// `x Wᵀ + u Bᵀ` `[T, out]`, before magnitudes, where the site has them; kept as activations are.
    z: Option<D::Buffer>,
}

impl<D: Device> Default for Trace<D> {
    fn default() -> Self {
        Self { u: None, z: None }
    }
}

/// What a projection gave.
pub(super) struct Projected<D: Device> {
    /// `[T, out]`.
    pub(super) y: D::Buffer,
    /// For the backward.
    pub(super) trace: Trace<D>,
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
            let new = || if inner && !self.few { device.scratch_activations(len) } else { device.scratch(len) };
            let u = loras[i].as_ref().map(|lora| device.scratch(rows * lora.pair.rank));
            let z = loras[i].as_ref().and_then(|lora| lora.stretch).map(|_| new());
            Projected { y: new(), trace: Trace { u, z } }
        });
        // What is added after magnitudes is left out of the product. Several projections have no residual.
        let of_product = residual.filter(|_| projected.iter().all(|projected| projected.trace.z.is_none()));
        assert!(residual.is_none() || N == 1, "a residual belongs to one projection");
        let parts = projected.iter_mut().zip(linears).zip(&loras).map(|((Projected { y, trace: Trace { u, z } }, linear), lora)| Part {
            weight: &linear.weight,
            bias: linear.bias.as_ref().filter(|_| z.is_none()),
            pair: lora.as_ref().zip(u.as_mut()).map(|(lora, u)| (lora.pair.borrowed(), u)),
            y: z.as_mut().unwrap_or(y),
        });
        if self.few {
            device.project_few(x, rows, of_product, parts.collect());
        } else {
            device.project(x, rows, of_product, parts.collect());
        }
        for ((Projected { y, trace }, linear), lora) in projected.iter_mut().zip(linears).zip(&loras) {
            if let Some((z, stretch)) = trace.z.take().zip(lora.as_ref().and_then(|lora| lora.stretch)) {
                device.scale_columns(&z, &stretch.factors, linear.bias.as_ref(), residual, y);
                trace.z = (!self.few).then(|| device.compact(z));
            }
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
        if gradients.is_whole() {
            for Backward { linear, d_y, .. } in &parts {
                let of = |part: LayerPart| Place::Layer(self.layer, part);
                let whole = gradients.whole_mut();
                self.device.weight_backward(
                    d_y,
                    x,
                    self.rows,
                    whole.get_mut(&of(LayerPart::Weight(linear.projection))).expect("all are there"),
                );
                if let Some(d_bias) = whole.get_mut(&of(LayerPart::Bias(linear.projection))) {
                    self.device.bias_backward(d_y, d_bias);
                }
            }
        }
        if self.dropout.is_some() {
            for (i, Backward { linear, d_y, trace }) in parts.into_iter().enumerate() {
                let lora = linear.lora(self.layer, self.adapter, self.dropout);
                let d_x = d_x.as_deref_mut().map(|d_x| (d_x, i > 0));
                match (lora, gradients.pairs_mut().get_mut(&linear.site(self.layer))) {
                    (Some(lora @ Lora { dropout: Some(dropout), .. }), Some(gradient)) => {
                        linear.backward_dropped(self.device, (x, self.rows), (d_y, trace), (&lora, dropout), gradient, d_x);
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
            gradients.pairs_mut().iter_mut().filter(|(site, _)| site.layer == self.layer).map(|(site, pair)| (*site, pair)).collect();
        let mut sites = parts.each_ref().map(|Backward { linear, d_y, trace }| {
            let pair = linear.lora(self.layer, self.adapter, None).zip(of_sites.remove(&linear.site(self.layer)));
            pair.map(|(lora, gradient)| {
                let d_z = linear.stretch_backward(self.device, &lora, d_y, trace, gradient, |len| self.activations(len));
                (lora, gradient, d_z)
            })
        });
        let parts = parts.into_iter().zip(&mut sites).map(|(Backward { linear, d_y, trace }, site)| {
            let (d_y, pair) = match site {
                None => (d_y, None),
                Some((lora, gradient, d_z)) => {
                    let u = trace.u.as_ref().expect("a pair leaves its u");
                    let pair = PairGradient { pair: lora.pair.borrowed(), u, d_a: &mut gradient.a, d_b: &mut gradient.b };
                    (d_z.as_ref().unwrap_or(d_y), Some(pair))
                }
            };
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
    /// What the forward left.
    pub(super) trace: &'a Trace<D>,
}
