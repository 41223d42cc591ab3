//! Normalisations: what of a text is looked at when two texts are asked to be the same.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::text::{PYTHON_WORD, compose, is_apostrophe, pattern, split_spaces};

/// A way of taking from a text what should not count in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Normalization {
    /// SQuAD v1.1's `normalize_answer` (Rajpurkar et al. 2016, `evaluate-v1.1.py`): lower case, without ASCII punctuation, without `a`, `an` and `the`, single spaces.
    Squad,
    /// The French benchmark's of lm-evaluation-harness (`lm_eval/tasks/french_bench/utils.py`): as SQuAD's, with the articles `un une des le la les`.
    FrenchBench,
    /// Ours: as [`FrenchBench`](Self::FrenchBench) on composed text (NFC), with every Unicode punctuation mark taken away, and elided words seen: `l'` goes as the article that it
    /// is, the others are written out (`d'` is `de`, `qu'` is `que`, `jusqu'` is `jusque`), whichever apostrophe the text has. `aujourd'hui` stays one word.
    French,
}

/// Words that lose their vowel before another one, and the whole word. An article leaves nothing.
const ELISIONS: [(&str, &str); 14] = [
    ("l", ""),
    ("d", "de"),
    ("qu", "que"),
    ("j", "je"),
    ("m", "me"),
    ("t", "te"),
    ("s", "se"),
    ("n", "ne"),
    ("c", "ce"),
    ("jusqu", "jusque"),
    ("lorsqu", "lorsque"),
    ("puisqu", "puisque"),
    ("quoiqu", "quoique"),
    ("presqu", "presque"),
];

/// The text with elided French words written out. It is lower-cased already and has `'` for every apostrophe.
fn write_out_elisions(text: &str) -> String {
    static ELIDED: LazyLock<Regex> = LazyLock::new(|| pattern(r"([\p{L}\p{M}\p{N}_]+)'([\p{L}\p{N}])"));
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    // One elision at a time, going on at the letter after the apostrophe: it may begin the next one (`qu'l'on`).
    while let Some(found) = ELIDED.captures(rest) {
        let (whole, word, next) = (found.get_match(), &found[1], found.get(2).map_or(rest.len(), |next| next.start()));
        written.push_str(&rest[..whole.start()]);
        match ELISIONS.iter().find(|(elided, _)| *elided == word) {
            Some((_, full)) => {
                written.push_str(full);
                written.push(' ');
            }
            None => written.push_str(&rest[whole.start()..next]),
        }
        rest = &rest[next..];
    }
    written.push_str(rest);
    written
}

impl Normalization {
    /// All of them.
    pub const ALL: [Normalization; 3] = [Self::Squad, Self::FrenchBench, Self::French];

    /// The name in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squad => "squad-v1.1",
            Self::FrenchBench => "french_bench",
            Self::French => "french-elision",
        }
    }

    /// The words that are taken away.
    pub fn articles(self) -> &'static [&'static str] {
        match self {
            Self::Squad => &["a", "an", "the"],
            Self::FrenchBench | Self::French => &["un", "une", "des", "le", "la", "les"],
        }
    }

    /// The normalised text: words with one space between them.
    pub fn apply(self, text: &str) -> String {
        static PUNCTUATION: LazyLock<Regex> = LazyLock::new(|| pattern(r"\p{P}"));
        let text = match self {
            Self::Squad | Self::FrenchBench => text.to_lowercase(),
            Self::French => {
                let text = write_out_elisions(&self.fold(text));
                PUNCTUATION.replace_all(&text, "").into_owned()
            }
        };
        let text: String = text.chars().filter(|character| !character.is_ascii_punctuation()).collect();
        let text = self.without_articles(&text);
        split_spaces(&text).collect::<Vec<_>>().join(" ")
    }

    /// The words of the normalised text.
    pub fn tokens(self, text: &str) -> Vec<String> {
        split_spaces(&self.apply(text)).map(str::to_owned).collect()
    }

    /// Each article, where it stands as a word of its own, replaced by a space.
    fn without_articles(self, text: &str) -> String {
        let articles = self.articles();
        PYTHON_WORD
            .replace_all(text, |word: &Captures<'_>| if articles.contains(&&word[0]) { " ".to_owned() } else { word[0].to_owned() })
            .into_owned()
    }

    /// Composed, lower-cased, one sign for every apostrophe.
    fn fold(self, text: &str) -> String {
        compose(text).to_lowercase().chars().map(|character| if is_apostrophe(character) { '\'' } else { character }).collect()
    }

    /// The words to look for one text in another by: unlike in [`tokens`](Self::tokens), punctuation parts words, but not the digits of one number, date or version.
    pub(crate) fn words_to_search(self, text: &str) -> Vec<String> {
        static WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{L}\p{M}\p{N}]+"));
        let text = self.fold(text);
        let text = if self == Self::French { write_out_elisions(&text) } else { text };
        let mut words: Vec<String> = Vec::new();
        let mut end_of_last = 0;
        for word in WORD.find_iter(&text) {
            let between = &text[end_of_last..word.start()];
            let joins = words.last().is_some_and(|last| ends_with_digit(last)) && starts_with_digit(word.as_str()) && is_joint(between);
            match words.last_mut() {
                Some(last) if joins => {
                    last.push_str(between);
                    last.push_str(word.as_str());
                }
                _ => words.push(word.as_str().to_owned()),
            }
            end_of_last = word.end();
        }
        words.retain(|word| !self.articles().contains(&word.as_str()));
        words
    }
}

fn starts_with_digit(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_numeric)
}

fn ends_with_digit(word: &str) -> bool {
    word.chars().next_back().is_some_and(char::is_numeric)
}

/// One sign that stands within numbers, dates and versions.
fn is_joint(between: &str) -> bool {
    let mut characters = between.chars();
    characters.next().is_some_and(|sign| ".,:/_-\u{a0}\u{202f}".contains(sign)) && characters.next().is_none()
}
