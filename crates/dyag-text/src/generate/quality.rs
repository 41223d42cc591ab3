//! What is sound: support found in the chunk, no placeholder, no answer without end. Everything that is left out is counted by its reason.

use std::collections::BTreeMap;

use serde::Serialize;

/// Why something was left out of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// The value is a placeholder: nothing was written there yet.
    Placeholder,
    /// The answer is longer than allowed, and has no end of a sentence before.
    TooLong,
    /// Two chunks of the document give the field different values.
    Conflicting,
    /// A label stands twice below one heading: nobody could tell which is meant.
    Repeated,
    /// The answer is not in the chunk it cites.
    Unsupported,
    /// The same question, or nearly, is there already.
    NearDuplicate,
    /// The same question has different answers.
    Ambiguous,
    /// A model's reply that has no usable question and answer.
    Malformed,
    /// A model, asked its own question, does not find the answer.
    NotFoundAgain,
}

impl DropReason {
    /// In a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Placeholder => "placeholder in place of a value",
            Self::TooLong => "answer too long",
            Self::Conflicting => "chunks of the document disagree",
            Self::Repeated => "a label stands twice below one heading",
            Self::Unsupported => "answer not found in its chunk",
            Self::NearDuplicate => "nearly the same question is there already",
            Self::Ambiguous => "the same question has different answers",
            Self::Malformed => "no usable question and answer in a model's reply",
            Self::NotFoundAgain => "the model does not answer its own question so",
        }
    }
}

/// How many were left out, by reason and category.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drops {
    counts: BTreeMap<DropReason, BTreeMap<String, usize>>,
}

impl Drops {
    /// Counts one.
    pub fn count(&mut self, reason: DropReason, category: &str) {
        *self.counts.entry(reason).or_default().entry(category.to_owned()).or_default() += 1;
    }

    /// Reasons with their counts, summed over categories.
    pub fn totals(&self) -> impl Iterator<Item = (DropReason, usize)> {
        self.counts.iter().map(|(reason, categories)| (*reason, categories.values().sum()))
    }
}

/// A text without the marks of emphasis and code, and without white space at the ends of its lines.
pub(crate) fn plain(text: &str) -> String {
    let lines = text.replace("**", "").replace('`', "");
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A text with every run of white space as one space.
pub(crate) fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a value stands in a chunk's content, emphasis and the kind of white space aside.
pub fn is_supported(value: &str, content: &str) -> bool {
    squeezed(&plain(content)).contains(&squeezed(&plain(value)))
}

/// The text itself when it is short enough; else its beginning up to the last end of a line or sentence that is; none when there is no such end.
pub(crate) fn cut_text(text: &str, max_chars: usize) -> Option<String> {
    let Some((limit, _)) = text.char_indices().nth(max_chars) else { return Some(text.to_owned()) };
    let end = text[..limit]
        .char_indices()
        .filter(|(at, c)| is_end(*c, &text[at + c.len_utf8()..]))
        .map(|(at, c)| if c == '\n' { at } else { at + c.len_utf8() })
        .next_back()?;
    let cut = text[..end].trim();
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// Whether a sentence or a line ends with `c` where `rest` follows.
fn is_end(c: char, rest: &str) -> bool {
    c == '\n' || (matches!(c, '.' | '!' | '?' | '…') && rest.chars().next().is_none_or(char::is_whitespace))
}

/// The sentences of a text: cut at line ends, and after `.`, `!`, `?` before white space and a capital letter or figure. A line that goes on with a small letter is not ended.
pub(crate) fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in unwrapped(text) {
        let mut start = 0;
        for (at, c) in line.char_indices() {
            let after = &line[at + c.len_utf8()..];
            let next = after.trim_start().chars().next();
            let begins = after.starts_with(char::is_whitespace) && next.is_some_and(|c| c.is_uppercase() || c.is_numeric() || c == '«');
            if matches!(c, '.' | '!' | '?') && begins && !is_abbreviation(&line[start..at]) {
                found.push(line[start..=at].trim().to_owned());
                start = at + 1;
            }
        }
        found.push(line[start..].trim().to_owned());
    }
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// Lines, those joined that an editor broke: where a line ends without a mark and the next goes on with a small letter.
fn unwrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim) {
        match lines.last_mut() {
            Some(last) if line.starts_with(char::is_lowercase) && last.ends_with(|c: char| c.is_alphanumeric() || c == ',') => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// Whether a full stop after `text` ends an initial or a short form such as "M." and not a sentence.
fn is_abbreviation(text: &str) -> bool {
    let word = text.rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    (letters == 1 && word.chars().count() <= 2 && word.chars().all(|c| c.is_uppercase() || !c.is_alphabetic()) && letters > 0)
        || matches!(word, "MM" | "Mme" | "Mlle" | "Dr" | "Mr" | "Mrs" | "art" | "cf" | "ex" | "env" | "etc" | "no" | "vs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn support_ignores_emphasis_and_spaces() {
        assert!(is_supported("En  production", "**Statut** : **En**\nproduction"));
        assert!(!is_supported("En service", "Statut : En production"));
    }

    #[test]
    fn texts_are_cut_at_an_end() {
        assert_eq!(cut_text("Un. Deux trois.", 8).as_deref(), Some("Un."));
        assert_eq!(cut_text("Un. Deux trois.", 100).as_deref(), Some("Un. Deux trois."));
        assert_eq!(cut_text("Version 1.2 sans fin du tout", 15), None);
        assert_eq!(cut_text("ligne une\nligne deux", 12).as_deref(), Some("ligne une"));
    }

    #[test]
    fn lines_that_an_editor_broke_are_one() {
        assert_eq!(
            sentences("Le coffre est un\ndossier chiffré. Il\n\nLe poste\nAutre"),
            ["Le coffre est un dossier chiffré.", "Il", "Le poste", "Autre"]
        );
    }

    #[test]
    fn sentences_end_where_they_end() {
        assert_eq!(
            sentences("L'API v1.2 est là. Elle marche ! M. Durand le dit. 3 fois.\nFin"),
            ["L'API v1.2 est là.", "Elle marche !", "M. Durand le dit.", "3 fois.", "Fin"]
        );
    }
}
