//! The tensors of a model by name, whatever file holds them, and what was asked of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_kernels::map::Bytes;
use dyag_kernels::{Format, WeightMatrix, quant};

use super::gguf::{GgufFile, GgufTensor};
use super::safetensors::{Dtype, SafetensorsFile};
use crate::error::ModelError;

/// One tensor as it lies in its file.
#[derive(Clone, Debug)]
pub(super) struct StoredTensor {
    /// The file.
    pub(super) file: Arc<Path>,
    /// Type of the elements, as the file names it.
    pub(super) type_name: &'static str,
    /// How elements are widened; `None` for types that weights do not have.
    pub(super) format: Option<Format>,
    /// Sizes, outermost first.
    pub(super) shape: Vec<usize>,
    /// The elements.
    pub(super) bytes: Bytes,
}

/// All tensors of a model.
#[derive(Debug)]
pub(super) struct TensorTable {
    /// The folder or file, for messages about tensors that are not there.
    pub(super) path: PathBuf,
    /// The family, for messages.
    pub(super) family: String,
    pub(super) tensors: BTreeMap<String, StoredTensor>,
    used: BTreeSet<String>,
}

impl TensorTable {
    /// The tensors of a GGUF file.
    pub(super) fn from_gguf(file: &GgufFile, family: &str) -> Self {
        let shared: Arc<Path> = file.path().into();
        let stored = |tensor: &GgufTensor| {
            let GgufTensor { format, shape, .. } = tensor;
            let bytes = file.bytes(tensor);
            StoredTensor { file: shared.clone(), type_name: format.name(), format: Some(*format), shape: shape.clone(), bytes }
        };
        let tensors = file.tensors().map(|(name, tensor)| (name.to_owned(), stored(tensor))).collect();
        Self::new(file.path(), family, tensors)
    }

    /// An empty table, or one of given tensors.
    pub(super) fn new(path: &Path, family: &str, tensors: BTreeMap<String, StoredTensor>) -> Self {
        Self { path: path.to_owned(), family: family.to_owned(), tensors, used: BTreeSet::new() }
    }

    /// Adds the tensors of a safetensors file: those `wanted` says.
    pub(super) fn add_safetensors(&mut self, file: &SafetensorsFile, wanted: impl Fn(&str) -> bool) {
        let shared: Arc<Path> = file.path().into();
        for name in file.names().filter(|name| wanted(name)) {
            let (Some(view), Some(bytes)) = (file.tensor(name), file.tensor_bytes(name)) else { continue };
            let dtype: Dtype = view.dtype;
            let tensor =
                StoredTensor { file: shared.clone(), type_name: dtype.name(), format: dtype.format(), shape: view.shape.to_vec(), bytes };
            self.tensors.insert(name.to_owned(), tensor);
        }
    }

    /// The matrix `name`, which must be `[rows, cols]`.
    pub(super) fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<WeightMatrix, ModelError> {
        let (tensor, format) = self.find(name, &[rows, cols])?;
        let file = tensor.file.clone();
        WeightMatrix::new(tensor.bytes.clone(), format, rows, cols).ok_or_else(|| {
            let expected = format!("rows of whole blocks of {} elements ({})", format.block_len(), format.name());
            ModelError::malformed(&file, format!("the tensor `{name}`"), expected, format!("rows of {cols}"))
        })
    }

    /// The vector `name`, which must be `[len]`, widened: there are few of them and they are small.
    pub(super) fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let (tensor, format) = self.find(name, &[len])?;
        let mut out = vec![0.0; len];
        quant::widen(format, tensor.bytes.as_slice(), &mut out);
        Ok(out)
    }

    fn find(&mut self, name: &str, shape: &[usize]) -> Result<(&StoredTensor, Format), ModelError> {
        let missing = || ModelError::MissingTensor { path: self.path.clone(), name: name.to_owned(), family: self.family.clone() };
        let tensor = self.tensors.get(name).ok_or_else(missing)?;
        self.used.insert(name.to_owned());
        if tensor.shape != shape {
            return Err(ModelError::WrongShape {
                path: tensor.file.to_path_buf(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: tensor.shape.clone(),
            });
        }
        let format = tensor.format.ok_or_else(|| ModelError::UnsupportedType {
            path: tensor.file.to_path_buf(),
            name: name.to_owned(),
            found: tensor.type_name.to_owned(),
            supported: "F32, F16, BF16".to_owned(),
        })?;
        Ok((tensor, format))
    }

    /// Refuses tensors that nothing asked for, those `harmless` excepted: what they would have done to the numbers is not known here.
    pub(super) fn refuse_unused(&self, harmless: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        match self.tensors.iter().find(|(name, _)| !self.used.contains(*name) && !harmless(name)) {
            None => Ok(()),
            Some((name, tensor)) => {
                Err(ModelError::UnexpectedTensor { path: tensor.file.to_path_buf(), name: name.clone(), family: self.family.clone() })
            }
        }
    }
}
