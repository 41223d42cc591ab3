//! Searches in the program: the flags that choose a collection and how it is searched, what they open, and prompts made of what was found.

mod hybrid;
mod prompt;
mod rewrite;
mod show;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_retrieval::{
    Credentials, Description, Filter, Found, IndexOptions, IndexReport, LocalStore, Ranking, RemotePlace, Retriever, SearchOptions, Store,
    Watcher,
};
use dyag_text::chunk::Chunk;
use dyag_text::{Embedder, Reranker};
use serde_json::{Value, json};

use crate::cli::PrecisionChoice;
use crate::encoder::{open_embedder, open_reranker};
use crate::engine::EngineArgs;
use crate::language::say;
use crate::progress::Progress;
use crate::terminal;

pub(crate) use hybrid::{AnsweredFrom, Choice, HybridChoice, NEARLY_CERTAIN, Rival, Written};
pub(crate) use prompt::{PassageLimits, Prepared, prepare, shown_passages};
pub(crate) use rewrite::rewrite;
pub(crate) use show::{explain, hits_json, print_citations, sureness};

/// Where collections are kept, as typed.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Collection")]
pub(crate) struct StoreArgs {
    /// Where collections are: a folder, postgres://USER@HOST:PORT/DATABASE (its password from PGPASSWORD), or qdrant+https://HOST:6333 (its key from QDRANT_API_KEY)
    #[arg(long, value_name = "DIR|URL", default_value = "dyag-index")]
    store: String,

    /// Send Qdrant's key also to an http address of another machine, where everybody on the way can read it
    #[arg(long)]
    store_allow_http: bool,

    /// The collection's name [default: applications, or where it is searched the only one there is]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
}

/// A collection's name where none is typed.
const DEFAULT_COLLECTION: &str = "applications";

/// By what passages are ranked, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RankingChoice {
    /// By words and by vectors where the collection has them, else by words
    Auto,
    /// By words alone
    Lexical,
    /// By vectors alone
    Vector,
    /// By both
    Fused,
}

/// How a collection is searched, as typed.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Search")]
pub(crate) struct SearchArgs {
    /// Passages that are shown to the model
    #[arg(long, visible_alias = "top-k", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    n_chunks: u16,

    /// By what passages are ranked
    #[arg(long, value_enum, value_name = "KIND", default_value = "auto")]
    search: RankingChoice,

    /// Only passages whose metadata hold: KEY=VALUE, KEY=A|B, KEY!=VALUE, KEY<N, KEY<=N, KEY>N, KEY>=N; may be repeated
    #[arg(long, value_name = "CONDITION")]
    filter: Vec<String>,

    /// Passages of each ranking that are fused
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    candidates: u16,

    /// The model that made the collection's vectors, where it is not where it was; none: search by words alone
    #[arg(long, value_name = "PATH")]
    embedding_model: Option<String>,

    /// Have a model look at the best passages and order them anew: the folder of a BERT, RoBERTa or XLM-R cross-encoder with one label, or a language model, by how likely it finds the question after each (one with "rerank" in its name says yes or no to each)
    #[arg(long, value_name = "PATH")]
    rerank: Option<String>,

    /// Passages that the reranker looks at
    #[arg(long, value_name = "N", default_value_t = 20, requires = "rerank", value_parser = clap::value_parser!(u16).range(1..=1000))]
    reranked: u16,

    /// Longest passage in a prompt, in characters; of a longer one the part that has most of the question's words is shown
    #[arg(long, value_name = "N", default_value_t = 800, value_parser = clap::value_parser!(u32).range(50..))]
    max_passage_chars: u32,

    /// Most tokens of a prompt; the model's context less the answer when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..))]
    max_prompt_tokens: Option<u32>,
}

/// A device that computes in f32, as vectors are compared.
pub(crate) fn exact_device(engine: EngineArgs) -> anyhow::Result<CpuDevice> {
    EngineArgs { precision: PrecisionChoice::F32, ..engine }.open()
}

/// What looks through vectors: exact ones in f32, their eight-bit copies in whole numbers.
fn scanning_device(engine: EngineArgs) -> anyhow::Result<CpuDevice> {
    EngineArgs { precision: PrecisionChoice::F32, ..engine }.open_with(true)
}

/// The embedder that a name means.
pub(crate) fn embedder(name: &str, engine: EngineArgs) -> anyhow::Result<Box<dyn Embedder + Send + Sync>> {
    let found = crate::model_name::resolve(name).with_context(|| format!("--embedding-model {name}"))?;
    open_embedder(&found.path, exact_device(engine)?).with_context(|| format!("--embedding-model {name}"))
}

/// Where collections are: in a folder of this machine or on a server.
pub(crate) enum StorePlace {
    Folder(PathBuf),
    Server(RemotePlace),
}

impl StoreArgs {
    /// Where collections are.
    pub(crate) fn place(&self) -> anyhow::Result<StorePlace> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let credentials = Credentials {
            postgres_password: variable("PGPASSWORD"),
            qdrant_api_key: variable("QDRANT_API_KEY"),
            certificates: variable("SSL_CERT_FILE").map(PathBuf::from),
            allow_http: self.store_allow_http,
        };
        let server = RemotePlace::parse(&self.store, &credentials).context("--store")?;
        Ok(server.map_or_else(|| StorePlace::Folder(PathBuf::from(&self.store)), StorePlace::Server))
    }

    /// The collection that is written.
    pub(crate) fn written(&self) -> &str {
        self.collection.as_deref().unwrap_or(DEFAULT_COLLECTION)
    }

    /// The collection that is read: the one that was named, else the only one in `place`, else that of the default name.
    pub(crate) fn read(&self, place: &StorePlace) -> anyhow::Result<String> {
        if let Some(name) = &self.collection {
            return Ok(name.clone());
        }
        let mut names = place.collections()?;
        if names.len() > 1 && !names.iter().any(|name| name == DEFAULT_COLLECTION) {
            bail!("{}: expected --collection NAME, since there are several: {}", place.shown(), names.join(", "));
        }
        Ok(if names.len() == 1 { names.remove(0) } else { DEFAULT_COLLECTION.to_owned() })
    }

    /// The collection, open.
    pub(crate) fn open(&self, engine: EngineArgs) -> anyhow::Result<Box<dyn Store>> {
        let place = self.place()?;
        place.open(&self.read(&place)?, engine)
    }
}

impl StorePlace {
    /// A collection, open.
    pub(crate) fn open(&self, collection: &str, engine: EngineArgs) -> anyhow::Result<Box<dyn Store>> {
        match self {
            Self::Folder(root) => Ok(Box::new(LocalStore::open(root, collection, Arc::new(scanning_device(engine)?))?)),
            Self::Server(server) => Ok(server.open(collection)?),
        }
    }

    /// Names of the collections, in order.
    pub(crate) fn collections(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Folder(root) => Ok(dyag_retrieval::collections(root)?),
            Self::Server(server) => Ok(server.collections()?),
        }
    }

    /// Makes a collection hold these passages.
    pub(crate) fn index(
        &self,
        collection: &str,
        chunks: Vec<Chunk>,
        embedder: Option<&dyn Embedder>,
        options: &IndexOptions,
        watcher: &mut Watcher<'_>,
    ) -> anyhow::Result<IndexReport> {
        match self {
            Self::Folder(root) => Ok(dyag_retrieval::index(root, collection, chunks, embedder, options, watcher)?),
            Self::Server(server) => Ok(server.index(collection, chunks, embedder, options, watcher)?),
        }
    }

    /// For people and JSON: without a password or key.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Folder(root) => root.display().to_string(),
            Self::Server(server) => server.shown().to_owned(),
        }
    }
}

/// Questions that are searched for together: what was found for them lies in memory at once.
const SEARCHED_TOGETHER: usize = 256;

/// A collection that is open, and how it is searched.
pub(crate) struct Searching {
    store: Box<dyn Store>,
    place: String,
    embedder: Option<Box<dyn Embedder + Send + Sync>>,
    reranker: Option<Box<dyn Reranker + Send + Sync>>,
    pub(crate) options: SearchOptions,
    pub(crate) limits: PassageLimits,
    /// Whether it was said that the filter leaves nothing.
    told_of_filter: Cell<bool>,
}

impl SearchArgs {
    /// Most tokens of a prompt, as typed.
    pub(crate) fn max_prompt_tokens(&self) -> Option<u32> {
        self.max_prompt_tokens
    }

    /// Opens the collection, its embedder and the reranker.
    pub(crate) fn open(&self, place: &StoreArgs, engine: EngineArgs) -> anyhow::Result<Searching> {
        let Self { n_chunks, search, filter, candidates, embedding_model, rerank, reranked, max_passage_chars, max_prompt_tokens } = self;
        let filter = Filter::parse(filter)?;
        let (typed, place) = (place, place.place()?);
        let store = place.open(&typed.read(&place)?, engine)?;
        let description = store.description();
        let without_embedder = embedding_model.as_deref() == Some("none");
        let ranking = match (search, &description.embedder) {
            (RankingChoice::Auto, Some(_)) if !without_embedder => Ranking::Fused,
            (RankingChoice::Auto, _) | (RankingChoice::Lexical, _) => Ranking::Lexical,
            (RankingChoice::Vector, _) => Ranking::Vector,
            (RankingChoice::Fused, _) => Ranking::Fused,
        };
        let embedder = match (ranking, &description.embedder) {
            (Ranking::Lexical, _) => None,
            (Ranking::Vector | Ranking::Fused, None) => {
                bail!(dyag_retrieval::RetrievalError::NoVectors { collection: description.collection.clone() })
            }
            (Ranking::Vector | Ranking::Fused, Some(_)) if without_embedder => {
                bail!("--embedding-model none: expected an embedding model with --search {}", name(ranking))
            }
            (Ranking::Vector | Ranking::Fused, Some(_)) => Some(embedder_of(description, embedding_model.as_deref(), engine)?),
        };
        let reranker = rerank.as_deref().map(|name| {
            let found = crate::model_name::resolve(name)?;
            open_reranker(&found.path, engine)
        });
        let reranker = reranker.transpose().context("--rerank")?;
        let options = SearchOptions {
            k: (*n_chunks).into(),
            candidates: (*candidates).into(),
            ranking,
            filter,
            reranked: if reranker.is_some() { (*reranked).into() } else { 0 },
        };
        let limits =
            PassageLimits { max_passage_chars: *max_passage_chars as usize, max_prompt_tokens: max_prompt_tokens.map(|n| n as usize) };
        let searching = Searching { store, place: place.shown(), embedder, reranker, options, limits, told_of_filter: Cell::new(false) };
        // Refuses another embedder before a model is loaded.
        searching.retriever()?;
        Ok(searching)
    }
}

/// The embedder of a collection: the one that was named, else where it was when the collection was made.
fn embedder_of(description: &Description, named: Option<&str>, engine: EngineArgs) -> anyhow::Result<Box<dyn Embedder + Send + Sync>> {
    match (named, &description.embedding_model) {
        (Some(name), _) => embedder(name, engine),
        (None, Some(recorded)) => embedder(recorded, engine).with_context(|| {
            format!(
                "cannot open the embedder that collection {:?} was made with; say where it is with --embedding-model",
                description.collection
            )
        }),
        (None, None) => bail!("collection {:?} does not say where its embedder is; name it with --embedding-model", description.collection),
    }
}

/// A ranking as it is typed.
pub(crate) const fn name(ranking: Ranking) -> &'static str {
    match ranking {
        Ranking::Lexical => "lexical",
        Ranking::Vector => "vector",
        Ranking::Fused => "fused",
    }
}

impl Searching {
    /// Asks the collection.
    pub(crate) fn retriever(&self) -> anyhow::Result<Retriever<'_>> {
        let embedder = self.embedder.as_deref().map(|embedder| embedder as &dyn Embedder);
        let reranker = self.reranker.as_deref().map(|reranker| reranker as &dyn Reranker);
        Ok(Retriever::new(&*self.store, embedder, reranker)?)
    }

    /// The passages that bear on a question; says once when the filter leaves none.
    pub(crate) fn search(&self, question: &str) -> anyhow::Result<Found> {
        let found = self.retriever()?.search(question, &self.options)?;
        self.tell_of_filter(&found);
        Ok(found)
    }

    /// The same for each of several questions, of which `each` is told in their order; what can be done once for many of them is done once. A bar says how far it is.
    pub(crate) fn search_all(&self, questions: &[&str], each: &mut dyn FnMut(Found) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let progress = Progress::new(questions.len(), say!("questions searched for", "questions recherchées"));
        for questions in questions.chunks(SEARCHED_TOGETHER) {
            let mut done = 0;
            let found = self.retriever()?.search_all(questions, &self.options, &mut |n| {
                progress.done(n - done);
                progress.tell();
                done = n;
            })?;
            for found in found {
                self.tell_of_filter(&found);
                each(found)?;
            }
        }
        progress.end();
        Ok(())
    }

    /// Says once when the filter leaves nothing.
    fn tell_of_filter(&self, found: &Found) {
        let conditions = &self.options.filter.conditions;
        if found.hits.is_empty() && !conditions.is_empty() && !self.told_of_filter.replace(true) {
            let conditions = conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            terminal::note(match self.options.ranking {
                Ranking::Lexical => say!(
                    "note: no passage that --filter {conditions} lets through has a word of the question",
                    "note : aucun passage retenu par --filter {conditions} n'a un mot de la question"
                ),
                Ranking::Vector | Ranking::Fused => say!(
                    "note: --filter {conditions} lets no passage of the collection through",
                    "note : --filter {conditions} ne retient aucun passage de la collection"
                ),
            });
        }
    }

    /// Those of `ids` that the collection does not have.
    pub(crate) fn missing(&self, ids: &BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
        let mut missing = ids.clone();
        self.store.each_chunk(&mut |chunk| {
            missing.remove(chunk.id.as_str());
            Ok(())
        })?;
        Ok(missing)
    }

    /// What the collection is.
    pub(crate) fn description(&self) -> &Description {
        self.store.description()
    }

    /// Everything that what is found depends on, beside the question.
    pub(crate) fn identity(&self) -> Value {
        let Self { store, place, embedder: _, reranker, options, limits, told_of_filter: _ } = self;
        let Description { collection, n_chunks, generation, created_at, embedder, .. } = store.description();
        let SearchOptions { k, candidates, ranking, filter, reranked } = options;
        json!({
            "store": place, "collection": collection, "collection_chunks": n_chunks, "generation": generation, "created_at": created_at,
            "search": name(*ranking), "n_chunks": k, "candidates": candidates,
            "filter": filter.conditions.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "embedder": embedder.as_ref().filter(|_| *ranking != Ranking::Lexical).map(|embedder| &embedder.signature),
            "reranker": reranker.as_ref().map(|reranker| reranker.signature()), "reranked": reranked,
            "max_passage_chars": limits.max_passage_chars, "shown": "by the question's words", "max_prompt_tokens": limits.max_prompt_tokens,
        })
    }

    /// In a line, for people.
    pub(crate) fn summary(&self) -> String {
        let Description { collection, n_chunks, embedder, .. } = self.store.description();
        let by = match (self.options.ranking, embedder) {
            (Ranking::Lexical, _) | (_, None) => say!("words", "mots"),
            (Ranking::Vector, Some(embedder)) => say!("vectors of {}", "vecteurs de {}", embedder.name),
            (Ranking::Fused, Some(embedder)) => say!("words and vectors of {}", "mots et vecteurs de {}", embedder.name),
        };
        let reranker =
            self.reranker.as_ref().map_or(String::new(), |reranker| say!(", reranked by {}", ", reclassés par {}", reranker.name()));
        terminal::printable(&say!(
            "collection {collection}: {n_chunks} passages, by {by}{reranker}",
            "collection {collection} : {n_chunks} passages, par {by}{reranker}"
        ))
        .into_owned()
    }
}
