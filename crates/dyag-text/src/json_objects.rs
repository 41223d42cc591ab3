//! Files of JSON objects, one a line or all in one list: what a dataset is stored as.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use crate::error::{SourceLine, TextError};
use crate::json_lines::{JsonLines, MAX_LINE_BYTES, PlacedObject, line_error, parse_object};

/// The objects of a stream, one at a time: JSON Lines, or the items of one JSON list. A stream whose first character is `[` holds a list.
///
/// No more than one object is in memory. After an object that cannot be used, the next call goes on with the one after it, where that can
/// be found.
#[derive(Debug)]
pub struct JsonObjects<R> {
    lines: JsonLines<R>,
    layout: Layout,
    buffer: Vec<u8>,
}

/// How the objects lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Unknown,
    Lines,
    /// A list of which so many items have been read.
    List(usize),
    End,
}

impl<R: BufRead> JsonObjects<R> {
    /// Reads `input`; `path` is the name it has in messages.
    pub fn new(input: R, path: &Arc<Path>) -> Self {
        Self { lines: JsonLines::new(input, path), layout: Layout::Unknown, buffer: Vec::new() }
    }

    /// What the objects were read from.
    pub fn into_inner(self) -> R {
        self.lines.into_inner()
    }

    /// The next object and its place, or none at the end.
    ///
    /// # Errors
    /// As [`JsonLines::next_object`]; for a list, an item that is no object, or a list that does not end or is followed by something.
    pub fn next_object(&mut self) -> Result<Option<PlacedObject>, TextError> {
        if self.layout == Layout::Unknown {
            self.layout = if self.lines.peek_content()? == Some(b'[') {
                self.lines.parts().0.consume(1);
                Layout::List(0)
            } else {
                Layout::Lines
            };
        }
        match self.layout {
            Layout::List(done) => self.next_item(done),
            Layout::Lines | Layout::Unknown => self.lines.next_object(),
            Layout::End => Ok(None),
        }
    }

    /// The item after `done` others.
    fn next_item(&mut self, done: usize) -> Result<Option<PlacedObject>, TextError> {
        let at = SourceLine::item(self.lines.parts().1, done + 1);
        self.layout = Layout::End;
        let mut next = self.lines.peek_content()?;
        let after_comma = done > 0 && next == Some(b',');
        if after_comma {
            self.lines.parts().0.consume(1);
            next = self.lines.peek_content()?;
        }
        match next {
            None => return Err(line_error(&at, "item", "an object, or \"]\" at the end of the list", "the end of the file")),
            Some(b']') if after_comma => return Err(line_error(&at, "item", "an object after the comma", "the end of the list")),
            Some(b']') => {
                self.lines.parts().0.consume(1);
                return match self.lines.peek_content()? {
                    None => Ok(None),
                    Some(byte) => {
                        let found = format!("\"{}\"", char::from(byte).escape_default());
                        Err(line_error(&at, "item", "nothing after the list's \"]\"", found))
                    }
                };
            }
            Some(_) => {}
        }
        self.scan_item(&at)?;
        self.layout = Layout::List(done + 1);
        parse_object(&self.buffer, &at).map(|object| Some((object, at)))
    }

    /// Reads up to the comma or bracket that ends an item, and leaves that to be read.
    fn scan_item(&mut self, at: &SourceLine) -> Result<(), TextError> {
        let Self { lines, buffer, .. } = self;
        let (input, path) = lines.parts();
        buffer.clear();
        let mut scan = Scan::default();
        loop {
            let bytes = input.fill_buf().map_err(|error| TextError::read(path, error))?;
            let end = bytes.iter().position(|byte| scan.ends_before(*byte));
            let n = end.unwrap_or(bytes.len());
            buffer.extend_from_slice(&bytes[..n]);
            let is_end = end.is_some() || bytes.is_empty();
            input.consume(n);
            if buffer.len() as u64 > MAX_LINE_BYTES {
                return Err(line_error(at, "item", format!("at most {MAX_LINE_BYTES} bytes"), "a longer item"));
            }
            if is_end {
                return Ok(());
            }
        }
    }
}

/// Where in an item a scan is.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Whether the item ends before `byte`; otherwise goes past it.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return false;
        }
        match byte {
            b',' | b']' if self.depth == 0 => return true,
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Everything that is read, good or bad, through a buffer of `capacity` bytes.
    fn read(text: &[u8], capacity: usize) -> Vec<Result<(Value, String), String>> {
        let path: Arc<Path> = Arc::from(Path::new("d.json"));
        let mut objects = JsonObjects::new(BufReader::with_capacity(capacity, Cursor::new(text)), &path);
        let next = || objects.next_object().transpose();
        std::iter::from_fn(next)
            .map(|one| one.map(|(object, at)| (Value::Object(object), at.place())).map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn a_list_is_read_item_by_item() {
        for text in ["\u{FEFF} \n[{\"a\": \"],\\\"[\"},\n {\"b\": [1, {}]} ] \n", "[{\"a\":\"],\\\"[\"},{\"b\":[1,{}]}]"] {
            for capacity in [3, 7, 100] {
                let expected = [(json!({"a": "],\"["}), "item 1"), (json!({"b": [1, {}]}), "item 2")];
                let found: Vec<_> = read(text.as_bytes(), capacity).into_iter().map(Result::unwrap).collect();
                assert_eq!(found, expected.map(|(value, place)| (value, place.to_owned())));
            }
        }
        assert_eq!(read(b" [ ] ", 10), []);
        assert_eq!(read(b"", 10), []);
    }

    #[test]
    fn lines_are_counted_from_the_top() {
        assert_eq!(read(b"\n\n{}\n", 10), [Ok((json!({}), "line 3".to_owned()))]);
    }

    #[test]
    fn what_is_wrong_with_a_list() {
        for (text, wanted) in [
            ("[", "d.json, item 1: item: expected an object, or \"]\" at the end of the list, found the end of the file"),
            ("[{},", "item 2: item: expected an object, or \"]\""),
            ("[{}", "item 2: item: expected an object, or \"]\""),
            ("[{},]", "item 2: item: expected an object after the comma, found the end of the list"),
            ("[{}] x", "item 2: item: expected nothing after the list's \"]\", found \"x\""),
            ("[{} {}]", "item 1: item: expected a JSON object, found text that is not JSON (trailing characters"),
            ("[3]", "item 1: item: expected a JSON object, found the number 3"),
            ("[,{}]", "item 1: item: expected a JSON object, found text that is not JSON (EOF"),
            ("[{\"a\": \"", "item 1: item: expected a JSON object, found text that is not JSON (EOF"),
        ] {
            let first = read(text.as_bytes(), 4).into_iter().find_map(Result::err);
            assert!(first.as_ref().is_some_and(|error| error.contains(wanted)), "{text}: {first:?}");
        }
        let all = read(b"[{}, {\"a\" 1}, 2, {\"b\": 1}]", 5);
        assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true], "reading goes on: {all:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), capacity in 1..9_usize) {
            let mut list = b"[{\"a\": 1},".to_vec();
            list.extend(&bytes);
            read(&list, capacity);
            read(&bytes, capacity);
        }

        #[test]
        fn lists_and_lines_hold_the_same(texts in proptest::collection::vec(any::<String>(), 0..5)) {
            let objects: Vec<Value> = texts.iter().map(|text| json!({"a": text, "b": [text, {"c": text}]})).collect();
            let values = |text: String| -> Vec<Value> { read(text.as_bytes(), 11).into_iter().map(|one| one.unwrap().0).collect() };
            let lines = objects.iter().map(|object| format!("{object}\n")).collect::<String>();
            prop_assert_eq!(values(lines), objects.clone());
            prop_assert_eq!(values(serde_json::to_string_pretty(&objects).unwrap()), objects);
        }
    }
}
