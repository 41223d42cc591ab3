//! `dyag check`: recomputes a reference dump and says how far from it this program is.

mod compare;
mod dump;
mod recompute;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::ValueEnum;
use dyag_kernels::cpu_device::CpuDevice;
use dyag_kernels::reference::ReferenceDevice;
use dyag_kernels::{Device, Precision};
use dyag_model::Model;
use dyag_model::adapter::Adapter;
use dyag_model::decoder::{Decoder, DeviceAdapter};
use serde_json::{Value, json};

use crate::cli::{DeviceChoice, PrecisionChoice};
use crate::engine::EngineArgs;
use crate::terminal;
use compare::Quantity;
use dump::Dump;
use recompute::Subject;

/// What bf16 does not compare: the reference has no errors of Transformers for these.
const NOT_IN_BF16: &[&str] = &["base logits", "losses of the steps", "gradient norms", "total update", "greedy tokens"];

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Base model: a folder with config.json and safetensors, a GGUF file, or a name that `dyag models` knows
    #[arg(long, value_name = "PATH")]
    model: PathBuf,

    /// Folder of the adapter: adapter_config.json and adapter_model.safetensors; without it the dump is of a model whose weights are all trained
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// The dump, with reference.json beside it, as tools/reference/make_reference.py makes them
    #[arg(long, value_name = "FILE.safetensors")]
    reference: PathBuf,

    /// Read the model's shape from this file and not from its folder's config.json
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to compute
    #[arg(long, value_enum, value_name = "DEVICE", default_value_t = CheckDevice::Auto)]
    device: CheckDevice,

    /// What the operands of products with the model's weights are rounded to
    #[arg(long, value_enum, value_name = "PRECISION", default_value_t = PrecisionChoice::F32)]
    precision: PrecisionChoice,

    /// Threads to compute with; all processors when absent. Results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Multiply every tolerance (rounding errors grow with a model's size); the least error that bf16 must have is divided by it
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = above_zero)]
    tolerance_factor: f64,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Where to compute, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckDevice {
    /// The best device this program can use here
    Auto,
    /// The processor
    Cpu,
    /// An NVIDIA GPU (not in this version)
    Cuda,
    /// Plain loops with sums in double precision: slow, and what the others are tested against
    Reference,
}

fn above_zero(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|value| *value > 0.0 && value.is_finite()).ok_or_else(|| "expected a number above 0".to_owned())
}

/// The device that was asked for.
enum Chosen {
    Cpu(CpuDevice),
    Reference(ReferenceDevice),
}

/// What was compared, on what.
struct Outcome {
    kernel: String,
    quantities: Vec<Quantity>,
    not_compared: &'static [&'static str],
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { model, adapter, reference, config, device, precision, threads, tolerance_factor, json } = args;
    let engine = |device| EngineArgs { device, precision, threads }.open();
    let device = match device {
        CheckDevice::Auto => Chosen::Cpu(engine(DeviceChoice::Auto)?),
        CheckDevice::Cpu => Chosen::Cpu(engine(DeviceChoice::Cpu)?),
        CheckDevice::Cuda => Chosen::Cpu(engine(DeviceChoice::Cuda)?),
        CheckDevice::Reference => match threads {
            Some(n) => bail!("--threads {n}: the scalar references use one thread; leave --threads out with --device reference"),
            None => Chosen::Reference(ReferenceDevice::new(precision.into())),
        },
    };
    let model = crate::model_name::resolve(&model.to_string_lossy())?.path;
    let model = Model::load_with_config(&model, config.as_deref())?;
    let adapter = adapter.map(|folder| Adapter::load(&folder, &model.config)).transpose()?;
    let dump = Dump::open(&reference, &model.config, adapter.as_ref())?;
    let outcome = match device {
        Chosen::Cpu(device) => compare(device, &model, adapter.as_ref(), &dump, tolerance_factor)?,
        Chosen::Reference(device) => compare(device, &model, adapter.as_ref(), &dump, tolerance_factor)?,
    };
    if json {
        terminal::print_json(&as_json(&outcome))?;
    } else {
        terminal::print(&as_table(&outcome))?;
    }
    Ok(if outcome.quantities.iter().all(Quantity::passes) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn compare<D: Device>(device: D, model: &Model, adapter: Option<&Adapter>, dump: &Dump, factor: f64) -> anyhow::Result<Outcome> {
    let kernel = device.describe();
    let precision = device.precision();
    let decoder = Decoder::new(Arc::new(device), &model.config, &model.weights);
    let trained = match adapter {
        Some(adapter) => DeviceAdapter::upload(&**decoder.device(), adapter),
        None => DeviceAdapter::of_weights(&**decoder.device(), &model.config, &model.weights),
    };
    let subject = Subject { decoder: &decoder, trained, dump, factor };
    Ok(match precision {
        Precision::F32 => Outcome { kernel, quantities: subject.compare_f32()?, not_compared: &[] },
        Precision::Bf16 => Outcome { kernel, quantities: subject.compare_bf16()?, not_compared: NOT_IN_BF16 },
    })
}

fn as_json(outcome: &Outcome) -> Value {
    let Outcome { kernel, quantities, not_compared } = outcome;
    json!({
        "passed": quantities.iter().all(Quantity::passes),
        "kernel": kernel,
        "quantities": quantities.iter().map(Quantity::to_json).collect::<Vec<_>>(),
        "not_compared": not_compared,
    })
}

fn as_table(outcome: &Outcome) -> String {
    let Outcome { kernel, quantities, not_compared } = outcome;
    let mut text = format!("kernel: {kernel}\n{:<20} {:>9} {:>9} {:>6}  worst\n", "quantity", "error", "tolerance", "");
    for quantity in quantities {
        let Quantity { name, error, tolerance, worst, .. } = quantity;
        let verdict = if quantity.passes() { "ok" } else { "FAILED" };
        let line = format!("{name:<20} {error:>9.1e} {tolerance:>9.1e} {verdict:>6}  {worst}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if !not_compared.is_empty() {
        text.push_str(&format!("not compared in bf16: {}\n", not_compared.join(", ")));
    }
    let complaints: Vec<_> = quantities.iter().filter(|quantity| !quantity.passes()).map(Quantity::complaint).collect();
    if complaints.is_empty() {
        text.push_str("passed\n");
    }
    for complaint in complaints {
        text.push_str(&format!("FAILED: {complaint}\n"));
    }
    text
}
