//! What can go wrong with a collection.

use std::io;
use std::path::{Path, PathBuf};

use dyag_text::language_model::ModelFailure;

/// Why a collection could not be written, read or asked.
#[derive(Debug, thiserror::Error)]
pub enum RetrievalError {
    /// A file or folder that could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No such collection.
    #[error("{place}: expected a collection named {name:?}, found {found}; make it with dyag index-rag CHUNKS --collection {name}")]
    NoCollection {
        /// Folder or server.
        place: String,
        /// The name asked for.
        name: String,
        /// What is there.
        found: String,
    },
    /// A name that cannot be a folder's or a table's.
    #[error("collection name: expected 1 to 64 letters, digits, - or _, beginning with a letter or digit, found {name:?}")]
    BadName {
        /// The name.
        name: String,
    },
    /// A file of the collection that is not as it was written.
    #[error("{path}: expected {expected}, found {found}: the collection is damaged; make it again with dyag index-rag --rebuild")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is.
        found: String,
    },
    /// Another process writes the collection.
    #[error("{path}: another process is writing this collection; wait for it, or stop it")]
    Locked {
        /// The collection's folder.
        path: PathBuf,
    },
    /// A passage that cannot be indexed.
    #[error("chunk {id:?}: expected {expected}, found {found}")]
    Chunk {
        /// Its id.
        id: String,
        /// What was expected.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The embedder is not the one the collection was made with.
    #[error(
        "collection {collection:?} was embedded by {recorded}, and {found} would not give the same vectors; use the same embedder, or index again with --rebuild"
    )]
    OtherEmbedder {
        /// Name of the collection.
        collection: String,
        /// What its description says.
        recorded: String,
        /// What was opened.
        found: String,
    },
    /// A search by vectors where there are none.
    #[error(
        "collection {collection:?} has no vectors: it was made with --embedding-model none; search with --search lexical, or index it with an embedding model"
    )]
    NoVectors {
        /// Name of the collection.
        collection: String,
    },
    /// A search by vectors without an embedder.
    #[error(
        "collection {collection:?} was embedded by {recorded}: expected that embedder, found none; name its folder with --embedding-model, or use --search lexical"
    )]
    NoEmbedder {
        /// Name of the collection.
        collection: String,
        /// What its description says.
        recorded: String,
    },
    /// A server that keeps collections.
    #[error("{store}: {problem}")]
    Server {
        /// Which, without its password or key.
        store: String,
        /// What went wrong.
        problem: String,
    },
    /// The address of a store that cannot be read. Neither part holds a password or key.
    #[error("address of a store: expected {expected}, found {found}")]
    Address {
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A key that others could read on its way.
    #[error(
        "qdrant: the key would be sent over http to {host}, where everybody on the way can read it; expected https. Use an https address, unset QDRANT_API_KEY if the server needs none, or add --store-allow-http"
    )]
    OpenKey {
        /// The server's machine.
        host: String,
    },
    /// A reader's state of a collection was replaced on its server.
    #[error(
        "{store}: collection {collection:?} was indexed again while it was searched: this search began with generation {opened}, which is gone; run the command again"
    )]
    Replaced {
        /// Which server.
        store: String,
        /// Name of the collection.
        collection: String,
        /// The generation that was opened.
        opened: u64,
    },
    /// Terms that another version made.
    #[error(
        "collection {collection:?}: expected analysis {expected}, which this version of dyag makes, found {found}; index it again with --rebuild"
    )]
    OtherAnalysis {
        /// Name of the collection.
        collection: String,
        /// This version's.
        expected: u32,
        /// The collection's.
        found: u32,
    },
    /// The library behind the lexical index.
    #[error("{path}: lexical index: {problem}")]
    Lexical {
        /// The index' folder.
        path: PathBuf,
        /// What it said.
        problem: String,
    },
    /// An encoder that failed.
    #[error(transparent)]
    Encoder(#[from] ModelFailure),
    /// The watcher asked to stop.
    #[error("stopped; what was embedded is kept for the next run")]
    Stopped,
}

impl RetrievalError {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Io { action: "read", path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Io { action: "write", path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), expected: expected.into(), found: found.into() }
    }
}
