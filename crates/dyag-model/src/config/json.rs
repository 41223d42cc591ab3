//! Reading keys of a JSON configuration, with errors that name file and key.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::ModelError;

/// Longest JSON file that is read, in bytes.
const MAX_JSON: u64 = 256 << 20;

/// Largest size (of anything) that is believed.
const MAX_SIZE: u64 = i32::MAX as u64;

/// Reads a JSON file.
pub(crate) fn read(path: &Path) -> Result<Value, ModelError> {
    let len = std::fs::metadata(path).map_err(|source| ModelError::io(path, source))?.len();
    if len > MAX_JSON {
        return Err(ModelError::malformed(path, "the file", format!("at most {MAX_JSON} bytes of JSON"), format!("{len} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|source| ModelError::io(path, source))?;
    serde_json::from_slice(&bytes).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

/// Reads a file that holds one JSON object.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>, ModelError> {
    match read(path)? {
        Value::Object(object) => Ok(object),
        other => Err(ModelError::malformed(path, "the file", "a JSON object", short(&other))),
    }
}

/// An object of a configuration file, or one nested in it.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// The file.
    pub(crate) path: &'a Path,
    /// The object.
    pub(crate) object: &'a Map<String, Value>,
    /// What comes before each key in messages, such as `rope_scaling.`.
    pub(crate) prefix: &'a str,
}

impl<'a> Keys<'a> {
    /// Name of `key` in messages.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The value of `key`, unless it is absent; `null` counts as a value.
    pub(crate) fn present(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key)
    }

    /// The value of `key`, unless it is absent or `null`.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// That `key` is not what was expected.
    pub(crate) fn wrong(&self, key: &str, expected: impl Into<String>, found: &Value) -> ModelError {
        ModelError::bad_value(self.path, self.name(key), expected, short(found))
    }

    /// That `key` is missing.
    pub(crate) fn missing(&self, key: &str) -> ModelError {
        ModelError::MissingKey { path: self.path.to_owned(), key: self.name(key) }
    }

    /// A number of things, at least one.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64() {
            Some(n) if (1..=MAX_SIZE).contains(&n) => Ok(Some(n as usize)),
            _ => Err(self.wrong(key, format!("an integer from 1 to {MAX_SIZE}"), value)),
        }
    }

    /// A number of things that has no default.
    pub(crate) fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64().filter(|n| n.is_finite()) {
            Some(n) => Ok(Some(n)),
            None => Err(self.wrong(key, "a number", value)),
        }
    }

    /// A finite number above zero.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.number(key)? {
            Some(n) if n <= 0.0 => Err(ModelError::bad_value(self.path, self.name(key), "a number above 0", n)),
            other => Ok(other),
        }
    }

    /// A number above zero that has no default.
    pub(crate) fn required_positive(&self, key: &str) -> Result<f64, ModelError> {
        self.positive(key)?.ok_or_else(|| self.missing(key))
    }

    /// A boolean, false where absent.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, ModelError> {
        let Some(value) = self.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string", value))
    }

    /// A list of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        list.map(Some).ok_or_else(|| self.wrong(key, "a list of strings", value))
    }

    /// One token id or a list of them.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Vec<u32>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = match value {
            Value::Array(list) => list.iter().map(one).collect(),
            single => one(single).map(|id| vec![id]),
        };
        ids.ok_or_else(|| self.wrong(key, "a token id or a list of token ids", value))
    }
}

/// A value for a message: JSON, cut where it is long.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
