//! One module a command: arguments, their resolution into a library's settings, the call, the printing.

pub(crate) mod add_passages;
pub(crate) mod ask;
pub(crate) mod bench;
pub(crate) mod benchmark;
pub(crate) mod check;
pub(crate) mod chunk;
pub(crate) mod compare_models;
pub(crate) mod completions;
pub(crate) mod create_eval_set;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod evaluate_finetuned;
pub(crate) mod evaluate_rag;
pub(crate) mod export_gguf;
pub(crate) mod finetune;
pub(crate) mod generate_questions;
pub(crate) mod generate_training;
pub(crate) mod index_rag;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod merge_lora;
pub(crate) mod models;
pub(crate) mod query_finetuned;
pub(crate) mod rag_stats;
pub(crate) mod rules;

use std::process::ExitCode;

use crate::cli::Command;

/// Runs the command that was typed.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Finetune(args) => finetune::run(*args),
        Command::QueryFinetuned(args) => query_finetuned::run(*args),
        Command::Chunk(args) => chunk::run(*args),
        Command::IndexRag(args) => index_rag::run(*args),
        Command::RagStats(args) => rag_stats::run(args),
        Command::QueryRag(args) => ask::run_query_rag(*args),
        Command::Ask(args) => ask::run(*args),
        Command::AddPassages(args) => add_passages::run(*args),
        Command::Demo(args) => demo::run(args),
        Command::CreateEvalSet(args) => create_eval_set::run(args),
        Command::EvaluateRag(args) => evaluate_rag::run(*args),
        Command::EvaluateFinetuned(args) => evaluate_finetuned::run(*args),
        Command::CompareModels(args) => compare_models::run(*args),
        Command::MergeLora(args) => merge_lora::run(*args),
        Command::ExportGguf(args) => export_gguf::run(*args),
        Command::Check(args) => check::run(*args),
        Command::Inspect(args) => inspect::run(*args),
        Command::Models(args) => models::run(args),
        Command::Bench(args) => bench::run(*args),
        Command::Benchmark(args) => benchmark::run(*args),
        Command::GenerateTraining(args) => generate_training::run(*args),
        Command::GenerateQuestions(args) => generate_questions::run(*args),
        Command::Rules(args) => rules::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}
