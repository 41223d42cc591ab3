//! From documents to chunks: cutting, naming, numbering.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::catalogue::{self, Entry};
use super::ruler::Ruler;
use super::split::{Piece, Rules, cut};
use super::{Chunk, chunk_id, records, sections};
use crate::document::{Content, Document, Heading, Outline, Record};

/// Where documents are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Division {
    /// At headings; a section that is longer than a chunk is cut further.
    #[default]
    Section,
    /// Wherever a chunk is full.
    Size,
}

/// How documents are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkOptions {
    /// Where.
    pub by: Division,
    /// The longest chunk, in the ruler's unit. What cannot be divided may be longer: a word, a row, a block of code.
    pub size: usize,
    /// How much of a chunk the next one repeats, where one text is cut into several.
    pub overlap: usize,
}

/// Options that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkOptionsError {
    /// Chunks of no length.
    #[error("the size of chunks: expected at least 1, found 0")]
    NoSize,
    /// Chunks that only repeat.
    #[error("the overlap of chunks: expected less than half their size of {size}, found {overlap}")]
    Overlap {
        /// The size.
        size: usize,
        /// The overlap.
        overlap: usize,
    },
}

/// An id that two documents, or two entries of one, have in common. Their chunks are numbered on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The id.
    pub id: String,
    /// The document where it was met first.
    pub first: String,
    /// The document where it was met again.
    pub again: String,
}

/// Cuts documents into chunks, each with an id of its own.
pub struct Chunker<'a> {
    options: ChunkOptions,
    ruler: &'a dyn Ruler,
    ids: HashSet<String>,
    /// How many chunks of a type a source has.
    counts: HashMap<(String, String), usize>,
    /// The document where each source was met first.
    sources: HashMap<String, String>,
    repeated: Vec<Repeated>,
}

impl std::fmt::Debug for Chunker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunker").field("options", &self.options).field("n_chunks", &self.ids.len()).finish_non_exhaustive()
    }
}

impl<'a> Chunker<'a> {
    /// A chunker that has made no chunk yet.
    ///
    /// # Errors
    /// No size, or an overlap of half the size and more.
    pub fn new(options: ChunkOptions, ruler: &'a dyn Ruler) -> Result<Self, ChunkOptionsError> {
        let ChunkOptions { by: _, size, overlap } = options;
        if size == 0 {
            return Err(ChunkOptionsError::NoSize);
        }
        if overlap > 0 && overlap >= size.div_ceil(2) {
            return Err(ChunkOptionsError::Overlap { size, overlap });
        }
        let (ids, counts, sources) = (HashSet::new(), HashMap::new(), HashMap::new());
        Ok(Self { options, ruler, ids, counts, sources, repeated: Vec::new() })
    }

    /// Ids that were met more than once.
    pub fn repeated(&self) -> &[Repeated] {
        &self.repeated
    }

    /// The chunks of a document. The same documents in the same order give the same chunks.
    pub fn add(&mut self, document: &Document) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        match &document.content {
            Content::Outline(outline) => self.outline(document, outline.clone(), &mut chunks),
            Content::Catalogue(entries) => entries.iter().for_each(|record| self.record(document, record, &mut chunks)),
            Content::Rows(rows) => rows.iter().for_each(|record| {
                self.meet(&record.id, &document.source_id);
                let metadata = record_metadata(document, record);
                chunks.push(self.chunk(&record.id, "record", record.name.clone(), records::row(record), metadata));
            }),
        }
        chunks
    }

    /// An entry of a JSON catalogue.
    fn record(&mut self, document: &Document, record: &Record, chunks: &mut Vec<Chunk>) {
        self.meet(&record.id, &document.source_id);
        for part in records::parts(record) {
            let paths = part.outline.paths();
            let all = 0..part.outline.sections.len();
            let pieces = self.cut(&part.outline, &paths, std::slice::from_ref(&all), true);
            let n_pieces = pieces.len();
            for (index, piece) in pieces.into_iter().enumerate() {
                let title = numbered(part.title.clone(), index, n_pieces);
                chunks.push(self.chunk(&record.id, part.chunk_type, title, piece.content, record_metadata(document, record)));
            }
        }
    }

    /// A document of headings and blocks: its applications, and what stands beside them.
    fn outline(&mut self, document: &Document, mut outline: Outline, chunks: &mut Vec<Chunk>) {
        let entries = catalogue::entries(&mut outline);
        let paths = outline.paths();
        let mut next = 0;
        for entry in &entries {
            self.plain(document, &outline, &paths, next..entry.sections.start, chunks);
            self.entry(document, &outline, &paths, entry, chunks);
            next = entry.sections.end;
        }
        self.plain(document, &outline, &paths, next..outline.sections.len(), chunks);
    }

    /// Sections of a document that are no application.
    fn plain(&mut self, document: &Document, outline: &Outline, paths: &[Vec<Heading>], range: Range<usize>, chunks: &mut Vec<Chunk>) {
        let chunk_type = match self.options.by {
            Division::Section => "section",
            Division::Size => "passage",
        };
        for run in self.runs(outline, paths, range) {
            let pieces = self.cut(outline, paths, std::slice::from_ref(&run), false);
            let n_pieces = pieces.len();
            for (index, piece) in pieces.into_iter().enumerate() {
                let path = common_path(paths, piece.sections);
                let below = if path.first().is_some_and(|title| *title == document.title) { &path[1..] } else { &path[..] };
                let title = if below.is_empty() { document.title.clone() } else { format!("{} - {}", document.title, below.join(" > ")) };
                let title = numbered(title, index, n_pieces);
                let mut metadata = document.metadata.clone();
                metadata.insert("document".to_owned(), document.source_id.clone().into());
                place(&mut metadata, &piece, path);
                chunks.push(self.chunk(&document.source_id, chunk_type, title, piece.content, metadata));
            }
        }
    }

    /// An application of a catalogue in running text: `main`, then `details`.
    fn entry(&mut self, document: &Document, outline: &Outline, paths: &[Vec<Heading>], entry: &Entry, chunks: &mut Vec<Chunk>) {
        self.meet(&entry.id, &document.source_id);
        let own = paths[entry.sections.start].len();
        let runs = self.runs(outline, paths, entry.sections.clone());
        for (index, piece) in self.cut(outline, paths, &runs, false).into_iter().enumerate() {
            let mut path = common_path(paths, piece.sections);
            let below: Vec<String> = path.get(own..).unwrap_or_default().to_vec();
            if let Some(title) = path.get_mut(own - 1) {
                title.clone_from(&entry.name);
            }
            let mut metadata = entry.fields.clone();
            metadata.insert("id".to_owned(), entry.id.clone().into());
            metadata.insert("nom".to_owned(), entry.name.clone().into());
            application(&mut metadata, &entry.id, &entry.name, entry.state.as_deref());
            metadata.insert("document".to_owned(), document.source_id.clone().into());
            place(&mut metadata, &piece, path);
            let (chunk_type, title) = match index {
                0 => ("main", format!("{} - Informations principales", entry.name)),
                _ if below.is_empty() => ("details", format!("{} - Détails {index}", entry.name)),
                _ => ("details", format!("{} - Détails {index} ({})", entry.name, below.join(" > "))),
            };
            // Details are counted from 1: the main chunk is number 0.
            if index == 1 {
                self.counts.entry((entry.id.clone(), chunk_type.to_owned())).or_insert(1);
            }
            chunks.push(self.chunk(&entry.id, chunk_type, title, piece.content, metadata));
        }
    }

    fn runs(&self, outline: &Outline, paths: &[Vec<Heading>], range: Range<usize>) -> Vec<Range<usize>> {
        let has_text = outline.sections[range.clone()].iter().any(|section| !section.blocks.is_empty());
        match self.options.by {
            Division::Section => sections::runs(outline, paths, range, self.options.size, self.ruler),
            Division::Size if has_text => vec![range],
            Division::Size => Vec::new(),
        }
    }

    fn cut(&self, outline: &Outline, paths: &[Vec<Heading>], runs: &[Range<usize>], tight: bool) -> Vec<Piece> {
        let by_section = self.options.by == Division::Section;
        let rules = Rules {
            limit: self.options.size,
            overlap: self.options.overlap,
            even: by_section,
            tight,
            overlap_sections: !by_section,
            paths,
            ruler: self.ruler,
        };
        let mut pieces = Vec::new();
        for run in runs {
            let lines = sections::lines(outline, run.clone());
            pieces.extend(cut(sections::flow(outline, &lines), &rules));
        }
        pieces
    }

    /// Notes a source, and whether it was met before.
    fn meet(&mut self, id: &str, document: &str) {
        match self.sources.get(id) {
            Some(first) => self.repeated.push(Repeated { id: id.to_owned(), first: first.clone(), again: document.to_owned() }),
            None => {
                self.sources.insert(id.to_owned(), document.to_owned());
            }
        }
    }

    /// A chunk with the next number of its source and type whose id is free.
    fn chunk(&mut self, source_id: &str, chunk_type: &str, title: String, content: String, metadata: Map<String, Value>) -> Chunk {
        let count = self.counts.entry((source_id.to_owned(), chunk_type.to_owned())).or_insert(0);
        let id = loop {
            let id = chunk_id(source_id, chunk_type, *count);
            *count += 1;
            if self.ids.insert(id.clone()) {
                break id;
            }
        };
        Chunk { id, source_id: source_id.to_owned(), title, content, metadata, chunk_type: chunk_type.to_owned() }
    }
}

fn record_metadata(document: &Document, record: &Record) -> Map<String, Value> {
    let mut metadata = records::metadata(record);
    application(&mut metadata, &record.id, &record.name, record.state.as_deref());
    metadata.insert("document".to_owned(), document.source_id.clone().into());
    metadata
}

fn application(metadata: &mut Map<String, Value>, id: &str, name: &str, state: Option<&str>) {
    metadata.insert("app_id".to_owned(), id.into());
    metadata.insert("app_name".to_owned(), name.into());
    if let Some(state) = state {
        metadata.insert("app_state".to_owned(), state.into());
    }
}

/// Where a piece stands in its document.
fn place(metadata: &mut Map<String, Value>, piece: &Piece, path: Vec<String>) {
    metadata.insert("path".to_owned(), path.into());
    if let Some((first, last)) = piece.pages {
        metadata.insert("page".to_owned(), first.into());
        if last > first {
            metadata.insert("page_end".to_owned(), last.into());
        }
    }
}

/// The titles that all sections from the first to the last have above them.
fn common_path(paths: &[Vec<Heading>], (first, last): (usize, usize)) -> Vec<String> {
    let mut common = paths[first].as_slice();
    for path in &paths[first..=last] {
        let n = common.iter().zip(path).take_while(|(a, b)| a == b).count();
        common = &common[..n];
    }
    common.iter().map(|heading| heading.title.clone()).collect()
}

/// A title with the number of the piece, where there are several.
fn numbered(title: String, index: usize, n: usize) -> String {
    if n > 1 { format!("{title} ({}/{n})", index + 1) } else { title }
}

#[cfg(test)]
#[path = "chunker_tests.rs"]
mod tests;
