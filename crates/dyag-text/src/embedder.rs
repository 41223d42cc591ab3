//! What a judge or a search needs of an encoder or a reranker, whichever engine runs it.

use crate::language_model::ModelFailure;

/// What a text is, for encoders that want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRole {
    /// It asks.
    Query,
    /// It is searched.
    Document,
    /// It is compared with others of its kind.
    Plain,
}

/// A model that makes one vector of a text.
pub trait Embedder {
    /// What results and messages call it: the name of its folder.
    fn name(&self) -> String;

    /// Everything that vectors depend on beside the text, in one line: the same line, the same vectors.
    fn signature(&self) -> String;

    /// Numbers of a vector.
    fn dimension(&self) -> usize;

    /// A vector for each text.
    ///
    /// # Errors
    /// See [`ModelFailure`].
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ModelFailure>;
}

/// The vectors of a text's tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenVectors {
    /// Numbers of a vector.
    pub width: usize,
    /// The vectors, one after the other.
    pub values: Vec<f32>,
    /// For each token, whether it stands for a part of the text: `false` for the special tokens around it.
    pub counts: Vec<bool>,
}

/// Receives the vectors of a text's tokens, with the text's place.
pub type EachText<'a> = dyn FnMut(usize, TokenVectors) + 'a;

/// A model that makes a vector of each token of a text, in its context.
pub trait TokenEncoder {
    /// What results and messages call it: the name of its folder.
    fn name(&self) -> String;

    /// Everything that vectors depend on beside the text, in one line.
    fn signature(&self) -> String;

    /// Gives the vectors of each text's tokens to `each`, in any order of texts.
    ///
    /// # Errors
    /// See [`ModelFailure`].
    fn encode_tokens(&self, texts: &[&str], each: &mut EachText<'_>) -> Result<(), ModelFailure>;
}

/// A model that reads a query and a passage together and says how well they go together.
pub trait Reranker {
    /// What results and messages call it: the name of its folder.
    fn name(&self) -> String;

    /// Everything that scores depend on beside the texts, in one line: the same line, the same scores.
    fn signature(&self) -> String;

    /// A score for each passage, in their order: the higher, the better. A passage's score does not depend on the passages beside it; what numbers mean differs from model to model.
    ///
    /// # Errors
    /// See [`ModelFailure`].
    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, ModelFailure>;

    /// The same numbers, but for rounding, for several queries, each with its passages: a model that reads a passage once for all of them gives them sooner. `on_pairs` is told how many pairs are scored.
    ///
    /// # Errors
    /// See [`ModelFailure`].
    fn score_all(&self, asked: &[(&str, Vec<&str>)], on_pairs: &mut dyn FnMut(usize)) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let mut n_scored = 0;
        let mut scored = |(query, passages): &(&str, Vec<&str>)| {
            let scores = self.score(query, passages)?;
            n_scored += passages.len();
            on_pairs(n_scored);
            Ok(scores)
        };
        asked.iter().map(&mut scored).collect()
    }
}
