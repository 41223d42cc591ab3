//! `dyag index-rag`: chunks into a collection that can be searched.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, bail};
use dyag_retrieval::{Description, IndexEvent, IndexOptions, IndexReport, RetrievalError};
use dyag_text::Embedder;
use dyag_text::chunk::{add_identifiers, read_chunks};
use serde_json::json;

use crate::engine::EngineArgs;
use crate::interruption;
use crate::language::say;
use crate::progress::Progress;
use crate::retrieval::{StoreArgs, StorePlace, embedder};
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files of chunks, as `dyag chunk` writes them; the collection holds these and no others
    #[arg(required = true, value_name = "CHUNKS")]
    chunks: Vec<PathBuf>,

    #[command(flatten)]
    place: StoreArgs,

    /// The model that makes vectors: the folder of a BERT, RoBERTa or XLM-R encoder or of an embedding decoder, or a name on the model hub; none: search by words alone
    /// [default: the one that the collection was made with, else none]
    #[arg(long, value_name = "PATH")]
    embedding_model: Option<String>,

    /// Keep the passages that the collection has already
    #[arg(long)]
    add: bool,

    /// Take nothing over from what the collection was: embed everything again
    #[arg(long, conflicts_with = "add")]
    rebuild: bool,

    /// Passages from which on a search looks through eight-bit copies of the vectors and compares the nearest exactly; for a folder
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    approximate_from: u32,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { chunks: files, place: typed, embedding_model, add, rebuild, approximate_from, engine, json } = args;
    let place = typed.place()?;
    let mut chunks = Vec::new();
    let mut files_of_ids = HashMap::new();
    for file in &files {
        for chunk in read_chunks(file)? {
            if let Some(other) = files_of_ids.insert(chunk.id.clone(), file) {
                bail!("{}: expected ids that no other file has, found {:?}, which {} has too", file.display(), chunk.id, other.display());
            }
            chunks.push(chunk);
        }
    }
    add_identifiers(&mut chunks);
    let start = Instant::now();
    let named = match embedding_model {
        Some(name) => Some(name).filter(|name| name != "none"),
        None => recorded_embedder(&place, typed.written(), engine).map_err(|error| match error.downcast_ref() {
            Some(RetrievalError::Damaged { .. } | RetrievalError::Io { .. }) => error.context(format!(
                "the embedder of collection {} cannot be read; name it with --embedding-model PATH, or none (with --rebuild where the collection is damaged)",
                typed.written()
            )),
            _ => error,
        })?,
    };
    let model = named.as_deref().map(|name| embedder(name, engine)).transpose()?;
    if let Some(model) = model.as_deref().filter(|_| !rebuild) {
        tell_of_another_embedder(&place, typed.written(), model, engine)?;
    }
    let options = IndexOptions {
        rebuild,
        add,
        approximate_from: Some(approximate_from as usize),
        embedding_model: named.as_deref().map(recorded_name),
        created_at: crate::output_file::timestamp(SystemTime::now()),
    };
    let stop = interruption::flag();
    let mut bars = Bars::default();
    let model = model.as_deref().map(|model| model as &dyn Embedder);
    let done = place.index(typed.written(), chunks, model, &options, &mut |event| {
        bars.show(event);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bars.end();
    let report = done.with_context(|| format!("collection {}", typed.written()))?;
    print(&report, &place, start.elapsed().as_secs_f64(), json)?;
    Ok(ExitCode::SUCCESS)
}

/// The embedder of the collection as it is, if it is there and has one.
fn recorded_embedder(place: &StorePlace, collection: &str, engine: EngineArgs) -> anyhow::Result<Option<String>> {
    match place.open(collection, engine) {
        Ok(store) => Ok(store.description().embedding_model.clone()),
        Err(error) if matches!(error.downcast_ref(), Some(RetrievalError::NoCollection { .. })) => {
            terminal::note(say!(
                "note: no --embedding-model, so passages are found by their words alone",
                "note : pas d'--embedding-model, les passages se trouvent donc par leurs seuls mots"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Says that vectors of another embedder are of no use to this one, so that all passages are embedded again.
fn tell_of_another_embedder(place: &StorePlace, collection: &str, model: &dyn Embedder, engine: EngineArgs) -> anyhow::Result<()> {
    match place.open(collection, engine) {
        Ok(store) => {
            if let Some(before) = store.description().embedder.as_ref().filter(|before| before.signature != model.signature()) {
                let (before, now) = (&before.name, model.name());
                terminal::note(say!(
                    "note: the collection's vectors are those of {before}; all passages are embedded again by {now}",
                    "note : les vecteurs de la collection sont de {before} ; tous les passages sont vectorisés de nouveau par {now}"
                ));
            }
            Ok(())
        }
        Err(error) if matches!(error.downcast_ref(), Some(RetrievalError::NoCollection { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A path as everybody finds it later; a name stays a name.
fn recorded_name(name: &str) -> String {
    std::fs::canonicalize(name).map_or_else(|_| name.to_owned(), |path| path.display().to_string())
}

/// A bar for each kind of work.
#[derive(Default)]
struct Bars {
    embedding: Option<(Progress, usize)>,
    indexing: Option<(Progress, usize)>,
}

impl Bars {
    fn show(&mut self, event: IndexEvent) {
        let (bar, what, done, all) = match event {
            IndexEvent::Embedding { done, all } => (&mut self.embedding, say!("passages embedded", "passages vectorisés"), done, all),
            IndexEvent::Indexing { done, all } => (&mut self.indexing, say!("passages indexed", "passages indexés"), done, all),
        };
        if all == 0 {
            return;
        }
        let (progress, before) = bar.get_or_insert_with(|| (Progress::new(all, what), 0));
        progress.done(done - *before);
        progress.tell();
        *before = done;
    }

    fn end(self) {
        [self.embedding, self.indexing].into_iter().flatten().for_each(|(progress, _)| progress.end());
    }
}

fn print(report: &IndexReport, place: &StorePlace, seconds: f64, json: bool) -> anyhow::Result<()> {
    let IndexReport { description, added, changed, unchanged, removed, embedded, written } = report;
    if json {
        return terminal::print_json(&json!({
            "store": place.shown(), "description": description, "added": added, "changed": changed, "unchanged": unchanged, "removed": removed,
            "embedded": embedded, "written": written, "timing": { "seconds": seconds },
        }));
    }
    let Description { collection, n_chunks, n_documents, languages, embedder, generation, .. } = description;
    if !written {
        return terminal::print_line(say!(
            "collection {collection}: nothing changed, {n_chunks} passages as before",
            "collection {collection} : rien n'a changé, {n_chunks} passages comme avant"
        ));
    }
    let languages: Vec<String> = languages.iter().map(ToString::to_string).collect();
    terminal::print_line(say!(
        "collection {collection}: {n_chunks} passages of {n_documents} documents ({}), generation {generation}",
        "collection {collection} : {n_chunks} passages de {n_documents} documents ({}), génération {generation}",
        languages.join(", ")
    ))?;
    terminal::print_line(say!(
        "  {added} new, {changed} changed, {unchanged} as before, {removed} gone",
        "  {added} nouveaux, {changed} changés, {unchanged} comme avant, {removed} disparus"
    ))?;
    match embedder {
        Some(embedder) => {
            let rate =
                if *embedded > 0 { say!(" at {:.1} a second", " à {:.1} par seconde", *embedded as f64 / seconds) } else { String::new() };
            terminal::print_line(say!("  {embedded} embedded by {}{rate}", "  {embedded} vectorisés par {}{rate}", embedder.name))?;
        }
        None => terminal::print_line(say!("  no vectors: search by words alone", "  pas de vecteurs : recherche par les seuls mots"))?,
    }
    let whereabouts = match place {
        StorePlace::Folder(root) => root.join(collection).display().to_string(),
        StorePlace::Server(server) => server.shown().to_owned(),
    };
    terminal::print_line(say!("  in {} in {seconds:.1} s", "  dans {} en {seconds:.1} s", terminal::printable(&whereabouts)))
}
