//! Addresses of servers: which are the same server, where a redirect leads, and where others can listen.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// An address that can be asked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    is_https: bool,
    host: String,
    port: u16,
    /// Path and query, beginning with `/`.
    path: String,
}

/// The address of a hub, below which everything is asked. Written without a `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    text: String,
    address: Address,
}

/// Only the server is shown: addresses of downloads hold signatures.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server())
    }
}

impl Address {
    /// Reads an `http` or `https` address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // Not shown: what stands before an @ may be a password.
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err("an address with a name or a password in it".to_owned());
        }
        let uri: Uri = text.split('#').next().unwrap_or_default().parse().map_err(|error| format!("no address: {error}"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(format!("an address with the scheme {other:?}")),
            None => return Err("an address without http:// or https://".to_owned()),
        };
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() {
            return Err("an address without a host".to_owned());
        }
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_https, host, port, path })
    }

    /// Where a redirect from here leads.
    pub(crate) fn follow(&self, location: &str) -> Result<Self, String> {
        let location = location.trim();
        let server = self.server();
        if location.contains("://") && !location.starts_with(['/', '?']) {
            Self::parse(location)
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::parse(&format!("{}://{rest}", if self.is_https { "https" } else { "http" }))
        } else if location.starts_with('/') {
            Self::parse(&format!("{server}{location}"))
        } else {
            let folder = self.path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
            Self::parse(&format!("{server}{folder}/{location}"))
        }
    }

    /// Scheme, host and port: who is asked.
    pub(crate) fn server(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let usual = if self.is_https { 443 } else { 80 };
        if self.port == usual { format!("{scheme}://{}", self.host) } else { format!("{scheme}://{}:{}", self.host, self.port) }
    }

    /// The whole address, for the request.
    pub(crate) fn whole(&self) -> String {
        format!("{}{}", self.server(), self.path)
    }

    /// Whether the other is on the same server: scheme, host and port.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        (self.is_https, &self.host, self.port) == (other.is_https, &other.host, other.port)
    }

    /// Whether others on the way can read and change what is sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_https && !self.is_loopback()
    }

    /// Whether it is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
        }
    }

    /// Whether going from here to there gives up encryption; this machine is no way.
    pub(crate) fn leads_into_the_open(&self, next: &Self) -> bool {
        self.is_https && next.is_open()
    }
}

impl Origin {
    /// Reads the address of a hub.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected the address of a model hub such as https://huggingface.co";
        let text = text.trim().trim_end_matches('/');
        let address = Address::parse(text).map_err(|problem| format!("{expected}, found {problem}"))?;
        if text.contains(['?', '#']) {
            return Err(format!("{expected} without ? and #"));
        }
        Ok(Self { text: text.to_owned(), address })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn is_open(&self) -> bool {
        self.address.is_open()
    }

    /// An address below this one; `path` begins with `/`.
    pub(crate) fn join(&self, path: &str) -> Result<Address, String> {
        Address::parse(&format!("{}{path}", self.text))
    }
}

/// A text as a part of an address's path: `/` stays where `keep_slashes`.
pub(crate) fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b'/' if keep_slashes => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn redirects_lead_where_browsers_would_go() {
        let here = address("https://hub.example/a/b/c?d=e");
        for (location, expected) in [
            ("https://cdn.example/x?sig=1#f", "https://cdn.example/x?sig=1"),
            ("//cdn.example:8443/x", "https://cdn.example:8443/x"),
            ("/x/y?z", "https://hub.example/x/y?z"),
            ("x", "https://hub.example/a/b/x"),
            ("/x?u=http://y", "https://hub.example/x?u=http://y"),
        ] {
            assert_eq!(here.follow(location).expect(location).whole(), expected);
        }
        for wrong in ["ftp://a/b", "https://me:geheim@cdn.example/", "file:///etc/passwd", "https://", "https://a b/"] {
            let error = here.follow(wrong).expect_err(wrong);
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_server_is_its_scheme_host_and_port() {
        let hub = address("https://hub.example");
        assert!(hub.is_same_server(&address("https://HUB.example:443/x")));
        for other in ["http://hub.example", "https://hub.example:444", "https://hub.example.org", "https://x.hub.example"] {
            assert!(!hub.is_same_server(&address(other)), "{other}");
        }
        for (text, open) in [
            ("http://127.0.0.1:1", false),
            ("http://[::1]:8080", false),
            ("http://LocalHost", false),
            ("https://example.org", false),
            ("http://example.org", true),
            ("http://localhost.example.org", true),
        ] {
            assert_eq!(address(text).is_open(), open, "{text}");
        }
        assert_eq!(format!("{:?}", address("https://a/b?signature=c")), "https://a");
    }

    #[test]
    fn encryption_is_not_given_up() {
        for (from, to, refused) in [
            ("https://a", "http://a", true),
            ("https://a", "https://b", false),
            ("https://a", "http://127.0.0.1:80", false),
            ("http://a", "http://b", false),
        ] {
            assert_eq!(address(from).leads_into_the_open(&address(to)), refused, "{from} to {to}");
        }
    }

    #[test]
    fn parts_of_paths_are_encoded() {
        assert_eq!(encode("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(encode("sub/é b.gguf", true), "sub/%C3%A9%20b.gguf");
        let origin = Origin::parse("https://mirror.example/hf/").expect("an address");
        assert_eq!(origin.join("/api/x").expect("an address").whole(), "https://mirror.example/hf/api/x");
    }
}
