//! Standard tasks: questions with choices that are told apart by likelihood, and questions whose answer is generated.
//!
//! A task is a TOML file with the keys that tasks of lm-evaluation-harness have, and a local file of JSON objects, its documents. [`Task::load`] reads both;
//! [`Task::items`] gives the texts that a model is asked to score or to continue; [`Task::score`] makes figures of what it said. Which model that is, and how
//! texts become tokens, is the caller's business.

mod error;
mod items;
mod score;
mod task;
mod template;
#[cfg(test)]
mod tests;

pub use error::BenchmarkError;
pub use items::Item;
pub use score::{Figure, Outcome, Scores, TextLikelihood};
pub use task::{GenerationKeywords, OutputType, Task, TaskFile};
