//! Texts that say the same in nearly the same words: folding, similarity, and an index that finds them among tens of thousands.
//!
//! The similarity of two texts is the Jaccard index of their shingles: runs of four characters of the folded text, a space before the first
//! and after the last. Runs of characters suit short questions: one word more or less changes a few shingles of many, where it would
//! change most runs of words. What similarities mean, for questions of six to ten words:
//!
//! | similarity | such as |
//! |---|---|
//! | 1 | other case, accents, punctuation, spaces |
//! | 0.75 and more | a letter more, another ending, "d'ADES" for "de ADES" |
//! | 0.55 to 0.75 | a word or two more; **or the same wording about another short name** |
//! | below 0.55 | another wording |
//!
//! So no threshold tells "the same question about another application" from "nearly the same question": [`differ_by_name`] does.
//!
//! The index estimates similarities with MinHash signatures (Broder, "On the resemblance and containment of documents", 1997), finds
//! candidates whose signatures agree in a band of several hashes, and decides by the exact similarity. Hashes have fixed seeds: the same
//! texts in the same order give the same result on every machine.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The threshold for questions: the same one in nearly the same words.
pub const SAME_QUESTION: f64 = 0.75;

/// Characters of a shingle.
const SHINGLE_CHARS: usize = 4;
/// Hashes of a signature.
const N_HASHES: usize = 128;
/// How often a text that is exactly as similar as the threshold may be missed.
const MISS_PROBABILITY: f64 = 1e-4;

/// The words of a text in lower case, without accents, one space between them; everything else is dropped. A text without a word is
/// folded to its other characters, so that "?" and "!" stay apart.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in simple_chars(text).filter(|c| !is_accent(*c)) {
        if is_word_char(c) {
            folded.push(c);
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    if folded.is_empty() { simple_chars(text).filter(|c| !c.is_whitespace()).collect() } else { folded }
}

/// Characters in compatibility decomposition and lower case, ligatures and the like spelt out.
fn simple_chars(text: &str) -> impl Iterator<Item = char> {
    text.nfkd().flat_map(char::to_lowercase).flat_map(|c| {
        let (first, second) = match c {
            'œ' => ('o', Some('e')),
            'æ' => ('a', Some('e')),
            'ß' => ('s', Some('s')),
            'ø' => ('o', None),
            'ł' => ('l', None),
            'ı' => ('i', None),
            'ς' => ('σ', None),
            c => (c, None),
        };
        std::iter::once(first).chain(second)
    })
}

/// The marks of Latin, Greek and Cyrillic letters. Those of other scripts are vowels, which words differ in.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// How similar two texts are, from 0 to 1: the share of their shingles that both have.
pub fn jaccard(a: &str, b: &str) -> f64 {
    overlap(&shingles(a), &shingles(b))
}

/// The shingles of a text as hashes, sorted, each once; at least one.
fn shingles(text: &str) -> Vec<u64> {
    let chars: Vec<char> = std::iter::once(' ').chain(fold(text).chars()).chain([' ']).collect();
    let hash = |window: &[char]| window.iter().fold(0, |hash, c| mix(hash ^ u64::from(u32::from(*c))));
    let mut shingles: Vec<u64> =
        if chars.len() < SHINGLE_CHARS { vec![hash(&chars)] } else { chars.windows(SHINGLE_CHARS).map(hash).collect() };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// The Jaccard index of two sorted sets that are not empty.
fn overlap(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    shared as f64 / (a.len() + b.len() - shared) as f64
}

/// A step of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the result depends on every bit of `value`.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stored text that is like another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similar {
    /// Its number, counted from 0 in the order of storing.
    pub index: usize,
    /// [`jaccard`] of the two.
    pub similarity: f64,
}

/// Texts, and which of them are alike. Storing and finding take time that does not depend on how many texts are stored, as long as
/// few of them are nearly as similar as the threshold.
#[derive(Clone, Debug)]
pub struct NearDuplicates {
    threshold: f64,
    /// Hashes of a band.
    band_hashes: usize,
    /// For each band, the texts of each value.
    bands: Vec<HashMap<u64, Vec<usize>>>,
    shingles: Vec<Vec<u64>>,
}

impl NearDuplicates {
    /// An empty index. Texts are alike from a similarity of `threshold` on. Below a threshold of 0.1 some are missed; above, one of
    /// ten thousand that are just as similar as the threshold, and fewer of those that are more similar. Equal texts never are.
    ///
    /// # Panics
    /// A threshold that is not above 0, or above 1.
    pub fn new(threshold: f64) -> Self {
        assert!(threshold > 0.0 && threshold <= 1.0, "a threshold is above 0 and at most 1, found {threshold}");
        // All `n` hashes of a band agree with probability `threshold^n`. Long bands bring few candidates, many bands miss little.
        let missed = |n: usize| (1.0 - threshold.powi(n as i32)).powi((N_HASHES / n) as i32);
        let band_hashes = (2..=N_HASHES).rev().find(|n| missed(*n) <= MISS_PROBABILITY).unwrap_or(1);
        Self { threshold, band_hashes, bands: vec![HashMap::new(); N_HASHES / band_hashes], shingles: Vec::new() }
    }

    /// How many texts are stored.
    pub fn len(&self) -> usize {
        self.shingles.len()
    }

    /// Whether none is stored.
    pub fn is_empty(&self) -> bool {
        self.shingles.is_empty()
    }

    /// Stores a text, and gives its number.
    pub fn insert(&mut self, text: &str) -> usize {
        let shingles = shingles(text);
        let keys = self.band_keys(&shingles);
        self.store(shingles, &keys)
    }

    /// All stored texts that are like `text`, in the order of storing.
    pub fn similar(&self, text: &str) -> Vec<Similar> {
        let shingles = shingles(text);
        self.similar_to(&shingles, &self.band_keys(&shingles))
    }

    /// The number of the stored text that is most like `text`, the earliest of several; stores `text` when there is none.
    pub fn find_or_insert(&mut self, text: &str) -> Option<usize> {
        let shingles = shingles(text);
        let keys = self.band_keys(&shingles);
        let found = self.similar_to(&shingles, &keys);
        let best = found.into_iter().reduce(|best, other| if other.similarity > best.similarity { other } else { best });
        if best.is_none() {
            self.store(shingles, &keys);
        }
        best.map(|best| best.index)
    }

    /// One value for each band of the MinHash signature.
    fn band_keys(&self, shingles: &[u64]) -> Vec<u64> {
        let mut seed = 0;
        let mut next_hash = || {
            seed = mix(seed);
            shingles.iter().map(|shingle| mix(shingle ^ seed)).min().unwrap_or(0)
        };
        (0..self.bands.len()).map(|_| (0..self.band_hashes).fold(0, |key, _| mix(key ^ next_hash()))).collect()
    }

    fn similar_to(&self, shingles: &[u64], keys: &[u64]) -> Vec<Similar> {
        let mut seen = vec![false; self.shingles.len()];
        let mut candidates = Vec::new();
        for index in self.bands.iter().zip(keys).filter_map(|(band, key)| band.get(key)).flatten() {
            if !std::mem::replace(&mut seen[*index], true) {
                candidates.push(*index);
            }
        }
        candidates.sort_unstable();
        let alike = |index: usize| {
            let (a, b) = (shingles, self.shingles[index].as_slice());
            // The smaller set cannot share more than it has.
            let most = a.len().min(b.len()) as f64 / a.len().max(b.len()) as f64;
            (most >= self.threshold).then(|| overlap(a, b)).filter(|similarity| *similarity >= self.threshold)
        };
        candidates.into_iter().filter_map(|index| Some(Similar { index, similarity: alike(index)? })).collect()
    }

    fn store(&mut self, shingles: Vec<u64>, keys: &[u64]) -> usize {
        let index = self.shingles.len();
        for (band, key) in self.bands.iter_mut().zip(keys) {
            band.entry(*key).or_default().push(index);
        }
        self.shingles.push(shingles);
        index
    }
}

/// Whether two texts of similar wording are about different things: a word that only one of them has is a name or a number, that is, it
/// holds a digit, or a capital that is not merely the first letter of a sentence. In a text all in capitals only digits tell.
pub fn differ_by_name(a: &str, b: &str) -> bool {
    Wording::new(a).differs_by_name(&Wording::new(b))
}

/// Whether a text holds a name or a number, as [`differ_by_name`] sees them.
pub fn holds_name(text: &str) -> bool {
    Wording::new(text).words.iter().any(|word| word.is_name)
}

/// The words of a text, ready to be compared with those of many others.
#[derive(Clone, Debug)]
pub(crate) struct Wording {
    words: Vec<Word>,
    /// Hashes of the words and their places, by hash.
    by_hash: Vec<(u64, usize)>,
}

#[derive(Clone, Debug)]
struct Word {
    folded: String,
    is_name: bool,
}

impl Wording {
    pub(crate) fn new(text: &str) -> Self {
        let words = words(text);
        let hash = |word: &Word| word.folded.chars().fold(0, |hash, c| mix(hash ^ u64::from(u32::from(c))));
        let mut by_hash: Vec<(u64, usize)> = words.iter().enumerate().map(|(place, word)| (hash(word), place)).collect();
        by_hash.sort_unstable();
        Self { words, by_hash }
    }

    /// The names and numbers in it, folded, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.words.iter().filter(|word| word.is_name).map(|word| word.folded.as_str())
    }

    /// [`differ_by_name`].
    pub(crate) fn differs_by_name(&self, other: &Self) -> bool {
        let (only_self, only_other) = (self.missing_from(other), other.missing_from(self));
        // "6Tzen" and "6 Tzen" are the same name.
        only_self.iter().chain(&only_other).any(|word| word.is_name) && !letters(&only_self).eq(letters(&only_other))
    }

    /// The words that `other` has fewer times, in their order.
    fn missing_from(&self, other: &Self) -> Vec<&Word> {
        let mut rest = other.by_hash.iter().peekable();
        let mut places = Vec::new();
        for (hash, place) in &self.by_hash {
            while rest.next_if(|(other, _)| other < hash).is_some() {}
            if rest.next_if(|(other, _)| other == hash).is_none() {
                places.push(*place);
            }
        }
        places.sort_unstable();
        places.into_iter().map(|place| &self.words[place]).collect()
    }
}

fn letters<'a>(words: &'a [&Word]) -> impl Iterator<Item = char> + 'a {
    words.iter().flat_map(|word| word.folded.chars()).filter(|c| *c != ' ')
}

fn words(text: &str) -> Vec<Word> {
    let capitals_tell = text.chars().any(char::is_lowercase);
    let mut words = Vec::new();
    let mut opens_sentence = true;
    let mut rest = text;
    while let Some(start) = rest.find(is_word_char) {
        let gap = &rest[..start];
        opens_sentence |= gap.contains(['.', '!', '?', '\n']) && gap.contains(char::is_whitespace);
        let word = &rest[start..];
        let end = word.find(|c| !is_word_char(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let capital = word.chars().skip(usize::from(opens_sentence)).any(char::is_uppercase);
        words.push(Word { folded: fold(word), is_name: word.contains(char::is_numeric) || (capitals_tell && capital) });
        opens_sentence = false;
        rest = after;
    }
    words
}

#[cfg(test)]
#[path = "near_duplicates_tests.rs"]
mod tests;
