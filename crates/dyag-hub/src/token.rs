//! The access token of the model hub: sent to the hub alone, and never shown, stored or put in an error.

use std::fmt;

/// So many letters of a token in a row are a part of it that nobody should see.
const TELLING: usize = 8;

/// An access token. It has no `Display` and is not serialisable; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

impl Token {
    /// A token; none where the text is empty or white space.
    ///
    /// # Errors
    /// That it holds a character that no token has; the text is not shown.
    pub fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("expected printable ASCII characters without spaces, found another one (the value is not shown)");
        }
        Ok(Some(Self(text.to_owned())))
    }

    /// The token, for the header that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text`, or a note in its place when a part of the token stands in it.
    pub(crate) fn redact(&self, text: &str) -> String {
        let token = self.0.as_bytes();
        let tells = token.windows(TELLING.min(token.len())).any(|part| text.as_bytes().windows(part.len()).any(|other| other == part));
        if tells && token.len() >= 4 { "(not shown: it holds a part of the token)".to_owned() } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let token = Token::parse(" hf_0123456789abcdef\n").expect("fine").expect("one");
        assert_eq!(format!("{token:?}"), "Token(not shown)");
        assert_eq!(token.redact("all is well"), "all is well");
        for text in ["hf_0123456789abcdef", "your token 23456789 is bad", "Bearer hf_01234..."] {
            assert!(token.redact(text).starts_with("(not shown"), "{text}");
        }
    }

    #[test]
    fn what_no_header_can_hold_is_refused() {
        assert_eq!(Token::parse("  \n"), Ok(None));
        assert!(Token::parse("hf_é").is_err_and(|problem| !problem.contains("hf_")));
        assert!(Token::parse("hf_a b").is_err());
    }
}
