//! One encoder for BERT, RoBERTa and all who share their layers, on the kernels of the decoder.
//!
//! ```text
//! x = norm(word + type + position)
//! q, k, v = project(x)      a = attention(q, k, v), over the whole text      m = norm(project(a) + x)
//! h = act(project(m))                                                        y = norm(project(h) + m)
//! ```
//! Texts are laid end to end, without padding, those of similar length together. A text's states have the same bits whatever else is computed with it, and for any
//! number of threads.

mod layer;
mod pooling;
mod recipe;
mod reranker;

use std::ops::ControlFlow;
use std::sync::Arc;

use dyag_kernels::Device;
use dyag_kernels::device::AttentionSpan;

use crate::config::EncoderConfig;
use crate::weights::EncoderWeights;

pub use pooling::{Pooling, pool};
pub use recipe::{EmbeddingRecipe, RecipeOrigin, model_max_length};
pub use reranker::{Reranker, RerankerRecipe, ScoreActivation};

use layer::{Layer, Norm, Pass};

/// Tokens of a pass, about: enough that packing the weights is a small part of the work, few enough that activations stay in the last cache.
const TOKENS_A_PASS: usize = 1024;

/// A text as token ids.
#[derive(Clone, Copy, Debug)]
pub struct TokenizedText<'a> {
    /// Ids, special tokens included; at most [`EncoderConfig::max_tokens`].
    pub ids: &'a [u32],
    /// The type of each token; empty: all 0. The second text of a pair has type 1 in BERT.
    pub types: &'a [u32],
}

impl<'a> TokenizedText<'a> {
    /// A text of tokens of type 0.
    pub fn new(ids: &'a [u32]) -> Self {
        Self { ids, types: &[] }
    }
}

/// An encoder's frozen weights on a device, ready to compute.
pub struct Encoder<D: Device> {
    device: Arc<D>,
    config: EncoderConfig,
    words: D::Weight,
    positions: D::Weight,
    token_types: D::Weight,
    norm: Norm<D>,
    layers: Vec<Layer<D>>,
}

impl<D: Device> Encoder<D> {
    /// Puts the weights where `device` computes.
    pub fn new(device: Arc<D>, config: &EncoderConfig, weights: &EncoderWeights) -> Self {
        Self {
            words: device.load_weight(&weights.words),
            positions: device.load_weight(&weights.positions),
            token_types: device.load_weight(&weights.token_types),
            norm: Norm::load(&*device, &weights.norm),
            layers: weights.layers.iter().map(|weights| Layer::load(&*device, weights)).collect(),
            config: config.clone(),
            device,
        }
    }

    /// The device.
    pub fn device(&self) -> &Arc<D> {
        &self.device
    }

    /// The model's shape.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The states `[T, C]` of each text's tokens after `layer` layers (0: the embeddings), in the order of the texts.
    ///
    /// # Panics
    /// As [`Encoder::visit`].
    pub fn states(&self, texts: &[TokenizedText<'_>], layer: usize) -> Vec<Vec<f32>> {
        let mut all = vec![Vec::new(); texts.len()];
        self.visit(texts, layer, &mut |text, states| {
            all[text] = states.to_vec();
            ControlFlow::Continue(())
        });
        all
    }

    /// Gives the states `[T, C]` of each text's tokens after `layer` layers to `each`, with the text's place, the longest texts first; breaking ends it. No more than a few
    /// texts' states are in memory at a time.
    ///
    /// # Panics
    /// If the model has fewer layers, a text has more tokens than the model has positions, or an id or a type is not below the model's number of them.
    pub fn visit(&self, texts: &[TokenizedText<'_>], layer: usize, each: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>) {
        assert!(layer <= self.layers.len(), "the model has {} layers", self.layers.len());
        self.visit_wanted(texts, Wanted::All(layer), each);
    }

    /// As [`Encoder::visit`], but gives the state `[C]` of each text's first token alone, after all layers; nothing of a text without tokens. The last layer computes no other.
    ///
    /// # Panics
    /// As [`Encoder::visit`].
    pub fn visit_first(&self, texts: &[TokenizedText<'_>], each: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>) {
        self.visit_wanted(texts, Wanted::First, each);
    }

    fn visit_wanted(&self, texts: &[TokenizedText<'_>], wanted: Wanted, each: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>) {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|text| (std::cmp::Reverse(texts[*text].ids.len()), *text));
        let mut rest = &order[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(batch_len(rest, texts));
            let batch: Vec<TokenizedText<'_>> = some.iter().map(|text| texts[*text]).collect();
            let states = self.device.run(|| self.pass(&batch, wanted));
            let mut states = &states[..];
            for (text, tokenized) in some.iter().zip(&batch) {
                let n_rows = match wanted {
                    Wanted::All(_) => tokenized.ids.len(),
                    Wanted::First => tokenized.ids.len().min(1),
                };
                let (of_text, of_others) = states.split_at(n_rows * self.config.hidden_size);
                if each(*text, of_text).is_break() {
                    return;
                }
                states = of_others;
            }
            rest = others;
        }
    }

    /// The states that are wanted of a batch.
    fn pass(&self, texts: &[TokenizedText<'_>], wanted: Wanted) -> Vec<f32> {
        let rows = texts.iter().map(|text| text.ids.len()).sum();
        if rows == 0 {
            return Vec::new();
        }
        let mut at = 0;
        let spans: Vec<AttentionSpan> = texts
            .iter()
            .filter(|text| !text.ids.is_empty())
            .map(|text| {
                let tokens = at..at + text.ids.len();
                at = tokens.end;
                AttentionSpan { queries: tokens.clone(), prefix: 0..0, own: tokens }
            })
            .collect();
        let pass = Pass { device: &*self.device, config: &self.config, rows, spans: &spans };
        let mut x = self.embed(&pass, texts);
        match (wanted, self.layers.split_last()) {
            (Wanted::All(layer), _) => {
                for layer in &self.layers[..layer] {
                    x = layer.forward(&pass, &x);
                }
            }
            (Wanted::First, Some((last, below))) => {
                for layer in below {
                    x = layer.forward(&pass, &x);
                }
                let first: Vec<usize> = spans.iter().map(|span| span.own.start).collect();
                let of_first = |(i, span): (usize, &AttentionSpan)| AttentionSpan { queries: i..i + 1, ..span.clone() };
                let spans: Vec<AttentionSpan> = spans.iter().enumerate().map(of_first).collect();
                x = last.forward_rows(&pass, &x, &first, &Pass { rows: first.len(), spans: &spans, ..pass });
            }
            (Wanted::First, None) => unreachable!("a configuration has at least one layer"),
        }
        self.device.download(&x)
    }

    /// The normalised sums of word, type and position `[T, C]`.
    fn embed(&self, pass: &Pass<'_, D>, texts: &[TokenizedText<'_>]) -> D::Buffer {
        let EncoderConfig { hidden_size, vocab_size, n_token_types, .. } = self.config;
        let (mut words, mut types, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for TokenizedText { ids, types: of_text } in texts {
            assert!(ids.len() <= self.config.max_tokens(), "a text has more tokens than the model has positions");
            assert!(of_text.is_empty() || of_text.len() == ids.len(), "a token has one type");
            words.extend_from_slice(ids);
            types.extend((0..ids.len()).map(|token| of_text.get(token).copied().unwrap_or(0)));
            positions.extend(self.config.positions_of(ids));
        }
        assert!(words.iter().all(|id| (*id as usize) < vocab_size), "a token id is not below the vocabulary's {vocab_size}");
        assert!(types.iter().all(|kind| (*kind as usize) < n_token_types), "a token type is not below the model's {n_token_types}");
        let device = pass.device;
        let [mut x, mut of_type, mut of_position] = std::array::from_fn(|_| device.scratch(pass.rows * hidden_size));
        device.embed(&self.words, &words, &mut x);
        device.embed(&self.token_types, &types, &mut of_type);
        device.embed(&self.positions, &positions, &mut of_position);
        device.add(&mut x, &of_type);
        pass.norm(&x, Some(&of_position), &self.norm)
    }
}

/// What is wanted of a pass.
#[derive(Clone, Copy)]
enum Wanted {
    /// All tokens' states after so many layers.
    All(usize),
    /// The first tokens' states after all layers.
    First,
}

/// How many of the first texts go through the layers together.
fn batch_len(order: &[usize], texts: &[TokenizedText<'_>]) -> usize {
    let mut n_tokens = 0;
    let fits = |text: &&usize| {
        n_tokens += texts[**text].ids.len();
        n_tokens <= TOKENS_A_PASS
    };
    order.iter().take_while(fits).count().max(1)
}
