//! The questions of a row, and whether two questions are the same.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::row::Row;
use crate::conversation::{Message, Role};
use crate::error::SourceLine;
use crate::near_duplicates::{NearDuplicates, Wording, fold, holds_name};
use crate::passages::question_of_prompt;

/// A later turn stands for itself from so many words on, when a name or a number is among them: "Et ADES ?" means nothing alone.
const WORDS_OF_A_WHOLE_QUESTION: usize = 4;

/// A question somewhere in a file.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) text: String,
    pub(super) source: SourceLine,
    /// Its letters and digits alone.
    letters: String,
    wording: Wording,
    pub(super) topic: Topic,
}

impl Asked {
    /// A question about a topic.
    pub(super) fn new(text: &str, source: SourceLine, topic: Topic) -> Self {
        Self { text: text.to_owned(), source, letters: letters(text), wording: Wording::new(text), topic }
    }

    /// The questions of a row that stand for themselves, without the passages that are shown with them.
    pub(super) fn all_of(row: &Row) -> impl Iterator<Item = Self> {
        let topic = Topic::of(&row.object);
        let questions = row.messages.iter().filter(|message| message.role == Role::User).map(|message| &message.content).enumerate();
        let whole = |(turn, text): &(usize, &str)| *turn == 0 || stands_alone(text);
        let asked = questions.map(|(turn, text)| (turn, question_of_prompt(text).unwrap_or(text)));
        asked.filter(whole).map(move |(_, text)| Self::new(text, row.source.clone(), topic.clone()))
    }

    /// Whether two questions of similar wording ask the same: about the same document and field where both say that, about the same
    /// names and numbers where they do not.
    fn asks_the_same(&self, other: &Self) -> bool {
        match self.topic.relation(&other.topic) {
            Relation::Different => false,
            Relation::Same => true,
            Relation::Unknown => self.letters == other.letters || !self.wording.differs_by_name(&other.wording),
        }
    }
}

fn stands_alone(text: &str) -> bool {
    fold(text).split(' ').count() >= WORDS_OF_A_WHOLE_QUESTION && holds_name(text)
}

/// A text without anything but its folded letters and digits.
pub(super) fn letters(text: &str) -> String {
    fold(text).replace(' ', "")
}

/// What is asked for by several turns, for comparing conversations as a whole.
pub(super) fn prompt_letters(turns: &[Message]) -> String {
    turns.iter().map(|turn| format!("{}:{}\n", turn.role, letters(&turn.content))).collect()
}

/// What a row says it is about: a document, by its id (`document` or `app_id`) or its name (`name` or `app_name`), and a field of it, by its
/// name (`field`) or a broader kind (`category`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) document: Option<String>,
    pub(super) name: Option<String>,
    pub(super) field: Option<String>,
    pub(super) category: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Same,
    Different,
    Unknown,
}

impl Topic {
    fn of(object: &Map<String, Value>) -> Self {
        let text = |keys: &[&str]| {
            keys.iter().find_map(|key| match object.get(*key)? {
                Value::String(text) => Some(fold(text)),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
        };
        Self {
            document: text(&["document", "app_id"]),
            name: text(&["name", "app_name"]),
            field: text(&["field"]),
            category: text(&["category"]),
        }
    }

    pub(super) fn relation(&self, other: &Self) -> Relation {
        match (self.documents(other), self.fields(other)) {
            (Relation::Different, _) | (_, Relation::Different) => Relation::Different,
            (Relation::Same, Relation::Same) => Relation::Same,
            _ => Relation::Unknown,
        }
    }

    /// Ids decide where both rows have one, names where both have that; an id in one row may be the name in another.
    pub(super) fn documents(&self, other: &Self) -> Relation {
        let equal = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let differ = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
        if equal(&self.document, &other.document) || equal(&self.document, &other.name) || equal(&self.name, &other.document) {
            Relation::Same
        } else if differ(&self.document, &other.document) || differ(&self.name, &other.name) {
            Relation::Different
        } else if equal(&self.name, &other.name) {
            Relation::Same
        } else {
            Relation::Unknown
        }
    }

    /// Two names of fields that differ are two fields. Kinds may be those of two lists, so two that differ say nothing.
    fn fields(&self, other: &Self) -> Relation {
        if let (Some(a), Some(b)) = (&self.field, &other.field) {
            return if a == b { Relation::Same } else { Relation::Different };
        }
        let labels = |topic: &Self| [topic.field.clone(), topic.category.clone()].into_iter().flatten().collect::<Vec<_>>();
        let others = labels(other);
        if labels(self).iter().any(|label| others.contains(label)) { Relation::Same } else { Relation::Unknown }
    }
}

/// Questions in which the same ones are found again.
#[derive(Debug)]
pub(super) struct AskedIndex {
    stored: Vec<Asked>,
    by_letters: HashMap<String, Vec<usize>>,
    by_wording: NearDuplicates,
}

/// A stored question that asks the same as another.
#[derive(Clone, Copy, Debug)]
pub(super) struct SameQuestion<'a> {
    pub(super) asked: &'a Asked,
    /// How similar the wordings are; 1 when they differ in case, accents, spaces and punctuation only.
    pub(super) similarity: f64,
}

impl AskedIndex {
    /// Wordings are similar from `similarity` on.
    pub(super) fn new(similarity: f64) -> Self {
        Self { stored: Vec::new(), by_letters: HashMap::new(), by_wording: NearDuplicates::new(similarity) }
    }

    pub(super) fn insert(&mut self, asked: Asked) {
        let index = self.by_wording.insert(&asked.text);
        self.by_letters.entry(asked.letters.clone()).or_default().push(index);
        self.stored.push(asked);
    }

    /// The stored questions that ask the same as `asked`, in the order of storing.
    pub(super) fn same_as(&self, asked: &Asked) -> Vec<SameQuestion<'_>> {
        let mut found: Vec<(usize, f64)> = self.by_letters.get(&asked.letters).into_iter().flatten().map(|index| (*index, 1.0)).collect();
        found.extend(self.by_wording.similar(&asked.text).iter().map(|similar| (similar.index, similar.similarity)));
        found.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        found.dedup_by_key(|(index, _)| *index);
        let same = |(index, similarity): (usize, f64)| SameQuestion { asked: &self.stored[index], similarity };
        found.into_iter().map(same).filter(|same| asked.asks_the_same(same.asked)).collect()
    }
}
