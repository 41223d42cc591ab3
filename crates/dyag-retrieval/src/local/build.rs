//! Making a generation: what did not change is taken over, what is new is embedded, all of it appears by one rename.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use dyag_text::Embedder;
use dyag_text::chunk::Chunk;

use super::codes;
use super::files::{self, FileRecord};
use super::generation::{self, CHUNKS, CODES, CURRENT, FORMAT, Generation, LEXICAL, MANIFEST, Manifest, OFFSETS, VECTORS};
use super::journal::{Journal, VectorsByText};
use super::lexical;
use crate::analysis::{Analyzer, content_hash, fingerprint};
use crate::description::EmbedderRecord;
use crate::error::RetrievalError;
use crate::indexing::{
    Counts, EMBEDDED_AT_ONCE, IndexEvent, IndexOptions, IndexReport, Watcher, checked_name, description, embed, hashes, languages,
    record_of, sorted, tell, unrelated, unrelated_draws,
};

/// The folder of a collection.
pub(super) fn folder_of(root: &Path, name: &str) -> Result<PathBuf, RetrievalError> {
    Ok(root.join(checked_name(name)?))
}

/// Keeps other writers out for as long as it lives.
pub(super) struct Lock {
    /// Unlocked when it is closed.
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, RetrievalError> {
        let path = folder.join("LOCK");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| RetrievalError::write(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
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
    // What is made anew needs nothing of what was, which may be damaged.
    let before = match (options.rebuild, generation::current(&folder)) {
        (true, _) => None,
        (false, current) => current?.map(|current| Generation::open(&current)).transpose()?,
    };
    // A damaged byte would be taken over, and vouched for.
    before.as_ref().map_or(Ok(()), Generation::verify_taken_over)?;
    let number = generations(&folder)?.last().copied().unwrap_or(0) + 1;
    let chunks = in_order(chunks, before.as_ref().filter(|_| options.add))?;
    let record = embedder.map(record_of);
    let (hashes, content) = hashes(&chunks);
    let counts = Counts::of(&chunks, &hashes, &hashes_of(before.as_ref())?);
    if let Some(before) = &before
        && before.manifest.content == content
        && before.manifest.records_lexical()
        && (record.is_none() || before.manifest.files.contains_key(CODES) == has_codes(chunks.len(), options))
        && before.manifest.description.embedder.as_ref().map(|e| &e.signature) == record.as_ref().map(|e| &e.signature)
    {
        return Ok(counts.report(before.manifest.description.clone(), 0, false));
    }
    let mut build = Build { folder: &folder, chunks: &chunks, before: before.as_ref(), watcher };
    let partial = folder.join(format!("{}.partial", generation::name(number)));
    remove_partials(&folder)?;
    fs::create_dir_all(&partial).map_err(|error| RetrievalError::write(&partial, error))?;
    let mut files = build.write_chunks(&partial)?;
    let (mut unrelated_cosine, mut n_embedded) = (None, 0);
    if let (Some(embedder), Some(record)) = (embedder, &record) {
        let (vectors, embedded) = build.vectors(embedder, record)?;
        n_embedded = embedded;
        let rows: Vec<&[f32]> = chunks.iter().map(|chunk| vectors[&fingerprint(chunk)].as_slice()).collect();
        unrelated_cosine = unrelated(embedder, &chunks, &unrelated_draws(&chunks), |place| rows[place])?;
        files.extend(write_vectors(&partial, &rows, record.dimension, options)?);
    }
    let analyzer = Analyzer::new();
    let (of_chunk, languages) = languages(&analyzer, &chunks);
    let watcher = &mut *build.watcher;
    lexical::write(&partial.join(LEXICAL), lexical::COMMIT, &analyzer, &chunks, &of_chunk, languages[0], &mut |done| {
        tell(watcher, IndexEvent::Indexing { done, all: chunks.len() })
    })?;
    let description = description(name, &chunks, languages, record, unrelated_cosine, options, number);
    files.extend(generation::lexical_records(&partial)?);
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
    Ok(counts.report(manifest.description, n_embedded, true))
}

/// Whether a collection of `n` vectors has copies of them.
fn has_codes(n: usize, options: &IndexOptions) -> bool {
    n >= options.approximate_from.unwrap_or(codes::FROM)
}

/// Writes vectors by passage; where there are many, copies as well.
fn write_vectors(
    partial: &Path,
    rows: &[&[f32]],
    dimension: usize,
    options: &IndexOptions,
) -> Result<BTreeMap<String, FileRecord>, RetrievalError> {
    let file = files::write_new(&partial.join(VECTORS), |out| {
        rows.iter().try_for_each(|row| row.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())))
    })?;
    let mut written = BTreeMap::from([(VECTORS.to_owned(), file)]);
    if has_codes(rows.len(), options) {
        let file = files::write_new(&partial.join(CODES), |out| codes::write(rows, dimension, out))?;
        written.insert(CODES.to_owned(), file);
    }
    Ok(written)
}

const JOURNAL: &str = "embedding.journal";

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

/// Content hashes of the passages of a generation, by id.
fn hashes_of(before: Option<&Generation>) -> Result<HashMap<String, String>, RetrievalError> {
    let mut hashes = HashMap::new();
    if let Some(before) = before {
        for place in 0..before.len() {
            let chunk = before.chunk(place)?;
            let hash = content_hash(&chunk);
            hashes.insert(chunk.id, hash);
        }
    }
    Ok(hashes)
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
