//! Settings from files: `dyag.toml` holds flags in a table for each command, which the command line overrules.
//!
//! The files are read and checked against the program's own description of its flags, and what they set is inserted into the command line
//! before it is parsed, so that no command knows of them.

mod file;
mod secrets;
mod show;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

pub(crate) use file::Setting;
pub(crate) use show::print;

/// Name of the file, in the working folder and in the folder of a user's settings.
pub(crate) const FILE: &str = "dyag.toml";

/// The variable, and its value, with which no file is read but one that `--settings` names.
pub(crate) const NO_FILES: (&str, &str) = ("DYAG_SETTINGS", "none");

/// The flags that choose files and so cannot stand in one, and those that are about nothing but the help.
const NOT_IN_FILES: [&str; 4] = ["settings", "show_config", "help", "version"];

/// Flags that say where keys and passwords are sent. They do not stand in the file of a working folder, which may be somebody else's.
const SENT_TO: [&str; 4] = ["llm-url", "llm-allow-http", "store-allow-http", "store"];

/// The command line as typed, as far as it has to be known before it is parsed.
pub(crate) struct Typed {
    arguments: Vec<OsString>,
    matches: Option<ArgMatches>,
}

/// A command line with what the files add to it.
pub(crate) struct Resolved {
    pub(crate) arguments: Vec<OsString>,
    /// What was added.
    pub(crate) added: Vec<Setting>,
}

impl Typed {
    /// Looks at a command line. What is missing or wrong is said when the whole is parsed, so `lenient` ignores errors.
    pub(crate) fn new(lenient: Command, arguments: Vec<OsString>) -> Self {
        let flags = || arguments.iter().skip(1).take_while(|argument| *argument != "--").filter_map(|argument| argument.to_str());
        let asks_for_help = flags().next() == Some("help") || flags().any(|flag| ["-h", "--help", "-V", "--version"].contains(&flag));
        let matches = if asks_for_help { None } else { lenient.try_get_matches_from(&arguments).ok() };
        Self { matches, arguments }
    }

    /// A value of one of the flags of every command.
    pub(crate) fn global<T: Clone + Send + Sync + 'static>(&self, id: &str) -> Option<T> {
        let mut matches = self.matches.as_ref()?;
        loop {
            if matches.value_source(id) == Some(ValueSource::CommandLine) {
                return matches.get_one::<T>(id).cloned();
            }
            matches = matches.subcommand()?.1;
        }
    }

    /// The names of the command that runs; none when none does.
    fn path(&self) -> Vec<&str> {
        let mut path = Vec::new();
        let mut matches = self.matches.as_ref();
        while let Some((name, below)) = matches.and_then(ArgMatches::subcommand) {
            path.push(name);
            matches = Some(below);
        }
        path
    }

    /// The files that hold for this command line, the nearest first.
    ///
    /// # Errors
    /// A file that cannot be read or sets what no command has.
    pub(crate) fn files(&self, command: &Command, user_folder: Option<&Path>) -> anyhow::Result<Vec<Vec<Setting>>> {
        if self.path().is_empty() {
            return Ok(Vec::new());
        }
        let named: Option<PathBuf> = self.global("settings");
        if std::env::var_os(NO_FILES.0).is_some_and(|value| value == NO_FILES.1) {
            return named.iter().map(|path| file::read(path, command)).collect();
        }
        let mut paths = vec![(named.is_some(), named.unwrap_or_else(|| PathBuf::from(FILE)))];
        paths.extend(user_folder.map(|folder| (false, folder.join(FILE))));
        // Run from the folder of settings, a file would be read twice.
        if let [(_, near), (_, far)] = paths.as_slice()
            && near.canonicalize().is_ok_and(|near| far.canonicalize().is_ok_and(|far| near == far))
        {
            paths.pop();
        }
        let mut files = Vec::new();
        for (is_named, path) in paths.iter().filter(|(is_named, path)| *is_named || path.is_file()) {
            let settings = file::read(path, command)?;
            if !is_named && path == Path::new(FILE) {
                settings.iter().try_for_each(Setting::check_of_a_working_folder)?;
            }
            files.push(settings);
        }
        Ok(files)
    }

    /// Adds what the files set and the command line does not.
    ///
    /// # Errors
    /// A value of a kind that its flag does not take.
    pub(crate) fn resolve(self, command: &Command, files: Vec<Vec<Setting>>) -> anyhow::Result<Resolved> {
        let path = self.path();
        let Some((leaf, given)) = self.matches.as_ref().and_then(|matches| leaf(command, matches)) else {
            return Ok(Resolved { arguments: self.arguments, added: Vec::new() });
        };
        let table = path.join(".");
        let is_typed = |argument: &Arg| given.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
        let typed: Vec<&Arg> = leaf.get_arguments().filter(|argument| is_typed(argument)).collect();
        let conflicts = |a: &Arg, b: &Arg| leaf.get_arg_conflicts_with(a).iter().any(|other| other.get_id() == b.get_id());
        let mut decided: Vec<&str> = Vec::new();
        let (mut tokens, mut added) = (Vec::new(), Vec::new());
        for file in &files {
            let here = |name: &str| file.iter().filter(move |setting| setting.table == name).collect::<Vec<_>>();
            for setting in [here(&table), here(file::ALL)].concat() {
                let Some(argument) = find(leaf, &setting.key) else { continue };
                let id = argument.get_id().as_str();
                if decided.contains(&id) {
                    continue;
                }
                decided.push(id);
                let is_overruled = typed
                    .iter()
                    .any(|other| other.get_id() == argument.get_id() || conflicts(argument, other) || conflicts(other, argument));
                if !is_overruled {
                    tokens.extend(setting.tokens(argument)?);
                    added.push(setting.clone());
                }
            }
        }
        let mut arguments = self.arguments.clone();
        let place = place_after(&arguments, &path);
        arguments.splice(place..place, tokens);
        Ok(Resolved { arguments, added })
    }
}

impl Resolved {
    /// What was added, in a line for each file.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut files: Vec<&Path> = self.added.iter().map(|setting| setting.file.as_path()).collect();
        files.dedup();
        let said = |file: &Path| {
            let flags: Vec<String> = self
                .added
                .iter()
                .filter(|setting| setting.file == file)
                .map(|setting| format!("{} = {}", setting.key, setting.text))
                .collect();
            crate::language::say!("settings of {}: {}", "réglages de {} : {}", file.display(), flags.join(", "))
        };
        files.into_iter().map(said).collect()
    }
}

/// The command that runs, with what was typed for it.
pub(crate) fn leaf<'a>(mut command: &'a Command, mut matches: &'a ArgMatches) -> Option<(&'a Command, &'a ArgMatches)> {
    let mut is_root = true;
    while let Some((name, below)) = matches.subcommand() {
        command = command.find_subcommand(name)?;
        matches = below;
        is_root = false;
    }
    (!is_root).then_some((command, matches))
}

/// The flag that a key means: a long name, or another that it goes by. Flags that stand in no file are passed over.
fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| {
        let is_alias = || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&key));
        !NOT_IN_FILES.contains(&argument.get_id().as_str())
            && (argument.get_long() == Some(key) || (argument.get_long().is_some() && is_alias()))
    })
}

/// The place behind the name of the command that runs.
fn place_after(arguments: &[OsString], path: &[&str]) -> usize {
    let mut names = path.iter();
    let mut name = names.next();
    let mut i = 1;
    while let Some(wanted) = name
        && i < arguments.len()
    {
        // The flags before a command's name that have a value of their own.
        if arguments[i] == "--settings" || arguments[i] == "--lang" {
            i += 1;
        } else if arguments[i] == *wanted {
            name = names.next();
        }
        i += 1;
    }
    i.min(arguments.len())
}
