//! Conversations, and the reader of datasets of them (JSON lines with a `messages` list).

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::error::{SourceLine, TextError, excerpt};
use crate::hash::hex;
use crate::json_lines::{JsonLines, describe, line_error};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions before the first question.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name used in files and templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; never empty in a conversation that was read from a file.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A conversation: a system message or none, then user and assistant in turns, the assistant last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The turns in order.
    pub messages: Vec<Message>,
    /// Ids of the chunks it was made from (`source_chunk_ids`), empty when the file names none.
    pub source_chunk_ids: Vec<String>,
    /// Where it was read.
    pub source: SourceLine,
}

/// A dataset as read from one file.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The file.
    pub path: Arc<Path>,
    /// Its conversations in the order of the file; at least one.
    pub conversations: Vec<Conversation>,
    /// SHA-256 of the bytes of the file, in hexadecimal.
    pub sha256: String,
}

impl Dataset {
    /// Reads a file of JSON lines, each `{"messages": [{"role": ..., "content": ...}, ...]}`.
    ///
    /// # Errors
    /// The first line that cannot be used, with its number and the key at fault; an empty dataset; a file that cannot be read.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let file = std::fs::File::open(path).map_err(|error| TextError::read(path, error))?;
        let name: Arc<Path> = Arc::from(path);
        let mut reader = ConversationReader::new(BufReader::new(HashingReader { inner: file, hasher: Sha256::new() }), &name);
        let conversations = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
        if conversations.is_empty() {
            return Err(TextError::EmptyDataset { path: path.display().to_string() });
        }
        let sha256 = hex(&reader.lines.into_inner().into_inner().hasher.finalize());
        Ok(Self { path: name, conversations, sha256 })
    }

    /// The system message with which every conversation of the dataset opens, if there is such a one.
    pub fn common_system(&self) -> Option<&str> {
        common_system(&self.conversations)
    }
}

/// The system message with which every one of `conversations` opens, if there is such a one.
pub fn common_system(conversations: &[Conversation]) -> Option<&str> {
    let first = opening_system(conversations.first()?)?;
    conversations.iter().all(|conversation| opening_system(conversation) == Some(first)).then_some(first)
}

/// The system message that opens a conversation.
fn opening_system(conversation: &Conversation) -> Option<&str> {
    conversation.messages.first().filter(|message| message.role == Role::System).map(|message| message.content.as_str())
}

/// Passes bytes on and hashes them.
struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Conversations of a stream of JSON lines, one at a time. A byte order mark, CRLF line ends and blank lines are accepted.
///
/// After an error the iterator ends.
#[derive(Debug)]
pub struct ConversationReader<R> {
    lines: JsonLines<R>,
    failed: bool,
}

impl<R: BufRead> ConversationReader<R> {
    /// Reads `input`; `path` is the name it has in messages.
    pub fn new(input: R, path: &Arc<Path>) -> Self {
        Self { lines: JsonLines::new(input, path), failed: false }
    }
}

impl<R: BufRead> Iterator for ConversationReader<R> {
    type Item = Result<Conversation, TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.lines.next_object().and_then(|line| line.map(|(object, at)| parse_object(object, at)).transpose()).transpose();
        self.failed = matches!(next, Some(Err(_)) | None);
        next
    }
}

/// One line of a dataset.
fn parse_object(mut object: Map<String, Value>, at: SourceLine) -> Result<Conversation, TextError> {
    if let Some(tools) = object.get("tools").filter(|tools| !tools.is_null()) {
        return Err(line_error(&at, "tools", "no tools (conversations with tools cannot be trained yet)", describe(tools)));
    }
    let source_chunk_ids = parse_chunk_ids(object.get("source_chunk_ids"), &at)?;
    let messages = match object.remove("messages") {
        Some(Value::Array(items)) => items,
        Some(other) => return Err(line_error(&at, "messages", "a list of {\"role\", \"content\"}", describe(&other))),
        None => {
            let keys: Vec<&str> = object.keys().map(String::as_str).take(8).collect();
            let found = if keys.is_empty() { "an object without keys".to_owned() } else { format!("only the keys {}", keys.join(", ")) };
            return Err(line_error(&at, "messages", "a list of {\"role\", \"content\"}", excerpt(&found, 200)));
        }
    };
    let messages = messages.into_iter().enumerate().map(|(index, item)| parse_message(item, index, &at)).collect::<Result<Vec<_>, _>>()?;
    check_order(&messages, &at)?;
    Ok(Conversation { messages, source_chunk_ids, source: at })
}

fn parse_chunk_ids(value: Option<&Value>, at: &SourceLine) -> Result<Vec<String>, TextError> {
    let key = "source_chunk_ids";
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let one = |(index, item): (usize, &Value)| match item {
                Value::String(id) => Ok(id.clone()),
                other => Err(line_error(at, format!("{key}[{index}]"), "a string", describe(other))),
            };
            items.iter().enumerate().map(one).collect()
        }
        Some(other) => Err(line_error(at, key, "a list of strings", describe(other))),
    }
}

/// One message. Keys other than role and content are let pass, except those that would change what is trained.
fn parse_message(value: Value, index: usize, at: &SourceLine) -> Result<Message, TextError> {
    let key = |name: &str| format!("messages[{index}].{name}");
    let Value::Object(mut object) = value else {
        return Err(line_error(at, format!("messages[{index}]"), "an object {\"role\", \"content\"}", describe(&value)));
    };
    if let Some(calls) = object.get("tool_calls").filter(|calls| !calls.is_null()) {
        return Err(line_error(at, key("tool_calls"), "no tool calls (conversations with tools cannot be trained yet)", describe(calls)));
    }
    let known = "\"system\", \"user\" or \"assistant\"";
    let role = match object.get("role") {
        Some(Value::String(name)) => match name.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => return Err(line_error(at, key("role"), known, format!("the unknown role \"{}\"", excerpt(other, 40)))),
        },
        Some(other) => return Err(line_error(at, key("role"), known, describe(other))),
        None => return Err(line_error(at, key("role"), known, "no such key")),
    };
    let content = match object.remove("content") {
        Some(Value::String(text)) => text,
        Some(other) => return Err(line_error(at, key("content"), "a string", describe(&other))),
        None => return Err(line_error(at, key("content"), "a string", "no such key")),
    };
    if content.trim().is_empty() {
        let found = if content.is_empty() { "an empty string" } else { "a string of white space only" };
        return Err(line_error(at, key("content"), format!("what the {role} says"), found));
    }
    Ok(Message { role, content })
}

/// The order of a conversation that can be trained: system or not, then user, assistant, user, assistant ...
fn check_order(messages: &[Message], at: &SourceLine) -> Result<(), TextError> {
    if messages.is_empty() {
        return Err(line_error(at, "messages", "at least a user's and an assistant's message", "an empty list"));
    }
    if !messages.iter().any(|message| message.role == Role::Assistant) {
        return Err(line_error(at, "messages", "at least one assistant's message", "none"));
    }
    if let Err((index, expected)) = turn_order(messages) {
        return Err(line_error(at, format!("messages[{index}].role"), expected, format!("\"{}\"", messages[index].role)));
    }
    let last = messages.len() - 1;
    if messages[last].role != Role::Assistant {
        let found = format!("\"{}\", a question without an answer", messages[last].role);
        return Err(line_error(at, format!("messages[{last}].role"), "\"assistant\" last", found));
    }
    Ok(())
}

/// Checks that `messages` are a system message or none, then user and assistant in turns. The error is a position and what belongs there.
pub(crate) fn turn_order(messages: &[Message]) -> Result<(), (usize, &'static str)> {
    let start = usize::from(messages.first().is_some_and(|message| message.role == Role::System));
    for (index, message) in messages.iter().enumerate().skip(start) {
        let (wanted, expected) = match ((index - start) % 2, start + index) {
            (0, 0) => (Role::User, "\"system\" or \"user\" first"),
            (0, _) => (Role::User, "\"user\" (turns alternate, a system message comes first only)"),
            _ => (Role::Assistant, "\"assistant\" (turns alternate, a system message comes first only)"),
        };
        if message.role != wanted {
            return Err((index, expected));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
