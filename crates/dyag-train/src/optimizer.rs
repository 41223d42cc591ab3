//! AdamW (Loshchilov & Hutter 2019) over an adapter, or all weights, on a device.

use std::path::Path;

use dyag_kernels::Device;
use dyag_kernels::device::AdamwStep;
use dyag_model::adapter::Site;
use dyag_model::config::DecoderConfig;
use dyag_model::decoder::{DeviceAdapter, DevicePair};

use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::tensors::{DeviceTensor, TensorFile, write_tensors};

/// Name of the optimiser's file in a checkpoint.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// What of an optimiser is a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    /// Decoupled decay: of every tensor of an adapter; of matrices alone where all weights are trained, as Transformers' trainer has it.
    pub weight_decay: f32,
    /// Learning rate of B, and of magnitudes, as a multiple of A's (LoRA+, Hayou et al. 2024; grouped as PEFT's `create_loraplus_optimizer` does).
    pub b_ratio: f64,
}

impl AdamWSettings {
    /// Those of a run.
    pub fn of(config: &TrainConfig) -> Self {
        Self { weight_decay: config.weight_decay as f32, b_ratio: config.lora_plus_ratio.unwrap_or(1.0) }
    }
}

/// The optimiser's moments, and how many updates they have seen. Constants are PyTorch's defaults.
pub struct AdamW<D: Device> {
    first: DeviceAdapter<D>,
    second: DeviceAdapter<D>,
    n_updates: u32,
    settings: AdamWSettings,
}

impl<D: Device> AdamW<D> {
    /// Zero moments in the shape of `adapter`.
    pub fn new(device: &D, adapter: &DeviceAdapter<D>, settings: AdamWSettings) -> Self {
        let zeros = || DeviceAdapter::zeros_like(device, adapter);
        Self { first: zeros(), second: zeros(), n_updates: 0, settings }
    }

    /// Updates made so far.
    pub fn n_updates(&self) -> u32 {
        self.n_updates
    }

    /// One update of `adapter` with `gradients` times `gradient_scale`.
    ///
    /// # Panics
    /// If the shapes of adapter, gradients and moments differ.
    pub fn step(
        &mut self,
        device: &D,
        adapter: &mut DeviceAdapter<D>,
        gradients: &DeviceAdapter<D>,
        learning_rate: f64,
        gradient_scale: f32,
    ) {
        self.n_updates += 1;
        let Self { first, second, n_updates, settings: AdamWSettings { weight_decay, b_ratio } } = self;
        let step = |learning_rate: f64| AdamwStep {
            learning_rate: learning_rate as f32,
            beta1: BETA1,
            beta2: BETA2,
            eps: EPS,
            weight_decay: *weight_decay,
            t: *n_updates,
            gradient_scale,
        };
        // A, then B, then magnitudes.
        let steps = [step(learning_rate), step(learning_rate * *b_ratio), step(learning_rate * *b_ratio)];
        assert!(adapter.pairs().keys().eq(gradients.pairs().keys()) && adapter.pairs().keys().eq(first.pairs().keys()), "one shape");
        assert!(adapter.whole().keys().eq(gradients.whole().keys()) && adapter.whole().keys().eq(first.whole().keys()), "one shape");
        device.run(|| {
            let moments = first.whole_mut().values_mut().zip(second.whole_mut().values_mut());
            for (((part, parameter), gradient), (first, second)) in
                adapter.whole_mut().iter_mut().zip(gradients.whole().values()).zip(moments)
            {
                let decay = if part.is_matrix() { *weight_decay } else { 0.0 };
                device.adamw(AdamwStep { weight_decay: decay, ..steps[0] }, gradient, parameter, first, second);
            }
            let moments = first.pairs_mut().values_mut().zip(second.pairs_mut().values_mut());
            for ((pair, gradient), (first, second)) in adapter.pairs_mut().values_mut().zip(gradients.pairs().values()).zip(moments) {
                let tensors = pair.tensors_mut().zip(gradient.tensors()).zip(first.tensors_mut().zip(second.tensors_mut()));
                for (((parameter, gradient), (first, second)), step) in tensors.zip(steps) {
                    device.adamw(step, gradient, parameter, first, second);
                }
            }
        });
    }

    /// Writes the moments into `folder`, a tensor at a time.
    pub fn save(&self, device: &D, model: &DecoderConfig, folder: &Path) -> Result<(), TrainError> {
        let path = folder.join(OPTIMIZER_FILE);
        let mut tensors = Vec::new();
        for (moment, adapter) in [("first", &self.first), ("second", &self.second)] {
            for (part, buffer) in adapter.whole() {
                tensors.push((format!("{moment}.{}", part.name(model)), DeviceTensor::flat(device, buffer)));
            }
            for (site, pair) in adapter.pairs() {
                for (name, buffer) in tensor_names(moment, *site).into_iter().zip(pair.tensors()) {
                    tensors.push((name, DeviceTensor::flat(device, buffer)));
                }
            }
        }
        write_tensors(tensors, ("updates", &self.n_updates.to_string()), &path)
    }

    /// Reads what [`AdamW::save`] wrote for an adapter of this shape after `n_updates` updates.
    pub fn load(
        device: &D,
        adapter: &DeviceAdapter<D>,
        model: &DecoderConfig,
        settings: AdamWSettings,
        n_updates: u32,
        folder: &Path,
    ) -> Result<Self, TrainError> {
        let file = TensorFile::open(&folder.join(OPTIMIZER_FILE))?;
        let read = |name: &str, like: &D::Buffer| file.upload(device, name, device.len(like));
        let read_all = |moment: &str| -> Result<DeviceAdapter<D>, TrainError> {
            if adapter.is_whole() {
                let tensors =
                    adapter.whole().iter().map(|(part, like)| Ok((*part, read(&format!("{moment}.{}", part.name(model)), like)?)));
                return Ok(DeviceAdapter::of_whole(tensors.collect::<Result<_, TrainError>>()?));
            }
            let pairs = adapter.pairs().iter().map(|(site, like)| {
                let [a, b, m] = tensor_names(moment, *site);
                let magnitude = like.magnitude.as_ref().map(|like| read(&m, like)).transpose()?;
                let pair = DevicePair { rank: like.rank, scale: like.scale, a: read(&a, &like.a)?, b: read(&b, &like.b)?, magnitude };
                Ok((*site, pair))
            });
            Ok(DeviceAdapter::new(pairs.collect::<Result<_, TrainError>>()?))
        };
        Ok(Self { first: read_all("first")?, second: read_all("second")?, n_updates, settings })
    }
}

/// Of A, B and magnitudes.
fn tensor_names(moment: &str, site: Site) -> [String; 3] {
    let [a, b] = site.tensor_names();
    [a, b, site.magnitude_name()].map(|name| format!("{moment}.{name}"))
}
