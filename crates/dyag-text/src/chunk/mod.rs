//! Chunks: the passages that documents are cut into. Training sets are made from them, and searches find them.
//!
//! [`Chunker`] makes them of [`Document`](crate::document::Document)s: `catalogue.rs` finds the applications of a catalogue, `records.rs` says what
//! becomes of a JSON catalogue's entries, `sections.rs` which sections go together, `atoms.rs` and `split.rs` where long ones are cut.

mod atoms;
mod catalogue;
mod chunker;
mod identifiers;
mod records;
mod ruler;
mod sections;
mod split;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::TextError;
use crate::hash::hex;
use crate::json_lines::{JsonLines, describe, line_error};

pub use chunker::{ChunkOptions, ChunkOptionsError, Chunker, Division, Repeated};
pub use identifiers::add_identifiers;
pub use ruler::{Characters, Ruler, Tokens};

/// A passage of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// [`chunk_id`] of what follows; unique in a file of chunks.
    pub id: String,
    /// The document, or the application of a catalogue: its own id where it has one.
    pub source_id: String,
    /// Name of the document and of the part.
    pub title: String,
    /// The passage.
    pub content: String,
    /// What is known of the document, and where in it the passage lies.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The kind of part, such as `overview`, `details` or `section`.
    #[serde(default)]
    pub chunk_type: String,
}

/// The id of a document's chunk: the first 16 hexadecimal digits of the MD5 of `SOURCEID_TYPE_INDEX`.
pub fn chunk_id(source_id: &str, chunk_type: &str, index: usize) -> String {
    let mut id = hex(&Md5::digest(format!("{source_id}_{chunk_type}_{index}")));
    id.truncate(16);
    id
}

/// Reads a file of chunks, one JSON object a line, in order; at least one.
///
/// # Errors
/// The first line that is not a chunk, with the key at fault; an id that occurs twice; a file without chunks, or one that cannot be read.
pub fn read_chunks(path: &Path) -> Result<Vec<Chunk>, TextError> {
    let file = File::open(path).map_err(|error| TextError::read(path, error))?;
    let name: Arc<Path> = Arc::from(path);
    let mut lines = JsonLines::new(BufReader::new(file), &name);
    let mut chunks = Vec::new();
    let mut lines_of_ids = std::collections::HashMap::new();
    while let Some((mut object, at)) = lines.next_object()? {
        let mut text = |key: &str, needed: bool| match object.remove(key) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Number(number)) if key != "content" => Ok(number.to_string()),
            None | Some(Value::Null) if !needed => Ok(String::new()),
            None => Err(line_error(&at, key, "a string", "no such key (a chunk has id, source_id, title, content, metadata, chunk_type)")),
            Some(other) => Err(line_error(&at, key, "a string", describe(&other))),
        };
        let chunk = Chunk {
            id: text("id", true)?,
            source_id: text("source_id", false)?,
            title: text("title", false)?,
            content: text("content", true)?,
            chunk_type: text("chunk_type", false)?,
            metadata: match object.remove("metadata") {
                Some(Value::Object(metadata)) => metadata,
                None | Some(Value::Null) => Map::new(),
                Some(other) => return Err(line_error(&at, "metadata", "an object", describe(&other))),
            },
        };
        if let Some(line) = lines_of_ids.insert(chunk.id.clone(), at.line) {
            return Err(line_error(&at, "id", "an id of its own", format!("{}, as in line {line}", chunk.id)));
        }
        chunks.push(chunk);
    }
    if chunks.is_empty() {
        return Err(TextError::NoChunks { path: path.display().to_string() });
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::chunk_id;

    #[test]
    fn ids_are_those_of_the_original() {
        assert_eq!(chunk_id("1238", "overview", 0), "555671c28432d025");
        assert_eq!(chunk_id("383", "details", 3), "098c8ead86ac922f");
        assert_eq!(chunk_id("1081", "main", 0), "5ab2e6c23f788c89");
    }
}
