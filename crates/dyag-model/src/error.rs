//! Every way a model's files can be wrong.

use std::path::{Path, PathBuf};

/// A model could not be read. Messages say which file, what was expected there, what was found, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path holds no model of a known kind.
    #[error("{} is not a model: {why}", path.display())]
    NotAModel {
        /// What was given.
        path: PathBuf,
        /// What is missing, and what would do.
        why: String,
    },
    /// A file ends before what its own header announces.
    #[error("{}: {what} ends at byte {expected}, but the file has {found} bytes: it is truncated or damaged; fetch it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The part that reaches past the end.
        what: String,
        /// Where the part ends, by the header.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// A file breaks its format's rules.
    #[error("{}: {what}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part that is wrong: a tensor, a metadata key, the header.
        what: String,
        /// What the format asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A JSON file is not JSON.
    #[error("{} is not JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A configuration lacks a key that has no default.
    #[error("{}: the key `{key}` is missing; the model's configuration must have it", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A configuration value is out of the question.
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The model is of a family that is not known here.
    #[error("{}: `{key}` is {found}, an unsupported architecture; supported: {known}", path.display())]
    UnsupportedArchitecture {
        /// The file.
        path: PathBuf,
        /// The key that names the family.
        key: String,
        /// The name.
        found: String,
        /// The families that are known.
        known: String,
    },
    /// The model asks for something that would change its numbers and that is not done here.
    #[error("{}: `{key}` is {found}, which is not supported: {why}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What is supported, or why this is not.
        why: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{}: the tensor `{name}` is missing; a {family} model of this configuration must have it", path.display())]
    MissingTensor {
        /// The file or folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The family.
        family: String,
    },
    /// A tensor that the architecture does not know is there.
    #[error("{}: the tensor `{name}` has no place in a {family} model of this configuration; results without it would be wrong", path.display())]
    UnexpectedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The family.
        family: String,
    },
    /// A tensor's shape is not what the configuration asks for.
    #[error("{}: the tensor `{name}` has shape {found:?}, expected {expected:?} from the configuration", path.display())]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Shape by the configuration.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's elements are of a type that is not read here.
    #[error("{}: the tensor `{name}` has type {found}; supported: {supported}", path.display())]
    UnsupportedType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
        /// The types that would do.
        supported: String,
    },
}

impl ModelError {
    /// The system's error about `path`.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// A [`ModelError::Malformed`].
    pub(crate) fn malformed(path: &Path, what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.into(), expected: expected.into(), found: found.into() }
    }

    /// A [`ModelError::BadValue`].
    pub(crate) fn bad_value(path: &Path, key: impl Into<String>, expected: impl Into<String>, found: impl ToString) -> Self {
        Self::BadValue { path: path.to_owned(), key: key.into(), expected: expected.into(), found: found.to_string() }
    }

    /// A [`ModelError::Unsupported`].
    pub(crate) fn unsupported(path: &Path, key: impl Into<String>, found: impl ToString, why: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), key: key.into(), found: found.to_string(), why: why.into() }
    }
}
