//! Facts: what a document says of a field, where, and how that can be asked for.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::document::Document;
use super::entries::{Labels as _, Parsed};
use super::fields::{RuleLabels, field_values, names_section};
use super::labelled::{DocumentLabels, Passage};
use super::quality::{DropReason, Drops, cut_text, plain, squeezed};
use super::rules::{FieldRule, Rules};
use super::wording::fold;

/// Longest answer that is no running text, in characters.
pub(super) const MAX_SHORT_ANSWER_CHARS: usize = 400;
/// Shortest paragraph that is worth a question, in characters.
const MIN_PARAGRAPH_CHARS: usize = 40;

/// How a fact was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    /// A field of the rule file.
    Field,
    /// A labelled line that no field knows.
    KeyValue,
    /// A cell of a table.
    Table,
    /// A heading and its first paragraph.
    Section,
    /// A sentence that says what something is.
    Sentence,
    /// Found by a language model.
    Model,
}

/// Something a document says, the chunk that says it, and wordings that ask for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Index of the document.
    pub document: usize,
    /// What is said; unique in its document. A field's name, or `label:...`, `cell:...`, `section:...`, `definition:...`.
    pub field: String,
    /// How it was found.
    pub kind: FactKind,
    /// Field, or kind of fact, for counting.
    pub category: String,
    /// `easy`, `medium` or `hard`.
    pub difficulty: String,
    /// What it is called at the head of a line.
    pub label: String,
    /// What it is called within a sentence, with its article.
    pub phrase: Option<String>,
    /// The values, each found in the chunk.
    pub values: Vec<String>,
    /// The answer, where it is not the values with commas between them.
    pub answer_text: Option<String>,
    /// The chunk that says it.
    pub chunk_id: String,
    /// Wordings, filled in; different from one another.
    pub questions: Vec<String>,
}

impl Fact {
    /// The answer: its values, separated by commas, unless it has a text of its own.
    pub fn answer(&self) -> String {
        self.answer_text.clone().unwrap_or_else(|| self.values.join(", "))
    }
}

/// Everything the rules find in a document. What cannot be used is counted in `drops`.
pub fn extract(index: usize, document: &Document<'_>, rules: &Rules, max_answer_chars: usize, drops: &mut Drops) -> Vec<Fact> {
    let labels = RuleLabels::new(rules);
    let passages: Vec<Passage> = document.chunks.iter().map(|chunk| Passage::new(chunk, document, &labels)).collect();
    let mut collector = Collector {
        index,
        document,
        rules,
        max_answer_chars,
        drops,
        labels: DocumentLabels::new(&passages, rules),
        facts: Vec::new(),
        places: BTreeMap::new(),
        conflicting: HashSet::new(),
    };
    for (chunk, passage) in document.chunks.iter().zip(&passages) {
        let parsed = &passage.parsed;
        for (field, values) in field_values(parsed, &chunk.content, &chunk.chunk_type, rules, &labels) {
            collector.field(&rules.fields[field], &values, &chunk.id);
        }
        collector.key_values(passage, &labels, &chunk.id);
        collector.tables(parsed, &chunk.id);
        collector.sections(parsed, &labels, &chunk.id);
        collector.sentences(parsed, &chunk.content, &chunk.chunk_type, &chunk.id);
    }
    let Collector { facts, conflicting, .. } = collector;
    facts.into_iter().filter(|fact| !conflicting.contains(&fact.field)).collect()
}

/// What was found outside the fields of the rule file.
struct Other<'a> {
    kind: FactKind,
    field: String,
    category: &'a str,
    difficulty: &'a str,
    label: &'a str,
    value: &'a str,
    chunk_id: &'a str,
    questions: Vec<String>,
}

struct Collector<'a> {
    index: usize,
    document: &'a Document<'a>,
    rules: &'a Rules,
    max_answer_chars: usize,
    drops: &'a mut Drops,
    labels: DocumentLabels,
    facts: Vec<Fact>,
    places: BTreeMap<String, usize>,
    conflicting: HashSet<String>,
}

impl Collector<'_> {
    /// Adds a fact, unless the document has it already. One that contradicts an earlier one makes both unusable.
    fn push(&mut self, fact: Fact, is_text: bool) {
        match self.places.get(&fact.field) {
            None => {
                self.places.insert(fact.field.clone(), self.facts.len());
                self.facts.push(fact);
            }
            Some(place) if is_text || self.facts[*place].values == fact.values => {}
            Some(place) => {
                // Values of the same field in two chunks are one longer list, or a contradiction; only one chunk can be cited, so neither is taught.
                let earlier = &self.facts[*place];
                let contains = |a: &[String], b: &[String]| b.iter().all(|value| a.contains(value));
                if contains(&earlier.values, &fact.values) {
                } else if contains(&fact.values, &earlier.values) {
                    let place = *place;
                    self.facts[place] = fact;
                } else if self.conflicting.insert(fact.field.clone()) {
                    self.drops.count(DropReason::Conflicting, &fact.category);
                }
            }
        }
    }

    /// Values without emphasis, each once, without placeholders; counted when nothing is left.
    fn clean(&mut self, values: &[String], category: &str) -> Vec<String> {
        let mut clean: Vec<String> = Vec::new();
        for value in values.iter().map(|value| plain(self.rules.without_notes(value))) {
            if !value.is_empty() && !self.rules.has_placeholder(&value) && !clean.contains(&value) {
                clean.push(value);
            }
        }
        if clean.is_empty() {
            self.drops.count(DropReason::Placeholder, category);
        }
        clean
    }

    fn field(&mut self, field: &FieldRule, values: &[String], chunk_id: &str) {
        let mut values = self.clean(values, &field.name);
        if field.is_text && !values.is_empty() {
            match cut_text(&values[0], self.max_answer_chars) {
                Some(text) => values = vec![text],
                None => {
                    self.drops.count(DropReason::TooLong, &field.name);
                    return;
                }
            }
        }
        if values.is_empty() {
            return;
        }
        if values.iter().map(|value| value.chars().count()).sum::<usize>() > self.max_answer_chars {
            self.drops.count(DropReason::TooLong, &field.name);
            return;
        }
        let fact = Fact {
            document: self.index,
            field: field.name.clone(),
            kind: FactKind::Field,
            category: field.name.clone(),
            difficulty: field.difficulty.clone(),
            label: field.label.clone(),
            phrase: Some(field.phrase.clone()),
            values,
            answer_text: None,
            chunk_id: chunk_id.to_owned(),
            questions: field.questions.iter().chain(&field.more).map(|question| self.document.ask(question, &[])).collect(),
        };
        self.push(fact, field.is_text);
    }

    /// A fact that no field of the rule file stands for.
    fn other(&mut self, found: Other<'_>) {
        let Other { kind, field, category, difficulty, label, value, chunk_id, questions } = found;
        let values = self.clean(&[value.to_owned()], category);
        let Some(value) = values.first() else { return };
        if value.chars().count() > MAX_SHORT_ANSWER_CHARS.min(self.max_answer_chars) && kind != FactKind::Section {
            self.drops.count(DropReason::TooLong, category);
            return;
        }
        let fact = Fact {
            document: self.index,
            field,
            kind,
            category: category.to_owned(),
            difficulty: difficulty.to_owned(),
            label: label.to_owned(),
            phrase: None,
            values,
            answer_text: None,
            chunk_id: chunk_id.to_owned(),
            questions,
        };
        self.push(fact, false);
    }

    fn key_values(&mut self, passage: &Passage, labels: &RuleLabels<'_>, chunk_id: &str) {
        let Some(wordings) = &self.rules.key_value else { return };
        let Passage { parsed, labels: written } = passage;
        for (entry, label) in parsed.entries.iter().zip(written) {
            let Some(label) = label else { continue };
            let of_field = |heading: &str| self.rules.fields.iter().any(|field| names_section(heading, field));
            let in_field = of_field(&parsed.parts[entry.part].heading) || entry.parent.as_deref().is_some_and(of_field);
            let is_open = self.rules.is_placeholder(&label.text);
            if labels.is_known(&label.folded) || in_field || is_open || !label.text.contains(char::is_alphabetic) || entry.value.is_empty()
            {
                continue;
            }
            if self.labels.is_ambiguous(label) {
                self.drops.count(DropReason::Repeated, "key_value");
                continue;
            }
            // Below several headings a label says something of each of them.
            let (field, name) = match &label.owner {
                Some(owner) if self.labels.is_shared(label) => {
                    (format!("label:{}:{}", label.folded, label.folded_owner), format!("{owner} ({})", self.document.name))
                }
                _ => (format!("label:{}", label.folded), self.document.name.clone()),
            };
            let given = [("name", name.as_str()), ("label", &label.text)];
            let questions = wordings.questions.iter().map(|question| self.document.ask(question, &given)).collect();
            self.other(Other {
                kind: FactKind::KeyValue,
                field,
                category: "key_value",
                difficulty: &wordings.difficulty,
                label: &label.text,
                value: &entry.value,
                chunk_id,
                questions,
            });
        }
    }

    fn tables(&mut self, parsed: &Parsed, chunk_id: &str) {
        let Some(wordings) = &self.rules.table else { return };
        for table in &parsed.tables {
            let names: Vec<String> = table.rows.iter().map(|row| row.first().map(|cell| fold(cell)).unwrap_or_default()).collect();
            for (row, name) in table.rows.iter().zip(&names) {
                // A row that shares its first cell with another cannot be named by it.
                if name.is_empty() || names.iter().filter(|other| *other == name).count() > 1 {
                    continue;
                }
                for (label, value) in table.head.iter().zip(row).skip(1) {
                    if label.trim().is_empty() || value.trim().is_empty() {
                        continue;
                    }
                    let (row, label) = (plain(&row[0]), plain(label));
                    let given = [("label", label.as_str()), ("row", &row)];
                    let questions = wordings.questions.iter().map(|question| self.document.ask(question, &given)).collect();
                    let field = format!("cell:{name}:{}", fold(&label));
                    self.other(Other {
                        kind: FactKind::Table,
                        field,
                        category: "table",
                        difficulty: &wordings.difficulty,
                        label: &label,
                        value,
                        chunk_id,
                        questions,
                    });
                }
            }
        }
    }

    fn sections(&mut self, parsed: &Parsed, labels: &RuleLabels<'_>, chunk_id: &str) {
        let Some(wordings) = &self.rules.section else { return };
        for part in &parsed.parts {
            let heading = plain(&part.heading);
            let folded = fold(&heading);
            let is_field = labels.is_known(&folded) || self.rules.fields.iter().any(|field| names_section(&heading, field));
            // A paragraph that an earlier chunk began is half a sentence.
            let is_whole = |paragraph: &&String| {
                paragraph.chars().count() >= MIN_PARAGRAPH_CHARS
                    && !paragraph.starts_with(|c: char| c.is_lowercase() || c.is_ascii_punctuation())
            };
            let Some(paragraph) = part.paragraphs.iter().find(is_whole) else { continue };
            if folded.is_empty() || self.document.is_called(&heading) || is_field || self.rules.is_placeholder(&heading) {
                continue;
            }
            let Some(answer) = cut_text(&plain(paragraph), self.max_answer_chars) else { continue };
            let questions = wordings.questions.iter().map(|question| self.document.ask(question, &[("heading", &heading)])).collect();
            self.other(Other {
                kind: FactKind::Section,
                field: format!("section:{folded}"),
                category: "section",
                difficulty: &wordings.difficulty,
                label: &heading,
                value: &answer,
                chunk_id,
                questions,
            });
        }
    }

    fn sentences(&mut self, parsed: &Parsed, content: &str, chunk_type: &str, chunk_id: &str) {
        let whole = self.rules.fields.iter().any(|field| field.chunk_types.iter().any(|kind| kind == chunk_type));
        let texts: Vec<String> = if whole {
            vec![content.to_owned()]
        } else {
            let long = parsed.entries.iter().map(|entry| &entry.value).filter(|value| value.chars().count() >= MIN_PARAGRAPH_CHARS);
            parsed.parts.iter().flat_map(|part| &part.paragraphs).chain(long).cloned().collect()
        };
        for text in &texts {
            for sentence in super::quality::sentences(text) {
                self.sentence(&sentence, chunk_id);
            }
        }
    }

    fn sentence(&mut self, sentence: &str, chunk_id: &str) {
        if sentence.chars().count() > MAX_SHORT_ANSWER_CHARS {
            return;
        }
        let sentence = squeezed(&plain(sentence));
        for rule in &self.rules.sentences {
            let Some(subject) = rule
                .pattern
                .captures(&sentence)
                .and_then(|groups| groups.name("subject"))
                .map(|subject| subject.as_str().trim().to_owned())
            else {
                continue;
            };
            let folded = fold(&subject);
            let first = folded.split(' ').next().unwrap_or_default();
            let has_clause = folded.split(' ').any(|word| self.rules.clause_words.iter().any(|other| other == word));
            if first.is_empty() || has_clause || self.rules.no_subjects.iter().any(|word| word == first) {
                continue;
            }
            let questions = rule.questions.iter().map(|question| self.document.ask(question, &[("subject", &subject)])).collect();
            self.other(Other {
                kind: FactKind::Sentence,
                field: format!("definition:{folded}"),
                category: &rule.name,
                difficulty: &rule.difficulty,
                label: &subject,
                value: &sentence,
                chunk_id,
                questions,
            });
            return;
        }
    }
}
