//! From what was typed, the files of settings and the environment to the command that runs.

use std::env;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;

use crate::cli::{self, Cli, Command, Everywhere};
use crate::language::Language;
use crate::settings::{self, Resolved, Typed};
use crate::terminal;

/// What there is to do.
pub(crate) enum Start {
    Run(Command),
    /// Nothing: help or settings were printed, or the arguments are wrong and it was said why.
    End(ExitCode),
}

/// Reads the arguments and the files of settings; from then on the language and the silence asked for hold.
///
/// # Errors
/// Files of settings that are wrong. Wrong arguments are said here.
pub(crate) fn arguments() -> anyhow::Result<Start> {
    let variables = |name: &str| env::var_os(name);
    let mut command = cli::command(Language::English);
    command.build();
    let typed = Typed::new(lenient(), env::args_os().collect());
    let files = typed.files(&command, dyag_hub::config_folder(&variables).as_deref())?;
    let resolved = typed.resolve(&command, files)?;
    // Help is printed while the arguments are read, so its language has to be known before.
    let language = language_of(&resolved).unwrap_or_else(|| Language::of_environment(&variables));
    language.speak();
    if language == Language::French {
        command = cli::command(language);
        command.build();
    }
    parse(&command, &resolved)
}

/// The language that is asked for, wherever it stands.
fn language_of(resolved: &Resolved) -> Option<Language> {
    use clap::ValueEnum as _;
    let mut arguments = resolved.arguments.iter().skip(1).filter_map(|argument| argument.to_str()).take_while(|argument| *argument != "--");
    let mut found = None;
    while let Some(argument) = arguments.next() {
        let value = if argument == "--lang" { arguments.next() } else { argument.strip_prefix("--lang=") };
        found = value.and_then(|value| Language::from_str(value, false).ok()).or(found);
    }
    found
}

/// The command line that takes everything. Errors are ignored below it only where that is said before it is built.
fn lenient() -> clap::Command {
    cli::command(Language::English).ignore_errors(true)
}

fn parse(command: &clap::Command, resolved: &Resolved) -> anyhow::Result<Start> {
    let whole = command.clone().try_get_matches_from(&resolved.arguments);
    let matches = match whole {
        // What is missing may be about to be looked for in what is printed.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            let shown = lenient()
                .try_get_matches_from(&resolved.arguments)
                .ok()
                .filter(|matches| settings::leaf(command, matches).is_some_and(|(_, given)| given.get_flag("show_config")));
            match shown {
                Some(matches) => matches,
                None => return Ok(Start::End(refuse(&error, resolved))),
            }
        }
        Err(error) => return Ok(Start::End(refuse(&error, resolved))),
        Ok(matches) => matches,
    };
    if settings::leaf(command, &matches).is_some_and(|(_, given)| given.get_flag("show_config")) {
        settings::print(command, resolved, &matches)?;
        return Ok(Start::End(ExitCode::SUCCESS));
    }
    let Cli { command, everywhere } = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return Ok(Start::End(refuse(&error, resolved))),
    };
    // The language and the files are known already.
    let Everywhere { quiet, lang: _, settings: _, show_config: _ } = everywhere;
    if quiet {
        terminal::be_quiet();
    }
    resolved.sentences().into_iter().for_each(terminal::note);
    Ok(Start::Run(command))
}

/// Prints what clap has to say: help and the version to stdout, all else to stderr, with the lines of the files that it is about.
fn refuse(error: &clap::Error, resolved: &Resolved) -> ExitCode {
    // That nobody can read it is no reason to stop.
    let _ = error.print();
    if error.use_stderr() {
        let text = error.to_string();
        let names = |flag: &str| {
            text.match_indices(flag).any(|(at, _)| !text[at + flag.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '-'))
        };
        for setting in resolved.added.iter().filter(|setting| names(&format!("--{}", setting.key))) {
            terminal::complain(format!("note: --{} is from {}", setting.key, setting.origin()));
        }
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
