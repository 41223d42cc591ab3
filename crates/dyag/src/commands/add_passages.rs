//! `dyag add-passages`: gives the examples of a training set the passages that a search finds for them, so that a model learns from what it will meet.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use dyag_model::files::write_atomically;
use dyag_text::dataset::{Purpose, Row, RowReader};
use dyag_text::passages::{Language, prompt_with_passages, question_of_prompt};
use dyag_text::{Role, sha256_hex};
use serde_json::{Map, Value, json};

use crate::engine::EngineArgs;
use crate::language::say;
use crate::progress::Progress;
use crate::retrieval::{SearchArgs, Searching, StoreArgs, shown_passages};
use crate::terminal;

/// Keys of a row that say what it is about, and stay.
const KEPT: &[&str] = &["id", "document", "name", "field", "app_id", "app_name", "category", "difficulty", "kind"];

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Training set: conversations, in any of the formats that `dyag finetune` reads
    dataset: PathBuf,

    /// File to write
    #[arg(long, value_name = "FILE.jsonl")]
    output: PathBuf,

    /// Share of the examples that stay as they are, so that facts are learned by heart too
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    context_free: f64,

    /// Seed of the choice of those
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// Language of the prompt, fr or en; that of the questions when absent
    #[arg(long, value_name = "CODE")]
    language: Option<String>,

    #[command(flatten)]
    place: StoreArgs,

    #[command(flatten)]
    search: SearchArgs,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print a summary as JSON
    #[arg(long)]
    json: bool,
}

/// What became of the examples.
#[derive(Debug, Default, serde::Serialize)]
struct Counts {
    examples: usize,
    /// Shown no passage, by choice or since the search found none.
    without_passages: usize,
    /// Of those with passages: a chunk that the example was made from is among them, is not, or is not known.
    bearing: usize,
    not_bearing: usize,
    unknown: usize,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { dataset, output, context_free, seed, language, place, search, engine, json } = args;
    if !(0.0..=1.0).contains(&context_free) {
        bail!("--context-free: expected a share from 0 to 1, found {context_free}");
    }
    crate::output_file::check(&output, "the training set", &[&dataset])?;
    if search.max_prompt_tokens().is_some() {
        bail!("--max-prompt-tokens: this command has no model to count tokens with; expected --n-chunks and --max-passage-chars");
    }
    let examples = read(&dataset)?;
    if let Some(example) = examples.iter().find(|example| has_passages(example)) {
        bail!("{}: expected an example without passages, found one that shows some", example.source);
    }
    let language = match language.as_deref() {
        Some(code) => Language::from_code(code).ok_or_else(|| anyhow::anyhow!("--language: expected fr or en, found {code:?}"))?,
        None => Language::of_texts(examples.iter().filter_map(question).map(|(_, question)| question)),
    };
    let searching = search.open(&place, engine)?;
    terminal::note(searching.summary());
    let progress = Progress::new(examples.len(), say!("examples searched for", "exemples recherchés"));
    let mut counts = Counts { examples: examples.len(), ..Counts::default() };
    let mut rows = Vec::with_capacity(examples.len());
    for example in &examples {
        rows.push(row(example, &searching, language, (context_free, seed), &mut counts)?);
        progress.done(1);
        progress.tell();
    }
    progress.end();
    write_atomically(&output, |out| rows.iter().try_for_each(|row| writeln!(out, "{row}")))?;
    if json {
        terminal::print_json(&json!({
            "file": output.display().to_string(), "collection": searching.description().collection, "language": language.code(), "seed": seed, "counts": counts,
        }))?;
    } else {
        let Counts { examples, without_passages, bearing, not_bearing, unknown } = counts;
        terminal::print_line(say!(
            "{}: {examples} examples, {without_passages} without passages; of the others {bearing} show a passage that their answer is from, {not_bearing} do not, of {unknown} it is not known",
            "{} : {examples} exemples, dont {without_passages} sans passages ; parmi les autres, {bearing} montrent un passage dont vient leur réponse, {not_bearing} n'en montrent pas, pour {unknown} on l'ignore",
            output.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The examples of a training set; rows that training passes over are left out.
fn read(dataset: &Path) -> anyhow::Result<Vec<Row>> {
    let mut reader = RowReader::open(dataset, Purpose::Training)?;
    let mut examples = Vec::new();
    while let Some(read) = reader.next_row()? {
        examples.push(read.strict()?);
    }
    examples.retain(|example| !example.messages.is_empty());
    if examples.is_empty() {
        bail!("{}: expected training examples, found none", dataset.display());
    }
    Ok(examples)
}

/// Whether passages were given to an example already.
fn has_passages(example: &Row) -> bool {
    question(example).is_some_and(|(_, asked)| question_of_prompt(asked).is_some())
}

/// The last question of an example, and its place among the turns.
fn question(example: &Row) -> Option<(usize, &str)> {
    let place = example.messages.iter().rposition(|turn| turn.role == Role::User)?;
    Some((place, example.messages[place].content.as_str()))
}

/// An example with its passages. The choice of those that stay as they are depends on the question and the seed alone.
fn row(
    example: &Row,
    searching: &Searching,
    language: Language,
    (context_free, seed): (f64, u64),
    counts: &mut Counts,
) -> anyhow::Result<Value> {
    let mut messages = example.messages.clone();
    let sources = &example.source_chunk_ids;
    let mut shown: Vec<String> = Vec::new();
    if let Some((place, asked)) = question(example) {
        let drawn = u32::from_str_radix(&sha256_hex(format!("passages {seed} {asked}").as_bytes())[..8], 16)?;
        if f64::from(drawn) / (f64::from(u32::MAX) + 1.0) >= context_free {
            let found = searching.search(asked)?;
            shown = found.hits.iter().map(|hit| hit.chunk.id.clone()).collect();
            messages[place].content = prompt_with_passages(language, asked, &shown_passages(searching, &found)?);
        }
    }
    match (shown.is_empty(), sources.is_empty()) {
        (true, _) => counts.without_passages += 1,
        (false, true) => counts.unknown += 1,
        (false, false) if sources.iter().any(|id| shown.contains(id)) => counts.bearing += 1,
        (false, false) => counts.not_bearing += 1,
    }
    let mut row = Map::new();
    row.insert("messages".to_owned(), json!(messages));
    row.insert("source_chunk_ids".to_owned(), json!(sources));
    row.insert("passage_chunk_ids".to_owned(), json!(shown));
    for key in KEPT {
        row.extend(example.object.get(*key).map(|value| ((*key).to_owned(), value.clone())));
    }
    Ok(Value::Object(row))
}
