//! Identifiers that only a chunk's metadata have: nobody can find them, and no model can say them, unless a passage does.

use std::collections::HashMap;

use serde_json::Value;

use super::Chunk;
use crate::near_duplicates::fold;
use crate::passages::Language;

/// Words that the keys of such values begin or end with, folded.
const KEYS: &[&str] =
    &["id", "identifiant", "identifier", "code", "numero", "number", "reference", "ref", "isbn", "issn", "siret", "siren"];
/// Longest value that is an identifier, in characters.
const LONGEST: usize = 64;

/// Passages of a document that its language is read from.
const LOOKED_AT: usize = 50;

/// An identifier that metadata of a document have.
struct Identifier {
    /// The first passage that has it.
    place: usize,
    label: String,
    value: String,
    /// Whether a passage that has it says it.
    is_said: bool,
}

/// Shortest value that says what it is without its key, in characters.
const SHORTEST_ALONE: usize = 3;

/// Gives each document's identifiers that no passage which has them in its metadata says to the first of these: `KEY: VALUE`, a line each, at its end, `id` written out. Keys are those that begin or end
/// with a word that identifies (`id`, `code`, `reference` and the like); values are texts or numbers of at most 64 characters. Passages that say it already are left as they are, so that doing it again changes nothing.
pub fn add_identifiers(chunks: &mut [Chunk]) {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| !chunk.source_id.is_empty()) {
        places.entry(chunk.source_id.as_str()).or_default().push(place);
    }
    let mut lines: Vec<(usize, String)> = Vec::new();
    for of_document in places.values() {
        let of_some = || of_document.iter().take(LOOKED_AT).map(|place| chunks[*place].content.as_str());
        let language = std::cell::LazyCell::new(|| Language::of_texts(of_some()));
        let mut found: Vec<Identifier> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for place in of_document {
            let text = std::cell::LazyCell::new(|| text(&chunks[*place]));
            for (key, value) in &chunks[*place].metadata {
                let Some(value) = identifier(key, value) else { continue };
                let at = *known.entry(value.clone()).or_insert_with(|| {
                    found.push(Identifier { place: *place, label: label(key, || *language), value: value.clone(), is_said: false });
                    found.len() - 1
                });
                // A short number stands in many a text for something else.
                let is_short = value.chars().count() < SHORTEST_ALONE;
                let said = if is_short { vec![format!("{key} {value}"), format!("{} {value}", found[at].label)] } else { vec![value] };
                found[at].is_said |= said.iter().any(|said| text.contains(&format!(" {} ", fold(said))));
            }
        }
        let unsaid = found.into_iter().filter(|one| !one.is_said);
        lines.extend(unsaid.map(|Identifier { place, label, value, .. }| (place, format!("\n{label}: {value}"))));
    }
    for (place, line) in lines {
        chunks[place].content.push_str(&line);
    }
}

/// A key as people ask for it: `id` is written out too, in the document's language.
fn label(key: &str, language: impl FnOnce() -> Language) -> String {
    if fold(key).trim() != "id" {
        return key.trim().to_owned();
    }
    let word = match language() {
        Language::French => "identifiant",
        Language::English => "identifier",
    };
    format!("{} ({word})", key.trim())
}

/// Title and content, folded, with a space at both ends.
fn text(chunk: &Chunk) -> String {
    format!(" {} {} ", fold(&chunk.title), fold(&chunk.content))
}

/// The value of a key that identifies; none where it is another key, or a value of another kind.
fn identifier(key: &str, value: &Value) -> Option<String> {
    let key = fold(key);
    let mut words = key.split(' ').filter(|word| !word.is_empty());
    let (first, last) = (words.next(), words.next_back());
    if ![first, last].into_iter().flatten().any(|word| KEYS.contains(&word)) {
        return None;
    }
    let value = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let fits = !fold(&value).trim().is_empty() && value.chars().count() <= LONGEST && !value.contains(['\n', '\r']);
    fits.then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chunk(source: &str, content: &str, metadata: Value) -> Chunk {
        let Value::Object(metadata) = metadata else { unreachable!("an object") };
        Chunk {
            id: content.into(),
            source_id: source.into(),
            title: "Titre".into(),
            content: content.into(),
            metadata,
            chunk_type: String::new(),
        }
    }

    #[test]
    fn a_document_says_its_identifiers_once() {
        let known = json!({ "id": 383, "app_id": "383", "nom": "SINP", "Code interne": "SI-7", "reference": null, "numero": ["1"] });
        let mut chunks = vec![
            chunk("383", "Vue d'ensemble", known.clone()),
            chunk("383", "Détails", known),
            chunk("12", "Ses 12 mois, l'id 12", json!({ "id": "12", "identifiant": "x".repeat(65) })),
            chunk("12", "Suite", json!({ "id": "12", "ref": "a\nb" })),
            chunk("", "Sans document", json!({ "id": 5 })),
            chunk("1", "En 1 an", json!({ "id": 1 })),
        ];
        add_identifiers(&mut chunks);
        let contents: Vec<&str> = chunks.iter().map(|chunk| chunk.content.as_str()).collect();
        assert_eq!(
            contents,
            [
                "Vue d'ensemble\nid (identifiant): 383\nCode interne: SI-7",
                "Détails",
                "Ses 12 mois, l'id 12",
                "Suite",
                "Sans document",
                "En 1 an\nid (identifiant): 1"
            ]
        );
        let once = chunks.clone();
        add_identifiers(&mut chunks);
        assert_eq!(chunks, once);
    }
}
