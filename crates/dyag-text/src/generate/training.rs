//! Training sets: conversations with their sources, spread over the documents and divided into parts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::candidates::{Unit, combined_units, fact_units, unanswerable_units, without_duplicates};
use super::context::{Context, ContextKind};
use super::document::{Document, documents};
use super::facts::{Fact, extract};
use super::parts::{Chosen, Part, Pick, Split, choose_parts, choose_whole};
use super::quality::{Drops, is_supported};
use super::random::Random;
use super::report::Report;
use super::rules::Rules;
use super::wording::{fold, nearly_the_same};
use crate::chunk::Chunk;

/// How questions and answers are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Facts found by rules, in the wordings of the rules.
    RuleBased,
    /// The same with further wordings, questions for two facts at once, and questions that the documents do not answer.
    Augmented,
    /// Facts and wordings found by a language model.
    LlmBased,
}

/// What an item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One fact.
    Fact,
    /// Two facts.
    Combined,
    /// Something that the documents do not say; the answer says so.
    Unanswerable,
}

/// Settings of a training set.
#[derive(Clone, Copy, Debug)]
pub struct TrainingOptions {
    /// How questions and answers are made.
    pub method: Method,
    /// Items wanted, over all parts.
    pub count: usize,
    /// How the parts differ; none: everything is learned.
    pub split: Option<Split>,
    /// Seed of every choice.
    pub seed: u64,
    /// Longest answer, in characters; running text is cut at the end of a sentence before.
    pub max_answer_chars: usize,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingItem {
    /// The part it is in.
    pub part: Part,
    /// What it asks for.
    pub kind: Kind,
    /// The document's key.
    pub document: String,
    /// The document's name.
    pub name: String,
    /// The fields it asks for.
    pub fields: Vec<String>,
    /// For counting.
    pub category: String,
    /// `easy`, `medium` or `hard`.
    pub difficulty: String,
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Parts of the answer, each found in a chunk that is cited.
    pub values: Vec<String>,
    /// Chunks that support the answer; none where the documents do not answer.
    pub chunk_ids: Vec<String>,
    /// The passages it shows; none where examples show none.
    pub context: Option<Context>,
}

impl TrainingItem {
    /// Whether its passages leave out what bears the answer, so that it teaches nothing of the fact.
    pub(super) fn is_withheld(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.kind == ContextKind::Withheld)
    }

    /// The item as a row of a dataset: a conversation and where it comes from. `cite` adds the chunks to the answer's text.
    pub fn to_row(&self, system: Option<&str>, cite: bool) -> Map<String, Value> {
        let mut messages = Vec::with_capacity(3);
        let prompt = self.context.as_ref().map_or_else(|| self.question.clone(), |context| context.prompt(&self.question));
        messages.extend(system.map(|system| json!({ "role": "system", "content": system })));
        messages.push(json!({ "role": "user", "content": prompt }));
        let sources = if cite && !self.chunk_ids.is_empty() { format!(" [Source: {}]", self.chunk_ids.join(", ")) } else { String::new() };
        messages.push(json!({ "role": "assistant", "content": format!("{}{sources}", self.answer) }));
        let mut row = Map::new();
        row.insert("messages".to_owned(), Value::Array(messages));
        row.insert("source_chunk_ids".to_owned(), json!(self.chunk_ids));
        row.insert("document".to_owned(), json!(self.document));
        row.insert("name".to_owned(), json!(self.name));
        row.insert("field".to_owned(), json!(self.fields.join("+")));
        row.insert("category".to_owned(), json!(self.category));
        row.insert("difficulty".to_owned(), json!(self.difficulty));
        row.insert("kind".to_owned(), json!(self.kind));
        if let Some(Context { kind, passages, withheld, language: _ }) = &self.context {
            row.insert("context".to_owned(), json!(kind));
            row.insert("passage_chunk_ids".to_owned(), passages.iter().map(|(id, _)| json!(id)).collect());
            if let Some((ids, _)) = withheld {
                row.insert("withheld_chunk_ids".to_owned(), json!(ids));
            }
        }
        row
    }
}

/// A training set and the report on it.
#[derive(Clone, Debug)]
pub struct TrainingSet {
    /// The items, part after part, in an order of chance within each.
    pub items: Vec<TrainingItem>,
    /// What was found, left out and covered.
    pub report: Report,
}

impl TrainingSet {
    /// Makes a training set of chunks by rules.
    pub fn build(chunks: &[Chunk], rules: &Rules, options: &TrainingOptions) -> Self {
        let documents = documents(chunks, rules);
        let mut drops = Drops::default();
        let mut facts = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            facts.extend(extract(index, document, rules, options.max_answer_chars, &mut drops));
        }
        Self::of_facts(&documents, &facts, drops, rules, options)
    }

    /// Makes a training set of facts that were found in `documents`; `drops` holds what was left out on the way to them.
    pub fn of_facts(documents: &[Document<'_>], facts: &[Fact], mut drops: Drops, rules: &Rules, options: &TrainingOptions) -> Self {
        let TrainingOptions { method, count, split, seed, max_answer_chars: _ } = *options;
        let augmented = method == Method::Augmented;
        let mut units = fact_units(documents, facts, rules, augmented, seed, &mut drops);
        if augmented {
            units.extend(combined_units(documents, facts, rules, seed));
            units.extend(unanswerable_units(documents, facts, rules, seed));
        }
        let units = without_duplicates(units, &mut drops);
        let chosen = match split {
            None => choose_whole(&units, count, seed),
            Some(split) => choose_parts(&units, count, split, seed),
        };
        let items = items_of(documents, &units, &chosen, seed);
        let report = Report::new(documents, facts.len(), &units, &items, drops, options);
        Self { items, report }
    }

    /// Items of a part, in order.
    pub fn part(&self, part: Part) -> impl Iterator<Item = &TrainingItem> {
        self.items.iter().filter(move |item| item.part == part)
    }

    /// What is wrong with the set, in sentences; nothing when it is as it should be. This looks at the finished items and believes nothing of how they were made: support in the
    /// cited chunks, no placeholder, no question twice, no leak between parts, and every tested fact taught (or, where facts are divided, none).
    pub fn problems(&self, chunks: &[Chunk], rules: &Rules, split: Option<Split>) -> Vec<String> {
        let contents: HashMap<&str, &str> = chunks.iter().map(|chunk| (chunk.id.as_str(), chunk.content.as_str())).collect();
        let mut problems = Vec::new();
        let mut seen: BTreeMap<String, Part> = BTreeMap::new();
        let mut of_document: HashMap<&str, Vec<&TrainingItem>> = HashMap::new();
        for item in &self.items {
            let TrainingItem { question, answer, kind, values, chunk_ids, part, .. } = item;
            let missing: Vec<&String> = chunk_ids.iter().filter(|id| !contents.contains_key(id.as_str())).collect();
            if !missing.is_empty() {
                problems.push(format!("\"{question}\" cites chunks that are not there: {missing:?}"));
            }
            let supports =
                |value: &String| chunk_ids.iter().filter_map(|id| contents.get(id.as_str())).any(|content| is_supported(value, content));
            if *kind != Kind::Unanswerable && (values.is_empty() || !values.iter().all(supports)) {
                problems.push(format!("\"{question}\": the answer \"{answer}\" is not in the chunks it cites"));
            }
            if rules.has_placeholder(answer) {
                problems.push(format!("\"{question}\": the answer \"{answer}\" is a placeholder"));
            }
            if let Some(other) = seen.insert(fold(question), *part) {
                problems.push(format!("\"{question}\" occurs twice, in {} and {}", other.name(), part.name()));
            }
            of_document.entry(item.document.as_str()).or_default().push(item);
        }
        for items in of_document.values() {
            let (train, tested): (Vec<&TrainingItem>, Vec<&TrainingItem>) = items.iter().partition(|item| item.part == Part::Train);
            for test in tested {
                let shares = |item: &&&TrainingItem| item.fields.iter().any(|field| test.fields.contains(field));
                let others: Vec<&&TrainingItem> = items.iter().filter(|item| item.part != test.part).filter(shares).collect();
                if let Some(leak) = others.iter().find(|item| nearly_the_same(&item.question, &test.question)) {
                    problems.push(format!(
                        "\"{}\" ({}) is nearly \"{}\" ({})",
                        test.question,
                        test.part.name(),
                        leak.question,
                        leak.part.name()
                    ));
                }
                let teaches = |field: &String| train.iter().any(|item| !item.is_withheld() && item.fields.contains(field));
                let taught = test.is_withheld() || test.fields.iter().all(teaches);
                match split {
                    Some(Split::Wording) if !taught => {
                        problems.push(format!("\"{}\" ({}) is taught in no other wording", test.question, test.part.name()))
                    }
                    Some(Split::Facts) if !others.is_empty() => {
                        problems.push(format!("\"{}\" ({}) asks for a fact that another part has", test.question, test.part.name()))
                    }
                    Some(Split::Both) if !taught && others.iter().any(|item| item.part == Part::Train) => {
                        problems.push(format!("\"{}\" ({}) is partly taught", test.question, test.part.name()))
                    }
                    _ => {}
                }
            }
        }
        problems.extend(self.context_problems(chunks));
        problems.sort();
        problems
    }
}

fn items_of(documents: &[Document<'_>], units: &[Unit], chosen: &Chosen, seed: u64) -> Vec<TrainingItem> {
    let mut items = Vec::with_capacity(chosen.len());
    for (part, picks) in [(Part::Train, &chosen.train), (Part::Val, &chosen.val), (Part::Test, &chosen.test)] {
        let mut picks: Vec<Pick> = picks.clone();
        // From one order, whatever way the picks came.
        picks.sort_unstable();
        picks.dedup();
        Random::new(seed, part.name()).shuffle(&mut picks);
        items.extend(picks.into_iter().map(|(unit, wording)| {
            let Unit { document, kind, fields, category, difficulty, answer, values, chunk_ids, wordings } = &units[unit];
            let Document { key, name, .. } = &documents[*document];
            TrainingItem {
                part,
                kind: *kind,
                document: key.clone(),
                name: name.clone(),
                fields: fields.clone(),
                category: category.clone(),
                difficulty: difficulty.clone(),
                question: wordings[wording].clone(),
                answer: answer.clone(),
                values: values.clone(),
                chunk_ids: chunk_ids.clone(),
                context: None,
            }
        }));
    }
    items
}

/// Names of the documents of `items`.
pub(crate) fn documents_of<'a>(items: impl Iterator<Item = &'a TrainingItem>) -> BTreeSet<&'a str> {
    items.map(|item| item.document.as_str()).collect()
}

#[cfg(test)]
#[path = "training_tests.rs"]
mod tests;
