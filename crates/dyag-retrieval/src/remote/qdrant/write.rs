//! Writing a collection of a server: a new generation aside, and one switch of an alias.

use std::collections::{BTreeMap, HashMap, HashSet};

use dyag_text::chunk::Chunk;
use dyag_text::sha256_hex;
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::Http;
use super::points::{DENSE, PASSAGE, PassagePayload, SPARSE, id_of, numeric_keys, passage_vector, payload, word_id};
use super::{Count, DESCRIPTION, PAGE_OF_VECTORS, Point, current, described, number_of, scroll, words_of};
use crate::analysis::{Field, Language, Terms};
use crate::bm25::Totals;
use crate::description::EmbedderRecord;
use crate::error::RetrievalError;
use crate::indexing::{IndexEvent, Watcher, tell};
use crate::remote::address::QdrantPlace;
use crate::remote::writer::{Fingerprint, Known, Present, VectorsByText, Wanted, Writer};

/// Passages of a request.
const BLOCK: usize = 256;
/// Bytes after which a request is sent, however few its points: servers take 32 MB.
const LARGEST_BODY: usize = 8 << 20;
/// Keys of numbers that get an index.
const MOST_INDEXES: usize = 100;
/// Words of a request.
const WORDS: usize = 2_000;

/// Writes one collection. Qdrant has no locks: of two writers at one time the later switch counts, and the other's generation is removed.
pub(in crate::remote) struct QdrantWriter {
    http: Http,
    name: String,
    /// The generation that counts, if there is one.
    collection: Option<String>,
}

#[derive(Deserialize)]
struct KnownPayload {
    id: String,
    content_hash: String,
    fingerprint: String,
    language: Language,
}

#[derive(Deserialize)]
struct TextPayload {
    fingerprint: String,
}

#[derive(Deserialize)]
struct Collections {
    collections: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A fingerprint from its hexadecimal digits.
fn fingerprint_of(hex: &str) -> Option<Fingerprint> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
    (digits.len() == 32).then(|| bytes.try_into().ok())?
}

impl QdrantWriter {
    /// Looks what is there.
    pub(in crate::remote) fn open(place: &QdrantPlace, name: &str) -> Result<Self, RetrievalError> {
        let http = Http::new(place)?;
        let collection = current(&http, name)?;
        Ok(Self { http, name: name.to_owned(), collection })
    }

    /// Vectors that a run keeps until they have their place: one collection for each embedder.
    fn kept_in(&self, embedder: &EmbedderRecord) -> String {
        let key = sha256_hex(format!("{} {}", embedder.dimension, embedder.signature).as_bytes());
        format!("{}__embedded_{}", self.name, &key[..16])
    }

    /// Every collection of the server whose name begins as those of this one do, in a run or left by one.
    fn ours(&self) -> Result<Vec<String>, RetrievalError> {
        let Collections { collections } = self.http.must("GET", "/collections", None)?;
        let is_ours = |name: &str| {
            let passages = name.strip_suffix("__words").unwrap_or(name);
            let kept = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix("__embedded_"));
            number_of(passages, &self.name).is_some()
                || kept.is_some_and(|key| key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        Ok(collections.into_iter().map(|collection| collection.name).filter(|name| is_ours(name)).collect())
    }

    fn create(&self, collection: &str, body: &Value) -> Result<(), RetrievalError> {
        self.http.must::<bool>("PUT", &format!("/collections/{collection}"), Some(body)).map(drop)
    }

    fn index_payload(&self, collection: &str, field: &str, schema: &str) -> Result<(), RetrievalError> {
        let body = json!({ "field_name": field, "field_schema": schema });
        self.http.must::<Value>("PUT", &format!("/collections/{collection}/index?wait=true"), Some(&body)).map(drop)
    }

    fn upsert(&self, collection: &str, points: Vec<Value>) -> Result<(), RetrievalError> {
        let path = format!("/collections/{collection}/points?wait=true");
        self.http.must::<Value>("PUT", &path, Some(&json!({ "points": points }))).map(drop)
    }

    fn remove(&self, collection: &str) -> Result<(), RetrievalError> {
        self.http.ask::<bool>("DELETE", &format!("/collections/{collection}"), None).map(drop)
    }

    /// Writes the passages of a generation, and gives the numbers of passages of each term.
    fn passages(
        &self,
        collection: &str,
        wanted: &Wanted<'_>,
        watcher: &mut Watcher<'_>,
    ) -> Result<HashMap<(Field, String), u64>, RetrievalError> {
        let all = wanted.chunks.len();
        let terms_of = |place: usize| {
            let Chunk { title, content, .. } = &wanted.chunks[place];
            wanted.analyzer.passage(title, content, wanted.languages[place])
        };
        let (mut totals, mut words) = (Totals::default(), HashMap::new());
        // Two rounds over the texts: a passage's part of BM25 needs the average lengths of all.
        for from in (0..all).step_by(4_096) {
            let block: Vec<Terms> = (from..(from + 4_096).min(all)).into_par_iter().map(terms_of).collect();
            for terms in &block {
                totals.add(terms);
                for field in Field::ALL {
                    for term in terms.of(field).iter().collect::<HashSet<_>>() {
                        *words.entry((field, term.clone())).or_insert(0) += 1;
                    }
                }
            }
        }
        let norms = totals.norms();
        let (mut body, mut bytes) = (Vec::new(), 0);
        for place in 0..all {
            let chunk = &wanted.chunks[place];
            let mut vector = serde_json::Map::new();
            if let Some(terms) = passage_vector(&terms_of(place), &norms) {
                vector.insert(SPARSE.to_owned(), terms);
            }
            if wanted.description.embedder.is_some() {
                vector.insert(DENSE.to_owned(), json!(wanted.vectors[&wanted.fingerprints[place]]));
            }
            let language = serde_json::to_value(wanted.languages[place]).unwrap_or_default();
            let payload = payload(chunk, &wanted.hashes[place], &wanted.fingerprints[place], language.as_str().unwrap_or_default());
            let point = json!({ "id": id_of(&chunk.id), "vector": vector, "payload": payload });
            bytes += point.to_string().len();
            body.push(point);
            if body.len() == BLOCK || bytes > LARGEST_BODY || place + 1 == all {
                self.upsert(collection, std::mem::take(&mut body))?;
                bytes = 0;
                tell(watcher, IndexEvent::Indexing { done: place + 1, all })?;
            }
        }
        Ok(words)
    }

    /// Writes the words of a generation.
    fn words(&self, collection: &str, words: HashMap<(Field, String), u64>) -> Result<(), RetrievalError> {
        let words: BTreeMap<(Field, String), u64> = words.into_iter().collect();
        let points: Vec<Value> = words
            .into_iter()
            .map(|((field, term), passages)| {
                let payload = json!({ "field": field.name(), "term": term, "letters": term.chars().count(), "passages": passages });
                json!({ "id": word_id(field, &term), "vector": {}, "payload": payload })
            })
            .collect();
        points.chunks(WORDS).try_for_each(|part| self.upsert(collection, part.to_vec()))
    }
}

impl Writer for QdrantWriter {
    const WRITES_ALL: bool = true;

    fn present(&mut self) -> Result<Option<Present>, RetrievalError> {
        let Some(collection) = &self.collection else { return Ok(None) };
        let Some((description, content)) = described(&self.http, collection)? else { return Ok(None) };
        let mut passages = HashMap::new();
        scroll(&self.http, collection, None, &["id", "content_hash", "fingerprint", "language"], false, |point: Point<KnownPayload>| {
            let KnownPayload { id, content_hash, fingerprint, language } = point.payload;
            let fingerprint = fingerprint_of(&fingerprint);
            let fingerprint = fingerprint.ok_or_else(|| {
                self.http.error(format!("chunk {id:?}: expected a fingerprint of 32 digits, found another; index again with --rebuild"))
            })?;
            passages.insert(id, Known { content_hash, fingerprint, language });
            Ok(())
        })?;
        Ok(Some(Present { description, content, passages }))
    }

    fn chunks(&mut self) -> Result<Vec<Chunk>, RetrievalError> {
        let mut chunks = Vec::new();
        if let Some(collection) = &self.collection {
            scroll(&self.http, collection, None, &PASSAGE, false, |point: Point<PassagePayload>| {
                chunks.push(point.payload.chunk().map_err(|problem| self.http.error(problem))?);
                Ok(())
            })?;
        }
        Ok(chunks)
    }

    fn left(&mut self, embedder: &EmbedderRecord) -> Result<HashSet<Fingerprint>, RetrievalError> {
        let mut texts = HashSet::new();
        scroll(&self.http, &self.kept_in(embedder), None, &["fingerprint"], false, |point: Point<TextPayload>| {
            texts.extend(fingerprint_of(&point.payload.fingerprint));
            Ok(())
        })?;
        Ok(texts)
    }

    fn keep(&mut self, embedder: &EmbedderRecord, vectors: &[(Fingerprint, &[f32])]) -> Result<(), RetrievalError> {
        let collection = self.kept_in(embedder);
        let count = json!({ "exact": false });
        if self.http.ask::<Count>("POST", &format!("/collections/{collection}/points/count"), Some(&count))?.is_none() {
            self.create(&collection, &json!({ "vectors": { DENSE: { "size": embedder.dimension, "distance": "Dot" } } }))?;
        }
        let point = |(text, vector): &(Fingerprint, &[f32])| {
            let text = dyag_text::hex(text);
            json!({ "id": id_of(&text), "vector": { DENSE: vector }, "payload": { "fingerprint": text } })
        };
        self.upsert(&collection, vectors.iter().map(point).collect())
    }

    fn vectors(&mut self, embedder: &EmbedderRecord, wanted: &HashSet<Fingerprint>) -> Result<VectorsByText, RetrievalError> {
        let mut found = VectorsByText::new();
        let mut take = |point: Point<TextPayload>| {
            let text = fingerprint_of(&point.payload.fingerprint).filter(|text| wanted.contains(text));
            if let (Some(text), Some(vector)) = (text, point.vector)
                && vector.dense.len() == embedder.dimension
            {
                found.insert(text, vector.dense);
            }
            Ok(())
        };
        let kept = self.kept_in(embedder);
        let texts: Vec<String> = wanted.iter().map(|text| id_of(&dyag_text::hex(text))).collect();
        for part in texts.chunks(PAGE_OF_VECTORS) {
            let body = json!({ "ids": part, "with_payload": ["fingerprint"], "with_vector": [DENSE] });
            match self.http.ask::<Vec<Point<TextPayload>>>("POST", &format!("/collections/{kept}/points"), Some(&body))? {
                Some(points) => points.into_iter().try_for_each(&mut take)?,
                None => break,
            }
        }
        if let Some(collection) = &self.collection {
            let is_same = described(&self.http, collection)?.and_then(|(description, _)| description.embedder);
            if is_same.is_some_and(|known| known.signature == embedder.signature) {
                scroll(&self.http, collection, None, &["fingerprint"], true, take)?;
            }
        }
        Ok(found)
    }

    fn write(&mut self, wanted: &Wanted<'_>, watcher: &mut Watcher<'_>) -> Result<(), RetrievalError> {
        let numbers = self.ours()?.iter().filter_map(|name| number_of(name, &self.name)).max();
        let collection = format!("{}__g{}", self.name, numbers.unwrap_or(0) + 1);
        let words = words_of(&collection);
        let dense =
            wanted.description.embedder.as_ref().map(|embedder| json!({ DENSE: { "size": embedder.dimension, "distance": "Dot" } }));
        self.create(
            &collection,
            &json!({ "vectors": dense.unwrap_or_else(|| json!({})), "sparse_vectors": { SPARSE: { "modifier": "idf" } } }),
        )?;
        self.index_payload(&collection, "properties", "keyword")?;
        // Servers may be set to refuse conditions on what has no index.
        for key in numeric_keys(wanted.chunks).iter().take(MOST_INDEXES) {
            self.index_payload(&collection, key, "float")?;
        }
        self.create(&words, &json!({ "vectors": {} }))?;
        self.index_payload(&words, "field", "keyword")?;
        self.index_payload(&words, "letters", "integer")?;
        let of_terms = self.passages(&collection, wanted, watcher)?;
        self.words(&words, of_terms)?;
        let Count { count } =
            self.http.must("POST", &format!("/collections/{collection}/points/count"), Some(&json!({ "exact": true })))?;
        if count != wanted.chunks.len() as u64 {
            return Err(self.http.error(format!(
                "{collection}: expected {} points after they were written, found {count}; run the command again",
                wanted.chunks.len()
            )));
        }
        let description = serde_json::to_string(wanted.description).unwrap_or_default();
        let payload = json!({ "description": description, "content": wanted.content });
        self.upsert(&words, vec![json!({ "id": id_of(DESCRIPTION), "vector": {}, "payload": payload })])?;
        let mut actions = Vec::new();
        if self.collection.is_some() {
            actions.push(json!({ "delete_alias": { "alias_name": self.name } }));
        }
        actions.push(json!({ "create_alias": { "alias_name": self.name, "collection_name": collection } }));
        self.http.must::<bool>("POST", "/collections/aliases", Some(&json!({ "actions": actions })))?;
        // What is left of earlier generations, of runs that were stopped and of vectors that have their place now.
        for old in self.ours()?.into_iter().filter(|old| *old != collection && *old != words) {
            self.remove(&old)?;
        }
        self.collection = Some(collection);
        Ok(())
    }
}
