//! Collections in Qdrant, by its REST interface.
//!
//! A collection NAME is an alias of `NAME__gN`, whose points are passages, each with a sparse vector of terms and, with an embedder, a dense one. `NAME__gN__words` has a point for each term with the number of its
//! passages, and the description. BM25 is split: the passage's part lies in sparse vectors, the question brings the fields' weights, the server multiplies by its inverse document frequency,
//! `ln(1 + (N − n + 0.5) / (n + 0.5))`, which is ours. Scores are rounded and the nearest vectors compared once more here.

mod http;
mod points;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, HashMap};

use dyag_text::chunk::Chunk;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::address::{QdrantPlace, VectorSearch};
use crate::analysis::{Field, QueryTerm};
use crate::description::{ANALYSIS_VERSION, Description};
use crate::error::RetrievalError;
use crate::filter::Filter;
use crate::indexing::{TIES, dot, hashes, rounded};
use crate::similar;
use crate::store::{LexicalQuery, Scored, Store};

use http::Http;
use points::{DENSE, PASSAGE, PassagePayload, SPARSE, filter_of, id_of, question_vector, word_id};
pub(super) use write::QdrantWriter;

/// Points of a page.
const PAGE: usize = 1_000;
/// Points of a page that come with vectors.
const PAGE_OF_VECTORS: usize = 256;
/// Scores that differ by less of their size are one after rounding, or may be.
const SAME: f32 = 1e-4;
/// The point that holds the description, among words: no word has this name.
const DESCRIPTION: &str = "description";

#[derive(Deserialize)]
struct Aliases {
    aliases: Vec<Alias>,
}

#[derive(Deserialize)]
struct Alias {
    alias_name: String,
    collection_name: String,
}

#[derive(Deserialize)]
struct Page<P> {
    points: Vec<Point<P>>,
    next_page_offset: Option<Value>,
}

#[derive(Deserialize)]
struct Found<P> {
    points: Vec<Point<P>>,
}

#[derive(Deserialize)]
struct Point<P> {
    payload: P,
    #[serde(default)]
    score: f32,
    #[serde(default)]
    vector: Option<Vectors>,
}

#[derive(Deserialize)]
struct Vectors {
    dense: Vec<f32>,
}

#[derive(Deserialize)]
struct IdPayload {
    id: String,
}

#[derive(Deserialize)]
struct WordPayload {
    term: String,
    passages: u64,
}

#[derive(Deserialize)]
struct DescriptionPayload {
    description: String,
    content: String,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

/// The number of a generation in the name of its collection.
fn number_of(collection: &str, name: &str) -> Option<u64> {
    let digits = collection.strip_prefix(name)?.strip_prefix("__g")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The collection of words beside one of passages.
fn words_of(collection: &str) -> String {
    format!("{collection}__words")
}

/// Names of the collections that dyag made there.
pub(super) fn collections(place: &QdrantPlace) -> Result<Vec<String>, RetrievalError> {
    names(&Http::new(place)?)
}

fn names(http: &Http) -> Result<Vec<String>, RetrievalError> {
    let Aliases { aliases } = http.must("GET", "/aliases", None)?;
    let ours = aliases.into_iter().filter(|alias| number_of(&alias.collection_name, &alias.alias_name).is_some());
    let mut names: Vec<String> = ours.map(|alias| alias.alias_name).collect();
    names.sort();
    Ok(names)
}

/// The collection that a name stands for now, or none.
fn current(http: &Http, name: &str) -> Result<Option<String>, RetrievalError> {
    let Aliases { aliases } = http.must("GET", "/aliases", None)?;
    let Some(alias) = aliases.into_iter().find(|alias| alias.alias_name == name) else { return Ok(None) };
    match number_of(&alias.collection_name, name) {
        Some(_) => Ok(Some(alias.collection_name)),
        None => {
            Err(http
                .error(format!("{name} is an alias of {}, which dyag did not make; choose another --collection", alias.collection_name)))
        }
    }
}

/// The description beside a collection, and the hash of its passages; none where the collection is gone.
fn described(http: &Http, collection: &str) -> Result<Option<(Description, String)>, RetrievalError> {
    let body = json!({ "ids": [id_of(DESCRIPTION)], "with_payload": true, "with_vector": false });
    let path = format!("/collections/{}/points", words_of(collection));
    let Some(points) = http.ask::<Vec<Point<DescriptionPayload>>>("POST", &path, Some(&body))? else { return Ok(None) };
    let damaged =
        |found: String| http.error(format!("{collection}: expected its description, found {found}; index it again with --rebuild"));
    let point = points.into_iter().next().ok_or_else(|| damaged("none".to_owned()))?;
    let description: Description = serde_json::from_str(&point.payload.description).map_err(|error| damaged(error.to_string()))?;
    if description.n_chunks == 0 {
        return Err(damaged("one of no passages".to_owned()));
    }
    Ok(Some((description, point.payload.content)))
}

/// Every point of a collection, page by page; false where the collection is gone.
fn scroll<P: DeserializeOwned>(
    http: &Http,
    collection: &str,
    filter: Option<&Value>,
    payload: &[&str],
    with_vectors: bool,
    mut each: impl FnMut(Point<P>) -> Result<(), RetrievalError>,
) -> Result<bool, RetrievalError> {
    let path = format!("/collections/{collection}/points/scroll");
    let with_vector = if with_vectors { json!([DENSE]) } else { json!(false) };
    let limit = if with_vectors { PAGE_OF_VECTORS } else { PAGE };
    let mut body = json!({ "limit": limit, "with_payload": payload, "with_vector": with_vector });
    if let Some(filter) = filter {
        body["filter"] = filter.clone();
    }
    loop {
        let Some(Page { points, next_page_offset }) = http.ask::<Page<P>>("POST", &path, Some(&body))? else { return Ok(false) };
        points.into_iter().try_for_each(&mut each)?;
        match next_page_offset {
            Some(next) if !next.is_null() && body.get("offset") != Some(&next) => body["offset"] = next,
            _ => return Ok(true),
        }
    }
}

/// A collection of a server, open at one generation.
pub(super) struct QdrantStore {
    http: Http,
    /// `NAME__gN`.
    collection: String,
    description: Description,
    content: String,
}

impl QdrantStore {
    /// Opens the collection `name`.
    pub(super) fn open(place: &QdrantPlace, name: &str) -> Result<Self, RetrievalError> {
        let http = Http::new(place)?;
        let missing = |found: Vec<String>| RetrievalError::NoCollection {
            place: place.shown.clone(),
            name: name.to_owned(),
            found: if found.is_empty() { "none".to_owned() } else { found.join(", ") },
        };
        // A writer may switch and remove between two questions; the alias then names another.
        for _ in 0..20 {
            let Some(collection) = current(&http, name)? else { return Err(missing(names(&http)?)) };
            if let Some((description, content)) = described(&http, &collection)? {
                let (expected, found) = (ANALYSIS_VERSION, description.analysis_version);
                if found != expected {
                    return Err(RetrievalError::OtherAnalysis { collection: name.to_owned(), expected, found });
                }
                return Ok(Self { http, collection, description, content });
            }
        }
        Err(http.error(format!("collection {name:?}: expected its words beside its passages, found none; index it again with --rebuild")))
    }

    /// Asks the generation that was opened.
    fn ask<T: DeserializeOwned>(&self, collection: &str, path: &str, body: &Value) -> Result<T, RetrievalError> {
        self.http.ask("POST", &format!("/collections/{collection}{path}"), Some(body))?.ok_or_else(|| self.replaced())
    }

    fn replaced(&self) -> RetrievalError {
        RetrievalError::Replaced {
            store: self.http.place.shown.clone(),
            collection: self.description.collection.clone(),
            opened: self.description.generation,
        }
    }

    /// The best points by a vector: `k`, some more, and all whose scores are as good as that of the `k`-th, since the server gives equal ones in an order of its own.
    fn query(&self, vector: &Value, using: &str, k: usize, filter: &Filter, exact: bool) -> Result<Vec<Point<IdPayload>>, RetrievalError> {
        let with_vector = if using == DENSE { json!([DENSE]) } else { json!(false) };
        let mut limit = k.saturating_add(TIES).min(self.description.n_chunks.max(1));
        loop {
            let mut body = json!({
                "query": vector, "using": using, "limit": limit, "with_payload": ["id"], "with_vector": with_vector,
            });
            // An index of sparse vectors misses none.
            if using == DENSE {
                body["params"] = json!({ "exact": exact });
            }
            if let Some(filter) = filter_of(filter) {
                body["filter"] = filter;
            }
            let Found { points } = self.ask(&self.collection, "/points/query", &body)?;
            let is_open = match (points.get(k.saturating_sub(1)), points.last()) {
                (Some(worst), Some(last)) => worst.score - last.score <= SAME * worst.score.abs(),
                _ => false,
            };
            if !is_open || points.len() < limit || limit >= self.description.n_chunks {
                return Ok(points);
            }
            limit = limit.saturating_mul(4).min(self.description.n_chunks);
        }
    }

    fn passages(&self, ids: &[String]) -> Result<Vec<Chunk>, RetrievalError> {
        let body = json!({ "ids": ids, "with_payload": PASSAGE, "with_vector": false });
        let points: Vec<Point<PassagePayload>> = self.ask(&self.collection, "/points", &body)?;
        points.into_iter().map(|point| point.payload.chunk().map_err(|problem| self.http.error(problem))).collect()
    }
}

/// The best `k`: larger scores first, then ids in byte order.
fn best(mut scored: Vec<Scored>, k: usize) -> Vec<Scored> {
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    scored.truncate(k);
    scored
}

impl Store for QdrantStore {
    fn description(&self) -> &Description {
        &self.description
    }

    fn lexical(&self, LexicalQuery { terms }: &LexicalQuery, k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError> {
        if terms.is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        let points = self.query(&question_vector(terms), SPARSE, k, filter, true)?;
        Ok(best(points.into_iter().map(|point| Scored { id: point.payload.id, score: rounded(point.score) }).collect(), k))
    }

    fn nearest(&self, vector: &[f32], k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError> {
        let Description { collection, embedder, .. } = &self.description;
        let embedder = embedder.as_ref().ok_or_else(|| RetrievalError::NoVectors { collection: collection.clone() })?;
        if vector.len() != embedder.dimension {
            let expected = format!("collection {collection:?}: expected a vector of {} numbers", embedder.dimension);
            return Err(self.http.error(format!("{expected}, found {}; use the collection's own embedder", vector.len())));
        }
        let mut scored = Vec::new();
        for point in self.query(&json!(vector), DENSE, k, filter, self.http.place.vectors == VectorSearch::Exact)? {
            let id = point.payload.id;
            let row = point.vector.map(|vector| vector.dense).filter(|row| row.len() == vector.len());
            let row = row
                .ok_or_else(|| self.http.error(format!("chunk {id:?}: expected its vector of {} numbers, found another", vector.len())))?;
            scored.push(Scored { id, score: dot(&row, vector) as f32 });
        }
        Ok(best(scored, k))
    }

    fn chunks(&self, ids: &[&str]) -> Result<Vec<Chunk>, RetrievalError> {
        let mut by_id = HashMap::new();
        for part in ids.chunks(PAGE) {
            let points: Vec<String> = part.iter().map(|id| id_of(id)).collect();
            by_id.extend(self.passages(&points)?.into_iter().map(|chunk| (chunk.id.clone(), chunk)));
        }
        let missing =
            |id: &str| RetrievalError::Chunk { id: id.to_owned(), expected: "a chunk of the collection", found: "none".to_owned() };
        ids.iter().map(|id| by_id.get(*id).cloned().ok_or_else(|| missing(id))).collect()
    }

    fn document_frequencies(&self, terms: &[QueryTerm]) -> Result<Vec<u64>, RetrievalError> {
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        #[derive(Deserialize)]
        struct Word {
            id: String,
            payload: WordPayload,
        }
        let ids: Vec<String> = terms.iter().map(|term| word_id(term.field, &term.text)).collect();
        let body = json!({ "ids": ids, "with_payload": ["term", "passages"], "with_vector": false });
        let words: Vec<Word> = self.ask(&words_of(&self.collection), "/points", &body)?;
        let by_id: HashMap<String, WordPayload> = words.into_iter().map(|word| (word.id, word.payload)).collect();
        let frequency =
            |(id, term): (&String, &QueryTerm)| by_id.get(id).filter(|word| word.term == term.text).map_or(0, |word| word.passages);
        Ok(ids.iter().zip(terms).map(frequency).collect())
    }

    fn similar_words(&self, word: &str) -> Result<Vec<String>, RetrievalError> {
        let (furthest, letters) = (usize::from(similar::furthest(word)), word.chars().count());
        if furthest == 0 {
            return Ok(Vec::new());
        }
        let filter = json!({ "must": [
            { "key": "field", "match": { "value": Field::Word.name() } },
            { "key": "letters", "range": { "gte": letters - furthest, "lte": letters + furthest } },
        ] });
        let mut words = Vec::new();
        let is_there =
            scroll(&self.http, &words_of(&self.collection), Some(&filter), &["term", "passages"], false, |point: Point<WordPayload>| {
                words.push((point.payload.passages, point.payload.term));
                Ok(())
            })?;
        if is_there { Ok(similar::among(word, words.into_iter())) } else { Err(self.replaced()) }
    }

    fn each_chunk(&self, each: &mut dyn FnMut(Chunk) -> Result<(), RetrievalError>) -> Result<(), RetrievalError> {
        // Points come in the order of theirs ids, which are hashes; so do all of them first.
        let mut chunks = Vec::new();
        let is_there = scroll(&self.http, &self.collection, None, &PASSAGE, false, |point: Point<PassagePayload>| {
            chunks.push(point.payload.chunk().map_err(|problem| self.http.error(problem))?);
            Ok(())
        })?;
        if !is_there {
            return Err(self.replaced());
        }
        chunks.sort_by(|a, b| a.id.cmp(&b.id));
        chunks.into_iter().try_for_each(each)
    }

    fn verify(&self) -> Result<(), RetrievalError> {
        let damaged = |expected: String, found: String| {
            self.http.error(format!(
                "{}: expected {expected}, found {found}: it is damaged; make it again with dyag index-rag --rebuild",
                self.collection
            ))
        };
        let mut chunks = Vec::new();
        self.each_chunk(&mut |chunk| {
            chunks.push(chunk);
            Ok(())
        })?;
        let n = self.description.n_chunks;
        if chunks.len() != n || hashes(&chunks).1 != self.content {
            return Err(damaged(format!("{n} passages as they were written"), format!("{} or others", chunks.len())));
        }
        if let Some(embedder) = &self.description.embedder {
            let mut whole = 0;
            scroll(&self.http, &self.collection, None, &["id"], true, |point: Point<IdPayload>| {
                whole += usize::from(point.vector.is_some_and(|vector| vector.dense.len() == embedder.dimension));
                Ok(())
            })?;
            if whole != n {
                return Err(damaged(format!("a vector of {} numbers for each of {n} passages", embedder.dimension), whole.to_string()));
            }
        }
        Ok(())
    }

    fn sizes(&self) -> Result<BTreeMap<String, u64>, RetrievalError> {
        // The server does not say.
        Ok(BTreeMap::new())
    }
}
