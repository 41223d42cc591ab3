//! A decoder of this machine as an embedder: the states of its last layer, pooled as its folder says (Qwen3-Embedding and its like).

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use dyag_kernels::Device as _;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::decoder::{Decoder, WantedStates};
use dyag_model::encoder::{EmbeddingRecipe, Pooling, RecipeOrigin, pool};
use dyag_model::weights::Model;
use dyag_text::language_model::ModelFailure;
use dyag_text::{Embedder, EncoderTokenizer, TextRole};

use super::local::{prepared, signature};
use super::open_tokenizer;

/// A decoder with its tokenizer, and how its vectors are made.
pub(super) struct DecoderEmbedder {
    name: String,
    /// The beginning of the hash of all weights.
    hash: String,
    tokenizer: EncoderTokenizer,
    decoder: Decoder<CpuDevice>,
    recipe: EmbeddingRecipe,
}

impl DecoderEmbedder {
    /// Loads the model in `folder`.
    pub(super) fn open(folder: &Path, device: CpuDevice) -> anyhow::Result<Self> {
        let model = Model::load_headless(folder)?;
        let recipe = EmbeddingRecipe::read(folder, model.config.hidden_size, model.config.max_positions)?;
        if recipe.origin != RecipeOrigin::Files {
            bail!(
                "{}: expected modules.json, which says how a decoder's states become a vector, found none: fetch the folder as sentence-transformers has it",
                folder.display()
            );
        }
        let tokenizer = open_tokenizer(folder, model.config.vocab_size)?;
        let (name, hash) = (model.source.name.clone(), model.source.content_hash()[..12].to_owned());
        let decoder = Decoder::new(Arc::new(device), &model.config, &model.weights);
        Ok(Self { name, hash, tokenizer, decoder, recipe })
    }

    fn failure(&self, problem: String) -> ModelFailure {
        ModelFailure { model: self.name.clone(), problem, fatal: true }
    }
}

impl Embedder for DecoderEmbedder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        signature(&self.name, &self.hash, &self.recipe)
    }

    fn dimension(&self) -> usize {
        self.recipe.pooling.len() * self.decoder.config().hidden_size
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let EmbeddingRecipe { pooling, normalize, max_tokens, .. } = &self.recipe;
        let prepared = prepared(&self.recipe, texts, role);
        let prepared: Vec<&str> = prepared.iter().map(String::as_str).collect();
        let tokens = self.decoder.device().run(|| self.tokenizer.encode(&prepared, *max_tokens));
        let tokens = tokens.map_err(|error| self.failure(error.to_string()))?;
        let ids: Vec<&[u32]> = tokens.iter().map(|tokens| &tokens.ids[..]).collect();
        let wanted = if pooling[..] == [Pooling::Last] { WantedStates::Last } else { WantedStates::All };
        let width = self.decoder.config().hidden_size;
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut bad = None;
        self.decoder.visit_states(&ids, wanted, &mut |text, states| {
            if !states.iter().all(|value| value.is_finite()) {
                bad = Some(text);
                return ControlFlow::Break(());
            }
            vectors[text] = pool(states, width, pooling, *normalize);
            ControlFlow::Continue(())
        });
        match bad {
            None => Ok(vectors),
            Some(text) => Err(self.failure(format!(
                "expected finite numbers after the last layer, found others, for a text of {} tokens: the weights are damaged",
                ids[text].len()
            ))),
        }
    }
}
