//! `dyag bench`: what this machine could do, and what a model's work makes of it.

mod generation;
mod machine;
mod products;
mod show;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;
use dyag_model::decoder::Decoder;
use dyag_text::LossTokens;
use dyag_train::memory;
use serde::Serialize;

use crate::cli::{DeviceChoice, PrecisionChoice, QuantizeChoice};
use crate::engine::EngineArgs;
use crate::language::say;
use crate::model_files::ModelFiles;
use crate::terminal;
use generation::Generation;
use machine::{Machine, Peaks};
use products::Product;
use training::Training;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ratios are worth quoting when both sides were measured in the same sitting on a machine that does nothing else.")]
pub(crate) struct Args {
    /// Model to measure with: a folder, a GGUF file, or a name that `dyag models` knows; without it only the machine is measured
    #[arg(long, value_name = "PATH")]
    base_model: Option<String>,

    /// Quantise the matrices of the base model's layers when they are loaded: less memory, a little less exact. For models in F32, F16 or BF16
    #[arg(long, value_enum, value_name = "FORMAT", requires = "base_model")]
    quantize: Option<QuantizeChoice>,

    /// Conversations to train on and to take a prompt from (JSON Lines, as for finetune)
    #[arg(long, value_name = "FILE", requires = "base_model")]
    dataset: Option<PathBuf>,

    /// Which tokens are learned
    #[arg(long, value_enum, value_name = "TOKENS", default_value_t = LossChoice::All)]
    loss: LossChoice,

    /// Measurements of each kind; their median is what is said
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    runs: u16,

    /// Rows of the products that are timed one by one
    #[arg(long, value_name = "T", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=16384))]
    tokens: u32,

    /// Leave out what takes long: training and generation
    #[arg(long)]
    quick: bool,

    /// What the operands of products with the model's weights are rounded to
    #[arg(long, value_enum, value_name = "PRECISION", default_value_t = PrecisionChoice::Auto)]
    precision: PrecisionChoice,

    /// Threads to compute with; all processors when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Which tokens are learned, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossChoice {
    /// What the assistant says, through its end-of-turn token
    Assistant,
    /// Every token
    All,
}

impl From<LossChoice> for LossTokens {
    fn from(choice: LossChoice) -> Self {
        match choice {
            LossChoice::Assistant => Self::Assistant,
            LossChoice::All => Self::All,
        }
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    machine: Machine,
    peaks: Peaks,
    model: Option<String>,
    products: Vec<Product>,
    training: Vec<Training>,
    generation: Option<Generation>,
    peak_memory_bytes: Option<u64>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { base_model, quantize, dataset, loss, runs, tokens, quick, precision, threads, json } = args;
    let runs = usize::from(runs);
    let engine = EngineArgs { device: DeviceChoice::Cpu, precision, threads };
    let device = Arc::new(engine.open()?);
    let mut files = base_model.as_deref().map(ModelFiles::open).transpose()?;
    files.as_mut().map_or(Ok(()), |files| files.quantize(quantize, &device))?;

    terminal::note(say!("measuring the machine", "mesure de la machine"));
    let machine = Machine::describe(&device);
    let peaks = Peaks::measure(&device)?;
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        machine,
        peaks,
        model: files.as_ref().map(ModelFiles::summary),
        products: Vec::new(),
        training: Vec::new(),
        generation: None,
        peak_memory_bytes: None,
    };
    if let Some(files) = &files {
        terminal::note(say!("measuring products", "mesure des produits"));
        report.products = products::measure(&*device, files, tokens as usize, runs, report.peaks.of_products());
        if !quick {
            let decoder = Decoder::new(Arc::clone(&device), files.config(), files.weights());
            if let Some(dataset) = &dataset {
                terminal::note(say!("measuring training", "mesure de l'entraînement"));
                report.training = training::measure(&decoder, files, dataset, loss.into(), runs)?;
            }
            terminal::note(say!("measuring generation", "mesure de l'écriture"));
            report.generation =
                Some(generation::measure(&decoder, files, dataset.as_deref(), runs, report.peaks.memory_gigabytes_a_second)?);
        }
    }
    report.peak_memory_bytes = memory::peak_resident_bytes();
    if json {
        terminal::print_json(&report)?
    } else {
        terminal::print(&show::text(&report))?
    }
    Ok(ExitCode::SUCCESS)
}

/// Median of the seconds that `runs` calls take, after one that is not counted.
fn median_seconds(runs: usize, mut work: impl FnMut()) -> f64 {
    work();
    median((0..runs).map(|_| seconds(&mut work)).collect())
}

/// Seconds a call takes.
fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_middle_counts() {
        assert_eq!(median(vec![3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
    }
}
