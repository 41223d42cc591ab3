//! Making a generation: what did not change is taken over, what is new is embedded, all of it appears by one rename.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dyag_text::chunk::Chunk;
use dyag_text::{Embedder, TextRole, sha256_hex};
use rayon::prelude::*;

use super::files::{self, FileRecord};
use super::generation::{self, CHUNKS, CURRENT, FORMAT, Generation, LEXICAL, MANIFEST, Manifest, OFFSETS, VECTORS};
use super::journal::{Journal, VectorsByText};
use super::lexical;
use super::vectors::unit;
use crate::analysis::{Analyzer, content_hash, fingerprint, searched_text};
use crate::description::{ANALYSIS_VERSION, Description, EmbedderRecord};
use crate::error::RetrievalError;

/// Texts that are embedded between two writings to the journal.
const EMBEDDED_AT_ONCE: usize = 128;
/// Questions whose cosines with passages of other documents say what "unrelated" is.
const UNRELATED_QUESTIONS: usize = 64;
/// Passages of other documents that each is compared with, at most.
const UNRELATED_PASSAGES: usize = 48;

/// How a collection is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexOptions {
    /// Nothing is taken over from the generation before.
    pub rebuild: bool,
    /// Passages of the generation before stay, unless one of the same id comes.
    pub add: bool,
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

/// The folder of a collection.
pub(super) fn folder_of(root: &Path, name: &str) -> Result<PathBuf, RetrievalError> {
    let is_sound = (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_sound { Ok(root.join(name)) } else { Err(RetrievalError::BadName { name: name.to_owned() }) }
}

/// Keeps other writers out for as long as it lives.
pub(super) struct Lock(#[allow(dead_code)] File);

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, RetrievalError> {
        let path = folder.join("LOCK");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| RetrievalError::write(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => Err(RetrievalError::Locked { path: folder.to_owned() }),
            Err(fs::TryLockError::Error(error)) => Err(RetrievalError::write(&path, error)),
        }
    }
}

/// Makes the collection `name` under `root` hold `chunks`, those that came before for `options.add`, and nothing else.
///
/// Vectors of texts that an earlier generation, or a run that was stopped, embedded with the same embedder are taken over. Readers see the generation before until the new one is whole.
///
/// # Errors
/// A passage without content or with the id of another, a vector without direction, another writer, files that cannot be written, a watcher that stops it.
pub fn index(
    root: &Path,
    name: &str,
    chunks: Vec<Chunk>,
    embedder: Option<&dyn Embedder>,
    options: &IndexOptions,
    watcher: &mut Watcher<'_>,
) -> Result<IndexReport, RetrievalError> {
    let folder = folder_of(root, name)?;
    fs::create_dir_all(&folder).map_err(|error| RetrievalError::write(&folder, error))?;
    let _lock = Lock::take(&folder)?;
    let before = match generation::current(&folder)? {
        Some(current) if !options.rebuild => Some(Generation::open(&current)?),
        _ => None,
    };
    let number = generations(&folder)?.last().copied().unwrap_or(0) + 1;
    let chunks = in_order(chunks, before.as_ref().filter(|_| options.add))?;
    let record =
        embedder.map(|embedder| EmbedderRecord { name: embedder.name(), signature: embedder.signature(), dimension: embedder.dimension() });
    let (counts, content) = changes(&chunks, before.as_ref())?;
    let mut report = counts;
    if let Some(before) = &before
        && before.manifest.content == content
        && before.manifest.description.embedder.as_ref().map(|e| &e.signature) == record.as_ref().map(|e| &e.signature)
    {
        report.description = before.manifest.description.clone();
        return Ok(report);
    }
    let mut build = Build { folder: &folder, chunks: &chunks, before: before.as_ref(), watcher };
    let partial = folder.join(format!("{}.partial", generation::name(number)));
    remove_partials(&folder)?;
    fs::create_dir_all(&partial).map_err(|error| RetrievalError::write(&partial, error))?;
    let mut files = build.write_chunks(&partial)?;
    let mut unrelated_cosine = None;
    if let (Some(embedder), Some(record)) = (embedder, &record) {
        let (vectors, embedded) = build.vectors(embedder, record)?;
        report.embedded = embedded;
        let rows: Vec<&[f32]> = chunks.iter().map(|chunk| vectors[&fingerprint(chunk)].as_slice()).collect();
        unrelated_cosine = unrelated(embedder, &chunks, &rows)?;
        let file = files::write_new(&partial.join(VECTORS), |out| {
            rows.iter().try_for_each(|row| row.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())))
        })?;
        files.insert(VECTORS.to_owned(), file);
    }
    let analyzer = Analyzer::new();
    let (of_chunk, languages) = lexical::languages(&analyzer, &chunks);
    let watcher = &mut *build.watcher;
    lexical::write(&partial.join(LEXICAL), lexical::COMMIT, &analyzer, &chunks, &of_chunk, languages[0], &mut |done| {
        tell(watcher, IndexEvent::Indexing { done, all: chunks.len() })
    })?;
    let description = Description {
        collection: name.to_owned(),
        n_chunks: chunks.len(),
        n_documents: chunks.iter().map(|chunk| chunk.source_id.as_str()).collect::<HashSet<_>>().len(),
        languages,
        analysis_version: ANALYSIS_VERSION,
        embedder: record,
        unrelated_cosine,
        embedding_model: options.embedding_model.clone(),
        created_at: options.created_at.clone(),
        generation: number,
    };
    let manifest = Manifest { format: FORMAT, description, content, files };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| RetrievalError::write(&partial.join(MANIFEST), error.into()))?;
    files::write_new(&partial.join(MANIFEST), |out| out.write_all(&text))?;
    files::sync(&partial)?;
    let whole = folder.join(generation::name(number));
    fs::rename(&partial, &whole).map_err(|error| RetrievalError::write(&whole, error))?;
    files::sync(&folder)?;
    files::replace(&folder.join(CURRENT), format!("{}\n", generation::name(number)).as_bytes())?;
    Journal::remove(&folder.join(JOURNAL));
    drop(before);
    remove_old(&folder, number)?;
    report.description = manifest.description;
    report.written = true;
    Ok(report)
}

const JOURNAL: &str = "embedding.journal";

fn tell(watcher: &mut Watcher<'_>, event: IndexEvent) -> Result<(), RetrievalError> {
    match watcher(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(RetrievalError::Stopped),
    }
}

/// Passages by id, each once and with content; with those of `before` that none replaces.
fn in_order(mut chunks: Vec<Chunk>, before: Option<&Generation>) -> Result<Vec<Chunk>, RetrievalError> {
    if let Some(before) = before {
        let ids: HashSet<String> = chunks.iter().map(|chunk| chunk.id.clone()).collect();
        for place in 0..before.len() {
            let chunk = before.chunk(place)?;
            if !ids.contains(&chunk.id) {
                chunks.push(chunk);
            }
        }
    }
    sorted(chunks)
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

/// What is new, changed, the same and gone; and a hash of all passages.
fn changes(chunks: &[Chunk], before: Option<&Generation>) -> Result<(IndexReport, String), RetrievalError> {
    let hashes: Vec<String> = chunks.par_iter().map(content_hash).collect();
    let mut old: HashMap<String, String> = HashMap::new();
    if let Some(before) = before {
        for place in 0..before.len() {
            let chunk = before.chunk(place)?;
            let hash = content_hash(&chunk);
            old.insert(chunk.id, hash);
        }
    }
    let n_before = old.len();
    let (mut added, mut changed, mut unchanged) = (0, 0, 0);
    for (chunk, hash) in chunks.iter().zip(&hashes) {
        match old.get(&chunk.id) {
            None => added += 1,
            Some(known) if known == hash => unchanged += 1,
            Some(_) => changed += 1,
        }
    }
    let description = Description {
        collection: String::new(),
        n_chunks: 0,
        n_documents: 0,
        languages: Vec::new(),
        analysis_version: ANALYSIS_VERSION,
        embedder: None,
        embedding_model: None,
        unrelated_cosine: None,
        created_at: String::new(),
        generation: 0,
    };
    let removed = n_before - changed - unchanged;
    let report = IndexReport { description, added, changed, unchanged, removed, embedded: 0, written: false };
    Ok((report, sha256_hex(hashes.concat().as_bytes())))
}

/// Numbers of the generations that are there, in order.
fn generations(folder: &Path) -> Result<Vec<u64>, RetrievalError> {
    let entries = fs::read_dir(folder).map_err(|error| RetrievalError::read(folder, error))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut numbers: Vec<u64> = names.filter_map(|name| generation::number(name.strip_suffix(".partial").unwrap_or(&name))).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes what a run that was killed left.
fn remove_partials(folder: &Path) -> Result<(), RetrievalError> {
    for entry in fs::read_dir(folder).map_err(|error| RetrievalError::read(folder, error))?.flatten() {
        if entry.file_name().to_string_lossy().strip_suffix(".partial").and_then(generation::number).is_some() {
            fs::remove_dir_all(entry.path()).map_err(|error| RetrievalError::write(&entry.path(), error))?;
        }
    }
    Ok(())
}

/// Removes generations but the last two: a reader that has just looked which one counts still finds the one before.
fn remove_old(folder: &Path, number: u64) -> Result<(), RetrievalError> {
    for old in generations(folder)?.into_iter().filter(|old| old + 1 < number) {
        let path = folder.join(generation::name(old));
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(RetrievalError::write(&path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// A generation in the making.
struct Build<'a, 'w> {
    folder: &'a Path,
    chunks: &'a [Chunk],
    before: Option<&'a Generation>,
    watcher: &'a mut Watcher<'w>,
}

impl Build<'_, '_> {
    fn write_chunks(&self, partial: &Path) -> Result<BTreeMap<String, FileRecord>, RetrievalError> {
        let mut offsets = Vec::with_capacity(8 * (self.chunks.len() + 1));
        let mut at = 0u64;
        let lines = files::write_new(&partial.join(CHUNKS), |out| {
            for chunk in self.chunks {
                offsets.extend_from_slice(&at.to_le_bytes());
                let mut line = serde_json::to_vec(chunk)?;
                line.push(b'\n');
                at += line.len() as u64;
                out.write_all(&line)?;
            }
            Ok(())
        })?;
        offsets.extend_from_slice(&at.to_le_bytes());
        let offsets = files::write_new(&partial.join(OFFSETS), |out| out.write_all(&offsets))?;
        Ok(BTreeMap::from([(CHUNKS.to_owned(), lines), (OFFSETS.to_owned(), offsets)]))
    }

    /// Vectors of all passages by fingerprint, and how many were made now.
    fn vectors(&mut self, embedder: &dyn Embedder, record: &EmbedderRecord) -> Result<(VectorsByText, usize), RetrievalError> {
        let (mut journal, mut vectors) = Journal::open(&self.folder.join(JOURNAL), record)?;
        if let Some(before) = self.before
            && let Some(old) = &before.vectors
            && before.manifest.description.embedder.as_ref().is_some_and(|known| known.signature == record.signature)
            && old.dimension() == record.dimension
        {
            for place in 0..before.len() {
                vectors.insert(fingerprint(&before.chunk(place)?), old.row(place));
            }
        }
        let mut seen = HashSet::new();
        let mut open: Vec<&Chunk> = Vec::new();
        for chunk in self.chunks {
            let fingerprint = fingerprint(chunk);
            if !vectors.contains_key(&fingerprint) && seen.insert(fingerprint) {
                open.push(chunk);
            }
        }
        // Texts of one length together: an encoder computes them at once.
        open.sort_by_key(|chunk| std::cmp::Reverse(chunk.content.len()));
        let all = open.len();
        tell(self.watcher, IndexEvent::Embedding { done: 0, all })?;
        for (batch, part) in open.chunks(EMBEDDED_AT_ONCE).enumerate() {
            let made = embed(embedder, part, record.dimension)?;
            journal.add(part.iter().zip(&made).map(|(chunk, vector)| (fingerprint(chunk), vector.as_slice())))?;
            vectors.extend(part.iter().zip(made).map(|(chunk, vector)| (fingerprint(chunk), vector)));
            tell(self.watcher, IndexEvent::Embedding { done: batch * EMBEDDED_AT_ONCE + part.len(), all })?;
        }
        Ok((vectors, all))
    }
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

/// Mean and standard deviation of the cosines of questions with passages of other documents. Titles stand for questions (the beginning of a passage where it has none), drawn in a fixed way; none where there is
/// one document.
pub(crate) fn unrelated(embedder: &dyn Embedder, chunks: &[Chunk], rows: &[&[f32]]) -> Result<Option<(f64, f64)>, RetrievalError> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % chunks.len()
    };
    let asked: Vec<usize> = (0..UNRELATED_QUESTIONS.min(chunks.len())).map(|_| draw()).collect();
    let texts: Vec<String> = asked
        .iter()
        .map(|place| match chunks[*place].title.trim() {
            "" => chunks[*place].content.chars().take(80).collect(),
            title => title.to_owned(),
        })
        .collect();
    let questions = embedder.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>(), TextRole::Query)?;
    let mut cosines = Vec::new();
    for (place, question) in asked.iter().zip(&questions) {
        let Ok(question) = unit(question) else { continue };
        for _ in 0..UNRELATED_PASSAGES {
            let other = draw();
            if chunks[other].source_id != chunks[*place].source_id {
                cosines.push(rows[other].iter().zip(&question).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>());
            }
        }
    }
    if cosines.len() < 2 {
        return Ok(None);
    }
    let n = cosines.len() as f64;
    let mean = cosines.iter().sum::<f64>() / n;
    let variance = cosines.iter().map(|cosine| (cosine - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok(Some((mean, variance.sqrt())))
}
