//! `dyag create-eval-set`: questions about a collection, each with the chunks that bear its answer.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use dyag_model::files::write_atomically;
use dyag_text::chunk::Chunk;
use dyag_text::generate::{Kind, Method, TrainingItem, TrainingOptions, TrainingSet, is_supported};
use serde_json::{Value, json};

use super::generate_training::open_rules;
use crate::engine::EngineArgs;
use crate::language::say;
use crate::retrieval::StoreArgs;
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: StoreArgs,

    /// File to write
    #[arg(long, value_name = "FILE.jsonl")]
    output: PathBuf,

    /// Questions wanted, spread over the documents
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// Leave out questions for two facts at once, and those that the documents do not answer
    #[arg(long)]
    simple: bool,

    /// Seed of every choice
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// What is looked for in the documents and how it is asked for, in place of the rules for their language
    #[arg(long, value_name = "FILE.toml", conflicts_with = "language")]
    rules: Option<PathBuf>,

    /// Language of the documents: fr or en; recognised when absent
    #[arg(long, value_name = "CODE")]
    language: Option<String>,

    /// Longest answer, in characters
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..))]
    max_answer_chars: u32,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print a summary as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { place, output, count, simple, seed, rules, language, max_answer_chars, engine, json } = args;
    crate::output_file::check(&output, "the questions", &[])?;
    let store = place.open(engine)?;
    let (collection, chunks) = (store.description().collection.clone(), store.all_chunks()?);
    let rules = open_rules(rules.as_deref(), language.as_deref(), None, &chunks)?;
    let method = if simple { Method::RuleBased } else { Method::Augmented };
    let options = TrainingOptions { method, count: count as usize, split: None, seed, max_answer_chars: max_answer_chars as usize };
    let set = TrainingSet::build(&chunks, &rules, &options);
    if set.items.is_empty() {
        terminal::complain(say!(
            "no questions could be made of collection {}: {} found no facts in it",
            "aucune question n'a pu être tirée de la collection {} : {} n'y trouve aucun fait",
            collection,
            rules.origin()
        ));
        return Ok(ExitCode::from(1));
    }
    let mut of_document: HashMap<&str, Vec<&Chunk>> = HashMap::new();
    for chunk in &chunks {
        of_document.entry(&chunk.source_id).or_default().push(chunk);
    }
    let by_id: HashMap<&str, &Chunk> = chunks.iter().map(|chunk| (chunk.id.as_str(), chunk)).collect();
    let rows: Vec<Value> = set.items.iter().enumerate().map(|(place, item)| row(place, item, &by_id, &of_document)).collect();
    write_atomically(&output, |out| rows.iter().try_for_each(|row| writeln!(out, "{row}")))?;
    let unanswerable = set.items.iter().filter(|item| item.kind == Kind::Unanswerable).count();
    if json {
        terminal::print_json(&json!({
            "file": output.display().to_string(), "questions": rows.len(), "unanswerable": unanswerable, "collection": collection,
            "rules": rules.origin(), "seed": seed,
        }))?;
    } else {
        terminal::print_line(say!(
            "{}: {} questions about collection {}, {unanswerable} of them not answered by the documents",
            "{} : {} questions sur la collection {}, dont {unanswerable} sans réponse dans les documents",
            output.display(),
            rows.len(),
            collection
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A question as a row of an evaluation. Every chunk of the document that says the answer bears it, not the one alone from which it was made.
fn row(place: usize, item: &TrainingItem, by_id: &HashMap<&str, &Chunk>, of_document: &HashMap<&str, Vec<&Chunk>>) -> Value {
    let mut gold = item.chunk_ids.clone();
    let sources = item.chunk_ids.iter().filter_map(|id| by_id.get(id.as_str())).map(|chunk| chunk.source_id.as_str());
    for chunk in sources.filter_map(|source| of_document.get(source)).flatten() {
        let bears = !item.values.is_empty() && item.values.iter().all(|value| is_supported(value, &chunk.content));
        if bears && !gold.contains(&chunk.id) {
            gold.push(chunk.id.clone());
        }
    }
    let mut row = json!({
        "id": format!("q{:04}", place + 1), "question": item.question, "category": item.category, "difficulty": item.difficulty,
        "kind": item.kind, "document": item.document, "app_name": item.name, "gold_chunk_ids": gold,
    });
    if item.kind != Kind::Unanswerable {
        row["expected_answer"] = item.answer.as_str().into();
    }
    row
}
