//! What a vocabulary's tokens mean to an answer in JSON.

use std::collections::HashMap;

use dyag_text::Tokenizer;

/// The tokens of a vocabulary by what they begin or end.
#[derive(Debug)]
pub(crate) struct TokenTable {
    /// Whether each id ends an answer, or says nothing in one: control tokens, stop tokens, ids without a token.
    is_stop: Vec<bool>,
    /// Tokens that end a text: stops, and those with a quotation mark.
    ends_of_text: Vec<u32>,
    /// Tokens that end a number or a word: stops, and those that begin with `,`, `}` or `]`.
    ends_of_value: Vec<u32>,
    /// Tokens of digits, signs and points alone, with their text.
    numeric: Vec<(u32, String)>,
    /// Tokens that begin like a part of JSON, by that character, with their text; all without white space.
    by_first: HashMap<char, Vec<(u32, String)>>,
}

impl TokenTable {
    /// Looks at every token. `stop_ids`: the tokens that end an answer.
    pub(crate) fn new(tokenizer: &Tokenizer, stop_ids: &[u32]) -> Self {
        let n_ids = tokenizer.id_limit();
        let mut table = Self {
            is_stop: vec![false; n_ids],
            ends_of_text: Vec::new(),
            ends_of_value: Vec::new(),
            numeric: Vec::new(),
            by_first: HashMap::new(),
        };
        for id in 0..n_ids as u32 {
            let text = tokenizer.decode(&[id]);
            if stop_ids.contains(&id) || tokenizer.is_control(id) || tokenizer.token(id).is_none() {
                table.is_stop[id as usize] = true;
                table.ends_of_text.push(id);
                table.ends_of_value.push(id);
                continue;
            }
            if text.contains('"') {
                table.ends_of_text.push(id);
            }
            let trimmed = text.trim_start();
            if let Some(first) = trimmed.chars().next() {
                if matches!(first, ',' | '"' | '[' | ']' | '{' | '}' | '-' | '0'..='9' | 't' | 'f') {
                    table.by_first.entry(first).or_default().push((id, text.split_whitespace().collect()));
                }
                if matches!(first, ',' | '}' | ']') {
                    table.ends_of_value.push(id);
                }
            }
            if !trimmed.is_empty() && trimmed.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'.')) {
                table.numeric.push((id, trimmed.to_owned()));
            }
        }
        table
    }

    /// One more than the highest id.
    pub(super) fn len(&self) -> usize {
        self.is_stop.len()
    }

    /// Whether `id` ends an answer; ids beyond the vocabulary do.
    pub(super) fn is_stop(&self, id: u32) -> bool {
        self.is_stop.get(id as usize).copied().unwrap_or(true)
    }

    pub(super) fn ends_of_text(&self) -> &[u32] {
        &self.ends_of_text
    }

    pub(super) fn ends_of_value(&self) -> &[u32] {
        &self.ends_of_value
    }

    pub(super) fn numeric(&self) -> &[(u32, String)] {
        &self.numeric
    }

    /// Tokens whose first character is `c`, and their text; all without white space.
    pub(super) fn starting_with(&self, c: char) -> &[(u32, String)] {
        self.by_first.get(&c).map_or(&[], Vec::as_slice)
    }
}
