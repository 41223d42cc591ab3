//! A cross-encoder of this machine behind the trait that searches know.

use std::path::Path;
use std::sync::Arc;

use dyag_kernels::Device as _;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::encoder::{Reranker as CrossEncoder, RerankerRecipe, TokenizedText};
use dyag_model::weights::RerankerModel;
use dyag_text::language_model::ModelFailure;
use dyag_text::{EncoderTokenizer, Reranker};

use super::open_tokenizer;

/// A cross-encoder with its tokenizer, and how its numbers become scores.
pub(super) struct LocalReranker {
    name: String,
    /// The beginning of the hash of all weights.
    hash: String,
    tokenizer: EncoderTokenizer,
    model: CrossEncoder<CpuDevice>,
    recipe: RerankerRecipe,
}

impl LocalReranker {
    /// Loads the model in `folder`.
    pub(super) fn open(folder: &Path, device: CpuDevice) -> anyhow::Result<Self> {
        let model = RerankerModel::load(folder)?;
        let recipe = RerankerRecipe::read(folder, &model.encoder.config)?;
        let tokenizer = open_tokenizer(folder, model.encoder.config.vocab_size)?;
        let source = &model.encoder.source;
        let (name, hash) = (source.name.clone(), source.content_hash()[..12].to_owned());
        Ok(Self { name, hash, tokenizer, model: CrossEncoder::new(Arc::new(device), &model), recipe })
    }

    fn failure(&self, problem: String) -> ModelFailure {
        ModelFailure { model: self.name.clone(), problem, fatal: true }
    }
}

impl Reranker for LocalReranker {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        let RerankerRecipe { activation, max_tokens } = &self.recipe;
        format!("model:{}@{}|score:{}|longest:{max_tokens}", self.name, self.hash, activation.name())
    }

    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, ModelFailure> {
        let RerankerRecipe { activation, max_tokens } = self.recipe;
        let encoder = self.model.encoder();
        let tokens = encoder.device().run(|| self.tokenizer.encode_pairs(query, passages, max_tokens));
        let tokens = tokens.map_err(|error| self.failure(error.to_string()))?;
        // Models of one type have tokenizers that count two.
        let n_types = encoder.config().n_token_types as u32;
        let pair = |types: &'_ [u32]| types.iter().all(|kind| *kind < n_types);
        let pairs: Vec<TokenizedText<'_>> = tokens
            .iter()
            .map(|tokens| TokenizedText { ids: &tokens.ids, types: if pair(&tokens.types) { &tokens.types } else { &[] } })
            .collect();
        if let Some(place) = pairs.iter().position(|pair| pair.ids.is_empty()) {
            return Err(self.failure(format!("expected tokens, found none for passage {place}: the tokenizer adds no special tokens")));
        }
        let logits = self.model.logits(&pairs);
        match logits.iter().position(|logit| !logit.is_finite()) {
            None => Ok(logits.into_iter().map(|logit| activation.apply(logit)).collect()),
            Some(place) => Err(self.failure(format!(
                "expected a finite score, found {}, for passage {place} of {} tokens: the weights are damaged",
                logits[place],
                pairs[place].ids.len()
            ))),
        }
    }
}
