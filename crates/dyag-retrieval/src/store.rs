//! What every place that keeps collections can do, and what is asked of it.

use std::collections::BTreeMap;

use dyag_text::chunk::Chunk;

use crate::analysis::QueryTerm;
use crate::description::Description;
use crate::error::RetrievalError;
use crate::filter::Filter;

/// The terms of a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LexicalQuery {
    /// Terms, each once.
    pub terms: Vec<QueryTerm>,
}

/// A passage with its score, larger is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The chunk's id.
    pub id: String,
    /// BM25 for terms, the cosine for vectors.
    pub score: f32,
}

/// A collection that can be searched. Rankings are by score, then by id in byte order, so that every store gives the same one.
pub trait Store {
    /// What the collection is.
    fn description(&self) -> &Description;

    /// The `k` passages with the largest BM25 over the query's terms, among those that pass the filter; only passages that have a term.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    fn lexical(&self, query: &LexicalQuery, k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError>;

    /// The `k` passages whose vectors have the largest cosine with `vector` (of length 1), among those that pass the filter.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    fn nearest(&self, vector: &[f32], k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError>;

    /// The passages of these ids, in their order.
    ///
    /// # Errors
    /// An id that is not there; see [`RetrievalError`].
    fn chunks(&self, ids: &[&str]) -> Result<Vec<Chunk>, RetrievalError>;

    /// In how many passages each term stands.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    fn document_frequencies(&self, terms: &[QueryTerm]) -> Result<Vec<u64>, RetrievalError>;

    /// Words of the collection that a folded word which is not in it may mean, the likeliest first; none for a store that cannot look.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    fn similar_words(&self, word: &str) -> Result<Vec<String>, RetrievalError>;

    /// Every passage, in the order of ids; the first error of `each` ends it.
    ///
    /// # Errors
    /// Those of `each`; see [`RetrievalError`].
    fn each_chunk(&self, each: &mut dyn FnMut(Chunk) -> Result<(), RetrievalError>) -> Result<(), RetrievalError>;

    /// Compares everything with what was written.
    ///
    /// # Errors
    /// The first thing that is not as it was written.
    fn verify(&self) -> Result<(), RetrievalError>;

    /// Bytes that the collection takes, by part, as far as its place tells.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    fn sizes(&self) -> Result<BTreeMap<String, u64>, RetrievalError>;
}

impl dyn Store + '_ {
    /// All passages, in the order of ids.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    pub fn all_chunks(&self) -> Result<Vec<Chunk>, RetrievalError> {
        let mut chunks = Vec::with_capacity(self.description().n_chunks.min(1 << 20));
        self.each_chunk(&mut |chunk| {
            chunks.push(chunk);
            Ok(())
        })?;
        Ok(chunks)
    }
}
