//! What is written down about a collection: how it was analysed and embedded, so that nothing else asks it.

use serde::{Deserialize, Serialize};

use crate::analysis::Language;
use crate::error::RetrievalError;

/// How terms are made; a collection with another number is made anew.
pub(crate) const ANALYSIS_VERSION: u32 = 1;

/// The embedder whose vectors a collection holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderRecord {
    /// Its name.
    pub name: String,
    /// Everything that vectors depend on: hash of the weights, pooling, prefixes, longest text.
    pub signature: String,
    /// Numbers of a vector.
    pub dimension: usize,
}

impl EmbedderRecord {
    /// In one line, for messages.
    pub fn words(&self) -> String {
        format!("{} ({} numbers; {})", self.name, self.dimension, self.signature)
    }
}

/// What a collection is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Its name.
    pub collection: String,
    /// Passages.
    pub n_chunks: usize,
    /// Documents they come from.
    pub n_documents: usize,
    /// Languages of the passages; a question is analysed in each.
    pub languages: Vec<Language>,
    /// How terms were made.
    pub analysis_version: u32,
    /// The embedder, where there is one.
    pub embedder: Option<EmbedderRecord>,
    /// Where it was when the collection was made, as it was named.
    pub embedding_model: Option<String>,
    /// Mean and standard deviation of the cosine of a question with passages of other documents: what "unrelated" is for this embedder and collection.
    pub unrelated_cosine: Option<(f64, f64)>,
    /// When it was made, in UTC.
    pub created_at: String,
    /// Increases with every writing.
    pub generation: u64,
}

impl Description {
    /// Whether an embedder gives the vectors of this collection.
    ///
    /// # Errors
    /// It does not, or the collection has none.
    pub fn expect_embedder(&self, found: Option<&EmbedderRecord>) -> Result<(), RetrievalError> {
        let collection = self.collection.clone();
        match (&self.embedder, found) {
            (None, _) => Err(RetrievalError::NoVectors { collection }),
            (Some(recorded), None) => Err(RetrievalError::NoEmbedder { collection, recorded: recorded.words() }),
            (Some(recorded), Some(found)) if recorded.signature != found.signature || recorded.dimension != found.dimension => {
                Err(RetrievalError::OtherEmbedder { collection, recorded: recorded.words(), found: found.words() })
            }
            (Some(_), Some(_)) => Ok(()),
        }
    }
}
