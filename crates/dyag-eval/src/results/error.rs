//! Every way a file of results can be refused.

use std::io;

/// A file of results that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file could not be opened or read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Text that is no JSON.
    #[error("{path}, line {line}: expected JSON, found something else ({reason})")]
    Syntax {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A number that is none.
    #[error("{path}, line {line}: {key}: expected a finite number, found {found}; leave the key out where nothing was measured")]
    NotFinite {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// The key, such as `results[3].metrics.f1`.
        key: String,
        /// `NaN`, `Infinity` or a number beyond what a double holds.
        found: String,
    },
    /// JSON that is not what stands in results.
    #[error("{path}: {key}: expected {expected}, found {found}")]
    Value {
        /// The file.
        path: String,
        /// The key, such as `results[3].tokens`; `file` for the whole.
        key: String,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
    },
}

/// What is wrong at a key, before the file's name is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { key: key.into(), expected: expected.into(), found: found.into() }
    }

    pub(super) fn in_file(self, path: &str) -> ResultsError {
        let Self { key, expected, found } = self;
        ResultsError::Value { path: path.to_owned(), key, expected, found }
    }
}
