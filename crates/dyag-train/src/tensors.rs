//! Tensors of a device in safetensors files, one at a time.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use dyag_kernels::Device;
use dyag_model::config::DecoderConfig;
use dyag_model::decoder::{DeviceAdapter, Part};
use dyag_model::weights::SafetensorsFile;
use safetensors::{Dtype, View};

use crate::error::TrainError;

/// Name of the weights in a folder of a whole model.
pub(crate) const MODEL_FILE: &str = "model.safetensors";

/// A buffer on its way into a file, brought from the device when its turn comes.
pub(crate) struct DeviceTensor<'a, D: Device> {
    device: &'a D,
    buffer: &'a D::Buffer,
    shape: Vec<usize>,
}

impl<'a, D: Device> DeviceTensor<'a, D> {
    /// One dimension.
    pub(crate) fn flat(device: &'a D, buffer: &'a D::Buffer) -> Self {
        Self { device, buffer, shape: vec![device.len(buffer)] }
    }
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
        4 * self.shape.iter().product::<usize>()
    }
}

/// Writes tensors and one fact about them: a map of several would be written in an order of chance.
pub(crate) fn write_tensors<D: Device>(
    tensors: Vec<(String, DeviceTensor<'_, D>)>,
    (key, value): (&str, &str),
    path: &Path,
) -> Result<(), TrainError> {
    let metadata = [(key.to_owned(), value.to_owned())].into();
    safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|error| {
        let source = match error {
            safetensors::SafeTensorError::IoError(source) => source,
            other => std::io::Error::other(other.to_string()),
        };
        TrainError::Io { action: "write", path: path.to_owned(), source }
    })
}

/// Writes all weights of a model into `folder`, with the names and shapes that Transformers gives them.
pub(crate) fn write_model<D: Device>(
    device: &D,
    model: &DecoderConfig,
    weights: &DeviceAdapter<D>,
    folder: &Path,
) -> Result<(), TrainError> {
    let tensor = |(part, buffer): (&Part, &'_ D::Buffer)| {
        assert_eq!(device.len(buffer), part.shape(model).iter().product::<usize>());
        part.name(model)
    };
    let tensors = weights
        .whole()
        .iter()
        .map(|(part, buffer)| (tensor((part, buffer)), DeviceTensor { device, buffer, shape: part.shape(model) }))
        .collect();
    write_tensors(tensors, ("format", "pt"), &folder.join(MODEL_FILE))
}

/// Reads what [`write_model`] wrote.
pub(crate) fn read_model<D: Device>(device: &D, model: &DecoderConfig, folder: &Path) -> Result<DeviceAdapter<D>, TrainError> {
    let file = TensorFile::open(&folder.join(MODEL_FILE))?;
    let read = |part: Part| Ok((part, file.upload(device, &part.name(model), part.shape(model).iter().product())?));
    Ok(DeviceAdapter::of_whole(Part::all(model).into_iter().map(read).collect::<Result<_, TrainError>>()?))
}

/// A file that tensors are read from.
pub(crate) struct TensorFile {
    path: PathBuf,
    file: SafetensorsFile,
}

impl TensorFile {
    pub(crate) fn open(path: &Path) -> Result<Self, TrainError> {
        let file = SafetensorsFile::open(path).map_err(|source| TrainError::Model { source: Box::new(source) })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// A tensor of so many values, on the device.
    pub(crate) fn upload<D: Device>(&self, device: &D, name: &str, expected: usize) -> Result<D::Buffer, TrainError> {
        let bad = |problem: String| TrainError::Data(format!("{}: tensor `{name}`: {problem}", self.path.display()));
        let tensor = self.file.tensor(name).ok_or_else(|| bad("expected by what is trained, but missing".to_owned()))?;
        let values = tensor.to_f32().map_err(|source| TrainError::Model { source: Box::new(source) })?;
        if values.len() != expected {
            return Err(bad(format!("expected {expected} values, found {}", values.len())));
        }
        Ok(device.upload(&values))
    }
}
