//! A conversation on standard input: each line a question, asked with everything said before it.

use std::io::{self, BufRead as _};

use anyhow::Context as _;
use dyag_text::{Message, Role};
use serde_json::json;

use super::stream_answer;
use crate::language::say;
use crate::session::Session;
use crate::terminal;

/// Answers line after line until an empty one or the end of the input.
pub(super) fn hold(session: &Session, json: bool, verbose: bool) -> anyhow::Result<()> {
    let person = terminal::stdin_is_terminal();
    if person {
        terminal::note(say!(
            "One question a line; an empty line ends the conversation.",
            "Une question par ligne ; une ligne vide termine la conversation."
        ));
    }
    let mut turns: Vec<Message> = Vec::new();
    loop {
        if person {
            terminal::prompt("> ");
        }
        let Some(question) = next_line()? else { return Ok(()) };
        turns.push(Message::new(Role::User, question.clone()));
        let answer = if json {
            let answer = session.answer(&turns, &mut |_| Ok(()))?;
            let mut document = json!({ "question": question });
            if let Some(keys) = document.as_object_mut() {
                keys.extend(answer.to_json());
            }
            terminal::print_line(document)?;
            answer
        } else {
            stream_answer(session, &turns)?
        };
        if verbose {
            terminal::note(answer.rates());
        }
        turns.push(Message::new(Role::Assistant, answer.text));
    }
}

/// The next question; none at an empty line or the end of the input.
pub(crate) fn next_line() -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read the question from standard input")?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}
