//! dyag, the program: reads its arguments, calls the libraries, prints. One module a command.
#![forbid(unsafe_code)]

mod answerer;
mod cli;
mod commands;
mod download_progress;
mod encoder;
mod engine;
mod evaluation;
mod exported;
mod language_models;
mod loaded_model;
mod model_files;
mod model_name;
mod output_file;
mod progress;
mod requirement;
mod retrieval;
mod session;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) if error.is::<terminal::ClosedPipe>() => ExitCode::SUCCESS,
        Err(error) => {
            terminal::report(&error);
            ExitCode::from(2)
        }
    }
}
