//! Answers in JSON: asking for them in words, finding them in a text.

use serde_json::{Value, json};

/// The key of the object that a schema of another type is put into for servers that take objects only.
const WRAPPED: &str = "answer";

/// A message that asks for an answer in JSON in words, for models that are not held to a schema.
pub(super) fn with_schema_in_words(content: &str, schema: &Value) -> String {
    format!("{content}\n\nAnswer with JSON alone, without any other text, that satisfies this JSON Schema:\n{schema}")
}

/// A schema whose root is an object, and whether the given one had to be put into one.
pub(super) fn object_schema(schema: &Value) -> (Value, bool) {
    if schema["type"] == "object" {
        return (schema.clone(), false);
    }
    let object = json!({ "type": "object", "properties": { WRAPPED: schema }, "required": [WRAPPED], "additionalProperties": false });
    (object, true)
}

/// What [`object_schema`] put into an object, out of it again. A model that left the object out is understood too.
pub(super) fn unwrap_object(mut value: Value) -> Value {
    match value.get_mut(WRAPPED) {
        Some(inner) => inner.take(),
        None => value,
    }
}

/// The JSON in a model's text: all of it, or what stands in a fence or after thoughts and other words.
pub(super) fn find_json(text: &str) -> Option<Value> {
    let text = text.rsplit("</think>").next().unwrap_or(text).trim();
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    for (start, _) in text.match_indices(['{', '[']).take(32) {
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => return Some(value),
            // What begins here is not whole, and all that follows is inside it.
            Some(Err(error)) if error.is_eof() => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_among_words() {
        let expected = Some(json!({ "a": [1, "}"] }));
        for text in [
            r#"{"a": [1, "}"]}"#,
            "```json\n{\"a\": [1, \"}\"]}\n```",
            "Sure {here}: {\"a\": [1, \"}\"]} Anything else?",
            "<think>{\"b\": 1}</think>\n{\"a\": [1, \"}\"]}",
        ] {
            assert_eq!(find_json(text), expected, "{text}");
        }
        assert_eq!(find_json("no {json"), None);
        assert_eq!(find_json("{\"a\": {\"b\": 1}, \"c"), None);
        assert_eq!(find_json(""), None);
    }

    #[test]
    fn lists_travel_in_an_object() {
        let (schema, wrapped) = object_schema(&json!({ "type": "array", "items": { "type": "string" } }));
        assert!(wrapped && schema["properties"]["answer"]["type"] == "array");
        assert_eq!(unwrap_object(json!({ "answer": ["a"] })), json!(["a"]));
        assert_eq!(unwrap_object(json!(["a"])), json!(["a"]));
        let object = json!({ "type": "object" });
        assert_eq!(object_schema(&object), (object.clone(), false));
    }
}
