//! Conversations, and the reader of datasets of them (JSON lines with a `messages` list).

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::{SourceLine, TextError, excerpt};
use crate::hash::hex;

/// The longest line a dataset may have. A longer one is a file of another kind.
const MAX_LINE_BYTES: u64 = 64 << 20;

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
        let sha256 = hex(&reader.input.into_inner().hasher.finalize());
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
    input: R,
    path: Arc<Path>,
    line: usize,
    buffer: Vec<u8>,
    failed: bool,
}

impl<R: BufRead> ConversationReader<R> {
    /// Reads `input`; `path` is the name it has in messages.
    pub fn new(input: R, path: &Arc<Path>) -> Self {
        Self { input, path: Arc::clone(path), line: 0, buffer: Vec::new(), failed: false }
    }

    /// The next line that is not blank, or none at the end.
    fn next_conversation(&mut self) -> Result<Option<Conversation>, TextError> {
        loop {
            self.buffer.clear();
            let mut limited = self.input.by_ref().take(MAX_LINE_BYTES + 1);
            let n = limited.read_until(b'\n', &mut self.buffer).map_err(|error| TextError::read(&self.path, error))?;
            if n == 0 {
                return Ok(None);
            }
            self.line += 1;
            let at = SourceLine::new(&self.path, self.line);
            if n as u64 > MAX_LINE_BYTES {
                return Err(line_error(&at, "line", format!("at most {MAX_LINE_BYTES} bytes"), "a longer line"));
            }
            let mut bytes = self.buffer.as_slice();
            if self.line == 1 {
                bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            }
            let text = std::str::from_utf8(bytes).map_err(|error| {
                let byte = bytes[error.valid_up_to()];
                line_error(&at, "line", "UTF-8 text", format!("the byte 0x{byte:02X} at offset {}", error.valid_up_to()))
            })?;
            if !text.trim().is_empty() {
                return parse_line(text, at).map(Some);
            }
        }
    }
}

impl<R: BufRead> Iterator for ConversationReader<R> {
    type Item = Result<Conversation, TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_conversation().transpose();
        self.failed = matches!(next, Some(Err(_)) | None);
        next
    }
}

fn line_error(at: &SourceLine, key: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> TextError {
    TextError::Line { at: at.clone(), key: key.into(), expected: expected.into(), found: found.into() }
}

/// What a JSON value is, in words, for messages.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string \"{}\"", excerpt(text, 40)),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// One line of a dataset.
fn parse_line(text: &str, at: SourceLine) -> Result<Conversation, TextError> {
    let value: Value = serde_json::from_str(text.trim_end_matches(['\r', '\n'])).map_err(|error| {
        line_error(&at, "line", "a JSON object", format!("text that is not JSON ({error}): {}", excerpt(text.trim(), 60)))
    })?;
    let Value::Object(mut object) = value else {
        return Err(line_error(&at, "line", "a JSON object with the key messages", describe(&value)));
    };
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
