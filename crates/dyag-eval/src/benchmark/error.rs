//! What can be wrong with a task.

use std::path::PathBuf;

use dyag_text::TextError;

/// Why a task cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// The file of the task cannot be read.
    #[error("cannot read the task {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no task.
    #[error("{}: {problem}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What the reader says, with line and column.
        problem: String,
    },
    /// A key of the task.
    #[error("{}: {key}: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What was expected and found.
        problem: String,
    },
    /// A document that does not fit the task.
    #[error("{place}: {key}: {problem}")]
    Document {
        /// File and line.
        place: String,
        /// The task's key that could not be applied to it.
        key: &'static str,
        /// What was expected and found.
        problem: String,
    },
    /// The file of documents.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file without documents.
    #[error("{}: expected at least {expected} documents, found {found}", path.display())]
    TooFew {
        /// The file.
        path: PathBuf,
        /// How many are needed.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}
