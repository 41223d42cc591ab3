//! Everything that is printed: results on stdout, the rest on stderr.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

use crate::cli::ColorChoice;

/// The reader of stdout went away; the program then ends quietly.
#[derive(Debug)]
pub(crate) struct ClosedPipe;

impl fmt::Display for ClosedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of standard output went away")
    }
}

impl std::error::Error for ClosedPipe {}

/// Writes part of a result to stdout at once, without a line end.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Writes a line of a result to stdout.
pub(crate) fn print_line(line: impl fmt::Display) -> anyhow::Result<()> {
    print(&format!("{line}\n"))
}

/// Writes a result for machines to stdout: one JSON document and a line end.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot write the result as JSON")?;
    // JSON escapes the first 32 control characters; a terminal obeys others too.
    let is_left = |c: char| is_obeyed(c);
    if !text.contains(is_left) {
        return print_line(text);
    }
    let escaped = text.chars().map(|c| if is_left(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() });
    print_line(escaped.collect::<String>())
}

/// Whether `--quiet` was asked for.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on nothing is told but what went wrong.
pub(crate) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Whether nothing is told but what went wrong.
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Tells the person something on stderr, unless that was not wanted.
pub(crate) fn note(line: impl fmt::Display) {
    if !is_quiet() {
        complain(line);
    }
}

/// Says on stderr what went wrong, or why the answer is no: `--quiet` does not keep it back. That nobody can read stderr is no reason to stop.
pub(crate) fn complain(line: impl fmt::Display) {
    let line = line.to_string();
    let _ = writeln!(io::stderr().lock(), "{}", if io::stderr().is_terminal() { shown(&line) } else { Cow::Borrowed(line.as_str()) });
}

/// Prints an error and what caused it.
pub(crate) fn report(error: &anyhow::Error) {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !last.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
        last = cause;
    }
    complain(text);
}

/// Asks for a line on stderr, without a line end.
pub(crate) fn prompt(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// A model's text for stdout. On a terminal, control characters other than line ends and tabs are shown, not obeyed.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { shown(text) } else { Cow::Borrowed(text) }
}

/// A text in which characters that a terminal obeys are shown.
fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_obeyed(c) { char::REPLACEMENT_CHARACTER } else { c }).collect())
}

/// Control characters other than line ends and tabs, and those that turn the direction of writing around.
fn is_obeyed(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a person types on stdin.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether progress bars are drawn: where a person looks at stderr and did not ask for silence.
pub(crate) fn draws_bars() -> bool {
    io::stderr().is_terminal() && !is_quiet()
}

/// Colours of what is printed on stdout, when there are any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// Colours as asked for; `auto` has them on a terminal that knows them, unless NO_COLOR is set (<https://no-color.org>).
    pub(crate) fn new(choice: ColorChoice) -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = || env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let is_on = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb(),
        };
        Self { is_on }
    }

    /// Whether there are colours.
    pub(crate) fn is_on(self) -> bool {
        self.is_on
    }

    /// What is as it should be, or learned: green.
    pub(crate) fn good(self, text: &str) -> String {
        self.colored("1;32", text)
    }

    /// What is wrong: red.
    pub(crate) fn bad(self, text: &str) -> String {
        self.colored("1;31", text)
    }

    /// What deserves a look: yellow.
    pub(crate) fn doubtful(self, text: &str) -> String {
        self.colored("1;33", text)
    }

    /// What matters less: pale.
    pub(crate) fn faint(self, text: &str) -> String {
        self.colored("2", text)
    }

    fn colored(self, code: &str, text: &str) -> String {
        if self.is_on && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(shown("a\tb\né"), "a\tb\né");
        for obeyed in ["\u{1b}[31m", "\u{7}", "\u{9b}31m", "\u{7f}", "\r", "\u{202e}", "\u{2066}"] {
            let text = format!("a{obeyed}b");
            assert!(!shown(&text).contains(is_obeyed) && shown(&text).starts_with("a\u{fffd}"), "{obeyed:?}");
        }
    }
}
