//! An encoder of this machine: vectors of texts, and of their tokens.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use dyag_eval::metrics::layer_of;
use dyag_kernels::Device as _;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_model::encoder::{EmbeddingRecipe, Encoder, Pooling, TokenizedText, model_max_length, pool};
use dyag_model::weights::EncoderModel;
use dyag_text::language_model::ModelFailure;
use dyag_text::{EachText, Embedder, EncoderTokenizer, EncoderTokens, TextRole, TokenEncoder, TokenVectors};

use super::open_tokenizer;

/// An encoder with its tokenizer, and how its vectors are made.
pub(crate) struct LocalEncoder {
    name: String,
    /// The beginning of the hash of all weights.
    hash: String,
    tokenizer: EncoderTokenizer,
    encoder: Encoder<CpuDevice>,
    recipe: EmbeddingRecipe,
    /// Layer that BERTScore looks at.
    layer: usize,
    /// Longest text of BERTScore, in tokens.
    longest: usize,
}

impl LocalEncoder {
    /// Loads the model in `folder`.
    pub(crate) fn open(folder: &Path, layer: Option<usize>, device: CpuDevice) -> anyhow::Result<Self> {
        let model = EncoderModel::load(folder)?;
        let recipe = EmbeddingRecipe::read(folder, model.config.hidden_size, model.config.max_tokens())?;
        let n_layers = model.config.n_layers;
        let tokenizer = open_tokenizer(folder, model.config.vocab_size)?;
        let name = model.source.name.clone();
        let layer = layer.unwrap_or_else(|| layer_of(&name, n_layers));
        if layer > n_layers {
            bail!("--encoder-layer: expected at most {n_layers}, the layers of {name}, found {layer}");
        }
        let longest = model_max_length(folder)?.unwrap_or(usize::MAX).min(model.config.max_tokens());
        let hash = model.source.content_hash()[..12].to_owned();
        let encoder = Encoder::new(Arc::new(device), &model.config, &model.weights);
        Ok(Self { name, hash, tokenizer, encoder, recipe, layer, longest })
    }

    /// What it is and what was chosen for it, for people.
    pub(super) fn summary(&self) -> String {
        let config = self.encoder.config();
        let pooling: Vec<&str> = self.recipe.pooling.iter().map(|kind| kind.name()).collect();
        format!(
            "{} ({}, {} layers of {}), BERTScore after layer {}, vectors by {} ({})",
            self.name,
            config.family,
            config.n_layers,
            config.hidden_size,
            self.layer,
            pooling.join(" and "),
            self.recipe.origin
        )
    }

    fn failure(&self, problem: String) -> ModelFailure {
        ModelFailure { model: self.name.clone(), problem, fatal: true }
    }

    fn tokens(&self, texts: &[String], longest: usize) -> Result<Vec<EncoderTokens>, ModelFailure> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = self.encoder.device().run(|| self.tokenizer.encode(&texts, longest));
        tokens.map_err(|error| self.failure(error.to_string()))
    }

    /// Gives the states of each text's tokens after `layer` layers to `each`; `None`: those of the first tokens alone, after all layers.
    fn visit(&self, tokens: &[EncoderTokens], layer: Option<usize>, each: &mut dyn FnMut(usize, &[f32])) -> Result<(), ModelFailure> {
        let n_types = self.encoder.config().n_token_types;
        let texts: Vec<TokenizedText<'_>> = tokens
            .iter()
            .map(|EncoderTokens { ids, types, .. }| {
                // Models of one type have tokenizers that count two.
                let types = if types.iter().all(|kind| (*kind as usize) < n_types) { &types[..] } else { &[] };
                TokenizedText { ids, types }
            })
            .collect();
        let mut bad = None;
        let mut look = |text: usize, states: &[f32]| {
            if states.iter().all(|value| value.is_finite()) {
                each(text, states);
                return ControlFlow::Continue(());
            }
            bad = Some(text);
            ControlFlow::Break(())
        };
        match layer {
            Some(layer) => self.encoder.visit(&texts, layer, &mut look),
            None => self.encoder.visit_first(&texts, &mut look),
        }
        match bad {
            None => Ok(()),
            Some(text) => Err(self.failure(format!(
                "expected finite numbers after layer {}, found others, for a text of {} tokens: the weights are damaged",
                layer.unwrap_or(self.encoder.config().n_layers),
                texts[text].ids.len()
            ))),
        }
    }
}

impl TokenEncoder for LocalEncoder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        format!("model:{}@{}|layer:{}|longest:{}", self.name, self.hash, self.layer, self.longest)
    }

    fn encode_tokens(&self, texts: &[&str], each: &mut EachText<'_>) -> Result<(), ModelFailure> {
        let special = self.tokenizer.special_ids();
        let texts: Vec<String> = texts.iter().map(|text| self.for_bertscore(text)).collect();
        let tokens = self.tokens(&texts, self.longest)?;
        let width = self.encoder.config().hidden_size;
        self.visit(&tokens, Some(self.layer), &mut |text, states| {
            let counts = tokens[text].ids.iter().map(|id| !special.contains(id)).collect();
            each(text, TokenVectors { width, values: states.to_vec(), counts });
        })
    }
}

impl LocalEncoder {
    /// A text as bert-score gives it to the tokenizer: without the white space around it (Python's, which has four separators more than Unicode's), and where words carry the space before them,
    /// with one before the first.
    fn for_bertscore(&self, text: &str) -> String {
        let text = text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c));
        let space = if self.tokenizer.is_byte_level() && !text.is_empty() { " " } else { "" };
        format!("{space}{text}")
    }
}

impl Embedder for LocalEncoder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        signature(&self.name, &self.hash, &self.recipe)
    }

    fn dimension(&self) -> usize {
        self.recipe.pooling.len() * self.encoder.config().hidden_size
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let EmbeddingRecipe { pooling, normalize, max_tokens, .. } = &self.recipe;
        let tokens = self.tokens(&prepared(&self.recipe, texts, role), *max_tokens)?;
        let config = self.encoder.config();
        let layer = (pooling[..] != [Pooling::Cls]).then_some(config.n_layers);
        let mut vectors = vec![Vec::new(); texts.len()];
        self.visit(&tokens, layer, &mut |text, states| vectors[text] = pool(states, config.hidden_size, pooling, *normalize))?;
        Ok(vectors)
    }
}

/// Texts as the tokenizer is given them: after the prompt of their role, in the case that the model reads.
pub(super) fn prepared(recipe: &EmbeddingRecipe, texts: &[&str], role: TextRole) -> Vec<String> {
    let prompt = match role {
        TextRole::Query => &recipe.query_prompt,
        TextRole::Document => &recipe.document_prompt,
        TextRole::Plain => &recipe.plain_prompt,
    };
    let prepare = |text: &&str| {
        let text = format!("{prompt}{text}");
        if recipe.lower_case { text.to_lowercase() } else { text }
    };
    texts.iter().map(prepare).collect()
}

/// [`Embedder::signature`] of a model and its recipe.
pub(super) fn signature(name: &str, hash: &str, recipe: &EmbeddingRecipe) -> String {
    let EmbeddingRecipe { pooling, normalize, max_tokens, lower_case, plain_prompt, origin: _, query_prompt, document_prompt } = recipe;
    let pooling: Vec<&str> = pooling.iter().map(|kind| kind.name()).collect();
    let case = if *lower_case { "|case:lower" } else { "" };
    let norm = if *normalize { "l2" } else { "none" };
    let roles = if query_prompt == plain_prompt && document_prompt == plain_prompt {
        String::new()
    } else {
        format!("|query:{query_prompt:?}|document:{document_prompt:?}")
    };
    format!("model:{name}@{hash}|pool:{}|norm:{norm}|longest:{max_tokens}|prompt:{plain_prompt:?}{roles}{case}", pooling.join("+"))
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
