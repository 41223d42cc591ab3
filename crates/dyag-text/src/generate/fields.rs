//! Fields of the rule file: where a passage gives their values, and what the values are.

use std::collections::{HashMap, HashSet};

use super::entries::{Entry, Labels, Parsed};
use super::rules::{FieldRule, Rules};
use super::wording::fold;

/// Labels of a rule file, as the parser of passages asks for them.
pub(crate) struct RuleLabels<'a> {
    fields: HashMap<&'a str, Vec<usize>>,
    text: HashSet<&'a str>,
    other: HashSet<&'a str>,
}

impl<'a> RuleLabels<'a> {
    pub(crate) fn new(rules: &'a Rules) -> Self {
        let mut fields: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, field) in rules.fields.iter().enumerate() {
            for label in &field.labels {
                fields.entry(label).or_default().push(index);
            }
        }
        let text = rules.fields.iter().filter(|field| field.is_text).flat_map(|field| field.labels.iter().map(String::as_str)).collect();
        let beside = rules.fields.iter().flat_map(|field| &field.beside);
        let other = beside.chain(&rules.name_labels).map(String::as_str).collect();
        Self { fields, text, other }
    }

    /// Whether a folded label is a name of the document, or stands beside a field's value.
    fn is_other(&self, folded: &str) -> bool {
        self.other.contains(folded)
    }
}

impl Labels for RuleLabels<'_> {
    fn is_known(&self, folded: &str) -> bool {
        self.fields.contains_key(folded) || self.is_other(folded)
    }

    fn opens_text(&self, folded: &str) -> bool {
        self.text.contains(folded)
    }
}

/// Values of the rule file's fields in a passage, as they are written there: for each field its index and its values in order.
pub(crate) fn field_values(
    parsed: &Parsed,
    content: &str,
    chunk_type: &str,
    rules: &Rules,
    labels: &RuleLabels<'_>,
) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (index, field) in rules.fields.iter().enumerate() {
        let values =
            if field.is_text { text_values(field, parsed, content, chunk_type) } else { list_values(index, field, parsed, labels) };
        if !values.is_empty() {
            found.push((index, values));
        }
    }
    found
}

/// A passage that is the field as a whole, a labelled text, or the text below a heading.
fn text_values(field: &FieldRule, parsed: &Parsed, content: &str, chunk_type: &str) -> Vec<String> {
    if field.chunk_types.iter().any(|kind| kind == chunk_type) {
        let without_headings: Vec<&str> =
            content.lines().skip_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#')).collect();
        return Some(without_headings.join("\n").trim().to_owned()).filter(|text| !text.is_empty()).into_iter().collect();
    }
    let labelled = parsed.entries.iter().find(|entry| is_one_of(entry.label.as_deref(), &field.labels) && !entry.value.is_empty());
    let below =
        || parsed.parts.iter().find(|part| names_section(&part.heading, field) && !part.body.is_empty()).map(|part| part.body.clone());
    labelled.map(|entry| entry.value.trim().to_owned()).or_else(below).into_iter().collect()
}

fn list_values(index: usize, field: &FieldRule, parsed: &Parsed, labels: &RuleLabels<'_>) -> Vec<String> {
    let mut values = Vec::new();
    for entry in &parsed.entries {
        let folded = entry.label.as_deref().map(fold).unwrap_or_default();
        let by_label = !folded.is_empty() && field.labels.contains(&folded);
        let in_part = names_section(&parsed.parts[entry.part].heading, field)
            || entry.parent.as_deref().is_some_and(|parent| field.sections.contains(&fold(parent)));
        let of_other_field = labels.fields.get(folded.as_str()).is_some_and(|fields| !fields.contains(&index));
        if by_label || (in_part && !of_other_field && !labels.is_other(&folded)) {
            values.extend(entry_value(field, entry, by_label));
        }
    }
    values
}

/// The value of an entry of a field: what the field's pattern cuts out of the line or of its value; without a pattern the value, or the whole line when its label is none of the field's.
fn entry_value(field: &FieldRule, entry: &Entry, by_label: bool) -> Option<String> {
    let value = match &field.item {
        Some(pattern) => {
            let cut =
                |text: &str| pattern.captures(text).and_then(|groups| groups.name("value")).map(|value| value.as_str().trim().to_owned());
            cut(&entry.raw).or_else(|| cut(&entry.value))?
        }
        None if by_label || entry.label.is_none() => entry.value.trim().to_owned(),
        None => entry.raw.trim().to_owned(),
    };
    (!value.is_empty()).then_some(value)
}

fn is_one_of(label: Option<&str>, labels: &[String]) -> bool {
    label.is_some_and(|label| labels.contains(&fold(label)))
}

/// Whether a heading is that of a field's part: as a whole, or after the document's name and a dash.
pub(crate) fn names_section(heading: &str, field: &FieldRule) -> bool {
    if heading.is_empty() {
        return false;
    }
    let after_dash = heading.rsplit(" - ").next().unwrap_or(heading);
    [heading, after_dash].iter().any(|text| field.sections.contains(&fold(text)))
}
