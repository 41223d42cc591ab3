//! The inside of a JSON string, as a model writes it piece by piece.

/// Collects the characters that a JSON string stands for, until its closing quotation mark.
pub(super) struct TextReader {
    text: String,
    n_chars: usize,
    max_chars: usize,
    state: State,
    /// The first half of a character that is written as two escapes.
    high: Option<u32>,
}

enum State {
    Plain,
    /// After a backslash.
    Escape,
    /// After `\u`: the digits so far.
    Code(String),
}

impl TextReader {
    pub(super) fn new(max_chars: usize) -> Self {
        Self { text: String::new(), n_chars: 0, max_chars, state: State::Plain, high: None }
    }

    /// Characters so far.
    pub(super) fn n_chars(&self) -> usize {
        self.n_chars
    }

    /// Whether no character may follow.
    pub(super) fn is_full(&self) -> bool {
        self.n_chars >= self.max_chars
    }

    /// Reads on. Gives the place of the quotation mark that ends the text, if it comes.
    pub(super) fn read(&mut self, piece: &str) -> Option<usize> {
        for (at, c) in piece.char_indices() {
            match std::mem::replace(&mut self.state, State::Plain) {
                State::Plain => match c {
                    '"' => return Some(at),
                    '\\' => self.state = State::Escape,
                    c => self.push(c),
                },
                State::Escape => match c {
                    'u' => self.state = State::Code(String::new()),
                    'b' => self.push('\u{8}'),
                    'f' => self.push('\u{c}'),
                    'n' => self.push('\n'),
                    'r' => self.push('\r'),
                    't' => self.push('\t'),
                    '"' | '\\' | '/' => self.push(c),
                    // Not JSON: the model forgot to double its backslash.
                    c => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                State::Code(mut digits) => {
                    if c.is_ascii_hexdigit() {
                        digits.push(c);
                    } else {
                        // Not JSON either.
                        self.push_str(&format!("\\u{digits}"));
                        if c == '"' {
                            return Some(at);
                        }
                        self.push(c);
                        continue;
                    }
                    if digits.len() == 4 {
                        self.code(u32::from_str_radix(&digits, 16).unwrap_or(0xfffd));
                    } else {
                        self.state = State::Code(digits);
                    }
                }
            }
        }
        None
    }

    /// The text. An escape that never became whole is left out.
    pub(super) fn finish(mut self) -> String {
        self.settle_half();
        self.text
    }

    /// Half or all of a character.
    fn code(&mut self, code: u32) {
        match (self.high.take(), code) {
            (Some(high), 0xdc00..=0xdfff) => {
                let whole = 0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00);
                self.push(char::from_u32(whole).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            (high, code) => {
                if high.is_some() {
                    self.push(char::REPLACEMENT_CHARACTER);
                }
                match code {
                    0xd800..=0xdbff => self.high = Some(code),
                    code => self.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
                }
            }
        }
    }

    /// A first half whose second never came.
    fn settle_half(&mut self) {
        if self.high.take().is_some() {
            self.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    fn push(&mut self, c: char) {
        self.settle_half();
        if self.n_chars < self.max_chars {
            self.text.push(c);
            self.n_chars += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads pieces; what was read, and the piece and place where it ended.
    fn read(pieces: &[&str]) -> (String, Option<(usize, usize)>) {
        let mut reader = TextReader::new(usize::MAX);
        for (i, piece) in pieces.iter().enumerate() {
            if let Some(end) = reader.read(piece) {
                return (reader.finish(), Some((i, end)));
            }
        }
        (reader.finish(), None)
    }

    #[test]
    fn a_text_ends_at_its_mark_wherever_that_is() {
        assert_eq!(read(&["Qui", " ?\", \"a"]), ("Qui ?".to_owned(), Some((1, 2))));
        assert_eq!(read(&["\""]), (String::new(), Some((0, 0))));
        assert_eq!(read(&["é\"é"]), ("é".to_owned(), Some((0, 2))));
        assert_eq!(read(&["no end"]), ("no end".to_owned(), None));
    }

    #[test]
    fn escapes_are_read_also_in_parts() {
        assert_eq!(read(&[r#"a\"b\\"#, r#"\"#, r#"nc\u00"#, r#"e9""#]), ("a\"b\\\nc\u{e9}".to_owned(), Some((3, 2))));
        assert_eq!(read(&[r#"\ud83d\ude00""#]).0, "😀");
        assert_eq!(read(&[r#"\ud83dx\ude00\ud83d""#]).0, "\u{fffd}x\u{fffd}\u{fffd}");
        assert_eq!(read(&[r#"\b\f\n\r\t\/""#]).0, "\u{8}\u{c}\n\r\t/");
    }

    #[test]
    fn what_is_not_json_is_kept_as_text() {
        assert_eq!(read(&["C:\\dir\nx\""]), ("C:\\dir\nx".to_owned(), Some((0, 8))));
        assert_eq!(read(&["\\u12\""]), ("\\u12".to_owned(), Some((0, 4))));
        assert_eq!(read(&["a\\"]), ("a".to_owned(), None));
    }

    #[test]
    fn the_longest_length_is_kept() {
        let mut reader = TextReader::new(3);
        assert_eq!(reader.read("éàüö"), None);
        assert!(reader.is_full());
        assert_eq!(reader.finish(), "éàü");
    }
}
