//! The parts of a `tokenizer.json` that are used here, and which of its many possibilities are.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{TextError, excerpt};

/// A `tokenizer.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default)]
    pub(super) truncation: Option<Value>,
    #[serde(default)]
    pub(super) padding: Option<Value>,
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(super) normalizer: Option<Value>,
    #[serde(default)]
    pub(super) pre_tokenizer: Option<Value>,
    #[serde(default)]
    pub(super) post_processor: Option<Value>,
    #[serde(default)]
    pub(super) decoder: Option<Value>,
    pub(super) model: BpeModel,
}

/// A token that is found in the text before it is cut into words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    /// Only where it is not part of a word.
    #[serde(default)]
    pub(super) single_word: bool,
    /// Swallows the white space before it.
    #[serde(default)]
    pub(super) lstrip: bool,
    /// Swallows the white space after it.
    #[serde(default)]
    pub(super) rstrip: bool,
    /// Looked for after normalisation.
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

impl AddedToken {
    /// Whether it is a control word: declared special, or written in the way of control words. (Some tokenizer.json files leave
    /// `<|fim_prefix|>` and the like undeclared; GGUF converters judge them by the same look.)
    pub(super) fn is_control(&self) -> bool {
        let looks = |open: &str, close: &str| {
            self.content.len() > open.len() + close.len() && self.content.starts_with(open) && self.content.ends_with(close)
        };
        self.special || looks("<|", "|>") || looks("<｜", "｜>")
    }
}

/// A BPE model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct BpeModel {
    #[serde(rename = "type", default = "bpe")]
    pub(super) kind: Bpe,
    #[serde(default)]
    pub(super) dropout: Option<f32>,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) fuse_unk: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<Merge>,
}

/// The only kind of model there is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) enum Bpe {
    #[default]
    #[serde(rename = "BPE")]
    Bpe,
}

fn bpe() -> Bpe {
    Bpe::Bpe
}

/// Two pieces that become one: `"left right"` in older files, `["left", "right"]` in newer ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Text(String),
    Pair(String, String),
}

impl Merge {
    /// The two parts, or none if there are not two.
    pub(super) fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pair(left, right) => Some((left, right)),
            Self::Text(text) => text.split_once(' ').filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' ')),
        }
    }
}

/// Reads a `tokenizer.json`. `origin` names it in messages.
pub(super) fn parse(bytes: &[u8], origin: &str) -> Result<TokenizerFile, TextError> {
    #[derive(Deserialize)]
    struct Outline {
        model: Option<KindOnly>,
    }
    #[derive(Deserialize)]
    struct KindOnly {
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    let not_one =
        |error: serde_json::Error| refuse(origin, "tokenizer.json", "a tokenizer.json with a model of type BPE", error.to_string());
    let outline: Outline = serde_json::from_slice(bytes).map_err(not_one)?;
    let Some(model) = outline.model else {
        return Err(refuse(origin, "model", "a model of type BPE", "no such key"));
    };
    if let Some(kind) = model.kind.filter(|kind| kind != "BPE") {
        let expected = "BPE, the type of the Qwen2, Llama, Mistral and Phi-3 families";
        return Err(refuse(origin, "model.type", expected, format!("\"{}\"", excerpt(&kind, 40))));
    }
    serde_json::from_slice(bytes).map_err(not_one)
}

/// How tokens are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// Each byte is one of 256 printable characters (GPT-2's table).
    ByteLevel,
    /// Text with `▁` for spaces, and `<0x0A>` for bytes.
    SentencePiece {
        /// Whether decoding drops the space at the very beginning, which encoding put there.
        drops_first_space: bool,
    },
}

/// The alphabet of a file, by its decoder.
pub(super) fn alphabet(file: &TokenizerFile, origin: &str) -> Result<Alphabet, TextError> {
    let mut kinds = Vec::new();
    collect_types(file.decoder.as_ref().unwrap_or(&Value::Null), "decoders", &mut kinds);
    let known = ["ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace", "Sequence"];
    let expected = "the decoder of byte-level BPE (ByteLevel) or of SentencePiece BPE (Replace or Metaspace, ByteFallback, Fuse, Strip)";
    if let Some(other) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(refuse(origin, "decoder", expected, format!("\"{}\"", excerpt(other, 40))));
    }
    let has = |name: &str| kinds.iter().any(|kind| kind == name);
    if has("ByteLevel") {
        return Ok(Alphabet::ByteLevel);
    }
    if !has("Replace") && !has("Metaspace") {
        let found = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        return Err(refuse(origin, "decoder", expected, found));
    }
    let never = file.decoder.as_ref().is_some_and(|decoder| decoder["prepend_scheme"] == "never");
    Ok(Alphabet::SentencePiece { drops_first_space: has("Strip") || (has("Metaspace") && !never) })
}

/// The types of a component and, for a sequence, of its parts (under `list`).
fn collect_types(component: &Value, list: &str, types: &mut Vec<String>) {
    if let Some(kind) = component["type"].as_str() {
        types.push(kind.to_owned());
    }
    for part in component[list].as_array().into_iter().flatten() {
        collect_types(part, list, types);
    }
}

pub(super) fn refuse(origin: &str, key: &str, expected: impl Into<String>, found: impl Into<String>) -> TextError {
    TextError::Tokenizer { origin: origin.to_owned(), key: key.to_owned(), expected: expected.into(), found: found.into() }
}
