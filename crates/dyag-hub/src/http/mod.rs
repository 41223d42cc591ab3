//! Requests to the hub and to where it redirects: who is given the token, which redirects are followed, what is tried again.

mod address;
mod retry;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderValue};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::HubError;
use crate::settings::HubSettings;
use crate::token::Token;

pub(crate) use address::{Address, Origin, encode};
pub(crate) use retry::{Failure, sleep_unless, with_retries};

/// So many redirects in a row are followed.
const MAX_REDIRECTS: usize = 5;

/// Timeouts, attempts and waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for the next bytes.
    pub read_timeout: Duration,
    /// How often something that may pass is tried without any progress.
    pub attempts: usize,
    /// The wait before the second attempt; twice that before the third, and so on.
    pub first_wait: Duration,
    /// The longest of these waits, unless the server names one.
    pub longest_wait: Duration,
    /// The longest wait that a server can ask for.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            attempts: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            patience: Duration::from_secs(300),
        }
    }
}

/// Asks a hub.
pub(crate) struct Client {
    agent: ureq::Agent,
    pub(crate) origin: Origin,
    token: Option<Token>,
    pub(crate) pace: Pace,
    /// Whether anybody answered yet: who was never there is not waited for.
    answered: AtomicBool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The whole.
    Whole,
    /// From this byte to before that one.
    Range(u64, u64),
    /// The headers that the hub itself sends, before any other server is asked.
    Headers,
}

/// An answer whose body is not read yet.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ureq::Body,
    /// Who gave it: scheme, host, port.
    pub(crate) server: String,
    /// Whether that was the hub itself.
    pub(crate) is_hub: bool,
}

impl Client {
    pub(crate) fn new(settings: &HubSettings) -> Result<Self, HubError> {
        let HubSettings { endpoint, token, certificates, transfer, .. } = settings;
        let mut tls = TlsConfig::builder();
        if let Some(path) = certificates {
            tls = tls.root_certs(read_certificates(path).map_err(|problem| HubError::Setting { variable: "SSL_CERT_FILE", problem })?);
        }
        let pace = transfer.pace;
        // Redirects are followed here, where it is decided who is given the token.
        let mut config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("dyag/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(pace.connect_timeout))
            .timeout_resolve(Some(pace.connect_timeout))
            .timeout_per_read(Some(pace.read_timeout))
            .timeout_per_write(Some(pace.read_timeout));
        if endpoint.address().is_loopback() {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            origin: endpoint.clone(),
            token: token.clone(),
            pace,
            answered: AtomicBool::new(false),
        })
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Asks an address of the hub, and follows where it leads. The token goes to the hub's own server alone, and no more once it led elsewhere.
    pub(crate) fn get(&self, start: &Address, what: &str, ask: Ask) -> Result<Reply, Failure> {
        let mut address = start.clone();
        let mut is_hub = true;
        for _ in 0..=MAX_REDIRECTS {
            is_hub = is_hub && address.is_same_server(self.origin.address());
            let reply = self.send(&address, what, ask, is_hub)?;
            let location = match reply.status {
                301 | 302 | 303 | 307 | 308 => reply.headers.get("location"),
                _ => None,
            };
            let Some(location) = location else { return Ok(reply) };
            let hostile = |problem: String| Failure::Final(HubError::Hostile { host: address.server(), what: what.to_owned(), problem });
            let location = location.to_str().map_err(|_| hostile("it redirects to what is no address".to_owned()))?;
            let next = address.follow(location).map_err(|problem| hostile(format!("it redirects to {problem}")))?;
            if ask == Ask::Headers && !next.is_same_server(self.origin.address()) {
                return Ok(reply);
            }
            if address.leads_into_the_open(&next) {
                return Err(hostile(format!(
                    "it redirects from https to {}, where anybody on the way could change what is sent",
                    next.server()
                )));
            }
            address = next;
        }
        let problem = format!("it redirects more than {MAX_REDIRECTS} times");
        Err(Failure::Final(HubError::Hostile { host: address.server(), what: what.to_owned(), problem }))
    }

    fn send(&self, address: &Address, what: &str, ask: Ask, is_hub: bool) -> Result<Reply, Failure> {
        let again = |problem: String| Failure::again(what, &address.server(), problem);
        let mut headers = HeaderMap::new();
        if let Ask::Range(start, end) = ask {
            let range =
                HeaderValue::from_str(&format!("bytes={start}-{}", end.saturating_sub(1))).map_err(|error| again(error.to_string()))?;
            headers.insert("range", range);
        }
        if let (true, Some(token)) = (is_hub, &self.token) {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| again("the token cannot be sent".to_owned()))?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        let mut request = match ask {
            Ask::Headers => self.agent.head(address.whole()),
            Ask::Whole | Ask::Range(..) => self.agent.get(address.whole()),
        };
        if let Some(to) = request.headers_mut() {
            to.extend(headers);
        }
        let response = request.call().map_err(|error| self.failure(error, what, &address.server()))?;
        self.answered.store(true, Ordering::Relaxed);
        let (parts, body) = response.into_parts();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body, server: address.server(), is_hub })
    }

    /// What a request that brought no answer means: most of it may pass.
    pub(crate) fn failure(&self, error: ureq::Error, what: &str, server: &str) -> Failure {
        use ureq::Error;
        let stop =
            |problem: String| Failure::Final(HubError::Http { what: what.to_owned(), host: server.to_owned(), problem, attempts: 1 });
        let again = |problem: String| Failure::again(what, server, problem);
        let not_there = |problem: String| {
            if self.answered.load(Ordering::Relaxed) { again(problem) } else { stop(problem) }
        };
        let untrusted = |problem: String| {
            stop(format!(
                "no trusted connection: {problem}. Behind a proxy with an authority of its own, name the file with that authority's certificate in SSL_CERT_FILE"
            ))
        };
        match error {
            Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                not_there(format!("no connection within {} s", self.pace.connect_timeout.as_secs_f64()))
            }
            Error::Timeout(_) => again(format!("nothing came for {} s", self.pace.read_timeout.as_secs_f64())),
            Error::HostNotFound => not_there("there is no host of that name, or no network".to_owned()),
            Error::ConnectionFailed => not_there("the connection failed".to_owned()),
            // What a proxy said, or its address, may hold its password.
            Error::ConnectProxyFailed(_) => stop("the proxy that the environment names refused".to_owned()),
            Error::InvalidProxyUrl => stop("the proxy that the environment names is not an address".to_owned()),
            Error::Tls(text) => untrusted(text.to_owned()),
            Error::Rustls(error) => untrusted(error.to_string()),
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => untrusted(error.to_string()),
            Error::Io(error) if !is_broken(error.kind()) => not_there(error.to_string()),
            Error::Io(error) => again(format!("the connection broke: {error}")),
            Error::Protocol(error) => again(format!("the connection broke: {error}")),
            other => stop(other.to_string()),
        }
    }

    /// What the server says in its own words, on one line; empty where it says nothing.
    pub(crate) fn message(&self, reply: &Reply) -> String {
        let text = reply.headers.get("x-error-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let words: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        let words = self.token.as_ref().map_or(words.clone(), |token| token.redact(&words));
        if words.is_empty() { words } else { format!(" ({words})") }
    }
}

impl Reply {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let date = httpdate::parse_http_date(text).ok()?;
                Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
            }
        }
    }

    /// Whether the status may pass: too many requests, or the server's own trouble.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

/// Whether a connection was there and broke; every other problem (nobody listens, no such host, no network) comes before one is.
fn is_broken(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof, WouldBlock};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | TimedOut | UnexpectedEof | WouldBlock)
}

fn read_certificates(path: &Path) -> Result<RootCerts, String> {
    let expected = "expected a file of certificates in PEM (-----BEGIN CERTIFICATE-----)";
    let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}; {expected}", path.display()))?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| format!("{}: {error}; {expected}", path.display()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(format!("{} holds no certificate; {expected}", path.display()));
    }
    Ok(RootCerts::from(found))
}
