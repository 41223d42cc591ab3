//! The values of a JSON object, taken out by name and kind. What nobody takes is kept.

use serde_json::{Map, Value};

use super::error::Problem;

/// An object whose keys are taken out one after the other.
#[derive(Debug)]
pub(super) struct Fields {
    object: Map<String, Value>,
    /// Where the object stands, such as `results[3]`.
    at: String,
}

impl Fields {
    pub(super) fn new(value: Value, at: String) -> Result<Self, Problem> {
        match value {
            Value::Object(object) => Ok(Self { object, at }),
            other => Err(Problem::new(at, "an object", describe(&other))),
        }
    }

    /// The key's full name, for messages.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    /// What nobody took, in no more memory than it needs: a map keeps the room of what was taken out.
    pub(super) fn rest(self) -> Map<String, Value> {
        if self.object.is_empty() { Map::new() } else { self.object.into_iter().collect() }
    }

    /// The value of the first of `names` that is there and not null, and its name. The others stay.
    pub(super) fn any<'a>(&mut self, names: &[&'a str]) -> Option<(&'a str, Value)> {
        names.iter().find_map(|name| {
            // `shift_remove` keeps the order of what stays.
            let is_known = self.object.get(*name)?;
            let is_null = is_known.is_null();
            let value = self.object.shift_remove(*name)?;
            (!is_null).then_some((*name, value))
        })
    }

    fn wrong<T>(&self, name: &str, expected: &str, found: &Value) -> Result<T, Problem> {
        Err(Problem::new(self.key(name), expected, describe(found)))
    }

    pub(super) fn text(&mut self, names: &[&str]) -> Result<Option<String>, Problem> {
        match self.any(names) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((name, other)) => self.wrong(name, "a string", &other),
        }
    }

    /// A name: a string, or a number that stands for one.
    pub(super) fn name(&mut self, names: &[&str]) -> Result<Option<String>, Problem> {
        match self.any(names) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
            Some((name, other)) => self.wrong(name, "a string or a number", &other),
        }
    }

    pub(super) fn number(&mut self, names: &[&str]) -> Result<Option<f64>, Problem> {
        let Some((name, value)) = self.any(names) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => self.wrong(name, "a number", &value),
        }
    }

    /// A length of time, or another number that cannot be below 0.
    pub(super) fn amount(&mut self, names: &[&str]) -> Result<Option<f64>, Problem> {
        let Some((name, value)) = self.any(names) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            _ => self.wrong(name, "a number from 0 on", &value),
        }
    }

    pub(super) fn count(&mut self, names: &[&str]) -> Result<Option<u64>, Problem> {
        let Some((name, value)) = self.any(names) else { return Ok(None) };
        // Some writers make every number a float; up to 2^53 they are exact.
        let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0 && number < 9e15).then_some(number as u64);
        match value.as_u64().or_else(|| value.as_f64().and_then(whole)) {
            Some(count) => Ok(Some(count)),
            None => self.wrong(name, "a whole number from 0 on", &value),
        }
    }

    pub(super) fn flag(&mut self, names: &[&str]) -> Result<Option<bool>, Problem> {
        match self.any(names) {
            None => Ok(None),
            Some((_, Value::Bool(flag))) => Ok(Some(flag)),
            Some((name, other)) => self.wrong(name, "true or false", &other),
        }
    }

    pub(super) fn object(&mut self, names: &[&str]) -> Result<Map<String, Value>, Problem> {
        match self.any(names) {
            None => Ok(Map::new()),
            Some((_, Value::Object(object))) => Ok(object),
            Some((name, other)) => self.wrong(name, "an object", &other),
        }
    }

    pub(super) fn list(&mut self, names: &[&str]) -> Result<Option<(String, Vec<Value>)>, Problem> {
        match self.any(names) {
            None => Ok(None),
            Some((name, Value::Array(items))) => Ok(Some((self.key(name), items))),
            Some((name, other)) => self.wrong(name, "a list", &other),
        }
    }
}

/// Scores beyond are mistakes; of those within, squares and their sums are finite.
const LARGEST_SCORE: f64 = 1e15;

/// A score: a number, or yes and no as 1 and 0; none where nothing was measured.
pub(super) fn score(value: &Value, key: &str) -> Result<Option<f64>, Problem> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(f64::from(u8::from(*flag)))),
        Value::Number(number) => match number.as_f64().filter(|number| number.abs() <= LARGEST_SCORE) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::new(key, "a number from -1e15 to 1e15", number.to_string())),
        },
        other => Err(Problem::new(key, "a number, true or false", describe(other))),
    }
}

/// What a value is, in words.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 40 => format!("the string \"{}…\"", text.chars().take(40).collect::<String>()),
        Value::String(text) => format!("the string \"{text}\""),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(object) => match object.keys().take(6).map(String::as_str).collect::<Vec<_>>().join(", ") {
            keys if keys.is_empty() => "an empty object".to_owned(),
            keys => format!("an object with the keys {keys}{}", if object.len() > 6 { ", ..." } else { "" }),
        },
    }
}
