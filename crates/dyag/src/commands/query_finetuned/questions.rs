//! Files of questions: reading them, and counting exact answers.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use dyag_model::files::write_atomically;
use dyag_text::{Message, Role};
use serde_json::{Map, Value, json};

use super::session::Session;
use crate::terminal;

/// One question of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// The turns before the answer; `messages` rows may open with a system message.
    pub(crate) turns: Vec<Message>,
    /// What the row says the answer should be.
    pub(crate) expected_answer: Option<String>,
    /// The whole row, to be written back with its answer.
    pub(crate) row: Map<String, Value>,
}

/// Reads a JSON Lines file whose rows have `question` and perhaps `expected_answer`, or `messages`, whose last assistant turn is then the
/// expected answer.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Question>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the questions in {}", path.display()))?;
    let mut questions = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        questions.push(parse(line).with_context(|| format!("{}, line {}", path.display(), index + 1))?);
    }
    if questions.is_empty() {
        bail!("{} is empty: expected one JSON object a line, with `question` or `messages`", path.display());
    }
    Ok(questions)
}

fn parse(line: &str) -> anyhow::Result<Question> {
    let value: Value = serde_json::from_str(line).context("not a JSON object")?;
    let Value::Object(row) = value else { bail!("expected a JSON object, found {}", kind(&value)) };
    if let Some(question) = row.get("question") {
        let question = text_of(question, "question")?.to_owned();
        let expected_answer = match row.get("expected_answer") {
            None | Some(Value::Null) => None,
            Some(answer) => Some(text_of(answer, "expected_answer")?.to_owned()),
        };
        return Ok(Question { turns: vec![Message::new(Role::User, question)], expected_answer, row });
    }
    let Some(messages) = row.get("messages") else { bail!("expected a key `question` or `messages`, found {}", keys(&row)) };
    let Value::Array(messages) = messages else { bail!("`messages` should be a list, found {}", kind(messages)) };
    let mut turns = Vec::with_capacity(messages.len());
    for message in messages {
        let role = match text_of(message.get("role").unwrap_or(&Value::Null), "role")? {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => bail!("unknown role {other:?} in `messages`: expected system, user or assistant"),
        };
        turns.push(Message::new(role, text_of(message.get("content").unwrap_or(&Value::Null), "content")?));
    }
    let expected_answer = match turns.last() {
        Some(Message { role: Role::Assistant, .. }) => turns.pop().map(|answer| answer.content),
        _ => None,
    };
    if turns.last().is_none_or(|turn| turn.role != Role::User) {
        bail!("`messages` should hold a user turn before the answer");
    }
    Ok(Question { turns, expected_answer, row })
}

fn text_of<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value.as_str().with_context(|| format!("`{key}` should be a text, found {}", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn keys(row: &Map<String, Value>) -> String {
    if row.is_empty() {
        return "no key".to_owned();
    }
    row.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// Whether an answer is the expected one but for the space around it and the case of its letters.
pub(crate) fn is_exact(answer: &str, expected: &str) -> bool {
    fold(answer) == fold(expected)
}

fn fold(text: &str) -> String {
    // Unicode's full case folding differs from lower case in a few letters; sharp s is the one that occurs.
    text.trim().to_lowercase().replace('ß', "ss")
}

/// Refuses an output file that cannot be written, before hours are spent on its content.
pub(super) fn check_output(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("cannot write the answers to {}: it is a folder, expected the name of a file", path.display());
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        Ok(facts) if facts.is_dir() => Ok(()),
        Ok(_) => bail!("cannot write the answers to {}: {} is not a folder", path.display(), folder.display()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot write the answers to {}: its folder {}", path.display(), folder.display()))
        }
    }
}

/// What a file of questions came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    questions: usize,
    with_expected_answer: usize,
    exact: usize,
}

impl Count {
    fn sentence(self) -> String {
        let Self { questions, with_expected_answer, exact } = self;
        if with_expected_answer == 0 {
            return format!("{questions} questions answered; none has an expected answer");
        }
        format!("{exact} of {with_expected_answer} questions with an expected answer are answered exactly (space around and case aside)")
    }
}

/// Answers the questions, prints or writes the rows, and says how many answers are exactly what was expected.
pub(super) fn answer_all(
    session: &Session,
    questions: Vec<Question>,
    output: Option<&Path>,
    batch_size: usize,
    json: bool,
    verbose: bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let conversations: Vec<&[Message]> = questions.iter().map(|question| question.turns.as_slice()).collect();
    let mut progress = Progress { start, told: start, n_tokens: 0, shown: verbose };
    let answers = session.answer_all(&conversations, batch_size, &mut || progress.token())?;
    let mut count = Count { questions: questions.len(), ..Count::default() };
    let mut rows = Vec::with_capacity(questions.len());
    for (question, answer) in questions.into_iter().zip(answers) {
        let mut row = question.row;
        row.extend(answer.to_json());
        if let Some(expected) = &question.expected_answer {
            let exact = is_exact(&answer.text, expected);
            count.with_expected_answer += 1;
            count.exact += usize::from(exact);
            row.insert("exact".to_owned(), exact.into());
        }
        rows.push(Value::Object(row));
    }
    let seconds = start.elapsed().as_secs_f64();
    if verbose {
        terminal::note(format!("{} answers in {seconds:.1} s, {:.1} tokens/s", rows.len(), progress.n_tokens as f64 / seconds));
    }
    if let Some(path) = output {
        write_atomically(path, |out| rows.iter().try_for_each(|row| writeln!(out, "{row}")))?;
    }
    if output.is_none() && !json {
        rows.iter().try_for_each(terminal::print_line)?;
    }
    print_count(session, count, rows, output, seconds, json)
}

/// Tells the person every ten seconds that work goes on.
struct Progress {
    start: Instant,
    told: Instant,
    n_tokens: usize,
    shown: bool,
}

impl Progress {
    fn token(&mut self) {
        self.n_tokens += 1;
        if self.shown && self.told.elapsed().as_secs() >= 10 {
            self.told = Instant::now();
            let seconds = self.start.elapsed().as_secs_f64();
            terminal::note(format!("{} tokens in {seconds:.0} s", self.n_tokens));
        }
    }
}

fn print_count(session: &Session, count: Count, rows: Vec<Value>, output: Option<&Path>, seconds: f64, json: bool) -> anyhow::Result<()> {
    let Count { questions, with_expected_answer, exact } = count;
    if json {
        let mut summary = json!({
            "model": session.adapter_name(),
            "base_model": session.base_name(),
            "kernel": session.kernel(),
            "n_questions": questions,
            "n_with_expected_answer": with_expected_answer,
            "n_exact": exact,
            "timing": { "seconds": seconds },
        });
        if output.is_none() {
            summary["results"] = Value::Array(rows);
        }
        return terminal::print_json(&summary);
    }
    match output {
        Some(path) => terminal::print_line(format!("{}\nanswers: {}", count.sentence(), path.display())),
        None => {
            terminal::note(count.sentence());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_row() {
        let plain = parse(r#"{"id": 3, "question": "Q ?", "expected_answer": "A"}"#).expect("a row");
        assert_eq!((plain.turns, plain.expected_answer), (vec![Message::new(Role::User, "Q ?")], Some("A".to_owned())));
        let open = parse(r#"{"question": "Q ?", "expected_answer": null}"#).expect("a row");
        assert_eq!(open.expected_answer, None);
        let chat = r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}"#;
        let chat = parse(chat).expect("a row");
        assert_eq!(chat.turns.len(), 2);
        assert_eq!(chat.expected_answer.as_deref(), Some("A"));
        let no_answer = parse(r#"{"messages": [{"role": "user", "content": "Q"}]}"#).expect("a row");
        assert_eq!((no_answer.turns.len(), no_answer.expected_answer), (1, None));
    }

    #[test]
    fn wrong_rows_say_what_was_found() {
        for (line, fragment) in [
            ("[1]", "a list"),
            ("{", "not a JSON object"),
            ("{\"q\": 1, \"r\": 2}", "`q`, `r`"),
            ("{\"question\": [\"a\"]}", "a list"),
            ("{\"question\": \"a\", \"expected_answer\": 3}", "`expected_answer` should be a text, found a number"),
            ("{\"messages\": {}}", "an object"),
            ("{\"messages\": []}", "a user turn"),
            ("{\"messages\": [4]}", "`role` should be a text, found nothing"),
            ("{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}", "\"tool\""),
            ("{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "a user turn"),
        ] {
            let message = format!("{:#}", parse(line).expect_err(line));
            assert!(message.contains(fragment), "{line}: {message}");
        }
    }

    #[test]
    fn exact_but_for_space_and_case() {
        assert!(is_exact(" En PRODUCTION\n", "en production"));
        assert!(is_exact("ÉTÉ", "été"));
        assert!(is_exact("STRASSE", "Straße"));
        assert!(!is_exact("En production.", "En production"));
        assert!(!is_exact("En  production", "En production"));
    }
}
