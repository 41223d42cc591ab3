//! `dyag finetune`: trains a LoRA adapter for a base model on a file of conversations.

mod arguments;
mod batch;
mod data;
mod plan;
mod progress;
mod result;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use dyag_kernels::Device as _;
use dyag_model::decoder::Decoder;
use dyag_train::checkpoint::{Resume, open_output};
use dyag_train::config::Method;
use dyag_train::memory::{self, AvailableMemory};
use dyag_train::plan::{MemoryNeeds, MemoryPlan, largest_step_rows, plan_memory, plan_work};
use dyag_train::{TrainConfig, TrainInputs, train};

use crate::interruption::INTERRUPTED;
use crate::language::say;
use crate::model_files::ModelFiles;
use crate::terminal;

pub(crate) use arguments::Args;

use arguments::{PathArgs, ReportArgs, Resolved, ResumeArgs};
use data::{Data, Sets};
use progress::Progress;
use settings::Settings;

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { paths, resume, training, adapter, data, saving, computing, report } = args;
    let PathArgs { dataset, output, base_model, quantize } = paths;
    let resume = match resume {
        ResumeArgs { resume: _, resume_from: Some(folder) } => Resume::From(folder),
        ResumeArgs { resume: true, resume_from: None } => Resume::Newest,
        ResumeArgs { resume: false, resume_from: None } => Resume::No,
    };
    let checkpoint = open_output(&output, &resume)?;
    let Resolved { engine, precision, checkpointing, memory_limit } = computing.resolve();
    let device = Arc::new(engine.open()?);
    // Before a model is looked for, and perhaps fetched.
    let sets = Sets::read(&dataset, &data)?;
    let mut files = ModelFiles::open(&base_model)?;
    files.quantize(quantize, &device)?;
    let date = data::frozen_date(data.date, &files, checkpoint.as_ref())?;
    let batch = batch::choose(training.batch_size, training.accumulation, checkpoint.as_ref(), &files, memory_limit);
    let settings = Settings::resolve((training, &batch), adapter, &data, saving, (precision, checkpointing), date, &files)?;
    let Settings { config, adapter_config, initial } = settings;
    config.validate()?;
    let data = Data::of(sets, &config, date, &files)?;

    let max_pack_tokens = checkpoint.as_ref().map(|checkpoint| checkpoint.state.max_pack_tokens);
    // With dropout nothing is kept in bf16.
    let activation_bytes = if config.dropout > 0.0 { 4 } else { device.activation_bytes() };
    let is_whole = config.method == Method::Full;
    if is_whole && quantize.is_some() {
        bail!("--quantize: --method full trains all weights in F32; leave --quantize out");
    }
    let n_parameters = if is_whole { usize::try_from(files.model().source.n_parameters)? } else { initial.n_parameters() };
    let memory = fit(&config, &data, &files, (n_parameters, activation_bytes), memory_limit, max_pack_tokens)?;
    let work = plan_work(&data.train, &config, files.config(), &memory);
    let ReportArgs { json, verbose } = report;
    plan::print(&plan::Plan {
        files: &files,
        data: &data,
        config: &config,
        n_parameters,
        memory: &memory,
        batch: &batch,
        work: &work,
        kernel: &device.describe(),
        output: &output,
        verbose,
    });

    let stop = watch_for_interruption()?;
    let decoder = Decoder::new(device, files.config(), files.weights()).with_logits_bytes(memory.logits_bytes);
    let mut base = files.base_model();
    if base.hub.is_none() {
        // A GGUF file in the hub's cache is a link to a file without its name.
        if !files.is_embedded() {
            base.path = absolute(&base.path)?;
        }
    }
    let mut companions = data::companions(&files)?;
    if is_whole {
        companions.extend(data::configuration(&files)?);
    }
    let inputs = TrainInputs {
        decoder: &decoder,
        weights: is_whole.then(|| files.weights()),
        adapter: initial,
        adapter_config,
        train: &data.train,
        validation: &data.validation,
        base_model: base,
        conversation: data.conversation.clone(),
        dataset: data.facts.clone(),
        companions: &companions,
        config,
        memory: &memory,
        output: &output,
        resume: checkpoint,
    };
    let mut progress = Progress::new(verbose);
    let outcome = train(inputs, &mut |event| progress.show(&event), stop);
    progress.finish();
    result::print(&outcome?, &output, json)
}

/// The memory plan.
fn fit(
    config: &TrainConfig,
    data: &Data,
    files: &ModelFiles,
    (n_parameters, activation_bytes): (usize, usize),
    memory_limit: Option<u64>,
    resumed_pack_tokens: Option<usize>,
) -> anyhow::Result<MemoryPlan> {
    let needs = MemoryNeeds {
        model: files.config(),
        // Where all weights are trained, products read a copy beside the numbers that are trained.
        weights_bytes: if config.method == Method::Full { 4 * n_parameters as u64 } else { files.model().source.n_bytes },
        n_parameters,
        rank: match config.method {
            Method::Full => 0,
            _ => config.lora.rank_pattern.iter().map(|(_, rank)| *rank).fold(config.lora.rank, usize::max),
        },
        weight_decomposed: config.lora.dora,
        longest_rows: data.train.iter().chain(&data.validation).map(|sequence| sequence.n_rows()).max().unwrap_or(0),
        rows_of_a_step: largest_step_rows(&data.train, config),
        activation_bytes,
        checkpointing: config.checkpointing,
        resumed_pack_tokens,
    };
    let unknown = || AvailableMemory { bytes: u64::MAX, source: "this system does not say how much memory it has".to_owned() };
    let available = match memory_limit {
        Some(bytes) => AvailableMemory { bytes, source: "--memory-limit".to_owned() },
        None => memory::available().unwrap_or_else(unknown),
    };
    Ok(plan_memory(needs, &available, memory_limit.is_some())?)
}

/// A path that means the same from any folder.
fn absolute(path: &str) -> anyhow::Result<String> {
    let whole = std::path::Path::new(path).canonicalize().with_context(|| format!("cannot find {path}"))?;
    Ok(whole.display().to_string())
}

/// Raised by Ctrl-C or a request to terminate. The second one ends the program where it stands; what is on the disk stays whole.
fn watch_for_interruption() -> anyhow::Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        terminal::note(say!(
            "\nstopping: a checkpoint of the steps done so far is written (once more to stop at once, without it)",
            "\narrêt : un point de reprise des pas faits est écrit (une seconde fois pour arrêter aussitôt, sans lui)"
        ));
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(&STOP)
}
