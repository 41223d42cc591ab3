//! The arguments as typed: the root of the command line, and values that several commands share.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::commands::{
    add_passages, ask, bench, benchmark, check, chunk, compare_models, completions, create_eval_set, demo, doctor, evaluate_finetuned,
    evaluate_rag, export_gguf, finetune, generate_questions, generate_training, index_rag, inspect, man, merge_lora, models,
    query_finetuned, rag_stats, rules,
};
use crate::language::Language;
use crate::{examples, french};

/// Fine-tune a small language model on private documents, offline, and ask it questions.
///
/// Exit status: 0 done, 1 a legitimate "no" (a check failed), 2 an error.
#[derive(Debug, Parser)]
#[command(name = "dyag", version, about, max_term_width = 120, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
}

/// The flags of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Everywhere {
    /// Print no progress and no notes; errors, and why the answer is no, stay
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Language of what is printed for people; that of LC_ALL, LC_MESSAGES or LANG when absent
    #[arg(long, global = true, value_enum, value_name = "LANGUAGE")]
    pub(crate) lang: Option<Language>,

    /// File with settings, in place of dyag.toml of the working folder
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,

    /// Print the values that the command would use and where each is from, and do nothing
    #[arg(long, global = true)]
    pub(crate) show_config: bool,
}

/// The whole command line, with examples, and its first page in that language.
pub(crate) fn command(language: Language) -> clap::Command {
    let command = examples::add(Cli::command(), language);
    match language {
        Language::English => command,
        Language::French => french::translate(command),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole way on invented documents, or on your own: passages, questions, index, training, answers, comparison
    Demo(demo::Args),
    /// Cut documents into passages: the raw material of datasets and searches
    Chunk(Box<chunk::Args>),
    /// Make a training set from chunks of documents
    GenerateTraining(Box<generate_training::Args>),
    /// Make a question set from a catalogue
    GenerateQuestions(Box<generate_questions::Args>),
    /// Print the rules by which facts are found and asked for, to be copied and changed
    Rules(rules::Args),
    /// Train an adapter for a model, or all its weights, on a file of conversations
    Finetune(Box<finetune::Args>),
    /// Ask a fine-tuned model a question, or hold a conversation with it
    QueryFinetuned(Box<query_finetuned::Args>),
    /// Make a collection of chunks that can be searched, by words and by vectors
    IndexRag(Box<index_rag::Args>),
    /// Show what a collection holds
    RagStats(rag_stats::Args),
    /// Ask a question that is answered from passages of a collection
    QueryRag(Box<ask::AskingArgs>),
    /// Ask a question of the base model, with passages, of the fine-tuned model, or of both together
    Ask(Box<ask::Args>),
    /// Give the examples of a training set the passages that a search finds for them
    AddPassages(Box<add_passages::Args>),
    /// Make questions about a collection, each with the chunks that bear its answer
    CreateEvalSet(create_eval_set::Args),
    /// Ask a model the questions of a set with passages found for each, and score answers and search
    EvaluateRag(Box<evaluate_rag::Args>),
    /// Ask a model the questions of a set, and score its answers
    EvaluateFinetuned(Box<evaluate_finetuned::Args>),
    /// Compare evaluations of the same questions: what is better, where that can be shown
    CompareModels(Box<compare_models::Args>),
    /// Ask a model the questions of standard tasks: the likeliest of several choices, or a text
    Benchmark(Box<benchmark::Args>),
    /// Merge an adapter into its base: a model of its own, as a Hugging Face folder
    MergeLora(Box<merge_lora::Args>),
    /// Write a model, merged with an adapter or not, or an adapter alone as a GGUF file for llama.cpp and Ollama
    ExportGguf(Box<export_gguf::Args>),
    /// Recompute a reference dump (logits, loss, gradients, steps, tokens) and compare
    Check(Box<check::Args>),
    /// Show what a model, an adapter, chunks or a dataset hold; check a dataset
    Inspect(Box<inspect::Args>),
    /// List, fetch, describe and remove models by name
    Models(models::Args),
    /// Measure the machine, and a model's products, training and generation on it
    Bench(Box<bench::Args>),
    /// Look at this machine: what dyag can do here, how fast, and what stands in its way
    Doctor(doctor::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Write manual pages, one for each command
    Man(man::Args),
}

/// Where the arithmetic is done, as typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// The best device this program can use here
    #[default]
    Auto,
    /// The processor
    Cpu,
    /// An NVIDIA GPU (not in this version)
    Cuda,
}

/// What products with frozen weights round their operands to, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionChoice {
    /// What is fastest here: bf16 where the processor multiplies it faster than 32-bit (AMX, AVX-512 BF16 of AMD), and while tokens are written one by one,
    /// activations of 8 bits where the weights are quantised
    Auto,
    /// Operands stay 32-bit
    F32,
    /// Operands are rounded to bf16, sums are 32-bit
    Bf16,
}

/// When to use colours, as typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What a model's matrices are quantised to when they are loaded, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QuantizeChoice {
    /// NormalFloat-4 (QLoRA): 4.25 bits a weight
    Nf4,
}

impl QuantizeChoice {
    /// As it is typed, and as manifests have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
        }
    }
}

impl From<PrecisionChoice> for dyag_kernels::Precision {
    fn from(choice: PrecisionChoice) -> Self {
        match choice {
            PrecisionChoice::Auto if dyag_kernels::cpu::bf16_is_fast() => Self::Bf16,
            PrecisionChoice::Auto | PrecisionChoice::F32 => Self::F32,
            PrecisionChoice::Bf16 => Self::Bf16,
        }
    }
}
