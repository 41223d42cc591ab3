//! From texts to the terms that an index holds and a question asks for, the same for every store.
//!
//! A text becomes words: letters in lower case without accents, runs of letters and digits. Each word is a term of [`Field::Word`] as it is, and of [`Field::Stem`] by its stem in the
//! text's language (Snowball's, of the word without accents, so that both spellings meet). What people write in one piece with signs inside, such as `v2.4.1`, `SI-0042`,
//! `/etc/fstab` or `x@y.fr`, is a term of [`Field::Word`] as a whole too. Words that every text has (articles, prepositions) are left out.

mod stop_words;

use std::collections::HashSet;
use std::fmt;

use dyag_text::chunk::Chunk;
use dyag_text::hex;
use dyag_text::near_duplicates::fold;
use frostem::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use stop_words::{ENGLISH, FRENCH};

/// Longest term that is indexed, in bytes; what is longer is data, not words.
const LONGEST_TERM: usize = 64;
/// Signs that may stand inside an identifier, a version or a path.
const INNER_SIGNS: &str = "-_./:@+#\\&=~";
/// Signs that end a piece of a text wherever they stand.
const BREAKS: &str = "«»\"“”„()[]{}<>|,;…—–*`";

/// A language whose words are stemmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// French.
    French,
    /// English.
    English,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::French => "French",
            Self::English => "English",
        })
    }
}

/// Where a term stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Stems of the title.
    Title,
    /// Stems of title and content.
    Stem,
    /// Words and identifiers of title and content as they are.
    Word,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 3] = [Self::Title, Self::Stem, Self::Word];

    /// Name in indexes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Stem => "stem",
            Self::Word => "word",
        }
    }

    /// How much a term of this field counts.
    const fn weight(self) -> f32 {
        match self {
            Self::Title => 0.7,
            Self::Stem => 1.0,
            Self::Word => 0.6,
        }
    }
}

/// A term of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryTerm {
    /// Where it is looked for.
    pub field: Field,
    /// The term.
    pub text: String,
    /// What its BM25 is multiplied by.
    pub weight: f32,
}

/// The terms of a passage, in order, by field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Of [`Field::Title`].
    pub title: Vec<String>,
    /// Of [`Field::Stem`].
    pub stem: Vec<String>,
    /// Of [`Field::Word`].
    pub word: Vec<String>,
}

impl Terms {
    /// Those of a field.
    pub fn of(&self, field: Field) -> &[String] {
        match field {
            Field::Title => &self.title,
            Field::Stem => &self.stem,
            Field::Word => &self.word,
        }
    }
}

/// The text of a passage that is embedded: title and content.
pub fn searched_text(chunk: &Chunk) -> String {
    match chunk.title.trim() {
        "" => chunk.content.clone(),
        title => format!("{title}\n{}", chunk.content),
    }
}

/// What a passage's vector depends on, beside the embedder: a hash of [`searched_text`].
pub fn fingerprint(chunk: &Chunk) -> [u8; 16] {
    let hash = Sha256::digest(searched_text(chunk));
    std::array::from_fn(|place| hash[place])
}

/// The hash of everything that a chunk holds, in hexadecimal digits: another one, another chunk.
pub(crate) fn content_hash(chunk: &Chunk) -> String {
    let mut hash = Sha256::new();
    for part in [&chunk.id, &chunk.source_id, &chunk.title, &chunk.content, &chunk.chunk_type] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(serde_json::Value::Object(chunk.metadata.clone()).to_string());
    hex(&hash.finalize()[..16])
}

/// Makes terms.
pub struct Analyzer {
    french: Stemmer,
    english: Stemmer,
    french_stops: HashSet<&'static str>,
    english_stops: HashSet<&'static str>,
}

impl Default for Analyzer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Analyzer")
    }
}

impl Analyzer {
    /// An analyser of French and English.
    pub fn new() -> Self {
        Self {
            french: Stemmer::new(Algorithm::French),
            english: Stemmer::new(Algorithm::English),
            french_stops: FRENCH.split_whitespace().collect(),
            english_stops: ENGLISH.split_whitespace().collect(),
        }
    }

    /// The language whose frequent words stand more often in a text, or none.
    pub fn language(&self, text: &str) -> Option<Language> {
        let (mut french, mut english) = (0usize, 0usize);
        for word in fold(text).split(' ') {
            french += usize::from(self.french_stops.contains(word));
            english += usize::from(self.english_stops.contains(word));
        }
        match french.cmp(&english) {
            std::cmp::Ordering::Greater => Some(Language::French),
            std::cmp::Ordering::Less => Some(Language::English),
            std::cmp::Ordering::Equal => None,
        }
    }

    /// A word's stem.
    fn stem(&self, word: &str, language: Language) -> String {
        match language {
            Language::French => self.french.stem(&masculine(word)).into_owned(),
            Language::English => self.english.stem(word).into_owned(),
        }
    }

    /// Whether every text has this folded word.
    fn is_stop_word(&self, word: &str, language: Option<Language>) -> bool {
        let french = || self.french_stops.contains(word);
        let english = || self.english_stops.contains(word);
        match language {
            Some(Language::French) => french(),
            Some(Language::English) => english(),
            None => french() || english(),
        }
    }

    /// The terms of a passage in a language.
    pub fn passage(&self, title: &str, content: &str, language: Language) -> Terms {
        let mut terms = Terms::default();
        for piece in pieces(title) {
            self.add_piece(&piece, language, &mut terms, true);
        }
        for piece in pieces(content) {
            self.add_piece(&piece, language, &mut terms, false);
        }
        terms
    }

    fn add_piece(&self, piece: &Piece, language: Language, terms: &mut Terms, is_title: bool) {
        for word in piece.words.iter().filter(|word| !self.is_stop_word(word, Some(language))) {
            let stem = self.stem(word, language);
            if is_title {
                terms.title.push(stem.clone());
            }
            terms.stem.push(stem);
            terms.word.push(word.clone());
        }
        terms.word.extend(piece.whole.clone());
    }

    /// The words of a question that count, folded, in order, each once: no stop word of any of the languages, unless there is nothing else.
    pub fn question_words(&self, question: &str, languages: &[Language]) -> Vec<String> {
        let mut seen = HashSet::new();
        let all: Vec<String> =
            pieces(question).into_iter().flat_map(|piece| piece.words).filter(|word| seen.insert(word.clone())).collect();
        let is_stop = |word: &String| languages.iter().any(|language| self.is_stop_word(word, Some(*language)));
        let counting: Vec<String> = all.iter().filter(|word| !is_stop(word)).cloned().collect();
        if counting.is_empty() { all } else { counting }
    }

    /// The terms that a question asks for: each counting word in every field, its stem in every language, and identifiers as a whole.
    pub fn question(&self, question: &str, languages: &[Language]) -> Vec<QueryTerm> {
        let mut terms = Vec::new();
        for word in self.question_words(question, languages) {
            terms.extend(self.terms_of_word(&word, languages, 1.0));
        }
        terms.extend(pieces(question).into_iter().filter_map(|piece| piece.whole).map(|text| QueryTerm {
            field: Field::Word,
            text,
            weight: Field::Word.weight(),
        }));
        unique(terms)
    }

    /// The terms of one word in every field; `share` is what its weights are multiplied by.
    pub fn terms_of_word(&self, word: &str, languages: &[Language], share: f32) -> Vec<QueryTerm> {
        let term = |field: Field, text: String| QueryTerm { field, text, weight: field.weight() * share };
        let mut terms = vec![term(Field::Word, word.to_owned())];
        for language in languages {
            let stem = self.stem(word, *language);
            terms.push(term(Field::Title, stem.clone()));
            terms.push(term(Field::Stem, stem));
        }
        unique(terms)
    }

    /// Stems, in a language, of the words of a text that count.
    pub fn stems(&self, text: &str, language: Language) -> Vec<String> {
        let words = pieces(text).into_iter().flat_map(|piece| piece.words);
        words.filter(|word| !self.is_stop_word(word, Some(language))).map(|word| self.stem(&word, language)).collect()
    }
}

/// A French word without the endings of participles that only their accent tells: "creee" and "creees" as "cre", which the stemmer, given words without accents, would take for other words.
fn masculine(word: &str) -> String {
    let mut end = word.strip_suffix('s').filter(|rest| rest.ends_with("ee")).unwrap_or(word);
    while end.ends_with("ee") {
        end = &end[..end.len() - 1];
    }
    end.to_owned()
}

/// Each term once, with the largest of its weights.
fn unique(terms: Vec<QueryTerm>) -> Vec<QueryTerm> {
    let mut kept: Vec<QueryTerm> = Vec::with_capacity(terms.len());
    for term in terms {
        match kept.iter_mut().find(|known| known.field == term.field && known.text == term.text) {
            Some(known) => known.weight = known.weight.max(term.weight),
            None => kept.push(term),
        }
    }
    kept
}

/// What stands between white space.
struct Piece {
    /// Runs of letters and digits, folded.
    words: Vec<String>,
    /// The piece as a whole, folded, where it is one name with signs inside.
    whole: Option<String>,
}

fn pieces(text: &str) -> Vec<Piece> {
    let parts = text.split(|c: char| c.is_whitespace() || BREAKS.contains(c));
    parts.filter(|part| part.chars().any(char::is_alphanumeric)).map(piece).collect()
}

fn piece(part: &str) -> Piece {
    let words: Vec<String> = folded_words(part);
    let inside = part.trim_matches(|c: char| !c.is_alphanumeric());
    let is_one_name =
        words.len() > 1 && inside.chars().all(|c| c.is_alphanumeric() || INNER_SIGNS.contains(c)) && inside.len() <= LONGEST_TERM;
    let whole = is_one_name.then(|| {
        let runs = inside.split_inclusive(|c: char| !c.is_alphanumeric());
        runs.map(|run| {
            let sign: String = run.chars().filter(|c| !c.is_alphanumeric()).collect();
            format!("{}{sign}", fold(run))
        })
        .map(|run| run.replace("  ", " "))
        .collect::<String>()
    });
    Piece { words, whole: whole.filter(|whole| whole.len() <= LONGEST_TERM) }
}

/// Words of a text, each at most [`LONGEST_TERM`] bytes.
fn folded_words(part: &str) -> Vec<String> {
    let folded = fold(part);
    folded.split(' ').filter(|word| !word.is_empty() && word.len() <= LONGEST_TERM).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
