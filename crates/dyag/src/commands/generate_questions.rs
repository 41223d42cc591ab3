//! `dyag generate-questions`: question sets from catalogues.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use dyag_model::files::write_atomically;
use dyag_text::chunk::{Chunk, read_chunks};
use dyag_text::generate::{QuestionFormat, QuestionOptions, Rules, catalogue, documents, question_set};
use serde_json::json;

use super::generate_training::open_rules;
use crate::language::say;
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Catalogue in Markdown, or chunks (.jsonl)
    input: PathBuf,

    /// File to write
    #[arg(long, value_name = "FILE.jsonl")]
    output: PathBuf,

    /// How rows look
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = FormatChoice::Rag)]
    format: FormatChoice,

    /// Most wordings of each field of each document
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    per_field: u16,

    /// Seed of the choice among wordings
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// Fields and wordings, in place of those that ship with the program (`dyag rules` prints them)
    #[arg(long, value_name = "FILE.toml", conflicts_with = "language")]
    rules: Option<PathBuf>,

    /// Language of the documents: fr or en; recognised when absent
    #[arg(long, value_name = "CODE")]
    language: Option<String>,

    /// Leave out questions whose expected answer is a placeholder, instead of marking them
    #[arg(long)]
    no_placeholders: bool,

    /// Print a summary as JSON
    #[arg(long)]
    json: bool,
}

/// How rows look, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FormatChoice {
    /// id, question, expected_answer, category, difficulty, app_name, app_id, ...
    Rag,
    /// messages: system, user, assistant
    Finetuning,
    /// question and expected_answer
    Simple,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { input, output, format, per_field, seed, rules, language, no_placeholders, json } = args;
    let format = match format {
        FormatChoice::Rag => QuestionFormat::Rag,
        FormatChoice::Finetuning => QuestionFormat::Finetuning,
        FormatChoice::Simple => QuestionFormat::Simple,
    };
    crate::output_file::check(&output, "the questions", &[&input])?;
    let (chunks, rules) = read(&input, rules.as_deref(), language.as_deref())?;
    let documents = documents(&chunks, &rules);
    let mut questions = question_set(&documents, &rules, &QuestionOptions { per_field: per_field.into(), seed });
    if no_placeholders {
        questions.retain(|question| !question.placeholder);
    }
    if questions.is_empty() {
        let fields: Vec<&str> = rules.field_names().collect();
        terminal::complain(say!(
            "no questions could be made of {}: {} looked for headings with an id below them, and in each part for the fields {}, labelled lines and tables",
            "aucune question n'a pu être tirée de {} : {} cherche des titres suivis d'un identifiant, et dans chaque partie les champs {}, des lignes à libellé et des tableaux",
            input.display(),
            rules.origin(),
            fields.join(", ")
        ));
        return Ok(ExitCode::from(1));
    }
    write_atomically(&output, |out| {
        questions.iter().try_for_each(|question| {
            serde_json::to_writer(&mut *out, &question.to_row(format, rules.system()))?;
            writeln!(out)
        })
    })?;
    let mut categories: BTreeMap<&str, usize> = BTreeMap::new();
    for question in &questions {
        *categories.entry(&question.category).or_default() += 1;
    }
    let placeholders = questions.iter().filter(|question| question.placeholder).count();
    if json {
        terminal::print_json(&json!({
            "file": output.display().to_string(), "questions": questions.len(), "documents": documents.len(), "placeholders": placeholders,
            "categories": categories, "rules": rules.origin(), "seed": seed,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal::print_line(say!(
        "{}: {} questions about {} documents",
        "{} : {} questions sur {} documents",
        output.display(),
        questions.len(),
        documents.len()
    ))?;
    let width = categories.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    categories.iter().try_for_each(|(name, n)| terminal::print_line(format!("  {name:<width$} {n:>6}")))?;
    if placeholders > 0 {
        terminal::print_line(say!(
            "{placeholders} of them expect a placeholder: they are marked (\"placeholder\": true) and never taught",
            "dont {placeholders} qui attendent une valeur provisoire, marquées (\"placeholder\": true) et jamais enseignées"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The documents of a catalogue, each as one chunk, or the chunks of a file; and the rules for them.
fn read(input: &Path, rules: Option<&Path>, language: Option<&str>) -> anyhow::Result<(Vec<Chunk>, Rules)> {
    if input.extension().is_some_and(|extension| extension == "jsonl") {
        let chunks = read_chunks(input)?;
        let rules = open_rules(rules, language, None, &chunks)?;
        return Ok((chunks, rules));
    }
    let bytes = std::fs::read(input).with_context(|| format!("cannot read the catalogue {}", input.display()))?;
    let text = match std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes)) {
        Ok(text) => text,
        Err(error) => bail!(
            "{}: expected UTF-8 text, found the byte 0x{:02X} at offset {}; `dyag chunk --encoding` reads other encodings",
            input.display(),
            bytes[error.valid_up_to()],
            error.valid_up_to()
        ),
    };
    if text.trim().is_empty() {
        bail!("{} is empty: expected a catalogue in Markdown", input.display());
    }
    let rules = match (rules, language) {
        (Some(path), _) => Rules::read(path)?,
        (None, Some(language)) => Rules::shipped(language)?,
        (None, None) => Rules::for_texts([text].into_iter())?,
    };
    let chunks = catalogue(text, &rules);
    Ok((chunks, rules))
}
