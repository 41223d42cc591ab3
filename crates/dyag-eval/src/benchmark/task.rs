//! A task as its file describes it, with its documents.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_text::{JsonObjects, PlacedObject};
use regex::Regex;
use serde::Deserialize;

use super::BenchmarkError;

/// How a model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// The likeliest of several choices.
    MultipleChoice,
    /// The likelihood of one continuation, and whether it is the likeliest one.
    Loglikelihood,
    /// A text, until something stops it.
    GenerateUntil,
}

/// An expression: a text, a number or a list of texts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Expression {
    Text(String),
    Number(i64),
    List(Vec<String>),
}

/// How an answer is generated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationKeywords {
    /// Texts that end an answer, and are no part of it.
    #[serde(default)]
    pub until: Vec<String>,
    /// The longest answer, in tokens.
    #[serde(default)]
    pub max_gen_toks: Option<usize>,
}

/// The keys of a task's file, under the names of lm-evaluation-harness.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// Its name.
    pub task: String,
    /// File of its documents, from where the task's file is.
    pub dataset_path: PathBuf,
    /// File of solved examples.
    #[serde(default)]
    pub fewshot_path: Option<PathBuf>,
    /// How a model answers.
    pub output_type: OutputType,
    /// Stands before everything else.
    #[serde(default)]
    pub description: String,
    pub(super) doc_to_text: String,
    #[serde(default)]
    pub(super) doc_to_choice: Option<Expression>,
    pub(super) doc_to_target: Expression,
    #[serde(default = "space")]
    pub(super) target_delimiter: String,
    #[serde(default = "empty_line")]
    pub(super) fewshot_delimiter: String,
    /// How many solved examples stand before each question: the first of `fewshot_path`.
    #[serde(default)]
    pub num_fewshot: usize,
    /// How an answer is generated.
    #[serde(default)]
    pub generation_kwargs: GenerationKeywords,
    #[serde(default)]
    pub(super) answer_pattern: Option<String>,
    #[serde(default)]
    pub(super) ignore_case: bool,
    #[serde(default)]
    pub(super) ignore_punctuation: bool,
}

fn space() -> String {
    " ".to_owned()
}

fn empty_line() -> String {
    "\n\n".to_owned()
}

/// A task with its documents.
#[derive(Debug)]
pub struct Task {
    /// What its file says.
    pub file: TaskFile,
    /// SHA-256 of the file of documents, in hexadecimal.
    pub dataset_sha256: String,
    pub(super) path: PathBuf,
    pub(super) documents: Vec<PlacedObject>,
    pub(super) fewshot: Vec<PlacedObject>,
    pub(super) pattern: Option<Regex>,
}

impl Task {
    /// Reads a task and its documents; `num_fewshot` is in place of the task's own.
    ///
    /// # Errors
    /// Files that cannot be read or are no task or no JSON objects; keys that do not go together; fewer documents than are needed.
    pub fn load(path: &Path, num_fewshot: Option<usize>) -> Result<Self, BenchmarkError> {
        let text = std::fs::read_to_string(path).map_err(|source| BenchmarkError::Read { path: path.to_owned(), source })?;
        let mut file: TaskFile = toml::from_str(&text)
            .map_err(|error| BenchmarkError::Toml { path: path.to_owned(), problem: error.to_string().trim_end().to_owned() })?;
        file.num_fewshot = num_fewshot.unwrap_or(file.num_fewshot);
        let key = |key, problem: &str| BenchmarkError::Key { path: path.to_owned(), key, problem: problem.to_owned() };
        if file.task.trim().is_empty() {
            return Err(key("task", "expected a name, found an empty text"));
        }
        match (file.output_type, &file.doc_to_choice) {
            (OutputType::MultipleChoice, None) => {
                return Err(key("doc_to_choice", "a multiple_choice task needs it: a field that holds a list, or a list"));
            }
            (OutputType::Loglikelihood | OutputType::GenerateUntil, Some(_)) => {
                return Err(key("doc_to_choice", "only multiple_choice tasks have choices"));
            }
            _ => {}
        }
        if file.num_fewshot > 0 && file.fewshot_path.is_none() {
            return Err(key("fewshot_path", "num_fewshot needs a file of solved examples, so that no document is its own example"));
        }
        let pattern = file.answer_pattern.as_deref().map(Regex::new).transpose();
        let pattern = pattern.map_err(|error| key("answer_pattern", &error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let dataset = folder.join(&file.dataset_path);
        let documents = read(&dataset)?;
        if documents.is_empty() {
            return Err(BenchmarkError::TooFew { path: dataset, expected: 1, found: 0 });
        }
        let bytes = std::fs::read(&dataset).map_err(|source| BenchmarkError::Read { path: dataset.clone(), source })?;
        let mut fewshot = match (&file.fewshot_path, file.num_fewshot) {
            (Some(path), 1..) => read(&folder.join(path))?,
            _ => Vec::new(),
        };
        if fewshot.len() < file.num_fewshot {
            let path = folder.join(file.fewshot_path.as_deref().unwrap_or(Path::new("")));
            return Err(BenchmarkError::TooFew { path, expected: file.num_fewshot, found: fewshot.len() });
        }
        fewshot.truncate(file.num_fewshot);
        Ok(Self { file, dataset_sha256: dyag_text::sha256_hex(&bytes), path: path.to_owned(), documents, fewshot, pattern })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.file.task
    }

    /// How many documents it has.
    pub fn n_documents(&self) -> usize {
        self.documents.len()
    }
}

fn read(path: &Path) -> Result<Vec<PlacedObject>, BenchmarkError> {
    let file = File::open(path).map_err(|error| dyag_text::TextError::read(path, error))?;
    let mut reader = JsonObjects::new(BufReader::new(file), &Arc::from(path));
    let mut documents = Vec::new();
    while let Some(document) = reader.next_object()? {
        documents.push(document);
    }
    Ok(documents)
}
