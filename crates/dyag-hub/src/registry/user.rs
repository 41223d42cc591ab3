//! A user's own models: `models.toml` in the folder of dyag's settings.
//!
//! ```toml
//! [models."intranet:1b"]
//! hub = "acme/model-1b@v2"        # or path = "/srv/models/model-1b"
//! memory_min_gb = 3               # the rest may be left out
//! memory_recommended_gb = 6
//! batch_size = 4
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{Advice, Entry, Source};
use crate::name::HubName;

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A file of a user's own models that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct RegistryError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// What was expected and found.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    models: BTreeMap<String, Spanned<Model>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    hub: Option<Spanned<String>>,
    path: Option<Spanned<PathBuf>>,
    parameters: Option<String>,
    memory_min_gb: Option<f64>,
    memory_recommended_gb: Option<f64>,
    batch_size: Option<usize>,
    lora_rank: Option<usize>,
    cpu: Option<bool>,
    licence: Option<String>,
    #[serde(default)]
    gated: bool,
    context_tokens: Option<u32>,
    #[serde(default)]
    languages: Vec<String>,
    alternative: Option<String>,
}

/// The entries of a file; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, RegistryError> {
    let fail = |line, problem: String| RegistryError { path: path.to_owned(), line, problem };
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(facts) if facts.len() > MAX_BYTES => {
            return Err(fail(None, format!("expected a file of models of at most {MAX_BYTES} bytes, found {}", facts.len())));
        }
        Ok(_) => fs::read_to_string(path),
        Err(error) => Err(error),
    };
    let text = text.map_err(|error| fail(None, format!("cannot be read: {error}")))?;
    let line_of = |at: usize| Some(1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count());
    let file: File = toml::from_str(&text)
        .map_err(|error| fail(error.span().and_then(|span| line_of(span.start)), error.message().replace('\n', "; ")))?;
    let mut entries = Vec::new();
    for (key, model) in file.models {
        let at = model.span().start;
        let entry = entry(key.clone(), model.into_inner(), path);
        entries.push(entry.map_err(|(place, problem)| fail(line_of(place.unwrap_or(at)), format!("models.{key:?}: {problem}")))?);
    }
    Ok(entries)
}

type Problem = (Option<usize>, String);

fn entry(key: String, model: Model, file: &Path) -> Result<Entry, Problem> {
    let Model {
        hub,
        path,
        parameters,
        memory_min_gb,
        memory_recommended_gb,
        batch_size,
        lora_rank,
        cpu,
        licence,
        gated,
        context_tokens,
        languages,
        alternative,
    } = model;
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '\\' | '@')) {
        return Err((None, "expected a short name without spaces, /, \\ and @".to_owned()));
    }
    let source = match (hub, path) {
        (Some(hub), None) => {
            let at = hub.span().start;
            Source::Hub(hub.into_inner().parse::<HubName>().map_err(|error| (Some(at), format!("hub: {error}")))?)
        }
        (None, Some(path)) => {
            let at = path.span().start;
            let path = path.into_inner();
            if !path.is_absolute() {
                return Err((Some(at), format!("path: expected a path from the root, found {}", path.display())));
            }
            Source::Path(path)
        }
        (None, None) => return Err((None, "expected hub = \"organisation/name\" or path = \"/folder\", found neither".to_owned())),
        (Some(_), Some(path)) => return Err((Some(path.span().start), "expected hub or path, found both".to_owned())),
    };
    let advice = match (memory_min_gb, memory_recommended_gb) {
        (Some(minimum), Some(recommended)) => {
            if !(minimum > 0.0 && minimum <= recommended && recommended.is_finite()) {
                return Err((None, format!("expected 0 < memory_min_gb <= memory_recommended_gb, found {minimum} and {recommended}")));
            }
            let batch_size = batch_size.unwrap_or(4);
            if batch_size == 0 || batch_size > 4096 {
                return Err((None, format!("batch_size: expected 1 to 4096, found {batch_size}")));
            }
            Some(Advice {
                memory_min_gb: minimum,
                memory_recommended_gb: recommended,
                batch_size,
                lora_rank: lora_rank.unwrap_or(16),
                cpu: cpu.unwrap_or(true),
            })
        }
        (None, None) if batch_size.is_none() && lora_rank.is_none() && cpu.is_none() => None,
        _ => {
            return Err((
                None,
                "expected memory_min_gb and memory_recommended_gb together, with batch_size, lora_rank and cpu beside them".to_owned(),
            ));
        }
    };
    Ok(Entry { key, source, parameters, advice, licence, gated, context_tokens, languages, alternative, from: Some(file.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    fn with(text: &str) -> Result<Registry, RegistryError> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("models.toml"), text).expect("written");
        Registry::with_users(Some(folder.path()))
    }

    #[test]
    fn own_entries_are_added_and_replace_shipped_ones() {
        let registry = with(concat!(
            "[models.\"intranet:1b\"]\nhub = \"acme/model-1b@v2\"\nmemory_min_gb = 3\nmemory_recommended_gb = 6\nlicence = \"ours\"\n",
            "[models.phi3]\npath = \"/srv/phi3\"\n"
        ))
        .expect("read");
        let own = registry.by_key("intranet:1b").expect("there");
        assert_eq!((own.source.to_string().as_str(), own.advice.map(|advice| advice.batch_size)), ("acme/model-1b@v2", Some(4)));
        assert_eq!(registry.by_key("phi3").map(|entry| entry.source.clone()), Some(Source::Path("/srv/phi3".into())));
        assert_eq!(registry.entries().len(), Registry::built_in().entries().len() + 1);
        assert!(with("").is_ok_and(|registry| registry.entries().len() == Registry::built_in().entries().len()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, fragment) in [
            ("[models.a]\nhub = 3\n", 2, "expected a string"),
            ("[models.a]\nhub = \"b\"\n", 2, "organisation/name"),
            ("\n\n[models.a]\ngated = true\n", 3, "found neither"),
            ("[models.a]\nhub = \"b/c\"\nbatches = 3\n", 3, "batches"),
            ("[models.a\n", 1, ""),
            ("[models.a]\npath = \"b\"\n", 2, "from the root"),
            ("[models.a]\nhub = \"b/c\"\nmemory_min_gb = 3\n", 1, "together"),
            ("[models.\"a/b\"]\nhub = \"b/c\"\n", 1, "short name"),
            ("[models.a]\nhub = \"b/c\"\nmemory_min_gb = 7\nmemory_recommended_gb = 6\n", 1, "found 7 and 6"),
        ] {
            let error = with(text).expect_err(text);
            assert_eq!(error.line, Some(line), "{text}: {error}");
            assert!(error.to_string().contains(fragment) && error.to_string().contains("models.toml, line "), "{error}");
        }
    }
}
