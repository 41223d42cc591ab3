//! Cross-encoders: a query and a passage read together, and one number of how well they go together (Nogueira & Cho 2019).

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_kernels::Device;
use serde_json::Value;

use super::layer::Linear;
use super::{Encoder, TokenizedText, model_max_length};
use crate::config::EncoderConfig;
use crate::config::json::{self, Keys};
use crate::error::ModelError;
use crate::weights::RerankerModel;

/// A cross-encoder's frozen weights on a device, ready to compute.
pub struct Reranker<D: Device> {
    encoder: Encoder<D>,
    dense: Linear<D>,
    /// `[C]`, and what is added to the sum.
    out: (Vec<f32>, f32),
}

impl<D: Device> Reranker<D> {
    /// Puts the weights where `device` computes.
    pub fn new(device: Arc<D>, model: &RerankerModel) -> Self {
        let RerankerModel { encoder, head } = model;
        let mut out = vec![0.0; encoder.config.hidden_size];
        head.out.weight.widen_row(0, 0, &mut out);
        let dense = Linear::load(&*device, &head.dense);
        Self { encoder: Encoder::new(device, &encoder.config, &encoder.weights), dense, out: (out, head.out.bias[0]) }
    }

    /// The layers.
    pub fn encoder(&self) -> &Encoder<D> {
        &self.encoder
    }

    /// The number of each pair, before any activation function: `out(tanh(dense(x)))` of the first token's state. A pair's number has the same bits whatever else is scored with it.
    ///
    /// # Panics
    /// As [`Encoder::visit`], and when a pair has no tokens.
    pub fn logits(&self, pairs: &[TokenizedText<'_>]) -> Vec<f32> {
        let width = self.encoder.config.hidden_size;
        let mut states = vec![0.0; pairs.len() * width];
        self.encoder.visit_first(pairs, &mut |pair, state| {
            states[pair * width..(pair + 1) * width].copy_from_slice(state);
            ControlFlow::Continue(())
        });
        if pairs.is_empty() {
            return Vec::new();
        }
        let device = &*self.encoder.device;
        let dense = device.run(|| {
            let mut dense = device.scratch(states.len());
            device.linear(&self.dense.weight, &device.upload(&states), pairs.len(), Some(&self.dense.bias), None, &mut dense);
            device.download(&dense)
        });
        let (out, bias) = &self.out;
        let number = |row: &[f32]| {
            let terms = row.iter().zip(out).map(|(x, w)| f64::from(*x).tanh() * f64::from(*w));
            (terms.sum::<f64>() + f64::from(*bias)) as f32
        };
        dense.chunks_exact(width).map(number).collect()
    }
}

/// What makes a score of a cross-encoder's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreActivation {
    /// `1 / (1 + exp(-x))`: scores from 0 to 1.
    Sigmoid,
    /// The number itself.
    Identity,
}

impl ScoreActivation {
    /// Name in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Identity => "identity",
        }
    }

    /// The score.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Sigmoid => (1.0 / (1.0 + (-f64::from(x)).exp())) as f32,
            Self::Identity => x,
        }
    }
}

/// How a pair becomes a score: what the folder says in sentence-transformers' keys.
#[derive(Clone, Debug, PartialEq)]
pub struct RerankerRecipe {
    /// What makes a score of the model's number.
    pub activation: ScoreActivation,
    /// Longest pair, in tokens, special ones included; the longer text of a pair is cut first.
    pub max_tokens: usize,
}

impl RerankerRecipe {
    /// Reads what the folder at `path` says about the cross-encoder of `config`.
    ///
    /// # Errors
    /// A file that cannot be read, is not what it should be, or asks for what is not done here.
    pub fn read(path: &Path, config: &EncoderConfig) -> Result<Self, ModelError> {
        refuse_modules(&path.join("modules.json"))?;
        let max_tokens = model_max_length(path)?.unwrap_or(usize::MAX).min(config.max_tokens());
        let named = match of_settings(&path.join("config_sentence_transformers.json"))? {
            Some(named) => Some(named),
            None => of_config(&path.join("config.json"))?,
        };
        Ok(Self { activation: named.unwrap_or(ScoreActivation::Sigmoid), max_tokens })
    }
}

/// Newer files list a cross-encoder's modules: one, the model itself.
fn refuse_modules(path: &Path) -> Result<(), ModelError> {
    if !path.exists() {
        return Ok(());
    }
    let list = json::read(path)?;
    let kinds: Option<Vec<&str>> = list.as_array().and_then(|list| list.iter().map(|module| module["type"].as_str()).collect());
    let is_one = kinds.is_some_and(|kinds| kinds.len() == 1 && kinds[0].rsplit('.').next() == Some("Transformer"));
    match is_one {
        true => Ok(()),
        false => Err(ModelError::malformed(path, "the list of modules", "one Transformer, as a cross-encoder has", json::short(&list))),
    }
}

/// The activation function that config_sentence_transformers.json asks for.
fn of_settings(path: &PathBuf) -> Result<Option<ScoreActivation>, ModelError> {
    if !path.exists() {
        return Ok(None);
    }
    let object = json::read_object(path)?;
    let keys = Keys { path, object: &object, prefix: "" };
    if let Some(found) = keys.get("default_prompt_name") {
        return Err(ModelError::unsupported(
            path,
            "default_prompt_name",
            json::short(found),
            "a cross-encoder reads pairs without a prompt",
        ));
    }
    activation(keys, "activation_fn")
}

/// The one that config.json asks for, under the newer key or the older.
fn of_config(path: &PathBuf) -> Result<Option<ScoreActivation>, ModelError> {
    let object = json::read_object(path)?;
    let keys = Keys { path, object: &object, prefix: "" };
    match keys.get("sentence_transformers") {
        Some(Value::Object(object)) if object.contains_key("activation_fn") => {
            activation(Keys { path, object, prefix: "sentence_transformers." }, "activation_fn")
        }
        None | Some(Value::Object(_)) => activation(keys, "sbert_ce_default_activation_function"),
        Some(other) => Err(keys.wrong("sentence_transformers", "an object", other)),
    }
}

fn activation(keys: Keys<'_>, key: &str) -> Result<Option<ScoreActivation>, ModelError> {
    let Some(class) = keys.text(key)? else { return Ok(None) };
    match class.strip_prefix("torch.nn.").and_then(|class| class.rsplit('.').next()) {
        Some("Sigmoid") => Ok(Some(ScoreActivation::Sigmoid)),
        Some("Identity") => Ok(Some(ScoreActivation::Identity)),
        _ => {
            let why = "supported: torch.nn.modules.activation.Sigmoid, torch.nn.modules.linear.Identity";
            Err(ModelError::unsupported(keys.path, keys.name(key), format!("{class:?}"), why))
        }
    }
}
