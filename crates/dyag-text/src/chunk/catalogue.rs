//! Catalogues in running text: which headings are applications, and what the lines below them say of each.
//!
//! Every heading begins a part of its own, so that nothing of an application can end up with the one before it.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::document::record::{NAME_KEYS, STATE_KEYS, normal_key, slug};
use crate::document::{BlockKind, Outline, Section};

/// An application of a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Its sections.
    pub(super) sections: Range<usize>,
    /// Its own id, else a slug of its name.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// Its state, where it has one.
    pub(super) state: Option<String>,
    /// What its lines say, by [`normal_key`].
    pub(super) fields: Map<String, Value>,
}

/// Values longer than this, in characters, are text and not metadata.
pub(super) const MAX_VALUE: usize = 200;

const MAX_FIELDS: usize = 40;

/// The applications of a document, in order; none where it is no catalogue.
///
/// Applications are the headings of the level at which most headings have an id in a line below them.
pub(super) fn entries(outline: &mut Outline) -> Vec<Entry> {
    absorb_id_headings(outline);
    let facts: Vec<Facts> = outline.sections.iter().map(Facts::of).collect();
    let mut counts = [0usize; 256];
    for (section, facts) in outline.sections.iter().zip(&facts) {
        if let (Some(heading), Some(_)) = (&section.heading, &facts.id) {
            counts[usize::from(heading.level)] += 1;
        }
    }
    let Some(level) = (0..=255u8).rev().max_by_key(|level| counts[usize::from(*level)]).filter(|level| counts[usize::from(*level)] > 0)
    else {
        return Vec::new();
    };
    // One line that looks like an id makes no catalogue; with a name or a state beside it, it does.
    let is_lone = counts[usize::from(level)] == 1;
    let mut entries: Vec<Entry> = Vec::new();
    let mut open: Option<Entry> = None;
    for (index, (section, facts)) in outline.sections.iter().zip(facts).enumerate() {
        let Some(heading) = section.heading.as_ref().filter(|heading| heading.level <= level) else { continue };
        if let Some(mut entry) = open.take() {
            entry.sections.end = index;
            entries.push(entry);
        }
        let (title, is_marked) = bare_title(&heading.title);
        let speaks = is_marked || facts.state.is_some() || facts.name.is_some();
        if heading.level == level && (speaks || (facts.id.is_some() && !is_lone)) {
            let name = facts.name.unwrap_or(title);
            let id = facts.id.unwrap_or_else(|| slug(&name));
            open = Some(Entry { sections: index..index + 1, id, name, state: facts.state, fields: facts.fields });
        }
    }
    if let Some(mut entry) = open {
        entry.sections.end = outline.sections.len();
        entries.push(entry);
    }
    entries
}

/// What the lines right below a heading say.
struct Facts {
    id: Option<String>,
    name: Option<String>,
    state: Option<String>,
    fields: Map<String, Value>,
}

impl Facts {
    fn of(section: &Section) -> Self {
        let mut facts = Self { id: None, name: None, state: None, fields: Map::new() };
        let titled = section.heading.as_ref().and_then(|heading| field(&heading.title)).filter(|(key, _)| is_id(key));
        let mut alike = titled.map(|(_, value)| value);
        for (key, value, is_marked) in section.blocks.iter().flat_map(|block| fields(block.kind, &block.text)) {
            let known = normal_key(&key);
            if ["id", "identifiant", "identifier"].contains(&known.as_str()) {
                facts.id = facts.id.or_else(|| id_value(&value));
            } else if alike.is_none() && is_id(&key) && id_value(&value).is_some() {
                // Its value will be the id; the same value twice would be no better.
                alike = id_value(&value);
                continue;
            } else if NAME_KEYS.contains(&known.as_str()) {
                facts.name = facts.name.or_else(|| Some(value.clone()));
            } else if STATE_KEYS.contains(&known.as_str()) {
                facts.state = facts.state.or_else(|| Some(value.clone()));
            } else if !is_marked {
                continue;
            }
            if value.chars().count() <= MAX_VALUE && facts.fields.len() < MAX_FIELDS {
                facts.fields.entry(known).or_insert(value.into());
            }
        }
        facts.id = facts.id.or(alike);
        facts
    }
}

/// Whether a key names an id, such as `Application d'identifiant`.
fn is_id(key: &str) -> bool {
    let key = normal_key(key);
    let words: Vec<&str> = key.split(' ').collect();
    words.len() <= 4 && matches!(words.last(), Some(&("id" | "identifiant" | "identifier")))
}

/// An id is one to three short words.
fn id_value(value: &str) -> Option<String> {
    (value.chars().count() <= 64 && value.split_whitespace().count() <= 3).then(|| value.to_owned())
}

/// The fields that a block's lines hold: key, value, and whether its form says so (an item, a bold key, a row of two cells).
fn fields(kind: BlockKind, text: &str) -> Vec<(String, String, bool)> {
    match kind {
        BlockKind::Code => Vec::new(),
        BlockKind::Table => text.lines().filter_map(row).map(|(key, value)| (key, value, true)).collect(),
        BlockKind::Paragraph | BlockKind::List => {
            // Lines that are indented belong to the item above them.
            let lines = text.lines().filter(|line| !line.starts_with([' ', '\t']));
            let is_marked = |line: &str| kind == BlockKind::List || line.starts_with("**") || line.starts_with("__");
            lines.filter_map(|line| field(line).map(|(key, value)| (key, value, is_marked(line)))).collect()
        }
    }
}

/// A row of two cells.
fn row(line: &str) -> Option<(String, String)> {
    let mut cells = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('*').trim());
    let (key, value) = (cells.next()?, cells.next()?);
    let is_rule = value.chars().all(|c| "-: ".contains(c));
    (cells.next().is_none() && !key.is_empty() && !is_rule).then(|| (key.trim_end_matches(':').trim().to_owned(), value.to_owned()))
}

/// `Key: value`, `- Key: value`, `**Key:** value`.
fn field(line: &str) -> Option<(String, String)> {
    let line = line.trim_start_matches(['-', '+', '#', ' ', '\t', '*', '_']);
    let (key, value) = line.split_once(':')?;
    let key = key.trim_matches(|c: char| c.is_whitespace() || "*_`".contains(c));
    let is_url = value.starts_with("//");
    let value = value.trim_start_matches(['*', '_']).trim().trim_matches('`').trim();
    let is_key = !key.is_empty() && key.chars().count() <= 60 && key.split_whitespace().count() <= 6;
    (is_key && !value.is_empty() && !is_url).then(|| (key.to_owned(), value.to_owned()))
}

/// A heading's title without the word `Application:`, and whether it had one.
fn bare_title(title: &str) -> (String, bool) {
    if let Some((before, name)) = title.split_once(':') {
        let is_word = ["application", "app", "logiciel", "produit"].contains(&normal_key(before).as_str());
        if is_word && !name.trim().is_empty() {
            return (name.trim().to_owned(), true);
        }
    }
    (title.to_owned(), false)
}

/// A heading right below another that is no deeper, and whose title is an id, is a line of that one: exports write
/// `## Application: 6Tzen`, then `# Application d'identifiant: 1238`.
fn absorb_id_headings(outline: &mut Outline) {
    let mut kept: Vec<Section> = Vec::with_capacity(outline.sections.len());
    for mut section in std::mem::take(&mut outline.sections) {
        let above = kept.last_mut().filter(|above| above.blocks.is_empty());
        match (above, section.heading.take()) {
            (Some(above), Some(heading))
                if above.heading.as_ref().is_some_and(|above| heading.level <= above.level)
                    && field(&heading.title).is_some_and(|(key, _)| is_id(&key)) =>
            {
                let line = crate::document::Block { kind: BlockKind::Paragraph, text: heading.title, page: None };
                above.blocks.push(line);
                above.blocks.append(&mut section.blocks);
            }
            (_, heading) => kept.push(Section { heading, ..section }),
        }
    }
    outline.sections = kept;
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
