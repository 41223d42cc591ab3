//! What several metrics share: the words, spaces and letters of a text, as the references that we agree with see them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// A pattern of our own, known to be right.
pub(crate) fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("a pattern of this crate is wrong: {error}"))
}

/// What Python's `str.isspace` calls a space: Unicode's White_Space and the four separators U+001C to U+001F.
pub(crate) fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Python's `str.split()`: the runs of what is not a space.
pub(crate) fn split_spaces(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_python_space).filter(|word| !word.is_empty())
}

/// Runs of what Python's `re` calls `\w` in text: `str.isalnum` or an underscore. Combining marks do not belong, unlike in the `regex` crate's `\w`.
pub(crate) static PYTHON_WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{L}\p{N}_]+"));

/// Words for metrics of our own: runs of letters, marks and digits of the composed (NFC), lower-cased text.
pub(crate) fn unicode_words(text: &str) -> Vec<String> {
    static WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{L}\p{M}\p{N}]+"));
    let text = compose(text).to_lowercase();
    WORD.find_iter(&text).map(|word| word.as_str().to_owned()).collect()
}

/// The text in Unicode's composed form (NFC), in which an accented letter is one character.
pub(crate) fn compose(text: &str) -> String {
    text.nfc().collect()
}

/// An apostrophe, as keyboards and typographers write it, and the signs that people take for one.
pub(crate) fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{2019}' | '\u{2018}' | '\u{2bc}' | '\u{2032}' | '\u{b4}' | '\u{ff07}')
}

/// How often each item stands in a list.
pub(crate) fn count<T: Eq + Hash>(items: impl Iterator<Item = T>) -> HashMap<T, u64> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    counts
}

/// Size of the intersection of two multisets.
pub(crate) fn overlap<T: Eq + Hash>(left: &HashMap<T, u64>, right: &HashMap<T, u64>) -> u64 {
    left.iter().map(|(item, &n)| n.min(right.get(item).copied().unwrap_or(0))).sum()
}
