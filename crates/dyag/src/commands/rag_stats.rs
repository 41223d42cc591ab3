//! `dyag rag-stats`: what a collection, or each of a folder or server, holds.

use std::process::ExitCode;

use anyhow::bail;
use dyag_retrieval::Description;
use serde_json::json;

use crate::engine::EngineArgs;
use crate::language::say;
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
    if let (true, StorePlace::Folder(root)) = (all, &place)
        && !root.is_dir()
    {
        bail!("{}: expected a folder of collections, found no such folder; make a collection with dyag index-rag", root.display());
    }
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
        terminal::print_line(say!(
            "{collection}: {n_chunks} passages of {n_documents} documents, {}",
            "{collection} : {n_chunks} passages de {n_documents} documents, {}",
            languages.join(", ")
        ))?;
        terminal::print_line(say!("  generation {generation}, written {created_at}", "  génération {generation}, écrite le {created_at}"))?;
        match embedder {
            Some(embedder) => {
                terminal::print_line(terminal::printable(&say!(
                    "  embedder: {} ({} numbers; {})",
                    "  modèle de vecteurs : {} ({} nombres ; {})",
                    embedder.name,
                    embedder.dimension,
                    embedder.signature
                )))?;
            }
            None => terminal::print_line(say!(
                "  embedder: none, search by words alone",
                "  modèle de vecteurs : aucun, recherche par les seuls mots"
            ))?,
        }
        if let Some((mean, deviation)) = unrelated_cosine {
            terminal::print_line(say!(
                "  unrelated questions and passages: cosine {mean:.3}, standard deviation {deviation:.3}",
                "  questions et passages sans rapport : cosinus {mean:.3}, écart type {deviation:.3}"
            ))?;
        }
        let total: u64 = sizes.values().sum();
        let parts: Vec<String> = sizes.iter().map(|(name, bytes)| format!("{name} {}", megabytes(*bytes))).collect();
        let kind = if matches!(place, StorePlace::Folder(_)) { say!("on disk", "sur le disque") } else { say!("of rows", "de lignes") };
        terminal::print_line(say!("  {} {kind}: {}", "  {} {kind} : {}", megabytes(total), parts.join(", ")))?;
        if verify {
            terminal::print_line(say!("  every byte is as it was written", "  chaque octet est tel qu'il a été écrit"))?;
        }
    }
    if json {
        terminal::print_json(&json!({ "store": place.shown(), "collections": rows }))?;
    } else if names.is_empty() {
        terminal::print_line(say!(
            "{}: no collection; make one with dyag index-rag",
            "{} : aucune collection ; « dyag index-rag » en fait une",
            place.shown()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn megabytes(bytes: u64) -> String {
    say!("{:.1} MB", "{:.1} Mo", bytes as f64 / 1e6)
}
