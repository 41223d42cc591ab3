//! Weight-decomposed adapters (DoRA; Liu et al. 2024, as PEFT computes them): each output channel of an adapted matrix has a magnitude of its own.
//!
//! ```text
//! z = x Wᵀ + s (x Aᵀ) Bᵀ      n = ‖W + s B A‖ of each row      y = (m / n) * z + bias
//! d_m = (Σ_t d_y * z) / n     d_z = (m / n) * d_y              n counts as a constant
//! ```
//! The norms belong to an adapter's values and are computed once for all passes until they are changed ([`Device::adapted_norms`]); ‖W‖² once for good.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use dyag_kernels::Device;

use super::Decoder;
use super::device_adapter::{DeviceAdapter, DevicePair};
use super::layer::{GateUp, Layer, Qkv};
use super::projection::Linear;
use crate::adapter::Site;

/// What the output channels of one matrix are multiplied with.
pub(super) struct Stretch<D: Device> {
    /// m / n `[out]`; 0 for a row of zeros.
    pub(super) factors: D::Buffer,
    /// 1 / n `[out]`; 0 for a row of zeros.
    pub(super) inv_norms: D::Buffer,
}

/// The stretches of a whole adapter beside the matrices of one decoder.
pub(super) struct Stretches<D: Device> {
    decoder: DecoderId,
    sites: BTreeMap<Site, Stretch<D>>,
}

/// Tells decoders of one process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DecoderId(u64);

impl DecoderId {
    /// One that no other decoder has.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl<D: Device> DeviceAdapter<D> {
    /// What the channels at `site` are multiplied with; `None` where it has no magnitudes.
    ///
    /// # Panics
    /// If it has and [`Decoder::prepare`] was not called since they were changed.
    pub(super) fn stretch(&self, site: Site) -> Option<&Stretch<D>> {
        self.pairs().get(&site)?.magnitude.as_ref()?;
        Some(&self.stretches.get().expect("a pass prepares its adapter").sites[&site])
    }
}

impl<D: Device> Decoder<D> {
    /// Computes what the adapter's magnitudes come to beside this model's matrices, unless it is known.
    ///
    /// # Panics
    /// If the adapter was used with another decoder since it was changed.
    pub(super) fn prepare(&self, adapter: &DeviceAdapter<D>) {
        if adapter.pairs().values().all(|pair| pair.magnitude.is_none()) {
            return;
        }
        if let Some(stretches) = adapter.stretches.get() {
            assert_eq!(stretches.decoder, self.id, "an adapter on a device serves one decoder");
            return;
        }
        let mut sites = BTreeMap::new();
        for (i, layer) in self.layers.iter().enumerate() {
            for linear in layer.linears() {
                let site = linear.site(i);
                if let Some((pair, magnitude)) = adapter.pairs().get(&site).and_then(|pair| Some((pair, pair.magnitude.as_ref()?))) {
                    sites.insert(site, linear.stretch(&*self.device, pair, magnitude));
                }
            }
        }
        // Computed before the lock is taken: whoever else comes meanwhile computes the same.
        let _ = adapter.stretches.set(Stretches { decoder: self.id, sites });
    }
}

impl<D: Device> Layer<D> {
    /// All matrices that can be adapted.
    fn linears(&self) -> impl Iterator<Item = &Linear<D>> {
        let qkv = match &self.qkv {
            Qkv::Separate(parts) => parts.as_slice(),
            Qkv::Fused(qkv) => std::slice::from_ref(qkv),
        };
        let gate_up = match &self.gate_up {
            GateUp::Separate(parts) => parts.as_slice(),
            GateUp::Fused(gate_up) => std::slice::from_ref(gate_up),
        };
        qkv.iter().chain([&self.o]).chain(gate_up).chain([&self.down])
    }
}

impl<D: Device> Linear<D> {
    fn stretch(&self, device: &D, pair: &DevicePair<D>, magnitude: &D::Buffer) -> Stretch<D> {
        let squares = get_or_compute(&self.squares, || {
            let mut squares = device.scratch(self.n_out);
            device.row_squares(&self.weight, &mut squares);
            squares
        });
        let mut norms = device.scratch(self.n_out);
        device.adapted_norms(&self.weight, squares, pair.borrowed(), &mut norms);
        let inv_norms: Vec<f32> = device.download(&norms).into_iter().map(|norm| if norm > 0.0 { 1.0 / norm } else { 0.0 }).collect();
        let factors: Vec<f32> =
            device.download(magnitude).iter().zip(device.download(&norms)).map(|(m, n)| if n > 0.0 { m / n } else { 0.0 }).collect();
        Stretch { factors: device.upload(&factors), inv_norms: device.upload(&inv_norms) }
    }
}

/// The value, computed if it is not there, without holding a lock while it is: threads of a pool that wait take up other work, perhaps the same.
fn get_or_compute<T>(place: &OnceLock<T>, compute: impl FnOnce() -> T) -> &T {
    if place.get().is_none() {
        let _ = place.set(compute());
    }
    place.get().expect("just set, by this thread or another")
}
