//! `--against`: questions that two files share; the exit status says whether there are any.

use std::path::Path;
use std::process::ExitCode;

use dyag_text::TextError;
use dyag_text::dataset::{Leak, Purpose, Row, RowReader, find_leaks};
use serde_json::{Value, json};

use super::MAX_LISTED;
use super::dataset::place;
use super::facts::{excerpt, one_line};
use crate::language::say;
use crate::terminal;

pub(super) fn run(path: &Path, other: &Path, similarity: f64, json: bool) -> anyhow::Result<ExitCode> {
    let (rows, others) = (read(path)?, read(other)?);
    let leaks = find_leaks(&rows, &others, similarity);
    let n_same = leaks.iter().filter(|leak| leak.is_same_wording()).count();
    if json {
        let listed: Vec<Value> = leaks.iter().map(to_json).collect();
        terminal::print_json(&json!({
            "dataset": path.display().to_string(),
            "n_rows": rows.len(),
            "against": other.display().to_string(),
            "n_against_rows": others.len(),
            "similarity": similarity,
            "n_leaks": leaks.len(),
            "n_same_wording": n_same,
            "leaks": listed,
        }))?;
    } else {
        for leak in leaks.iter().take(MAX_LISTED) {
            terminal::print_line(in_words(leak))?;
        }
        if leaks.len() > MAX_LISTED {
            terminal::print_line(say!(
                "... and {} more (--json lists all)",
                "... et {} autres (--json donne tout)",
                leaks.len() - MAX_LISTED
            ))?;
        }
        terminal::print_line(say!(
            "{} ({} rows) against {} ({} rows): {} leaks, {n_same} of them in the same words",
            "{} ({} lignes) comparé à {} ({} lignes) : {} fuites, dont {n_same} dans les mêmes mots",
            path.display(),
            rows.len(),
            other.display(),
            others.len(),
            leaks.len()
        ))?;
    }
    Ok(if leaks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All rows of a file. A row that cannot be read might be a leak, so it is an error here.
fn read(path: &Path) -> Result<Vec<Row>, TextError> {
    let mut reader = RowReader::open(path, Purpose::Questions)?;
    let mut rows = Vec::new();
    while let Some(read) = reader.next_row()? {
        rows.push(read.strict()?);
    }
    if rows.is_empty() {
        return Err(TextError::EmptyDataset { path: path.display().to_string() });
    }
    Ok(rows)
}

fn to_json(leak: &Leak) -> Value {
    let Leak { source, question, other_source, other_question, similarity } = leak;
    json!({
        source.unit.name(): source.line,
        "question": question,
        format!("against_{}", other_source.unit.name()): other_source.line,
        "against_question": other_question,
        "similarity": similarity,
    })
}

fn in_words(leak: &Leak) -> String {
    let Leak { source, question, other_source, other_question, similarity } = leak;
    let (source, other_source) = (place(source), place(other_source));
    let question = one_line(&excerpt(question, 100));
    if leak.is_same_wording() {
        return say!(
            "{source} asks what {other_source} asks: \"{question}\"",
            "{source} pose la même question que {other_source} : « {question} »"
        );
    }
    let other = one_line(&excerpt(other_question, 100));
    say!(
        "{source} asks nearly what {other_source} asks ({similarity:.2}): \"{question}\", \"{other}\"",
        "{source} pose presque la même question que {other_source} ({similarity:.2}) : « {question} », « {other} »"
    )
}
