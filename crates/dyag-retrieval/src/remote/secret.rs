//! Passwords and keys of servers: given to the server that they are for, and never shown.

use std::fmt;

/// A password or key. It has no `Display`; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

impl Secret {
    /// A secret, unless it is empty.
    pub(super) fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The secret, for the message that carries it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// `text`, which a server or a library wrote, without the secret and on one line.
pub(super) fn without(secret: Option<&Secret>, text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().filter(|c| !c.is_control()).take(600).collect();
    match secret {
        Some(secret) if text.contains(secret.expose()) => text.replace(secret.expose(), "[secret]"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let secret = Secret::new("hunter2").expect("a secret");
        assert_eq!(format!("{secret:?}"), "Secret(not shown)");
        assert_eq!(without(Some(&secret), "user x,\n  password hunter2 \u{1b}[1m"), "user x, password [secret] [1m");
        assert_eq!(Secret::new(""), None);
    }
}
