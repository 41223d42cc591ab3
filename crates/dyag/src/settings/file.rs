//! One file of settings: read, and checked against the flags that there are.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{find, secrets};

/// The table of the flags that several commands have.
pub(super) const ALL: &str = "all";

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A key of a file with its value.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) file: PathBuf,
    /// From 1 on.
    pub(crate) line: usize,
    /// The command, with points between its names, or `all`.
    pub(super) table: String,
    pub(crate) key: String,
    value: Value,
    /// The value as it stands in the file.
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Flag(bool),
    Text(String),
    List(Vec<String>),
}

/// Where in a file something is.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.path.display(), self.line(offset))
    }
}

/// All that a file sets. `command` is built.
pub(super) fn read(path: &Path, command: &Command) -> anyhow::Result<Vec<Setting>> {
    let cannot = || format!("cannot read the settings in {}", path.display());
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text)).with_context(cannot)?;
    if text.len() as u64 > MAX_BYTES {
        bail!("{}: expected a TOML file of settings of 1 MiB at most, found more", path.display());
    }
    let place = Place { path, text: &text };
    let whole = DeTable::parse(&text).map_err(|error| {
        // The parser's own rendering shows the line, in which a secret may stand.
        let at = error.span().map_or_else(|| path.display().to_string(), |span| place.at(span.start));
        anyhow::anyhow!("{at}: expected TOML such as `[finetune]` and below it `epochs = 5`: {}", error.message())
    })?;
    let mut settings = Vec::new();
    for (name, value) in whole.into_inner() {
        let at = name.span().start;
        let name = name.into_inner().into_owned();
        let DeValue::Table(table) = value.into_inner() else {
            refuse_secret(&name, &place.at(at))?;
            bail!(
                "{}: {name} stands in no table; expected it below the name of its command, such as [finetune], or below [{ALL}]",
                place.at(at)
            );
        };
        if name == ALL {
            add(&mut settings, &place, ALL, table, &[command])?;
        } else if let Some(command) = command.find_subcommand(&name).filter(|_| name != "help") {
            add(&mut settings, &place, &name, table, &[command])?;
        } else {
            let names = command.get_subcommands().map(Command::get_name).chain([ALL]);
            bail!("{}: there is no command {name}; expected the name of a command or [{ALL}]{}", place.at(at), meant(&name, names));
        }
    }
    // The parser sorts keys by name.
    settings.sort_by_key(|setting: &Setting| setting.line);
    Ok(settings)
}

/// Adds the settings of a table. For `all`, a key may be a flag of any command.
fn add(settings: &mut Vec<Setting>, place: &Place<'_>, table: &str, entries: DeTable<'_>, commands: &[&Command]) -> anyhow::Result<()> {
    let command = commands[0];
    for (key, value) in entries {
        let offset = key.span().start;
        let at = place.at(offset);
        let key = key.into_inner().into_owned();
        let below = command.find_subcommand(&key).filter(|_| table != ALL);
        if let (Some(below), DeValue::Table(_)) = (below, value.get_ref()) {
            let DeValue::Table(entries) = value.into_inner() else { continue };
            add(settings, place, &format!("{table}.{key}"), entries, &[below])?;
            continue;
        }
        let is_known = if table == ALL { anywhere(command, &key) } else { find(command, &key).is_some() };
        if !is_known {
            refuse_secret(&key, &at)?;
            let mut names = Vec::new();
            names_of(command, table == ALL, &mut names);
            let whose = if table == ALL { "no command has".to_owned() } else { format!("{} has no", table.replace('.', " ")) };
            bail!("{at}: {whose} flag --{key}{}", meant(&key, names.iter().map(String::as_str)));
        }
        let span = value.span();
        let value = read_value(value, &key, &at)?;
        let looks_secret = |value: &Value| match value {
            Value::Flag(_) => false,
            Value::Text(text) => secrets::is_secret_value(text),
            Value::List(texts) => texts.iter().any(|text| secrets::is_secret_value(text)),
        };
        if looks_secret(&value) {
            bail!(
                "{at}: the value of {key} looks like a secret (it is not shown); secrets stay in the environment or in files of their own"
            );
        }
        let text = place.text[span].split_whitespace().collect::<Vec<_>>().join(" ");
        let line = place.line(offset);
        settings.push(Setting { file: place.path.to_owned(), line, table: table.to_owned(), key, value, text });
    }
    Ok(())
}

fn refuse_secret(key: &str, at: &str) -> anyhow::Result<()> {
    if secrets::is_secret_key(key) {
        bail!(
            "{at}: {key} looks like a secret, and a file of settings holds none: set a variable of the environment instead \
             (HF_TOKEN for the model hub, the variable of its provider for a language model)"
        );
    }
    Ok(())
}

fn read_value(value: Spanned<DeValue<'_>>, key: &str, at: &str) -> anyhow::Result<Value> {
    let wrong =
        |found: &str| anyhow::anyhow!("{at}: {key}: expected a text, a number, true, false or a list of texts and numbers, found {found}");
    Ok(match value.into_inner() {
        DeValue::Boolean(is_on) => Value::Flag(is_on),
        DeValue::Array(items) => {
            let text = |item: Spanned<DeValue<'_>>| scalar(item.into_inner()).ok_or_else(|| wrong("a list of something else"));
            Value::List(items.into_iter().map(text).collect::<anyhow::Result<_>>()?)
        }
        DeValue::Table(_) => return Err(wrong("a table")),
        other => Value::Text(scalar(other).ok_or_else(|| wrong("something else"))?),
    })
}

/// A text or a number, as it would be typed.
fn scalar(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        // A date such as finetune's --date takes.
        DeValue::Datetime(date) => Some(date.to_string()),
        _ => None,
    }
}

/// Whether a command or one below it has a flag.
fn anywhere(command: &Command, key: &str) -> bool {
    find(command, key).is_some() || command.get_subcommands().any(|below| anywhere(below, key))
}

/// The long names of a command's flags, and perhaps those of the commands below it.
fn names_of(command: &Command, deep: bool, names: &mut Vec<String>) {
    names.extend(command.get_arguments().filter_map(Arg::get_long).filter(|name| find(command, name).is_some()).map(str::to_owned));
    if deep {
        command.get_subcommands().for_each(|below| names_of(below, true, names));
    }
}

/// `; did you mean A?`, or nothing where no name is near.
fn meant<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> String {
    let typed = typed.replace('_', "-").to_ascii_lowercase();
    let near = names.map(|name| (strsim::damerau_levenshtein(&typed, name), name)).min();
    match near {
        // Half the letters may be wrong.
        Some((distance, name)) if distance <= typed.chars().count().max(name.len()) / 2 => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

impl Setting {
    /// `FILE:LINE`.
    pub(crate) fn origin(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }

    /// Refuses what would send a key or a password where the owner of the folder wants.
    pub(super) fn check_of_a_working_folder(&self) -> anyhow::Result<()> {
        let sends_nothing = self.value == Value::Flag(false) || (self.key == "store" && !self.text.contains("://"));
        if super::SENT_TO.contains(&self.key.as_str()) && !sends_nothing {
            bail!(
                "{}: {} says where keys and passwords are sent, so it is not read from the {} of a working folder; put it into your own folder of settings, or name this file with --settings",
                self.origin(),
                self.key,
                super::FILE
            );
        }
        Ok(())
    }

    /// The words that set the same on the command line.
    pub(super) fn tokens(&self, argument: &Arg) -> anyhow::Result<Vec<OsString>> {
        let long = argument.get_long().unwrap_or(&self.key);
        let at = self.origin();
        let takes_list = matches!(argument.get_action(), ArgAction::Append);
        let takes_value = argument.get_action().takes_values();
        Ok(match &self.value {
            Value::Flag(is_on) if !takes_value => {
                if *is_on {
                    vec![format!("--{long}").into()]
                } else {
                    Vec::new()
                }
            }
            Value::Text(_) | Value::List(_) if !takes_value => {
                bail!("{at}: {long} is on or off: expected true or false, found {}", self.text)
            }
            Value::Flag(is_on) => {
                let values = argument.get_possible_values();
                let values: Vec<&str> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
                let known = if values.is_empty() { String::new() } else { format!(" (one of {})", values.join(", ")) };
                bail!("{at}: {long} has a value: expected a text or a number{known}, found {is_on}")
            }
            Value::List(_) if !takes_list => bail!("{at}: {long} has one value: expected a text or a number, found a list"),
            Value::Text(text) => vec![format!("--{long}={text}").into()],
            Value::List(texts) => texts.iter().map(|text| format!("--{long}={text}").into()).collect(),
        })
    }
}
