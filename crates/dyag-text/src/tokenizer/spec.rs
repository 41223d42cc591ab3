//! A tokenizer as plain data, the way a GGUF file's metadata describes it, and its translation into a `tokenizer.json`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::file::{AddedToken, BpeModel, Merge, TokenizerFile, refuse};
use super::split;
use crate::error::{TextError, excerpt};

/// Kinds of tokens in `token_types`.
pub(super) mod kind {
    /// A piece of text.
    pub(in super::super) const NORMAL: i32 = 1;
    /// What cannot be encoded otherwise.
    pub(in super::super) const UNKNOWN: i32 = 2;
    /// A control word.
    pub(in super::super) const CONTROL: i32 = 3;
    /// A piece of text that is never split.
    pub(in super::super) const USER_DEFINED: i32 = 4;
    /// A row of the embedding that no text reaches: never in the vocabulary.
    pub(in super::super) const UNUSED: i32 = 5;
    /// A single byte, `<0x0A>`.
    pub(in super::super) const BYTE: i32 = 6;
}

/// What a GGUF file's metadata says of its tokenizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenizerSpec {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// `tokenizer.ggml.pre`: the name of the splitting rule of a `gpt2` model.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`, by id.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.token_type`, by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.scores`, by id; of a `llama` model.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.merges`, `"left right"` each, the first to be applied first; of a `gpt2` model.
    pub merges: Vec<String>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unk: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`.
    pub pad: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`: whether plain text (not a conversation) begins with BOS. Only carried into exported files.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`, true when absent; of a `llama` model.
    pub add_space_prefix: Option<bool>,
    /// Whether control words swallow the white space after them. No metadata key says so: it is a property of Phi-3's tokenizer (a
    /// `llama` model under the architecture `phi3`), and whoever reads the file sets it.
    pub strip_after_control: bool,
}

impl TokenizerSpec {
    /// The same tokenizer in the form of a `tokenizer.json`. `origin` names the file in messages.
    pub(super) fn to_file(&self, origin: &str) -> Result<TokenizerFile, TextError> {
        self.check(origin)?;
        let mut file = match self.model.as_str() {
            "gpt2" => self.byte_level(origin)?,
            "llama" => self.sentence_piece(origin)?,
            other => {
                let expected = "\"gpt2\" (byte-level BPE) or \"llama\" (SentencePiece BPE)";
                return Err(refuse(origin, "tokenizer.ggml.model", expected, format!("\"{}\"", excerpt(other, 40))));
            }
        };
        file.added_tokens = self.added_tokens();
        if self.add_bos == Some(true)
            && let Some(bos) = self.bos
        {
            file.post_processor = Some(bos_processor(bos, &self.tokens[bos as usize]));
        }
        Ok(file)
    }

    /// Lengths that must agree, and ids that must exist.
    fn check(&self, origin: &str) -> Result<(), TextError> {
        let n = self.tokens.len();
        if n == 0 {
            return Err(refuse(origin, "tokenizer.ggml.tokens", "the vocabulary", "an empty list"));
        }
        if u32::try_from(n).is_err() {
            return Err(refuse(origin, "tokenizer.ggml.tokens", "fewer than 2^32 tokens", n.to_string()));
        }
        if !self.token_types.is_empty() && self.token_types.len() != n {
            let found = self.token_types.len().to_string();
            return Err(refuse(origin, "tokenizer.ggml.token_type", format!("{n} types, one a token"), found));
        }
        let ids = [("bos", self.bos), ("eos", self.eos), ("unknown", self.unk), ("padding", self.pad)];
        for (name, id) in ids {
            if let Some(id) = id.filter(|id| *id as usize >= n) {
                return Err(refuse(origin, &format!("tokenizer.ggml.{name}_token_id"), format!("an id below {n}"), id.to_string()));
            }
        }
        Ok(())
    }

    fn kind(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(kind::NORMAL)
    }

    /// Tokens of the given kinds, as text to id.
    fn vocabulary(&self, kinds: &[i32], origin: &str) -> Result<HashMap<String, u32>, TextError> {
        let mut vocabulary = HashMap::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate().filter(|(id, _)| kinds.contains(&self.kind(*id))) {
            if let Some(other) = vocabulary.insert(token.clone(), id as u32) {
                let found = format!("\"{}\" again, which is token {other}", excerpt(token, 40));
                return Err(refuse(origin, &format!("tokenizer.ggml.tokens[{id}]"), "a text of its own", found));
            }
        }
        Ok(vocabulary)
    }

    fn byte_level(&self, origin: &str) -> Result<TokenizerFile, TextError> {
        let Some(pre) = self.pre.as_deref() else {
            let expected = format!("the name of the splitting rule ({})", split::known_names());
            return Err(refuse(origin, "tokenizer.ggml.pre", expected, "no such key: the file is too old, convert the model again"));
        };
        let Some(rule) = split::by_name(pre) else {
            let found = format!("\"{}\", which is not known here; use the model's Hugging Face folder instead", excerpt(pre, 40));
            return Err(refuse(origin, "tokenizer.ggml.pre", format!("one of {}", split::known_names()), found));
        };
        let vocab = self.vocabulary(&[kind::NORMAL, kind::BYTE], origin)?;
        let merges = self.merges.iter().map(|merge| Merge::Text(merge.clone())).collect();
        Ok(TokenizerFile {
            normalizer: rule.nfc.then(|| json!({"type": "NFC"})),
            pre_tokenizer: Some(rule.pre_tokenizer()),
            post_processor: Some(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})),
            decoder: Some(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})),
            model: BpeModel { ignore_merges: rule.ignore_merges, vocab, merges, ..BpeModel::default() },
            ..TokenizerFile::default()
        })
    }

    /// SentencePiece BPE: no splitting into words, spaces are written `▁`, and the order of merges is that of the scores.
    fn sentence_piece(&self, origin: &str) -> Result<TokenizerFile, TextError> {
        let n = self.tokens.len();
        if self.scores.len() != n {
            let found = self.scores.len().to_string();
            return Err(refuse(origin, "tokenizer.ggml.scores", format!("{n} scores, one a token"), found));
        }
        if let Some(id) = self.scores.iter().position(|score| score.is_nan()) {
            return Err(refuse(origin, &format!("tokenizer.ggml.scores[{id}]"), "a number", "NaN"));
        }
        let space_prefix = self.add_space_prefix.unwrap_or(true);
        let unk = self.unk.or_else(|| (0..n).find(|id| self.kind(*id) == kind::UNKNOWN).map(|id| id as u32));
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let normalizers = if space_prefix { vec![prepend, replace] } else { vec![replace] };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if space_prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let kinds = [kind::NORMAL, kind::UNKNOWN, kind::CONTROL, kind::USER_DEFINED, kind::BYTE];
        Ok(TokenizerFile {
            normalizer: Some(json!({"type": "Sequence", "normalizers": normalizers})),
            decoder: Some(json!({"type": "Sequence", "decoders": decoders})),
            model: BpeModel {
                unk_token: unk.map(|id| self.tokens[id as usize].clone()),
                fuse_unk: true,
                byte_fallback: true,
                vocab: self.vocabulary(&kinds, origin)?,
                merges: self.merges_by_score(),
                ..BpeModel::default()
            },
            ..TokenizerFile::default()
        })
    }

    /// Every way to make a piece of two other pieces. The piece of the best score is made first; among the ways to make one, the longer
    /// left part comes first. So are the merges of published Llama tokenizers made from their SentencePiece models.
    fn merges_by_score(&self) -> Vec<Merge> {
        let pieces: HashMap<&str, usize> = self
            .tokens
            .iter()
            .enumerate()
            .filter(|(id, _)| self.kind(*id) == kind::NORMAL)
            .map(|(id, token)| (token.as_str(), id))
            .collect();
        let mut merges: Vec<(f32, usize, usize, usize, &str, &str)> = Vec::new();
        for (id, token) in self.tokens.iter().enumerate().filter(|(id, _)| self.kind(*id) == kind::NORMAL) {
            let n_chars = token.chars().count();
            for (n_left, (cut, _)) in token.char_indices().enumerate().skip(1) {
                let (left, right) = token.split_at(cut);
                if pieces.contains_key(left) && pieces.contains_key(right) {
                    merges.push((self.scores[id], n_left, n_chars - n_left, id, left, right));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)).then(a.3.cmp(&b.3)));
        merges.into_iter().map(|(.., left, right)| Merge::Pair(left.to_owned(), right.to_owned())).collect()
    }

    /// Control words, the unknown token and user-defined tokens.
    fn added_tokens(&self) -> Vec<AddedToken> {
        let added = |(id, content): (usize, &String)| {
            let special = match self.kind(id) {
                kind::CONTROL | kind::UNKNOWN => true,
                kind::USER_DEFINED => false,
                _ => return None,
            };
            let plain = ["<unk>", "<s>", "<|endoftext|>"].contains(&content.as_str());
            let rstrip = self.strip_after_control && !plain;
            Some(AddedToken { id: id as u32, content: content.clone(), special, rstrip, ..AddedToken::default() })
        };
        self.tokens.iter().enumerate().filter(|(_, content)| !content.is_empty()).filter_map(added).collect()
    }
}

/// The post-processor of a `tokenizer.json` that puts BOS before plain text.
fn bos_processor(id: u32, token: &str) -> serde_json::Value {
    let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, text("A", 0)],
        "pair": [special, text("A", 0), {"SpecialToken": {"id": token, "type_id": 1}}, text("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}
    })
}
