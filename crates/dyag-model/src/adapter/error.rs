//! What can be wrong with an adapter's files, or with what a user asks of one.

use std::path::PathBuf;

use crate::error::ModelError;
use crate::files::WriteError;

/// Why an adapter cannot be read, made or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AdapterError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("{} is not JSON: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },

    /// A key of adapter_config.json whose value cannot be what it is.
    #[error("{}: key `{key}`: expected {expected}, found {found}", path.display())]
    Key { path: PathBuf, key: String, expected: String, found: String },

    /// A feature of PEFT that changes the numbers and that this program does not have.
    #[error("{}: {feature} is not supported (key `{key}` is {value}); {advice}", path.display())]
    Unsupported { path: PathBuf, feature: String, key: String, value: String, advice: String },

    #[error("{pattern:?} ({place}) is not a regular expression: {reason}")]
    Pattern { place: String, pattern: String, reason: String },

    /// A key of `rank_pattern` or `alpha_pattern` as a user gave it, which names nothing.
    #[error(
        "{place} {pattern:?} matches no module that is adapted; it must match the end of a name, from its start or after a dot, such as {example}"
    )]
    PatternOfNothing { place: String, pattern: String, example: String },

    #[error("the adapter acts on no matrix of this {family} model: {what}; its adaptable modules are {known}")]
    NoTarget { family: String, what: String, known: String },

    #[error("the adapter acts on module `{module}`, which cannot be adapted here; adaptable are {known} of each layer")]
    ForeignTarget { module: String, known: String },

    #[error("unknown target module {name:?} for a {family} model: {advice}")]
    UnknownTarget { name: String, family: String, advice: String },

    #[error("rank {rank} is out of range: expected 1 to {}", super::MAX_RANK)]
    Rank { rank: usize },

    #[error("{} is not there, and {} is a Python pickle: load it in PEFT and save it with safe_serialization", path.display(), pickle.display())]
    Pickle { path: PathBuf, pickle: PathBuf },

    #[error(transparent)]
    Model(#[from] ModelError),

    #[error("{}: tensor `{name}` is missing; adapter_config.json makes the adapter act there (expected shape {expected:?})", path.display())]
    MissingTensor { path: PathBuf, name: String, expected: Vec<usize> },

    #[error("{}: tensor `{name}` belongs nowhere: {reason}", path.display())]
    ExtraTensor { path: PathBuf, name: String, reason: String },

    #[error(
        "{}: tensor `{name}` has shape {found:?} and this base model takes {expected:?}: the adapter was made for another base, or its configuration was changed",
        path.display()
    )]
    Shape { path: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },

    #[error("{}: tensor `{name}` holds a value that is not finite ({value}, at element {index})", path.display())]
    NotFinite { path: PathBuf, name: String, index: usize, value: f32 },

    #[error(transparent)]
    Write(#[from] WriteError),
}
