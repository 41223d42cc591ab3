//! Text out of tokens as they come: only what later tokens cannot change.

/// Turns growing lists of tokens into growing text.
///
/// A token may end inside a character, and how the first token of a text decodes may depend on its standing first. So the text of the tokens
/// since the last safe place is decoded anew with each token, and what it adds is given out once it does not end in a broken character.
#[derive(Debug, Default)]
pub(super) struct TextStream {
    ids: Vec<u32>,
    /// Tokens before this are decoded only for what they do to their successors.
    context: usize,
    /// Tokens before this have been given out.
    given: usize,
}

impl TextStream {
    /// Takes the next token and gives the text that is now settled, perhaps none.
    pub(super) fn push<E>(&mut self, id: u32, decode: impl Fn(&[u32]) -> Result<String, E>) -> Result<String, E> {
        self.ids.push(id);
        self.settle(decode, false)
    }

    /// Gives what is left, broken characters included.
    pub(super) fn finish<E>(&mut self, decode: impl Fn(&[u32]) -> Result<String, E>) -> Result<String, E> {
        self.settle(decode, true)
    }

    fn settle<E>(&mut self, decode: impl Fn(&[u32]) -> Result<String, E>, last: bool) -> Result<String, E> {
        let before = decode(&self.ids[self.context..self.given])?;
        let now = decode(&self.ids[self.context..])?;
        if !last && now.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        let Some(text) = now.strip_prefix(before.as_str()) else { return Ok(String::new()) };
        self.context = self.given;
        self.given = self.ids.len();
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A byte a token, as byte-level tokenizers may give them; a space that opens a text is dropped, as SentencePiece ones do.
    fn decode(ids: &[u32]) -> Result<String, Infallible> {
        let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(text.strip_prefix(' ').map_or(text.clone(), str::to_owned))
    }

    fn pieces(bytes: &[u8]) -> Vec<String> {
        let mut stream = TextStream::default();
        let mut pieces: Vec<String> = bytes.iter().map(|byte| stream.push(u32::from(*byte), decode).expect("decodes")).collect();
        pieces.push(stream.finish(decode).expect("decodes"));
        pieces
    }

    #[test]
    fn characters_come_whole() {
        assert_eq!(pieces("aé".as_bytes()), ["a", "", "é", ""]);
        assert_eq!(pieces("🦀b".as_bytes()), ["", "", "", "🦀", "b", ""]);
    }

    #[test]
    fn spaces_inside_are_kept_and_the_whole_is_the_decoded_text() {
        for text in [" a b  c", "de l’été – à Nîmes\n\n  fin", ""] {
            let ids: Vec<u32> = text.bytes().map(u32::from).collect();
            assert_eq!(pieces(text.as_bytes()).concat(), decode(&ids).expect("decodes"), "{text:?}");
        }
    }

    #[test]
    fn a_broken_end_is_given_out_at_the_end() {
        assert_eq!(pieces(b"a\xC3").concat(), "a\u{FFFD}");
    }
}
