//! `dyag compare-models`: which of several ways of answering is better, where that can be shown.

mod judging;
mod output;
mod table;
mod training;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use dyag_eval::comparison::{Contestant, Options, compare_trained, is_compared};
use dyag_eval::results::Results;

use crate::engine::EngineArgs;
use crate::language::say;
use crate::language_models::LanguageModelArgs;
use crate::terminal;
use output::{FormatChoice, LanguageChoice, Output};

/// A file of results is large from here on: some thirty thousand rows with all metrics.
const LARGE_BYTES: u64 = 64 << 20;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Results of answering with a search; the name is rag
    #[arg(long, value_name = "FILE.json")]
    rag_results: Option<PathBuf>,

    /// Results of a fine-tuned model; the name is finetuned
    #[arg(long, value_name = "FILE.json")]
    finetuned_results: Option<PathBuf>,

    /// Results of any way of answering, under a name; may be given many times
    #[arg(long, value_name = "NAME=FILE.json", value_parser = named_file)]
    results: Vec<(String, PathBuf)>,

    /// What one of them was trained on, to see which questions training asked; the file that its results name is looked for unless given
    #[arg(long, value_name = "NAME=FILE", value_parser = named_file)]
    training_set: Vec<(String, PathBuf)>,

    /// Folder to write comparison.json, comparison.md and comparison.html to, or a file that ends in .json, .md or .html
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// What to write: json, markdown, html, both (json and markdown) or all (all unless given)
    #[arg(long, value_enum, value_name = "FORMAT", requires = "output")]
    format: Option<FormatChoice>,

    /// Language that the HTML page opens in; both are in it. French unless given where all answers are, else English
    #[arg(long, value_enum, value_name = "LANGUAGE", requires = "output")]
    language: Option<LanguageChoice>,

    /// A metric to compare, the most important first; all that are shared unless given
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,

    /// Largest share of questions that may be missing from one of the files, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    max_mismatch: f64,

    /// Confidence of the intervals; one minus it is the chance of calling any difference falsely
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    confidence: f64,

    /// Seed of what is drawn
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// Exit with 1 when this one is shown to answer worse than another, in any metric compared
    #[arg(long, value_name = "NAME")]
    fail_if_worse: Option<String>,

    /// Ask a language model which answers are better, in both orders; needs --llm-provider and --llm-model
    #[arg(long)]
    judge: bool,

    #[command(flatten)]
    language_model: LanguageModelArgs,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,

    /// Print categories, smallest differences that can be shown, and questions that were not compared
    #[arg(short, long)]
    verbose: bool,
}

/// `NAME=FILE`.
fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.trim().is_empty() && !path.is_empty() => Ok((name.trim().to_owned(), PathBuf::from(path))),
        _ => Err("expected NAME=FILE, such as base=results/base.json".to_owned()),
    }
}

/// Of a large file, only what is compared is kept.
fn read(path: &Path, options: &Options) -> anyhow::Result<Results> {
    let is_large = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LARGE_BYTES);
    Ok(if is_large { Results::read_wanted(path, &|metric| is_compared(metric, options))? } else { Results::read(path)? })
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        rag_results,
        finetuned_results,
        results,
        training_set,
        output,
        format,
        language,
        metric,
        max_mismatch,
        confidence,
        seed,
        fail_if_worse,
        judge,
        language_model,
        engine,
        json,
        verbose,
    } = args;
    let named = [("rag", rag_results), ("finetuned", finetuned_results)];
    let mut files: Vec<(String, PathBuf)> = named.into_iter().filter_map(|(name, path)| Some((name.to_owned(), path?))).collect();
    files.extend(results);
    if files.len() < 2 {
        bail!("expected two files of results or more (--rag-results, --finetuned-results, --results NAME=FILE), found {}", files.len());
    }
    if let Some(name) = fail_if_worse.as_ref().filter(|name| !files.iter().any(|(other, _)| other == *name)) {
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        bail!("--fail-if-worse: expected one of {}, found {name}", names.join(", "));
    }
    if let Some((name, _)) = training_set.iter().find(|(name, _)| !files.iter().any(|(other, _)| other == name)) {
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        bail!("--training-set: expected one of {} before the =, found {name}", names.join(", "));
    }
    let output = output.map(|path| Output::new(&path, format, language)).transpose()?;
    if let Some(output) = &output {
        output.check_inputs(files.iter().chain(&training_set).map(|(_, path)| path.as_path()))?;
    }
    if !judge && language_model.llm_provider.is_some() {
        bail!("--llm-provider names a judge: add --judge to ask it");
    }
    let judging = judge.then(|| judging::open(language_model, engine, output.as_ref())).transpose()?;
    let options = Options { metrics: metric, max_mismatch, confidence, seed };
    let contestants: Vec<Contestant> = files
        .iter()
        .map(|(name, path)| Ok(Contestant { name: name.clone(), results: read(path, &options)? }))
        .collect::<anyhow::Result<_>>()?;
    let trainings = training::find(&contestants, &files, training_set)?;
    let mut comparison = compare_trained(&contestants, &trainings, &options)?;
    comparison.judgement = judging.map(|model| judging::judge(&model, &contestants, &options)).transpose()?;
    if let Some(output) = &output {
        output.write(&comparison, &contestants)?;
    }
    if json {
        terminal::print_json(&comparison)?;
    } else {
        terminal::print(&terminal::printable(&table::text(&comparison, verbose)))?;
        for path in output.iter().flat_map(Output::paths) {
            terminal::print_line(say!("written: {}", "écrit : {}", path.display()))?;
        }
    }
    let Some(name) = fail_if_worse else { return Ok(ExitCode::SUCCESS) };
    let worse = comparison.shown_worse(&name);
    for (metric, better) in &worse {
        terminal::complain(say!(
            "{name} is shown worse than {better} in {metric}",
            "{name} se montre moins bon que {better} pour {metric}"
        ));
    }
    Ok(if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
