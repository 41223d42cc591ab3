//! `dyag generate-training`: training sets from chunks.

mod context;
mod llm;
mod output;
mod report;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use dyag_text::chunk::{Chunk, read_chunks};
use dyag_text::generate::{Method, Rules, Split, TrainingOptions, TrainingSet, documents};
use serde_json::json;

use crate::engine::EngineArgs;
use crate::language::say;
use crate::language_models::LanguageModelArgs;
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Chunks, as `dyag chunk` writes them
    input: Option<PathBuf>,

    /// File to write; with --split, its name with _train, _val and _test
    #[arg(long, value_name = "FILE.jsonl")]
    output: PathBuf,

    /// How questions and answers are made
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = MethodChoice::RuleBased)]
    method: MethodChoice,

    /// Examples wanted, over all parts
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// Divide into 80 % _train, 10 % _val, 10 % _test: `wording` (the default) asks for facts of _val and _test in words that are not in _train, where other words teach them;
    /// `facts` keeps those facts out of _train; `both` does so with half of them
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_missing_value = "wording")]
    split: Option<String>,

    /// Read the written files back and check them: support, duplicates, leaks, placeholders; exit status 1 when something is wrong
    #[arg(long)]
    validate: bool,

    /// Seed of every choice: the same seed and chunks give the same bytes
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// What is looked for in the documents and how it is asked for, in place of the rules for their language
    #[arg(long, value_name = "FILE.toml", conflicts_with = "language")]
    rules: Option<PathBuf>,

    /// Language of the documents: fr or en; recognised when absent
    #[arg(long, value_name = "CODE")]
    language: Option<String>,

    /// Further texts that are never taught, one a line
    #[arg(long, value_name = "FILE")]
    placeholders: Option<PathBuf>,

    /// Longest answer, in characters; running text is cut at the end of a sentence before
    #[arg(long, value_name = "N", default_value_t = 1200, value_parser = clap::value_parser!(u32).range(20..))]
    max_answer_chars: u32,

    /// System message of the conversations, in place of that of the rules
    #[arg(long, value_name = "TEXT", conflicts_with = "no_system")]
    system: Option<String>,

    /// No system message
    #[arg(long)]
    no_system: bool,

    /// Write the ids of the chunks into the answers, as `[Source: ID]`; they are in `source_chunk_ids` in any case
    #[arg(long)]
    cite: bool,

    /// Model whose tokenizer counts the tokens of the examples: a folder, a GGUF file, or a name that `dyag models` knows
    #[arg(long, value_name = "PATH")]
    base_model: Option<String>,

    /// Tokens above which the report counts an example as too long for training
    #[arg(long, value_name = "N", default_value_t = 512, requires = "base_model")]
    max_seq_length: usize,

    #[command(flatten)]
    context: context::ContextArgs,

    #[command(flatten)]
    facts: llm::FactArgs,

    #[command(flatten)]
    language_model: LanguageModelArgs,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// How questions and answers are made, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MethodChoice {
    /// Facts found by the rule file, in its wordings
    RuleBased,
    /// The same with further wordings, questions for two facts at once, and questions that the documents do not answer
    Augmented,
    /// Facts and wordings found by a language model
    LlmBased,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        input,
        output,
        method,
        count,
        split,
        validate,
        seed,
        rules,
        language,
        placeholders,
        max_answer_chars,
        system,
        no_system,
        cite,
        base_model,
        max_seq_length,
        context,
        facts,
        language_model,
        engine,
        json,
    } = args;
    let (input, split) = input_and_split(input, split)?;
    for file in output::names(&output, split.is_some()) {
        crate::output_file::check(&file, "the training set", &[&input])?;
    }
    let method = match method {
        MethodChoice::RuleBased => Method::RuleBased,
        MethodChoice::Augmented => Method::Augmented,
        MethodChoice::LlmBased => Method::LlmBased,
    };
    if language_model.llm_provider.is_some() && method != Method::LlmBased {
        bail!("--llm-provider: no model is asked without --method llm-based; expected that, or no provider");
    }
    // What can be refused is refused before work is done.
    let files = base_model.as_deref().map(crate::model_files::ModelFiles::open).transpose()?;
    let is_lines = input.extension().is_some_and(|extension| extension == "jsonl" || extension == "json");
    let chunks = match read_chunks(&input) {
        Err(error) if !is_lines && input.exists() => {
            return Err(error).context(format!(
                "{} is not a file of chunks; `dyag chunk {0} --output chunks.jsonl` makes one of documents",
                input.display()
            ));
        }
        other => other?,
    };
    let rules = open_rules(rules.as_deref(), language.as_deref(), placeholders.as_deref(), &chunks)?;
    let context = context.resolve(&rules, seed)?;
    let options = TrainingOptions { method, count: count as usize, split, seed, max_answer_chars: max_answer_chars as usize };
    let documents = documents(&chunks, &rules);
    let found = match method {
        Method::RuleBased | Method::Augmented => None,
        Method::LlmBased => {
            let model = llm::open(language_model, engine, &output)?;
            Some(llm::find(model, &documents, &rules, facts, options.count, seed, options.max_answer_chars)?)
        }
    };
    let mut set = match &found {
        None => TrainingSet::build(&chunks, &rules, &options),
        Some(found) => TrainingSet::of_facts(&documents, &found.facts.facts, found.facts.drops.clone(), &rules, &options),
    };
    let stopped = found.as_ref().and_then(llm::Found::shortfall);
    set.report.shortfall.extend(stopped.clone());
    if set.items.is_empty() {
        return nothing_found(&input, &rules, &set, json);
    }
    if let Some(context) = &context {
        set.add_context(&chunks, context);
    }
    let system = match (&system, no_system) {
        (Some(text), _) => Some(text.as_str()),
        (None, true) => None,
        (None, false) => Some(rules.system()),
    };
    let written = output::write(&output, &set, split.is_some(), system, cite)?;
    let tokens = files.as_ref().map(|files| tokens::count(files, &written, max_seq_length)).transpose()?;
    let problems = if validate { output::validate(&written, &set, &chunks, &rules, split)? } else { Vec::new() };
    if json {
        let paths: Vec<String> = written.iter().map(|file| file.path.display().to_string()).collect();
        let mut document = json!({ "files": paths, "rules": rules.origin(), "seed": seed, "report": set.report });
        if let Some(tokens) = &tokens {
            document["tokens"] = json!(tokens);
        }
        if let Some(found) = &found {
            document["language_model"] = found.to_json();
        }
        if validate {
            document["problems"] = json!(problems);
        }
        terminal::print_json(&document)?;
    } else {
        report::lines(&set.report).into_iter().try_for_each(terminal::print_line)?;
        found.iter().try_for_each(|found| terminal::print_line(found.line()))?;
        tokens.iter().flat_map(tokens::TokenCounts::lines).try_for_each(terminal::print_line)?;
        written
            .iter()
            .try_for_each(|file| terminal::print_line(say!("{}: {} examples", "{} : {} exemples", file.path.display(), file.n_rows)))?;
        problems.iter().try_for_each(|problem| terminal::print_line(say!("problem: {problem}", "problème : {problem}")))?;
        if validate && problems.is_empty() {
            terminal::print_line(say!(
                "validated: every answer is in the chunk it cites, no question is there twice, no part knows another's",
                "vérifié : chaque réponse est dans le passage qu'elle cite, aucune question n'y est deux fois, aucune partie ne connaît celles d'une autre"
            ))?;
        }
    }
    // A model that stopped before its work was done gave fewer examples than it could: that is a no.
    Ok(if problems.is_empty() && stopped.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// `--split` may stand before INPUT without a word of its own; then the word that follows is INPUT.
fn input_and_split(input: Option<PathBuf>, split: Option<String>) -> anyhow::Result<(PathBuf, Option<Split>)> {
    let (input, split) = match (input, split.as_deref()) {
        (input, None) => (input, None),
        (input, Some("wording")) => (input, Some(Split::Wording)),
        (input, Some("facts")) => (input, Some(Split::Facts)),
        (input, Some("both")) => (input, Some(Split::Both)),
        (None, Some(other)) => (Some(PathBuf::from(other)), Some(Split::Wording)),
        (Some(_), Some(other)) => bail!("--split: expected wording, facts or both, found {other:?}"),
    };
    let input = input.context("expected the file of chunks to make a training set of; `dyag chunk` makes one from documents")?;
    Ok((input, split))
}

/// The rules of a file, of a language, or of the language that the chunks are in.
pub(crate) fn open_rules(
    rules: Option<&Path>,
    language: Option<&str>,
    placeholders: Option<&Path>,
    chunks: &[Chunk],
) -> anyhow::Result<Rules> {
    let mut opened = match (rules, language) {
        (Some(path), _) => Rules::read(path)?,
        (None, Some(language)) => Rules::shipped(language)?,
        (None, None) => Rules::for_texts(chunks.iter().map(|chunk| chunk.content.as_str()))?,
    };
    if let Some(path) = placeholders {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the placeholders in {}", path.display()))?;
        opened.add_placeholders(text.lines());
    }
    Ok(opened)
}

/// A legitimate "no": says what was looked for.
fn nothing_found(input: &Path, rules: &Rules, set: &TrainingSet, json: bool) -> anyhow::Result<ExitCode> {
    let fields: Vec<&str> = rules.field_names().collect();
    let message = format!(
        "nothing could be made of {}: {} looked in {} documents for the fields {}, for lines \"Label: value\", tables, headings with paragraphs, and definitions. \
         Write what your documents call these things into a copy of the rule file (`dyag rules`), and give it with --rules",
        input.display(),
        rules.origin(),
        set.report.documents.total,
        fields.join(", ")
    );
    if json {
        terminal::print_json(&json!({ "files": [], "rules": rules.origin(), "report": set.report, "nothing": message }))?;
    } else {
        terminal::complain(message);
        report::lines(&set.report).into_iter().try_for_each(terminal::print_line)?;
    }
    Ok(ExitCode::from(1))
}
