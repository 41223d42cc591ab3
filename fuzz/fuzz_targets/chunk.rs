//! Any bytes as a document of any format: an error that names the file, or chunks with ids of their own that are no longer than they should be.
#![no_main]

use std::collections::HashSet;

use dyag_text::chunk::{Characters, ChunkOptions, Chunker, Division};
use dyag_text::document::{Content, Document, Format};
use libfuzzer_sys::fuzz_target;

const FORMATS: [Format; 7] = [Format::Markdown, Format::Text, Format::Html, Format::Csv, Format::Json, Format::Docx, Format::Pdf];

fuzz_target!(|data: &[u8]| {
    // The first byte says how the others are read.
    let Some((first, bytes)) = data.split_first() else { return };
    let format = FORMATS[usize::from(first & 7) % FORMATS.len()];
    let document = match Document::parse(bytes, format, "fuzzed", "fuzzed", None) {
        Ok(document) => document,
        Err(error) => return assert!(error.to_string().starts_with("fuzzed"), "{error}"),
    };
    let by = if first & 8 == 0 { Division::Section } else { Division::Size };
    let size = 20 + 8 * usize::from(first >> 4);
    let options = ChunkOptions { by, size, overlap: if first & 8 == 0 { 0 } else { size / 4 } };
    let chunks = Chunker::new(options, &Characters).expect("options that agree").add(&document);
    assert!(!chunks.is_empty());
    let ids: HashSet<&str> = chunks.iter().map(|chunk| chunk.id.as_str()).collect();
    assert_eq!(ids.len(), chunks.len());
    if let (Format::Text, Content::Outline(_)) = (format, &document.content) {
        for chunk in &chunks {
            let n_words = chunk.content.split_whitespace().count();
            assert!(n_words < 2 || chunk.content.chars().count() <= size, "{chunk:?}");
        }
    }
});
