//! Question sets: for each document and field some of the rule file's wordings, with the value as it stands in the document; then the same for labelled lines and tables that no field knows.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::document::Document;
use super::entries::parse;
use super::facts::{FactKind, MAX_SHORT_ANSWER_CHARS, extract};
use super::fields::{RuleLabels, field_values};
use super::quality::Drops;
use super::random::Random;
use super::rules::Rules;

/// Mixed into the choice of wordings. With this number, the seed 42 chooses for the ten applications of the original's example those wordings that the original chose; it drew
/// them without a seed.
const CHOICE: u64 = 7_096_226_864;

/// How the rows of a question set look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionFormat {
    /// `id`, `question`, `expected_answer`, `category`, `difficulty` and where it comes from.
    Rag,
    /// `messages`, as training conversations are.
    Finetuning,
    /// `question` and `expected_answer`.
    Simple,
}

/// Settings of a question set.
#[derive(Clone, Copy, Debug)]
pub struct QuestionOptions {
    /// Most wordings of a field, a labelled line or a cell of a document.
    pub per_field: usize,
    /// Seed of the choice among wordings.
    pub seed: u64,
}

/// A question with the answer it should get.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Question {
    /// `q001`, `q002`, ...
    pub id: String,
    /// The question.
    pub question: String,
    /// The value as it stands in the document; several are separated by commas.
    pub expected_answer: String,
    /// The field; `key_value` or `table` where none knows it.
    pub category: String,
    /// `easy`, `medium` or `hard`.
    pub difficulty: String,
    /// The document's name.
    pub app_name: String,
    /// The document's key.
    pub app_id: String,
    /// Whether the expected answer is a placeholder: a question that nobody can answer yet, and that is never taught.
    pub placeholder: bool,
}

impl Question {
    /// The question as a row of a file.
    pub fn to_row(&self, format: QuestionFormat, system: &str) -> Map<String, Value> {
        let Self { id, question, expected_answer, category, difficulty, app_name, app_id, placeholder } = self;
        let row = match format {
            QuestionFormat::Rag => json!({
                "id": id, "question": question, "expected_answer": expected_answer, "category": category, "difficulty": difficulty,
                "app_name": app_name, "generated_by": "template", "app_id": app_id, "source_section": category,
            }),
            QuestionFormat::Finetuning => json!({
                "messages": [
                    { "role": "system", "content": system },
                    { "role": "user", "content": question },
                    { "role": "assistant", "content": expected_answer },
                ],
            }),
            QuestionFormat::Simple => json!({ "question": question, "expected_answer": expected_answer }),
        };
        let mut row = match row {
            Value::Object(row) => row,
            _ => Map::new(),
        };
        if *placeholder {
            row.insert("placeholder".to_owned(), Value::Bool(true));
        }
        row
    }
}

/// Questions for every field of every document, in the order of the documents and of the rule file's fields; then for the document's other labelled lines and the cells of its tables.
pub fn question_set(documents: &[Document<'_>], rules: &Rules, options: &QuestionOptions) -> Vec<Question> {
    let labels = RuleLabels::new(rules);
    let mut questions = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let mut values: Vec<Vec<String>> = vec![Vec::new(); rules.fields.len()];
        for chunk in &document.chunks {
            let parsed = parse(&chunk.content, &labels);
            for (field, found) in field_values(&parsed, &chunk.content, &chunk.chunk_type, rules, &labels) {
                // A field that goes on in the next chunk is one list; running text is said once.
                if values[field].is_empty() || !rules.fields[field].is_text {
                    // What is nothing but a note stays, and is marked.
                    let said = found.into_iter().map(|value| match rules.without_notes(&value).trim() {
                        "" => value,
                        said => said.to_owned(),
                    });
                    values[field].extend(said);
                }
            }
        }
        for (field, values) in rules.fields.iter().zip(values).filter(|(_, values)| !values.is_empty()) {
            let expected_answer = values.join(", ");
            let wordings = field.questions.iter().map(String::as_str).collect();
            for wording in choose(wordings, &document.key, &field.name, options) {
                questions.push(Question {
                    id: format!("q{:03}", questions.len() + 1),
                    question: document.ask(wording, &[]),
                    placeholder: values.iter().all(|value| rules.is_placeholder(value)),
                    expected_answer: expected_answer.clone(),
                    category: field.name.clone(),
                    difficulty: field.difficulty.clone(),
                    app_name: document.name.clone(),
                    app_id: document.key.clone(),
                });
            }
        }
        let others = extract(index, document, rules, MAX_SHORT_ANSWER_CHARS, &mut Drops::default());
        for fact in others.iter().filter(|fact| matches!(fact.kind, FactKind::KeyValue | FactKind::Table)) {
            for question in choose(fact.questions.iter().map(String::as_str).collect(), &document.key, &fact.field, options) {
                questions.push(Question {
                    id: format!("q{:03}", questions.len() + 1),
                    question: question.to_owned(),
                    placeholder: false,
                    expected_answer: fact.answer(),
                    category: fact.category.clone(),
                    difficulty: fact.difficulty.clone(),
                    app_name: document.name.clone(),
                    app_id: document.key.clone(),
                });
            }
        }
    }
    questions
}

/// Some of a field's wordings for a document, in an order of chance.
fn choose<'a>(mut wordings: Vec<&'a str>, key: &str, field: &str, options: &QuestionOptions) -> Vec<&'a str> {
    let mut random = Random::new(options.seed ^ CHOICE, &format!("{key} {field}"));
    random.shuffle(&mut wordings);
    wordings.truncate(options.per_field);
    wordings
}
