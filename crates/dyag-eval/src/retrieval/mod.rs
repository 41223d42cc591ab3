//! What a search found, judged: over the rows of an evaluation ([`RetrievalReport`]), and as files that other tools read and write ([`run_file`]).
//!
//! The scores themselves are pure functions of ranked and judged ids, [`Ranking`](crate::metrics::Ranking) in [`crate::metrics`].

mod rows;
pub mod run_file;

pub use rows::{RETRIEVAL_METRICS, RetrievalReport};
