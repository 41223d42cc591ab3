//! An adapter's folder as PEFT writes and reads it: adapter_config.json beside adapter_model.safetensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::{Dtype, View};

use super::config::{AdapterConfig, CONFIG_FILE};
use super::error::AdapterError;
use super::targets::SiteSettings;
use super::{Adapter, LoraPair, Projection, Site};
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::files::{WriteError, write_bytes_atomically};
use crate::weights::SafetensorsFile;

/// Name of the weights inside an adapter's folder.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

impl Adapter {
    /// Reads the adapter in `folder` for a base of shape `config`: its configuration says which matrices it acts on, and its file must hold
    /// exactly those, in shapes that fit. Half precision is widened.
    ///
    /// # Errors
    /// As [`AdapterConfig::read`] and [`AdapterConfig::sites`], and when a tensor is missing, superfluous, misshapen, of another type or not finite.
    pub fn load(folder: &Path, config: &DecoderConfig) -> Result<Self, AdapterError> {
        Self::load_as(folder, config, &AdapterConfig::read(folder)?)
    }

    /// Reads the weights in `folder` as `settings` describe them, which were read before.
    ///
    /// # Errors
    /// As [`Adapter::load`].
    pub fn load_as(folder: &Path, config: &DecoderConfig, settings: &AdapterConfig) -> Result<Self, AdapterError> {
        let sites = settings.sites(config)?;
        let path = folder.join(WEIGHTS_FILE);
        let file =
            WeightsFile { path: &path, tensors: open_weights(folder, &path)?, config, weight_decomposed: settings.weight_decomposed };
        let mut adapter = Self::default();
        for (&site, settings) in &sites {
            adapter.pairs.insert(site, file.pair(site, settings)?);
        }
        // After the shapes: of an adapter for another base, those say most.
        file.refuse_extra(&sites)?;
        Ok(adapter)
    }

    /// Writes the adapter and its configuration into `folder`, which must exist, so that PEFT loads them. The same adapter gives the same bytes.
    ///
    /// # Errors
    /// When a file cannot be written; then its old content stays.
    ///
    /// # Panics
    /// If the sizes inside a pair do not agree.
    pub fn save(&self, folder: &Path, settings: &AdapterConfig) -> Result<(), AdapterError> {
        write_bytes_atomically(&folder.join(WEIGHTS_FILE), &self.to_safetensors(folder)?)?;
        write_bytes_atomically(&folder.join(CONFIG_FILE), settings.to_json().as_bytes())?;
        Ok(())
    }

    fn to_safetensors(&self, folder: &Path) -> Result<Vec<u8>, AdapterError> {
        let tensors: Vec<_> = self.shaped_tensors().map(|(name, shape, values)| (name, Tensor { shape, values })).collect();
        for (name, Tensor { shape, values }) in &tensors {
            assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: a pair's sizes agree");
        }
        // One key: a map of several would be written in an order of chance.
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize(tensors, Some(metadata)).map_err(|error| {
            WriteError { path: folder.join(WEIGHTS_FILE), replaced: false, source: std::io::Error::other(error.to_string()) }.into()
        })
    }
}

/// A tensor on its way into a file.
struct Tensor<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

fn open_weights(folder: &Path, path: &Path) -> Result<SafetensorsFile, AdapterError> {
    SafetensorsFile::open(path).map_err(|error| {
        let pickle = folder.join("adapter_model.bin");
        if matches!(&error, ModelError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound) && pickle.exists() {
            return AdapterError::Pickle { path: path.to_owned(), pickle };
        }
        error.into()
    })
}

/// An opened adapter_model.safetensors, and the base it must fit.
struct WeightsFile<'a> {
    path: &'a Path,
    tensors: SafetensorsFile,
    config: &'a DecoderConfig,
    /// Whether each pair has magnitudes.
    weight_decomposed: bool,
}

impl WeightsFile<'_> {
    fn pair(&self, site: Site, settings: &SiteSettings) -> Result<LoraPair, AdapterError> {
        let (n_in, n_out) = site.projection.sizes(self.config);
        let [a, b] = site.tensor_names();
        let SiteSettings { rank, scale } = *settings;
        let (a, b) = (self.values(&a, &[rank, n_in])?, self.values(&b, &[n_out, rank])?);
        let magnitude = self.weight_decomposed.then(|| self.values(&site.magnitude_name(), &[n_out])).transpose()?;
        Ok(LoraPair { rank, scale, a, b, magnitude })
    }

    fn values(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, AdapterError> {
        let path = || self.path.to_owned();
        let missing = || AdapterError::MissingTensor { path: path(), name: name.to_owned(), expected: expected.to_vec() };
        let tensor = self.tensors.tensor(name).ok_or_else(missing)?;
        if tensor.shape != expected {
            let (expected, found) = (expected.to_vec(), tensor.shape.to_vec());
            return Err(AdapterError::Shape { path: path(), name: name.to_owned(), expected, found });
        }
        let values = tensor.to_f32()?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(AdapterError::NotFinite { path: path(), name: name.to_owned(), index, value: values[index] }),
            None => Ok(values),
        }
    }

    /// Every tensor of the file must be one that `sites` call for.
    fn refuse_extra(&self, sites: &BTreeMap<Site, SiteSettings>) -> Result<(), AdapterError> {
        let magnitudes = sites.keys().filter(|_| self.weight_decomposed).map(|site| site.magnitude_name());
        let expected: BTreeSet<_> = sites.keys().flat_map(|site| site.tensor_names()).chain(magnitudes).collect();
        match self.tensors.names().find(|name| !expected.contains(*name)) {
            Some(name) => {
                Err(AdapterError::ExtraTensor { path: self.path.to_owned(), name: name.to_owned(), reason: self.why_extra(name, sites) })
            }
            None => Ok(()),
        }
    }

    fn why_extra(&self, name: &str, sites: &BTreeMap<Site, SiteSettings>) -> String {
        if name.contains("lora_magnitude_vector") && !self.weight_decomposed {
            return "it is a magnitude of DoRA, and adapter_config.json does not say use_dora".to_owned();
        }
        if let Some(layer) = layer_of(name).filter(|layer| *layer >= self.config.n_layers) {
            return format!(
                "it is of layer {layer} and this base model has {} layers (0 to {})",
                self.config.n_layers,
                self.config.n_layers - 1
            );
        }
        let adaptable = (0..self.config.n_layers).any(|layer| {
            Projection::all(self.config).iter().any(|&projection| Site { layer, projection }.tensor_names().iter().any(|n| n == name))
        });
        if adaptable {
            return "the target_modules, layers_to_transform or exclude_modules of adapter_config.json leave its module out".to_owned();
        }
        let example = sites.keys().next().map_or_else(String::new, |site| format!(", such as `{}`", site.tensor_names()[0]));
        format!("expected names of PEFT for {} models{example}", self.config.family)
    }
}

/// The number after `.layers.`.
fn layer_of(name: &str) -> Option<usize> {
    name.split_once(".layers.")?.1.split('.').next()?.parse().ok()
}
