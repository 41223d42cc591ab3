//! Catalogues in Markdown: one text with a heading for each application (or product, contract, site), its id among the first lines below.

use serde_json::{Map, json};

use super::entries::parse;
use super::fields::RuleLabels;
use super::rules::Rules;
use super::wording::fold;
use crate::chunk::{Chunk, chunk_id};

/// Name of the field that is a document's own id.
const ID_FIELD: &str = "app_id";

struct Heading<'a> {
    line: usize,
    level: usize,
    text: &'a str,
}

/// The applications of a catalogue, each as one chunk, in the order of the text. Empty when no heading has an id below it.
pub fn catalogue(text: &str, rules: &Rules) -> Vec<Chunk> {
    let labels = RuleLabels::new(rules);
    let id_labels: &[String] = rules.fields.iter().find(|field| field.name == ID_FIELD).map_or(&[], |field| &field.labels);
    let lines: Vec<&str> = text.lines().collect();
    let headings = headings(&lines, &labels, rules);
    let mut found: Vec<Chunk> = Vec::new();
    let mut end_of_last = 0;
    for (index, heading) in headings.iter().enumerate() {
        if heading.line < end_of_last {
            continue;
        }
        let next = headings.get(index + 1).map_or(lines.len(), |next| next.line);
        let lead = parse(&lines[heading.line + 1..next].join("\n"), &labels);
        let is_id = |label: &Option<String>| label.as_deref().is_some_and(|label| id_labels.contains(&fold(label)));
        let Some(id) = lead.entries.iter().find(|entry| is_id(&entry.label)).map(|entry| entry.value.trim().to_owned()) else { continue };
        let end = headings[index + 1..].iter().find(|other| other.level <= heading.level).map_or(lines.len(), |other| other.line);
        end_of_last = end;
        let name = name_in(heading.text, rules);
        let mut metadata = Map::new();
        metadata.insert("app_id".to_owned(), json!(id));
        metadata.insert("app_name".to_owned(), json!(name));
        found.push(Chunk {
            id: chunk_id(&id, "catalogue", found.len()),
            source_id: id,
            title: name.to_owned(),
            content: lines[heading.line..end].join("\n").trim().to_owned(),
            metadata,
            chunk_type: "catalogue".to_owned(),
        });
    }
    found
}

/// Headings that open a part: not those that are a labelled line, but for the document's name.
fn headings<'a>(lines: &[&'a str], labels: &RuleLabels<'_>, rules: &Rules) -> Vec<Heading<'a>> {
    use super::entries::Labels as _;
    let mut fenced = false;
    let mut found = Vec::new();
    for (line, text) in lines.iter().enumerate() {
        let trimmed = text.trim();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
        }
        let level = trimmed.bytes().take_while(|byte| *byte == b'#').count();
        if fenced || !(1..=6).contains(&level) || !trimmed[level..].starts_with([' ', '\t']) {
            continue;
        }
        let text = trimmed[level..].trim();
        let label = text.split_once(':').map(|(label, _)| fold(label));
        let is_line = label.is_some_and(|label| labels.is_known(&label) && !rules.name_labels.contains(&label));
        if !is_line {
            found.push(Heading { line, level, text });
        }
    }
    found
}

/// The name in a heading: what follows `Application:`, or the heading.
fn name_in<'a>(heading: &'a str, rules: &Rules) -> &'a str {
    match heading.split_once(':') {
        Some((label, name)) if rules.name_labels.contains(&fold(label)) && !name.trim().is_empty() => name.trim(),
        _ => heading,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_catalogue() {
        let rules = Rules::shipped("fr").expect("rules");
        let text = "# Parc\n\nIntroduction.\n\n# A: un\n\n**ID:** 7\n**Statut:** En production\n\n## Description\n\nTexte.\n\n# B\n\n- Identifiant: 8\n";
        let found: Vec<(String, String)> = catalogue(text, &rules).into_iter().map(|chunk| (chunk.source_id, chunk.title)).collect();
        assert_eq!(found, [("7".to_owned(), "A: un".to_owned()), ("8".to_owned(), "B".to_owned())]);
        let text = "# Parc\n\n## Application: Un deux\n    # Application d'identifiant: 12\n- Nom: Un deux\n- Statut SI: En construction\n## Application: Trois\n    # Application d'identifiant: 13\n";
        let found = catalogue(text, &rules);
        assert_eq!(
            found.iter().map(|chunk| (chunk.source_id.as_str(), chunk.title.as_str())).collect::<Vec<_>>(),
            [("12", "Un deux"), ("13", "Trois")]
        );
        assert!(found[0].content.contains("En construction") && !found[0].content.contains("Trois"));
        assert!(catalogue("# Notes\n\nRien.\n", &rules).is_empty());
    }
}
