//! What a training set teaches of a question that is asked later.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::asked::{Asked, AskedIndex, Relation, Topic};
use super::row::{Purpose, Row};
use super::{RowReader, open};
use crate::conversation::Role;
use crate::error::{SourceLine, TextError};
use crate::near_duplicates::{SAME_QUESTION, Wording, fold};

/// So many training questions with one answer and one name are looked at, when rows do not say what they are about.
const MAX_CANDIDATES: usize = 10_000;

/// A question that a model was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskedQuestion<'a> {
    /// Its text.
    pub question: &'a str,
    /// What the answer should be.
    pub expected_answer: Option<&'a str>,
    /// The document it is about: its id or its name.
    pub document: Option<&'a str>,
    /// The field of the document.
    pub field: Option<&'a str>,
    /// The kind of fact.
    pub category: Option<&'a str>,
}

/// What a training set teaches of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Teaching {
    /// It asks the same about the same thing in the same or nearly the same words, so that a right answer may be memory of the very words.
    Leaked {
        /// Where.
        source: SourceLine,
        /// As it is asked there.
        question: String,
        /// How similar the wordings are; 1 when they are the same but for case, accents, spaces and punctuation.
        similarity: f64,
    },
    /// It teaches the fact in another wording.
    OtherWording {
        /// Where.
        source: SourceLine,
        /// As it is asked there.
        question: String,
    },
    /// It does not teach the fact.
    Never,
    /// The question says neither what it is about nor what the answer should be.
    Unknown,
}

/// The questions and facts of a training set.
#[derive(Debug)]
pub struct TrainingSet {
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Its rows.
    pub n_rows: usize,
    asked: AskedIndex,
    /// Questions by a document's id or name and a field's name or kind.
    by_topic: HashMap<(String, String), Vec<usize>>,
    /// Questions by answer and a name in the question.
    by_answer: HashMap<(String, String), Vec<usize>>,
    questions: Vec<TaughtQuestion>,
}

#[derive(Debug)]
struct TaughtQuestion {
    source: SourceLine,
    text: String,
    answer: Option<String>,
    names: HashSet<String>,
    topic: Topic,
}

impl TrainingSet {
    /// Reads a training set in any format that training takes. Rows marked as placeholders are not taught.
    ///
    /// # Errors
    /// A file that cannot be read, a row that cannot be used, a file without rows.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let (name, input) = open(path)?;
        let mut reader = RowReader::new(input, &name, Purpose::Training);
        let mut set = Self {
            sha256: String::new(),
            n_rows: 0,
            asked: AskedIndex::new(SAME_QUESTION),
            by_topic: HashMap::new(),
            by_answer: HashMap::new(),
            questions: Vec::new(),
        };
        while let Some(read) = reader.next_row()? {
            let row = read.strict()?;
            if !row.is_placeholder {
                set.insert(&row);
            }
        }
        if set.n_rows == 0 {
            return Err(TextError::EmptyDataset { path: path.display().to_string() });
        }
        set.sha256 = reader.into_inner().into_inner().sha256();
        Ok(set)
    }

    fn insert(&mut self, row: &Row) {
        self.n_rows += 1;
        for asked in Asked::all_of(row) {
            let place = self.questions.len();
            let turn = row.messages.iter().position(|message| message.role == Role::User && message.content == asked.text);
            let answer = turn.and_then(|turn| row.messages.get(turn + 1)).map(|message| fold(&message.content));
            let names: HashSet<String> = Wording::new(&asked.text).names().map(str::to_owned).collect();
            for (answer, name) in answer.iter().flat_map(|answer| names.iter().map(move |name| (answer, name))) {
                self.by_answer.entry((answer.clone(), name.clone())).or_default().push(place);
            }
            for key in topic_keys(&asked.topic) {
                self.by_topic.entry(key).or_default().push(place);
            }
            let (source, text, topic) = (asked.source.clone(), asked.text.clone(), asked.topic.clone());
            self.questions.push(TaughtQuestion { source, text, answer, names, topic });
            self.asked.insert(asked);
        }
    }

    /// What the set teaches of a question.
    ///
    /// A fact is the same when document and field are. Where only documents and kinds are known, the answers must agree too; where not even
    /// these are, the answers must be equal, and the names and numbers of one question all be in the other.
    pub fn teaching(&self, question: &AskedQuestion<'_>) -> Teaching {
        let AskedQuestion { question: text, expected_answer, document, field, category } = *question;
        let folded = |text: Option<&str>| text.map(fold).filter(|text| !text.is_empty());
        // A file of results has one key for a document's id and its name.
        let topic = Topic { document: folded(document), name: folded(document), field: folded(field), category: folded(category) };
        let answer = folded(expected_answer);
        let here = SourceLine::new(&Arc::from(Path::new("")), 0);
        let asked = Asked::new(text, here, topic.clone());
        let nearest =
            self.asked.same_as(&asked).into_iter().reduce(|best, same| if same.similarity > best.similarity { same } else { best });
        if let Some(same) = nearest {
            let (source, question) = (same.asked.source.clone(), same.asked.text.clone());
            return Teaching::Leaked { source, question, similarity: same.similarity };
        }
        match self.same_fact(&topic, answer.as_deref()).or_else(|| self.same_answer(text, answer.as_deref(), &topic)) {
            Some(TaughtQuestion { source, text, .. }) => Teaching::OtherWording { source: source.clone(), question: text.clone() },
            None if answer.is_none() && topic_keys(&topic).is_empty() => Teaching::Unknown,
            None => Teaching::Never,
        }
    }

    /// The first question about the same document and field.
    fn same_fact(&self, topic: &Topic, answer: Option<&str>) -> Option<&TaughtQuestion> {
        let places = topic_keys(topic).into_iter().filter_map(|key| self.by_topic.get(&key)).flatten();
        let is_same = |taught: &&TaughtQuestion| match (&taught.topic.field, &topic.field) {
            (Some(a), Some(b)) => a == b,
            _ => match (taught.answer.as_deref(), answer) {
                (Some(a), Some(b)) => a.contains(b) || b.contains(a),
                _ => true,
            },
        };
        let mut places: Vec<usize> = places.copied().collect();
        places.sort_unstable();
        places.iter().map(|place| &self.questions[*place]).find(is_same)
    }

    /// A question with the same answer about the same names, whose topic is not another one.
    fn same_answer(&self, question: &str, answer: Option<&str>, topic: &Topic) -> Option<&TaughtQuestion> {
        let answer = answer?;
        let names: HashSet<String> = Wording::new(question).names().map(str::to_owned).collect();
        let by_name = |name: &String| self.by_answer.get(&(answer.to_owned(), name.clone()));
        let mut places: Vec<&Vec<usize>> = names.iter().filter_map(by_name).collect();
        // The rarest name first: it has the fewest candidates.
        places.sort_unstable_by_key(|places| (places.len(), places.first().copied()));
        let is_same = |taught: &&TaughtQuestion| {
            let names_agree = taught.names.is_subset(&names) || names.is_subset(&taught.names);
            names_agree && taught.topic.relation(topic) != Relation::Different
        };
        places.into_iter().flatten().take(MAX_CANDIDATES).map(|place| &self.questions[*place]).find(is_same)
    }
}

/// Under which documents and fields a row is found, each once.
fn topic_keys(topic: &Topic) -> Vec<(String, String)> {
    let labels: Vec<&String> = topic.field.iter().chain(&topic.category).collect();
    let documents = topic.document.iter().chain(&topic.name);
    let mut keys: Vec<(String, String)> =
        documents.flat_map(|document| labels.iter().map(move |label| (document.clone(), (*label).clone()))).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
#[path = "tests/training_set.rs"]
mod tests;
