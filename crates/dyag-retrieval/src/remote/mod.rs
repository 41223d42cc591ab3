//! Collections on servers: PostgreSQL with pgvector, and Qdrant.
//!
//! Terms, filters, fusion and the order of equal scores are those of the local store; a server holds and searches what [`crate::Analyzer`] and an embedder made here. A writer shows its work
//! all at once or not at all: one transaction in PostgreSQL, a new collection and one switch of an alias in Qdrant. A reader stays with the state that it opened; when that is gone, its
//! next question is an error that says so, never a mixture.

mod address;
mod postgres;
mod qdrant;
mod secret;
mod writer;

use dyag_text::Embedder;
use dyag_text::chunk::Chunk;

use crate::error::RetrievalError;
use crate::indexing::{IndexOptions, IndexReport, Watcher, checked_name};
use crate::store::Store;

use address::Place;
pub use address::{Credentials, RemotePlace};

impl RemotePlace {
    /// The address without password or key.
    pub fn shown(&self) -> &str {
        match &self.place {
            Place::Postgres(place) => &place.shown,
            Place::Qdrant(place) => &place.shown,
        }
    }

    /// Opens the collection `name`.
    ///
    /// # Errors
    /// No server, a server that refuses, no such collection.
    pub fn open(&self, name: &str) -> Result<Box<dyn Store>, RetrievalError> {
        checked_name(name)?;
        Ok(match &self.place {
            Place::Postgres(place) => Box::new(postgres::PostgresStore::open(place.clone(), name)?),
            Place::Qdrant(place) => Box::new(qdrant::QdrantStore::open(place, name)?),
        })
    }

    /// Names of the collections that dyag made there, in order.
    ///
    /// # Errors
    /// No server, a server that refuses.
    pub fn collections(&self) -> Result<Vec<String>, RetrievalError> {
        match &self.place {
            Place::Postgres(place) => postgres::collections(place),
            Place::Qdrant(place) => qdrant::collections(place),
        }
    }

    /// Makes the collection `name` hold `chunks`, those that came before for `options.add`, and nothing else, as [`crate::index`] does in a folder.
    ///
    /// # Errors
    /// Those of [`crate::index`]; no server, a server that refuses or goes away. The collection is then as it was.
    pub fn index(
        &self,
        name: &str,
        chunks: Vec<Chunk>,
        embedder: Option<&dyn Embedder>,
        options: &IndexOptions,
        watcher: &mut Watcher<'_>,
    ) -> Result<IndexReport, RetrievalError> {
        checked_name(name)?;
        match &self.place {
            Place::Postgres(place) => {
                let mut writer = postgres::PostgresWriter::open(place, name, embedder.is_some())?;
                writer::index(&mut writer, name, chunks, embedder, options, watcher)
            }
            Place::Qdrant(place) => {
                let mut writer = qdrant::QdrantWriter::open(place, name)?;
                writer::index(&mut writer, name, chunks, embedder, options, watcher)
            }
        }
    }
}
