//! `dyag evaluate-finetuned`: asks a model the questions of a set and writes what it answered, with scores.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::evaluation::{self, Evaluation, EvaluationArgs};

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Questions: rows with `question` and `expected_answer`, `messages`, ShareGPT, Alpaca or prompt/completion
    dataset: PathBuf,

    /// File to write
    #[arg(long, value_name = "FILE.json", default_value = "results_finetuned.json")]
    output: PathBuf,

    /// Ask only so many of the first questions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    #[command(flatten)]
    evaluation: EvaluationArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { dataset, output, limit, evaluation } = args;
    evaluation::run(Evaluation { dataset, output, limit, args: evaluation }, None)
}
