//! The tokenizer of an encoder: whole texts to ids with the special tokens around them, by the model's own `tokenizer.json`, whatever its kind (WordPiece, Unigram, BPE).
//!
//! What such a model reads is compared and searched, not obeyed, so control words in a text are what the published tokenizers make of them: special tokens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value;
use tokenizers::{PostProcessor as _, TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};

use crate::error::{TextError, excerpt};

/// Tokens of a text as an encoder reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncoderTokens {
    /// Ids, special tokens included.
    pub ids: Vec<u32>,
    /// The type of each token.
    pub types: Vec<u32>,
    /// Whether tokens were cut off at the end.
    pub is_cut: bool,
}

/// An encoder's tokenizer.
pub struct EncoderTokenizer {
    origin: String,
    inner: tokenizers::Tokenizer,
    id_limit: usize,
    /// The tokens put before and after a text.
    around: [Option<u32>; 2],
    byte_level: bool,
}

impl std::fmt::Debug for EncoderTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncoderTokenizer").field("origin", &self.origin).field("id_limit", &self.id_limit).finish_non_exhaustive()
    }
}

impl EncoderTokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding that it asks for do not count: the caller says how long a text may be.
    ///
    /// # Errors
    /// A file that cannot be read or is not a tokenizer.json.
    pub fn from_file(path: &Path) -> Result<Self, TextError> {
        let bytes = std::fs::read(path).map_err(|error| TextError::read(path, error))?;
        Self::from_json(&bytes, &path.display().to_string())
    }

    /// The same from the bytes of a `tokenizer.json`; `origin` names it in messages.
    ///
    /// # Errors
    /// As [`EncoderTokenizer::from_file`].
    pub fn from_json(bytes: &[u8], origin: &str) -> Result<Self, TextError> {
        let refuse = |key: &str, expected: &str, found: String| TextError::Tokenizer {
            origin: origin.to_owned(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let expected = "a tokenizer.json";
        let outline: Value = serde_json::from_slice(bytes).map_err(|error| refuse("tokenizer.json", expected, error.to_string()))?;
        if !outline["model"].is_object() {
            return Err(refuse("model", "the tokenizer's model", "no such object".to_owned()));
        }
        let byte_level = has_byte_level(&outline["pre_tokenizer"]);
        drop(outline);
        // The crate's readers take a file's word for some things and panic when it does not hold.
        let read = catch_unwind(|| {
            let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
            inner.with_padding(None);
            inner.with_truncation(None).map_err(|error| error.to_string())?;
            let id_limit = inner.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1);
            let around = around(&inner)?;
            Ok::<_, String>((inner, id_limit, around))
        });
        match read {
            Ok(Ok((inner, id_limit, around))) => Ok(Self { origin: origin.to_owned(), inner, id_limit, around, byte_level }),
            Ok(Err(reason)) => Err(refuse("tokenizer.json", expected, excerpt(&reason, 200))),
            Err(_) => Err(refuse("tokenizer.json", expected, "one whose parts do not agree".to_owned())),
        }
    }

    /// The file the tokenizer comes from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// One more than the highest id of the vocabulary. A model needs at least as many rows in its embedding.
    pub fn id_limit(&self) -> usize {
        self.id_limit
    }

    /// The ids of the special tokens that begin and end a text, such as `[CLS]` and `[SEP]`.
    pub fn special_ids(&self) -> Vec<u32> {
        self.around.into_iter().flatten().collect()
    }

    /// Whether words carry the space before them (byte-level BPE), so that a text's first word is another token with a space before it.
    pub fn is_byte_level(&self) -> bool {
        self.byte_level
    }

    /// Tokens of each text with the special tokens around them, at most `max_tokens`: what is longer loses its end, special tokens stay. Texts are taken in parallel.
    ///
    /// # Errors
    /// A text that the tokenizer gives up on, or a `max_tokens` that leaves no room beside the special tokens.
    pub fn encode(&self, texts: &[&str], max_tokens: usize) -> Result<Vec<EncoderTokens>, TextError> {
        texts.par_iter().with_min_len(16).map(|text| self.encode_one(text, max_tokens)).collect()
    }

    /// Tokens of `first` with each of `seconds`, with the special tokens around and between them, at most `max_tokens`: of what is longer, the longer text loses its end, and both where the
    /// shorter one is more than half (`longest_first` of Transformers' fast tokenizers). The second text's tokens have the type that the tokenizer gives them. Pairs are taken in parallel.
    ///
    /// # Errors
    /// As [`EncoderTokenizer::encode`].
    pub fn encode_pairs(&self, first: &str, seconds: &[&str], max_tokens: usize) -> Result<Vec<EncoderTokens>, TextError> {
        let of_first = self.guarded(first, || self.inner.encode_fast(first, false))?;
        let pair = |second: &&str| {
            self.guarded(second, || {
                let mut of_second = self.inner.encode_fast(*second, false)?;
                of_second.set_type_ids(vec![1; of_second.len()]);
                let n_special = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
                let room = max_tokens.checked_sub(n_special).ok_or("the longest pair is shorter than the special tokens")?;
                let is_cut = of_first.len() + of_second.len() > room;
                let cut = TruncationParams { max_length: room, strategy: TruncationStrategy::LongestFirst, ..TruncationParams::default() };
                let (mut of_first, of_second) = truncate_encodings(of_first.clone(), Some(of_second), &cut)?;
                of_first.take_overflowing();
                let of_second = of_second.map(|mut of_second| {
                    of_second.take_overflowing();
                    of_second
                });
                let whole = self.inner.post_process(of_first, of_second, true)?;
                Ok(EncoderTokens { ids: whole.get_ids().to_vec(), types: whole.get_type_ids().to_vec(), is_cut })
            })
        };
        seconds.par_iter().with_min_len(4).map(pair).collect()
    }

    /// What `work` makes of a text, a panic being an error as well.
    fn guarded<T>(&self, text: &str, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, TextError> {
        let fail = |reason: String| TextError::Encode { n_bytes: text.len(), reason };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(fail(error.to_string())),
            Err(_) => Err(fail("the tokenizer's parts do not agree".to_owned())),
        }
    }

    fn encode_one(&self, text: &str, max_tokens: usize) -> Result<EncoderTokens, TextError> {
        self.guarded(text, || {
            let mut encoding = self.inner.encode_fast(text, false)?;
            let n_special = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
            let is_cut = encoding.len() + n_special > max_tokens;
            if is_cut {
                let room = max_tokens.checked_sub(n_special).ok_or("the longest text is shorter than the special tokens")?;
                encoding.truncate(room, 0, TruncationDirection::Right);
                encoding.take_overflowing();
            }
            let whole = self.inner.post_process(encoding, None, true)?;
            Ok(EncoderTokens { ids: whole.get_ids().to_vec(), types: whole.get_type_ids().to_vec(), is_cut })
        })
    }
}

/// The special tokens before and after a text: what an empty text becomes.
fn around(tokenizer: &tokenizers::Tokenizer) -> Result<[Option<u32>; 2], String> {
    let empty = tokenizer.encode("", true).map_err(|error| error.to_string())?;
    match empty.get_ids() {
        [] => Ok([None, None]),
        [one] => Ok([Some(*one), None]),
        [first, last] => Ok([Some(*first), Some(*last)]),
        more => Err(format!("a post_processor that puts {} special tokens around a text", more.len())),
    }
}

fn has_byte_level(component: &Value) -> bool {
    component["type"] == "ByteLevel" || component["pretokenizers"].as_array().into_iter().flatten().any(has_byte_level)
}

#[cfg(test)]
#[path = "encoder_tokenizer_tests.rs"]
mod tests;
