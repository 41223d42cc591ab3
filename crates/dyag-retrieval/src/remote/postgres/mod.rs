//! Collections in PostgreSQL with pgvector.
//!
//! BM25 is computed by the server in single precision, term by term as tantivy does, and the cosines of the nearest vectors once more here, so that rankings are those of the local store.
//! A question is one read-only transaction that looks first whether the generation that was opened is still there.

mod connection;
mod filter;
mod schema;
#[cfg(test)]
mod tests;
mod vector;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use dyag_text::chunk::Chunk;
use postgres::types::ToSql;
use postgres::{Client, IsolationLevel, Row, Transaction};

use super::address::{PostgresPlace, VectorSearch};
use crate::analysis::{Field, QueryTerm, content_hash};
use crate::bm25::Totals;
use crate::description::Description;
use crate::error::RetrievalError;
use crate::filter::Filter;
use crate::indexing::{TIES, dot, hashes};
use crate::similar;
use crate::store::{LexicalQuery, Scored, Store};

use connection::Reader;
use filter::{Values, conditions};
use vector::Vector;
pub(super) use write::PostgresWriter;

/// Passages that are fetched at once.
const PAGE: i64 = 1_000;

/// Columns of a passage, in the order that [`chunk_of`] reads.
const CHUNK: &str = "id, source_id, title, content, metadata::text, chunk_type";

/// Names of the collections of a database.
pub(super) fn collections(place: &PostgresPlace) -> Result<Vec<String>, RetrievalError> {
    let mut reader = Reader::connect(place.clone())?;
    reader.ask(|client| if exists(client)? { names(client) } else { Ok(Vec::new()) })
}

fn exists(client: &mut Client) -> Result<bool, postgres::Error> {
    client.query_one(schema::EXISTS, &[])?.try_get(0)
}

fn names(client: &mut Client) -> Result<Vec<String>, postgres::Error> {
    client.query("SELECT name FROM dyag.collections ORDER BY name", &[])?.iter().map(|row| row.try_get(0)).collect()
}

/// A row of `dyag.collections`.
struct Head {
    number: i64,
    description: Description,
    content: String,
    totals: Totals,
}

/// The row of a collection, or none.
fn head(place: &PostgresPlace, client: &mut Client, name: &str) -> Result<Option<Head>, RetrievalError> {
    let problem = |error: postgres::Error| place.problem(&error);
    let version: i32 = client.query_one("SELECT max(version) FROM dyag.format", &[]).and_then(|row| row.try_get(0)).map_err(problem)?;
    if version != schema::FORMAT {
        return Err(place.error(format!(
            "schema dyag: expected tables of format {}, which this version of dyag reads, found {version}; use the version of dyag that made them, or another database",
            schema::FORMAT
        )));
    }
    let sql = "SELECT collection, generation, description::text, content, terms FROM dyag.collections WHERE name = $1";
    let Some(row) = client.query_opt(sql, &[&name]).map_err(problem)? else { return Ok(None) };
    let read = || -> Result<_, postgres::Error> {
        Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?, row.try_get::<_, String>(2)?, row.try_get(3)?, row.try_get::<_, Vec<i64>>(4)?))
    };
    let (number, generation, description, content, terms) = read().map_err(problem)?;
    let damaged = |expected: &str, found: String| {
        place.error(format!("collection {name:?}: expected {expected}, found {found}; remove it with DELETE FROM dyag.collections WHERE name = ..., and index it again"))
    };
    let description: Description = serde_json::from_str(&description).map_err(|error| damaged("its description", error.to_string()))?;
    let terms: Vec<u64> = terms.iter().filter_map(|n| u64::try_from(*n).ok()).collect();
    let terms: [u64; 3] = terms.try_into().map_err(|found| damaged("numbers of terms of three fields", format!("{found:?}")))?;
    if u64::try_from(generation) != Ok(description.generation) || description.n_chunks == 0 {
        return Err(damaged("a description of the generation that is there", format!("another, {generation}")));
    }
    Ok(Some(Head { number, totals: Totals { passages: description.n_chunks as u64, terms }, description, content }))
}

/// The row of a collection that must be there.
fn existing(place: &PostgresPlace, client: &mut Client, name: &str) -> Result<Head, RetrievalError> {
    let problem = |error: postgres::Error| place.problem(&error);
    let missing = |found: Vec<String>| RetrievalError::NoCollection {
        place: place.shown.clone(),
        name: name.to_owned(),
        found: if found.is_empty() { "none".to_owned() } else { found.join(", ") },
    };
    if !exists(client).map_err(problem)? {
        return Err(missing(Vec::new()));
    }
    match head(place, client, name)? {
        Some(head) => Ok(head),
        None => Err(missing(names(client).map_err(problem)?)),
    }
}

/// A passage from [`CHUNK`].
fn chunk_of(row: &Row) -> Result<Result<Chunk, String>, postgres::Error> {
    let (id, metadata): (String, String) = (row.try_get(0)?, row.try_get(4)?);
    let metadata = match serde_json::from_str(&metadata) {
        Ok(serde_json::Value::Object(metadata)) => metadata,
        _ => return Ok(Err(format!("chunk {id:?}: expected metadata that are a JSON object, found others"))),
    };
    let (source_id, title, content, chunk_type) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(5)?);
    Ok(Ok(Chunk { id, source_id, title, content, metadata, chunk_type }))
}

/// A collection of a database, open at one generation.
pub(super) struct PostgresStore {
    reader: Mutex<Reader>,
    place: PostgresPlace,
    head: Head,
    norms: Vec<f32>,
}

impl PostgresStore {
    /// Opens the collection `name`.
    pub(super) fn open(place: PostgresPlace, name: &str) -> Result<Self, RetrievalError> {
        let mut client = place.connect(true)?;
        let head = existing(&place, &mut client, name)?;
        let expected = crate::description::ANALYSIS_VERSION;
        if head.description.analysis_version != expected {
            return Err(RetrievalError::OtherAnalysis { collection: name.to_owned(), expected, found: head.description.analysis_version });
        }
        let norms = head.totals.norms();
        Ok(Self { reader: Mutex::new(Reader::with(place.clone(), client)), place, head, norms })
    }

    /// Asks in a transaction that sees the generation that was opened.
    fn ask<T>(&self, question: impl Fn(&mut Transaction<'_>) -> Result<T, postgres::Error>) -> Result<T, RetrievalError> {
        let generation = self.head.description.generation as i64;
        let answer = self.reader.lock().unwrap_or_else(PoisonError::into_inner).ask(|client| {
            let mut transaction = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead).start()?;
            let current = "SELECT FROM dyag.collections WHERE collection = $1 AND generation = $2";
            if transaction.query_opt(current, &[&self.head.number, &generation])?.is_none() {
                return Ok(None);
            }
            let answer = question(&mut transaction)?;
            transaction.commit()?;
            Ok(Some(answer))
        })?;
        answer.ok_or_else(|| RetrievalError::Replaced {
            store: self.place.shown.clone(),
            collection: self.head.description.collection.clone(),
            opened: self.head.description.generation,
        })
    }

    fn frequencies(&self, transaction: &mut Transaction<'_>, terms: &[QueryTerm]) -> Result<Vec<u64>, postgres::Error> {
        let fields: Vec<i16> = terms.iter().map(|term| term.field as i16).collect();
        let texts: Vec<&str> = terms.iter().map(|term| term.text.as_str()).collect();
        let sql = "SELECT coalesce(f.passages, 0) FROM unnest($2::int2[], $3::text[]) WITH ORDINALITY AS a (field, term, place) \
                   LEFT JOIN dyag.frequencies f ON f.collection = $1 AND f.field = a.field AND f.term = a.term ORDER BY a.place";
        let rows = transaction.query(sql, &[&self.head.number, &fields, &texts])?;
        rows.iter().map(|row| Ok(row.try_get::<_, i64>(0)?.max(0) as u64)).collect()
    }

    fn scored(
        &self,
        transaction: &mut Transaction<'_>,
        terms: &[QueryTerm],
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<Scored>, postgres::Error> {
        let frequencies = self.frequencies(transaction, terms)?;
        let weight = |(term, n): (&QueryTerm, &u64)| self.head.totals.weight((*n).min(self.head.totals.passages), term.weight);
        let weights: Vec<f32> = terms.iter().zip(&frequencies).map(weight).collect();
        let fields: Vec<i16> = terms.iter().map(|term| term.field as i16).collect();
        let texts: Vec<String> = terms.iter().map(|term| term.text.clone()).collect();
        let mut values: Values = vec![
            Box::new(self.head.number),
            Box::new(fields),
            Box::new(texts),
            Box::new(weights),
            Box::new(self.norms.clone()),
            Box::new(i64::try_from(k).unwrap_or(i64::MAX)),
        ];
        let passing = conditions(filter, "c", &mut values);
        // To five digits, as every store rounds: sums of the same numbers in another order are then one number.
        let sql = format!(
            "WITH sums AS MATERIALIZED (
                SELECT t.chunk, sum((a.weight * (t.frequency::float4 / (t.frequency::float4 + ($5::float4[])[t.field * 256 + t.length + 1])))::float8)::float4::float8 AS score
                FROM unnest($2::int2[], $3::text[], $4::float4[]) AS a (field, term, weight)
                JOIN dyag.terms t ON t.collection = $1 AND t.field = a.field AND t.term = a.term
                GROUP BY t.chunk
            ), rounded AS (
                SELECT c.id, (floor(s.score * s.scale + 0.5) / s.scale)::float4 AS score
                FROM (SELECT chunk, score, power(10::float8, 4 - floor(log(score))) AS scale FROM sums WHERE score > 0) s
                JOIN dyag.chunks c ON c.collection = $1 AND c.chunk = s.chunk
                WHERE true{passing}
            )
            SELECT id, score FROM rounded ORDER BY score DESC, id LIMIT $6"
        );
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value).collect();
        let rows = transaction.query(&sql, &values)?;
        rows.iter().map(|row| Ok(Scored { id: row.try_get(0)?, score: row.try_get(1)? })).collect()
    }

    fn near(
        &self,
        transaction: &mut Transaction<'_>,
        vector: &[f32],
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<(String, Vec<f32>)>, postgres::Error> {
        let mut values: Values =
            vec![Box::new(self.head.number), Box::new(Vector(vector.to_vec())), Box::new(i64::try_from(k).unwrap_or(i64::MAX))];
        let passing = conditions(filter, "v", &mut values);
        let (which, distance) = match self.place.vectors {
            VectorSearch::Exact => ("v.collection = $1".to_owned(), "v.embedding <#> $2".to_owned()),
            // The index is of one collection and one dimension; both are numbers of ours.
            VectorSearch::Hnsw => {
                transaction.batch_execute(&format!(
                    "SET LOCAL hnsw.ef_search = {}; SET LOCAL hnsw.iterative_scan = strict_order",
                    k.clamp(40, 1_000)
                ))?;
                let n = vector.len();
                (
                    format!("$1::bigint = $1 AND v.collection = {}", self.head.number),
                    format!("(v.embedding::vector({n})) <#> $2::vector({n})"),
                )
            }
        };
        let sql = match self.place.vectors {
            VectorSearch::Exact => format!(
                "SELECT c.id, v.embedding FROM dyag.vectors v JOIN dyag.chunks c USING (collection, chunk) WHERE {which}{passing} ORDER BY {distance}, c.id LIMIT $3"
            ),
            // An index is asked in the order of distances alone.
            VectorSearch::Hnsw => format!(
                "SELECT c.id, n.embedding FROM (
                    SELECT v.collection, v.chunk, v.embedding FROM dyag.vectors v WHERE {which}{passing} ORDER BY {distance} LIMIT $3
                ) n JOIN dyag.chunks c USING (collection, chunk)"
            ),
        };
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value).collect();
        let rows = transaction.query(&sql, &values)?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, Vector>(1)?.0))).collect()
    }
}

impl Store for PostgresStore {
    fn description(&self) -> &Description {
        &self.head.description
    }

    fn lexical(&self, LexicalQuery { terms }: &LexicalQuery, k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError> {
        if terms.is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        self.ask(|transaction| self.scored(transaction, terms, k, filter))
    }

    fn nearest(&self, vector: &[f32], k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError> {
        let Description { collection, embedder, .. } = &self.head.description;
        let embedder = embedder.as_ref().ok_or_else(|| RetrievalError::NoVectors { collection: collection.clone() })?;
        if vector.len() != embedder.dimension {
            let expected = format!("collection {collection:?}: expected a vector of {} numbers", embedder.dimension);
            return Err(self.place.error(format!("{expected}, found {}; use the collection's own embedder", vector.len())));
        }
        let near = self.ask(|transaction| self.near(transaction, vector, k + TIES, filter))?;
        let mut scored: Vec<Scored> = near.into_iter().map(|(id, row)| Scored { id, score: dot(&row, vector) as f32 }).collect();
        scored.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        scored.truncate(k);
        Ok(scored)
    }

    fn chunks(&self, ids: &[&str]) -> Result<Vec<Chunk>, RetrievalError> {
        let sql = format!("SELECT {CHUNK} FROM dyag.chunks WHERE collection = $1 AND id = ANY ($2::text[])");
        let known: Vec<&str> = ids.iter().copied().filter(|id| !id.contains('\0')).collect();
        let found = self.ask(|transaction| {
            transaction.query(&sql, &[&self.head.number, &known])?.iter().map(chunk_of).collect::<Result<Vec<_>, _>>()
        })?;
        let mut by_id = HashMap::new();
        for chunk in found {
            let chunk = chunk.map_err(|problem| self.place.error(problem))?;
            by_id.insert(chunk.id.clone(), chunk);
        }
        let missing =
            |id: &str| RetrievalError::Chunk { id: id.to_owned(), expected: "a chunk of the collection", found: "none".to_owned() };
        ids.iter().map(|id| by_id.get(*id).cloned().ok_or_else(|| missing(id))).collect()
    }

    fn document_frequencies(&self, terms: &[QueryTerm]) -> Result<Vec<u64>, RetrievalError> {
        if terms.is_empty() { Ok(Vec::new()) } else { self.ask(|transaction| self.frequencies(transaction, terms)) }
    }

    fn similar_words(&self, word: &str) -> Result<Vec<String>, RetrievalError> {
        let (furthest, letters) = (i32::from(similar::furthest(word)), word.chars().count() as i32);
        if furthest == 0 {
            return Ok(Vec::new());
        }
        let sql = "SELECT passages, term FROM dyag.frequencies WHERE collection = $1 AND field = $2 AND letters BETWEEN $3 AND $4";
        let word_field = Field::Word as i16;
        let found = self.ask(|transaction| {
            let rows = transaction.query(sql, &[&self.head.number, &word_field, &(letters - furthest), &(letters + furthest)])?;
            rows.iter().map(|row| Ok((row.try_get::<_, i64>(0)?.max(0) as u64, row.try_get(1)?))).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(similar::among(word, found.into_iter()))
    }

    fn each_chunk(&self, each: &mut dyn FnMut(Chunk) -> Result<(), RetrievalError>) -> Result<(), RetrievalError> {
        let sql = format!("SELECT {CHUNK} FROM dyag.chunks WHERE collection = $1 AND id > $2 ORDER BY id LIMIT {PAGE}");
        let mut last = String::new();
        loop {
            let page = self.ask(|transaction| {
                transaction.query(&sql, &[&self.head.number, &last])?.iter().map(chunk_of).collect::<Result<Vec<_>, _>>()
            })?;
            if page.is_empty() {
                return Ok(());
            }
            for chunk in page {
                let chunk = chunk.map_err(|problem| self.place.error(problem))?;
                last.clone_from(&chunk.id);
                each(chunk)?;
            }
        }
    }

    fn verify(&self) -> Result<(), RetrievalError> {
        let damaged = |expected: String, found: String| {
            let name = &self.head.description.collection;
            self.place.error(format!(
                "collection {name:?}: expected {expected}, found {found}: it is damaged; make it again with dyag index-rag --rebuild"
            ))
        };
        let recorded: HashMap<String, String> = self.ask(|transaction| {
            let rows = transaction.query("SELECT id, content_hash FROM dyag.chunks WHERE collection = $1", &[&self.head.number])?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
        })?;
        let mut chunks = Vec::new();
        self.each_chunk(&mut |chunk| {
            if recorded.get(&chunk.id) != Some(&content_hash(&chunk)) {
                return Err(damaged(format!("chunk {:?} as it was written", chunk.id), "another content".to_owned()));
            }
            chunks.push(chunk);
            Ok(())
        })?;
        if hashes(&chunks).1 != self.head.content || chunks.len() != self.head.description.n_chunks {
            return Err(damaged(
                format!("{} passages as they were written", self.head.description.n_chunks),
                format!("{} or others", chunks.len()),
            ));
        }
        let terms = self.ask(|transaction| {
            let sql = "SELECT field, sum(frequency)::bigint FROM dyag.terms WHERE collection = $1 GROUP BY field";
            let rows = transaction.query(sql, &[&self.head.number])?;
            rows.iter().map(|row| Ok((row.try_get::<_, i16>(0)?, row.try_get::<_, i64>(1)?))).collect::<Result<BTreeMap<_, _>, _>>()
        })?;
        let terms = Field::ALL.map(|field| terms.get(&(field as i16)).map_or(0, |n| (*n).max(0) as u64));
        if terms != self.head.totals.terms {
            return Err(damaged(format!("{:?} terms by field", self.head.totals.terms), format!("{terms:?}")));
        }
        if let Some(embedder) = &self.head.description.embedder {
            let n: i64 = self.ask(|transaction| {
                let sql = "SELECT count(*) FROM dyag.vectors v JOIN dyag.chunks c USING (collection, chunk) WHERE v.collection = $1 AND vector_dims(v.embedding) = $2";
                transaction.query_one(sql, &[&self.head.number, &(embedder.dimension as i32)])?.try_get(0)
            })?;
            if n != chunks.len() as i64 {
                return Err(damaged(
                    format!("a vector of {} numbers for each of {} passages", embedder.dimension, chunks.len()),
                    format!("{n}"),
                ));
            }
        }
        Ok(())
    }

    fn sizes(&self) -> Result<BTreeMap<String, u64>, RetrievalError> {
        let mut tables = vec!["chunks", "terms", "frequencies", "properties"];
        if self.head.description.embedder.is_some() {
            tables.push("vectors");
        }
        self.ask(|transaction| {
            let mut sizes = BTreeMap::new();
            for table in &tables {
                let sql = format!("SELECT coalesce(sum(pg_column_size(r.*)), 0)::bigint FROM dyag.{table} r WHERE collection = $1");
                let bytes: i64 = transaction.query_one(&sql, &[&self.head.number])?.try_get(0)?;
                sizes.insert((*table).to_owned(), bytes.max(0) as u64);
            }
            Ok(sizes)
        })
    }
}
