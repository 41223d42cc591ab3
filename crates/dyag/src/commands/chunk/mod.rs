//! `dyag chunk`: documents cut into the passages that datasets are made from and searches find.

mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use dyag_model::files::write_atomically;
use dyag_text::chunk::{Characters, Chunk, ChunkOptions, Chunker, Division, Ruler, Tokens};
use dyag_text::document::{Document, Found, Skipped, TextEncoding, Walk};
use indicatif::{ProgressBar, ProgressStyle};

use crate::language::say;
use crate::model_files::ModelFiles;
use crate::terminal;
use report::Report;

/// With so many documents a bar shows how far the work is.
const MANY: usize = 20;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Documents, or folders of them: Markdown, text, HTML, PDF, DOCX, CSV, JSON catalogues
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    /// File to write the chunks to, one JSON object a line
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Where documents are cut
    #[arg(long, value_enum, value_name = "PLACE", default_value_t = ByChoice::Section)]
    by: ByChoice,

    /// Longest chunk; 1800 characters or 512 tokens when absent. A word, a table's row and a block of code may be longer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    size: Option<u32>,

    /// How much of a chunk the next one repeats where a text is cut in several; a ninth of the size when absent
    #[arg(long, value_name = "N")]
    overlap: Option<u32>,

    /// What sizes are counted in
    #[arg(long, value_enum, value_name = "UNIT", default_value_t = UnitChoice::Characters)]
    unit: UnitChoice,

    /// Model whose tokens are counted: a folder, a GGUF file, or a name that `dyag models` knows
    #[arg(long, value_name = "PATH", required_if_eq("unit", "tokens"))]
    base_model: Option<String>,

    /// Encoding of the text files that are neither UTF-8 nor UTF-16 with a byte order mark, such as windows-1252
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Where documents are cut, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ByChoice {
    /// At headings and at the parts of a catalogue's entries; what is longer than a chunk is cut further
    Section,
    /// Wherever a chunk is full
    Size,
}

/// What sizes are counted in, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum UnitChoice {
    /// Characters
    Characters,
    /// Tokens of the base model
    Tokens,
}

/// The longest chunk when nothing is said: what search models read at once, about 512 tokens of French.
const SIZE_CHARACTERS: usize = 1800;
const SIZE_TOKENS: usize = 512;

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { inputs, output, by, size, overlap, unit, base_model, encoding, json } = args;
    let encoding = encoding.as_deref().map(TextEncoding::named).transpose().context("--encoding")?;
    crate::output_file::check(&output, "the chunks", &inputs.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let usual = match unit {
        UnitChoice::Characters => SIZE_CHARACTERS,
        UnitChoice::Tokens => SIZE_TOKENS,
    };
    let size = size.map_or(usual, |size| size as usize);
    let overlap = overlap.map_or(size / 9, |overlap| overlap as usize);
    let by = match by {
        ByChoice::Section => Division::Section,
        ByChoice::Size => Division::Size,
    };
    let options = ChunkOptions { by, size, overlap };
    let model = match (unit, base_model) {
        (UnitChoice::Tokens, Some(name)) => Some(ModelFiles::open(&name)?),
        (UnitChoice::Tokens, None) => bail!("--unit tokens: expected --base-model with the model whose tokens are counted"),
        (UnitChoice::Characters, _) => None,
    };
    let tokens = model.as_ref().map(|model| Tokens(model.tokenizer()));
    let ruler: &dyn Ruler = tokens.as_ref().map_or(&Characters, |tokens| tokens);
    let chunker = Chunker::new(options, ruler).context("--size and --overlap")?;

    let walk = Walk::new(&inputs, Some(&output));
    let work = chunk_all(walk, encoding, chunker);
    finish(&work, &inputs, &output, ruler, json)
}

/// What came of the documents.
struct Work {
    n_documents: usize,
    chunks: Vec<Chunk>,
    skipped: Vec<Skipped>,
    notes: Vec<String>,
}

fn chunk_all(walk: Walk, encoding: Option<TextEncoding>, mut chunker: Chunker<'_>) -> Work {
    let Walk { files, skipped, .. } = walk;
    let mut work = Work { n_documents: 0, chunks: Vec::new(), skipped, notes: Vec::new() };
    let bar = (files.len() >= MANY && terminal::draws_bars()).then(|| {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}");
        ProgressBar::new(files.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    for (found, source_id) in with_own_ids(files, &mut work.notes) {
        if let Some(bar) = &bar {
            bar.inc(1);
            bar.set_message(source_id.clone());
        }
        match Document::read(&found.path, &source_id, encoding) {
            Ok(document) => {
                work.n_documents += 1;
                work.chunks.extend(chunker.add(&document));
            }
            Err(reason) => work.skipped.push(Skipped { path: found.path, reason, named: found.named }),
        }
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    work.notes.extend(report::repeated(chunker.repeated()));
    work
}

/// Files whose path below its folder is that of another get their path as it was given, so that their chunks can be told apart.
fn with_own_ids(files: Vec<Found>, notes: &mut Vec<String>) -> Vec<(Found, String)> {
    let mut taken = std::collections::HashSet::new();
    let mut named = Vec::with_capacity(files.len());
    for found in files {
        let mut id = found.source_id.clone();
        if !taken.insert(id.clone()) {
            let given = found.path.to_string_lossy().replace('\\', "/");
            id = given.trim_start_matches("./").to_owned();
            let mut number = 2;
            while !taken.insert(id.clone()) {
                id = format!("{given}#{number}");
                number += 1;
            }
            notes.push(format!(
                "{}: another document is called {} too; this one's chunks are of {id}",
                found.path.display(),
                found.source_id
            ));
        }
        named.push((found, id));
    }
    named
}

/// Writes the chunks, tells what came of it, and says so by the exit status.
fn finish(work: &Work, inputs: &[PathBuf], output: &Path, ruler: &dyn Ruler, json: bool) -> anyhow::Result<ExitCode> {
    for Skipped { reason, named, .. } in &work.skipped {
        if *named {
            terminal::complain(format!("error: {reason}"));
        } else {
            terminal::note(say!("skipped: {reason}", "passé : {reason}"));
        }
    }
    work.notes.iter().for_each(|note| terminal::note(format!("note: {note}")));
    let some_named_failed = work.skipped.iter().any(|skipped| skipped.named);
    let report = Report::new(work, ruler, (!work.chunks.is_empty()).then_some(output));
    if work.chunks.is_empty() {
        let names = inputs.iter().map(|input| input.display().to_string()).collect::<Vec<_>>().join(", ");
        terminal::complain(format!(
            "nothing was found to chunk in {names}: expected files with names that end with one of {}; {} left unread. Nothing is written",
            dyag_text::document::Format::endings(),
            report::counted(work.skipped.len(), "file was", "files were"),
        ));
    } else {
        write_atomically(output, |out| {
            work.chunks.iter().try_for_each(|chunk| {
                serde_json::to_writer(&mut *out, chunk)?;
                out.write_all(b"\n")
            })
        })?;
    }
    // A command that is refused prints no result.
    if !work.chunks.is_empty() || !some_named_failed {
        if json {
            terminal::print_json(&report)?;
        } else if !work.chunks.is_empty() {
            terminal::print_line(report.sentence())?;
        }
    }
    Ok(match (some_named_failed, work.chunks.is_empty()) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::from(1),
        (false, false) => ExitCode::SUCCESS,
    })
}
