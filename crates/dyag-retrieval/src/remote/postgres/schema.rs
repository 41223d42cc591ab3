//! The tables that dyag keeps in its schema of a database.
//!
//! `collections` has a row a collection, with its description as JSON; every other row belongs to one of them and leaves with it. `terms` holds, for each term of each field of a passage, how often it
//! stands there and the class of the field's length, which is all that BM25 asks. `properties` is what filters look at. `embedded` keeps vectors of runs that were stopped.

/// Of the tables.
pub(super) const FORMAT: i32 = 1;

/// Whether the tables are there.
pub(super) const EXISTS: &str = "SELECT to_regclass('dyag.format') IS NOT NULL AND to_regclass('dyag.collections') IS NOT NULL";

/// Whether pgvector is, and the table of vectors.
pub(super) const HAS_VECTORS: &str =
    "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector'), to_regclass('dyag.vectors') IS NOT NULL";

/// Makes the tables.
pub(super) const CREATE: &str = r#"
CREATE SCHEMA dyag;
CREATE TABLE dyag.format (version int NOT NULL);
INSERT INTO dyag.format VALUES (1);
CREATE TABLE dyag.collections (
    collection bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    generation bigint NOT NULL,
    description json NOT NULL,
    content text NOT NULL,
    terms bigint[] NOT NULL
);
CREATE TABLE dyag.chunks (
    collection bigint NOT NULL REFERENCES dyag.collections ON DELETE CASCADE,
    chunk bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    source_id text NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    metadata json NOT NULL,
    chunk_type text NOT NULL,
    content_hash text NOT NULL,
    fingerprint bytea NOT NULL,
    language text NOT NULL,
    terms int[] NOT NULL,
    PRIMARY KEY (collection, chunk)
);
CREATE UNIQUE INDEX chunks_id ON dyag.chunks (collection, id);
CREATE TABLE dyag.terms (
    collection bigint NOT NULL REFERENCES dyag.collections ON DELETE CASCADE,
    field smallint NOT NULL,
    term text COLLATE "C" NOT NULL,
    chunk bigint NOT NULL,
    frequency int NOT NULL,
    length smallint NOT NULL,
    PRIMARY KEY (collection, field, term, chunk)
);
CREATE TABLE dyag.frequencies (
    collection bigint NOT NULL REFERENCES dyag.collections ON DELETE CASCADE,
    field smallint NOT NULL,
    term text COLLATE "C" NOT NULL,
    letters int NOT NULL,
    passages bigint NOT NULL,
    PRIMARY KEY (collection, field, term)
);
CREATE INDEX frequencies_letters ON dyag.frequencies (collection, field, letters);
CREATE TABLE dyag.properties (
    collection bigint NOT NULL REFERENCES dyag.collections ON DELETE CASCADE,
    chunk bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    number double precision
);
CREATE INDEX properties_chunk ON dyag.properties (collection, chunk);
"#;

/// Makes the tables that need pgvector.
pub(super) const CREATE_VECTORS: &str = r#"
CREATE TABLE dyag.vectors (
    collection bigint NOT NULL REFERENCES dyag.collections ON DELETE CASCADE,
    chunk bigint NOT NULL,
    embedding vector NOT NULL,
    PRIMARY KEY (collection, chunk)
);
CREATE TABLE dyag.embedded (
    name text COLLATE "C" NOT NULL,
    embedder text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    embedding vector NOT NULL,
    PRIMARY KEY (name, embedder, fingerprint)
);
"#;
