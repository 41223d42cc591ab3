//! Where a server is: the address that a flag or an environment variable gives.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use ureq::http::Uri;

/// The address of a server, without a `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    text: String,
    is_https: bool,
    is_loopback: bool,
}

impl BaseUrl {
    /// Reads an `http` or `https` address; `origin` is the flag or variable it comes from.
    pub(super) fn parse(text: &str, origin: &str) -> anyhow::Result<Self> {
        let text = text.trim().trim_end_matches('/');
        let expected = "expected an address such as https://host/v1";
        // Not shown: what stands before an @ may be a password.
        if text.contains('@') {
            bail!("{origin}: {expected} without a name or a password in it; keys come from environment variables");
        }
        let uri: Uri = text.parse().with_context(|| format!("{origin}: {expected}, found {text:?}"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => bail!("{origin}: {expected}, found the scheme {other:?} in {text:?}"),
            None => bail!("{origin}: {expected}, found {text:?} without http:// or https://"),
        };
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            bail!("{origin}: {expected}, found {text:?} without a host");
        }
        if uri.query().is_some() || text.contains('#') {
            bail!("{origin}: {expected} without ? and #, found {text:?}");
        }
        Ok(Self { text: text.to_owned(), is_https, is_loopback: is_loopback(host) })
    }

    /// Reads what `OLLAMA_HOST` may hold: also a host without a scheme, without a port, or the address a server listens on.
    pub(super) fn parse_ollama(text: &str, origin: &str) -> anyhow::Result<Self> {
        let text = text.trim().trim_end_matches('/');
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // A server that listens on every address is asked on this machine's own.
        let with_scheme = with_scheme.replacen("//0.0.0.0", "//127.0.0.1", 1).replacen("//[::]", "//[::1]", 1);
        let mut url = Self::parse(&with_scheme, origin)?;
        let has_port = url.text.parse::<Uri>().is_ok_and(|uri| uri.port().is_some());
        if !url.is_https && !has_port && !text.contains("://") {
            url.text.push_str(":11434");
        }
        Ok(url)
    }

    /// The address of `path` below this one. `version` is the part of the path, such as `/v1`, that people write or leave out.
    pub(super) fn join(&self, version: &str, path: &str) -> String {
        let whole = format!("{version}{path}");
        let base = self.text.strip_suffix(&whole).unwrap_or(&self.text);
        if !version.is_empty() && base.ends_with(version) { format!("{base}{path}") } else { format!("{base}{whole}") }
    }

    /// As it was given.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether others on the way can read what is sent.
    pub(super) fn is_open(&self) -> bool {
        !self.is_https && !self.is_loopback
    }

    /// Whether it is this machine; no proxy is asked then.
    pub(super) fn is_loopback(&self) -> bool {
        self.is_loopback
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> BaseUrl {
        BaseUrl::parse(text, "--llm-url").expect(text)
    }

    #[test]
    fn addresses_and_what_is_below_them() {
        assert_eq!(url("https://api.openai.com/v1/").join("", "/chat/completions"), "https://api.openai.com/v1/chat/completions");
        assert_eq!(url("http://h:8000/v1/chat/completions").join("", "/chat/completions"), "http://h:8000/v1/chat/completions");
        for given in ["https://api.anthropic.com", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"] {
            assert_eq!(url(given).join("/v1", "/messages"), "https://api.anthropic.com/v1/messages", "{given}");
        }
    }

    #[test]
    fn which_addresses_others_can_listen_to() {
        for (text, open) in [
            ("http://127.0.0.1:1", false),
            ("http://127.9.9.9", false),
            ("http://[::1]:8080", false),
            ("http://LocalHost", false),
            ("http://a.localhost", false),
            ("https://example.org", false),
            ("http://example.org", true),
            ("http://10.0.0.1", true),
            ("http://localhost.example.org", true),
        ] {
            assert_eq!(url(text).is_open(), open, "{text}");
        }
    }

    #[test]
    fn what_ollama_host_may_hold() {
        for (text, expected) in [
            ("127.0.0.1", "http://127.0.0.1:11434"),
            ("0.0.0.0:11500", "http://127.0.0.1:11500"),
            ("gpu-box", "http://gpu-box:11434"),
            ("http://gpu-box:1234/", "http://gpu-box:1234"),
            ("http://gpu-box", "http://gpu-box"),
            ("https://ollama.example.org", "https://ollama.example.org"),
        ] {
            assert_eq!(BaseUrl::parse_ollama(text, "OLLAMA_HOST").expect(text).as_str(), expected);
        }
    }

    #[test]
    fn wrong_addresses_say_what_was_found() {
        for (text, fragment) in [
            ("example.org/v1", "--llm-url"),
            ("ftp://example.org", "\"ftp\""),
            ("", "--llm-url"),
            ("https://example.org/v1?key=a", "without ? and #"),
            ("https://", "--llm-url"),
        ] {
            let message = format!("{:#}", BaseUrl::parse(text, "--llm-url").expect_err(text));
            assert!(message.contains(fragment), "{text}: {message}");
        }
        let message = format!("{:#}", BaseUrl::parse("https://me:pass@host/v1", "--llm-url").expect_err("a password"));
        assert!(!message.contains("pass@"), "{message}");
    }
}
