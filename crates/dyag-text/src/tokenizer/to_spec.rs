//! From a `tokenizer.json` to the plain data that a GGUF file's metadata hold: the inverse of what [`super::spec`] does.

use std::collections::HashMap;

use serde_json::Value;

use super::file::{self, Alphabet, TokenizerFile, refuse};
use super::spec::{TokenizerSpec, kind};
use super::split;
use crate::error::{TextError, excerpt};
use crate::template::SpecialTokens;

/// The score of what is never made by merging.
const CONTROL_SCORE: f32 = -1000.0;

impl TokenizerSpec {
    /// Reads a `tokenizer.json`; `special` are the words with a role, which other files name, and `origin` names the file in messages.
    ///
    /// The splitting rule's name is found by the rule itself. A SentencePiece model's scores are not in such a file: a piece's score here is minus its place in
    /// the order in which merges first make pieces, which gives readers, who merge by score, the file's own order of merges.
    ///
    /// # Errors
    /// A file that cannot be used, and a splitting rule for which GGUF has no name that is known here.
    pub fn from_json(bytes: &[u8], special: &SpecialTokens, origin: &str) -> Result<Self, TextError> {
        let file = file::parse(bytes, origin)?;
        let alphabet = file::alphabet(&file, origin)?;
        let (tokens, token_types) = tokens(&file, alphabet);
        let ids: HashMap<&str, u32> = tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id as u32)).collect();
        let id = |word: &Option<String>| word.as_deref().and_then(|word| ids.get(word).copied());
        let (bos, eos, unk, pad) = (id(&special.bos), id(&special.eos), id(&special.unk), id(&special.pad));
        let unk = unk.or_else(|| id(&file.model.unk_token));
        let common = Self {
            bos,
            eos,
            unk,
            pad,
            add_bos: Some(bos.is_some_and(|bos| begins_with(file.post_processor.as_ref(), &tokens[bos as usize]))),
            strip_after_control: file.added_tokens.iter().any(|token| token.is_control() && token.rstrip),
            ..Self::default()
        };
        Ok(match alphabet {
            Alphabet::ByteLevel => {
                let pre = pre(&file, origin)?;
                let merges = merges(&file, origin)?.into_iter().map(|(left, right)| format!("{left} {right}")).collect();
                Self { model: "gpt2".to_owned(), pre: Some(pre.to_owned()), merges, tokens, token_types, ..common }
            }
            Alphabet::SentencePiece { .. } => {
                let scores = scores(&file, &tokens, &token_types, origin)?;
                let add_space_prefix = Some(puts_space_first(&file));
                let pre = Some("default".to_owned());
                Self { model: "llama".to_owned(), pre, scores, add_space_prefix, tokens, token_types, ..common }
            }
        })
    }
}

/// Tokens and their kinds by id. Ids that no token has become unused ones.
fn tokens(file: &TokenizerFile, alphabet: Alphabet) -> (Vec<String>, Vec<i32>) {
    let vocabulary = file.model.vocab.iter().map(|(token, id)| (*id, token.clone(), plain_kind(file, token)));
    let added = file.added_tokens.iter().map(|token| {
        let unknown = alphabet != Alphabet::ByteLevel && file.model.unk_token.as_deref() == Some(token.content.as_str());
        match (unknown, token.is_control()) {
            (true, _) => (token.id, token.content.clone(), kind::UNKNOWN),
            (false, true) => (token.id, token.content.clone(), kind::CONTROL),
            // Readers look for these in the text as it was typed.
            (false, false) => (token.id, token.content.replace('▁', " "), kind::USER_DEFINED),
        }
    });
    let all: Vec<(u32, String, i32)> = vocabulary.chain(added).collect();
    let n = all.iter().map(|(id, ..)| *id as usize + 1).max().unwrap_or(0);
    let mut tokens: Vec<String> = (0..n).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![kind::UNUSED; n];
    for (id, token, kind) in all {
        (tokens[id as usize], kinds[id as usize]) = (token, kind);
    }
    (tokens, kinds)
}

/// The kind of a token of the model's own vocabulary.
fn plain_kind(file: &TokenizerFile, token: &str) -> i32 {
    let is_byte = |hex: &str| hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok();
    let byte = file.model.byte_fallback && token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).is_some_and(is_byte);
    match byte {
        true => kind::BYTE,
        false if file.model.byte_fallback && file.model.unk_token.as_deref() == Some(token) => kind::UNKNOWN,
        false => kind::NORMAL,
    }
}

fn pre(file: &TokenizerFile, origin: &str) -> Result<&'static str, TextError> {
    split::name_of(file.pre_tokenizer.as_ref().unwrap_or(&Value::Null)).map_err(|found| {
        let expected = format!("a splitting rule that GGUF has a name for ({})", split::known_names());
        refuse(origin, "pre_tokenizer", expected, format!("words cut by {}", excerpt(&found, 160)))
    })
}

fn merges<'a>(file: &'a TokenizerFile, origin: &str) -> Result<Vec<(&'a str, &'a str)>, TextError> {
    let parts = |(index, merge): (usize, &'a file::Merge)| {
        merge.parts().ok_or_else(|| refuse(origin, &format!("model.merges[{index}]"), "two pieces", excerpt(&format!("{merge:?}"), 60)))
    };
    file.model.merges.iter().enumerate().map(parts).collect()
}

/// Minus the order in which merges first make a piece; pieces that none makes come after all, in the order of their ids.
fn scores(file: &TokenizerFile, tokens: &[String], kinds: &[i32], origin: &str) -> Result<Vec<f32>, TextError> {
    let mut order: HashMap<String, usize> = HashMap::new();
    for (left, right) in merges(file, origin)? {
        let next = order.len();
        order.entry(format!("{left}{right}")).or_insert(next);
    }
    let mut n_left = order.len();
    let mut score = |(token, kind): (&String, &i32)| match *kind {
        kind::NORMAL => {
            let place = order.get(token).copied().unwrap_or_else(|| {
                n_left += 1;
                n_left - 1
            });
            -(place as f32)
        }
        kind::BYTE | kind::UNKNOWN => 0.0,
        _ => CONTROL_SCORE,
    };
    Ok(tokens.iter().zip(kinds).map(&mut score).collect())
}

/// Whether encoding puts a space before a text.
fn puts_space_first(file: &TokenizerFile) -> bool {
    let mut found = false;
    let mut look = |component: &Value| match component["type"].as_str() {
        Some("Prepend") => found = true,
        Some("Metaspace") => found = component["prepend_scheme"] != "never" && component["add_prefix_space"] != false,
        _ => {}
    };
    for component in [&file.normalizer, &file.pre_tokenizer].into_iter().flatten() {
        look(component);
        for list in ["normalizers", "pretokenizers"] {
            component[list].as_array().into_iter().flatten().for_each(&mut look);
        }
    }
    found
}

/// Whether the post-processor puts `word` before a text.
fn begins_with(processor: Option<&Value>, word: &str) -> bool {
    let Some(processor) = processor else { return false };
    match processor["type"].as_str() {
        Some("TemplateProcessing") => processor["single"][0]["SpecialToken"]["id"] == word,
        Some("Sequence") => processor["processors"].as_array().into_iter().flatten().any(|part| begins_with(Some(part), word)),
        _ => false,
    }
}
