//! Qdrant's REST interface: one request and its reply, what is tried again, and what errors say.

use std::cell::Cell;
use std::io::Read as _;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::HeaderValue;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::RetrievalError;
use crate::remote::address::QdrantPlace;
use crate::remote::secret::without;

/// How long is waited before a request is sent again.
const WAITS: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The largest reply that is read.
const LARGEST_REPLY: u64 = 256 << 20;

/// What every reply holds.
#[derive(Deserialize)]
struct Reply<T> {
    result: T,
}

/// Sends requests to one server.
pub(super) struct Http {
    pub(super) place: QdrantPlace,
    agent: ureq::Agent,
    /// So many requests were sent again.
    pub(super) repeated: Cell<u32>,
}

/// Why there is no reply.
enum Trouble {
    /// Another try may get one, after so long if the server says.
    Passing(String, Option<Duration>),
    /// The server says that what is asked for is not there.
    Absent,
    Lasting(String),
}

impl Http {
    pub(super) fn new(place: &QdrantPlace) -> Result<Self, RetrievalError> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &place.certificates {
            let wrong = |found: String| {
                let expected = "expected a file of certificates in PEM (-----BEGIN CERTIFICATE-----)";
                server_error(place, format!("SSL_CERT_FILE: {}: {expected}, found {found}", path.display()))
            };
            let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let mut found = Vec::new();
            for item in parse_pem(&bytes) {
                if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
                    found.push(certificate);
                }
            }
            if found.is_empty() {
                return Err(wrong("none".to_owned()));
            }
            tls = tls.root_certs(RootCerts::from(found));
        }
        // A redirect is an error: the key must not go where only the server said.
        let mut config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("dyag/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(Duration::from_secs(120)));
        if place.is_loopback {
            config = config.proxy(None);
        }
        Ok(Self { place: place.clone(), agent: config.build().new_agent(), repeated: Cell::new(0) })
    }

    /// An error of this server.
    pub(super) fn error(&self, problem: impl AsRef<str>) -> RetrievalError {
        server_error(&self.place, problem)
    }

    /// The result of a request; none where the server says that the collection is not there.
    pub(super) fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Option<T>, RetrievalError> {
        let bytes = body.map(|body| body.to_string().into_bytes());
        let mut waits = WAITS.iter();
        loop {
            let failed = match self.once(method, path, bytes.as_deref()) {
                Ok(reply) => {
                    let result: Reply<T> = serde_json::from_slice(&reply).map_err(|error| {
                        self.error(format!("{method} {path}: expected a reply as Qdrant documents it, found another: {error}; is this a Qdrant server (1.10 or later)?"))
                    })?;
                    return Ok(Some(result.result));
                }
                Err(Trouble::Absent) => return Ok(None),
                Err(Trouble::Lasting(problem)) => return Err(self.error(problem)),
                Err(Trouble::Passing(problem, wait)) => (problem, wait),
            };
            match (waits.next(), failed) {
                (Some(wait), (_, asked)) => {
                    self.repeated.set(self.repeated.get() + 1);
                    std::thread::sleep(asked.unwrap_or(*wait).min(LONGEST_WAIT));
                }
                (None, (problem, _)) => return Err(self.error(problem)),
            }
        }
    }

    /// The result of a request for what must be there.
    pub(super) fn must<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<&Value>) -> Result<T, RetrievalError> {
        self.ask(method, path, body)?.ok_or_else(|| {
            self.error(format!("{method} {path}: expected a collection that this run made or found, found none; another process removed it: run the command again"))
        })
    }

    fn once(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, Trouble> {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.place.url)).header("accept", "application/json");
        if let Some(key) = &self.place.key {
            let mut value = HeaderValue::from_str(key.expose())
                .map_err(|_| Trouble::Lasting("QDRANT_API_KEY holds a sign that a header cannot".to_owned()))?;
            value.set_sensitive(true);
            request = request.header("api-key", value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let unusable = |error: ureq::http::Error| Trouble::Lasting(format!("the request cannot be sent: {error}"));
        let sent = match body {
            Some(body) => self.agent.run(request.body(body).map_err(unusable)?),
            None => self.agent.run(request.body(()).map_err(unusable)?),
        };
        let (parts, body) = sent.map_err(|error| trouble(&error))?.into_parts();
        let mut bytes = Vec::new();
        let mut reader = body.into_with_config().limit(LARGEST_REPLY).reader();
        reader.read_to_end(&mut bytes).map_err(|error| {
            Trouble::Passing(
                format!(
                    "the connection broke in the middle of an answer: {error}; look whether the server runs, and run the command again"
                ),
                None,
            )
        })?;
        let status = parts.status.as_u16();
        if (200..300).contains(&status) {
            return Ok(bytes);
        }
        let said = said(&bytes);
        let wait = parts.headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
        Err(match status {
            401 | 403 => Trouble::Lasting(format!(
                "the server refuses (HTTP {status}): {said}; expected a key that may read, or write with index-rag, in QDRANT_API_KEY"
            )),
            404 => Trouble::Absent,
            429 => Trouble::Passing(format!("the server takes no more requests now (HTTP 429): {said}; run the command again later"), wait),
            500..=599 => {
                Trouble::Passing(format!("the server failed (HTTP {status}): {said}; look at its log, and run the command again"), wait)
            }
            300..=399 => {
                Trouble::Lasting(format!("expected an answer, found a redirection (HTTP {status}); give the address that it leads to"))
            }
            _ => Trouble::Lasting(format!("{method} {path}: HTTP {status}: {said}")),
        })
    }
}

pub(super) fn server_error(place: &QdrantPlace, problem: impl AsRef<str>) -> RetrievalError {
    RetrievalError::Server { store: place.shown.clone(), problem: without(place.key.as_ref(), problem.as_ref()) }
}

/// What a server said that did not do what was asked.
fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]).into_owned();
    let json: Option<Value> = serde_json::from_slice(bytes).ok();
    let error = json.as_ref().and_then(|json| json.pointer("/status/error")).and_then(Value::as_str);
    match error.unwrap_or(&text).trim() {
        "" => "nothing".to_owned(),
        said => said.to_owned(),
    }
}

fn trouble(error: &ureq::Error) -> Trouble {
    use ureq::Error;
    let trust = |problem: String| {
        Trouble::Lasting(format!(
            "no trusted connection: {problem}; expected a certificate of a known authority: name the file with the authority's certificate in SSL_CERT_FILE, or use qdrant+http:// where \
             the server speaks no TLS"
        ))
    };
    match error {
        Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) | Error::HostNotFound | Error::ConnectionFailed => {
            Trouble::Passing(format!("no server answers there: {error}; start it, or correct the address"), None)
        }
        Error::Timeout(_) => Trouble::Passing("no answer within 120 s; look whether the server is busy".to_owned(), None),
        // What a proxy said, or its address, may hold its password.
        Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => {
            Trouble::Lasting("the proxy that the environment names refuses".to_owned())
        }
        Error::Tls(text) => trust((*text).to_owned()),
        Error::Rustls(error) => trust(error.to_string()),
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => trust(error.to_string()),
        Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Trouble::Passing(format!("no server answers there: {error}; start it, or correct the address"), None)
        }
        Error::Io(error) => Trouble::Passing(
            format!("the connection broke in the middle of an answer: {error}; look whether the server runs, and run the command again"),
            None,
        ),
        Error::Protocol(error) => Trouble::Passing(
            format!("the connection broke in the middle of an answer: {error}; look whether the server runs, and run the command again"),
            None,
        ),
        other => Trouble::Lasting(format!("the request cannot be sent: {other}")),
    }
}
