//! From tokens back to text, all at once or as they come.

use super::Tokenizer;
use super::file::Alphabet;

/// GPT-2's character for a byte: printable Latin-1 stands for itself, the other bytes are U+0100 and on, in order.
pub(crate) fn byte_to_char(byte: u8) -> char {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if prints(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|other| !prints(*other)).count() as u32;
    char::from_u32(0x100 + rank).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character stands for in byte-level tokens.
pub(super) fn char_to_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => u8::try_from(code).ok(),
        // The 68 bytes that do not print: 00-20, 7F-A0, AD.
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The byte of a SentencePiece byte token, `<0x0A>`.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The bytes a token of the vocabulary stands for.
pub(super) fn token_bytes(token: &str, alphabet: Alphabet, bytes: &mut Vec<u8>) {
    match alphabet {
        Alphabet::ByteLevel => {
            let start = bytes.len();
            for c in token.chars() {
                match char_to_byte(c) {
                    Some(byte) => bytes.push(byte),
                    None => {
                        bytes.truncate(start);
                        bytes.extend_from_slice(token.as_bytes());
                        return;
                    }
                }
            }
        }
        Alphabet::SentencePiece { .. } => match byte_token(token) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(token.replace('▁', " ").as_bytes()),
        },
    }
}

/// Turns tokens into text as they come, and holds back the bytes of characters that are not whole yet.
///
/// The pieces laid end to end are what [`Tokenizer::decode`] gives for all tokens at once. Control tokens and unknown ids give nothing.
#[derive(Clone, Debug)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    pending: Vec<u8>,
    drop_space: bool,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        let drop_space = matches!(tokenizer.alphabet, Alphabet::SentencePiece { drops_first_space: true });
        Self { tokenizer, pending: Vec::new(), drop_space }
    }

    /// The text that the token `id` completes; empty when it completes none.
    pub fn push(&mut self, id: u32) -> String {
        if self.tokenizer.is_control(id) {
            return String::new();
        }
        if let Some(added) = self.tokenizer.added.get(&id) {
            self.pending.extend_from_slice(added.content.as_bytes());
        } else if let Some(token) = self.tokenizer.model_token(id) {
            token_bytes(&token, self.tokenizer.alphabet, &mut self.pending);
        }
        if self.drop_space && !self.pending.is_empty() {
            self.drop_space = false;
            if self.pending[0] == b' ' {
                self.pending.remove(0);
            }
        }
        self.take(false)
    }

    /// What is left at the end: replacement characters for bytes that never became whole.
    pub fn finish(mut self) -> String {
        self.take(true)
    }

    /// The whole characters of `pending`; what cannot become one is replaced. At the `end` so is what is incomplete.
    fn take(&mut self, end: bool) -> String {
        let mut text = String::new();
        let mut kept = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            kept += chunk.valid().len();
            let incomplete = kept + chunk.invalid().len() == self.pending.len()
                && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if chunk.invalid().is_empty() || (incomplete && !end) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            kept += chunk.invalid().len();
        }
        self.pending.drain(..kept);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_a_bijection() {
        let mut seen = std::collections::HashSet::new();
        for byte in 0..=255u8 {
            let c = byte_to_char(byte);
            assert!(seen.insert(c), "the character {c:?} stands for two bytes");
            assert_eq!(char_to_byte(c), Some(byte), "{c:?}");
        }
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert_eq!(byte_to_char(b'\n'), 'Ċ');
        assert_eq!(char_to_byte('é'), Some(0xE9));
        assert_eq!(char_to_byte('字'), None);
    }

    #[test]
    fn sentence_piece_bytes_are_two_digits() {
        assert_eq!(byte_token("<0x0A>"), Some(10));
        assert_eq!(byte_token("<0xA>"), None);
        assert_eq!(byte_token("<0x+1>"), None);
    }
}
