//! Files of questions: answering them, and counting exact answers.

use std::path::Path;
use std::time::Instant;

use dyag_model::files::write_atomically;
use dyag_text::Message;
use dyag_text::dataset::Question;
use serde_json::{Value, json};

use crate::language::say;
use crate::session::Session;
use crate::terminal;

/// Whether an answer is the expected one but for the space around it and the case of its letters.
pub(crate) fn is_exact(answer: &str, expected: &str) -> bool {
    fold(answer) == fold(expected)
}

fn fold(text: &str) -> String {
    // Unicode's full case folding differs from lower case in a few letters; sharp s is the one that occurs.
    text.trim().to_lowercase().replace('ß', "ss")
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
            return say!(
                "{questions} questions answered; none has an expected answer",
                "{questions} questions répondues ; aucune n'a de réponse attendue"
            );
        }
        say!(
            "{exact} of {with_expected_answer} questions with an expected answer are answered exactly (space around and case aside)",
            "{exact} des {with_expected_answer} questions à réponse attendue ont la réponse exacte (aux espaces autour et à la casse près)"
        )
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
        let (n_answers, rate) = (rows.len(), progress.n_tokens as f64 / seconds);
        terminal::note(say!(
            "{n_answers} answers in {seconds:.1} s, {rate:.1} tokens/s",
            "{n_answers} réponses en {seconds:.1} s, {rate:.1} jetons/s"
        ));
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
            terminal::note(say!("{} tokens in {seconds:.0} s", "{} jetons en {seconds:.0} s", self.n_tokens));
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
        Some(path) => terminal::print_line(say!("{}\nanswers: {}", "{}\nréponses : {}", count.sentence(), path.display())),
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
    fn exact_but_for_space_and_case() {
        assert!(is_exact(" En PRODUCTION\n", "en production"));
        assert!(is_exact("ÉTÉ", "été"));
        assert!(is_exact("STRASSE", "Straße"));
        assert!(!is_exact("En production.", "En production"));
        assert!(!is_exact("En  production", "En production"));
    }
}
