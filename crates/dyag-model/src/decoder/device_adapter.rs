//! What is trained, or anything of its shape (gradients, moments), in device buffers: an adapter, or all weights.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use dyag_kernels::Device;
use dyag_kernels::device::LowRankPair;

use super::dora::Stretches;
use super::whole::{Part, WholeGradients};
use crate::adapter::{Adapter, LoraPair, Site};

/// One low-rank pair on the device.
pub struct DevicePair<D: Device> {
    /// R.
    pub rank: usize,
    /// What `(x Aᵀ) Bᵀ` is multiplied with.
    pub scale: f32,
    /// `[R, in]`.
    pub a: D::Buffer,
    /// `[out, R]`.
    pub b: D::Buffer,
    /// Magnitudes `[out]`, of a weight-decomposed adapter alone.
    pub magnitude: Option<D::Buffer>,
}

impl<D: Device> DevicePair<D> {
    /// The pair as an operation takes it.
    pub(super) fn borrowed(&self) -> LowRankPair<'_, D::Buffer> {
        let Self { rank, scale, a, b, magnitude: _ } = self;
        LowRankPair { a, b, rank: *rank, scale: *scale }
    }

    /// Its tensors: A, B, magnitudes where it has them.
    pub fn tensors(&self) -> impl Iterator<Item = &D::Buffer> {
        [&self.a, &self.b].into_iter().chain(&self.magnitude)
    }

    /// [`DevicePair::tensors`], to be changed.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = &mut D::Buffer> {
        [&mut self.a, &mut self.b].into_iter().chain(&mut self.magnitude)
    }

    /// The same shape with other tensors, each made from the one that stands there.
    fn map(&self, mut make: impl FnMut(&D::Buffer) -> D::Buffer) -> Self {
        let Self { rank, scale, a, b, magnitude } = self;
        Self { rank: *rank, scale: *scale, a: make(a), b: make(b), magnitude: magnitude.as_ref().map(make) }
    }
}

/// A whole adapter on the device, or all weights of a model where those are trained.
pub struct DeviceAdapter<D: Device> {
    /// The pairs, in order of layer, then projection.
    pairs: BTreeMap<Site, DevicePair<D>>,
    /// All weights, as the model's files have them; empty when an adapter is trained.
    whole: WholeGradients<D>,
    /// What magnitudes come to beside the base's matrices, from the first pass after they were changed.
    pub(super) stretches: OnceLock<Stretches<D>>,
}

impl<D: Device> DeviceAdapter<D> {
    /// An adapter of these pairs.
    pub fn new(pairs: BTreeMap<Site, DevicePair<D>>) -> Self {
        Self { pairs, whole: BTreeMap::new(), stretches: OnceLock::new() }
    }

    /// All weights of a model.
    pub fn of_whole(whole: BTreeMap<Part, D::Buffer>) -> Self {
        Self { pairs: BTreeMap::new(), whole, stretches: OnceLock::new() }
    }

    /// All weights, where those are trained.
    pub fn whole(&self) -> &BTreeMap<Part, D::Buffer> {
        &self.whole
    }

    /// [`DeviceAdapter::whole`], to be changed.
    pub fn whole_mut(&mut self) -> &mut BTreeMap<Part, D::Buffer> {
        &mut self.whole
    }

    /// Whether all weights are trained, and not an adapter.
    pub fn is_whole(&self) -> bool {
        !self.whole.is_empty()
    }

    /// The pairs, in order of layer, then projection.
    pub fn pairs(&self) -> &BTreeMap<Site, DevicePair<D>> {
        &self.pairs
    }

    /// The pairs, to be changed: what was computed from them is forgotten.
    pub fn pairs_mut(&mut self) -> &mut BTreeMap<Site, DevicePair<D>> {
        self.stretches = OnceLock::new();
        &mut self.pairs
    }

    /// Copies an adapter to the device.
    pub fn upload(device: &D, adapter: &Adapter) -> Self {
        let upload = |LoraPair { rank, scale, a, b, magnitude }: &LoraPair| DevicePair {
            rank: *rank,
            scale: *scale,
            a: device.upload(a),
            b: device.upload(b),
            magnitude: magnitude.as_ref().map(|magnitude| device.upload(magnitude)),
        };
        Self::new(adapter.pairs.iter().map(|(site, pair)| (*site, upload(pair))).collect())
    }

    /// Copies it back.
    pub fn download(&self, device: &D) -> Adapter {
        let download = |DevicePair { rank, scale, a, b, magnitude }: &DevicePair<D>| LoraPair {
            rank: *rank,
            scale: *scale,
            a: device.download(a),
            b: device.download(b),
            magnitude: magnitude.as_ref().map(|magnitude| device.download(magnitude)),
        };
        Adapter { pairs: self.pairs.iter().map(|(site, pair)| (*site, download(pair))).collect() }
    }

    /// Zeros in the shape of `other`: gradients, moments.
    pub fn zeros_like(device: &D, other: &Self) -> Self {
        let zeros = |pair: &DevicePair<D>| pair.map(|like| device.zeros(device.len(like)));
        let whole = other.whole.iter().map(|(part, like)| (*part, device.zeros(device.len(like)))).collect();
        let pairs = other.pairs.iter().map(|(site, pair)| (*site, zeros(pair))).collect();
        Self { pairs, whole, stretches: OnceLock::new() }
    }

    /// Sets all elements to zero.
    pub fn fill_zero(&mut self, device: &D) {
        device.run(|| {
            self.whole.values_mut().for_each(|tensor| device.fill_zero(tensor));
            self.pairs_mut().values_mut().flat_map(DevicePair::tensors_mut).for_each(|tensor| device.fill_zero(tensor));
        });
    }

    /// Square of the L2 norm over all elements, in the order of the sites.
    pub fn sum_of_squares(&self, device: &D) -> f64 {
        let of_pair = |pair: &DevicePair<D>| pair.tensors().map(|tensor| device.sum_of_squares(tensor)).sum::<f64>();
        self.pairs.values().map(of_pair).chain(self.whole.values().map(|tensor| device.sum_of_squares(tensor))).sum()
    }

    /// The lowest layer that is trained.
    pub fn lowest_layer(&self) -> Option<usize> {
        if self.is_whole() {
            return Some(0);
        }
        self.pairs.keys().map(|site| site.layer).min()
    }
}
