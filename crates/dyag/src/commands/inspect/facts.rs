//! What there is to say about a file, as names and values: lines for people, one document for machines.

use serde_json::{Map, Value, json};

use crate::terminal;

/// Names and values in the order in which they are said.
pub(super) type Facts = Vec<(&'static str, Value)>;

/// The longest list in a line.
const MAX_LISTED: usize = 12;

/// The longest text in a line, in characters.
const MAX_CHARACTERS: usize = 200;

/// Prints facts on stdout.
pub(super) fn print(facts: Facts, json: bool) -> anyhow::Result<()> {
    if json {
        let document: Map<String, Value> = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        return terminal::print_json(&document);
    }
    for (key, value) in facts {
        terminal::print_line(format!("{:<20} {}", key.replace('_', " "), in_words(&value)))?;
    }
    Ok(())
}

/// A value in one line.
fn in_words(value: &Value) -> String {
    let listed = |n: usize, items: &mut dyn Iterator<Item = String>| {
        let mut text = items.take(MAX_LISTED).collect::<Vec<_>>().join(", ");
        if n > MAX_LISTED {
            text.push_str(&format!(", and {} more", n - MAX_LISTED));
        }
        if text.is_empty() { "none".to_owned() } else { text }
    };
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => one_line(&excerpt(text, MAX_CHARACTERS)),
        Value::Array(items) => listed(items.len(), &mut items.iter().map(in_words)),
        Value::Object(object) => {
            listed(object.len(), &mut object.iter().map(|(key, value)| format!("{} {}", one_line(key), in_words(value))))
        }
    }
}

/// A text in one line: control characters are written as escapes.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

/// A text of at most `max` characters.
pub(super) fn excerpt(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Smallest, median, 95th percentile and largest of some sizes (nearest rank); null when there is none.
pub(super) fn spread(mut sizes: Vec<usize>) -> Value {
    sizes.sort_unstable();
    let rank = |percent: usize| sizes[(sizes.len() * percent).div_ceil(100).max(1) - 1];
    if sizes.is_empty() {
        return Value::Null;
    }
    json!({ "min": rank(0), "median": rank(50), "p95": rank(95), "max": rank(100) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        assert_eq!(spread(Vec::new()), Value::Null);
        assert_eq!(spread(vec![7]), json!({ "min": 7, "median": 7, "p95": 7, "max": 7 }));
        assert_eq!(spread((1..=100).rev().collect()), json!({ "min": 1, "median": 50, "p95": 95, "max": 100 }));
    }

    #[test]
    fn values_in_one_line() {
        assert_eq!(in_words(&json!({ "a": 1, "b\n": ["x", null] })), "a 1, b\\n x, none");
        assert_eq!(in_words(&json!([])), "none");
        let long: Vec<usize> = (0..20).collect();
        assert!(in_words(&json!(long)).ends_with("10, 11, and 8 more"));
    }
}
