//! The files beside the weights: the base's own, or made of a GGUF file's metadata.

use std::fs;

use anyhow::Context as _;
use dyag_model::export::{config_json, generation_config_json};
use dyag_model::weights::Dtype;
use dyag_text::tokenizer_config_json;
use dyag_train::folder::NewFolder;
use serde_json::{Value, json};

use crate::exported::is_folder;
use crate::model_files::ModelFiles;

/// Files of a published model that are taken over as they are, where they exist.
const COPIED: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
    "LICENSE",
];

/// Writes them for weights of type `dtype`.
pub(super) fn write(folder: &NewFolder, files: &ModelFiles, dtype: Dtype) -> anyhow::Result<()> {
    if is_folder(files) { copy(folder, files, dtype) } else { make(folder, files, dtype) }
}

fn copy(folder: &NewFolder, files: &ModelFiles, dtype: Dtype) -> anyhow::Result<()> {
    let base = files.path();
    let read = |name: &str| fs::read(base.join(name)).with_context(|| format!("cannot read {}", base.join(name).display()));
    for name in COPIED.into_iter().filter(|name| base.join(name).exists()) {
        folder.write(name, &read(name)?)?;
    }
    let mut config: Value = serde_json::from_slice(&read("config.json")?).context("config.json of the base is not JSON")?;
    // Transformers 5 writes `dtype`.
    let key = if config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    config[key] = json!(torch_name(dtype));
    folder.write_json("config.json", &config)?;
    if !base.join("generation_config.json").exists() {
        folder.write_json("generation_config.json", &generation(files))?;
    }
    Ok(())
}

fn make(folder: &NewFolder, files: &ModelFiles, dtype: Dtype) -> anyhow::Result<()> {
    folder.write("tokenizer.json", files.tokenizer().to_json().as_bytes())?;
    folder.write_json("tokenizer_config.json", &tokenizer_config_json(files.chat().template(), files.config().max_positions))?;
    folder.write_json("config.json", &config_json(files.config(), dtype)?)?;
    folder.write_json("generation_config.json", &generation(files))?;
    Ok(())
}

/// With every token that ends an answer.
fn generation(files: &ModelFiles) -> Value {
    let mut value = generation_config_json(files.config());
    value["eos_token_id"] = json!(files.stop_ids());
    value
}

fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::Bf16 => "bfloat16",
        _ => "float32",
    }
}
