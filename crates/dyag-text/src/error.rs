//! Every way a dataset, a tokenizer, a chat template or an example can be refused.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What places in a file are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Lines, of JSON Lines.
    Line,
    /// Items of one JSON list.
    Item,
}

impl Unit {
    /// `line` or `item`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Item => "item",
        }
    }
}

/// Where a conversation was read: a file and a line of it, or an item of the list that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// The file, as it was named to the reader.
    pub path: Arc<Path>,
    /// The line or the item, counted from 1.
    pub line: usize,
    /// Which of the two.
    pub unit: Unit,
}

impl SourceLine {
    /// A line of a file.
    pub fn new(path: &Arc<Path>, line: usize) -> Self {
        Self { path: Arc::clone(path), line, unit: Unit::Line }
    }

    /// An item of the JSON list that a file holds.
    pub fn item(path: &Arc<Path>, item: usize) -> Self {
        Self { path: Arc::clone(path), line: item, unit: Unit::Item }
    }

    /// The place without the file, such as `line 3`.
    pub fn place(&self) -> String {
        format!("{} {}", self.unit.name(), self.line)
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.path.display(), self.unit.name(), self.line)
    }
}

/// An error of this crate. Messages say where, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A file could not be opened or read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A dataset without a single row.
    #[error(
        "{path}: the dataset is empty: expected at least one JSON object, such as {{\"messages\": [...]}} or \
         {{\"question\": ..., \"expected_answer\": ...}}, found none"
    )]
    EmptyDataset {
        /// The file.
        path: String,
    },
    /// A dataset of which nothing is left to learn.
    #[error(
        "{path}: nothing to train on: all {n_rows} rows are marked as placeholders (\"placeholder\": true); \
         give them their answers and remove the mark"
    )]
    OnlyPlaceholders {
        /// The file.
        path: String,
        /// Its rows.
        n_rows: usize,
    },
    /// A file of chunks without a single chunk.
    #[error(
        "{path}: no chunks: expected at least one line {{\"id\": ..., \"content\": ...}}, found none; `dyag chunk` makes such a file from documents"
    )]
    NoChunks {
        /// The file.
        path: String,
    },
    /// A line of a dataset that cannot be used.
    #[error("{at}: {key}: expected {expected}, found {found}")]
    Line {
        /// The file and line.
        at: SourceLine,
        /// The key inside the line's object, such as `messages[2].role`; `line` for the line as a whole.
        key: String,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Messages of a prompt in an order that no conversation has.
    #[error("messages[{index}].role: expected {expected}, found {found}")]
    Order {
        /// Position among the messages.
        index: usize,
        /// What was expected there.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A tokenizer's data that cannot be used.
    #[error("{origin}: {key}: expected {expected}, found {found}")]
    Tokenizer {
        /// The file, or the file whose metadata it is.
        origin: String,
        /// The key at fault.
        key: String,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A text that the tokenizer could not encode.
    #[error("a text of {n_bytes} bytes cannot be encoded: {reason}")]
    Encode {
        /// Size of the text.
        n_bytes: usize,
        /// What the tokenizer said.
        reason: String,
    },
    /// A model without a chat template.
    #[error(
        "{origin}: no chat template was found: this looks like a base model, which was never taught to converse; \
         use its chat (\"instruct\") version, or put a chat_template.jinja beside it"
    )]
    NoTemplate {
        /// The folder or file that was searched.
        origin: String,
    },
    /// A chat template that does not parse, or a configuration that does not hold one where it should.
    #[error("{origin}: {key}: expected {expected}, found {found}")]
    Template {
        /// The file the template comes from.
        origin: String,
        /// The key at fault.
        key: String,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A chat template that failed while rendering, or refused the conversation by `raise_exception`.
    #[error("the chat template of {origin} refuses the conversation: {reason}")]
    Render {
        /// The file the template comes from.
        origin: String,
        /// What the template or its engine said.
        reason: String,
    },
    /// A template that renders the prompt of a turn otherwise than the beginning of the whole conversation.
    #[error(
        "the chat template of {origin} renders the prompt before messages[{index}] otherwise than the conversation that holds it, \
         so what would be trained is not what would be asked: after \"{common}\" the prompt continues with \"{prompt}\", \
         the conversation with \"{conversation}\""
    )]
    PromptDiffers {
        /// The file the template comes from.
        origin: String,
        /// The assistant message whose prompt differs.
        index: usize,
        /// End of the text both share.
        common: String,
        /// How the prompt goes on.
        prompt: String,
        /// How the conversation goes on.
        conversation: String,
    },
    /// An assistant's answer that the template did not put into the text.
    #[error("the chat template of {origin} leaves the content of messages[{index}] out of the conversation")]
    AnswerMissing {
        /// The file the template comes from.
        origin: String,
        /// The assistant message.
        index: usize,
    },
    /// A control word in a message, under a template that rewrites messages so that the word cannot be followed.
    #[error(
        "messages[{index}].content holds the control word \"{word}\", and the chat template of {origin} rewrites contents, \
         so the word cannot be told from the template's own; remove it from the message"
    )]
    ControlWord {
        /// The message.
        index: usize,
        /// The control word.
        word: String,
        /// The file the template comes from.
        origin: String,
    },
    /// An example longer than the limit.
    #[error(
        "{at}: the conversation has {n_tokens} tokens, the limit is {max_tokens}; \
         raise the limit to {n_tokens}, shorten the conversation, or allow truncation"
    )]
    TooLong {
        /// The file and line.
        at: SourceLine,
        /// Its length in tokens.
        n_tokens: usize,
        /// The limit in tokens.
        max_tokens: usize,
    },
    /// An example nothing would be learned from.
    #[error("{at}: no token of the {n_tokens} would be trained: {reason}")]
    NothingTrained {
        /// The file and line.
        at: SourceLine,
        /// Its length in tokens.
        n_tokens: usize,
        /// Why.
        reason: &'static str,
    },
    /// Something that concerns one line of a dataset.
    #[error("{at}: {source}")]
    At {
        /// The file and line.
        at: SourceLine,
        /// What went wrong.
        source: Box<TextError>,
    },
}

impl TextError {
    /// The same error, with the line of the dataset it concerns.
    pub(crate) fn at(self, at: &SourceLine) -> Self {
        match self {
            Self::Line { .. } | Self::TooLong { .. } | Self::NothingTrained { .. } | Self::At { .. } => self,
            other => Self::At { at: at.clone(), source: Box::new(other) },
        }
    }

    /// A file that could not be read.
    pub fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.display().to_string(), source }
    }
}

/// `text` cut to `max` characters, with an ellipsis where it was cut, for messages.
pub(crate) fn excerpt(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
