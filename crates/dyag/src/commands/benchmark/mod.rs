//! `dyag benchmark`: standard tasks, described in TOML, with documents of this disk.

mod asking;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use dyag_eval::benchmark::{Figure, Item, Outcome, Scores, Task};
use dyag_eval::results::SetMetrics;
use dyag_model::files::write_atomically;
use serde_json::{Value, json};

use crate::engine::EngineArgs;
use crate::loaded_model::{LoadSettings, LoadedModel, ModelArgs, SystemChoice};
use crate::requirement::Requirement;
use crate::terminal;
use asking::Asking;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("a model to ask").required(true).multiple(true).args(["model", "base_model"])))]
pub(crate) struct Args {
    /// Files of tasks
    #[arg(required = true, value_name = "TASK.toml")]
    tasks: Vec<PathBuf>,

    #[command(flatten)]
    which: ModelArgs,

    /// Solved examples before each question, in place of the task's own number
    #[arg(long, value_name = "N")]
    num_fewshot: Option<usize>,

    /// Ask only so many of the first documents of each task
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Ask in the model's chat format: everything before the answer is the user's message
    #[arg(long)]
    apply_chat_template: bool,

    /// Texts that are generated at the same time; they do not depend on it
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,

    /// File to write: figures, and what the model said of each document
    #[arg(long, value_name = "FILE.json")]
    output: Option<PathBuf>,

    /// Exit with 1 unless each task reaches a figure, such as acc>=0.5; may be repeated
    #[arg(long, value_name = "METRIC>=X")]
    require: Vec<Requirement>,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print the figures as JSON
    #[arg(long)]
    json: bool,

    /// Say what is loaded
    #[arg(short, long)]
    verbose: bool,
}

/// A task that is done.
struct Done<'a> {
    task: &'a Task,
    items: Vec<Item>,
    outcomes: Vec<Outcome>,
    scores: Scores,
    seconds: f64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        tasks: paths,
        which: ModelArgs { model, base_model, quantize },
        num_fewshot,
        limit,
        apply_chat_template,
        batch_size,
        output,
        require,
        engine,
        json,
        verbose,
    } = args;
    if let Some(output) = &output {
        crate::output_file::check(output, "the results", &paths.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    }
    let tasks: Vec<Task> = paths.iter().map(|path| Task::load(path, num_fewshot)).collect::<Result<_, _>>()?;
    for (place, task) in tasks.iter().enumerate() {
        if let Some(first) = tasks[..place].iter().position(|other| other.name() == task.name()) {
            bail!(
                "{} and {} are both called {}: figures could not be told apart",
                paths[first].display(),
                paths[place].display(),
                task.name()
            );
        }
    }
    // Every document is read before a model is loaded, so that a wrong line is found at once.
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let items: Vec<Vec<Item>> = tasks.iter().map(|task| task.items(limit)).collect::<Result<_, _>>()?;
    let model = LoadedModel::open(LoadSettings { adapter: model, base_model, quantize, system: SystemChoice::AsTrained, engine }, verbose)?;
    let asking = Asking { model: &model, as_chat: apply_chat_template, batch: batch_size.into() };
    let mut done = Vec::new();
    for (task, items) in tasks.iter().zip(items) {
        let start = Instant::now();
        let outcomes = asking.all(task, &items)?;
        let scores = task.score(&items, &outcomes);
        done.push(Done { task, items, outcomes, scores, seconds: start.elapsed().as_secs_f64() });
    }
    let named = model.adapter_name().unwrap_or_else(|| model.base_name());
    let settings = json!({
        "model": named, "base_model": model.base_name(), "kernel": model.kernel(), "apply_chat_template": apply_chat_template,
        "limit": limit, "dyag": env!("CARGO_PKG_VERSION"),
    });
    if let Some(output) = &output {
        write(output, &settings, &done)?;
    }
    if json {
        terminal::print_json(&json!({ "settings": settings, "tasks": done.iter().map(Done::figures).collect::<Vec<_>>() }))?;
    } else {
        print(&done)?;
    }
    let missed: Vec<String> = done
        .iter()
        .flat_map(|done| {
            let values = done.scores.figures.iter().map(|figure| (figure.name.to_owned(), figure.value)).collect();
            let figures = SetMetrics { values, ..SetMetrics::default() };
            require.iter().filter_map(move |requirement| Some(format!("{}: {}", done.task.name(), requirement.missed(&figures)?)))
        })
        .collect();
    missed.iter().for_each(terminal::complain);
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Done<'_> {
    /// The figures, for machines.
    fn figures(&self) -> Value {
        let file = &self.task.file;
        json!({
            "task": self.task.name(), "output_type": format!("{:?}", file.output_type), "num_fewshot": file.num_fewshot, "n_documents": self.items.len(),
            "dataset_sha256": self.task.dataset_sha256, "seconds": self.seconds, "figures": self.scores.figures,
        })
    }

    /// What was asked and said of each document.
    fn documents(&self) -> Vec<Value> {
        let said = self.items.iter().zip(&self.outcomes).zip(&self.scores.documents);
        said.map(|((item, outcome), scores)| {
            let scores: serde_json::Map<String, Value> = scores.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let mut document = json!({ "document": item.place, "context": item.context, "said": outcome, "scores": scores });
            let known = [("continuations", json!(item.continuations)), ("gold", json!(item.gold)), ("expected", json!(item.expected))];
            let fields = document.as_object_mut().into_iter();
            fields.for_each(|fields| {
                fields
                    .extend(known.clone().into_iter().filter(|(_, value)| *value != json!([])).map(|(key, value)| (key.to_owned(), value)))
            });
            document
        })
        .collect()
    }
}

fn write(path: &Path, settings: &Value, done: &[Done<'_>]) -> anyhow::Result<()> {
    let tasks: Vec<Value> = done
        .iter()
        .map(|done| {
            let mut task = done.figures();
            task["documents"] = json!(done.documents());
            task
        })
        .collect();
    let text = serde_json::to_string_pretty(&json!({ "schema": "dyag-benchmark/1", "settings": settings, "tasks": tasks }))?;
    write_atomically(path, |out| writeln!(out, "{text}"))?;
    Ok(())
}

fn print(done: &[Done<'_>]) -> anyhow::Result<()> {
    for done in done {
        let shots = match done.task.file.num_fewshot {
            0 => String::new(),
            n => format!(", {n} solved examples each"),
        };
        terminal::print_line(format!("{}: {} documents{shots}, {:.1} s", done.task.name(), done.items.len(), done.seconds))?;
        for Figure { name, value, standard_error } in &done.scores.figures {
            let error = standard_error.map_or_else(String::new, |error| format!(" ± {error:.4}"));
            terminal::print_line(format!("  {name:<12} {value:.4}{error}"))?;
        }
    }
    Ok(())
}
