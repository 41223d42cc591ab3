//! `dyag rag-stats`: what a collection, or each of a folder or server, holds.

use std::process::ExitCode;

use dyag_retrieval::Description;
use serde_json::json;

use crate::engine::EngineArgs;
use crate::retrieval::{StoreArgs, StorePlace};
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: StoreArgs,

    /// Say it of every collection
    #[arg(long, conflicts_with = "collection")]
    all: bool,

    /// Compare every byte of passages, vectors and the lexical index with what was written
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { place: typed, all, verify, engine, json } = args;
    let place = typed.place()?;
    let names = if all { place.collections()? } else { vec![typed.read(&place)?] };
    let mut rows = Vec::new();
    for name in &names {
        if let (true, StorePlace::Folder(root)) = (verify, &place) {
            // Before anything believes what the files say.
            dyag_retrieval::verify(root, name)?;
        }
        let store = place.open(name, engine)?;
        if let (true, StorePlace::Server(_)) = (verify, &place) {
            store.verify()?;
        }
        let description = store.description();
        let sizes = store.sizes()?;
        if json {
            rows.push(json!({ "description": description, "bytes": sizes, "verified": verify }));
            continue;
        }
        let Description { collection, n_chunks, n_documents, languages, embedder, unrelated_cosine, created_at, generation, .. } =
            description;
        let languages: Vec<String> = languages.iter().map(ToString::to_string).collect();
        terminal::print_line(format!("{collection}: {n_chunks} passages of {n_documents} documents, {}", languages.join(", ")))?;
        terminal::print_line(format!("  generation {generation}, written {created_at}"))?;
        match embedder {
            Some(embedder) => terminal::print_line(format!("  embedder: {}", terminal::printable(&embedder.words())))?,
            None => terminal::print_line("  embedder: none, search by words alone")?,
        }
        if let Some((mean, deviation)) = unrelated_cosine {
            terminal::print_line(format!("  unrelated questions and passages: cosine {mean:.3}, standard deviation {deviation:.3}"))?;
        }
        let total: u64 = sizes.values().sum();
        let parts: Vec<String> = sizes.iter().map(|(name, bytes)| format!("{name} {}", megabytes(*bytes))).collect();
        terminal::print_line(format!(
            "  {} {}: {}",
            megabytes(total),
            if matches!(place, StorePlace::Folder(_)) { "on disk" } else { "of rows" },
            parts.join(", ")
        ))?;
        if verify {
            terminal::print_line("  every byte is as it was written")?;
        }
    }
    if json {
        terminal::print_json(&json!({ "store": place.shown(), "collections": rows }))?;
    } else if names.is_empty() {
        terminal::print_line(format!("{}: no collection; make one with dyag index-rag", place.shown()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
