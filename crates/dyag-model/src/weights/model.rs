//! Loading a model: which files hold it, and putting configuration and weights together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::gguf::{GgufFile, GgufTokenizer};
use super::safetensors::SafetensorsFile;
use super::source::{ModelSource, SourceKind, shape_text};
use super::table::TensorTable;
use super::{DecoderWeights, build};
use crate::config::{DecoderConfig, family_architecture, json};
use crate::error::ModelError;

/// A decoder as its files give it: shape, frozen weights (memory-mapped), and where they came from.
#[derive(Clone, Debug)]
pub struct Model {
    /// The shape.
    pub config: DecoderConfig,
    /// The weights.
    pub weights: DecoderWeights,
    /// The files.
    pub source: ModelSource,
}

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

impl Model {
    /// Loads the model at `path`: a Hugging Face folder (`config.json` with `model.safetensors` or its sharded index), a GGUF file,
    /// or a folder that holds a single GGUF file.
    ///
    /// # Errors
    /// When no model is there, a file is damaged, or the model asks for something that is not supported.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::load_with_config(path, None)
    }

    /// [`Model::load`], with another file in place of the folder's config.json.
    ///
    /// # Errors
    /// As [`Model::load`], and when `config` is given for a GGUF file, which has its own.
    pub fn load_with_config(path: &Path, config: Option<&Path>) -> Result<Self, ModelError> {
        match find_files(path)? {
            Files::Folder => load_folder(path, config),
            Files::Gguf(file) => match config {
                None => Self::from_gguf(path, GgufFile::open(&file)?),
                Some(config) => Err(ModelError::NotAModel {
                    path: path.to_owned(),
                    why: format!("{} cannot be used with a GGUF file, which carries its own configuration", config.display()),
                }),
            },
        }
    }

    /// Loads the folder of a decoder whose states are wanted and not its words, as an embedder is published: its tensors may lack `model.` before their names, its class may be
    /// the model without a head (`Qwen3Model`), and it needs no head, whose place the embedding takes.
    ///
    /// # Errors
    /// As [`Model::load`], and when the folder brings code of its own or asks for attention in both directions.
    pub fn load_headless(path: &Path) -> Result<Self, ModelError> {
        let Files::Folder = find_files(path)? else {
            let why =
                format!("expected a folder with {CONFIG}, {SINGLE} and tokenizer.json: a GGUF file does not say how vectors are made");
            return Err(ModelError::NotAModel { path: path.to_owned(), why });
        };
        let config_path = path.join(CONFIG);
        let mut object = json::read_object(&config_path)?;
        refuse_other_attention(&config_path, &object)?;
        take_headless_class(&mut object);
        let mut config = DecoderConfig::from_json(&config_path, &object)?;
        let mut table = folder_table(path, &config.family)?;
        if !table.tensors.contains_key("model.embed_tokens.weight") && table.tensors.contains_key("embed_tokens.weight") {
            let tensors = std::mem::take(&mut table.tensors);
            table.tensors = tensors.into_iter().map(|(name, tensor)| (format!("model.{name}"), tensor)).collect();
        }
        config.tied_head |= !table.tensors.contains_key("lm_head.weight");
        let weights = DecoderWeights::build(&config, &mut table, &build::FOLDER)?;
        let source = ModelSource::new(path, SourceKind::Folder, folder_name(path), shape_text(&config), table, None);
        Ok(Self { config, weights, source })
    }

    /// The model of an opened GGUF file; `given` is the path that was asked for.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_gguf(given: &Path, mut file: GgufFile) -> Result<Self, ModelError> {
        let tokenizer = GgufTokenizer::take(&mut file)?;
        let config = DecoderConfig::from_gguf(&file, &tokenizer)?;
        let mut table = TensorTable::from_gguf(&file, &config.family);
        let weights = DecoderWeights::build(&config, &mut table, &build::GGUF)?;
        let name = match file.value("general.name") {
            Some(super::gguf::Value::String(name)) => name.clone(),
            _ => file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let source = ModelSource::new(given, SourceKind::Gguf, name, shape_text(&config), table, Some(tokenizer));
        Ok(Self { config, weights, source })
    }
}

/// Refuses an embedder whose attention is not a decoder's.
fn refuse_other_attention(path: &Path, object: &Map<String, Value>) -> Result<(), ModelError> {
    let why = "a decoder's tokens see none that come after them";
    if let Some(found) = object.get("is_causal").filter(|found| **found != Value::Bool(true) && !found.is_null()) {
        return Err(ModelError::unsupported(path, "is_causal", json::short(found), why));
    }
    match object.get("auto_map").filter(|found| !found.is_null()) {
        None => Ok(()),
        Some(found) => {
            Err(ModelError::unsupported(path, "auto_map", json::short(found), "the model brings code of its own, which is not run"))
        }
    }
}

/// Drops the name of the class without a head, which the configuration of a whole decoder does not expect.
fn take_headless_class(object: &mut Map<String, Value>) {
    let family = object.get("model_type").and_then(Value::as_str).and_then(family_architecture).unwrap_or_default();
    let headless = family.replace("ForCausalLM", "Model");
    if object.get("architectures").and_then(Value::as_array).is_some_and(|names| names.len() == 1 && names[0] == *headless) {
        object.remove("architectures");
    }
}

/// What a path turned out to hold.
enum Files {
    Folder,
    Gguf(PathBuf),
}

fn find_files(path: &Path) -> Result<Files, ModelError> {
    let not_a_model = |why: String| Err(ModelError::NotAModel { path: path.to_owned(), why });
    let about = std::fs::metadata(path).map_err(|source| ModelError::io(path, source))?;
    if !about.is_dir() {
        if GgufFile::is_gguf(path) || path.extension().is_some_and(|e| e == "gguf") {
            return Ok(Files::Gguf(path.to_owned()));
        }
        return not_a_model(
            "expected a GGUF file, or a folder with config.json and model.safetensors; give the folder, not a file in it".to_owned(),
        );
    }
    if path.join(SINGLE).exists() || path.join(INDEX).exists() {
        return Ok(Files::Folder);
    }
    let mut gguf = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|source| ModelError::io(path, source))? {
        let file = entry.map_err(|source| ModelError::io(path, source))?.path();
        if file.extension().is_some_and(|e| e == "gguf") {
            gguf.push(file);
        }
    }
    match (gguf.len(), gguf.pop()) {
        (1, Some(file)) => Ok(Files::Gguf(file)),
        (0, _) if path.join("pytorch_model.bin").exists() => {
            not_a_model(format!("it has pytorch_model.bin, whose format can run code and is not read; convert it to {SINGLE}"))
        }
        (0, _) => not_a_model(format!("expected {CONFIG} with {SINGLE} or {INDEX}, or a single .gguf file, in this folder")),
        (n, _) => not_a_model(format!("it has {n} .gguf files; give the path of one")),
    }
}

fn load_folder(path: &Path, config: Option<&Path>) -> Result<Model, ModelError> {
    let generation = path.join("generation_config.json");
    let generation = generation.exists().then_some(generation);
    let config_path = config.map_or_else(|| path.join(CONFIG), Path::to_owned);
    let config = DecoderConfig::from_json_file(&config_path, generation.as_deref())?;
    let mut table = folder_table(path, &config.family)?;
    let weights = DecoderWeights::build(&config, &mut table, &build::FOLDER)?;
    let name = folder_name(path);
    let source = ModelSource::new(path, SourceKind::Folder, name, shape_text(&config), table, None);
    Ok(Model { config, weights, source })
}

/// The tensors of a folder: of model.safetensors, or where there is none, of the shards that its index names.
pub(super) fn folder_table(path: &Path, family: &str) -> Result<TensorTable, ModelError> {
    let mut table = TensorTable::new(path, family, BTreeMap::new());
    if path.join(SINGLE).exists() || !path.join(INDEX).exists() {
        table.add_safetensors(&SafetensorsFile::open(&path.join(SINGLE))?, |_| true);
    } else {
        add_shards(&mut table, path)?;
    }
    Ok(table)
}

/// Name of a folder, without what leads to it.
pub(super) fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().map_or_else(|| whole.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Opens every shard that the index names; a tensor counts from the shard that the index gives it.
fn add_shards(table: &mut TensorTable, folder: &Path) -> Result<(), ModelError> {
    let index_path = folder.join(INDEX);
    let index = json::read_object(&index_path)?;
    let map = match index.get("weight_map") {
        Some(Value::Object(map)) => map,
        Some(other) => return Err(ModelError::bad_value(&index_path, "weight_map", "an object of tensors and files", json::short(other))),
        None => return Err(ModelError::MissingKey { path: index_path, key: "weight_map".to_owned() }),
    };
    let mut by_file: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, file) in map {
        // A name with a folder in it could lead anywhere.
        match file.as_str().filter(|file| Path::new(file).file_name().is_some_and(|name| name == *file)) {
            Some(file) => by_file.entry(file).or_default().insert(name),
            None => {
                return Err(ModelError::bad_value(
                    &index_path,
                    format!("weight_map[{name:?}]"),
                    "the name of a file beside the index",
                    file,
                ));
            }
        };
    }
    for (file, names) in by_file {
        let shard = SafetensorsFile::open(&folder.join(file))?;
        if let Some(missing) = names.iter().find(|name| shard.tensor(name).is_none()) {
            let expected = format!("the tensor `{missing}`, which {INDEX} places there");
            return Err(ModelError::malformed(shard.path(), "the list of tensors", expected, "none of that name"));
        }
        table.add_safetensors(&shard, |name| names.contains(name));
    }
    Ok(())
}
