//! The arguments of `dyag finetune`, as typed.

use std::path::PathBuf;

use clap::ValueEnum;
use dyag_kernels::Precision;
use dyag_text::Date;
use dyag_train::memory::parse_bytes;

use crate::cli::{DeviceChoice, PrecisionChoice, QuantizeChoice};
use crate::engine::EngineArgs;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 trained, 2 an error, 130 interrupted (a checkpoint was written; go on with --resume).")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) paths: PathArgs,
    #[command(flatten)]
    pub(super) resume: ResumeArgs,
    #[command(flatten)]
    pub(super) training: TrainingArgs,
    #[command(flatten)]
    pub(super) adapter: AdapterArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) saving: SavingArgs,
    #[command(flatten)]
    pub(super) computing: ComputingArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// What is read and written.
#[derive(Debug, clap::Args)]
pub(super) struct PathArgs {
    /// Conversations to train on, as JSON Lines or a JSON list: `messages`, ShareGPT, Alpaca, `prompt` and `completion`, or `question` and `expected_answer`
    #[arg(long, value_name = "FILE")]
    pub(super) dataset: PathBuf,

    /// Folder that checkpoints, log and the trained adapter (in `final`) are written to
    #[arg(long, value_name = "DIR")]
    pub(super) output: PathBuf,

    /// Base model: a Hugging Face folder, a GGUF file, or a name that `dyag models` knows
    #[arg(long, value_name = "PATH", default_value = "qwen2.5:1.5b")]
    pub(super) base_model: String,

    /// Quantise the matrices of the base model's layers when they are loaded: less memory, a little less exact. For models in F32, F16 or BF16
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) quantize: Option<QuantizeChoice>,
}

/// Where to begin.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// Go on from the newest checkpoint of the output folder
    #[arg(long)]
    pub(super) resume: bool,

    /// Go on from this checkpoint of the output folder; later ones are set aside
    #[arg(long, value_name = "DIR")]
    pub(super) resume_from: Option<PathBuf>,
}

/// How it is learned.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Training")]
pub(super) struct TrainingArgs {
    /// Passes over the data
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) epochs: u32,

    /// Optimiser steps in all, however many epochs that is
    #[arg(long, value_name = "N")]
    pub(super) max_steps: Option<u64>,

    /// Examples of a micro-batch [default: 4; for models of the registry what it advises, in steps of as many examples]
    #[arg(long, value_name = "N")]
    pub(super) batch_size: Option<usize>,

    /// Micro-batches of an optimiser step [default: 4]
    #[arg(long, value_name = "N")]
    pub(super) accumulation: Option<usize>,

    /// Highest learning rate [default: 2e-4, or 2e-5 with --method full]
    #[arg(long, value_name = "RATE")]
    pub(super) learning_rate: Option<f64>,

    /// Learning rate of B (and of --use-dora's magnitudes) as a multiple of A's, as LoRA+ has it; 16 is usual
    #[arg(long, value_name = "RATIO")]
    pub(super) lora_plus_ratio: Option<f64>,

    /// Course of the learning rate after the warm-up
    #[arg(long, value_enum, value_name = "COURSE", default_value_t = ScheduleChoice::Cosine)]
    pub(super) schedule: ScheduleChoice,

    /// Share of the steps that warm up, rounded up to whole steps
    #[arg(long, value_name = "SHARE", default_value_t = 0.03)]
    pub(super) warmup_ratio: f64,

    /// Largest global gradient norm; 0 for no limit
    #[arg(long, value_name = "NORM", default_value_t = 0.3)]
    pub(super) clip: f64,

    /// AdamW's weight decay
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    pub(super) weight_decay: f64,

    /// Noise on the embeddings while training, uniform in ±ALPHA / sqrt(tokens x channels) (NEFTune); 5 is usual. Beginnings are then not shared
    #[arg(long, value_name = "ALPHA")]
    pub(super) neftune_alpha: Option<f64>,

    /// Seed of the adapter, the order of examples, the dropout and the noise
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(super) seed: u64,

    /// Keep the examples in the order of the file
    #[arg(long)]
    pub(super) no_shuffle: bool,

    /// Compute what examples begin with in common once for each of them
    #[arg(long)]
    pub(super) no_shared_prefix: bool,
}

/// What is trained.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Adapter")]
pub(super) struct AdapterArgs {
    /// What is trained
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = MethodChoice::Lora)]
    pub(super) method: MethodChoice,

    /// Rank of the adapter [default: 16, or that of --init-adapter]
    #[arg(long, value_name = "R")]
    pub(super) lora_rank: Option<usize>,

    /// Numerator of the adapter's scale [default: 32, or that of --init-adapter]
    #[arg(long, value_name = "ALPHA")]
    pub(super) lora_alpha: Option<f64>,

    /// Scale by alpha / sqrt(rank), as rank-stabilised LoRA does
    #[arg(long, alias = "rslora")]
    pub(super) use_rslora: bool,

    /// Train a magnitude of each output channel too, as DoRA does
    #[arg(long)]
    pub(super) use_dora: bool,

    /// Another rank for the modules whose names end with what this regular expression matches, as PEFT matches it; may be given several times, the first that matches decides
    #[arg(long, value_name = "PATTERN=R", value_parser = pattern_pair::<usize>)]
    pub(super) rank_pattern: Vec<(String, usize)>,

    /// Another alpha, likewise
    #[arg(long, value_name = "PATTERN=ALPHA", value_parser = pattern_pair::<f64>)]
    pub(super) alpha_pattern: Vec<(String, f64)>,

    /// Matrices to adapt: ends of names of modules with commas between (q_proj), a regular expression for whole names (.*\.(0|1)\..*_proj), or all-linear [default: all-linear, or those of --init-adapter]
    #[arg(long, value_name = "NAMES|REGEX|all-linear")]
    pub(super) target_modules: Option<String>,

    /// Share of the adapter's inputs that are dropped while training
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) dropout: f32,

    /// Start from this adapter (a folder as PEFT or dyag writes it), not from a fresh one
    #[arg(long, value_name = "DIR")]
    pub(super) init_adapter: Option<PathBuf>,
}

/// What is trained, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodChoice {
    /// A small adapter beside the base model's frozen weights
    Lora,
    /// All weights: `final` is then a whole model. Takes 16 to 20 bytes of memory a parameter
    Full,
}

/// What is learned from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Data")]
pub(super) struct DataArgs {
    /// Longest example, in tokens; longer ones are refused unless --truncate
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(super) max_seq_length: usize,

    /// Cut longer examples at their end
    #[arg(long)]
    pub(super) truncate: bool,

    /// Which tokens are learned
    #[arg(long, value_enum, value_name = "TOKENS", default_value_t = LossChoice::Assistant)]
    pub(super) loss: LossChoice,

    /// Conversations to validate on after each epoch
    #[arg(long, value_name = "FILE", conflicts_with = "validation_split")]
    pub(super) validation: Option<PathBuf>,

    /// Share of the dataset to set aside for validation
    #[arg(long, value_name = "SHARE")]
    pub(super) validation_split: Option<f64>,

    /// Date that a template is told which reads the clock; kept in the manifest [default: today, or that of the resumed run]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) date: Option<Date>,
}

/// What is kept.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Checkpoints")]
pub(super) struct SavingArgs {
    /// Write a checkpoint every N steps too, not only after each epoch
    #[arg(long, value_name = "N")]
    pub(super) save_steps: Option<u64>,

    /// Newest checkpoints to keep, beside the best
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(super) save_total_limit: usize,

    /// Leave the adapter with the lowest validation loss in `final`, not the last
    #[arg(long)]
    pub(super) load_best: bool,

    /// Stop after N validations without improvement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) early_stopping_patience: Option<u32>,
}

/// Where and how it is computed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Computing")]
pub(super) struct ComputingArgs {
    /// Where to compute
    #[arg(long, value_enum, value_name = "DEVICE", default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    /// Means --device cpu
    #[arg(long)]
    force_cpu: bool,

    /// What the operands of products with the model's weights are rounded to
    #[arg(long, value_enum, value_name = "PRECISION", default_value_t = TrainingPrecision::Auto)]
    precision: TrainingPrecision,

    /// Threads to compute with; all processors when absent. Results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// What the forward pass keeps for the backward; results do not depend on it
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Checkpointing::Auto)]
    pub(super) checkpointing: Checkpointing,

    /// Most memory to use, such as 2.5GB [default: what the system has available]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
}

/// `PATTERN=NUMBER`, the number after the last `=`.
fn pattern_pair<T: std::str::FromStr>(text: &str) -> Result<(String, T), String> {
    let pair = text.rsplit_once('=').filter(|(pattern, _)| !pattern.is_empty());
    let number = pair.and_then(|(pattern, number)| Some((pattern.to_owned(), number.trim().parse().ok()?)));
    number.ok_or_else(|| "expected PATTERN=NUMBER, such as self_attn.v_proj=8".to_owned())
}

/// What is printed.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Say more: every step, every checkpoint, where the memory goes
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// The course of the learning rate, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ScheduleChoice {
    /// Half a cosine from the peak to zero
    Cosine,
    /// A straight line from the peak to zero
    Linear,
    /// The peak throughout
    Constant,
}

/// Which tokens are learned, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LossChoice {
    /// What the assistant says, through its end-of-turn token
    Assistant,
    /// Every token
    All,
}

/// What products round to, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TrainingPrecision {
    /// bf16 where the processor multiplies it faster than f32 (AMX, AVX-512 BF16 of AMD), else f32
    Auto,
    /// Operands stay 32-bit
    F32,
    /// Operands are rounded to bf16, sums are 32-bit
    Bf16,
}

/// What the forward pass keeps, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Checkpointing {
    /// Each layer's input; the rest is computed twice
    Layer,
    /// Everything: faster, more memory
    None,
    /// Whichever memory allows
    Auto,
}

impl ComputingArgs {
    /// The engine, what it rounds to, the limit of memory, and what is kept.
    pub(super) fn resolve(self) -> Resolved {
        let Self { device, force_cpu, precision, threads, checkpointing, memory_limit } = self;
        let (precision, choice) = match precision {
            TrainingPrecision::Auto if dyag_kernels::cpu::bf16_is_fast() => (Precision::Bf16, PrecisionChoice::Bf16),
            TrainingPrecision::Bf16 => (Precision::Bf16, PrecisionChoice::Bf16),
            TrainingPrecision::Auto | TrainingPrecision::F32 => (Precision::F32, PrecisionChoice::F32),
        };
        let device = if force_cpu { DeviceChoice::Cpu } else { device };
        Resolved { engine: EngineArgs { device, precision: choice, threads }, precision, checkpointing, memory_limit }
    }
}

/// [`ComputingArgs`] without what only the person needs.
pub(super) struct Resolved {
    pub(super) engine: EngineArgs,
    pub(super) precision: Precision,
    pub(super) checkpointing: Checkpointing,
    pub(super) memory_limit: Option<u64>,
}
