//! `dyag completions SHELL`: what a shell needs to complete this program's commands and flags.

use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::Shell;

use crate::language::Language;
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { shell } = args;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(Language::spoken()), "dyag", &mut script);
    terminal::print(&String::from_utf8(script).context("the completions are no text")?)?;
    Ok(ExitCode::SUCCESS)
}
