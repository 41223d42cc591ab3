//! From text to tokens and back, by the model's own tokenizer: a `tokenizer.json`, or the metadata of a GGUF file.
//!
//! Normalisers, splitting rules and BPE are those of the `tokenizers` crate. What is ours is the treatment of control words: the caller
//! says which of their occurrences are control tokens, and all others are ordinary text, wherever they stand.

mod decode;
mod file;
mod spec;
mod split;
mod words;

use std::collections::{HashMap, HashSet};
use std::ops::Range as ByteRange;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizer::Range;
use tokenizers::{
    Model as _, NormalizedString, Normalizer as _, NormalizerWrapper, OffsetType, PreTokenizedString, PreTokenizer as _,
    PreTokenizerWrapper, SplitDelimiterBehavior, Token,
};

pub use decode::StreamDecoder;
pub(crate) use decode::byte_to_char;
use file::{AddedToken, Alphabet, BpeModel, Merge, TokenizerFile, refuse};
pub use spec::TokenizerSpec;
use words::WordFinder;
pub use words::WordSpan;

use crate::error::{TextError, excerpt};
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
    /// What is needed to write the file again.
    template: Value,
    /// Control words that are also in the model's vocabulary in the file.
    listed: Vec<(String, u32)>,
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

    fn build(mut file: TokenizerFile, origin: &str) -> Result<Self, TextError> {
        let alphabet = file::alphabet(&file, origin)?;
        let component = |key: &str, error: serde_json::Error| refuse(origin, key, "a component that tokenizers knows", error.to_string());
        let normalizer = file.normalizer.clone().map(serde_json::from_value::<NormalizerWrapper>).transpose();
        let normalizer = normalizer.map_err(|error| component("normalizer", error))?;
        let steps = steps(file.pre_tokenizer.as_ref(), origin)?;
        let added_tokens = std::mem::take(&mut file.added_tokens);
        if let Some(empty) = added_tokens.iter().find(|token| token.content.is_empty()) {
            return Err(refuse(origin, "added_tokens", "tokens with a content", format!("the token {} with an empty one", empty.id)));
        }
        let listed = take_controls(&mut file.model, &added_tokens);
        let model = std::mem::take(&mut file.model);
        check_bytes(&model, alphabet, origin)?;
        let bpe = build_bpe(model, origin)?;
        let (controls, raw_words, normalised_words) = finders(&added_tokens, normalizer.as_ref(), origin)?;
        let template = serde_json::to_value(&file).map_err(|error| component("tokenizer.json", error))?;
        let added = added_tokens.into_iter().map(|token| (token.id, token)).collect();
        let origin = origin.to_owned();
        Ok(Self { origin, normalizer, steps, bpe, alphabet, added, controls, raw_words, normalised_words, template, listed })
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
        let model = self.bpe.get_vocab().into_values().max();
        let added = self.added.keys().copied().max();
        model.max(added).map_or(0, |id| id as usize + 1)
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

    /// The tokenizer as a `tokenizer.json` that other programs read.
    pub fn to_json(&self) -> String {
        let mut file = self.template.clone();
        let mut added: Vec<&AddedToken> = self.added.values().collect();
        added.sort_by_key(|token| token.id);
        let mut model = serde_json::to_value(&self.bpe).unwrap_or_default();
        for (token, id) in &self.listed {
            model["vocab"][token.as_str()] = Value::from(*id);
        }
        file["added_tokens"] = serde_json::to_value(added).unwrap_or_default();
        file["model"] = model;
        file.to_string()
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

/// Takes control words out of the model's vocabulary and merges, so that no ordinary text can ever become one. Returns those that were there.
fn take_controls(model: &mut BpeModel, added: &[AddedToken]) -> Vec<(String, u32)> {
    let controls: HashMap<&str, u32> =
        added.iter().filter(|token| token.is_control()).map(|token| (token.content.as_str(), token.id)).collect();
    let covered = (0..=255u8).all(|byte| model.vocab.contains_key(&format!("<{byte:#04X}>"))) && model.byte_fallback;
    if covered {
        model.unk_token = None;
    }
    let mut taken = Vec::new();
    for (content, id) in controls {
        if model.unk_token.as_deref() != Some(content) && model.vocab.remove(content).is_some() {
            taken.push((content.to_owned(), id));
        }
    }
    let mut forbidden: HashSet<&str> = taken.iter().map(|(word, _)| word.as_str()).collect();
    forbidden.extend(model.unk_token.as_deref());
    if !forbidden.is_empty() {
        let allowed = |merge: &Merge| match merge.parts() {
            Some((left, right)) => {
                !forbidden.contains(left) && !forbidden.contains(right) && !forbidden.contains(format!("{left}{right}").as_str())
            }
            None => true,
        };
        model.merges.retain(allowed);
    }
    taken
}

/// A text must never lose a character silently: every byte has a token, or there is an unknown token.
fn check_bytes(model: &BpeModel, alphabet: Alphabet, origin: &str) -> Result<(), TextError> {
    if let Some(unk) = &model.unk_token {
        if model.vocab.contains_key(unk) {
            return Ok(());
        }
        return Err(refuse(origin, "model.unk_token", "a token of the vocabulary", format!("\"{unk}\", which is not in it")));
    }
    let token = |byte: u8| match alphabet {
        Alphabet::ByteLevel => byte_to_char(byte).to_string(),
        Alphabet::SentencePiece { .. } => format!("<{byte:#04X}>"),
    };
    match (0..=255u8).find(|byte| !model.vocab.contains_key(&token(*byte))) {
        None => Ok(()),
        Some(byte) => {
            let found = format!("none for the byte 0x{byte:02X} (\"{}\")", token(byte));
            Err(refuse(origin, "model.vocab", "a token for each of the 256 bytes, or an unknown token", found))
        }
    }
}

fn build_bpe(model: BpeModel, origin: &str) -> Result<BPE, TextError> {
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(refuse(origin, "model.dropout", "none (encoding must not be random)", "one"));
    }
    let merges = model.merges.iter().enumerate().map(|(index, merge)| match merge.parts() {
        Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
        None => Err(refuse(origin, &format!("model.merges[{index}]"), "two pieces", excerpt(&format!("{merge:?}"), 60))),
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    let vocab: tokenizers::models::bpe::Vocab = model.vocab.into_iter().collect();
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .fuse_unk(model.fuse_unk)
        .byte_fallback(model.byte_fallback)
        .ignore_merges(model.ignore_merges);
    for (key, value) in [("continuing_subword_prefix", &model.continuing_subword_prefix), ("end_of_word_suffix", &model.end_of_word_suffix)]
    {
        if let Some(text) = value.as_deref().filter(|text| !text.is_empty()) {
            return Err(refuse(origin, &format!("model.{key}"), "none", format!("\"{text}\"")));
        }
    }
    if let Some(unk) = model.unk_token {
        builder = builder.unk_token(unk);
    }
    builder.build().map_err(|error| refuse(origin, "model", "merges whose pieces are in the vocabulary", error.to_string()))
}

/// The three searches: control words (among all added tokens, so that a longer one of another kind wins), and the other added tokens.
fn finders(
    added: &[AddedToken],
    normalizer: Option<&NormalizerWrapper>,
    origin: &str,
) -> Result<(WordFinder, WordFinder, WordFinder), TextError> {
    let pick = |keep: &dyn Fn(&AddedToken) -> bool| added.iter().filter(|token| keep(token)).cloned().collect::<Vec<_>>();
    let contents = |tokens: &[AddedToken]| tokens.iter().map(|token| token.content.clone()).collect::<Vec<_>>();
    let all = pick(&|_| true);
    let raw = pick(&|token| !token.is_control() && !token.normalized);
    let normalised = pick(&|token| !token.is_control() && token.normalized);
    let patterns = normalised.iter().map(|token| {
        let mut content = NormalizedString::from(token.content.as_str());
        if let Some(normalizer) = normalizer {
            normalizer
                .normalize(&mut content)
                .map_err(|error| refuse(origin, "added_tokens", "text that normalises", error.to_string()))?;
        }
        Ok(content.get().to_owned())
    });
    let patterns = patterns.collect::<Result<Vec<_>, TextError>>()?;
    let (all_contents, raw_contents) = (contents(&all), contents(&raw));
    Ok((
        WordFinder::new(all, &all_contents, origin)?,
        WordFinder::new(raw, &raw_contents, origin)?,
        WordFinder::new(normalised, &patterns, origin)?,
    ))
}

/// The steps of a `pre_tokenizer`.
fn steps(component: Option<&Value>, origin: &str) -> Result<Vec<Step>, TextError> {
    let Some(component) = component else { return Ok(Vec::new()) };
    let key = "pre_tokenizer";
    let kind = component["type"].as_str().unwrap_or_default();
    let pattern = |text: &str| {
        fancy_regex::Regex::new(text)
            .map(Box::new)
            .map_err(|error| refuse(origin, key, "a pattern of the regular expression engine", error.to_string()))
    };
    let other = |component: Value| {
        let step: PreTokenizerWrapper = serde_json::from_value(component)
            .map_err(|error| refuse(origin, key, "a component that tokenizers knows", error.to_string()))?;
        Ok::<_, TextError>(Step::Other(Box::new(step)))
    };
    match kind {
        "Sequence" => {
            let parts = component["pretokenizers"].as_array().map(Vec::as_slice).unwrap_or_default();
            let nested = parts.iter().map(|part| steps(Some(part), origin)).collect::<Result<Vec<_>, _>>()?;
            Ok(nested.into_iter().flatten().collect())
        }
        "Split" if component["invert"] != true && component["pattern"]["Regex"].is_string() => {
            let behavior = serde_json::from_value(component["behavior"].clone())
                .map_err(|error| refuse(origin, "pre_tokenizer.behavior", "Isolated or another of the five", error.to_string()))?;
            let text = component["pattern"]["Regex"].as_str().unwrap_or_default();
            Ok(vec![Step::Split { pattern: pattern(text)?, behavior }])
        }
        "ByteLevel" if component["add_prefix_space"] == false && component["use_regex"] != false => {
            let mut bytes = component.clone();
            bytes["use_regex"] = Value::Bool(false);
            Ok(vec![Step::Split { pattern: pattern(split::GPT2_PATTERN)?, behavior: SplitDelimiterBehavior::Isolated }, other(bytes)?])
        }
        "Split" | "ByteLevel" | "Digits" | "Metaspace" => Ok(vec![other(component.clone())?]),
        unknown => {
            let found = format!("\"{}\"", excerpt(unknown, 40));
            Err(refuse(origin, "pre_tokenizer.type", "Sequence, Split, ByteLevel, Digits or Metaspace", found))
        }
    }
}

#[cfg(test)]
mod tests;
