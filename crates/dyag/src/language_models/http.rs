//! One request over HTTP, and everything that can become of it.

use std::fmt;
use std::io::{self, BufRead as _, Read as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use ureq::http::{HeaderMap, HeaderValue};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::secret::Secret;

/// Limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HttpSettings {
    /// The longest wait for a connection.
    pub(super) connect_timeout: Duration,
    /// The longest wait for a whole reply, connecting included.
    pub(super) timeout: Duration,
    /// The largest reply that is read.
    pub(super) max_reply_bytes: u64,
}

impl HttpSettings {
    /// Ten seconds to connect, and 16 MiB.
    pub(super) fn with_timeout(timeout: Duration) -> Self {
        Self { connect_timeout: timeout.min(Duration::from_secs(10)), timeout, max_reply_bytes: 16 << 20 }
    }
}

/// Sends requests to one server.
pub(crate) struct HttpClient {
    agent: ureq::Agent,
    settings: HttpSettings,
}

/// What a server sent back, whatever its status.
pub(super) struct HttpReply {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why there is no reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HttpProblem {
    /// No server could be reached.
    NotThere(String),
    /// The reply did not come in time.
    Timeout(Duration),
    /// The connection broke before the reply was whole.
    Broken(String),
    /// The reply is larger than so many bytes, which is what is read.
    TooLarge(u64),
    /// The server's certificate is not one to trust.
    Untrusted(String),
    /// The request cannot be sent at all.
    Unusable(String),
}

impl fmt::Display for HttpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere(problem) => write!(f, "no server answers there: {problem}"),
            Self::Timeout(timeout) => write!(f, "no reply within {} s", timeout.as_secs_f64()),
            Self::Broken(problem) => write!(f, "the connection broke before the reply was whole: {problem}"),
            Self::TooLarge(limit) => write!(f, "the reply is larger than {limit} bytes"),
            Self::Untrusted(problem) => write!(
                f,
                "no trusted connection: {problem}. Expected a certificate of a known authority; for a server with an authority of its own, \
                 name the file with the authority's certificate in SSL_CERT_FILE"
            ),
            Self::Unusable(problem) => write!(f, "the request cannot be sent: {problem}"),
        }
    }
}

impl HttpClient {
    /// A client. `certificates`: the PEM file whose certificates are trusted in place of the built-in ones. `without_proxy`: the proxy that
    /// the environment names is not asked, as for a server on this machine.
    pub(super) fn new(settings: HttpSettings, certificates: Option<&str>, without_proxy: bool) -> anyhow::Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = certificates {
            tls = tls.root_certs(read_certificates(path)?);
        }
        // A redirect is shown, not followed: the key must not go where only the server said.
        let mut config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("dyag/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_global(Some(settings.timeout));
        if without_proxy {
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().new_agent(), settings })
    }

    /// Posts JSON. `key` goes into the header of that name, after the prefix. Where the reply is a stream (of events, or of a JSON value a line), `on_line` is given each of its lines as it comes.
    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        key: Option<(&str, &str, &Secret)>,
        body: &[u8],
        on_line: Option<&mut dyn FnMut(&str)>,
    ) -> Result<HttpReply, HttpProblem> {
        let accept = if on_line.is_some() { "text/event-stream, application/x-ndjson, application/json" } else { "application/json" };
        let mut request = self.agent.post(url).header("content-type", "application/json").header("accept", accept);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((name, prefix, secret)) = key {
            let mut value = HeaderValue::from_str(&format!("{prefix}{}", secret.expose()))
                .map_err(|_| HttpProblem::Unusable("the key holds a character that a header cannot".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let response = request.send(body).map_err(|error| self.problem(error))?;
        let (parts, body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut reader = body.into_with_config().limit(self.settings.max_reply_bytes).reader();
        let streams = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).is_some_and(is_stream);
        match on_line.filter(|_| streams && parts.status == 200) {
            None => {
                reader.read_to_end(&mut bytes).map_err(|error| self.problem(error.into()))?;
            }
            Some(on_line) => {
                let mut reader = io::BufReader::new(reader);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).map_err(|error| self.problem(error.into()))? > 0 {
                    on_line(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }
        }
        Ok(HttpReply { status: parts.status.as_u16(), headers: parts.headers, body: bytes })
    }

    fn problem(&self, error: ureq::Error) -> HttpProblem {
        use ureq::Error;
        match error {
            Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                HttpProblem::NotThere(format!("no connection within {} s", self.settings.connect_timeout.as_secs_f64()))
            }
            Error::Timeout(_) => HttpProblem::Timeout(self.settings.timeout),
            Error::HostNotFound => HttpProblem::NotThere("there is no host of that name".to_owned()),
            Error::ConnectionFailed => HttpProblem::NotThere("the connection failed".to_owned()),
            // What a proxy said, or its address, may hold its password.
            Error::ConnectProxyFailed(_) => HttpProblem::NotThere("the proxy that the environment names refused".to_owned()),
            Error::InvalidProxyUrl => HttpProblem::Unusable("the proxy that the environment names is not an address".to_owned()),
            Error::BodyExceedsLimit(_) => HttpProblem::TooLarge(self.settings.max_reply_bytes),
            Error::Tls(text) => HttpProblem::Untrusted(text.to_owned()),
            Error::Rustls(error) => HttpProblem::Untrusted(error.to_string()),
            Error::Io(error) => io_problem(&error, self.settings.timeout),
            Error::Protocol(error) => HttpProblem::Broken(error.to_string()),
            Error::LargeResponseHeader(..) => HttpProblem::Broken("its headers are too large".to_owned()),
            other => HttpProblem::Unusable(other.to_string()),
        }
    }
}

fn is_stream(content_type: &str) -> bool {
    ["text/event-stream", "application/x-ndjson", "application/jsonl"].iter().any(|kind| content_type.trim_start().starts_with(kind))
}

fn io_problem(error: &io::Error, timeout: Duration) -> HttpProblem {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => HttpProblem::NotThere("the connection was refused".to_owned()),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            HttpProblem::NotThere(error.to_string())
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => HttpProblem::Timeout(timeout),
        // What rustls refuses comes as invalid data.
        ErrorKind::InvalidData => HttpProblem::Untrusted(error.to_string()),
        _ => HttpProblem::Broken(error.to_string()),
    }
}

fn read_certificates(path: &str) -> anyhow::Result<RootCerts> {
    let expected = "expected a file of certificates in PEM (-----BEGIN CERTIFICATE-----)";
    let bytes = std::fs::read(path).with_context(|| format!("SSL_CERT_FILE: cannot read {path}; {expected}"))?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("SSL_CERT_FILE: {path}; {expected}"))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        bail!("SSL_CERT_FILE: {path} holds no certificate; {expected}");
    }
    Ok(RootCerts::from(found))
}

impl HttpReply {
    /// A header, if it is there and readable.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The beginning of `text` on one line, without control characters, for a message.
pub(super) fn excerpt(text: &str, max_chars: usize) -> String {
    let mut words = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        if words.len() > 4 * max_chars {
            break;
        }
    }
    if words.is_empty() {
        return "nothing".to_owned();
    }
    match words.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt(" a\n\tb\u{1b}[2Jc ", 40), "a b [2Jc");
        assert_eq!(excerpt("ééééé", 3), "ééé...");
        assert_eq!(excerpt(" \n", 3), "nothing");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().display().to_string();
        let message = format!("{:#}", read_certificates(&path).expect_err("nothing in it"));
        assert!(message.contains("holds no certificate"), "{message}");
        assert!(read_certificates("/absent/ca.pem").is_err());
    }
}
