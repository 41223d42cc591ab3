//! An encoder's shape from config.json: BERT and RoBERTa with all who share their layers.

use std::path::Path;

use dyag_kernels::device::Activation;
use serde_json::{Map, Value};

use super::folder::MAX_LAYERS;
use super::json::{self, Keys, short};
use crate::error::ModelError;

/// The shape of an encoder (Devlin et al. 2018): layers with the norm after each residual, learned absolute positions, token types.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Family, as `model_type` of config.json has it: `bert`, `roberta`, `xlm-roberta`, `camembert`.
    pub family: String,
    /// C, channels of the residual stream.
    pub hidden_size: usize,
    /// F, channels inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// H, heads.
    pub n_heads: usize,
    /// D, channels a head.
    pub head_size: usize,
    /// V, tokens of the vocabulary.
    pub vocab_size: usize,
    /// Rows of the table of positions.
    pub n_positions: usize,
    /// How positions are counted.
    pub positions: Positions,
    /// Rows of the table of token types.
    pub n_token_types: usize,
    /// Added under the root of LayerNorm.
    pub layer_norm_eps: f32,
    /// The feed-forward block's activation function.
    pub activation: Activation,
}

/// How a text's tokens find their rows in the table of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// From 0 (BERT).
    FromZero,
    /// From `padding + 1` over all tokens but the padding token, which has position `padding` wherever it stands (RoBERTa).
    AfterPadding {
        /// `pad_token_id`.
        padding: u32,
    },
}

/// A family's name, whether positions are counted as RoBERTa does, and its class in Transformers with a head that classifies texts.
const FAMILIES: [(&str, bool, &str); 4] = [
    ("bert", false, "BertForSequenceClassification"),
    ("roberta", true, "RobertaForSequenceClassification"),
    ("xlm-roberta", true, "XLMRobertaForSequenceClassification"),
    ("camembert", true, "CamembertForSequenceClassification"),
];

/// What a folder's config.json says that its model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderKind {
    /// One of the encoders of [`EncoderConfig`].
    Encoder,
    /// One of the decoders of [`super::DecoderConfig`].
    Decoder,
}

/// Which kind of model lies in `folder`.
///
/// # Errors
/// When config.json cannot be read, or names a family that is not known here.
pub fn folder_kind(folder: &Path) -> Result<FolderKind, ModelError> {
    let path = folder.join("config.json");
    let object = json::read_object(&path)?;
    let keys = Keys { path: &path, object: &object, prefix: "" };
    let name = keys.text("model_type")?.ok_or_else(|| keys.missing("model_type"))?;
    if FAMILIES.iter().any(|(known, ..)| *known == name) {
        return Ok(FolderKind::Encoder);
    }
    if super::family(name).is_some() {
        return Ok(FolderKind::Decoder);
    }
    let known = format!("{} as encoders, {} as decoders", FAMILIES.map(|(known, ..)| known).join(", "), super::family::known());
    Err(ModelError::UnsupportedArchitecture { key: "model_type".to_owned(), found: format!("{name:?}"), known, path })
}

/// How a family names the head that makes numbers of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassifierHead {
    /// The pooler, then a matrix.
    Bert,
    /// A head of two matrices.
    Roberta,
}

/// The head of the cross-encoder that config.json at `path` describes: of a class that classifies, with one label.
pub(crate) fn classifier_head(path: &Path) -> Result<ClassifierHead, ModelError> {
    let object = json::read_object(path)?;
    let keys = Keys { path, object: &object, prefix: "" };
    let (family, is_roberta) = find_family(keys)?;
    let class = FAMILIES.iter().find(|(known, ..)| *known == family).map_or("", |(.., class)| class);
    let architectures = keys.texts("architectures")?.unwrap_or_default();
    if !architectures.contains(&class) {
        let expected = format!(
            "{class}: a cross-encoder, which reads a query and a passage together. Other models make vectors of texts, and score no pairs"
        );
        return Err(ModelError::bad_value(path, "architectures", expected, format!("{architectures:?}")));
    }
    // As Transformers has it: the labels' names count, and where there are none, the number, and where that is missing, two.
    let n_labels = match keys.get("id2label") {
        None => keys.size("num_labels")?.unwrap_or(2),
        Some(Value::Object(labels)) => labels.len(),
        Some(other) => return Err(keys.wrong("id2label", "an object of numbers and labels", other)),
    };
    if n_labels != 1 {
        let expected = "one label: a reranker gives a pair of texts one score, a classifier of several labels gives none";
        return Err(ModelError::bad_value(path, "id2label (num_labels)", expected, format!("{n_labels} labels")));
    }
    Ok(if is_roberta { ClassifierHead::Roberta } else { ClassifierHead::Bert })
}

impl EncoderConfig {
    /// Reads config.json at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, a key is missing or out of range, or the model is of a kind that is not supported.
    pub fn from_json_file(path: &Path) -> Result<Self, ModelError> {
        Self::from_json(path, &json::read_object(path)?)
    }

    /// Reads the object of config.json; `path` is for messages.
    ///
    /// # Errors
    /// As [`EncoderConfig::from_json_file`].
    pub fn from_json(path: &Path, object: &Map<String, Value>) -> Result<Self, ModelError> {
        let keys = Keys { path, object, prefix: "" };
        let (family, counts_after_padding) = find_family(keys)?;
        refuse_what_is_not_done(keys)?;
        let hidden_size = keys.required_size("hidden_size")?;
        let n_heads = keys.required_size("num_attention_heads")?;
        if !hidden_size.is_multiple_of(n_heads) {
            return Err(ModelError::bad_value(path, "num_attention_heads", format!("a divisor of hidden_size ({hidden_size})"), n_heads));
        }
        let n_layers = keys.required_size("num_hidden_layers")?;
        if n_layers > MAX_LAYERS {
            return Err(ModelError::bad_value(path, "num_hidden_layers", format!("at most {MAX_LAYERS}"), n_layers));
        }
        let n_positions = keys.required_size("max_position_embeddings")?;
        let positions = if counts_after_padding {
            let padding = keys.token_ids("pad_token_id")?.first().copied().unwrap_or(1);
            if padding as usize + 1 >= n_positions {
                let expected =
                    format!("an id below max_position_embeddings ({n_positions}) less one: positions are counted from the id after it");
                return Err(ModelError::bad_value(path, "pad_token_id", expected, padding));
            }
            Positions::AfterPadding { padding }
        } else {
            Positions::FromZero
        };
        let layer_norm_eps = keys.number("layer_norm_eps")?.unwrap_or(1e-12);
        if layer_norm_eps < 0.0 {
            return Err(ModelError::bad_value(path, "layer_norm_eps", "a number from 0 up", layer_norm_eps));
        }
        Ok(Self {
            family: family.to_owned(),
            hidden_size,
            intermediate_size: keys.required_size("intermediate_size")?,
            n_layers,
            n_heads,
            head_size: hidden_size / n_heads,
            vocab_size: keys.required_size("vocab_size")?,
            n_positions,
            positions,
            n_token_types: keys.size("type_vocab_size")?.unwrap_or(2),
            layer_norm_eps: layer_norm_eps as f32,
            activation: activation(keys)?,
        })
    }

    /// Longest text that has positions, in tokens, special ones included.
    pub fn max_tokens(&self) -> usize {
        match self.positions {
            Positions::FromZero => self.n_positions,
            Positions::AfterPadding { padding } => self.n_positions - padding as usize - 1,
        }
    }

    /// The rows of the table of positions for a text's tokens.
    pub fn positions_of(&self, ids: &[u32]) -> impl Iterator<Item = u32> {
        let mut n_before = 0;
        ids.iter().map(move |id| match self.positions {
            Positions::AfterPadding { padding } if *id == padding => padding,
            positions => {
                n_before += 1;
                n_before - 1 + if let Positions::AfterPadding { padding } = positions { padding + 1 } else { 0 }
            }
        })
    }
}

fn find_family(keys: Keys<'_>) -> Result<(&'static str, bool), ModelError> {
    let name = keys.text("model_type")?.ok_or_else(|| keys.missing("model_type"))?;
    let found = FAMILIES.into_iter().find(|(known, ..)| *known == name).map(|(known, is_roberta, _)| (known, is_roberta));
    found.ok_or_else(|| ModelError::UnsupportedArchitecture {
        path: keys.path.to_owned(),
        key: "model_type".to_owned(),
        found: format!("{name:?}"),
        known: format!("{} as encoders", FAMILIES.map(|(known, ..)| known).join(", ")),
    })
}

/// Refuses, by name, keys that would change the numbers and are not implemented.
fn refuse_what_is_not_done(keys: Keys<'_>) -> Result<(), ModelError> {
    match keys.text("position_embedding_type")? {
        None | Some("absolute") => {}
        Some(other) => {
            return Err(ModelError::unsupported(keys.path, "position_embedding_type", format!("{other:?}"), "supported: \"absolute\""));
        }
    }
    for (key, why) in [("is_decoder", "an encoder sees the whole text"), ("add_cross_attention", "an encoder sees one text")] {
        if keys.flag(key)? {
            return Err(ModelError::unsupported(keys.path, key, true, why));
        }
    }
    match keys.get("quantization_config") {
        None => Ok(()),
        Some(found) => Err(ModelError::unsupported(keys.path, "quantization_config", short(found), "weights must be F32, F16 or BF16")),
    }
}

fn activation(keys: Keys<'_>) -> Result<Activation, ModelError> {
    match keys.text("hidden_act")?.unwrap_or("gelu") {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        other => {
            let why = "supported: gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu";
            Err(ModelError::unsupported(keys.path, "hidden_act", format!("{other:?}"), why))
        }
    }
}
