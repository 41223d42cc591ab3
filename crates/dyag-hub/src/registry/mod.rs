//! The registry: short names of models and what is known about them.

mod batch;
mod table;
mod user;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::name::{HubName, RepoId};
use table::Given;

pub use batch::{BatchAdvice, batch_advice};
pub use user::RegistryError;

/// Name of the file with a user's own entries, in the folder of dyag's settings.
const USER_FILE: &str = "models.toml";

/// The short name of the model that the program holds.
pub const EMBEDDED_MODEL: &str = "dyag-tiny";

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The model hub.
    Hub(HubName),
    /// A folder or a GGUF file of this machine.
    Path(PathBuf),
    /// The program holds it.
    Embedded,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(name) => name.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Embedded => f.write_str("in the program"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What training a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Memory below which only the smallest batch is advised, in GB (10^9 bytes).
    pub memory_min_gb: f64,
    /// Memory with which the batch size below is advised, in GB.
    pub memory_recommended_gb: f64,
    /// Examples of a micro-batch.
    pub batch_size: usize,
    /// Rank of an adapter.
    pub lora_rank: usize,
    /// Whether a processor is enough for it.
    pub cpu: bool,
}

/// One model of the registry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The short name.
    pub key: String,
    /// Where it comes from.
    pub source: Source,
    /// How many parameters it has, as people say it, such as `1.5B`.
    pub parameters: Option<String>,
    /// What training it takes.
    pub advice: Option<Advice>,
    /// The licence, by the identifier that the hub uses.
    pub licence: Option<String>,
    /// Whether its files are given only to accounts that accepted its terms.
    pub gated: bool,
    /// Tokens of a text that it was made for.
    pub context_tokens: Option<u32>,
    /// Codes of languages that its card names; `others` where there are more.
    pub languages: Vec<String>,
    /// For a gated model, the short name of one that needs no account.
    pub alternative: Option<String>,
    /// The file that the entry stands in, when it is a user's own.
    pub from: Option<PathBuf>,
}

/// All models that have a short name.
#[derive(Clone, Debug)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// The models that ship with this program.
    pub fn built_in() -> Self {
        Self { entries: table::ROWS.iter().map(built_in_entry).chain([embedded_entry()]).collect() }
    }

    /// The same with the user's own of `models.toml` in the folder of dyag's settings, when there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or says something that is not understood: with its line.
    pub fn with_users(config_folder: Option<&Path>) -> Result<Self, RegistryError> {
        let mut registry = Self::built_in();
        if let Some(folder) = config_folder {
            for entry in user::read(&folder.join(USER_FILE))? {
                registry.entries.retain(|other| other.key != entry.key);
                registry.entries.push(entry);
            }
        }
        Ok(registry)
    }

    /// All models, the shipped ones first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The model of that short name, whatever its case.
    pub fn by_key(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key))
    }

    /// The model that comes from that repository of the hub.
    pub fn by_repo(&self, repo: &RepoId) -> Option<&Entry> {
        let text = repo.to_string();
        self.entries.iter().find(|entry| match &entry.source {
            Source::Hub(name) => name.repo.to_string().eq_ignore_ascii_case(&text),
            Source::Path(_) | Source::Embedded => false,
        })
    }

    /// Names that somebody who typed `text` may have meant, the likeliest first; three at most. `more` are names beside the registry's.
    pub fn suggestions(&self, text: &str, more: &[String]) -> Vec<String> {
        let wanted = text.to_ascii_lowercase();
        let names = self.entries.iter().flat_map(|entry| match &entry.source {
            Source::Hub(name) => vec![entry.key.clone(), name.repo.to_string()],
            Source::Path(_) | Source::Embedded => vec![entry.key.clone()],
        });
        let mut near: Vec<(usize, String)> = names
            .chain(more.iter().cloned())
            .filter_map(|name| {
                let other = name.to_ascii_lowercase();
                let distance = strsim::damerau_levenshtein(&wanted, &other);
                // A third of the letters may be wrong, and what was typed may be the beginning of a name.
                let is_beginning = wanted.len() >= 3 && other.starts_with(&wanted);
                (distance <= wanted.len().max(other.len()) / 3 || is_beginning).then_some((distance, name))
            })
            .collect();
        near.sort();
        near.dedup_by(|a, b| a.1 == b.1);
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }
}

fn embedded_entry() -> Entry {
    Entry {
        key: EMBEDDED_MODEL.to_owned(),
        source: Source::Embedded,
        parameters: Some("4M".to_owned()),
        advice: Some(Advice { memory_min_gb: 0.2, memory_recommended_gb: 0.5, batch_size: 4, lora_rank: 16, cpu: true }),
        licence: Some(env!("CARGO_PKG_LICENSE").to_owned()),
        gated: false,
        context_tokens: Some(2048),
        languages: vec!["fr".to_owned(), "en".to_owned()],
        alternative: None,
        from: None,
    }
}

fn built_in_entry(row: &table::Row) -> Entry {
    let Given(memory_min_gb, memory_recommended_gb, batch_size, lora_rank, cpu) = row.advice();
    Entry {
        key: row.key.to_owned(),
        source: Source::Hub(row.hub.parse().expect("a test reads every row")),
        parameters: Some(row.parameters.to_owned()),
        advice: Some(Advice { memory_min_gb, memory_recommended_gb, batch_size, lora_rank, cpu }),
        licence: Some(row.licence.to_owned()),
        gated: row.gated,
        context_tokens: Some(row.context_tokens),
        languages: row.languages.split(' ').map(str::to_owned).collect(),
        alternative: row.alternative.map(str::to_owned),
        from: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_five_rows_are_as_they_were() {
        let registry = Registry::built_in();
        for (key, hub, parameters, minimum, recommended, batch, rank, cpu, gated) in [
            ("tinyllama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "1.1B", 2.0, 4.0, 4, 16, true, false),
            ("llama3.2:1b", "meta-llama/Llama-3.2-1B-Instruct", "1B", 3.0, 6.0, 4, 16, false, true),
            ("llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct", "8B", 12.0, 16.0, 1, 32, false, true),
            ("phi3", "microsoft/Phi-3-mini-4k-instruct", "3.8B", 6.0, 8.0, 2, 16, false, false),
            ("qwen2.5:1.5b", "Qwen/Qwen2.5-1.5B-Instruct", "1.5B", 3.0, 6.0, 4, 16, true, false),
        ] {
            let entry = registry.by_key(key).expect(key);
            let advice = Advice { memory_min_gb: minimum, memory_recommended_gb: recommended, batch_size: batch, lora_rank: rank, cpu };
            assert_eq!((entry.source.to_string().as_str(), entry.parameters.as_deref()), (hub, Some(parameters)));
            assert_eq!((entry.advice, entry.gated), (Some(advice), gated), "{key}");
        }
    }

    #[test]
    fn every_row_is_whole() {
        let registry = Registry::built_in();
        for entry in registry.entries() {
            let key = &entry.key;
            assert_eq!(registry.entries().iter().filter(|other| other.key == *key).count(), 1, "{key} is there once");
            assert!(entry.licence.is_some() && entry.context_tokens.is_some_and(|tokens| tokens >= 2048), "{key}");
            assert!(!entry.languages.is_empty(), "{key}");
            let advice = entry.advice.expect(key);
            assert!(advice.memory_min_gb < advice.memory_recommended_gb, "{key}: {advice:?}");
            // A gated model has an alternative that is not gated, in the registry.
            let alternative = entry.alternative.as_ref().map(|other| registry.by_key(other).expect(other));
            assert_eq!(entry.gated, alternative.is_some(), "{key}");
            assert!(alternative.is_none_or(|other| !other.gated), "{key}");
        }
        for key in ["qwen2.5:0.5b", "qwen3:0.6b", "llama3.2:3b", "smollm2:135m", "mistral:7b", "gemma3:1b", "qwen2.5-coder:1.5b"] {
            assert!(registry.by_key(key).is_some(), "{key}");
        }
    }

    #[test]
    fn names_are_found_whatever_their_case_and_mistyped_ones_are_guessed() {
        let registry = Registry::built_in();
        assert_eq!(registry.by_key("Qwen2.5:1.5B").map(|entry| entry.key.as_str()), Some("qwen2.5:1.5b"));
        let repo = RepoId::new("qwen", "qwen3-0.6b").expect("a name");
        assert_eq!(registry.by_repo(&repo).map(|entry| entry.key.as_str()), Some("qwen3:0.6b"));
        for (typed, meant) in [
            ("qwen2.5:1.5", "qwen2.5:1.5b"),
            ("qwen25:1.5b", "qwen2.5:1.5b"),
            ("tinylama", "tinyllama"),
            ("lama3.2:1b", "llama3.2:1b"),
            ("ph3", "phi3"),
            ("Qwen/Qwen2.5-1.5B-Instuct", "Qwen/Qwen2.5-1.5B-Instruct"),
            ("gemma", "gemma3:1b"),
        ] {
            assert_eq!(registry.suggestions(typed, &[]).first().map(String::as_str), Some(meant), "{typed}");
        }
        assert_eq!(registry.suggestions("my-documents", &[]), Vec::<String>::new());
        assert_eq!(registry.suggestions("acme/modl", &["acme/model".to_owned()]), ["acme/model"]);
    }
}
