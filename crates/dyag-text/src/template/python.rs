//! What chat templates expect of Jinja under Python, as Transformers sets it up: methods of strings, `tojson`, `raise_exception`.

use minijinja::value::{Kwargs, Value, from_args};
use minijinja::{Error, ErrorKind, State};

use crate::marks::is_python_space;

/// `text` without what `strip`, `lstrip` or `rstrip` takes away: white space, or any of `chars`.
fn strip<'a>(text: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let gone = |c: char| chars.map_or_else(|| is_python_space(c), |chars| chars.contains(c));
    let text = if left { text.trim_start_matches(gone) } else { text };
    if right { text.trim_end_matches(gone) } else { text }
}

/// The filter `trim`.
pub(super) fn trim(value: &Value, chars: Option<&str>) -> String {
    match value.as_str() {
        Some(text) => strip(text, chars, true, true).to_owned(),
        None => strip(&value.to_string(), chars, true, true).to_owned(),
    }
}

/// Methods that Python's values have and the engine's have not.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let (Some(text), "strip" | "lstrip" | "rstrip") = (value.as_str(), name) {
        let (chars,): (Option<&str>,) = from_args(args)?;
        return Ok(Value::from(strip(text, chars, name != "rstrip", name != "lstrip")));
    }
    if let (Some(text), "removeprefix" | "removesuffix") = (value.as_str(), name) {
        let (part,): (&str,) = from_args(args)?;
        let rest = if name == "removeprefix" { text.strip_prefix(part) } else { text.strip_suffix(part) };
        return Ok(Value::from(rest.unwrap_or(text)));
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// The function `raise_exception`: how a template refuses a conversation.
pub(super) fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
}

/// The filter `tojson` with the spacing of Python's `json.dumps`, and without escapes for HTML.
pub(super) fn tojson(value: &Value, indent: Option<usize>, kwargs: Kwargs) -> Result<String, Error> {
    let indent = match kwargs.get::<Option<usize>>("indent")? {
        Some(given) => Some(given),
        None => indent,
    };
    let ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let json = serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut text = String::new();
    write_json(&json, indent.map(|width| width.min(64)), 0, &mut text);
    if ascii {
        text = text.chars().fold(String::new(), |mut text, c| {
            match c.is_ascii() {
                true => text.push(c),
                false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
            }
            text
        });
    }
    Ok(text)
}

/// `json.dumps(value, indent=indent, ensure_ascii=False)`.
fn write_json(value: &serde_json::Value, indent: Option<usize>, depth: usize, text: &mut String) {
    let newline = |text: &mut String, depth: usize| {
        if let Some(width) = indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match value {
        serde_json::Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { comma } else { "" });
                newline(text, depth + 1);
                write_json(item, indent, depth + 1, text);
            }
            newline(text, depth);
            text.push(']');
        }
        serde_json::Value::Object(entries) if !entries.is_empty() => {
            text.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                text.push_str(if index > 0 { comma } else { "" });
                newline(text, depth + 1);
                text.push_str(&serde_json::Value::from(key.as_str()).to_string());
                text.push_str(": ");
                write_json(item, indent, depth + 1, text);
            }
            newline(text, depth);
            text.push('}');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}
