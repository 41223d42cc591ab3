//! One row of a dataset, in any format, as turns of a conversation; and everything that is wrong with it.

use serde_json::{Map, Value};

use super::format::Format;
use crate::conversation::{Message, Role, turn_order};
use crate::error::{SourceLine, TextError, excerpt};
use crate::json_lines::{describe, line_error};

/// What rows are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To learn the answers: every row needs one.
    Training,
    /// To ask the questions: an answer is what is expected, and may be missing.
    Questions,
    /// The second for question/expected_answer rows, the first for all others.
    ByFormat,
}

/// A row that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its format.
    pub format: Format,
    /// A system message or none, then user and assistant in turns. A row that is read for training ends with the assistant. Empty for a
    /// row that training passes over.
    pub messages: Vec<Message>,
    /// Ids of the chunks it was made from (`source_chunk_ids`), empty when the row names none.
    pub source_chunk_ids: Vec<String>,
    /// Whether it is marked `"placeholder": true`: its answer stands for one that is not known yet.
    pub is_placeholder: bool,
    /// The row as it was read.
    pub object: Map<String, Value>,
    /// Where it was read.
    pub source: SourceLine,
}

/// The names that a list of turns has for its keys and roles.
struct Names {
    item: &'static str,
    role: &'static str,
    content: &'static str,
    roles: &'static [(&'static str, Role)],
    known_roles: &'static str,
}

const MESSAGES: Names = Names {
    item: "an object {\"role\", \"content\"}",
    role: "role",
    content: "content",
    roles: &[("system", Role::System), ("user", Role::User), ("assistant", Role::Assistant)],
    known_roles: "\"system\", \"user\" or \"assistant\"",
};

const SHARE_GPT: Names = Names {
    item: "an object {\"from\", \"value\"}",
    role: "from",
    content: "value",
    roles: &[
        ("system", Role::System),
        ("human", Role::User),
        ("user", Role::User),
        ("gpt", Role::Assistant),
        ("assistant", Role::Assistant),
    ],
    known_roles: "\"system\", \"human\", \"user\", \"gpt\" or \"assistant\"",
};

/// A turn, and the key that says whose it is.
struct Turn {
    message: Message,
    key: String,
}

/// Reads a row. Either there is a row, or there are problems.
pub(super) fn parse_row(format: Format, object: Map<String, Value>, at: &SourceLine, purpose: Purpose) -> (Option<Row>, Vec<TextError>) {
    let is_training = match purpose {
        Purpose::Training => true,
        Purpose::Questions => false,
        Purpose::ByFormat => format != Format::Question,
    };
    let mut parser = Parser { object: &object, at, is_training, problems: Vec::new() };
    let is_placeholder = parser.placeholder_mark();
    let source_chunk_ids = parser.chunk_ids();
    let mut messages = Vec::new();
    if !(is_placeholder && is_training) {
        parser.refuse_tools();
        let n_problems = parser.problems.len();
        let turns = match format {
            Format::Messages => parser.list_of_turns("messages", &MESSAGES),
            Format::ShareGpt => parser.share_gpt(),
            Format::Alpaca => parser.alpaca(),
            Format::PromptCompletion => parser.prompt_completion(),
            Format::Question => parser.question(),
        };
        // The order of turns of which some could not be read says nothing.
        if parser.problems.len() == n_problems {
            parser.check_order(&turns, format);
        }
        messages = turns.into_iter().map(|turn| turn.message).collect();
    }
    let problems = parser.problems;
    let source = at.clone();
    let row = problems.is_empty().then(|| Row { format, messages, source_chunk_ids, is_placeholder, object, source });
    (row, problems)
}

/// Reads the parts of a row, and keeps what is wrong with them.
struct Parser<'a> {
    object: &'a Map<String, Value>,
    at: &'a SourceLine,
    is_training: bool,
    problems: Vec<TextError>,
}

impl<'a> Parser<'a> {
    fn problem(&mut self, key: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) {
        self.problems.push(line_error(self.at, key, expected, found));
    }

    /// The value of a key, unless it is absent or null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn placeholder_mark(&mut self) -> bool {
        match self.object.get("placeholder") {
            Some(Value::Bool(mark)) => *mark,
            None | Some(Value::Null) => false,
            Some(other) => {
                self.problem("placeholder", "true or false", describe(other));
                false
            }
        }
    }

    fn refuse_tools(&mut self) {
        let is_used = |tools: &&Value| match tools {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        };
        if let Some(tools) = self.object.get("tools").filter(is_used) {
            self.problem("tools", "no tools (conversations with tools cannot be trained yet)", describe(tools));
        }
    }

    fn chunk_ids(&mut self) -> Vec<String> {
        let key = "source_chunk_ids";
        let mut ids = Vec::new();
        match self.object.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    match item {
                        Value::String(id) => ids.push(id.clone()),
                        other => self.problem(format!("{key}[{index}]"), "a string", describe(other)),
                    }
                }
            }
            Some(other) => self.problem(key, "a list of strings", describe(other)),
        }
        ids
    }

    /// The turns of the list at `key`.
    fn list_of_turns(&mut self, key: &str, names: &Names) -> Vec<Turn> {
        let items = match self.object.get(key) {
            Some(Value::Array(items)) => items,
            other => {
                let found = other.map_or_else(|| "no such key".to_owned(), describe);
                self.problem(key, format!("a list of {{\"{}\", \"{}\"}}", names.role, names.content), found);
                return Vec::new();
            }
        };
        let turn = |(index, item)| self.turn(item, &format!("{key}[{index}]"), names);
        items.iter().enumerate().filter_map(turn).collect()
    }

    /// One turn. Keys other than role and content are let pass, except those that would change what is trained.
    fn turn(&mut self, value: &Value, place: &str, names: &Names) -> Option<Turn> {
        let Value::Object(object) = value else {
            self.problem(place, names.item, describe(value));
            return None;
        };
        if let Some(calls) = object.get("tool_calls").filter(|calls| !calls.is_null()) {
            let expected = "no tool calls (conversations with tools cannot be trained yet)";
            self.problem(format!("{place}.tool_calls"), expected, describe(calls));
        }
        let key = format!("{place}.{}", names.role);
        let role = match object.get(names.role) {
            Some(Value::String(name)) => {
                let role = names.roles.iter().find(|(known, _)| known == name).map(|(_, role)| *role);
                if role.is_none() {
                    self.problem(&key, names.known_roles, format!("the unknown role \"{}\"", excerpt(name, 40)));
                }
                role
            }
            other => {
                self.problem(&key, names.known_roles, other.map_or_else(|| "no such key".to_owned(), describe));
                None
            }
        };
        let who = role.map_or("speaker", Role::name);
        let content = self.spoken(object.get(names.content), &format!("{place}.{}", names.content), who);
        Some(Turn { message: Message { role: role?, content: content? }, key })
    }

    /// A text that is said, which is not empty.
    fn spoken(&mut self, value: Option<&Value>, key: &str, who: &str) -> Option<String> {
        match value {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
            Some(Value::String(text)) => {
                let found = if text.is_empty() { "an empty string" } else { "a string of white space only" };
                self.problem(key, format!("what the {who} says"), found);
                None
            }
            other => {
                self.problem(key, "a string", other.map_or_else(|| "no such key".to_owned(), describe));
                None
            }
        }
    }

    /// The text at a key that may be missing, null or blank.
    fn optional_text(&mut self, key: &str) -> Option<String> {
        match self.get(key) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
            Some(other) => {
                let found = describe(other);
                self.problem(key, "a string", found);
                None
            }
        }
    }

    /// The user's turn at `key`.
    fn asked(&mut self, key: &str) -> Option<Turn> {
        let object = self.object;
        let content = self.spoken(object.get(key), key, "user")?;
        Some(Turn { message: Message::new(Role::User, content), key: key.to_owned() })
    }

    /// The answer at `key`; where questions are asked, it may be missing, null or blank.
    fn answer(&mut self, key: &str) -> Option<Turn> {
        let object = self.object;
        let content = if self.is_training { self.spoken(object.get(key), key, "assistant") } else { self.optional_text(key) };
        Some(Turn { message: Message::new(Role::Assistant, content?), key: key.to_owned() })
    }

    fn system(&mut self) -> Option<Turn> {
        let content = self.optional_text("system")?;
        Some(Turn { message: Message::new(Role::System, content), key: "system".to_owned() })
    }

    fn share_gpt(&mut self) -> Vec<Turn> {
        let system = self.system();
        let turns = self.list_of_turns("conversations", &SHARE_GPT);
        if system.is_some() && turns.first().is_some_and(|turn| turn.message.role == Role::System) {
            self.problem("system", "one system message", "another one in conversations[0]");
        }
        system.into_iter().chain(turns).collect()
    }

    fn alpaca(&mut self) -> Vec<Turn> {
        let system = self.system();
        let history = self.history();
        let mut asked = self.asked("instruction");
        if let (Some(input), Some(turn)) = (self.optional_text("input"), &mut asked) {
            turn.message.content = format!("{}\n\n{input}", turn.message.content);
        }
        let answer = self.answer("output");
        system.into_iter().chain(history).chain(asked).chain(answer).collect()
    }

    /// The earlier turns of an Alpaca row: a list of pairs, question and answer.
    fn history(&mut self) -> Vec<Turn> {
        let object = self.object;
        let expected = "a list of pairs [question, answer]";
        let pairs = match object.get("history") {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(pairs)) => pairs,
            Some(other) => {
                self.problem("history", expected, describe(other));
                return Vec::new();
            }
        };
        let mut turns = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            let Some([question, answer]) = pair.as_array().map(Vec::as_slice) else {
                self.problem(format!("history[{index}]"), "a pair [question, answer]", describe(pair));
                continue;
            };
            for (side, (value, role)) in [(question, Role::User), (answer, Role::Assistant)].into_iter().enumerate() {
                let key = format!("history[{index}][{side}]");
                if let Some(content) = self.spoken(Some(value), &key, role.name()) {
                    turns.push(Turn { message: Message::new(role, content), key });
                }
            }
        }
        turns
    }

    fn prompt_completion(&mut self) -> Vec<Turn> {
        match (self.get("prompt"), self.get("completion")) {
            (Some(Value::Array(_)), Some(Value::Array(_))) => {
                let mut turns = self.list_of_turns("prompt", &MESSAGES);
                turns.extend(self.list_of_turns("completion", &MESSAGES));
                turns
            }
            (Some(Value::Array(_)), None) if !self.is_training => self.list_of_turns("prompt", &MESSAGES),
            (Some(Value::Array(_)), completion) => {
                let found = completion.map_or_else(|| "no such key".to_owned(), describe);
                self.problem("completion", "a list of {\"role\", \"content\"}, as prompt is", found);
                Vec::new()
            }
            (_, Some(Value::Array(items))) => {
                let found = format!("a list of {}", items.len());
                self.problem("completion", "a string, as prompt is", found);
                Vec::new()
            }
            _ => {
                let asked = self.asked("prompt");
                let answer = self.answer("completion");
                asked.into_iter().chain(answer).collect()
            }
        }
    }

    fn question(&mut self) -> Vec<Turn> {
        // A row that was answered already has the answer it got beside the one it expects.
        let key = if self.get("expected_answer").is_none() && self.get("answer").is_some() { "answer" } else { "expected_answer" };
        let asked = self.asked("question");
        let answer = self.answer(key);
        asked.into_iter().chain(answer).collect()
    }

    /// The order of a conversation: system or not, then user, assistant, user, assistant ...; the assistant last where it is learned from.
    fn check_order(&mut self, turns: &[Turn], format: Format) {
        let key = match format {
            Format::Messages => "messages",
            Format::ShareGpt => "conversations",
            Format::Alpaca => "instruction",
            Format::PromptCompletion => "prompt",
            Format::Question => "question",
        };
        let messages: Vec<Message> = turns.iter().map(|turn| Message::new(turn.message.role, "")).collect();
        let Some(last) = turns.last() else {
            let expected = if self.is_training { "at least a user's and an assistant's message" } else { "at least a user's message" };
            return self.problem(key, expected, "an empty list");
        };
        let holds = |role| messages.iter().any(|message| message.role == role);
        let needed = if self.is_training { Role::Assistant } else { Role::User };
        if !holds(needed) {
            return self.problem(key, format!("at least one {needed}'s message"), "none");
        }
        if let Err((index, expected)) = turn_order(&messages) {
            return self.problem(&turns[index].key, expected, format!("\"{}\"", messages[index].role));
        }
        if self.is_training && last.message.role != Role::Assistant {
            self.problem(&last.key, "\"assistant\" last", format!("\"{}\", a question without an answer", last.message.role));
        }
    }
}
