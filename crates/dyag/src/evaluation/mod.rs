//! Asking all questions of a set, one way or another, and writing what was answered with scores: what `evaluate-finetuned` and `evaluate-rag` share.

mod asking;
mod journal;
mod perplexity;
mod remote;
mod report;
mod task;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, bail};
use dyag_eval::metrics::{Abstention, Language, MetricOptions, MetricSet};
use dyag_eval::results::{Arm, Metadata, Results, Row, SetMetrics};
use dyag_model::files::write_atomically;
use dyag_text::dataset::{Question, Questions};
use dyag_text::generate::Rules;
use dyag_text::language_model::LanguageModel as _;
use dyag_train::memory::peak_resident_bytes;
use serde_json::{Map, Value, json};

use crate::answerer::Answerer;
use crate::encoder::EncoderArgs;
use crate::engine::EngineArgs;
use crate::interruption;
use crate::language::say;
use crate::language_models::LanguageModelArgs;
use crate::loaded_model::{LoadSettings, ModelArgs, SystemChoice};
use crate::requirement::{self, Requirement};
use crate::terminal;
use asking::Asking;
pub(crate) use asking::gold_chunk_ids;
use journal::Journal;
use remote::RemoteAsking;
pub(crate) use task::Task;

/// How questions are asked and answers scored, as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct EvaluationArgs {
    #[command(flatten)]
    which: ModelArgs,

    /// Spread of the sampling; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,

    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// Seed of the sampling
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// Questions that are answered at the same time; the answers do not depend on it [default: 64; 4 behind a server]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: Option<u16>,

    /// System message, in place of the one the adapter was trained with
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// No system message, though the adapter was trained with one
    #[arg(long, conflicts_with = "system")]
    no_system: bool,

    /// Language of the answers, fr or en: which articles do not count and how dates are read; recognised when absent
    #[arg(long, value_name = "CODE")]
    language: Option<String>,

    /// Exit with 1 unless a figure over the set is reached, such as exact_match>=0.8; may be repeated
    #[arg(long, value_name = "METRIC>=X")]
    require: Vec<Requirement>,

    /// Do not compute how likely the model finds the expected answers
    #[arg(long)]
    no_perplexity: bool,

    /// Ask everything anew, though an interrupted run left answers
    #[arg(long)]
    restart: bool,

    #[command(flatten)]
    encoder: EncoderArgs,

    #[command(flatten)]
    language_model: LanguageModelArgs,

    #[command(flatten)]
    pub(crate) engine: EngineArgs,

    /// Print the figures over the set as JSON
    #[arg(long)]
    json: bool,

    /// Say what is loaded, and each answer as it comes
    #[arg(short, long)]
    verbose: bool,
}

/// What is evaluated.
pub(crate) struct Evaluation {
    /// The file of questions.
    pub(crate) dataset: PathBuf,
    /// The file that is written.
    pub(crate) output: PathBuf,
    /// How many of the first questions are asked.
    pub(crate) limit: Option<u64>,
    pub(crate) args: EvaluationArgs,
}

/// Where questions meet passages before a model is asked.
pub(crate) trait Preparation {
    /// What answers depend on beside question and model.
    fn identity(&self) -> Value;

    /// Whether a model answers; without one only the preparation is looked at.
    fn needs_model(&self) -> bool;

    /// The questions as they are put to the model. `language` is that of the answers.
    fn tasks<'a>(
        &self,
        questions: &'a [Question],
        answerer: Option<&Answerer>,
        language: &'static str,
        max_tokens: usize,
    ) -> anyhow::Result<Vec<Task<'a>>>;

    /// Adds what can be said of the preparation itself to finished results.
    fn finish(&self, results: &mut Results, language: Language) -> anyhow::Result<()>;
}

/// Asks, scores, writes and prints.
pub(crate) fn run(evaluation: Evaluation, preparation: Option<&dyn Preparation>) -> anyhow::Result<ExitCode> {
    let Evaluation { dataset, output, limit, args } = evaluation;
    let EvaluationArgs {
        which: ModelArgs { model, base_model, quantize },
        temperature,
        max_tokens,
        seed,
        batch_size,
        system,
        no_system,
        language,
        require,
        no_perplexity,
        restart,
        encoder,
        language_model,
        engine,
        json,
        verbose,
    } = args;
    if !(0.0..=100.0).contains(&temperature) {
        bail!("--temperature: expected a number from 0 to 100, found {temperature}");
    }
    crate::output_file::check(&output, "the results", &[&dataset])?;
    let questions = Questions::read(&dataset)?;
    let code = language_of(language.as_deref(), &questions)?;
    let language = match code {
        "fr" => Language::French,
        _ => Language::English,
    };
    let system = match (system, no_system) {
        (Some(text), _) => SystemChoice::Text(text),
        (None, true) => SystemChoice::None,
        (None, false) => SystemChoice::AsTrained,
    };
    if language_model.llm_provider.is_some() && (model.is_some() || base_model.is_some()) {
        bail!("--llm-provider asks a model behind a server: expected it without --model and --base-model");
    }
    if language_model.is_local() {
        bail!("--llm-provider local: a model of this machine is evaluated with --base-model PATH, or --model DIR for an adapter");
    }
    let mut parameters = json!({
        "temperature": temperature, "max_tokens": max_tokens, "limit": limit, "seed": seed, "language": code,
        "system": match &system {
            SystemChoice::AsTrained => json!("as trained"),
            SystemChoice::Text(text) => json!(text),
            SystemChoice::None => Value::Null,
        },
    });
    if let Some(preparation) = preparation {
        parameters["retrieval"] = preparation.identity();
    }
    let answers = preparation.is_none_or(|preparation| preparation.needs_model());
    let likely = answers && !no_perplexity && language_model.llm_provider.is_none();
    requirement::check(&require, &figures(language, answers, likely), &families(preparation.is_some(), encoder.is_named()))?;
    report::say_what_is_replaced(&output, &questions);
    let start = Instant::now();
    let started_at = SystemTime::now();
    let judge = encoder.open(engine)?;
    let n_asked = limit.map_or(questions.questions.len(), |limit| questions.questions.len().min(limit as usize));
    let asked = &questions.questions[..n_asked];
    // What an interrupted run answered counts only if everything that answers depend on is the same.
    let identity = |model: Value| json!({ "dataset_sha256": questions.sha256, "parameters": parameters, "model": model });
    let max_tokens = max_tokens as usize;
    let answerer = if language_model.llm_provider.is_some() {
        Some(Answerer::Remote(language_model.open(engine)?))
    } else if preparation.is_some_and(|preparation| !preparation.needs_model()) {
        None
    } else if model.is_none() && base_model.is_none() {
        bail!("expected a model to evaluate: --model DIR, --base-model PATH, or --llm-provider; found none");
    } else {
        Some(Answerer::local(LoadSettings { adapter: model, base_model, quantize, system: system.clone(), engine }, verbose)?)
    };
    let tasks = match preparation {
        Some(preparation) => preparation.tasks(asked, answerer.as_ref(), code, max_tokens)?,
        None => asked.iter().map(Task::plain).collect(),
    };
    let retrieves = preparation.is_some();
    let (mut metadata, rows, likely) = match &answerer {
        None => {
            let metadata = Metadata { arm: Some(Arm::Rag), peak_memory_bytes: peak_resident_bytes(), ..Metadata::default() };
            (metadata, asking::unanswered(&tasks), SetMetrics::default())
        }
        Some(Answerer::Remote(model)) => {
            let journal = open_journal(&output, &identity(json!({ "name": model.name(), "url": language_model.llm_url })), restart)?;
            let at_once = batch_size.unwrap_or(4).into();
            let asking = RemoteAsking { model, system: &system, temperature, seed, max_tokens, at_once, verbose };
            let rows = asking.all(&tasks, journal)?;
            terminal::note(format!("{}: {}", model.name(), model.usage().sentence()));
            let arm = if retrieves { Arm::Rag } else { Arm::Remote };
            (Metadata { arm: Some(arm), model: Some(model.name()), ..Metadata::default() }, rows, SetMetrics::default())
        }
        Some(Answerer::Local(model)) => {
            let arm = match (model.adapter_name().is_some(), retrieves) {
                (false, false) => Arm::Base,
                (true, false) => Arm::Finetuned,
                (false, true) => Arm::Rag,
                (true, true) => Arm::Hybrid,
            };
            let answering = json!({
                "name": model.adapter_name(), "base_model": model.base_name(), "fingerprint": model.files().base_model().fingerprint,
                "adapter": model.adapter_hash()?, "kernel": model.kernel(),
            });
            let journal = open_journal(&output, &identity(answering), restart)?;
            let asking = Asking { model, temperature, seed, max_tokens, batch: batch_size.unwrap_or(64).into(), verbose };
            let mut rows = asking.all(&tasks, journal)?;
            let likely = if no_perplexity { SetMetrics::default() } else { perplexity::score(model, &tasks, &mut rows)? };
            let metadata = Metadata {
                arm: Some(arm),
                model: Some(model.adapter_name().unwrap_or_else(|| model.base_name())),
                base_model: Some(model.base_name()),
                training_set: model.training_set().cloned(),
                training_seconds: model.training_seconds(),
                peak_memory_bytes: peak_resident_bytes(),
                machine: object(json!({ "kernel": model.kernel() })),
                ..Metadata::default()
            };
            (metadata, rows, likely)
        }
    };
    metadata = Metadata {
        dataset: Some(dataset.display().to_string()),
        dataset_sha256: Some(questions.sha256.clone()),
        total_questions: Some(n_asked as u64),
        started_at: Some(crate::output_file::timestamp(started_at)),
        evaluated_at: Some(crate::output_file::timestamp(SystemTime::now())),
        duration_seconds: Some(start.elapsed().as_secs_f64()),
        parameters: object(parameters),
        versions: object(json!({ "dyag": env!("CARGO_PKG_VERSION") })),
        ..metadata
    };
    let mut results = Results { metadata, ..score(rows, &MetricOptions { language, abstention: Abstention::default() }) };
    results.metrics.values.extend(likely.values);
    results.metrics.signatures.extend(likely.signatures);
    if let Some(preparation) = preparation {
        preparation.finish(&mut results, language)?;
    }
    if let Some(judge) = judge {
        judge.score(&mut results, &questions)?;
    }
    write_atomically(&output, |out| results.write(out))?;
    Journal::remove(&output);
    report::print(&results, &output, json)?;
    let errors = results.results.iter().filter(|row| row.error.is_some()).count();
    if answerer.is_some() && errors == results.results.len() {
        bail!("no question was answered: {}", results.results[0].error.as_deref().unwrap_or("no reason is known"));
    }
    let missed: Vec<String> = require.iter().filter_map(|requirement| requirement.missed(&results.metrics)).collect();
    missed.iter().for_each(terminal::complain);
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The journal of an output; from here on Ctrl-C says where the answers are.
fn open_journal(output: &Path, identity: &Value, restart: bool) -> anyhow::Result<Journal> {
    let journal = Journal::open(output, identity, restart)?;
    let path = journal.path().display();
    interruption::ends_with(say!(
        "\nstopped: the answers so far are in {path}; the same command goes on from there",
        "\narrêt : les réponses obtenues sont dans {path} ; la même commande continue à partir de là"
    ));
    Ok(journal)
}

/// The code of the language that was named, or of that of the questions.
fn language_of(code: Option<&str>, questions: &Questions) -> anyhow::Result<&'static str> {
    let known = |code: &str| Rules::LANGUAGES.into_iter().find(|known| *known == code);
    match code {
        Some(code) => known(code).with_context(|| format!("--language: expected fr or en, found {code:?}")),
        None => {
            let texts = questions.questions.iter().filter_map(|question| question.turns.last()).map(|turn| turn.content.as_str());
            known(Rules::for_texts(texts)?.language()).context("the rules that ship have a language of their own")
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Every figure over a set that a run may have, but those of [`families`]: where questions are answered, and where expected answers are looked at as well.
fn figures(language: Language, answers: bool, likely: bool) -> BTreeSet<String> {
    let text = || Some("x".to_owned());
    let row = |expected_answer| Row {
        question: "x".to_owned(),
        generated_answer: text().filter(|_| answers),
        expected_answer,
        time_seconds: Some(1.0),
        first_token_seconds: Some(1.0),
        latency_seconds: Some(1.0),
        tokens_in: Some(1),
        tokens_out: Some(1),
        ..Row::default()
    };
    let scored = score(vec![row(text()), row(None)], &MetricOptions { language, abstention: Abstention::default() });
    let of_expected = [perplexity::PERPLEXITY, perplexity::BITS_PER_BYTE].into_iter().filter(|_| likely).map(str::to_owned);
    scored.metrics.values.into_keys().chain(of_expected).collect()
}

/// How the names of figures begin that a search or an encoder adds.
fn families(searches: bool, encodes: bool) -> Vec<&'static str> {
    let searched = ["retrieval_", "context_", "grounded_"].into_iter().filter(|_| searches);
    searched.chain(["bertscore_", "similarity_"].into_iter().filter(|_| encodes)).collect()
}

/// Scores the rows, each and over the set.
fn score(mut rows: Vec<Row>, options: &MetricOptions) -> Results {
    let mut set = MetricSet::new(options.clone());
    for row in &mut rows {
        let Some(answer) = &row.generated_answer else { continue };
        let Some(expected) = &row.expected_answer else {
            // Nothing is expected where the documents do not say: whether the answer says so is all that can be scored.
            row.metrics.insert("abstained".into(), f64::from(options.abstention.abstains(answer)));
            continue;
        };
        let scores = set.add(&row.question, answer, expected);
        row.metrics.extend(scores.scores.iter().map(|(name, value)| ((*name).into(), *value)));
    }
    let mut metrics = SetMetrics::of_rows(&rows);
    metrics.values.extend(set.scores().into_iter().map(|(name, value)| (name.to_owned(), value)));
    metrics.signatures = set.signatures().into_iter().map(|(name, signature)| (name.to_owned(), signature)).collect();
    Results { metrics, results: rows, ..Results::default() }
}
