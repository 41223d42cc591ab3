//! What was answered so far, on the disk: a run that was killed goes on where it was.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::language::say;
use crate::retrieval::Choice;
use crate::terminal;

/// One answer, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Answered {
    /// The question's place in the set, from 0.
    pub(super) index: usize,
    pub(super) answer: Option<String>,
    pub(super) error: Option<String>,
    pub(super) stopped: String,
    pub(super) tokens_in: Option<u64>,
    pub(super) tokens_out: Option<u64>,
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) first_token_seconds: Option<f64>,
    #[serde(default)]
    pub(super) latency_seconds: Option<f64>,
    /// Which of two answers it is, where two were given.
    #[serde(default)]
    pub(super) choice: Option<Choice>,
}

impl Answered {
    /// An answer that no model was asked for.
    pub(super) fn given(index: usize, answer: String) -> Self {
        Self { answer: Some(answer), error: None, ..Self::failure(index, String::new()) }
    }

    /// A question that could not be asked.
    pub(super) fn failure(index: usize, error: String) -> Self {
        Self {
            index,
            answer: None,
            error: Some(error),
            stopped: "not asked".to_owned(),
            tokens_in: None,
            tokens_out: None,
            seconds: 0.0,
            first_token_seconds: None,
            latency_seconds: None,
            choice: None,
        }
    }
}

/// The file beside the output that holds the answers so far, a line each, after a line that says what they depend on.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    answered: BTreeMap<usize, Answered>,
}

fn path_of(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(".partial.jsonl");
    output.with_file_name(name)
}

impl Journal {
    /// Opens the journal of an output: the one an interrupted run left, when its answers depend on the same things, else a new one.
    pub(super) fn open(output: &Path, identity: &Value, restart: bool) -> anyhow::Result<Self> {
        let path = path_of(output);
        let mut answered = BTreeMap::new();
        let mut whole = 0;
        if path.exists() && !restart {
            let mut reader = BufReader::new(File::open(&path).with_context(|| format!("cannot read {}", path.display()))?);
            let mut line = String::new();
            let mut is_first = true;
            // The last line may have been cut by the kill: it counts when it ends with a line end and parses.
            while reader.read_line(&mut line).with_context(|| format!("cannot read {}", path.display()))? > 0 {
                if !line.ends_with('\n') {
                    break;
                }
                if is_first {
                    let found: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
                    if found["identity"] != *identity {
                        bail!(
                            "{} holds answers of an interrupted run with another model, question set or settings; add --restart to discard them, or write to another --output",
                            path.display()
                        );
                    }
                    is_first = false;
                } else if let Ok(one) = serde_json::from_str::<Answered>(&line) {
                    answered.insert(one.index, one);
                } else {
                    break;
                }
                whole += line.len() as u64;
                line.clear();
            }
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.set_len(whole).with_context(|| format!("cannot write {}", path.display()))?;
        let mut journal = Self { file, path, answered };
        std::io::Seek::seek(&mut journal.file, std::io::SeekFrom::End(0))
            .with_context(|| format!("cannot write {}", journal.path.display()))?;
        if whole == 0 {
            journal.append(&format!("{}\n", json!({ "identity": identity })))?;
        } else if !journal.answered.is_empty() {
            terminal::note(say!(
                "going on with {} answers of an interrupted run",
                "suite d'une exécution interrompue : {} réponses y sont déjà",
                journal.answered.len()
            ));
        }
        Ok(journal)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a question was answered.
    pub(super) fn has(&self, index: usize) -> bool {
        self.answered.contains_key(&index)
    }

    /// Keeps answers.
    pub(super) fn add(&mut self, answers: Vec<Answered>) -> anyhow::Result<()> {
        if answers.is_empty() {
            return Ok(());
        }
        let mut lines = String::new();
        for answer in answers {
            lines.push_str(&serde_json::to_string(&answer).context("cannot write an answer as JSON")?);
            lines.push('\n');
            self.answered.insert(answer.index, answer);
        }
        self.append(&lines)
    }

    fn append(&mut self, lines: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// All answers, in the order of the questions.
    pub(super) fn into_answers(self) -> BTreeMap<usize, Answered> {
        self.answered
    }

    /// Removes the journal of an output that is complete.
    pub(super) fn remove(output: &Path) {
        // One that stays is only asked about by the next run.
        let _ = fs::remove_file(path_of(output));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(index: usize) -> Answered {
        Answered {
            answer: Some("A".into()),
            error: None,
            stopped: "end of turn".into(),
            tokens_in: Some(3),
            ..Answered::failure(index, String::new())
        }
    }

    #[test]
    fn a_journal_cut_at_any_byte_gives_whole_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = folder.path().join("r.json");
        let identity = json!({ "a": 1 });
        let mut journal = Journal::open(&output, &identity, false).expect("a journal");
        journal.add(vec![answered(0), answered(1)]).expect("kept");
        journal.add(vec![answered(5)]).expect("kept");
        let bytes = fs::read(path_of(&output)).expect("a file");
        for cut in 0..=bytes.len() {
            fs::write(path_of(&output), &bytes[..cut]).expect("cut");
            let mut journal = Journal::open(&output, &identity, false).unwrap_or_else(|error| panic!("{cut}: {error}"));
            let lines = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(journal.answered.len(), lines.saturating_sub(1), "{cut}");
            journal.add(vec![answered(9)]).expect("kept");
            drop(journal);
            assert!(Journal::open(&output, &identity, false).expect("again").has(9), "{cut}");
        }
        assert!(Journal::open(&output, &json!({ "a": 2 }), false).is_err());
        assert!(Journal::open(&output, &json!({ "a": 2 }), true).expect("anew").answered.is_empty());
    }
}
