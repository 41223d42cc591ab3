//! Conversations: who says what, in which order.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::SourceLine;

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

/// The system message with which every one of `conversations` opens, if there is such a one.
pub fn common_system(conversations: &[Conversation]) -> Option<&str> {
    let first = opening_system(conversations.first()?)?;
    conversations.iter().all(|conversation| opening_system(conversation) == Some(first)).then_some(first)
}

/// The system message that opens a conversation.
fn opening_system(conversation: &Conversation) -> Option<&str> {
    conversation.messages.first().filter(|message| message.role == Role::System).map(|message| message.content.as_str())
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
