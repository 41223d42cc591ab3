//! What a dataset or a file of questions holds: its format, rows, turns, system messages, lengths, and tokens where a model counts them.

use std::collections::HashMap;
use std::path::Path;

use dyag_text::dataset::{Format, Purpose, Row, RowReader};
use dyag_text::{Conversation, ExampleOptions, Role, SourceLine, Unit};
use serde_json::{Map, Value, json};

use super::facts::{self, Facts, spread};
use crate::language::say;
use crate::model_files::ModelFiles;
use crate::terminal;

/// How many system messages are shown.
const MAX_SYSTEM_MESSAGES: usize = 3;

/// Counts tokens of conversations.
pub(super) struct TokenCounter<'a> {
    pub(super) files: &'a ModelFiles,
    pub(super) options: ExampleOptions,
    /// The length that rows are compared with, in tokens.
    pub(super) max_seq_length: Option<usize>,
}

pub(super) fn describe(path: &Path, tokens: Option<&TokenCounter<'_>>, json: bool) -> anyhow::Result<()> {
    let mut reader = RowReader::open(path, Purpose::Questions)?;
    let mut overview = Overview::default();
    while let Some(read) = reader.next_row()? {
        match &read.row {
            Some(row) => overview.add(row, tokens),
            None => overview.unusable.push(read.source.line),
        }
    }
    let Some(format) = reader.format().filter(|_| overview.n_rows > 0) else {
        // Nothing to count: the reader that stops at the first problem says what it is.
        dyag_text::dataset::Questions::read(path)?;
        return Ok(());
    };
    if !overview.unusable.is_empty() {
        terminal::note(say!(
            "note: {} rows cannot be used and are not counted; --validate lists them",
            "note : {} lignes sont inutilisables et ne sont pas comptées ; --validate les énumère",
            overview.unusable.len()
        ));
    }
    facts::print(overview.facts(format, tokens), json)
}

/// Where a row stands.
pub(super) fn place(source: &SourceLine) -> String {
    let SourceLine { path, line, unit } = source;
    let unit = match unit {
        Unit::Line => say!("line", "ligne"),
        Unit::Item => say!("item", "élément"),
    };
    format!("{}, {unit} {line}", path.display())
}

/// What the rows so far add up to.
#[derive(Debug, Default)]
struct Overview {
    n_rows: usize,
    unusable: Vec<usize>,
    n_placeholders: usize,
    n_without_answer: usize,
    n_with_chunk_ids: usize,
    turns: Vec<usize>,
    roles: [usize; 3],
    systems: HashMap<String, usize>,
    n_without_system: usize,
    question_characters: Vec<usize>,
    answer_characters: Vec<usize>,
    keys: HashMap<String, usize>,
    key_order: Vec<String>,
    tokens: Vec<usize>,
    learned_tokens: Vec<usize>,
    too_long: Vec<usize>,
    refused: Vec<usize>,
}

impl Overview {
    fn add(&mut self, row: &Row, tokens: Option<&TokenCounter<'_>>) {
        self.n_rows += 1;
        self.n_placeholders += usize::from(row.is_placeholder);
        self.n_with_chunk_ids += usize::from(!row.source_chunk_ids.is_empty());
        self.n_without_answer += usize::from(row.messages.last().is_none_or(|turn| turn.role != Role::Assistant));
        self.turns.push(row.messages.iter().filter(|turn| turn.role != Role::System).count());
        match row.messages.first().filter(|turn| turn.role == Role::System) {
            Some(system) => *self.systems.entry(system.content.clone()).or_default() += 1,
            None => self.n_without_system += 1,
        }
        for turn in &row.messages {
            let length = turn.content.chars().count();
            match turn.role {
                Role::System => self.roles[0] += 1,
                Role::User => {
                    self.roles[1] += 1;
                    self.question_characters.push(length);
                }
                Role::Assistant => {
                    self.roles[2] += 1;
                    self.answer_characters.push(length);
                }
            }
        }
        for key in row.object.keys() {
            let count = self.keys.entry(key.clone()).or_insert_with(|| {
                self.key_order.push(key.clone());
                0
            });
            *count += 1;
        }
        if let Some(tokens) = tokens {
            self.count_tokens(row, tokens);
        }
    }

    fn count_tokens(&mut self, row: &Row, counter: &TokenCounter<'_>) {
        let TokenCounter { files, options, max_seq_length } = counter;
        let is_answered = row.messages.last().is_some_and(|turn| turn.role == Role::Assistant);
        let counted = if is_answered {
            let conversation = Conversation { messages: row.messages.clone(), source_chunk_ids: Vec::new(), source: row.source.clone() };
            files.chat().example(&conversation, options).map(|example| (example.ids.len(), Some(example.n_trained())))
        } else {
            files.chat().prompt_ids(&row.messages, options.date).map(|ids| (ids.len(), None))
        };
        match counted {
            Ok((n_tokens, learned)) => {
                self.tokens.push(n_tokens);
                self.learned_tokens.extend(learned);
                if max_seq_length.is_some_and(|max| n_tokens > max) {
                    self.too_long.push(row.source.line);
                }
            }
            Err(error) => {
                terminal::note(say!("note: not counted: {error}", "note : pas comptée : {error}"));
                self.refused.push(row.source.line);
            }
        }
    }

    fn facts(self, format: Format, tokens: Option<&TokenCounter<'_>>) -> Facts {
        let system_messages = self.system_messages();
        let Self {
            n_rows,
            unusable,
            n_placeholders,
            n_without_answer,
            n_with_chunk_ids,
            turns,
            roles: [n_system, n_user, n_assistant],
            systems,
            n_without_system,
            question_characters,
            answer_characters,
            keys,
            key_order,
            tokens: n_tokens,
            learned_tokens,
            too_long,
            refused,
        } = self;
        let keys: Map<String, Value> = key_order.into_iter().map(|key| (key.clone(), json!(keys.get(&key)))).collect();
        let mut facts = vec![
            ("format", json!(format.name())),
            ("rows", json!(n_rows)),
            ("unusable_rows", json!(unusable)),
            ("placeholder_rows", json!(n_placeholders)),
            ("without_an_answer", json!(n_without_answer)),
            ("with_chunk_ids", json!(n_with_chunk_ids)),
            ("keys", Value::Object(keys)),
            ("roles", json!({ "system": n_system, "user": n_user, "assistant": n_assistant })),
            ("turns", spread(turns)),
            ("systems", json!(systems.len())),
            ("system_messages", system_messages),
            ("without_a_system", json!(n_without_system)),
            ("question_characters", spread(question_characters)),
            ("answer_characters", spread(answer_characters)),
        ];
        if let Some(TokenCounter { max_seq_length, .. }) = tokens {
            facts.extend([
                ("tokens_in_all", json!(n_tokens.iter().sum::<usize>())),
                ("learned_in_all", json!(learned_tokens.iter().sum::<usize>())),
                ("tokens", spread(n_tokens)),
                ("learned_tokens", spread(learned_tokens)),
                ("not_counted", json!(refused)),
            ]);
            if let Some(max) = max_seq_length {
                facts.extend([("max_seq_length", json!(max)), ("longer_rows", json!(too_long))]);
            }
        }
        facts
    }

    /// The system messages that most rows open with, and how many rows each opens.
    fn system_messages(&self) -> Value {
        let mut systems: Vec<(&String, &usize)> = self.systems.iter().collect();
        systems.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let shown = systems.into_iter().take(MAX_SYSTEM_MESSAGES);
        Value::Array(shown.map(|(text, n)| json!({ "rows": n, "text": text })).collect())
    }
}
