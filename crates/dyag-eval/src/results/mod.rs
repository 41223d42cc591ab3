//! The results of an evaluation: one schema for every way of answering.
//!
//! A file is one JSON object: `metadata` says who answered what, how and where; `metrics` holds figures over the set; `results` has a row for
//! each question. It holds every key of the two kinds of files that the original program wrote, with their meaning (shares over the set
//! are percentages, metrics of a row go from 0 to 1), and [`Results::read`] reads both of those kinds too.
//!
//! Rows are read one at a time: beside the rows themselves, one row's JSON is in memory. A row takes about 0.7 kilobytes and its texts.

mod error;
mod fields;
mod non_finite;
mod read;
mod summary;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use error::ResultsError;

/// What `schema` says in the files that [`Results::write`] writes.
pub const SCHEMA: &str = "dyag-results/1";

/// The results of one way of answering a set of questions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Who answered what, how and where.
    pub metadata: Metadata,
    /// Figures over the set.
    pub metrics: SetMetrics,
    /// A row for each question; may be empty in files that hold figures over the set alone.
    pub results: Vec<Row>,
}

/// A way of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// A model as it came.
    Base,
    /// A model that learned from the documents.
    Finetuned,
    /// A model that is shown passages found by a search.
    Rag,
    /// A fine-tuned model that is shown passages.
    Hybrid,
    /// A model behind a server.
    Remote,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Base, Self::Finetuned, Self::Rag, Self::Hybrid, Self::Remote];

    /// As it stands in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Finetuned => "finetuned",
            Self::Rag => "rag",
            Self::Hybrid => "hybrid",
            Self::Remote => "remote",
        }
    }

    /// Whether answers come from passages that were found first.
    pub const fn retrieves(self) -> bool {
        matches!(self, Self::Rag | Self::Hybrid)
    }
}

/// Who answered what, how and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Metadata {
    /// The way of answering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// The model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// The file of questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// SHA-256 of that file, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset_sha256: Option<String>,
    /// Number of questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_questions: Option<u64>,
    /// When the first question was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When the file was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluated_at: Option<String>,
    /// How long the whole evaluation took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// What the model was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_set: Option<TrainingFile>,
    /// How long the model was trained before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_seconds: Option<f64>,
    /// The most memory that was in use at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Settings: temperature, most tokens, passages shown, and so on.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The machine.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub machine: Map<String, Value>,
    /// Versions of programs and formats.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub versions: Map<String, Value>,
    /// Every other key that was found.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The file a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrainingFile {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// Figures over a set. Those whose name ends in `_rate` are percentages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetMetrics {
    /// Figures by name.
    pub values: BTreeMap<String, f64>,
    /// How figures were computed, by name.
    pub signatures: BTreeMap<String, String>,
    /// Every other key that was found.
    pub other: Map<String, Value>,
}

/// A question and its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The question's id in its file.
    pub id: Option<String>,
    /// The question.
    pub question: String,
    /// What the answer should be; none when the documents do not say.
    pub expected_answer: Option<String>,
    /// What was answered; none when nothing was.
    pub generated_answer: Option<String>,
    /// Scores of the answer by name: from 0 to 1 unless a metric says otherwise, 1 and 0 for yes and no.
    pub metrics: BTreeMap<Arc<str>, f64>,
    /// What kind of fact is asked for.
    pub category: Option<Arc<str>>,
    /// How hard the question is.
    pub difficulty: Option<Arc<str>>,
    /// The document the question is about.
    pub document: Option<Arc<str>>,
    /// Ids of the chunks that hold the answer.
    pub gold_chunk_ids: Vec<String>,
    /// The passages that were shown to the model, best first; none when the arm shows none or did not write them down.
    pub sources: Option<Vec<Source>>,
    /// How long the answer took; of several answered together, each its part.
    pub time_seconds: Option<f64>,
    /// How long the first token took after the question was taken up.
    pub first_token_seconds: Option<f64>,
    /// How long the answer took after the question was taken up; more than `time_seconds` where several were answered together.
    pub latency_seconds: Option<f64>,
    /// Tokens in all, where only that is known. See [`Row::total_tokens`].
    pub tokens: Option<u64>,
    /// Tokens of the prompt.
    pub tokens_in: Option<u64>,
    /// Tokens of the answer.
    pub tokens_out: Option<u64>,
    /// What went wrong, when nothing could be answered.
    pub error: Option<String>,
    /// Every other key that was found.
    pub other: Map<String, Value>,
}

impl Row {
    /// Tokens of prompt and answer; where only one of them was counted, that one.
    pub fn total_tokens(&self) -> Option<u64> {
        let sum = || match (self.tokens_in, self.tokens_out) {
            (None, None) => None,
            (given, made) => Some(given.unwrap_or(0).saturating_add(made.unwrap_or(0))),
        };
        self.tokens.or_else(sum)
    }
}

impl Row {
    /// The passages that the model was shown: all that were found, unless some are marked as shown and others as not.
    pub fn shown_sources(&self) -> Option<Vec<&Source>> {
        let sources = self.sources.as_deref()?;
        let is = |source: &Source, shown: bool| source.other.get("shown").is_some_and(|value| *value == shown);
        let some_shown = sources.iter().any(|source| is(source, true));
        Some(sources.iter().filter(|source| !(some_shown && is(source, false))).collect())
    }
}

/// A passage that was shown to a model. One of which only the id is known is a string in files.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Source {
    /// The chunk's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The document it is from, as the chunk's `source_id` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How well it fits, as the search said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Every other key that was found.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
