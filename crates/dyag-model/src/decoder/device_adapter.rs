//! An adapter, or anything of an adapter's shape (gradients, moments), in device buffers.

use std::collections::BTreeMap;

use dyag_kernels::Device;
use dyag_kernels::device::LowRankPair;

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
}

impl<D: Device> DevicePair<D> {
    /// The pair as an operation takes it.
    pub(super) fn borrowed(&self) -> LowRankPair<'_, D::Buffer> {
        let Self { rank, scale, a, b } = self;
        LowRankPair { a, b, rank: *rank, scale: *scale }
    }
}

/// A whole adapter on the device.
pub struct DeviceAdapter<D: Device> {
    /// The pairs, in order of layer, then projection.
    pub pairs: BTreeMap<Site, DevicePair<D>>,
}

impl<D: Device> DeviceAdapter<D> {
    /// Copies an adapter to the device.
    pub fn upload(device: &D, adapter: &Adapter) -> Self {
        let upload =
            |pair: &LoraPair| DevicePair { rank: pair.rank, scale: pair.scale, a: device.upload(&pair.a), b: device.upload(&pair.b) };
        Self { pairs: adapter.pairs.iter().map(|(site, pair)| (*site, upload(pair))).collect() }
    }

    /// Copies it back.
    pub fn download(&self, device: &D) -> Adapter {
        let download = |pair: &DevicePair<D>| LoraPair {
            rank: pair.rank,
            scale: pair.scale,
            a: device.download(&pair.a),
            b: device.download(&pair.b),
        };
        Adapter { pairs: self.pairs.iter().map(|(site, pair)| (*site, download(pair))).collect() }
    }

    /// Zeros in the shape of `other`: gradients, moments.
    pub fn zeros_like(device: &D, other: &Self) -> Self {
        let zeros = |pair: &DevicePair<D>| DevicePair {
            rank: pair.rank,
            scale: pair.scale,
            a: device.zeros(device.len(&pair.a)),
            b: device.zeros(device.len(&pair.b)),
        };
        Self { pairs: other.pairs.iter().map(|(site, pair)| (*site, zeros(pair))).collect() }
    }

    /// Sets all elements to zero.
    pub fn fill_zero(&mut self, device: &D) {
        device.run(|| {
            for pair in self.pairs.values_mut() {
                device.fill_zero(&mut pair.a);
                device.fill_zero(&mut pair.b);
            }
        });
    }

    /// Square of the L2 norm over all elements, in the order of the sites.
    pub fn sum_of_squares(&self, device: &D) -> f64 {
        self.pairs.values().map(|pair| device.sum_of_squares(&pair.a) + device.sum_of_squares(&pair.b)).sum()
    }

    /// The lowest adapted layer.
    pub fn lowest_layer(&self) -> Option<usize> {
        self.pairs.keys().map(|site| site.layer).min()
    }
}
