//! Units: what can be asked of a document, each with its answer and wordings that differ. A training set is drawn from them.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::document::Document;
use super::facts::Fact;
use super::fields::{RuleLabels, field_values};
use super::quality::{DropReason, Drops, is_supported};
use super::random::Random;
use super::rules::Rules;
use super::training::Kind;
use super::wording::{fill, fold, nearly_the_same, representatives};

/// Longest value that is combined with another in one question, in characters.
const MAX_COMBINED_VALUE_CHARS: usize = 160;
/// Questions with one answer, in one document, that are compared pair by pair; in larger groups only equal ones are found.
const MAX_COMPARED: usize = 64;

/// Something that can be asked of a document.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) document: usize,
    pub(crate) kind: Kind,
    /// The fields that are asked for.
    pub(crate) fields: Vec<String>,
    pub(crate) category: String,
    pub(crate) difficulty: String,
    pub(crate) answer: String,
    /// Parts of the answer, each in one of the chunks.
    pub(crate) values: Vec<String>,
    pub(crate) chunk_ids: Vec<String>,
    /// Wordings; no two of them are nearly the same.
    pub(crate) wordings: Vec<String>,
}

/// Units of facts alone.
pub(crate) fn fact_units(
    documents: &[Document<'_>],
    facts: &[Fact],
    rules: &Rules,
    with_phrases: bool,
    seed: u64,
    drops: &mut Drops,
) -> Vec<Unit> {
    let contents: HashMap<&str, &str> =
        documents.iter().flat_map(|document| &document.chunks).map(|chunk| (chunk.id.as_str(), chunk.content.as_str())).collect();
    let mut units = Vec::with_capacity(facts.len());
    for fact in facts {
        let supported =
            contents.get(fact.chunk_id.as_str()).is_some_and(|content| fact.values.iter().all(|value| is_supported(value, content)));
        if !supported {
            drops.count(DropReason::Unsupported, &fact.category);
            continue;
        }
        let document = &documents[fact.document];
        let mut questions = fact.questions.clone();
        if let (true, Some(phrase)) = (with_phrases, &fact.phrase) {
            questions.extend(rules.phrase_questions.iter().map(|question| document.ask(question, &[("phrase", phrase)])));
        }
        units.push(Unit {
            document: fact.document,
            kind: Kind::Fact,
            fields: vec![fact.field.clone()],
            category: fact.category.clone(),
            difficulty: fact.difficulty.clone(),
            answer: fact.answer(),
            values: fact.values.clone(),
            chunk_ids: vec![fact.chunk_id.clone()],
            wordings: differing(questions, &mut Random::new(seed, &format!("wordings {} {}", document.key, fact.field))),
        });
    }
    units
}

/// Units that ask for two facts of one document at once.
pub(crate) fn combined_units(documents: &[Document<'_>], facts: &[Fact], rules: &Rules, seed: u64) -> Vec<Unit> {
    let mut of_document: Vec<Vec<&Fact>> = vec![Vec::new(); documents.len()];
    let is_short =
        |fact: &&Fact| fact.phrase.is_some() && fact.answer().chars().count() <= MAX_COMBINED_VALUE_CHARS && !fact.answer().contains('\n');
    for fact in facts.iter().filter(is_short) {
        of_document[fact.document].push(fact);
    }
    let mut units = Vec::new();
    for (document, facts) in documents.iter().zip(&of_document) {
        let mut pairs: Vec<(&Fact, &Fact)> = facts.iter().enumerate().flat_map(|(i, a)| facts[i + 1..].iter().map(|b| (*a, *b))).collect();
        let mut random = Random::new(seed, &format!("pairs {}", document.key));
        random.shuffle(&mut pairs);
        pairs.truncate(facts.len());
        units.extend(pairs.into_iter().map(|(a, b)| combined_unit(document, a, b, rules, &mut random)));
    }
    units
}

fn combined_unit(document: &Document<'_>, a: &Fact, b: &Fact, rules: &Rules, random: &mut Random) -> Unit {
    let phrase = |fact: &Fact| fact.phrase.clone().unwrap_or_default();
    let (first, second) = (phrase(a), phrase(b));
    let given = [("phrase", first.as_str()), ("phrase2", &second)];
    let questions = rules.combined_questions.iter().map(|question| document.ask(question, &given)).collect();
    let (value, value2) = (a.answer(), b.answer());
    let answer = fill(&rules.combined_answer, &[("label", &a.label), ("value", &value), ("label2", &b.label), ("value2", &value2)]);
    let mut chunk_ids = vec![a.chunk_id.clone()];
    if b.chunk_id != a.chunk_id {
        chunk_ids.push(b.chunk_id.clone());
    }
    Unit {
        document: a.document,
        kind: Kind::Combined,
        fields: vec![a.field.clone(), b.field.clone()],
        category: "combined".to_owned(),
        difficulty: "hard".to_owned(),
        answer,
        values: a.values.iter().chain(&b.values).cloned().collect(),
        chunk_ids,
        wordings: differing(questions, random),
    }
}

/// Units that ask a document for a field it does not give.
pub(crate) fn unanswerable_units(documents: &[Document<'_>], facts: &[Fact], rules: &Rules, seed: u64) -> Vec<Unit> {
    let mut given: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); documents.len()];
    for fact in facts {
        given[fact.document].insert(&fact.field);
    }
    let labels = RuleLabels::new(rules);
    let mut units = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let present = fields_written(document, rules, &labels);
        for (place, field) in rules.fields.iter().enumerate() {
            if !field.may_be_unknown || given[index].contains(field.name.as_str()) || present.contains(&place) {
                continue;
            }
            let mut random = Random::new(seed, &format!("unknown {} {}", document.key, field.name));
            let questions = field.questions.iter().chain(&field.more).map(|question| document.ask(question, &[])).collect();
            units.push(Unit {
                document: index,
                kind: Kind::Unanswerable,
                fields: vec![field.name.clone()],
                category: "unanswerable".to_owned(),
                difficulty: "medium".to_owned(),
                answer: rules.unknown_answers[random.below(rules.unknown_answers.len())].clone(),
                values: Vec::new(),
                chunk_ids: Vec::new(),
                wordings: differing(questions, &mut random),
            });
        }
    }
    units
}

/// Fields of which a document says something, were it only a word that is one of their labels, or something that may be their value: nobody may claim that it does not. Any
/// paragraph may say what a running text says. What is there but cannot be taught counts too, a placeholder excepted.
fn fields_written(document: &Document<'_>, rules: &Rules, labels: &RuleLabels<'_>) -> BTreeSet<usize> {
    let mut written = BTreeSet::new();
    for chunk in &document.chunks {
        let parsed = super::entries::parse(&chunk.content, labels);
        let values = field_values(&parsed, &chunk.content, &chunk.chunk_type, rules, labels);
        let is_open = |value: &String| rules.is_placeholder(value) || rules.has_placeholder(rules.without_notes(value));
        let placeholder_only = |values: &[String]| values.iter().all(is_open);
        let holders: BTreeSet<usize> = values.iter().filter(|(_, values)| placeholder_only(values)).map(|(field, _)| *field).collect();
        written.extend(values.iter().map(|(field, _)| *field).filter(|field| !holders.contains(field)));
        let text = format!(" {} ", fold(&chunk.content));
        let keys: Vec<String> = chunk.metadata.keys().map(|key| fold(key)).collect();
        for (index, field) in rules.fields.iter().enumerate() {
            let is_named = field.labels.iter().chain(&field.sections).any(|label| text.contains(&format!(" {label} ")));
            let matches = |text: &str| field.mentioned.as_ref().is_some_and(|pattern| pattern.is_match(text));
            let has_text = field.is_text && parsed.parts.iter().any(|part| !part.paragraphs.is_empty());
            // What is known of the file is not in its text.
            let in_metadata = keys.iter().any(|key| field.labels.contains(key) || field.sections.contains(key))
                || chunk.metadata.values().flat_map(texts_of).any(matches);
            if (is_named && !holders.contains(&index)) || matches(&chunk.content) || has_text || in_metadata {
                written.insert(index);
            }
        }
    }
    written
}

/// The texts of a value: itself, or those of a list.
fn texts_of(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

/// Wordings of which no two are nearly the same, in an order of chance.
fn differing(questions: Vec<String>, random: &mut Random) -> Vec<String> {
    let kept = representatives(&questions, |n| random.below(n));
    let mut wordings: Vec<String> = kept.into_iter().map(|index| questions[index].clone()).collect();
    random.shuffle(&mut wordings);
    wordings
}

/// Removes questions that occur twice: those with different answers altogether, those with one answer but once. In one document questions with the same answer are compared by
/// their words too, unless they ask for different fields of the rule file.
pub(crate) fn without_duplicates(mut units: Vec<Unit>, drops: &mut Drops) -> Vec<Unit> {
    let mut answers: HashMap<String, (String, bool)> = HashMap::new();
    for unit in &units {
        for wording in &unit.wordings {
            let entry = answers.entry(fold(wording)).or_insert_with(|| (fold(&unit.answer), false));
            entry.1 |= entry.0 != fold(&unit.answer);
        }
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut groups: HashMap<(usize, String), Vec<(String, String)>> = HashMap::new();
    for unit in &mut units {
        let (category, answer) = (unit.category.clone(), fold(&unit.answer));
        let group = groups.entry((unit.document, answer)).or_default();
        let field = unit.fields.join("+");
        unit.wordings.retain(|wording| {
            let folded = fold(wording);
            if answers.get(&folded).is_some_and(|(_, ambiguous)| *ambiguous) {
                drops.count(DropReason::Ambiguous, &category);
                return false;
            }
            let by_model = unit.kind == Kind::Fact && field.starts_with("model:");
            let near = by_model
                && group.len() <= MAX_COMPARED
                && group.iter().any(|(other, question)| *other != field && nearly_the_same(question, wording));
            if !seen.insert(folded) || near {
                drops.count(DropReason::NearDuplicate, &category);
                return false;
            }
            group.push((field.clone(), wording.clone()));
            true
        });
    }
    units.retain(|unit| !unit.wordings.is_empty());
    units
}
