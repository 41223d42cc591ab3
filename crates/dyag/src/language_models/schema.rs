//! The part of JSON Schema that answers are asked in: objects whose properties are all written, lists of bounded length, texts, choices,
//! numbers and booleans. Anything else is refused by name, so that no constraint is silently let go.

use serde_json::{Map, Value};

use super::http::excerpt;

/// The longest list when a schema sets no bound.
const LONGEST_LIST: usize = 64;

/// The shape of a JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// An object with these properties in this order.
    Object(Vec<(String, Shape)>),
    /// A list.
    Array {
        /// What each item is.
        items: Box<Shape>,
        /// Fewest items.
        min: usize,
        /// Most items.
        max: usize,
    },
    /// A text, with its fewest and most characters.
    Text {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
    },
    /// One of these texts.
    Choice(Vec<String>),
    /// A number.
    Number {
        /// Whether it has no fraction.
        whole: bool,
        /// The least it may be.
        min: f64,
        /// The most it may be.
        max: f64,
    },
    /// `true` or `false`.
    Boolean,
}

/// Keys that say something about a schema and ask for nothing.
const NOTES: [&str; 8] = ["title", "description", "$schema", "$id", "examples", "default", "strict", "$comment"];

impl Shape {
    /// Reads a schema.
    ///
    /// # Errors
    /// The first key that is not supported, or has a value that it cannot have, with its place.
    pub(crate) fn parse(schema: &Value) -> Result<Self, String> {
        parse(schema, "")
    }

    /// Checks a value. Properties that the schema does not name are let pass.
    ///
    /// # Errors
    /// What was expected and what was found, with its place.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        check(self, value, "")
    }
}

fn parse(schema: &Value, at: &str) -> Result<Shape, String> {
    let place = if at.is_empty() { "the schema".to_owned() } else { format!("the schema, at {at}") };
    let Value::Object(keys) = schema else {
        return Err(format!("{place}: expected an object, found {}", excerpt(&schema.to_string(), 60)));
    };
    let known = |allowed: &[&str]| {
        let strange = keys.keys().find(|key| !NOTES.contains(&key.as_str()) && !allowed.contains(&key.as_str()));
        strange.map_or(Ok(()), |key| Err(format!("{place}: the key {key:?} is not supported")))
    };
    if let Some(choices) = keys.get("enum").or_else(|| keys.get("const")) {
        known(&["type", "enum", "const"])?;
        let list = match choices {
            Value::Array(list) => list.clone(),
            one => vec![one.clone()],
        };
        let texts = list.iter().map(|choice| choice.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        return match texts {
            Some(texts) if !texts.is_empty() => Ok(Shape::Choice(texts)),
            _ => Err(format!("{place}: expected a list of texts to choose from, found {}", excerpt(&choices.to_string(), 60))),
        };
    }
    let bound = |key: &str, default: usize| match keys.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| format!("{place}: {key} should be a whole number, found {}", excerpt(&value.to_string(), 40))),
    };
    let limit = |key: &str, default: f64| match keys.get(key) {
        None => Ok(default),
        Some(value) => {
            value.as_f64().ok_or_else(|| format!("{place}: {key} should be a number, found {}", excerpt(&value.to_string(), 40)))
        }
    };
    let in_order = |ordered: bool| if ordered { Ok(()) } else { Err(format!("{place}: its least is more than its most")) };
    match keys.get("type").and_then(Value::as_str) {
        Some("object") => {
            known(&["type", "properties", "required", "additionalProperties"])?;
            properties(keys, at, &place)
        }
        Some("array") => {
            known(&["type", "items", "minItems", "maxItems"])?;
            let items = keys.get("items").ok_or_else(|| format!("{place}: a list needs `items`"))?;
            let min = bound("minItems", 0)?;
            let max = bound("maxItems", LONGEST_LIST.max(min))?;
            in_order(min <= max)?;
            Ok(Shape::Array { items: Box::new(parse(items, &format!("{at}/items"))?), min, max })
        }
        Some("string") => {
            known(&["type", "minLength", "maxLength"])?;
            let (min, max) = (bound("minLength", 0)?, bound("maxLength", usize::MAX)?);
            in_order(min <= max)?;
            Ok(Shape::Text { min, max })
        }
        Some(kind @ ("integer" | "number")) => {
            known(&["type", "minimum", "maximum"])?;
            let (min, max) = (limit("minimum", f64::NEG_INFINITY)?, limit("maximum", f64::INFINITY)?);
            let whole = kind == "integer";
            in_order(if whole { min.ceil() <= max.floor() } else { min <= max })?;
            Ok(Shape::Number { whole, min, max })
        }
        Some("boolean") => {
            known(&["type"])?;
            Ok(Shape::Boolean)
        }
        _ => Err(format!("{place}: expected a type (object, array, string, integer, number, boolean) or an enum of texts")),
    }
}

fn properties(keys: &Map<String, Value>, at: &str, place: &str) -> Result<Shape, String> {
    let Some(Value::Object(properties)) = keys.get("properties") else { return Err(format!("{place}: an object needs `properties`")) };
    let shapes = properties.iter().map(|(name, schema)| Ok((name.clone(), parse(schema, &format!("{at}/{name}"))?)));
    let shapes = shapes.collect::<Result<Vec<_>, String>>()?;
    let required: Vec<&str> = keys.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(name) = required.iter().find(|name| !properties.contains_key(**name)) {
        return Err(format!("{place}: the required property {name:?} is not among its properties"));
    }
    Ok(Shape::Object(shapes))
}

fn check(shape: &Shape, value: &Value, at: &str) -> Result<(), String> {
    let place = if at.is_empty() { "the answer" } else { at };
    let wrong = |expected: &str| Err(format!("{place}: expected {expected}, found {}", excerpt(&value.to_string(), 60)));
    match (shape, value) {
        (Shape::Object(properties), Value::Object(found)) => properties.iter().try_for_each(|(name, shape)| match found.get(name) {
            Some(value) => check(shape, value, &format!("{at}/{name}")),
            None => wrong(&format!("an object with {name:?}")),
        }),
        (Shape::Object(_), _) => wrong("an object"),
        (Shape::Array { items, min, max }, Value::Array(found)) => {
            if !(min..=max).contains(&&found.len()) {
                return wrong(&format!("a list of {min} to {max}, which this is not with its {}", found.len()));
            }
            found.iter().enumerate().try_for_each(|(i, value)| check(items, value, &format!("{at}/{i}")))
        }
        (Shape::Array { .. }, _) => wrong("a list"),
        (Shape::Text { min, max }, Value::String(text)) => {
            let n = text.chars().count();
            if (min..=max).contains(&&n) { Ok(()) } else { wrong(&format!("a text of at least {min} and at most {max} characters")) }
        }
        (Shape::Text { .. }, _) => wrong("a text"),
        (Shape::Choice(choices), Value::String(text)) if choices.contains(text) => Ok(()),
        (Shape::Choice(choices), _) => wrong(&format!("one of {choices:?}")),
        (Shape::Number { whole, min, max }, Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let fits = *min <= number && number <= *max && (!whole || number.fract() == 0.0);
            if fits { Ok(()) } else { wrong(if *whole { "a whole number within its bounds" } else { "a number within its bounds" }) }
        }
        (Shape::Number { .. }, _) => wrong("a number"),
        (Shape::Boolean, Value::Bool(_)) => Ok(()),
        (Shape::Boolean, _) => wrong("true or false"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs() -> Value {
        json!({
            "type": "object",
            "properties": {
                "pairs": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 2,
                    "items": {
                        "type": "object",
                        "properties": {
                            "question": { "type": "string", "minLength": 1, "description": "A question" },
                            "kind": { "enum": ["fact", "list"] },
                            "score": { "type": "integer", "minimum": 1, "maximum": 5 },
                            "sure": { "type": "boolean" }
                        },
                        "required": ["question", "kind", "score", "sure"],
                        "additionalProperties": false
                    }
                }
            },
            "required": ["pairs"]
        })
    }

    #[test]
    fn values_that_satisfy_and_values_that_do_not() {
        let shape = Shape::parse(&pairs()).expect("a shape");
        let item = json!({ "question": "Q ?", "kind": "fact", "score": 5, "sure": true });
        shape.check(&json!({ "pairs": [item] })).expect("satisfies");
        let with = |key: &str, value: Value| {
            let mut item = item.clone();
            item[key] = value;
            json!({ "pairs": [item] })
        };
        for (value, fragment) in [
            (json!([]), "the answer: expected an object"),
            (json!({}), "an object with \"pairs\""),
            (json!({ "pairs": [] }), "a list of 1 to 2"),
            (json!({ "pairs": [item, item, item] }), "a list of 1 to 2"),
            (json!({ "pairs": [{ "question": "Q" }] }), "/pairs/0: expected an object with \"kind\""),
            (with("question", json!("")), "/pairs/0/question"),
            (with("question", json!(3)), "a text"),
            (with("kind", json!("other")), "one of [\"fact\", \"list\"]"),
            (with("score", json!(6)), "a whole number"),
            (with("score", json!(1.5)), "a whole number"),
            (with("sure", json!("yes")), "true or false"),
        ] {
            let message = shape.check(&value).expect_err("does not satisfy");
            assert!(message.contains(fragment), "{value}: {message}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (schema, fragment) in [
            (json!(true), "expected an object"),
            (json!({}), "expected a type"),
            (json!({ "type": "string", "pattern": "a" }), "\"pattern\""),
            (json!({ "anyOf": [] }), "expected a type"),
            (json!({ "type": "array" }), "`items`"),
            (json!({ "type": "object" }), "`properties`"),
            (json!({ "type": "object", "properties": { "a": { "type": "null" } } }), "at /a"),
            (json!({ "type": "object", "properties": {}, "required": ["b"] }), "\"b\""),
            (json!({ "enum": [1] }), "list of texts"),
            (json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 3, "maxItems": 2 }), "least"),
            (json!({ "type": "integer", "minimum": 0.2, "maximum": 0.8 }), "least"),
            (json!({ "type": "string", "maxLength": -1 }), "maxLength"),
        ] {
            let message = Shape::parse(&schema).expect_err("not supported");
            assert!(message.contains(fragment), "{schema}: {message}");
        }
    }
}
