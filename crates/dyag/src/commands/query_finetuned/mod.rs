//! `dyag query-finetuned`: one question, a conversation, or a file of questions.

mod conversation;
mod questions;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::ArgGroup;
use dyag_text::dataset::Questions;
use dyag_text::{Message, Role};
use serde_json::json;

use crate::engine::EngineArgs;
use crate::loaded_model::{ModelArgs, SystemChoice};
use crate::session::{Answer, Session, SessionSettings};
use crate::terminal;
pub(crate) use conversation::next_line;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("a model").required(true).multiple(true).args(["model", "base_model"])))]
pub(crate) struct Args {
    /// The question; without one, a conversation: a question a line on standard input, an empty line ends it
    query: Option<String>,

    #[command(flatten)]
    which: ModelArgs,

    /// Answer every question of a file, and count the exact answers: JSON Lines or a JSON list with `question` and perhaps `expected_answer`, or in any
    /// format that `finetune` takes
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    questions: Option<PathBuf>,

    /// Write the rows of --questions with their answers to this file; without it they go to standard output
    #[arg(long, value_name = "FILE", requires = "questions")]
    output: Option<PathBuf>,

    /// Questions of --questions that are answered at the same time; the answers do not depend on it
    #[arg(long, value_name = "N", default_value_t = 16, requires = "questions", value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,

    /// Spread of the sampling; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.7, value_parser = zero_or_more, allow_negative_numbers = true)]
    temperature: f32,

    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// Sample among the likeliest tokens that together have this probability; 1 for all
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = probability, allow_negative_numbers = true)]
    top_p: f32,

    /// Sample among so many of the likeliest tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: u32,

    /// Divide the logits of tokens that already occurred by this (those below zero are multiplied); 1 for not at all
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = above_zero, allow_negative_numbers = true)]
    repetition_penalty: f32,

    /// Seed of the sampling: the same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// System message, in place of the one the adapter was trained with
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// No system message, though the adapter was trained with one
    #[arg(long, conflicts_with = "system")]
    no_system: bool,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    /// Say what is loaded, and how fast it reads and writes, on standard error
    #[arg(short, long)]
    verbose: bool,
}

fn number(text: &str) -> Result<f32, String> {
    text.parse::<f32>().ok().filter(|value| value.is_finite()).ok_or_else(|| "expected a number".to_owned())
}

fn zero_or_more(text: &str) -> Result<f32, String> {
    number(text).and_then(|value| if value >= 0.0 { Ok(value) } else { Err("expected 0 or more".to_owned()) })
}

fn above_zero(text: &str) -> Result<f32, String> {
    number(text).and_then(|value| if value > 0.0 { Ok(value) } else { Err("expected a number above 0".to_owned()) })
}

fn probability(text: &str) -> Result<f32, String> {
    above_zero(text).and_then(|value| if value <= 1.0 { Ok(value) } else { Err("expected at most 1".to_owned()) })
}

/// What is to be done, as the arguments say it.
enum Work {
    One(String),
    Conversation,
    File { questions: PathBuf, output: Option<PathBuf>, batch_size: usize },
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        query,
        which: ModelArgs { model, base_model, quantize },
        questions,
        output,
        batch_size,
        temperature,
        max_tokens,
        top_p,
        top_k,
        repetition_penalty,
        seed,
        system,
        no_system,
        engine,
        json,
        verbose,
    } = args;
    let work = match (query, questions) {
        (Some(query), _) if query.trim().is_empty() => bail!("the question is empty: expected a text, or no argument for a conversation"),
        (Some(query), _) => Work::One(query),
        (None, Some(questions)) => Work::File { questions, output, batch_size: batch_size.into() },
        (None, None) => Work::Conversation,
    };
    let system = match (system, no_system) {
        (Some(text), _) => SystemChoice::Text(text),
        (None, true) => SystemChoice::None,
        (None, false) => SystemChoice::AsTrained,
    };
    let sampling = crate::session::sampling(temperature, top_k, top_p, repetition_penalty, seed);
    let settings = SessionSettings { adapter: model, base_model, quantize, sampling, max_tokens: max_tokens as usize, system, engine };
    match work {
        Work::One(question) => one_question(&Session::open(settings, verbose)?, question, json, verbose)?,
        Work::Conversation => conversation::hold(&Session::open(settings, verbose)?, json, verbose)?,
        Work::File { questions, output, batch_size } => {
            // The questions are read first: loading a model to find the file missing would waste the reader's time.
            output.as_deref().map_or(Ok(()), |path| crate::output_file::check(path, "the answers", &[&questions]))?;
            let questions = Questions::read(&questions)?.questions;
            let session = Session::open(settings, verbose)?;
            questions::answer_all(&session, questions, output.as_deref(), batch_size, json, verbose)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn one_question(session: &Session, question: String, json: bool, verbose: bool) -> anyhow::Result<()> {
    let turns = [Message::new(Role::User, question.clone())];
    let answer = if json {
        let answer = session.answer(&turns, &mut |_| Ok(()))?;
        let mut document = json!({ "question": question, "model": session.adapter_name(), "base_model": session.base_name() });
        if let Some(keys) = document.as_object_mut() {
            keys.extend(answer.to_json());
        }
        terminal::print_json(&document)?;
        answer
    } else {
        stream_answer(session, &turns)?
    };
    if verbose {
        terminal::note(answer.rates());
    }
    Ok(())
}

/// Prints an answer as it comes, and a line end.
fn stream_answer(session: &Session, turns: &[Message]) -> anyhow::Result<Answer> {
    let answer = session.answer(turns, &mut |text| terminal::print(&terminal::printable(text)))?;
    terminal::print_line("")?;
    Ok(answer)
}
