//! `--show-config`: the values that a command would use, and where each is from. What is printed can itself be a file of settings.

use std::fmt::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::{NOT_IN_FILES, Resolved, find, leaf, secrets};
use crate::terminal;

/// Prints them.
pub(crate) fn print(command: &Command, resolved: &Resolved, matches: &ArgMatches) -> anyhow::Result<()> {
    let Some((leaf, given)) = leaf(command, matches) else { return Ok(()) };
    let mut path = Vec::new();
    let mut below = matches;
    while let Some((name, next)) = below.subcommand() {
        path.push(name);
        below = next;
    }
    let mut lines = Vec::new();
    for argument in leaf.get_arguments().filter(|argument| !NOT_IN_FILES.contains(&argument.get_id().as_str())) {
        lines.push(line(leaf, argument, given, resolved));
    }
    let width = lines.iter().filter(|(text, _)| !text.starts_with('#')).map(|(text, _)| text.chars().count()).max().unwrap_or(0).min(60);
    let mut text = format!("[{}]\n", path.join("."));
    for (value, origin) in lines {
        let _ = writeln!(text, "{value:<width$}  # {origin}");
    }
    terminal::print(&text)
}

/// A value with its key, and where it is from.
fn line(leaf: &Command, argument: &Arg, given: &ArgMatches, resolved: &Resolved) -> (String, String) {
    let id = argument.get_id().as_str();
    let name = argument.get_long().map_or_else(|| format!("# {}", id.to_ascii_uppercase()), str::to_owned);
    let values: Vec<String> =
        given.get_raw(id).map(|values| values.map(|value| secrets::redacted(&value.to_string_lossy())).collect()).unwrap_or_default();
    let from_file = resolved.added.iter().find(|setting| find(leaf, &setting.key).is_some_and(|other| other.get_id().as_str() == id));
    let origin = match given.value_source(id) {
        Some(ValueSource::CommandLine) => from_file.map_or_else(|| "command line".to_owned(), super::Setting::origin),
        Some(_) => "default".to_owned(),
        None => return (format!("# {}", name.trim_start_matches("# ")), "not set".to_owned()),
    };
    let value = if !argument.get_action().takes_values() {
        given.get_flag(id).to_string()
    } else if matches!(argument.get_action(), clap::ArgAction::Append) {
        format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", "))
    } else {
        values.first().map(|value| quoted(value)).unwrap_or_default()
    };
    // A flag that was typed without its value.
    if value.is_empty() {
        return (format!("# {name}"), origin);
    }
    (format!("{name} = {value}"), origin)
}

/// A value as TOML has it.
fn quoted(value: &str) -> String {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0') || digits.starts_with("0."))
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && value.len() < 18
        && value.parse::<f64>().is_ok();
    if is_number { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_are_toml() {
        for (value, expected) in [
            ("5", "5"),
            ("-0.5", "-0.5"),
            ("0", "0"),
            ("1.0", "1.0"),
            ("007", "\"007\""),
            ("a\"b", "\"a\\\"b\""),
            ("2e-4", "\"2e-4\""),
            (".5", "\".5\""),
            ("1.2.3", "\"1.2.3\""),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
