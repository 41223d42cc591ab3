//! AdamW (Loshchilov & Hutter 2019) over an adapter on a device.

use std::borrow::Cow;
use std::path::Path;

use dyag_kernels::Device;
use dyag_kernels::device::AdamwStep;
use dyag_model::adapter::Site;
use dyag_model::decoder::{DeviceAdapter, DevicePair};
use dyag_model::weights::SafetensorsFile;
use safetensors::{Dtype, View};

use crate::config::TrainConfig;
use crate::error::TrainError;

/// Name of the optimiser's file in a checkpoint.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// What of an optimiser is a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    /// Decoupled decay, of every tensor.
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
        device.run(|| {
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
    pub fn save(&self, device: &D, folder: &Path) -> Result<(), TrainError> {
        let path = folder.join(OPTIMIZER_FILE);
        let mut tensors = Vec::new();
        for (moment, adapter) in [("first", &self.first), ("second", &self.second)] {
            for (site, pair) in adapter.pairs() {
                for (name, buffer) in tensor_names(moment, *site).into_iter().zip(pair.tensors()) {
                    tensors.push((name, DeviceTensor { device, buffer, shape: [device.len(buffer)] }));
                }
            }
        }
        let metadata = [("updates".to_owned(), self.n_updates.to_string())].into();
        safetensors::serialize_to_file(tensors, Some(metadata), &path).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => TrainError::Io { action: "write", path, source },
            other => TrainError::Io { action: "write", path, source: std::io::Error::other(other.to_string()) },
        })
    }

    /// Reads what [`AdamW::save`] wrote for an adapter of this shape after `n_updates` updates.
    pub fn load(
        device: &D,
        adapter: &DeviceAdapter<D>,
        settings: AdamWSettings,
        n_updates: u32,
        folder: &Path,
    ) -> Result<Self, TrainError> {
        let path = folder.join(OPTIMIZER_FILE);
        let file = SafetensorsFile::open(&path).map_err(|source| TrainError::Model { source: Box::new(source) })?;
        let read = |name: &str, like: &D::Buffer| {
            let expected = device.len(like);
            let bad = |problem: String| TrainError::Data(format!("{}: tensor `{name}`: {problem}", path.display()));
            let tensor = file.tensor(name).ok_or_else(|| bad("expected by the adapter's configuration, but missing".to_owned()))?;
            let values = tensor.to_f32().map_err(|source| TrainError::Model { source: Box::new(source) })?;
            if values.len() != expected {
                return Err(bad(format!("expected {expected} values, found {}", values.len())));
            }
            Ok(device.upload(&values))
        };
        let read_all = |moment: &str| -> Result<DeviceAdapter<D>, TrainError> {
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

/// A buffer on its way into a file, brought from the device when its turn comes.
struct DeviceTensor<'a, D: Device> {
    device: &'a D,
    buffer: &'a D::Buffer,
    shape: [usize; 1],
}

impl<D: Device> View for DeviceTensor<'_, D> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.device.download(self.buffer).iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        4 * self.shape[0]
    }
}
