//! Labelled lines of a document, and what each says something of: the document, or what its heading or the item above it names.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::document::Document;
use super::entries::{Entry, Labels, Parsed, parse};
use super::quality::plain;
use super::rules::Rules;
use super::wording::fold;
use crate::chunk::Chunk;

/// A chunk taken apart.
pub(super) struct Passage {
    pub(super) parsed: Parsed,
    /// The label of each entry that has one.
    pub(super) labels: Vec<Option<Label>>,
}

/// A label, and what its line says something of.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// As written, without emphasis.
    pub(super) text: String,
    pub(super) folded: String,
    /// None: the document as a whole.
    pub(super) owner: Option<String>,
    pub(super) folded_owner: String,
}

impl Passage {
    pub(super) fn new(chunk: &Chunk, document: &Document<'_>, known: &dyn Labels) -> Self {
        let parsed = parse(&chunk.content, known);
        // What a chunk begins with stands below the heading that an earlier chunk of the section has.
        let path = chunk.metadata.get("path").and_then(Value::as_array);
        let below = path.and_then(|path| path.last()).and_then(Value::as_str).unwrap_or_default();
        let label = |entry: &Entry| {
            let text = plain(entry.label.as_deref()?);
            let heading = if entry.part == 0 { below } else { &parsed.parts[entry.part].heading };
            let owner = entry.parent.as_deref().filter(|_| entry.is_nested).unwrap_or(heading);
            let owner = Some(plain(owner)).filter(|owner| !owner.is_empty() && !document.is_called(owner));
            let folded_owner = owner.as_deref().map(fold).unwrap_or_default();
            Some(Label { folded: fold(&text), text, owner, folded_owner })
        };
        let labels = parsed.entries.iter().map(label).collect();
        Self { parsed, labels }
    }
}

/// The labels of a document.
pub(super) struct DocumentLabels {
    /// What each says something of.
    owners: HashMap<String, HashSet<String>>,
    /// What each says of it.
    values: HashMap<(String, String), HashSet<String>>,
}

impl DocumentLabels {
    /// What is only a placeholder says nothing.
    pub(super) fn new(passages: &[Passage], rules: &Rules) -> Self {
        let mut found = Self { owners: HashMap::new(), values: HashMap::new() };
        for (entry, label) in passages.iter().flat_map(|passage| passage.parsed.entries.iter().zip(&passage.labels)) {
            let Some(Label { folded, folded_owner, .. }) = label.as_ref().filter(|_| !rules.is_placeholder(&entry.value)) else { continue };
            found.owners.entry(folded.clone()).or_default().insert(folded_owner.clone());
            found.values.entry((folded.clone(), folded_owner.clone())).or_default().insert(fold(&entry.value));
        }
        found
    }

    /// Whether the label stands below something else, too.
    pub(super) fn is_shared(&self, label: &Label) -> bool {
        self.owners.get(&label.folded).is_some_and(|owners| owners.len() > 1)
    }

    /// Whether the label says two things of the same: nobody could tell which is meant.
    pub(super) fn is_ambiguous(&self, label: &Label) -> bool {
        self.values.get(&(label.folded.clone(), label.folded_owner.clone())).is_some_and(|values| values.len() > 1)
    }
}
