//! Training sets and question sets made from chunks and catalogues.
//!
//! The way through it: [`Rules`] (an editable file) say which fields a passage may hold and how they are asked for; [`documents`](Document) group chunks;
//! [`extract`] finds [`Fact`]s, each with the chunk that supports it; [`TrainingSet::build`] words them, keeps what is sound, spreads it over the documents and divides it
//! into parts; [`question_set`] makes the questions of an evaluation.

mod candidates;
mod catalogue;
mod context;
mod document;
mod entries;
mod facts;
mod fields;
mod labelled;
mod model;
mod parts;
mod placeholders;
mod quality;
mod questions;
mod random;
mod report;
mod rules;
mod similar;
mod training;
mod wording;

pub use catalogue::catalogue;
pub use context::{Context, ContextKind, ContextOptions};
pub use document::{Document, documents};
pub use facts::{Fact, FactKind, extract};
pub use model::{ModelAnswers, ModelFacts, ModelOptions, ModelWork, facts_by_model};
pub use parts::{Part, Split};
pub(crate) use quality::cut_text;
pub use quality::is_supported;
pub use quality::{DropReason, Drops};
pub use questions::{Question, QuestionFormat, QuestionOptions, question_set};
pub use report::{Advice, Report, Taught};
pub use rules::{Rules, RulesError};
pub use training::{Kind, Method, TrainingItem, TrainingOptions, TrainingSet};
