//! What passages, words and conditions are as Qdrant's points, payloads and filters.

use std::collections::BTreeSet;

use dyag_text::chunk::Chunk;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::analysis::{Field, QueryTerm, Terms};
use crate::bm25::{frequencies, length_class, passage_part};
use crate::filter::{Comparison, Filter, properties};

/// Name of the vectors of an embedder.
pub(super) const DENSE: &str = "dense";
/// Name of the sparse vectors of terms.
pub(super) const SPARSE: &str = "terms";
/// Between the parts of a property or a word.
const SEPARATOR: char = '\u{1f}';

/// A point's id: the first 16 bytes of a SHA-256 as a UUID of version 8, which is for such ids.
pub(super) fn id_of(text: &str) -> String {
    let hash = Sha256::digest(text);
    let mut bytes: [u8; 16] = std::array::from_fn(|place| hash[place]);
    bytes[6] = 0x80 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    let hex = dyag_text::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The id of a word of a field.
pub(super) fn word_id(field: Field, term: &str) -> String {
    id_of(&format!("{}{SEPARATOR}{term}", field.name()))
}

/// A term's dimension in sparse vectors: four bytes of a SHA-256. Of a million terms, one in four thousand shares its dimension with another, and then each counts for the other.
fn dimension_of(field: Field, term: &str) -> u32 {
    let hash = Sha256::digest(format!("{}{SEPARATOR}{term}", field.name()));
    u32::from_le_bytes(std::array::from_fn(|place| hash[place]))
}

/// A sparse vector of dimensions and values; equal dimensions are added.
fn sparse(mut entries: Vec<(u32, f32)>) -> Value {
    entries.sort_by_key(|(dimension, _)| *dimension);
    let mut merged: Vec<(u32, f32)> = Vec::with_capacity(entries.len());
    for (dimension, value) in entries {
        match merged.last_mut() {
            Some((last, sum)) if *last == dimension => *sum += value,
            _ => merged.push((dimension, value)),
        }
    }
    let (indices, values): (Vec<u32>, Vec<f32>) = merged.into_iter().unzip();
    json!({ "indices": indices, "values": values })
}

/// The passage's side of BM25; none for one without terms. `norms` as [`crate::bm25::Totals::norms`] gives them.
pub(super) fn passage_vector(terms: &Terms, norms: &[f32]) -> Option<Value> {
    let mut entries = Vec::new();
    for field in Field::ALL {
        let norm = norms[field as usize * 256 + usize::from(length_class(terms.of(field).len()))];
        let part = |(term, n): (&str, u32)| (dimension_of(field, term), passage_part(n, norm));
        entries.extend(frequencies(terms.of(field)).into_iter().map(part));
    }
    (!entries.is_empty()).then(|| sparse(entries))
}

/// The question's side: the weights; the server multiplies each by the rarity of its dimension.
pub(super) fn question_vector(terms: &[QueryTerm]) -> Value {
    sparse(terms.iter().map(|term| (dimension_of(term.field, &term.text), term.weight)).collect())
}

/// Name of a key's numbers in payloads; keys themselves may hold signs that paths cannot.
fn numbers_of(key: &str) -> String {
    format!("k{}", dyag_text::hex(&Sha256::digest(key)[..8]))
}

/// A property's value as a number, if it is one. JSON has no infinity; what is larger than all limits stays so.
fn number_of(value: &str) -> Option<f64> {
    value.trim().parse::<f64>().ok().filter(|number| !number.is_nan()).map(|number| number.clamp(f64::MIN, f64::MAX))
}

/// Paths of the numbers that passages have.
pub(super) fn numeric_keys(chunks: &[Chunk]) -> BTreeSet<String> {
    let numeric = chunks.iter().flat_map(properties).filter(|(_, value)| number_of(value).is_some());
    let keys: BTreeSet<String> = numeric.map(|(key, _)| key).collect();
    keys.iter().map(|key| format!("numbers.{}", numbers_of(key))).collect()
}

/// What a passage's point says beside its vectors.
pub(super) fn payload(chunk: &Chunk, content_hash: &str, fingerprint: &[u8; 16], language: &str) -> Value {
    let Chunk { id, source_id, title, content, metadata, chunk_type } = chunk;
    let (mut texts, mut numbers) = (Vec::new(), Map::new());
    for (key, value) in properties(chunk) {
        if let Some(number) = number_of(&value)
            && let Some(list) = numbers.entry(numbers_of(&key)).or_insert_with(|| json!([])).as_array_mut()
        {
            list.push(number.into());
        }
        texts.push(format!("{key}{SEPARATOR}{value}"));
    }
    json!({
        "id": id, "source_id": source_id, "title": title, "content": content, "metadata": Value::Object(metadata.clone()).to_string(), "chunk_type": chunk_type,
        "content_hash": content_hash, "fingerprint": dyag_text::hex(fingerprint), "language": language, "properties": texts, "numbers": numbers,
    })
}

/// A passage in a payload; its metadata as text, so that keys keep their order and numbers their digits.
#[derive(Deserialize)]
pub(super) struct PassagePayload {
    id: String,
    source_id: String,
    title: String,
    content: String,
    metadata: String,
    chunk_type: String,
}

impl PassagePayload {
    /// As a chunk.
    pub(super) fn chunk(self) -> Result<Chunk, String> {
        let Self { id, source_id, title, content, metadata, chunk_type } = self;
        match serde_json::from_str(&metadata) {
            Ok(Value::Object(metadata)) => Ok(Chunk { id, source_id, title, content, metadata, chunk_type }),
            _ => Err(format!("chunk {id:?}: expected metadata that are a JSON object, found others")),
        }
    }
}

/// Fields of a payload that a passage is read from.
pub(super) const PASSAGE: [&str; 6] = ["id", "source_id", "title", "content", "metadata", "chunk_type"];

/// A filter as Qdrant writes it; none lets everything pass.
pub(super) fn filter_of(filter: &Filter) -> Option<Value> {
    let (mut must, mut must_not) = (Vec::new(), Vec::new());
    for condition in &filter.conditions {
        let sign = match condition.comparison {
            Comparison::OneOf | Comparison::NoneOf => None,
            Comparison::Less => Some("lt"),
            Comparison::AtMost => Some("lte"),
            Comparison::Greater => Some("gt"),
            Comparison::AtLeast => Some("gte"),
        };
        match sign {
            None => {
                let wanted: Vec<String> = condition.values.iter().map(|value| format!("{}{SEPARATOR}{value}", condition.key)).collect();
                let one = json!({ "key": "properties", "match": { "any": wanted } });
                if condition.comparison == Comparison::NoneOf { must_not.push(one) } else { must.push(one) }
            }
            Some(sign) => match condition.values.first().and_then(|value| value.parse::<f64>().ok()).filter(|limit| limit.is_finite()) {
                Some(limit) => must.push(json!({ "key": format!("numbers.{}", numbers_of(&condition.key)), "range": { sign: limit } })),
                // No number compares with one that is not there.
                None => must.push(json!({ "key": "properties", "match": { "any": [] } })),
            },
        }
    }
    (!filter.is_empty()).then(|| json!({ "must": must, "must_not": must_not }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_dimensions_are_of_fields() {
        let id = id_of("555671c28432d025");
        assert_eq!((id.len(), &id[14..15]), (36, "8"));
        assert_ne!(word_id(Field::Stem, "mot"), word_id(Field::Word, "mot"));
        assert_ne!(dimension_of(Field::Stem, "mot"), dimension_of(Field::Title, "mot"));
        assert_eq!(sparse(vec![(7, 1.0), (3, 2.0), (7, 0.5)]), json!({ "indices": [3, 7], "values": [2.0, 1.5] }));
    }

    #[test]
    fn filters_are_conditions_on_properties_and_numbers() {
        assert_eq!(filter_of(&Filter::default()), None);
        let filter = filter_of(&Filter::parse(&["a=x|y", "b!=z", "n<=3"]).expect("a filter")).expect("conditions");
        assert_eq!(filter["must"][0]["match"]["any"], json!(["a\u{1f}x", "a\u{1f}y"]));
        assert_eq!(filter["must_not"][0]["match"]["any"], json!(["b\u{1f}z"]));
        assert_eq!(filter["must"][1]["range"], json!({ "lte": 3.0 }));
    }
}
