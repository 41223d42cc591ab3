//! `dyag rules`: prints the rules that ship with the program, to be copied and changed.

use std::process::ExitCode;

use anyhow::Context as _;
use dyag_text::generate::Rules;

use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Language of the documents: fr or en
    #[arg(value_name = "CODE", default_value = "fr")]
    language: String,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { language } = args;
    let text = Rules::shipped_text(&language)
        .with_context(|| format!("no rules ship for {language:?}: expected one of {}", Rules::LANGUAGES.join(", ")))?;
    terminal::print(text)?;
    Ok(ExitCode::SUCCESS)
}
