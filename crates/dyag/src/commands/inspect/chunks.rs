//! What a file of chunks holds: how many of which kind, their sizes, and what a search would stumble over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use dyag_text::chunk::{Chunk, read_chunks};
use dyag_text::dataset::placeholder;
use dyag_text::near_duplicates::fold;
use serde_json::{Value, json};

use super::facts::{self, Facts, spread};

/// Keys of a chunk's metadata that name what it is about.
const NAME_KEYS: [&str; 3] = ["nom", "name", "title"];

pub(super) fn describe(path: &Path, json: bool) -> anyhow::Result<()> {
    facts::print(facts(&read_chunks(path)?), json)
}

fn facts(chunks: &[Chunk]) -> Facts {
    let mut types = BTreeMap::new();
    let mut documents = BTreeMap::new();
    for chunk in chunks {
        *types.entry(label(&chunk.chunk_type)).or_insert(0_usize) += 1;
        *documents.entry(label(&chunk.source_id)).or_insert(0_usize) += 1;
    }
    let ids_of =
        |wanted: &dyn Fn(&Chunk) -> bool| json!(chunks.iter().filter(|chunk| wanted(chunk)).map(|chunk| &chunk.id).collect::<Vec<_>>());
    vec![
        ("chunks", json!(chunks.len())),
        ("documents", json!(documents.len())),
        ("by_type", json!(types)),
        ("by_document", json!(documents)),
        ("characters", spread(chunks.iter().map(|chunk| chunk.content.chars().count()).collect())),
        ("words", spread(chunks.iter().map(|chunk| chunk.content.split_whitespace().count()).collect())),
        ("duplicates", duplicates(chunks)),
        ("empty_contents", ids_of(&|chunk| chunk.content.trim().is_empty())),
        (
            "placeholders",
            ids_of(&|chunk| chunk.content.lines().any(|line| placeholder(value_of(line)).is_some_and(|found| found.is_certain))),
        ),
        ("empty_titles", ids_of(&|chunk| chunk.title.trim().is_empty())),
        ("without_a_name", ids_of(&|chunk| name(chunk).is_none())),
        ("never_named", never_named(chunks)),
    ]
}

fn label(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

/// What a line of "- key: value" says; the line itself otherwise. Rules and the fences of blocks say nothing.
fn value_of(line: &str) -> &str {
    let value = line.split_once(": ").map_or(line, |(_, value)| value).trim();
    if value.chars().any(char::is_alphanumeric) { value } else { "" }
}

/// Ids of chunks that repeat an earlier one's content, with the earlier one's.
fn duplicates(chunks: &[Chunk]) -> Value {
    let mut first = HashMap::new();
    let mut repeated = serde_json::Map::new();
    for chunk in chunks {
        match first.entry(chunk.content.trim()) {
            std::collections::hash_map::Entry::Occupied(earlier) => {
                let earlier: &&str = earlier.get();
                repeated.insert(chunk.id.clone(), json!(format!("as {earlier}")));
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(chunk.id.as_str());
            }
        }
    }
    Value::Object(repeated)
}

/// The name of a chunk's document: what its metadata say, or else its title up to a dash, or else its file.
fn name(chunk: &Chunk) -> Option<&str> {
    let said = NAME_KEYS.iter().find_map(|key| chunk.metadata.get(*key)?.as_str());
    let titled = || chunk.title.split(" - ").next();
    let file = || chunk.metadata.get("document")?.as_str();
    [said, titled(), file()].into_iter().flatten().map(str::trim).find(|name| !name.is_empty())
}

/// Names of documents that neither the title nor the content of a chunk holds: nobody who asks for them by name finds them.
fn never_named(chunks: &[Chunk]) -> Value {
    let mut names: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    let mut named = HashSet::new();
    for chunk in chunks {
        let Some(name) = name(chunk) else { continue };
        names.entry(label(&chunk.source_id)).or_default().insert(name);
        if format!(" {} {} ", fold(&chunk.title), fold(&chunk.content)).contains(&format!(" {} ", fold(name))) {
            named.insert(label(&chunk.source_id));
        }
    }
    let missing = names.into_iter().filter(|(document, _)| !named.contains(document));
    let told = missing.map(|(document, names)| {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        (document.to_owned(), json!(names.join(", ")))
    });
    Value::Object(told.collect())
}
