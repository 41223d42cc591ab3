//! Keys to other people's servers: sent to the server they are for, and never shown, stored or put in an error.

use std::fmt;

use anyhow::bail;

/// So many letters of a key in a row are a part of it that nobody should see.
const TELLING: usize = 8;

/// A key. It has no `Display` and is not serialisable; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

impl Secret {
    /// The key that the environment variable `variable` holds; none when it is empty or of white space alone.
    pub(super) fn parse(text: &str, variable: &str) -> anyhow::Result<Option<Self>> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!(
                "{variable} cannot be a key: expected printable ASCII characters without spaces, found another one (the value is not shown); \
                 set it to the key as the provider gave it"
            );
        }
        Ok(Some(Self(text.to_owned())))
    }

    /// The key, for the header that sends it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with the key, and every part of it that is long enough to tell something, replaced.
    pub(super) fn redact(&self, text: &str) -> String {
        let key = self.0.as_bytes();
        let shortest = key.len().min(TELLING);
        if shortest < 4 {
            return text.to_owned();
        }
        let bytes = text.as_bytes();
        let (mut kept, mut clean, mut at) = (0, String::with_capacity(text.len()), 0);
        while at + shortest <= bytes.len() {
            let found = longest_part(key, &bytes[at..]);
            if found < shortest {
                at += 1;
                continue;
            }
            // A part of a key is ASCII, so that it begins and ends at characters.
            clean.push_str(&text[kept..at]);
            clean.push_str("[key]");
            at += found;
            kept = at;
        }
        clean.push_str(&text[kept..]);
        clean
    }
}

/// Length of the longest beginning of `text` that occurs in `key`.
fn longest_part(key: &[u8], text: &[u8]) -> usize {
    let common = |start: usize| key[start..].iter().zip(text).take_while(|(a, b)| a == b).count();
    (0..key.len()).map(common).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Secret {
        Secret::parse(text, "SOME_KEY").expect("a key").expect("not empty")
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", key("sk-abcdefgh")), "Secret(not shown)");
    }

    #[test]
    fn the_key_and_long_parts_of_it_are_redacted() {
        let secret = key(" sk-0123456789abcdef\n");
        assert_eq!(secret.redact("é: sk-0123456789abcdef, 23456789ab, ok"), "é: [key], [key], ok");
        assert_eq!(secret.redact("sk-0123*** is masked enough"), "sk-0123*** is masked enough");
        assert_eq!(key("EMPTY").redact("the list is EMPTY"), "the list is [key]");
        assert_eq!(key("no").redact("no model"), "no model");
    }

    #[test]
    fn what_no_header_can_hold_is_refused_and_not_shown() {
        let message = Secret::parse("sk-héhé-secret", "SOME_KEY").expect_err("not ASCII").to_string();
        assert!(message.contains("SOME_KEY") && !message.contains("secret"), "{message}");
        assert_eq!(Secret::parse("  \n", "SOME_KEY").expect("nothing"), None);
    }
}
