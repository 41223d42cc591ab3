//! `dyag inspect`: what a model, an adapter, a file of chunks or a dataset holds; what is wrong with a dataset; what is learned from a row of it.

mod adapter;
mod chunks;
mod dataset;
mod example;
mod facts;
mod kind;
mod leaks;
mod model;
mod validation;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use dyag_text::near_duplicates::SAME_QUESTION;
use dyag_text::{Date, ExampleOptions, LossTokens};

use crate::cli::ColorChoice;
use crate::model_files::ModelFiles;
use crate::terminal::Paint;

use dataset::TokenCounter;
use kind::Kind;

/// How many problems are printed for people; `--json` has all.
const MAX_LISTED: usize = 100;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to describe: a model (a folder or a GGUF file), an adapter's folder, a file of chunks, a dataset or a file of questions
    #[arg(required_unless_present = "dataset", conflicts_with = "dataset")]
    path: Option<String>,

    /// Dataset, of which with --base-model a line is shown as the trainer would see it
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,

    /// Model whose tokenizer and chat template count a dataset's tokens or show a line of it: a folder, a GGUF file, or a name that `dyag models` knows
    #[arg(long, value_name = "PATH")]
    base_model: Option<String>,

    /// Show this line of the dataset, counted from 1, token by token
    #[arg(long, value_name = "N", requires = "base_model", value_parser = clap::value_parser!(u64).range(1..))]
    line: Option<u64>,

    /// List everything that is wrong with the dataset: unusable rows, placeholders, duplicates, answers that disagree. Exit status 1 when there are errors
    #[arg(long, conflicts_with_all = ["line", "against"])]
    validate: bool,

    /// List the questions that the dataset shares with this file, in the same or nearly the same words. Exit status 1 when there are any
    #[arg(long, value_name = "FILE", conflicts_with_all = ["line", "base_model"])]
    against: Option<PathBuf>,

    /// From which similarity on wordings are nearly the same, above 0 and at most 1 (of --validate and --against)
    #[arg(long, value_name = "X", default_value_t = SAME_QUESTION, value_parser = share)]
    similarity: f64,

    /// List the rows that have more tokens than this
    #[arg(long, value_name = "N", requires = "base_model", value_parser = clap::value_parser!(u32).range(1..))]
    max_seq_length: Option<u32>,

    /// Date that a template is told which reads the clock; without it the template takes its own
    #[arg(long, value_name = "YYYY-MM-DD", requires = "base_model")]
    date: Option<Date>,

    /// Which tokens are learned
    #[arg(long, value_enum, value_name = "TOKENS", default_value_t = LossChoice::Assistant, requires = "base_model")]
    loss: LossChoice,

    /// Whether to colour what is learned, and errors; `auto`: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 1.0);
    number.ok_or_else(|| "expected a number above 0 and at most 1".to_owned())
}

/// Which tokens are learned, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LossChoice {
    /// What the assistant says, through its end-of-turn token
    Assistant,
    /// Every token
    All,
}

/// What is to be said of a dataset.
enum Work {
    Describe,
    Line(u64),
    Validate,
    Against(PathBuf),
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { path, dataset, base_model, line, validate, against, similarity, max_seq_length, date, loss, color, json } = args;
    let is_named_dataset = dataset.is_some();
    let (name, kind) = match (dataset, path) {
        (Some(dataset), _) => (dataset, Kind::Dataset),
        (None, Some(path)) => (PathBuf::from(&path), kind::of(&path)?),
        (None, None) => bail!("expected a PATH to describe, or --dataset FILE"),
    };
    if kind != Kind::Dataset {
        // What counts tokens is left alone: it may stand in a file of settings for all commands, and asks for nothing.
        let flags = [("--validate", validate), ("--against", against.is_some()), ("--line", line.is_some())];
        if let Some((flag, _)) = flags.into_iter().find(|(_, is_given)| *is_given) {
            bail!("{flag}: expected a dataset or a file of questions, found {}: {}", kind.name(), name.display());
        }
    }
    let paint = Paint::new(color);
    match kind {
        Kind::Model => model::describe(&name.to_string_lossy(), json)?,
        Kind::Adapter => adapter::describe(&name, json)?,
        Kind::Chunks => chunks::describe(&name, json)?,
        Kind::Dataset => {
            let work = match (line, against) {
                _ if validate => Work::Validate,
                (_, Some(other)) => Work::Against(other),
                (Some(line), None) => Work::Line(line),
                // `--dataset FILE --base-model PATH` shows the first line.
                (None, None) if is_named_dataset && base_model.is_some() && max_seq_length.is_none() => Work::Line(1),
                (None, None) => Work::Describe,
            };
            let loss = match loss {
                LossChoice::Assistant => LossTokens::Assistant,
                LossChoice::All => LossTokens::All,
            };
            let options = ExampleOptions { loss, date, ..ExampleOptions::default() };
            let max_seq_length = max_seq_length.map(|max| max as usize);
            return Inspection { path: name, base_model, options, similarity, max_seq_length, paint, json }.run(work);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A dataset, and how to look at it.
struct Inspection {
    path: PathBuf,
    base_model: Option<String>,
    options: ExampleOptions,
    similarity: f64,
    max_seq_length: Option<usize>,
    paint: Paint,
    json: bool,
}

impl Inspection {
    fn run(self, work: Work) -> anyhow::Result<ExitCode> {
        let Self { path, base_model, options, similarity, max_seq_length, paint, json } = self;
        let open = || base_model.as_deref().map(ModelFiles::open).transpose();
        match work {
            Work::Line(line) => {
                let base_model = base_model.context("--line: expected --base-model PATH, the model that splits the line into tokens")?;
                example::show(&path, line, &base_model, &options, paint, json)?;
            }
            Work::Validate => {
                let files = open()?;
                return validation::run(&path, similarity, files.as_ref().map(ModelFiles::tokenizer), paint, json);
            }
            Work::Against(other) => return leaks::run(&path, &other, similarity, json),
            Work::Describe => {
                let files = open()?;
                let counter = files.as_ref().map(|files| TokenCounter { files, options, max_seq_length });
                dataset::describe(&path, counter.as_ref(), json)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
