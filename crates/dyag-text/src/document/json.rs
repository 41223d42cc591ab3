//! JSON catalogues: a list of objects, or an object that holds such lists under any keys.

use serde_json::{Map, Value};

use super::error::DocumentError;
use super::record::Record;
use crate::json_lines::describe;

/// How deep lists of entries are looked for.
const MAX_DEPTH: usize = 8;

const SHAPE: &str = "a list of objects, or an object that holds one, such as {\"applications\": [{\"Id\": 1, \"Nom\": \"...\"}, ...]}";

/// The entries of a catalogue. What stands beside the lists becomes an entry of its own, named after the document.
///
/// # Errors
/// Text that is not JSON, JSON of another shape, a catalogue without an entry.
pub(super) fn records(text: &str, path: &str, source_id: &str, stem: &str) -> Result<Vec<Record>, DocumentError> {
    let value: Value = serde_json::from_str(text).map_err(|error| DocumentError::Json {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        reason: error.to_string(),
    })?;
    let shape = |key: String, found: String| DocumentError::JsonShape { path: path.to_owned(), key, expected: SHAPE.to_owned(), found };
    let mut lists = Vec::new();
    match value {
        Value::Array(items) => lists.push(("the document".to_owned(), items)),
        Value::Object(object) if Record::is_entry(&object) => lists.push(("the document".to_owned(), vec![Value::Object(object)])),
        Value::Object(mut object) => {
            let keys = object.keys().take(8).cloned().collect::<Vec<_>>().join(", ");
            take_lists(&mut object, "", 0, &mut lists);
            if lists.is_empty() {
                let found = if keys.is_empty() { "an empty object".to_owned() } else { format!("an object with the keys {keys}") };
                return Err(shape("the document".to_owned(), found));
            }
            if !object.is_empty() {
                let mut rest = Map::new();
                rest.insert("name".to_owned(), stem.into());
                rest.extend(object);
                lists.push(("the document".to_owned(), vec![Value::Object(rest)]));
            }
        }
        other => return Err(shape("the document".to_owned(), describe(&other))),
    }
    let mut records = Vec::new();
    for (key, items) in lists {
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::Object(object) => records.push(Record::new(object, source_id, records.len())),
                other => return Err(shape(format!("{key}[{index}]"), describe(&other))),
            }
        }
    }
    if records.is_empty() {
        return Err(DocumentError::NoText {
            path: path.to_owned(),
            hint: "the catalogue has no entry; expected at least one object in its list",
        });
    }
    Ok(records)
}

/// Takes every list of objects out of an object and of the objects inside it.
fn take_lists(object: &mut Map<String, Value>, above: &str, depth: usize, lists: &mut Vec<(String, Vec<Value>)>) {
    let keys: Vec<String> = object.keys().cloned().collect();
    for key in keys {
        let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        let is_list = |items: &Vec<Value>| items.iter().all(Value::is_object);
        match object.get_mut(&key) {
            Some(Value::Array(items)) if is_list(items) => {
                lists.push((name, std::mem::take(items)));
                object.shift_remove(&key);
            }
            Some(Value::Object(inner)) if depth < MAX_DEPTH => {
                take_lists(inner, &name, depth + 1, lists);
                if inner.is_empty() {
                    object.shift_remove(&key);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Record>, DocumentError> {
        records(text, "c.json", "c.json", "c")
    }

    fn names(text: &str) -> Vec<String> {
        read(text).expect("a catalogue").into_iter().map(|record| format!("{}={}", record.id, record.name)).collect()
    }

    #[test]
    fn lists_under_any_key() {
        assert_eq!(names(r#"[{"Id": 3, "Nom": "a"}, {"id": "x", "name": "b"}]"#), ["3=a", "x=b"]);
        assert_eq!(names(r#"{"n'importe": [{"identifiant": 3, "Titre": "a"}]}"#), ["3=a"]);
        assert_eq!(names(r#"{"data": {"items": [{"code": "k", "title": "a"}]}}"#), ["k=a"]);
        assert_eq!(names(r#"{"Id": 3, "Nom": "a", "Sites": [{"URL": "u"}]}"#), ["3=a"]);
        assert_eq!(names(r#"[{"Nom": "Très Ancien (v2)"}, {"x": 1}]"#), ["tres-ancien-v2=Très Ancien (v2)", "c.json#1=c.json#1"]);
        assert_eq!(names(r#"{"version": 2, "apps": [{"Id": 3, "Nom": "a"}]}"#), ["3=a", "c=c"]);
    }

    #[test]
    fn other_shapes_are_refused_with_what_was_found() {
        let message = |text: &str| read(text).expect_err("refused").to_string();
        assert!(message("7").contains("found the number 7"));
        assert!(message(r#"{"a": 1, "b": {"c": [1, 2]}}"#).contains("found an object with the keys a, b"));
        assert!(message(r#"[{"id": 1}, 4]"#).contains("[1]: expected a list of objects"));
        assert!(message("[]").contains("no entry"));
        let text = message("{\"a\": [\n{]}");
        assert!(text.contains("c.json, line 2, column 2"), "{text}");
    }
}
