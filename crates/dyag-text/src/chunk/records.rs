//! Entries of JSON catalogues: which of their fields go into which chunk.
//!
//! [`SECTIONS`] says it; what no rule takes goes into the section that takes the rest, so nothing of an entry is lost.

use serde_json::{Map, Value};

use super::catalogue::MAX_VALUE;
use crate::document::record::{STATE_KEYS, key_of, normal_key, scalar};
use crate::document::{BlockKind, Outline, Record};

/// A chunk of each entry, and what it takes of it.
struct SectionRule {
    chunk_type: &'static str,
    /// What follows the entry's name in the chunk's title.
    title: &'static str,
    takes: Takes,
}

/// Keys are written as [`normal_key`] writes them.
enum Takes {
    /// Scalars, each with its label. This section is there for every entry.
    Fields(&'static [(&'static str, &'static [&'static str])]),
    /// Running text.
    Text(&'static [&'static str]),
    /// Lists, and with `rest` everything that no section takes.
    Lists { rules: &'static [ListRule], rest: bool },
}

/// A list of objects of which each is a line.
struct ListRule {
    keys: &'static [&'static str],
    /// The heading; none where the section has only this list.
    title: Option<&'static str>,
    /// What a line begins with where the object says nothing.
    label: &'static str,
    label_keys: &'static [&'static str],
    /// Values that are written one below the other with `>` between them.
    value_keys: &'static [&'static str],
}

/// The chunks of an entry, in order.
const SECTIONS: [SectionRule; 4] = [
    SectionRule {
        chunk_type: "overview",
        title: "Vue d'ensemble",
        takes: Takes::Fields(&[
            ("Nom complet", &["nom long", "nom complet", "long name", "full name"]),
            ("Statut", &STATE_KEYS),
            ("Portée géographique", &["portee geographique", "portee", "scope"]),
        ]),
    },
    SectionRule {
        chunk_type: "description",
        title: "Description",
        takes: Takes::Text(&["descriptif", "description", "resume", "summary", "abstract", "presentation"]),
    },
    SectionRule {
        chunk_type: "technical",
        title: "Informations techniques",
        takes: Takes::Lists {
            rules: &[
                ListRule {
                    keys: &["domaines et sous domaines", "domaines", "domains"],
                    title: Some("Domaines métier"),
                    label: "Domaine",
                    label_keys: &[],
                    value_keys: &["domaine metier", "domaine", "sous domaine metier", "sous domaine"],
                },
                ListRule {
                    keys: &["evenements", "events"],
                    title: Some("Événements"),
                    label: "Événement",
                    label_keys: &["type d evenement", "type"],
                    value_keys: &["date"],
                },
                ListRule {
                    keys: &["acteurs", "actors"],
                    title: Some("Acteurs"),
                    label: "Acteur",
                    label_keys: &["role d acteur", "role"],
                    value_keys: &["acteur", "actor", "nom", "name"],
                },
                ListRule {
                    keys: &["hebergements", "hostings"],
                    title: Some("Hébergements"),
                    label: "Hébergement",
                    label_keys: &["type de site", "type"],
                    value_keys: &["data center", "hebergeur"],
                },
            ],
            rest: true,
        },
    },
    SectionRule {
        chunk_type: "sites",
        title: "Sites web",
        takes: Takes::Lists {
            rules: &[ListRule {
                keys: &["sites", "sites web", "urls", "url", "site web", "website", "liens", "links"],
                title: None,
                label: "Site",
                label_keys: &["nature de l url", "nature", "type", "label"],
                value_keys: &["url", "lien", "link", "href"],
            }],
            rest: false,
        },
    },
];

/// A chunk of an entry before it is cut.
pub(super) struct RecordPart {
    pub(super) chunk_type: &'static str,
    pub(super) title: String,
    pub(super) outline: Outline,
}

/// The chunks of an entry; those that would say nothing are left out, but for the first.
pub(super) fn parts(record: &Record) -> Vec<RecordPart> {
    let mut fields = record.fields.clone();
    let id = take_equal(&mut fields, &crate::document::record::ID_KEYS, &record.id);
    take_equal(&mut fields, &crate::document::record::NAME_KEYS, &record.name);
    // What sections name is taken before the rest goes anywhere.
    let taken: Vec<Vec<(String, Value)>> = SECTIONS.iter().map(|rule| rule.takes.take(&mut fields)).collect();
    let mut parts = Vec::new();
    for (rule, taken) in SECTIONS.iter().zip(taken) {
        let title = format!("{} - {}", record.name, rule.title);
        let mut outline = Outline::default();
        match &rule.takes {
            Takes::Fields(_) => {
                outline.heading(1, &record.name);
                let id = id.iter().map(|id| ("ID".to_owned(), Value::String(id.clone())));
                let lines = id.chain(taken).filter_map(|(label, value)| scalar(&value).map(|value| format!("**{label}**: {value}")));
                let lines = lines.collect::<Vec<_>>().join("\n");
                // An entry without a field is at least its name.
                outline.block(BlockKind::Paragraph, if lines.is_empty() { &record.name } else { &lines });
            }
            Takes::Text(_) => {
                outline.heading(1, &title);
                for (index, (key, value)) in taken.iter().enumerate() {
                    if index > 0 {
                        outline.heading(2, key);
                    }
                    outline.block(BlockKind::Paragraph, &scalar(value).unwrap_or_default());
                }
            }
            Takes::Lists { rules, rest } => {
                outline.heading(1, &title);
                let rest = if *rest { std::mem::take(&mut fields) } else { Map::new() };
                lists(&mut outline, rules, taken, rest);
            }
        }
        if !outline.is_empty() {
            parts.push(RecordPart { chunk_type: rule.chunk_type, title, outline });
        }
    }
    parts
}

/// Takes the field that holds the entry's id or name.
fn take_equal(fields: &mut Map<String, Value>, keys: &[&str], text: &str) -> Option<String> {
    let key = key_of(fields, keys)?.to_owned();
    (scalar(&fields[&key]).as_deref() == Some(text)).then(|| fields.shift_remove(&key))?;
    Some(text.to_owned())
}

impl Takes {
    /// Takes what the section names, with labels or keys.
    fn take(&self, fields: &mut Map<String, Value>) -> Vec<(String, Value)> {
        let mut taken = Vec::new();
        match self {
            Self::Fields(rules) => {
                for (label, keys) in *rules {
                    let key = key_of(fields, keys).map(str::to_owned);
                    taken.extend(key.and_then(|key| fields.shift_remove(&key)).map(|value| ((*label).to_owned(), value)));
                }
            }
            Self::Text(keys) => {
                let named: Vec<String> = fields
                    .iter()
                    .filter(|(key, value)| keys.contains(&normal_key(key).as_str()) && value.is_string())
                    .map(|(key, _)| key.clone())
                    .collect();
                taken.extend(named.into_iter().filter_map(|key| fields.shift_remove(&key).map(|value| (key, value))));
            }
            Self::Lists { rules, .. } => {
                for rule in *rules {
                    let named: Vec<String> = fields.keys().filter(|key| rule.keys.contains(&normal_key(key).as_str())).cloned().collect();
                    taken.extend(named.into_iter().filter_map(|key| fields.shift_remove(&key).map(|value| (key, value))));
                }
            }
        }
        taken
    }
}

/// Writes lists: those with a rule as it says, the others as their objects are.
fn lists(outline: &mut Outline, rules: &[ListRule], taken: Vec<(String, Value)>, rest: Map<String, Value>) {
    let short = |value: &Value| scalar(value).filter(|text| text.chars().count() <= MAX_VALUE);
    let lines: Vec<String> = rest.iter().filter_map(|(key, value)| short(value).map(|value| format!("**{key}**: {value}"))).collect();
    outline.block(BlockKind::Paragraph, &lines.join("\n"));
    for (key, value) in &taken {
        let Some(rule) = rules.iter().find(|rule| rule.keys.contains(&normal_key(key).as_str())) else { continue };
        let items = match value {
            Value::Array(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        let mut lines: Vec<String> = Vec::new();
        for item in items {
            let line = rule.line(item);
            // Who is named twice in the same role is one actor.
            if !line.is_empty() && !lines.contains(&line) {
                lines.push(line);
            }
        }
        titled(outline, rule.title, BlockKind::List, &lines.concat());
    }
    for (key, value) in rest.iter().filter(|(_, value)| short(value).is_none()) {
        match scalar(value) {
            Some(text) => titled(outline, Some(key), BlockKind::Paragraph, &text),
            None => {
                let mut lines = String::new();
                let items = match value {
                    Value::Array(items) => items.as_slice(),
                    other => std::slice::from_ref(other),
                };
                items.iter().for_each(|item| bullets(item, 0, &mut lines));
                titled(outline, Some(key), BlockKind::List, &lines);
            }
        }
    }
}

/// A block below its title; nothing where there is no text.
fn titled(outline: &mut Outline, title: Option<&str>, kind: BlockKind, text: &str) {
    if !text.trim().is_empty() {
        if let Some(title) = title {
            outline.heading(2, title);
        }
        outline.block(kind, text);
    }
}

impl ListRule {
    /// `- label: value > value (key: value)`, or the item as it is where it has another shape; with its line end, or empty.
    fn line(&self, item: &Value) -> String {
        let Value::Object(object) = item else {
            return match scalar(item) {
                Some(text) => format!("- {}: {}\n", self.label, one_line(&text)),
                None => generic(item),
            };
        };
        let mut object = object.clone();
        let mut take = |keys: &[&str]| {
            let key = key_of(&object, keys).map(str::to_owned)?;
            object.shift_remove(&key).as_ref().and_then(scalar)
        };
        let values: Vec<String> = self.value_keys.iter().filter_map(|key| take(&[key])).map(|value| one_line(&value)).collect();
        if values.is_empty() {
            return generic(item);
        }
        let label = take(self.label_keys).unwrap_or_else(|| self.label.to_owned());
        let others: Vec<String> =
            object.iter().filter_map(|(key, value)| scalar(value).map(|value| format!("{key}: {}", one_line(&value)))).collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
        let mut line = format!("- {}: {}{others}\n", one_line(&label), values.join(" > "));
        for (key, value) in object.iter().filter(|(_, value)| value.is_array() || value.is_object()) {
            nested(key, value, 1, &mut line);
        }
        line
    }
}

fn generic(item: &Value) -> String {
    let mut line = String::new();
    bullets(item, 0, &mut line);
    line
}

/// Any value as items of a list.
fn bullets(value: &Value, depth: usize, lines: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Array(items) => items.iter().for_each(|item| bullets(item, depth, lines)),
        Value::Object(object) => {
            let scalars: Vec<String> =
                object.iter().filter_map(|(key, value)| scalar(value).map(|value| format!("{key}: {}", one_line(&value)))).collect();
            if !scalars.is_empty() {
                lines.push_str(&format!("{indent}- {}\n", scalars.join("; ")));
            }
            let depth = depth + usize::from(!scalars.is_empty());
            for (key, value) in object.iter().filter(|(_, value)| value.is_array() || value.is_object()) {
                nested(key, value, depth, lines);
            }
        }
        other => {
            if let Some(text) = scalar(other) {
                lines.push_str(&format!("{indent}- {}\n", one_line(&text)));
            }
        }
    }
}

/// A list inside an item, below its key.
fn nested(key: &str, value: &Value, depth: usize, lines: &mut String) {
    let mut inner = String::new();
    bullets(value, depth + 1, &mut inner);
    if !inner.is_empty() {
        lines.push_str(&format!("{}- {key}:\n{inner}", "  ".repeat(depth)));
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The scalars of an entry that are short, by [`normal_key`].
pub(super) fn metadata(record: &Record) -> Map<String, Value> {
    let short = record.fields.iter().filter(|(_, value)| scalar(value).is_some_and(|text| text.chars().count() <= MAX_VALUE));
    short.map(|(key, value)| (normal_key(key), value.clone())).filter(|(key, _)| !key.is_empty()).collect()
}

/// A row of a CSV file: its name and every field.
pub(super) fn row(record: &Record) -> String {
    let lines = record.fields.iter().filter_map(|(key, value)| scalar(value).map(|value| format!("\n**{key}**: {value}")));
    format!("# {}{}", one_line(&record.name), lines.collect::<String>())
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
