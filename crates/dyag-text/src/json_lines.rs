//! Files of JSON objects, one a line: conversations, chunks, questions.

use std::io::{BufRead, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{SourceLine, TextError, Unit, excerpt};

/// The longest line such a file may have. A longer one is a file of another kind.
pub(crate) const MAX_LINE_BYTES: u64 = 64 << 20;

/// An object, and where it was read.
pub type PlacedObject = (Map<String, Value>, SourceLine);

/// The objects of a stream of JSON lines, one at a time. A byte order mark, CRLF line ends and blank lines are accepted.
#[derive(Debug)]
pub struct JsonLines<R> {
    input: R,
    path: Arc<Path>,
    line: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> JsonLines<R> {
    /// Reads `input`; `path` is the name it has in messages.
    pub fn new(input: R, path: &Arc<Path>) -> Self {
        Self { input, path: Arc::clone(path), line: 0, buffer: Vec::new() }
    }

    /// What the lines were read from.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The object of the next line that is not blank, or none at the end.
    ///
    /// # Errors
    /// A line that is too long, not UTF-8 (the byte and its offset in the line are named), not JSON, or not an object.
    pub fn next_object(&mut self) -> Result<Option<PlacedObject>, TextError> {
        loop {
            self.buffer.clear();
            let mut limited = self.input.by_ref().take(MAX_LINE_BYTES + 1);
            let n = limited.read_until(b'\n', &mut self.buffer).map_err(|error| TextError::read(&self.path, error))?;
            if n == 0 {
                return Ok(None);
            }
            self.line += 1;
            let at = SourceLine::new(&self.path, self.line);
            if n as u64 > MAX_LINE_BYTES {
                if self.buffer.last() != Some(&b'\n') {
                    self.skip_line()?;
                }
                return Err(line_error(&at, "line", format!("at most {MAX_LINE_BYTES} bytes"), "a longer line"));
            }
            let mut bytes = self.buffer.as_slice();
            if self.line == 1 {
                bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            }
            if !bytes.trim_ascii().is_empty() {
                return parse_object(bytes, &at).map(|object| Some((object, at)));
            }
        }
    }

    /// Goes on to the next line, without keeping the rest of this one.
    fn skip_line(&mut self) -> Result<(), TextError> {
        loop {
            let bytes = self.input.fill_buf().map_err(|error| TextError::read(&self.path, error))?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (n, is_end) = (end.map_or(bytes.len(), |end| end + 1), end.is_some() || bytes.is_empty());
            self.input.consume(n);
            if is_end {
                return Ok(());
            }
        }
    }

    /// The first byte that is neither white space nor part of a byte order mark. It is left to be read; what is before it is not.
    pub(crate) fn peek_content(&mut self) -> Result<Option<u8>, TextError> {
        loop {
            let bytes = self.input.fill_buf().map_err(|error| TextError::read(&self.path, error))?;
            let n = match bytes {
                [] => return Ok(None),
                [0xEF, 0xBB, 0xBF, ..] if self.line == 0 => 3,
                [b'\n', ..] => {
                    self.line += 1;
                    1
                }
                [byte, ..] if byte.is_ascii_whitespace() => 1,
                [byte, ..] => return Ok(Some(*byte)),
            };
            self.input.consume(n);
        }
    }

    /// The input, at the place that has been reached, and its name.
    pub(crate) fn parts(&mut self) -> (&mut R, &Arc<Path>) {
        (&mut self.input, &self.path)
    }
}

/// The object that `bytes` hold.
pub(crate) fn parse_object(bytes: &[u8], at: &SourceLine) -> Result<Map<String, Value>, TextError> {
    let unit = at.unit.name();
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let byte = bytes[error.valid_up_to()];
        line_error(at, unit, "UTF-8 text", format!("the byte 0x{byte:02X} at offset {}", error.valid_up_to()))
    })?;
    let value: Value = serde_json::from_str(text.trim_end_matches(['\r', '\n'])).map_err(|error| {
        // A file that holds one object over many lines is no JSON Lines.
        let hint = if error.is_eof() && at.unit == Unit::Line { "; an object has to stand in one line" } else { "" };
        line_error(at, unit, "a JSON object", format!("text that is not JSON ({error}): {}{hint}", excerpt(text.trim(), 60)))
    })?;
    match value {
        Value::Object(object) => Ok(object),
        other => Err(line_error(at, unit, "a JSON object", describe(&other))),
    }
}

/// A line that cannot be used.
pub(crate) fn line_error(at: &SourceLine, key: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> TextError {
    TextError::Line { at: at.clone(), key: key.into(), expected: expected.into(), found: found.into() }
}

/// What a JSON value is, in words, for messages.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string \"{}\"", excerpt(text, 40)),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}
