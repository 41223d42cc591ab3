//! Writing a collection of a database: one transaction, so that readers see the state before or the new one.

use std::collections::{HashMap, HashSet};

use dyag_text::chunk::Chunk;
use dyag_text::sha256_hex;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{ToSql, Type};
use postgres::{Client, Transaction};
use rayon::prelude::*;

use super::filter::number as as_number;
use super::vector::Vector;
use super::{CHUNK, Head, chunk_of, exists, head, schema};
use crate::analysis::{Field, Language, Terms};
use crate::bm25::{frequencies, length_class};
use crate::description::EmbedderRecord;
use crate::error::RetrievalError;
use crate::filter::properties;
use crate::indexing::{IndexEvent, Watcher, tell};
use crate::remote::address::{PostgresPlace, VectorSearch};
use crate::remote::writer::{Fingerprint, Known, Present, VectorsByText, Wanted, Writer};

/// Passages that are sent between two looks at the watcher.
const BLOCK: usize = 2_000;
/// Vectors that are asked for at once.
const PAGE: usize = 2_000;
/// Dimensions that pgvector indexes.
const LARGEST_INDEXED: usize = 2_000;

/// Writes one collection; a lock of its session keeps other writers of that name out.
pub(in crate::remote) struct PostgresWriter {
    place: PostgresPlace,
    client: Client,
    name: String,
    head: Option<Head>,
}

/// A language as the table has it.
fn word_of(language: Language) -> &'static str {
    match language {
        Language::French => "french",
        Language::English => "english",
    }
}

fn language_of(word: &str) -> Option<Language> {
    [Language::French, Language::English].into_iter().find(|language| word_of(*language) == word)
}

/// An embedder's signature as a key.
fn key_of(embedder: &EmbedderRecord) -> String {
    sha256_hex(format!("{} {}", embedder.dimension, embedder.signature).as_bytes())
}

impl PostgresWriter {
    /// Connects, makes the tables where they are not, and keeps other writers of the collection out.
    pub(in crate::remote) fn open(place: &PostgresPlace, name: &str, needs_vectors: bool) -> Result<Self, RetrievalError> {
        let mut client = place.connect(false)?;
        let problem = |error: postgres::Error| place.problem(&error);
        let lock = "SELECT pg_try_advisory_lock(hashtext('dyag'), hashtext($1))";
        let is_free: bool = client.query_one(lock, &[&name]).and_then(|row| row.try_get(0)).map_err(problem)?;
        if !is_free {
            return Err(place.error(format!("another process is writing collection {name:?}; wait for it, or stop it")));
        }
        let encoding: String = client.query_one("SHOW server_encoding", &[]).and_then(|row| row.try_get(0)).map_err(problem)?;
        if encoding != "UTF8" {
            return Err(place.error(format!(
                "expected a database in UTF8, found {encoding}; make one with createdb --encoding UTF8 --template template0"
            )));
        }
        make_tables(place, &mut client)?;
        let (has_extension, has_table) = has_vectors(place, &mut client)?;
        if needs_vectors && !has_table {
            make_vectors(place, &mut client, has_extension)?;
        }
        let head = head(place, &mut client, name)?;
        Ok(Self { place: place.clone(), client, name: name.to_owned(), head })
    }

    fn problem(&self) -> impl Fn(postgres::Error) -> RetrievalError + 'static {
        let place = self.place.clone();
        move |error| place.problem(&error)
    }

    fn has_vectors(&mut self) -> Result<bool, RetrievalError> {
        Ok(has_vectors(&self.place, &mut self.client)?.1)
    }
}

fn has_vectors(place: &PostgresPlace, client: &mut Client) -> Result<(bool, bool), RetrievalError> {
    let row = client.query_one(schema::HAS_VECTORS, &[]);
    row.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?))).map_err(|error| place.problem(&error))
}

/// Makes the tables, unless they are there; of several that try, one does.
fn make_tables(place: &PostgresPlace, client: &mut Client) -> Result<(), RetrievalError> {
    let made = (|| {
        if exists(client)? {
            return Ok(());
        }
        let mut transaction = client.transaction()?;
        transaction.execute("SELECT pg_advisory_xact_lock(hashtext('dyag'), 0)", &[])?;
        if !transaction.query_one(schema::EXISTS, &[])?.try_get::<_, bool>(0)? {
            transaction.batch_execute(schema::CREATE)?;
        }
        transaction.commit()
    })();
    made.map_err(|error: postgres::Error| place.problem(&error))
}

fn make_vectors(place: &PostgresPlace, client: &mut Client, has_extension: bool) -> Result<(), RetrievalError> {
    if !has_extension && let Err(error) = client.batch_execute("CREATE EXTENSION vector") {
        let said = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        return Err(place.error(format!(
            "expected the extension pgvector in database {}, found none, and it cannot be made here: {said}; install pgvector on the server and have an administrator \
             run CREATE EXTENSION vector in the database, or index with --embedding-model none",
            place.database
        )));
    }
    let made = (|| {
        let mut transaction = client.transaction()?;
        transaction.execute("SELECT pg_advisory_xact_lock(hashtext('dyag'), 0)", &[])?;
        if !transaction.query_one(schema::HAS_VECTORS, &[])?.try_get::<_, bool>(1)? {
            transaction.batch_execute(schema::CREATE_VECTORS)?;
        }
        transaction.commit()
    })();
    made.map_err(|error: postgres::Error| place.problem(&error))
}

impl Writer for PostgresWriter {
    const WRITES_ALL: bool = false;

    fn present(&mut self) -> Result<Option<Present>, RetrievalError> {
        let problem = self.problem();
        let Some(head) = &self.head else { return Ok(None) };
        let rows = self
            .client
            .query("SELECT id, content_hash, fingerprint, language FROM dyag.chunks WHERE collection = $1", &[&head.number])
            .map_err(&problem)?;
        let mut passages = HashMap::with_capacity(rows.len());
        for row in &rows {
            let read = || -> Result<_, postgres::Error> {
                Ok((row.try_get::<_, String>(0)?, row.try_get(1)?, row.try_get::<_, Vec<u8>>(2)?, row.try_get::<_, String>(3)?))
            };
            let (id, content_hash, fingerprint, language): (String, String, Vec<u8>, String) = read().map_err(&problem)?;
            let (Ok(fingerprint), Some(language)) = (Fingerprint::try_from(fingerprint), language_of(&language)) else {
                return Err(self.place.error(format!(
                    "chunk {id:?}: expected a fingerprint of 16 bytes and a language, found others; index again with --rebuild"
                )));
            };
            passages.insert(id, Known { content_hash, fingerprint, language });
        }
        Ok(Some(Present { description: head.description.clone(), content: head.content.clone(), passages }))
    }

    fn chunks(&mut self) -> Result<Vec<Chunk>, RetrievalError> {
        let problem = self.problem();
        let Some(head) = &self.head else { return Ok(Vec::new()) };
        let rows =
            self.client.query(&format!("SELECT {CHUNK} FROM dyag.chunks WHERE collection = $1"), &[&head.number]).map_err(&problem)?;
        rows.iter().map(|row| chunk_of(row).map_err(&problem)?.map_err(|found| self.place.error(found))).collect()
    }

    fn left(&mut self, embedder: &EmbedderRecord) -> Result<HashSet<Fingerprint>, RetrievalError> {
        let problem = self.problem();
        let sql = "SELECT fingerprint FROM dyag.embedded WHERE name = $1 AND embedder = $2 AND vector_dims(embedding) = $3";
        let rows = self.client.query(sql, &[&self.name, &key_of(embedder), &(embedder.dimension as i32)]).map_err(&problem)?;
        let texts = rows.iter().map(|row| row.try_get::<_, Vec<u8>>(0)).collect::<Result<Vec<_>, _>>().map_err(&problem)?;
        Ok(texts.into_iter().filter_map(|text| text.try_into().ok()).collect())
    }

    fn keep(&mut self, embedder: &EmbedderRecord, vectors: &[(Fingerprint, &[f32])]) -> Result<(), RetrievalError> {
        let problem = self.problem();
        let texts: Vec<&[u8]> = vectors.iter().map(|(text, _)| text.as_slice()).collect();
        let vectors: Vec<Vector> = vectors.iter().map(|(_, vector)| Vector(vector.to_vec())).collect();
        let sql = "INSERT INTO dyag.embedded SELECT $1, $2, a.fingerprint, a.embedding FROM unnest($3::bytea[], $4::vector[]) AS a (fingerprint, embedding) \
                   ON CONFLICT (name, embedder, fingerprint) DO UPDATE SET embedding = excluded.embedding";
        self.client.execute(sql, &[&self.name, &key_of(embedder), &texts, &vectors]).map_err(&problem)?;
        Ok(())
    }

    fn vectors(&mut self, embedder: &EmbedderRecord, wanted: &HashSet<Fingerprint>) -> Result<VectorsByText, RetrievalError> {
        let problem = self.problem();
        let mut found = VectorsByText::new();
        let number = self.head.as_ref().map(|head| head.number);
        let is_same = self
            .head
            .as_ref()
            .and_then(|head| head.description.embedder.as_ref())
            .is_some_and(|known| known.signature == embedder.signature);
        let wanted: Vec<&[u8]> = wanted.iter().map(|text| text.as_slice()).collect();
        let mut sources = vec![(
            "SELECT fingerprint, embedding FROM dyag.embedded WHERE name = $1 AND embedder = $2 AND fingerprint = ANY ($3::bytea[])",
            false,
        )];
        if is_same {
            sources.push((
                "SELECT c.fingerprint, v.embedding FROM dyag.chunks c JOIN dyag.vectors v USING (collection, chunk) WHERE c.collection = $1 AND c.fingerprint = ANY ($2::bytea[])",
                true,
            ));
        }
        for part in wanted.chunks(PAGE) {
            for (sql, of_collection) in &sources {
                let rows = match of_collection {
                    true => self.client.query(*sql, &[&number, &part]),
                    false => self.client.query(*sql, &[&self.name, &key_of(embedder), &part]),
                };
                for row in rows.map_err(&problem)? {
                    let read = || -> Result<_, postgres::Error> { Ok((row.try_get::<_, Vec<u8>>(0)?, row.try_get::<_, Vector>(1)?.0)) };
                    let (text, vector) = read().map_err(&problem)?;
                    if let Ok(text) = Fingerprint::try_from(text)
                        && vector.len() == embedder.dimension
                    {
                        found.insert(text, vector);
                    }
                }
            }
        }
        Ok(found)
    }

    fn write(&mut self, wanted: &Wanted<'_>, watcher: &mut Watcher<'_>) -> Result<(), RetrievalError> {
        for chunk in wanted.chunks {
            let texts = [&chunk.id, &chunk.source_id, &chunk.title, &chunk.content, &chunk.chunk_type];
            if texts.iter().any(|text| text.contains('\0')) {
                let expected = "texts without U+0000, which PostgreSQL does not keep";
                return Err(RetrievalError::Chunk { id: chunk.id.replace('\0', "\u{fffd}"), expected, found: "one".to_owned() });
            }
        }
        let (place, has_vectors) = (self.place.clone(), self.has_vectors()?);
        let problem = |error: postgres::Error| place.problem(&error);
        let mut transaction = self.client.transaction().map_err(problem)?;
        let number = replace(&mut transaction, &self.name, wanted, has_vectors).map_err(problem)?;
        let first: i64 = transaction
            .query_one("SELECT coalesce(max(chunk), 0) + 1 FROM dyag.chunks WHERE collection = $1", &[&number])
            .and_then(|row| row.try_get(0))
            .map_err(problem)?;
        let new: Vec<usize> = (0..wanted.chunks.len()).filter(|place| !wanted.is_kept[*place]).collect();
        let kept = wanted.chunks.len() - new.len();
        let mut done = 0;
        for block in new.chunks(BLOCK) {
            let terms_of = |place: &usize| {
                let Chunk { title, content, .. } = &wanted.chunks[*place];
                wanted.analyzer.passage(title, content, wanted.languages[*place])
            };
            let terms: Vec<Terms> = block.par_iter().map(terms_of).collect();
            add(&mut transaction, wanted, number, first + done as i64, block, &terms).map_err(problem)?;
            done += block.len();
            tell(watcher, IndexEvent::Indexing { done: kept + done, all: wanted.chunks.len() })?;
        }
        finish(&mut transaction, &self.name, wanted, number, has_vectors, place.vectors).map_err(problem)?;
        transaction.commit().map_err(problem)
    }
}

/// The row of the collection, new or as it was; what is not kept of it is removed.
fn replace(transaction: &mut Transaction<'_>, name: &str, wanted: &Wanted<'_>, has_vectors: bool) -> Result<i64, postgres::Error> {
    let sql = "INSERT INTO dyag.collections (name, generation, description, content, terms) VALUES ($1, 0, '{}', '', '{}') \
               ON CONFLICT (name) DO UPDATE SET generation = dyag.collections.generation RETURNING collection";
    let number: i64 = transaction.query_one(sql, &[&name])?.try_get(0)?;
    let kept: Vec<&str> =
        wanted.chunks.iter().zip(wanted.is_kept).filter(|(_, is_kept)| **is_kept).map(|(chunk, _)| chunk.id.as_str()).collect();
    let mut tables = vec!["terms", "properties"];
    if has_vectors {
        tables.push("vectors");
    }
    if kept.is_empty() {
        tables.push("chunks");
        for table in tables {
            transaction.execute(&format!("DELETE FROM dyag.{table} WHERE collection = $1"), &[&number])?;
        }
        return Ok(number);
    }
    let sql = "DELETE FROM dyag.chunks c WHERE c.collection = $1 AND NOT EXISTS (SELECT FROM unnest($2::text[]) AS k (id) WHERE k.id = c.id) RETURNING c.chunk";
    let gone = transaction.query(sql, &[&number, &kept])?.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    if !gone.is_empty() {
        for table in tables {
            transaction
                .execute(&format!("DELETE FROM dyag.{table} WHERE collection = $1 AND chunk = ANY ($2::bigint[])"), &[&number, &gone])?;
        }
    }
    Ok(number)
}

/// Rows of one table, copied.
fn copy(
    transaction: &mut Transaction<'_>,
    table: &str,
    types: &[Type],
    rows: impl FnOnce(&mut BinaryCopyInWriter<'_>) -> Result<(), postgres::Error>,
) -> Result<(), postgres::Error> {
    let mut writer = BinaryCopyInWriter::new(transaction.copy_in(&format!("COPY dyag.{table} FROM STDIN (FORMAT binary)"))?, types);
    rows(&mut writer)?;
    writer.finish().map(drop)
}

/// Adds a block of passages, numbered from `first` on.
fn add(
    transaction: &mut Transaction<'_>,
    wanted: &Wanted<'_>,
    number: i64,
    first: i64,
    block: &[usize],
    terms: &[Terms],
) -> Result<(), postgres::Error> {
    let numbered = || block.iter().copied().zip(first..);
    use postgres::types::Type as T;
    let types = [T::INT8, T::INT8, T::TEXT, T::TEXT, T::TEXT, T::TEXT, T::JSON, T::TEXT, T::TEXT, T::BYTEA, T::TEXT, T::INT4_ARRAY];
    copy(transaction, "chunks", &types, |rows| {
        for ((place, chunk_number), terms) in numbered().zip(terms) {
            let Chunk { id, source_id, title, content, metadata, chunk_type } = &wanted.chunks[place];
            let metadata = Json(serde_json::Value::Object(metadata.clone()).to_string());
            let (hash, fingerprint, language) =
                (&wanted.hashes[place], wanted.fingerprints[place].as_slice(), word_of(wanted.languages[place]));
            let lengths: Vec<i32> = Field::ALL.iter().map(|field| terms.of(*field).len() as i32).collect();
            rows.write(&[
                &number,
                &chunk_number,
                id,
                source_id,
                title,
                content,
                &metadata,
                chunk_type,
                hash,
                &fingerprint,
                &language,
                &lengths,
            ])?;
        }
        Ok(())
    })?;
    copy(transaction, "terms", &[T::INT8, T::INT2, T::TEXT, T::INT8, T::INT4, T::INT2], |rows| {
        for ((_, chunk_number), terms) in numbered().zip(terms) {
            for field in Field::ALL {
                let length = i16::from(length_class(terms.of(field).len()));
                for (term, frequency) in frequencies(terms.of(field)) {
                    rows.write(&[&number, &(field as i16), &term, &chunk_number, &(frequency as i32), &length])?;
                }
            }
        }
        Ok(())
    })?;
    copy(transaction, "properties", &[T::INT8, T::INT8, T::TEXT, T::TEXT, T::FLOAT8], |rows| {
        for (place, chunk_number) in numbered() {
            // A zero byte is in no condition that can be typed, and in no text that the server keeps.
            for (key, value) in
                properties(&wanted.chunks[place]).into_iter().filter(|(key, value)| !key.contains('\0') && !value.contains('\0'))
            {
                rows.write(&[&number, &chunk_number, &key, &value, &as_number(&value)])?;
            }
        }
        Ok(())
    })?;
    if wanted.description.embedder.is_some() {
        let vector = transaction.prepare("SELECT NULL::vector")?.columns()[0].type_().clone();
        copy(transaction, "vectors", &[T::INT8, T::INT8, vector], |rows| {
            for (place, chunk_number) in numbered() {
                let vector = Vector(wanted.vectors[&wanted.fingerprints[place]].clone());
                rows.write(&[&number, &chunk_number, &vector])?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Frequencies, sums and, last, the description.
fn finish(
    transaction: &mut Transaction<'_>,
    name: &str,
    wanted: &Wanted<'_>,
    number: i64,
    has_vectors: bool,
    search: VectorSearch,
) -> Result<(), postgres::Error> {
    transaction.execute("DELETE FROM dyag.frequencies WHERE collection = $1", &[&number])?;
    let sql = "INSERT INTO dyag.frequencies SELECT collection, field, term, char_length(term), count(*) FROM dyag.terms WHERE collection = $1 GROUP BY collection, field, term";
    transaction.execute(sql, &[&number])?;
    if has_vectors {
        transaction.execute("DELETE FROM dyag.embedded WHERE name = $1", &[&name])?;
        transaction.batch_execute(&format!("DROP INDEX IF EXISTS dyag.vectors_hnsw_{number}"))?;
        if let (VectorSearch::Hnsw, Some(embedder)) = (search, &wanted.description.embedder)
            && embedder.dimension <= LARGEST_INDEXED
        {
            let n = embedder.dimension;
            transaction.batch_execute(&format!(
                "CREATE INDEX vectors_hnsw_{number} ON dyag.vectors USING hnsw ((embedding::vector({n})) vector_ip_ops) WHERE collection = {number}"
            ))?;
        }
    }
    transaction.batch_execute("ANALYZE dyag.chunks; ANALYZE dyag.terms; ANALYZE dyag.frequencies; ANALYZE dyag.properties")?;
    let description = Json(serde_json::to_string(wanted.description).unwrap_or_default());
    let generation = wanted.description.generation as i64;
    let sql = "UPDATE dyag.collections SET generation = $2, description = $3, content = $4, terms = \
               (SELECT ARRAY[coalesce(sum(terms[1]), 0), coalesce(sum(terms[2]), 0), coalesce(sum(terms[3]), 0)]::bigint[] FROM dyag.chunks WHERE collection = $1) \
               WHERE collection = $1";
    transaction.execute(sql, &[&number, &generation, &description, &wanted.content])?;
    Ok(())
}

/// JSON as it is written, letter for letter.
#[derive(Debug)]
struct Json(String);

impl ToSql for Json {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut postgres::types::private::BytesMut,
    ) -> Result<postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(postgres::types::IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSON
    }

    postgres::types::to_sql_checked!();
}
