//! From the parts of a `tokenizer.json` to a tokenizer, and back to a `tokenizer.json`.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tokenizers::models::bpe::BPE;
use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::decode::byte_to_char;
use super::file::{self, AddedToken, Alphabet, BpeModel, Merge, TokenizerFile, refuse};
use super::split;
use super::words::WordFinder;
use super::{Step, Tokenizer};
use crate::error::{TextError, excerpt};

/// What a tokenizer need not know to encode, but to be written as a file.
#[derive(Debug)]
pub(super) struct Outline {
    /// The file without added tokens, vocabulary and merges.
    file: Value,
    /// Merges as ids of their parts, the first to be applied first.
    merges: Vec<(u32, u32)>,
    /// Control words that the model's vocabulary holds in the file.
    listed: Vec<(String, u32)>,
}

impl Tokenizer {
    pub(super) fn build(mut file: TokenizerFile, origin: &str) -> Result<Self, TextError> {
        let alphabet = file::alphabet(&file, origin)?;
        let component = |key: &str, error: serde_json::Error| refuse(origin, key, "a component that tokenizers knows", error.to_string());
        let normalizer = file.normalizer.clone().map(serde_json::from_value::<NormalizerWrapper>).transpose();
        let normalizer = normalizer.map_err(|error| component("normalizer", error))?;
        let steps = steps(file.pre_tokenizer.as_ref(), origin)?;
        let added_tokens = std::mem::take(&mut file.added_tokens);
        if let Some(empty) = added_tokens.iter().find(|token| token.content.is_empty()) {
            return Err(refuse(origin, "added_tokens", "tokens with a content", format!("the token {} with an empty one", empty.id)));
        }
        let (vocab, merges) = (std::mem::take(&mut file.model.vocab), std::mem::take(&mut file.model.merges));
        let mut model = BpeModel { vocab, merges, ..file.model.clone() };
        check_ids(&model, &added_tokens, origin)?;
        let listed = take_controls(&mut model, &added_tokens);
        check_bytes(&model, alphabet, origin)?;
        let highest = model.vocab.values().copied().chain(added_tokens.iter().map(|token| token.id)).max();
        let id_limit = highest.map_or(0, |id| id as usize + 1);
        let (bpe, merges) = build_bpe(model, origin)?;
        let (controls, raw_words, normalised_words) = finders(&added_tokens, normalizer.as_ref(), origin)?;
        let file = serde_json::to_value(&file).map_err(|error| component("tokenizer.json", error))?;
        let outline = Outline { file, merges, listed };
        let added = added_tokens.into_iter().map(|token| (token.id, token)).collect();
        let origin = origin.to_owned();
        Ok(Self { origin, normalizer, steps, bpe, alphabet, added, controls, raw_words, normalised_words, id_limit, outline })
    }

    /// The tokenizer as a `tokenizer.json` that other programs read.
    pub fn to_json(&self) -> String {
        let mut added: Vec<&AddedToken> = self.added.values().collect();
        added.sort_by_key(|token| token.id);
        let mut vocabulary: Vec<(String, u32)> = self.bpe.get_vocab().into_iter().collect();
        vocabulary.extend(self.outline.listed.iter().cloned());
        vocabulary.sort_by_key(|(_, id)| *id);
        let token = |id: u32| self.model_token(id).unwrap_or_default();
        let mut file = self.outline.file.clone();
        file["version"] = json!("1.0");
        file["added_tokens"] = json!(added);
        file["model"]["merges"] = self.outline.merges.iter().map(|(left, right)| json!([token(*left), token(*right)])).collect();
        file["model"]["vocab"] = Value::Object(vocabulary.into_iter().map(|(token, id)| (token, Value::from(id))).collect());
        file.to_string()
    }
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

/// An id is one token's and a token has one id, among the vocabulary and the added tokens together.
fn check_ids(model: &BpeModel, added: &[AddedToken], origin: &str) -> Result<(), TextError> {
    let vocabulary = model.vocab.iter().map(|(token, id)| ("model.vocab", token.as_str(), *id));
    let added = added.iter().map(|token| ("added_tokens", token.content.as_str(), token.id));
    let mut tokens = HashMap::new();
    for (key, token, id) in vocabulary.chain(added) {
        let other = *tokens.entry(id).or_insert(token);
        if other != token {
            let found = format!("the id {id} for both \"{}\" and \"{}\"", excerpt(other, 40), excerpt(token, 40));
            return Err(refuse(origin, key, "an id of its own for each token", found));
        }
        if let Some(listed) = model.vocab.get(token).filter(|listed| **listed != id) {
            let found = format!("\"{}\" with the id {id}, which model.vocab gives the id {listed}", excerpt(token, 40));
            return Err(refuse(origin, key, "one id for each token", found));
        }
    }
    Ok(())
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

/// The model, and its merges as ids.
fn build_bpe(model: BpeModel, origin: &str) -> Result<(BPE, Vec<(u32, u32)>), TextError> {
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(refuse(origin, "model.dropout", "none (encoding must not be random)", "one"));
    }
    for (key, value) in [("continuing_subword_prefix", &model.continuing_subword_prefix), ("end_of_word_suffix", &model.end_of_word_suffix)]
    {
        if let Some(text) = value.as_deref().filter(|text| !text.is_empty()) {
            return Err(refuse(origin, &format!("model.{key}"), "none", format!("\"{}\"", excerpt(text, 40))));
        }
    }
    let mut pairs = Vec::with_capacity(model.merges.len());
    let mut merges = Vec::with_capacity(model.merges.len());
    for (index, merge) in model.merges.iter().enumerate() {
        let wrong = |expected: &str| refuse(origin, &format!("model.merges[{index}]"), expected, excerpt(&format!("{merge:?}"), 60));
        let (left, right) = merge.parts().ok_or_else(|| wrong("two pieces"))?;
        let id = |piece: &str| model.vocab.get(piece).copied().ok_or_else(|| wrong("two pieces of the vocabulary that make a third"));
        id(&format!("{left}{right}"))?;
        pairs.push((id(left)?, id(right)?));
        merges.push((left.to_owned(), right.to_owned()));
    }
    let vocab: tokenizers::models::bpe::Vocab = model.vocab.into_iter().collect();
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .fuse_unk(model.fuse_unk)
        .byte_fallback(model.byte_fallback)
        .ignore_merges(model.ignore_merges);
    if let Some(unk) = model.unk_token {
        builder = builder.unk_token(unk);
    }
    let bpe = builder.build().map_err(|error| refuse(origin, "model", "a BPE model", error.to_string()))?;
    Ok((bpe, pairs))
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
