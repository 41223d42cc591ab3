//! `dyag check`.

use std::process::ExitCode;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {} = args;
    anyhow::bail!("not written yet")
}
