//! Making a collection on a server: what changed is found by hashes, what is new is embedded, and the server is given the new state.

use std::collections::{HashMap, HashSet};

use dyag_text::Embedder;
use dyag_text::chunk::Chunk;

use crate::analysis::{Analyzer, Language, fingerprint};
use crate::description::{ANALYSIS_VERSION, Description, EmbedderRecord};
use crate::error::RetrievalError;
use crate::indexing::{
    Counts, EMBEDDED_AT_ONCE, IndexEvent, IndexOptions, IndexReport, Watcher, description, embed, hashes, languages, record_of, sorted,
    tell, unrelated, unrelated_draws,
};

/// The hash of a text.
pub(super) type Fingerprint = [u8; 16];
/// Vectors by the text they are of.
pub(super) type VectorsByText = HashMap<Fingerprint, Vec<f32>>;

/// What a server knows of a passage without reading it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) content_hash: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) language: Language,
}

/// A collection as a writer finds it.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) description: Description,
    /// Hash of all passages.
    pub(super) content: String,
    /// By id.
    pub(super) passages: HashMap<String, Known>,
}

/// What a collection shall be.
pub(super) struct Wanted<'a> {
    pub(super) description: &'a Description,
    pub(super) content: &'a str,
    /// By id.
    pub(super) chunks: &'a [Chunk],
    pub(super) hashes: &'a [String],
    pub(super) fingerprints: &'a [Fingerprint],
    /// In which each is analysed.
    pub(super) languages: &'a [Language],
    /// Whether the server has it as it shall be, vector and terms included.
    pub(super) is_kept: &'a [bool],
    /// Of every passage that is not kept; of all for a server that writes all anew.
    pub(super) vectors: &'a VectorsByText,
    pub(super) analyzer: &'a Analyzer,
}

/// The side of a server that writes one collection; no other process writes it for as long as this lives.
pub(super) trait Writer {
    /// Whether every passage is written again, whatever was there.
    const WRITES_ALL: bool;

    /// The collection as it is, or none.
    fn present(&mut self) -> Result<Option<Present>, RetrievalError>;

    /// Every passage that is there.
    fn chunks(&mut self) -> Result<Vec<Chunk>, RetrievalError>;

    /// The texts whose vectors of this embedder a run that was stopped has left.
    fn left(&mut self, embedder: &EmbedderRecord) -> Result<HashSet<Fingerprint>, RetrievalError>;

    /// Keeps vectors, so that a run that is stopped need not be repeated. May do nothing.
    fn keep(&mut self, embedder: &EmbedderRecord, vectors: &[(Fingerprint, &[f32])]) -> Result<(), RetrievalError>;

    /// Vectors of these texts, of the collection or left by a run that was stopped.
    fn vectors(&mut self, embedder: &EmbedderRecord, wanted: &HashSet<Fingerprint>) -> Result<VectorsByText, RetrievalError>;

    /// Makes the collection what it shall be, all at once.
    fn write(&mut self, wanted: &Wanted<'_>, watcher: &mut Watcher<'_>) -> Result<(), RetrievalError>;
}

/// Makes a server's collection hold `chunks`; see [`super::RemotePlace::index`].
pub(super) fn index<W: Writer>(
    writer: &mut W,
    name: &str,
    chunks: Vec<Chunk>,
    embedder: Option<&dyn Embedder>,
    options: &IndexOptions,
    watcher: &mut Watcher<'_>,
) -> Result<IndexReport, RetrievalError> {
    let found = writer.present()?;
    let number = found.as_ref().map_or(0, |present| present.description.generation) + 1;
    let before = found.filter(|_| !options.rebuild);
    if let Some(present) = &before
        && present.description.analysis_version != ANALYSIS_VERSION
    {
        return Err(RetrievalError::OtherAnalysis {
            collection: name.to_owned(),
            expected: ANALYSIS_VERSION,
            found: present.description.analysis_version,
        });
    }
    let chunks = with_those_before(writer, chunks, before.is_some() && options.add)?;
    let (hashes, content) = hashes(&chunks);
    let record = embedder.map(record_of);
    let signature = |record: Option<&EmbedderRecord>| record.map(|record| (record.signature.clone(), record.dimension));
    let same_embedder =
        before.as_ref().is_some_and(|present| signature(present.description.embedder.as_ref()) == signature(record.as_ref()));
    let known = before.as_ref().map(|present| &present.passages);
    let by_id = known.into_iter().flatten().map(|(id, known)| (id.clone(), known.content_hash.clone())).collect();
    let counts = Counts::of(&chunks, &hashes, &by_id);
    if let Some(present) = &before
        && present.content == content
        && same_embedder
    {
        return Ok(counts.report(present.description.clone(), 0, false));
    }
    let fingerprints: Vec<Fingerprint> = chunks.iter().map(fingerprint).collect();
    let analyzer = Analyzer::new();
    let (of_chunk, all_languages) = languages(&analyzer, &chunks);
    let of_chunk: Vec<Language> = of_chunk.into_iter().map(|language| language.unwrap_or(all_languages[0])).collect();
    let keeps = |place: usize| {
        known.and_then(|known| known.get(&chunks[place].id)).is_some_and(|known| {
            same_embedder
                && known.content_hash == hashes[place]
                && known.fingerprint == fingerprints[place]
                && known.language == of_chunk[place]
        })
    };
    let is_kept: Vec<bool> = (0..chunks.len()).map(keeps).collect();
    let (mut vectors, mut unrelated_cosine, mut embedded) = (VectorsByText::new(), None, 0);
    if let (Some(embedder), Some(record)) = (embedder, &record) {
        let mut there = if options.rebuild { HashSet::new() } else { writer.left(record)? };
        if same_embedder {
            there.extend(known.into_iter().flatten().map(|(_, known)| known.fingerprint));
        }
        vectors = made(writer, embedder, record, &chunks, &fingerprints, &there, watcher)?;
        embedded = vectors.len();
        let draws = unrelated_draws(&chunks);
        let mut needed: HashSet<Fingerprint> = draws.iter().flat_map(|(_, others)| others).map(|place| fingerprints[*place]).collect();
        needed.extend((0..chunks.len()).filter(|place| W::WRITES_ALL || !is_kept[*place]).map(|place| fingerprints[place]));
        needed.retain(|fingerprint| !vectors.contains_key(fingerprint));
        if !needed.is_empty() {
            vectors.extend(writer.vectors(record, &needed)?);
        }
        if let Some((place, _)) = fingerprints.iter().enumerate().find(|(_, text)| needed.contains(*text) && !vectors.contains_key(*text)) {
            return Err(RetrievalError::Chunk {
                id: chunks[place].id.clone(),
                expected: "its vector on the server, which recorded one; index again with --rebuild",
                found: "none".to_owned(),
            });
        }
        unrelated_cosine = unrelated(embedder, &chunks, &draws, |place| vectors[&fingerprints[place]].as_slice())?;
    }
    let description = description(name, &chunks, all_languages, record, unrelated_cosine, options, number);
    let wanted = Wanted {
        description: &description,
        content: &content,
        chunks: &chunks,
        hashes: &hashes,
        fingerprints: &fingerprints,
        languages: &of_chunk,
        is_kept: &is_kept,
        vectors: &vectors,
        analyzer: &analyzer,
    };
    writer.write(&wanted, watcher)?;
    Ok(counts.report(description, embedded, true))
}

/// Passages by id; with those of the server that none replaces.
fn with_those_before<W: Writer>(writer: &mut W, mut chunks: Vec<Chunk>, add: bool) -> Result<Vec<Chunk>, RetrievalError> {
    if add {
        let ids: HashSet<String> = chunks.iter().map(|chunk| chunk.id.clone()).collect();
        chunks.extend(writer.chunks()?.into_iter().filter(|chunk| !ids.contains(&chunk.id)));
    }
    sorted(chunks)
}

/// Vectors of the texts that are not there, made now.
fn made<W: Writer>(
    writer: &mut W,
    embedder: &dyn Embedder,
    record: &EmbedderRecord,
    chunks: &[Chunk],
    fingerprints: &[Fingerprint],
    there: &HashSet<Fingerprint>,
    watcher: &mut Watcher<'_>,
) -> Result<VectorsByText, RetrievalError> {
    let mut seen = HashSet::new();
    let mut open: Vec<(&Chunk, Fingerprint)> =
        chunks.iter().zip(fingerprints.iter().copied()).filter(|(_, text)| !there.contains(text) && seen.insert(*text)).collect();
    // Texts of one length together: an encoder computes them at once.
    open.sort_by_key(|(chunk, _)| std::cmp::Reverse(chunk.content.len()));
    let (mut vectors, all) = (VectorsByText::new(), open.len());
    tell(watcher, IndexEvent::Embedding { done: 0, all })?;
    for part in open.chunks(EMBEDDED_AT_ONCE) {
        let texts: Vec<&Chunk> = part.iter().map(|(chunk, _)| *chunk).collect();
        let new = embed(embedder, &texts, record.dimension)?;
        let named: Vec<(Fingerprint, &[f32])> = part.iter().zip(&new).map(|((_, text), vector)| (*text, vector.as_slice())).collect();
        writer.keep(record, &named)?;
        vectors.extend(part.iter().zip(new).map(|((_, text), vector)| (*text, vector)));
        tell(watcher, IndexEvent::Embedding { done: vectors.len(), all })?;
    }
    Ok(vectors)
}
