//! dyag, the program: reads its arguments, calls the libraries, prints. One module a command.
#![forbid(unsafe_code)]

mod answerer;
mod cli;
mod commands;
mod download_progress;
mod embedded;
mod encoder;
mod engine;
mod evaluation;
mod examples;
mod exported;
mod french;
mod interruption;
mod language;
mod language_models;
mod loaded_model;
mod model_files;
mod model_name;
mod output_file;
mod progress;
mod requirement;
mod retrieval;
mod session;
mod settings;
mod start;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = start::arguments().and_then(|start| match start {
        start::Start::Run(command) => commands::run(command),
        start::Start::End(code) => Ok(code),
    });
    match outcome {
        Ok(code) => code,
        Err(error) if error.is::<terminal::ClosedPipe>() => ExitCode::SUCCESS,
        Err(error) => {
            terminal::report(&error);
            ExitCode::from(2)
        }
    }
}
