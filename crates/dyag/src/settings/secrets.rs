//! What looks like a secret is refused in a file of settings, without being shown.

/// Beginnings of the keys and tokens that well-known services give.
const BEGINNINGS: [&str; 8] = ["hf_", "sk-", "ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA", "Bearer "];

/// Whether a key that no flag has asks for a secret.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let ends = ["token", "key", "secret", "password", "passwd", "credential", "credentials"];
    key.split('-').any(|word| ends.contains(&word)) || ["apikey", "hftoken"].iter().any(|whole| key.contains(whole))
}

/// Whether a value is a secret by its looks: a well-known beginning, or an address with a password.
pub(super) fn is_secret_value(value: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| value.starts_with(beginning) && value.len() >= beginning.len() + 8)
        || password_in_address(value).is_some()
}

/// Where the password of an address stands, such as in `postgres://name:password@host`.
fn password_in_address(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find("://")? + 3;
    let authority = text[start..].split(['/', '?', '#']).next().unwrap_or_default();
    let (user, _) = authority.rsplit_once('@')?;
    let (name, password) = user.split_once(':')?;
    let from = start + name.len() + 1;
    (!password.is_empty()).then_some(from..from + password.len())
}

/// The value with nothing secret in it.
pub(super) fn redacted(value: &str) -> String {
    match password_in_address(value) {
        Some(range) => format!("{}***{}", &value[..range.start], &value[range.end..]),
        None if is_secret_value(value) => "***".to_owned(),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_looks() {
        for key in ["hf-token", "HF_TOKEN", "token", "openai-api-key", "api_key", "apikey", "password", "secret"] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["max-token", "keyboard", "tokenizer", "epochs"] {
            assert_eq!(is_secret_key(key), key == "max-token", "{key}");
        }
        for value in ["hf_abcdefgh12345", "sk-proj-0123456789", "postgres://me:geheim@host/db"] {
            assert!(is_secret_value(value), "{value}");
            assert!(
                !redacted(value).contains("geheim") && !redacted(value).contains("0123456789") && !redacted(value).contains("abcdefgh")
            );
        }
        for value in ["postgres://me@host/db", "https://host:8080/a@b", "hf_x", "models/base.gguf", "sk-learn"] {
            assert!(!is_secret_value(value), "{value}");
            assert_eq!(redacted(value), value);
        }
        assert_eq!(redacted("postgres://me:a@b@host/db"), "postgres://me:***@host/db");
    }
}
