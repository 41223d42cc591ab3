//! Search over passages: a lexical index and vectors in one folder, fused rankings, and what a question's answer is drawn from.
//!
//! [`Analyzer`] makes terms of texts, the same for every store. A [`Store`] holds the passages of a collection and ranks them by terms and by vectors: [`LocalStore`] in a folder of
//! this machine. [`Retriever`] asks a store, fuses its rankings, has a reranker look at the best and says how sure that is. This crate knows no model: encoders come as the traits
//! of dyag-text.

#![forbid(unsafe_code)]

mod analysis;
mod bm25;
mod citation;
mod confidence;
mod description;
mod error;
mod filter;
mod focus;
mod fusion;
mod indexing;
mod local;
mod remote;
mod retriever;
mod similar;
mod store;
#[cfg(test)]
mod testing;

pub use analysis::{Analyzer, Field, Language, QueryTerm, Terms, fingerprint, searched_text};
pub use citation::{Citation, citations};
pub use confidence::{Confidence, Verdict};
pub use description::{Description, EmbedderRecord};
pub use error::RetrievalError;
pub use filter::{Filter, FilterError};
pub use focus::Focus;
pub use fusion::{RRF_CONSTANT, fuse};
pub use indexing::{IndexEvent, IndexOptions, IndexReport, Watcher};
pub use local::{LocalStore, collections, index, remove, verify};
pub use remote::{Credentials, RemotePlace};
pub use retriever::{Found, Hit, Place, Ranking, Retriever, SearchOptions, Stages};
pub use store::{LexicalQuery, Scored, Store};
