//! From text to tokens and back, by the model's own tokenizer: a `tokenizer.json`, or the metadata of a GGUF file.
//!
//! Normalisers, splitting rules and BPE are those of the `tokenizers` crate. What is ours is the treatment of control words: the caller
//! says which of their occurrences are control tokens, and all others are ordinary text, wherever they stand.

mod build;
mod decode;
mod file;
mod spec;
mod split;
mod to_spec;
mod words;

use std::collections::HashMap;
use std::ops::Range as ByteRange;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizer::Range;
use tokenizers::{
    Model as _, NormalizedString, Normalizer as _, NormalizerWrapper, OffsetType, PreTokenizedString, PreTokenizer as _,
    PreTokenizerWrapper, SplitDelimiterBehavior, Token,
};

pub use decode::StreamDecoder;
#[cfg(test)]
pub(crate) use decode::byte_to_char;
use file::{AddedToken, Alphabet};
pub use spec::TokenizerSpec;
use words::WordFinder;
pub use words::WordSpan;

use crate::error::TextError;
use crate::hash::hex;

/// What the words that control a model mean in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlWords {
    /// They are control tokens: the text is the program's or the template's own.
    Recognised,
    /// They are letters like any others: the text is someone's.
    AsText,
}

/// Tokens of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each token, the bytes of the text it stands for. Tokens that are parts of one character have the same bytes; a control token
    /// has those of its word, without white space it swallows.
    pub bytes: Vec<ByteRange<usize>>,
}

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    origin: String,
    normalizer: Option<NormalizerWrapper>,
    steps: Vec<Step>,
    bpe: BPE,
    alphabet: Alphabet,
    /// Added tokens by id.
    added: HashMap<u32, AddedToken>,
    /// Control words, looked for among all added tokens.
    controls: WordFinder,
    /// Other added tokens that are looked for in the text as it is.
    raw_words: WordFinder,
    /// Other added tokens that are looked for in the normalised text.
    normalised_words: WordFinder,
    /// One more than the highest id.
    id_limit: usize,
    /// What else is needed to write the file again.
    outline: build::Outline,
}

/// A step of cutting a text into words.
enum Step {
    /// By a pattern; an error of the pattern's engine is an error here, where the crate's own step would silently stop cutting.
    Split { pattern: Box<fancy_regex::Regex>, behavior: SplitDelimiterBehavior },
    /// As the crate has it.
    Other(Box<PreTokenizerWrapper>),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Split { pattern, .. } => write!(f, "Split({})", pattern.as_str()),
            Self::Other(step) => write!(f, "{step:?}"),
        }
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// A file that cannot be read, is not a tokenizer.json, or holds a kind of tokenizer that is not supported, with the key at fault.
    pub fn from_file(path: &Path) -> Result<Self, TextError> {
        let bytes = std::fs::read(path).map_err(|error| TextError::read(path, error))?;
        Self::from_json(&bytes, &path.display().to_string())
    }

    /// The same from the bytes of a `tokenizer.json`; `origin` names it in messages.
    ///
    /// # Errors
    /// As [`Tokenizer::from_file`].
    pub fn from_json(bytes: &[u8], origin: &str) -> Result<Self, TextError> {
        Self::build(file::parse(bytes, origin)?, origin)
    }

    /// The tokenizer that a GGUF file's metadata describes; `origin` names the file in messages.
    ///
    /// # Errors
    /// An unknown kind of tokenizer or splitting rule, and lists that do not agree, with the metadata key at fault.
    pub fn from_spec(spec: &TokenizerSpec, origin: &str) -> Result<Self, TextError> {
        Self::build(spec.to_file(origin)?, origin)
    }

    /// The file the tokenizer comes from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Tokens of `text`, without BOS or EOS.
    ///
    /// # Errors
    /// A text that the splitting rule's engine gives up on (a million white spaces in a row).
    pub fn encode(&self, text: &str, controls: ControlWords) -> Result<Encoding, TextError> {
        match controls {
            ControlWords::Recognised => self.encode_with(text, &self.control_words(text)),
            ControlWords::AsText => self.encode_with(text, &[]),
        }
    }

    /// Every occurrence of a control word in `text`, from left to right.
    pub fn control_words(&self, text: &str) -> Vec<WordSpan> {
        self.controls.find(text).map(|(span, _)| span).filter(|span| self.is_control(span.id)).collect()
    }

    /// Tokens of `text`, where `controls` are control tokens and all else is ordinary text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    ///
    /// # Panics
    /// If `controls` overlap, are out of order, or are not words of `text`.
    pub fn encode_with(&self, text: &str, controls: &[WordSpan]) -> Result<Encoding, TextError> {
        let fail = |error: tokenizers::Error| TextError::Encode { n_bytes: text.len(), reason: error.to_string() };
        let strips = |id: u32| self.added.get(&id).map_or((false, false), |token| (token.lstrip, token.rstrip));
        let whole = |normalized: &NormalizedString, spans: &[WordSpan]| slices(normalized, spans, strips);
        let mut pieces = PreTokenizedString::from(text);
        pieces.split(|_, piece| Ok(whole(&piece, controls))).map_err(fail)?;
        if !self.raw_words.is_empty() {
            let found = |text: &str| self.raw_words.find(text).map(|(span, _)| span).collect::<Vec<_>>();
            pieces.split(|_, piece| Ok(whole(&piece, &found(piece.get())))).map_err(fail)?;
        }
        if let Some(normalizer) = &self.normalizer {
            pieces.normalize(|piece| normalizer.normalize(piece)).map_err(fail)?;
        }
        if !self.normalised_words.is_empty() {
            let found = |text: &str| self.normalised_words.find(text).map(|(span, _)| span).collect::<Vec<_>>();
            pieces.split(|_, piece| Ok(whole(&piece, &found(piece.get())))).map_err(fail)?;
        }
        for step in &self.steps {
            match step {
                Step::Split { pattern, behavior } => pieces.split(|_, piece| piece.split(pattern.as_ref(), *behavior)),
                Step::Other(step) => step.pre_tokenize(&mut pieces),
            }
            .map_err(fail)?;
        }
        pieces.tokenize(|piece| self.bpe.tokenize(piece.get())).map_err(fail)?;
        let encoding = pieces.into_encoding(None, 0, OffsetType::Byte).map_err(fail)?;
        let mut bytes: Vec<ByteRange<usize>> = encoding.get_offsets().iter().map(|(start, end)| *start..*end).collect();
        restore_words(encoding.get_ids(), &mut bytes, controls);
        Ok(Encoding { ids: encoding.get_ids().to_vec(), bytes })
    }

    /// The text of `ids`, without control tokens. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut stream = self.stream();
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// A decoder of tokens as they come.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// Whether `id` is a control token (declared special, or written `<|...|>`).
    pub fn is_control(&self, id: u32) -> bool {
        self.added.get(&id).is_some_and(AddedToken::is_control)
    }

    /// The token of an id as the vocabulary writes it, if there is one.
    pub fn token(&self, id: u32) -> Option<String> {
        self.added.get(&id).map(|token| token.content.clone()).or_else(|| self.model_token(id))
    }

    /// The id of a control word or another token that is in the vocabulary just so.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.added.values().filter(|added| added.content == token).map(|added| added.id).min().or_else(|| self.bpe.token_to_id(token))
    }

    /// One more than the highest id of the vocabulary. A model needs at least as many rows in its embedding.
    pub fn id_limit(&self) -> usize {
        self.id_limit
    }

    fn model_token(&self, id: u32) -> Option<String> {
        self.bpe.id_to_token(id)
    }

    /// Every token with its id, by id.
    fn vocabulary(&self) -> Vec<(u32, String)> {
        let mut tokens: Vec<(u32, String)> = self.bpe.get_vocab().into_iter().map(|(token, id)| (id, token)).collect();
        tokens.extend(self.added.values().map(|token| (token.id, token.content.clone())));
        tokens.sort();
        tokens.dedup();
        tokens
    }

    /// SHA-256 of the vocabulary: of every id and its token in order. Rows that no text reaches do not count, so a GGUF file and the
    /// folder it was made from have the same hash.
    pub fn vocabulary_hash(&self) -> String {
        let mut hasher = Sha256::new();
        for (id, token) in self.vocabulary() {
            hasher.update(id.to_le_bytes());
            hasher.update((token.len() as u64).to_le_bytes());
            hasher.update(token.as_bytes());
        }
        hex(&hasher.finalize())
    }
}

/// Cuts `spans` out of a piece of text.
fn slices(
    piece: &NormalizedString,
    spans: &[WordSpan],
    strips: impl Fn(u32) -> (bool, bool),
) -> Vec<(NormalizedString, Option<Vec<Token>>)> {
    let slice = |(start, end, id): (usize, usize, Option<u32>)| {
        let part = piece.slice(Range::Normalized(start..end)).expect("words begin and end at characters of the text");
        let tokens = id.map(|id| vec![Token::new(id, String::new(), (0, part.get().len()))]);
        (part, tokens)
    };
    words::cut(piece.get(), spans.iter().copied(), strips).into_iter().map(slice).collect()
}

/// Gives control tokens the bytes of their words, without the white space they swallowed.
fn restore_words(ids: &[u32], bytes: &mut [ByteRange<usize>], controls: &[WordSpan]) {
    let mut next = controls.iter().peekable();
    for (id, range) in ids.iter().zip(bytes) {
        if let Some(span) = next.next_if(|span| span.id == *id && range.start <= span.start && span.end <= range.end) {
            *range = span.start..span.end;
        }
    }
    assert!(next.peek().is_none(), "a control word was lost");
}

#[cfg(test)]
mod tests;
