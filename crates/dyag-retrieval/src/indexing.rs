//! What making a collection shares between all places that keep them: what is asked, what is told, and the work that no place does differently.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use dyag_text::chunk::Chunk;
use dyag_text::{Embedder, TextRole, sha256_hex};
use rayon::prelude::*;

use crate::analysis::{Analyzer, Language, content_hash, searched_text};
use crate::description::{ANALYSIS_VERSION, Description, EmbedderRecord};
use crate::error::RetrievalError;
use crate::local::unit;

/// Texts that are embedded between two times that vectors are put away.
pub(crate) const EMBEDDED_AT_ONCE: usize = 128;
/// Questions whose cosines with passages of other documents say what "unrelated" is.
const UNRELATED_QUESTIONS: usize = 64;
/// Passages of other documents that each is compared with, at most.
const UNRELATED_PASSAGES: usize = 48;
/// Candidates that a ranking looks at beyond those it gives, so that equal scores at its end are settled by id.
pub(crate) const TIES: usize = 32;

/// How a collection is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexOptions {
    /// Nothing is taken over from the generation before.
    pub rebuild: bool,
    /// Passages of the generation before stay, unless one of the same id comes.
    pub add: bool,
    /// Vectors from which on a folder has eight-bit copies, so that a search compares the nearest of these alone exactly; none: the default.
    pub approximate_from: Option<usize>,
    /// Where the embedder is, as it was named: written down for those who ask later.
    pub embedding_model: Option<String>,
    /// The time, as it is written down.
    pub created_at: String,
}

/// What indexing is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexEvent {
    /// Texts embedded so far, and all that must be.
    Embedding {
        /// So far.
        done: usize,
        /// All.
        all: usize,
    },
    /// Passages in the lexical index so far, and all.
    Indexing {
        /// So far.
        done: usize,
        /// All.
        all: usize,
    },
}

/// What indexing did.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexReport {
    /// The collection as it is now.
    pub description: Description,
    /// Passages that were not there before.
    pub added: usize,
    /// Passages that are there with other content.
    pub changed: usize,
    /// Passages that are as they were.
    pub unchanged: usize,
    /// Passages that left.
    pub removed: usize,
    /// Texts that were embedded in this run.
    pub embedded: usize,
    /// Whether a new generation was written: not when nothing changed.
    pub written: bool,
}

/// Receives what indexing is at; may stop it.
pub type Watcher<'a> = dyn FnMut(IndexEvent) -> ControlFlow<()> + 'a;

/// A collection's name, which becomes a folder's, a server's collection's or a value in a table.
///
/// # Errors
/// A name that cannot be all of these.
pub(crate) fn checked_name(name: &str) -> Result<&str, RetrievalError> {
    let is_sound = (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_sound { Ok(name) } else { Err(RetrievalError::BadName { name: name.to_owned() }) }
}

/// The record of an embedder.
pub(crate) fn record_of(embedder: &dyn Embedder) -> EmbedderRecord {
    EmbedderRecord { name: embedder.name(), signature: embedder.signature(), dimension: embedder.dimension() }
}

pub(crate) fn tell(watcher: &mut Watcher<'_>, event: IndexEvent) -> Result<(), RetrievalError> {
    match watcher(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(RetrievalError::Stopped),
    }
}

/// Passages by id, each once and with content.
///
/// # Errors
/// The first that is not so; none at all.
pub(crate) fn sorted(mut chunks: Vec<Chunk>) -> Result<Vec<Chunk>, RetrievalError> {
    chunks.sort_by(|a, b| a.id.cmp(&b.id));
    let wrong = |id: &str, expected, found: &str| RetrievalError::Chunk { id: id.to_owned(), expected, found: found.to_owned() };
    for chunk in &chunks {
        if chunk.content.trim().is_empty() {
            return Err(wrong(&chunk.id, "content", "none"));
        }
        if chunk.id.is_empty() {
            return Err(wrong(&chunk.id, "an id", "an empty one"));
        }
    }
    if let Some(pair) = chunks.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(wrong(&pair[0].id, "an id of its own", "another chunk of the same id"));
    }
    if chunks.is_empty() { Err(wrong("", "at least one chunk", "none")) } else { Ok(chunks) }
}

/// What a passage of unknown language is taken for, and what languages there are.
pub(crate) fn languages(analyzer: &Analyzer, chunks: &[Chunk]) -> (Vec<Option<Language>>, Vec<Language>) {
    let of_chunk: Vec<Option<Language>> = chunks.par_iter().map(|chunk| analyzer.language(&chunk.content)).collect();
    let mut counts: BTreeMap<Language, usize> = BTreeMap::new();
    for language in of_chunk.iter().flatten() {
        *counts.entry(*language).or_default() += 1;
    }
    let mut all: Vec<(Language, usize)> = counts.into_iter().collect();
    all.sort_by_key(|(language, n)| (std::cmp::Reverse(*n), *language));
    let mut all: Vec<Language> = all.into_iter().map(|(language, _)| language).collect();
    if all.is_empty() {
        all.push(Language::French);
    }
    (of_chunk, all)
}

/// Unit vectors of passages.
///
/// # Errors
/// An encoder that fails, a vector of another size, without direction or with numbers that are not finite.
pub(crate) fn embed(embedder: &dyn Embedder, chunks: &[&Chunk], dimension: usize) -> Result<Vec<Vec<f32>>, RetrievalError> {
    let texts: Vec<String> = chunks.iter().map(|chunk| searched_text(chunk)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = embedder.embed(&texts, TextRole::Document)?;
    let checked = vectors.iter().zip(chunks).map(|(vector, chunk)| {
        let wrong = |expected, found: String| RetrievalError::Chunk { id: chunk.id.clone(), expected, found };
        if vector.len() != dimension {
            return Err(wrong("a vector of the embedder's dimension", format!("{} numbers instead of {dimension}", vector.len())));
        }
        unit(vector).map_err(|found| wrong("a vector with a direction from the embedder", found.to_owned()))
    });
    let checked: Vec<Vec<f32>> = checked.collect::<Result<_, _>>()?;
    match checked.len() == chunks.len() {
        true => Ok(checked),
        false => {
            let found = format!("{} vectors for {} texts", checked.len(), chunks.len());
            Err(RetrievalError::Chunk { id: chunks[0].id.clone(), expected: "a vector for each text", found })
        }
    }
}

/// Passages whose titles stand for questions, and passages of other documents that each is compared with; drawn in a fixed way.
pub(crate) fn unrelated_draws(chunks: &[Chunk]) -> Vec<(usize, Vec<usize>)> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % chunks.len()
    };
    let asked: Vec<usize> = (0..UNRELATED_QUESTIONS.min(chunks.len())).map(|_| draw()).collect();
    let mut others = |place: usize| {
        let drawn = (0..UNRELATED_PASSAGES).map(|_| draw());
        drawn.filter(|other| chunks[*other].source_id != chunks[place].source_id).collect()
    };
    asked.into_iter().map(|place| (place, others(place))).collect()
}

/// Mean and standard deviation of the cosines of questions with passages of other documents, whose vectors `row` gives. Titles stand for questions (the beginning of a passage where it has none); none where there is
/// one document.
///
/// # Errors
/// An encoder that fails.
pub(crate) fn unrelated<'a>(
    embedder: &dyn Embedder,
    chunks: &[Chunk],
    draws: &[(usize, Vec<usize>)],
    row: impl Fn(usize) -> &'a [f32],
) -> Result<Option<(f64, f64)>, RetrievalError> {
    let texts: Vec<String> = draws
        .iter()
        .map(|(place, _)| match chunks[*place].title.trim() {
            "" => chunks[*place].content.chars().take(80).collect(),
            title => title.to_owned(),
        })
        .collect();
    let questions = embedder.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>(), TextRole::Query)?;
    let mut cosines = Vec::new();
    for ((_, others), question) in draws.iter().zip(&questions) {
        let Ok(question) = unit(question) else { continue };
        cosines.extend(others.iter().map(|other| dot(row(*other), &question)));
    }
    if cosines.len() < 2 {
        return Ok(None);
    }
    let n = cosines.len() as f64;
    let mean = cosines.iter().sum::<f64>() / n;
    let variance = cosines.iter().map(|cosine| (cosine - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok(Some((mean, variance.sqrt())))
}

/// The product of two vectors in double precision, summed in their order: the cosine of unit vectors, the same wherever it is computed.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// A score to five digits.
pub(crate) fn rounded(score: f32) -> f32 {
    if score == 0.0 || !score.is_finite() {
        return score;
    }
    let scale = 10f64.powi(4 - f64::from(score).abs().log10().floor() as i32);
    ((f64::from(score) * scale).round() / scale) as f32
}

/// What is new, changed, the same and gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    added: usize,
    changed: usize,
    unchanged: usize,
    removed: usize,
}

impl Counts {
    /// Compares passages, by id and content hash, with those that were there.
    pub(crate) fn of(chunks: &[Chunk], hashes: &[String], before: &HashMap<String, String>) -> Self {
        let mut counts = Self::default();
        for (chunk, hash) in chunks.iter().zip(hashes) {
            match before.get(&chunk.id) {
                None => counts.added += 1,
                Some(known) if known == hash => counts.unchanged += 1,
                Some(_) => counts.changed += 1,
            }
        }
        counts.removed = before.len() - counts.changed - counts.unchanged;
        counts
    }

    /// As a report.
    pub(crate) fn report(self, description: Description, embedded: usize, written: bool) -> IndexReport {
        let Self { added, changed, unchanged, removed } = self;
        IndexReport { description, added, changed, unchanged, removed, embedded, written }
    }
}

/// Hashes of passages, and one of all of them.
pub(crate) fn hashes(chunks: &[Chunk]) -> (Vec<String>, String) {
    let hashes: Vec<String> = chunks.par_iter().map(content_hash).collect();
    let all = sha256_hex(hashes.concat().as_bytes());
    (hashes, all)
}

/// The description of a collection that is being made.
pub(crate) fn description(
    name: &str,
    chunks: &[Chunk],
    languages: Vec<Language>,
    embedder: Option<EmbedderRecord>,
    unrelated_cosine: Option<(f64, f64)>,
    options: &IndexOptions,
    generation: u64,
) -> Description {
    Description {
        collection: name.to_owned(),
        n_chunks: chunks.len(),
        n_documents: chunks.iter().map(|chunk| chunk.source_id.as_str()).collect::<HashSet<_>>().len(),
        languages,
        analysis_version: ANALYSIS_VERSION,
        embedder,
        unrelated_cosine,
        embedding_model: options.embedding_model.clone(),
        created_at: options.created_at.clone(),
        generation,
    }
}
