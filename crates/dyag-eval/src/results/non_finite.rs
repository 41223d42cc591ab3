//! Finds what Python writes where a number is missing, `NaN` and `Infinity`, which no JSON parser accepts, with the key that it stands at.

use std::io::{self, BufRead};

/// A value that is no finite number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NonFinite {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) found: String,
}

/// Values nested deeper than parsers go are not looked at.
const MAX_DEPTH: usize = 128;
/// The longest part of a key or number that is remembered.
const MAX_BYTES: usize = 400;

/// An object or a list that has been entered.
enum Place {
    /// The key of the value that is next or being read.
    Object { key: String, after_colon: bool },
    /// The position of the item that is next or being read.
    List(usize),
}

/// The first value of a stream that is `NaN`, `Infinity` or `-Infinity`, or that is beyond the range of doubles. It goes byte by byte and keeps
/// nothing but the way from the root to where it is.
pub(super) fn first_non_finite(mut input: impl BufRead) -> io::Result<Option<NonFinite>> {
    let mut scan = Scan { places: Vec::new(), line: 1, token: Vec::new(), string: None, escaped: false };
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(scan.end_token());
        }
        for byte in bytes {
            match scan.step(*byte) {
                Step::Found(found) => return Ok(Some(found)),
                Step::TooDeep => return Ok(None),
                Step::On => {}
            }
        }
        let n = bytes.len();
        input.consume(n);
    }
}

enum Step {
    On,
    Found(NonFinite),
    TooDeep,
}

struct Scan {
    places: Vec<Place>,
    line: usize,
    /// A number or word that is being read.
    token: Vec<u8>,
    /// A string that is being read.
    string: Option<Vec<u8>>,
    escaped: bool,
}

impl Scan {
    fn step(&mut self, byte: u8) -> Step {
        if byte == b'\n' {
            self.line += 1;
        }
        if self.string.is_some() {
            self.step_string(byte);
            return Step::On;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.') {
            if self.token.len() < MAX_BYTES {
                self.token.push(byte);
            }
            return Step::On;
        }
        let found = self.end_token();
        match byte {
            b'"' => self.string = Some(Vec::new()),
            b'{' => self.places.push(Place::Object { key: String::new(), after_colon: false }),
            b'[' => self.places.push(Place::List(0)),
            b'}' | b']' => drop(self.places.pop()),
            b':' => {
                if let Some(Place::Object { after_colon, .. }) = self.places.last_mut() {
                    *after_colon = true;
                }
            }
            b',' => match self.places.last_mut() {
                Some(Place::Object { after_colon, .. }) => *after_colon = false,
                Some(Place::List(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
        match found {
            Some(found) => Step::Found(found),
            None if self.places.len() > MAX_DEPTH => Step::TooDeep,
            None => Step::On,
        }
    }

    fn step_string(&mut self, byte: u8) {
        if self.escaped || byte != b'"' {
            self.escaped = !self.escaped && byte == b'\\';
            if let Some(string) = self.string.as_mut().filter(|string| string.len() < MAX_BYTES) {
                string.push(byte);
            }
            return;
        }
        let string = self.string.take().unwrap_or_default();
        if let Some(Place::Object { key, after_colon: false }) = self.places.last_mut() {
            *key = String::from_utf8_lossy(&string).into_owned();
        }
    }

    fn end_token(&mut self) -> Option<NonFinite> {
        let token = std::mem::take(&mut self.token);
        let text = std::str::from_utf8(&token).ok().filter(|text| !text.is_empty())?;
        let is_word = matches!(text.trim_start_matches(['-', '+']), "NaN" | "nan" | "Infinity" | "inf");
        let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let is_beyond = is_number && text.parse::<f64>().is_ok_and(f64::is_infinite);
        (is_word || is_beyond).then(|| NonFinite { key: self.key(), line: self.line, found: text.to_owned() })
    }

    fn key(&self) -> String {
        use std::fmt::Write as _;
        let mut path = String::new();
        for place in &self.places {
            match place {
                Place::List(index) => drop(write!(path, "[{index}]")),
                Place::Object { key, .. } if path.is_empty() => path.push_str(key),
                Place::Object { key, .. } => drop(write!(path, ".{key}")),
            }
        }
        path
    }
}
