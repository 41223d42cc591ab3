//! From documents to what a model is asked.

use dyag_text::PlacedObject;
use minijinja::value::{Value, ValueKind};
use serde_json::{Map, Value as Json};

use super::BenchmarkError;
use super::task::{Expression, OutputType, Task};
use super::template::Templates;

/// What a model is asked of one document.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// File and line of the document.
    pub place: String,
    /// What is given: description, solved examples, the question.
    pub context: String,
    /// What the likelihoods of are asked for: the delimiter and a choice each. Empty when an answer is to be generated.
    pub continuations: Vec<String>,
    /// The choices themselves.
    pub choices: Vec<String>,
    /// Places of the right choices; a document may have several.
    pub gold: Vec<usize>,
    /// The right texts, when an answer is to be generated.
    pub expected: Vec<String>,
}

/// A document by a task's expressions.
struct Read {
    text: String,
    choices: Vec<String>,
    gold: Vec<usize>,
    targets: Vec<String>,
}

impl Task {
    /// What a model is asked, one item a document, of the first `limit` ones.
    ///
    /// # Errors
    /// A document that an expression cannot be applied to, with its line.
    pub fn items(&self, limit: Option<usize>) -> Result<Vec<Item>, BenchmarkError> {
        let templates = Templates::new();
        let file = &self.file;
        let mut before = file.description.clone();
        for example in &self.fewshot {
            let read = self.read(&templates, example)?;
            let target = match read.gold.first() {
                Some(gold) => &read.choices[*gold],
                None => &read.targets[0],
            };
            before.extend([&read.text, &file.target_delimiter, target, &file.fewshot_delimiter].map(String::as_str));
        }
        let item = |document: &PlacedObject| {
            let Read { text, choices, gold, targets } = self.read(&templates, document)?;
            let continue_with = |texts: &[String]| texts.iter().map(|text| format!("{}{text}", file.target_delimiter)).collect();
            let continuations = match file.output_type {
                OutputType::MultipleChoice => continue_with(&choices),
                OutputType::Loglikelihood => continue_with(&targets[..1]),
                OutputType::GenerateUntil => Vec::new(),
            };
            let place = document.1.to_string();
            Ok(Item { place, context: format!("{before}{text}"), continuations, choices, gold, expected: targets })
        };
        self.documents.iter().take(limit.unwrap_or(usize::MAX)).map(item).collect()
    }

    fn read(&self, templates: &Templates, document: &PlacedObject) -> Result<Read, BenchmarkError> {
        let (file, (object, source)) = (&self.file, document);
        let place = || source.to_string();
        let at = |key: &'static str| move |problem: String| BenchmarkError::Document { place: place(), key, problem };
        let text = templates.text(&file.doc_to_text, object).map_err(at("doc_to_text"))?;
        let target = value(templates, &file.doc_to_target, object).map_err(at("doc_to_target"))?;
        let Some(expression) = &file.doc_to_choice else {
            let targets = texts(&target).map_err(at("doc_to_target"))?;
            return Ok(Read { text, choices: Vec::new(), gold: Vec::new(), targets });
        };
        let choices = value(templates, expression, object).and_then(|value| match value.kind() {
            ValueKind::Seq => texts(&value),
            kind => Err(format!("expected a list of choices, found {kind} ({value})")),
        });
        let choices = choices.map_err(at("doc_to_choice"))?;
        if choices.len() < 2 {
            return Err(at("doc_to_choice")(format!("expected at least two choices, found {}", choices.len())));
        }
        let gold = gold(&target, &choices).map_err(at("doc_to_target"))?;
        Ok(Read { text, choices, gold, targets: Vec::new() })
    }
}

fn value(templates: &Templates, expression: &Expression, object: &Map<String, Json>) -> Result<Value, String> {
    match expression {
        Expression::Text(text) => templates.value(text, object),
        Expression::Number(number) => Ok(Value::from(*number)),
        Expression::List(items) => {
            items.iter().map(|item| templates.text(item, object).map(Value::from)).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
    }
}

/// One text, or a list of at least one.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value.kind() {
        ValueKind::String | ValueKind::Number => Ok(vec![value.to_string()]),
        ValueKind::Seq => {
            let texts: Vec<String> = value.try_iter().map_err(|error| error.to_string())?.map(|item| item.to_string()).collect();
            if texts.is_empty() { Err("expected a text at least, found an empty list".to_owned()) } else { Ok(texts) }
        }
        kind => Err(format!("expected a text or a list of texts, found {kind} ({value})")),
    }
}

/// The right choices: a place from 0, a choice itself, a place as text, or a list of these.
fn gold(target: &Value, choices: &[String]) -> Result<Vec<usize>, String> {
    let expected = || format!("expected one of {} choices, by its place from 0 or its text, found {target}", choices.len());
    let place = |value: &Value| -> Result<usize, String> {
        let by_place = |place: i64| usize::try_from(place).ok().filter(|place| *place < choices.len());
        match value.kind() {
            ValueKind::Number => i64::try_from(value.clone()).ok().and_then(by_place).ok_or_else(expected),
            ValueKind::String => {
                let text = value.to_string();
                let by_text = choices.iter().position(|choice| *choice == text);
                by_text.or_else(|| text.trim().parse().ok().and_then(by_place)).ok_or_else(expected)
            }
            _ => Err(expected()),
        }
    };
    if target.kind() != ValueKind::Seq {
        return Ok(vec![place(target)?]);
    }
    let gold: Vec<usize> = target.try_iter().map_err(|error| error.to_string())?.map(|value| place(&value)).collect::<Result<_, _>>()?;
    if gold.is_empty() { Err(expected()) } else { Ok(gold) }
}
