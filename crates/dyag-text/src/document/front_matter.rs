//! Front matter: the block between two lines of dashes with which many Markdown files begin. It describes the file and is no part of its text.
//!
//! Of YAML it takes what such blocks consist of: `key: value`, lists, and text over several lines. Anything nested deeper stays as it is written; references are not followed.

use serde_json::{Map, Value};

/// Longest front matter, in bytes; a longer block is text.
const MAX_BYTES: usize = 64 << 10;
/// Longest front matter whose metadata are kept, in bytes: every chunk of the file has them. Of a longer one only the title and the summary are.
const MAX_METADATA_BYTES: usize = 4 << 10;
/// Longest title, in characters: every chunk has it.
const MAX_TITLE_CHARS: usize = 300;
/// Keys that chunks have a meaning of their own for.
const RESERVED: [&str; 8] = ["id", "document", "path", "page", "page_end", "app_id", "app_name", "app_state"];
/// Keys whose value is a sentence about the file: it is text.
const SUMMARIES: [&str; 5] = ["description", "summary", "abstract", "résumé", "resume"];

/// What a front matter says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FrontMatter {
    /// The title.
    pub(super) title: Option<String>,
    /// A sentence about the file.
    pub(super) summary: Option<String>,
    /// Everything else.
    pub(super) metadata: Map<String, Value>,
}

/// The front matter of a text and the text below it. A text that does not begin with one is all text.
pub(super) fn split(text: &str) -> (FrontMatter, &str) {
    block(text).and_then(|(block, rest)| Some((read(block)?, rest))).unwrap_or_else(|| (FrontMatter::default(), text))
}

/// What stands between the first two lines of dashes, and what follows.
fn block(text: &str) -> Option<(&str, &str)> {
    let (first, inside) = text.split_once('\n')?;
    if first.trim_start_matches('\u{feff}').trim_end() != "---" {
        return None;
    }
    let mut end = 0;
    for line in inside.split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            return Some((&inside[..end], &inside[end + line.len()..]));
        }
        end += line.len();
        if end > MAX_BYTES {
            return None;
        }
    }
    None
}

/// The keys of a block; none where a line is no part of one, or there is no key.
fn read(block: &str) -> Option<FrontMatter> {
    let mut found = FrontMatter::default();
    let mut lines = block.lines().filter(|line| !line.trim_start().starts_with('#')).peekable();
    let mut n_keys = 0;
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let (key, value) = key_of(line)?;
        let mut below = Vec::new();
        while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with([' ', '\t', '-'])) {
            below.push(line);
        }
        n_keys += 1;
        found.add(key, value_of(value, &below));
    }
    if block.len() > MAX_METADATA_BYTES {
        found.metadata.clear();
    }
    (n_keys > 0).then_some(found)
}

impl FrontMatter {
    fn add(&mut self, key: &str, value: Value) {
        let lower = key.to_lowercase();
        let text = value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let titled = || text.as_ref().map(|text| text.chars().take(MAX_TITLE_CHARS).collect::<String>());
        if matches!(lower.as_str(), "title" | "titre") && text.is_some() {
            self.title = titled();
        } else if matches!(lower.as_str(), "name" | "nom") {
            // Beside a title it is a name for programs.
            self.title = self.title.take().or_else(titled);
        } else if SUMMARIES.contains(&lower.as_str()) && text.is_some() {
            self.summary = text;
        } else if !RESERVED.contains(&lower.as_str()) && !value.is_null() {
            self.metadata.insert(key.to_owned(), value);
        }
    }
}

/// Splits `key: value`; the key begins the line.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let is_key = key.starts_with(char::is_alphabetic) && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.'));
    (is_key && (value.is_empty() || value.starts_with([' ', '\t']))).then(|| (key.trim_end(), value.trim()))
}

/// A value from the rest of its line and the lines below it.
fn value_of(value: &str, below: &[&str]) -> Value {
    let below: Vec<&str> = below.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    if matches!(value, "|" | "|-" | "|+") {
        return below.join("\n").into();
    }
    if matches!(value, ">" | ">-" | ">+") || (!value.is_empty() && !below.is_empty()) {
        let first = value.trim_start_matches(['>', '-', '+']).trim();
        return std::iter::once(first).chain(below).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ").into();
    }
    if let Some(inside) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.split(',').map(scalar).filter(|item| !item.is_null()).collect();
    }
    if value.is_empty() && !below.is_empty() {
        let items: Option<Vec<&str>> = below.iter().map(|line| line.strip_prefix('-')).collect();
        return items.map_or_else(|| below.join("\n").into(), |items| items.into_iter().map(scalar).collect());
    }
    scalar(value)
}

/// A single value: `true`, a whole number, text with or without quotes; nothing for an empty one.
fn scalar(text: &str) -> Value {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(inside) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            let inside = if quote == '"' { inside.replace("\\\"", "\"") } else { inside.replace("''", "'") };
            return inside.into();
        }
    }
    let text = text.split_once(" #").map_or(text, |(text, _)| text.trim_end());
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        // 007 is no number to whoever wrote it.
        _ => text.parse::<i64>().ok().filter(|number| number.to_string() == text).map_or_else(|| text.into(), Value::from),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_lists_and_texts() {
        let text = "---\ntitle: \"Règlement : intérieur\"\nauthor: RH # le service\ndraft: false\nweight: 12\ntags: [règles, 'le bureau']\npublics:\n  - agents\n- visiteurs\n\
                    description: >\n  Qui peut venir,\n  et quand.\nmenu:\n  main: 3\nid: 7\ncode: 007\nvide:\n# note\n...\n# Horaires\n---\nfin\n";
        let (found, rest) = split(text);
        assert_eq!(rest, "# Horaires\n---\nfin\n");
        assert_eq!((found.title.as_deref(), found.summary.as_deref()), (Some("Règlement : intérieur"), Some("Qui peut venir, et quand.")));
        let expected = json!({
            "author": "RH", "draft": false, "weight": 12, "tags": ["règles", "le bureau"], "publics": ["agents", "visiteurs"], "menu": "main: 3", "code": "007",
        });
        assert_eq!(Value::Object(found.metadata), expected);
    }

    #[test]
    fn what_is_no_front_matter_is_text() {
        for text in [
            "",
            "---",
            "---\n",
            "---\ntexte sans fin\n",
            "---\n\n---\nvide\n",
            "---\nUne phrase.\n---\nsuite\n",
            "texte\n---\na: b\n---\n",
            "---\nhttp://x\n---\n",
            "----\na: b\n----\n",
        ] {
            assert_eq!(split(text), (FrontMatter::default(), text));
        }
        let long = format!("---\na: {}\n---\n", "x".repeat(MAX_BYTES));
        assert_eq!(split(&long).1, long);
        let many = format!("---\ntitle: {}\na: {}\n---\nfin", "t".repeat(400), "x".repeat(MAX_METADATA_BYTES));
        let (found, rest) = split(&many);
        assert_eq!((found.title.map(|title| title.len()), found.metadata.len(), rest), (Some(MAX_TITLE_CHARS), 0, "fin"));
        let titles = ["name: a\ntitle: b", "title: b\nnom: a", "nom: a"].map(|keys| split(&format!("---\n{keys}\n---\n")).0.title);
        assert_eq!(titles, ["b", "b", "a"].map(|title| Some(title.to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(---\n)?[ -~é\n#:\\[\\]\"'|>-]{0,200}(\n---\n)?[a-z]{0,9}") {
            let (_, rest) = split(&text);
            proptest::prop_assert!(text.ends_with(rest));
        }
    }
}
