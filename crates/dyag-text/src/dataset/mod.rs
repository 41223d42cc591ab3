//! Datasets: files of conversations to learn from, and of questions to ask.
//!
//! A file is JSON Lines or one JSON list, and has one [`Format`]; which one is told by the keys of its rows. [`RowReader`] reads any of
//! them row by row; [`Dataset`] and [`Questions`] are what training and asking need of a whole file. [`validate()`] looks for what is wrong
//! with a file, [`find_leaks`] for the questions that two files share; a [`TrainingSet`] says of a question whether it was taught.

mod asked;
mod format;
mod leaks;
mod placeholder;
mod reader;
mod row;
mod training_set;
mod validate;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::conversation::{Conversation, Message, Role, common_system};
use crate::error::{SourceLine, TextError};
use crate::hash::hex;

pub use format::Format;
pub use leaks::{Leak, find_leaks};
pub use placeholder::{Placeholder, placeholder};
pub use reader::{ConversationReader, ReadRow, RowReader};
pub use row::{Purpose, Row};
pub use training_set::{AskedQuestion, Teaching, TrainingSet};
pub use validate::{Finding, FindingKind, Severity, ValidateOptions, Validation, validate};

/// A dataset to learn from, as read from one file.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The file.
    pub path: Arc<Path>,
    /// The format of its rows.
    pub format: Format,
    /// Its conversations in the order of the file; at least one.
    pub conversations: Vec<Conversation>,
    /// Rows marked `"placeholder": true`, which are not among the conversations.
    pub n_skipped_placeholders: usize,
    /// SHA-256 of the bytes of the file, in hexadecimal.
    pub sha256: String,
}

impl Dataset {
    /// Reads a file of conversations in any [`Format`].
    ///
    /// # Errors
    /// The first row that cannot be used, with its number and the key at fault; a row of another format than the first; a dataset without a
    /// conversation; a file that cannot be read.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let (name, input) = open(path)?;
        let mut reader = ConversationReader::new(input, &name);
        let conversations = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
        let n_skipped_placeholders = reader.n_skipped_placeholders();
        let shown = || path.display().to_string();
        let Some(format) = reader.format() else { return Err(TextError::EmptyDataset { path: shown() }) };
        if conversations.is_empty() {
            return Err(TextError::OnlyPlaceholders { path: shown(), n_rows: n_skipped_placeholders });
        }
        let sha256 = reader.into_inner().into_inner().sha256();
        Ok(Self { path: name, format, conversations, n_skipped_placeholders, sha256 })
    }

    /// The system message with which every conversation of the dataset opens, if there is such a one.
    pub fn common_system(&self) -> Option<&str> {
        common_system(&self.conversations)
    }
}

/// A question of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The turns before the answer, the user's last; they may open with a system message.
    pub turns: Vec<Message>,
    /// What the row says the answer should be.
    pub expected_answer: Option<String>,
    /// The whole row as it was read.
    pub row: Map<String, Value>,
    /// Where it was read.
    pub source: SourceLine,
}

impl From<Row> for Question {
    fn from(row: Row) -> Self {
        let Row { messages: mut turns, object, source, .. } = row;
        let expected_answer = turns.pop_if(|turn| turn.role == Role::Assistant).map(|answer| answer.content);
        Self { turns, expected_answer, row: object, source }
    }
}

/// Questions to ask, as read from one file.
#[derive(Clone, Debug)]
pub struct Questions {
    /// The file.
    pub path: Arc<Path>,
    /// The format of its rows.
    pub format: Format,
    /// Its questions in the order of the file; at least one. Rows marked as placeholders are among them.
    pub questions: Vec<Question>,
    /// SHA-256 of the bytes of the file, in hexadecimal.
    pub sha256: String,
}

impl Questions {
    /// Reads a file of questions in any [`Format`]. The last turn of a conversation is the expected answer when it is the assistant's.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let (name, input) = open(path)?;
        let mut reader = RowReader::new(input, &name, Purpose::Questions);
        let mut questions = Vec::new();
        while let Some(read) = reader.next_row()? {
            questions.push(Question::from(read.strict()?));
        }
        let Some(format) = reader.format() else { return Err(TextError::EmptyDataset { path: path.display().to_string() }) };
        let sha256 = reader.into_inner().into_inner().sha256();
        Ok(Self { path: name, format, questions, sha256 })
    }
}

/// A file that is hashed as it is read.
fn open(path: &Path) -> Result<(Arc<Path>, BufReader<HashingReader<File>>), TextError> {
    let file = File::open(path).map_err(|error| TextError::read(path, error))?;
    Ok((Arc::from(path), BufReader::new(HashingReader { inner: file, hasher: Sha256::new() })))
}

/// Passes bytes on and hashes them.
struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> HashingReader<R> {
    fn sha256(self) -> String {
        hex(&self.hasher.finalize())
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
