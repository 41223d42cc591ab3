//! `dyag man --output DIR`: manual pages, one for the program and one for each command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap_mangen::Man;
use dyag_model::files::write_bytes_atomically;

use crate::language::{Language, counted};
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder that the pages are written to; it is made where it is not there
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { output } = args;
    let mut command = crate::cli::command(Language::spoken());
    command.build();
    std::fs::create_dir_all(&output).with_context(|| format!("cannot make the folder {} for manual pages", output.display()))?;
    let n_pages = write(&command, "dyag", &output)?;
    let pages = counted(n_pages, ["page", "pages"], ["page", "pages"]);
    terminal::print_line(format!("{pages}: {}", output.join("dyag.1").display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of the commands below it; gives how many.
fn write(command: &clap::Command, name: &str, folder: &Path) -> anyhow::Result<usize> {
    let titled = command.clone().display_name(name.to_owned());
    let mut page = Vec::new();
    Man::new(titled).title(name.to_owned()).section("1").manual("dyag").render(&mut page)?;
    write_bytes_atomically(&folder.join(format!("{name}.1")), &page)?;
    let mut n_pages = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        n_pages += write(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(n_pages)
}
