//! Models on their way out: merged with an adapter or as they came, into a Hugging Face folder or a GGUF file, row by row, so that no model is ever
//! in memory whole.

mod adapter;
mod config_json;
mod folder;
mod gguf;
mod metadata;
mod mixture;
mod rows;

use crate::error::ModelError;
use crate::files::WriteError;

pub use adapter::export_adapter;
pub use config_json::{config_json, generation_config_json};
pub use folder::{FolderOptions, export_weights};
pub use gguf::{GgufModel, GgufType, export_gguf};
pub use rows::Written;

/// Why a model could not be written. Nothing is then left under the final name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExportError {
    #[error(transparent)]
    Model(#[from] ModelError),

    #[error(transparent)]
    Write(#[from] WriteError),

    /// A weight that the wanted type cannot hold.
    #[error(
        "tensor `{name}`, row {row}, column {column}: the value {value} cannot be stored as {format}: expected a finite number within its range{hint}"
    )]
    Unstorable { name: String, row: usize, column: usize, value: f32, format: &'static str, hint: &'static str },

    /// Something of the model that the wanted kind of file has no place for.
    #[error("{what} cannot be written: {why}")]
    NoPlace { what: String, why: String },
}

impl ExportError {
    pub(crate) fn no_place(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::NoPlace { what: what.into(), why: why.into() }
    }
}
