//! Chunks grouped by the document they come from, and what that document is called.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::rules::Rules;
use super::wording::{fill, fold};
use crate::chunk::Chunk;

/// A document, or an application of a catalogue: its chunks in order.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// What its chunks have as `source_id`.
    pub key: String,
    /// What questions call it. Two documents of the same name are told apart by their keys.
    pub name: String,
    /// Its chunks.
    pub chunks: Vec<&'a Chunk>,
    /// What wordings call things that this document is none of.
    not_kinds: Vec<String>,
    /// Its name and the titles of its chunks, folded.
    called: HashSet<String>,
}

impl Document<'_> {
    /// A wording filled in for this document: `{name}` is its name unless `given` has another. A kind of thing that it is not is left out before the name.
    pub(crate) fn ask(&self, wording: &str, given: &[(&str, &str)]) -> String {
        let mut wording = wording.to_owned();
        for kind in &self.not_kinds {
            wording = wording.replace(&format!("{kind} {{name}}"), "{name}");
        }
        let given: Vec<(&str, &str)> = given.iter().copied().chain([("name", self.name.as_str())]).collect();
        fill(&wording, &given)
    }

    /// Whether a heading is the document's name, or the title of one of its chunks.
    pub(crate) fn is_called(&self, heading: &str) -> bool {
        self.called.contains(&fold(heading))
    }
}

/// Groups chunks by document, in the order in which documents first occur.
pub fn documents<'a>(chunks: &'a [Chunk], rules: &Rules) -> Vec<Document<'a>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut found: Vec<Document<'a>> = Vec::new();
    for chunk in chunks {
        let key = key_of(chunk, rules);
        match places.get(&key) {
            Some(place) => found[*place].chunks.push(chunk),
            None => {
                places.insert(key.clone(), found.len());
                found.push(Document { key, name: String::new(), chunks: vec![chunk], not_kinds: Vec::new(), called: HashSet::new() });
            }
        }
    }
    for document in &mut found {
        document.name = name_of(document, rules);
        document.not_kinds = not_kinds(document, rules);
    }
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for document in &found {
        *names.entry(fold(&document.name)).or_default() += 1;
    }
    for document in &mut found {
        if names[&fold(&document.name)] > 1 && document.name != document.key {
            document.name = format!("{} ({})", document.name, document.key);
        }
        let titles = document.chunks.iter().map(|chunk| fold(&chunk.title));
        document.called = titles.chain([fold(&document.name)]).collect();
    }
    found
}

/// The words of kinds of which nothing in the document is a sign: neither the keys of its metadata nor its text.
fn not_kinds(document: &Document<'_>, rules: &Rules) -> Vec<String> {
    let texts: Vec<String> = document.chunks.iter().map(|chunk| format!(" {} {} ", fold(&chunk.title), fold(&chunk.content))).collect();
    let has_key = |sign: &str| document.chunks.iter().any(|chunk| chunk.metadata.contains_key(sign));
    let has_words = |sign: &str| {
        let words = fold(&fill(sign, &[("name", &document.name)]));
        texts.iter().any(|text| text.contains(&format!(" {words} ")))
    };
    let has_sign = |sign: &String| has_key(sign) || has_words(sign);
    rules.kinds.iter().filter(|kind| !kind.signs.iter().any(has_sign)).flat_map(|kind| kind.words.iter().cloned()).collect()
}

/// The document of a chunk: its `source_id`, else an id among its metadata, else its title, else itself.
fn key_of(chunk: &Chunk, rules: &Rules) -> String {
    let known = [Some(chunk.source_id.clone()), metadata_text(chunk, &rules.id_keys), Some(chunk.title.clone())];
    known.into_iter().flatten().find(|key| !key.trim().is_empty()).unwrap_or_else(|| chunk.id.clone())
}

/// The text or number that the first of `keys` has in a chunk's metadata.
fn metadata_text(chunk: &Chunk, keys: &[String]) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    keys.iter().filter_map(|key| chunk.metadata.get(key).and_then(text)).find(|text| !text.is_empty())
}

/// The name among the metadata; else the title that all chunks begin with; else the first heading; else the key.
fn name_of(document: &Document<'_>, rules: &Rules) -> String {
    if let Some(name) = document.chunks.iter().find_map(|chunk| metadata_text(chunk, &rules.name_keys)) {
        return name;
    }
    let first = document.chunks[0];
    let title = first.title.split(" - ").next().unwrap_or_default().trim();
    if !title.is_empty() {
        return title.to_owned();
    }
    let heading = first.content.lines().find_map(|line| line.trim().strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    heading.filter(|heading| !heading.is_empty()).map_or_else(|| document.key.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(id: &str, source_id: &str, title: &str, content: &str, metadata: Value) -> Chunk {
        let metadata = metadata.as_object().cloned().unwrap_or_default();
        Chunk {
            id: id.into(),
            source_id: source_id.into(),
            title: title.into(),
            content: content.into(),
            metadata,
            chunk_type: String::new(),
        }
    }

    #[test]
    fn names_come_from_metadata_then_title_then_heading() {
        let rules = Rules::shipped("fr").expect("rules");
        let chunks = [
            chunk("1", "7", "Titre - Détails", "x", serde_json::json!({"nom": "Alpha"})),
            chunk("2", "8", "Beta - Vue d'ensemble", "x", serde_json::json!({})),
            chunk("3", "9", "", "# Gamma\nx", serde_json::json!({})),
            chunk("4", "7", "Titre - Suite", "x", serde_json::json!({})),
            chunk("5", "", "", "x", serde_json::json!({"id": 12})),
            chunk("6", "10", "", "x", serde_json::json!({"app_name": "alpha"})),
        ];
        let names: Vec<(String, String, usize)> = documents(&chunks, &rules).into_iter().map(|d| (d.key, d.name, d.chunks.len())).collect();
        let expected = [("7", "Alpha (7)", 2), ("8", "Beta", 1), ("9", "Gamma", 1), ("12", "12", 1), ("10", "alpha (10)", 1)];
        assert_eq!(names, expected.map(|(key, name, n)| (key.to_owned(), name.to_owned(), n)));
    }
}
