//! What a path is, told by its content: a model, an adapter, chunks or a dataset.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use dyag_model::adapter::{CONFIG_FILE, WEIGHTS_FILE};
use dyag_text::JsonObjects;
use dyag_text::dataset::Format;

/// What there is to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Adapter,
    Chunks,
    Dataset,
}

impl Kind {
    /// With its article.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Model => "a model",
            Self::Adapter => "an adapter",
            Self::Chunks => "a file of chunks",
            Self::Dataset => "a dataset",
        }
    }
}

/// What lies at a path. What is not there, and what cannot be opened as that kind, is for the reader of that kind to refuse.
pub(super) fn of(name: &str) -> anyhow::Result<Kind> {
    let path = Path::new(name);
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    let is_named = |names: &[&str]| extension.as_ref().is_some_and(|extension| names.iter().any(|name| extension == name));
    if path.is_dir() {
        return of_folder(path);
    }
    if !path.exists() {
        return Ok(if is_named(&["json", "jsonl"]) { Kind::Dataset } else { Kind::Model });
    }
    if is_named(&["safetensors"]) {
        bail!("{name}: expected a model's or an adapter's folder, found one file of it; give the folder that it lies in");
    }
    let mut file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut start = Vec::new();
    file.by_ref().take(64).read_to_end(&mut start).with_context(|| format!("cannot read {name}"))?;
    if start.starts_with(b"GGUF") || is_named(&["gguf"]) {
        return Ok(Kind::Model);
    }
    let content = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&start).trim_ascii_start();
    match content.first() {
        // Perhaps all of it is white space.
        None | Some(b'{' | b'[') => {}
        Some(_) if is_named(&["json", "jsonl"]) => return Ok(Kind::Dataset),
        Some(_) => {
            let found = super::facts::one_line(&super::facts::excerpt(&String::from_utf8_lossy(content), 20));
            bail!(
                "{name}: expected a model (a folder or a GGUF file), an adapter's folder, or chunks, a dataset or questions in JSON, \
                 found a file that begins with \"{found}\""
            );
        }
    }
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let first = JsonObjects::new(BufReader::new(file), &Arc::from(path)).next_object();
    let is_chunk = first.is_ok_and(|first| {
        first.is_some_and(|(object, at)| {
            let has = |key: &str| object.contains_key(key);
            has("content") && (has("id") || has("source_id") || has("chunk_type")) && Format::of(&object, &at).is_err()
        })
    });
    Ok(if is_chunk { Kind::Chunks } else { Kind::Dataset })
}

fn of_folder(path: &Path) -> anyhow::Result<Kind> {
    let has = |name: &str| path.join(name).exists();
    match (has(CONFIG_FILE), has("config.json")) {
        (true, false) => Ok(Kind::Adapter),
        // A merged model may keep the configuration of the adapter that went into it.
        (true, true) if has(WEIGHTS_FILE) => Ok(Kind::Adapter),
        (false, false) if path.join("final").join(CONFIG_FILE).exists() => {
            bail!("{0}: expected a model or an adapter, found the output of a training; its adapter is {0}/final", path.display())
        }
        _ => Ok(Kind::Model),
    }
}
