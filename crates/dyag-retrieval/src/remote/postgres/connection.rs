//! A connection to PostgreSQL: encryption, limits of time, what is tried again, and what errors say.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::RetrievalError;
use crate::remote::address::{Encryption, PostgresPlace};
use crate::remote::secret::without;

/// How long is waited before a question is asked again on a new connection.
const WAITS: [Duration; 4] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

impl PostgresPlace {
    /// An error of this server.
    pub(super) fn error(&self, problem: impl AsRef<str>) -> RetrievalError {
        RetrievalError::Server { store: self.shown.clone(), problem: without(self.password.as_ref(), problem.as_ref()) }
    }

    /// Connects. `waits`: statements that take longer than the address allows are ended.
    pub(super) fn connect(&self, waits: bool) -> Result<Client, RetrievalError> {
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).port(self.port).application_name("dyag");
        config.connect_timeout(self.connect_timeout).tcp_user_timeout(Duration::from_secs(60));
        config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
        // A socket's folder is known by its first sign.
        config.host(&self.host);
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config.ssl_mode(match self.encryption {
            Encryption::Never => SslMode::Disable,
            Encryption::IfOffered => SslMode::Prefer,
            Encryption::Always => SslMode::Require,
        });
        let client = match self.encryption {
            Encryption::Never => config.connect(NoTls),
            Encryption::IfOffered | Encryption::Always => config.connect(MakeRustlsConnect::new(self.tls()?)),
        };
        let mut client = client.map_err(|error| self.problem(&error))?;
        let timeout = if waits { self.statement_timeout.as_millis() } else { 0 };
        let set = format!("SET statement_timeout = {timeout}; SET lock_timeout = '30s'; SET client_min_messages = warning");
        client.batch_execute(&set).map_err(|error| self.problem(&error))?;
        Ok(client)
    }

    fn tls(&self) -> Result<ClientConfig, RetrievalError> {
        let mut roots = RootCertStore::empty();
        match &self.certificates {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let wrong = |found: String| {
                    let expected = "expected a file of certificates in PEM (-----BEGIN CERTIFICATE-----)";
                    self.error(format!("sslrootcert or SSL_CERT_FILE: {}: {expected}, found {found}", path.display()))
                };
                let found: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
                let found = found.map_err(|error| wrong(error.to_string()))?;
                if found.is_empty() {
                    return Err(wrong("none".to_owned()));
                }
                for certificate in found {
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| self.error(format!("TLS: {error}")))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    /// What an error of the driver means, and what to do.
    pub(super) fn problem(&self, error: &postgres::Error) -> RetrievalError {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        let Some(code) = error.code() else {
            return self.error(match self.trouble(error, &text) {
                Some(advice) => format!("{advice} ({text})"),
                None => text,
            });
        };
        let said = error.as_db_error().map_or(text, |error| error.message().to_owned());
        self.error(match code {
            &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!(
                "the server refuses user {}: {said}; expected that user's password in PGPASSWORD, and the server to let the user in from here (pg_hba.conf)",
                self.user
            ),
            &SqlState::INVALID_CATALOG_NAME => format!("expected a database named {:?}: {said}; make it with createdb, or name another", self.database),
            &SqlState::INSUFFICIENT_PRIVILEGE => {
                format!("user {} may not do this: {said}; expected rights to read, or to write with index-rag, the schema dyag", self.user)
            }
            &SqlState::QUERY_CANCELED => format!(
                "an answer took longer than {} s: {said}; give it more with statement_timeout=SECONDS in the address",
                self.statement_timeout.as_secs()
            ),
            &SqlState::LOCK_NOT_AVAILABLE => format!("another process holds what is asked for: {said}; wait for it, or stop it"),
            &SqlState::TOO_MANY_CONNECTIONS | &SqlState::CANNOT_CONNECT_NOW => format!("the server takes no connection now: {said}; try again"),
            &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN => format!("the server went away in the middle of an answer: {said}; start it, and run the command again"),
            _ => format!("{said} (SQLSTATE {})", code.code()),
        })
    }

    /// What is wrong where the server itself did not say it.
    fn trouble(&self, error: &postgres::Error, text: &str) -> Option<String> {
        if text.contains("server does not support TLS") {
            return Some(
                "expected a connection encrypted by TLS, found a server that offers none; switch it on there (ssl = on), or, where nobody on the way can listen, add sslmode=disable to the address"
                    .to_owned(),
            );
        }
        if text.contains("TLS handshake") || text.contains("certificate") {
            return Some(
                "no trusted connection: expected a certificate of a known authority for this host; name the file with the authority's certificate in sslrootcert or SSL_CERT_FILE"
                    .to_owned(),
            );
        }
        if text.contains("password missing") {
            return Some(format!("the server asks for a password of user {}, found none; set PGPASSWORD", self.user));
        }
        if text.contains("unsupported authentication") || text.contains("authentication error") {
            return Some(
                "the server asks for a kind of authentication that is not there; expected a password (SCRAM-SHA-256 or MD5) or trust"
                    .to_owned(),
            );
        }
        if error.is_closed() || is_io(error) {
            return Some(match text.contains("error connecting") || text.contains("timed out") {
                true => format!("no server answers at {} port {}; start it, or correct the address", self.host, self.port),
                false => {
                    "the connection broke in the middle of an answer; look whether the server runs, and run the command again".to_owned()
                }
            });
        }
        None
    }
}

fn is_io(error: &postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    // The driver's own waiting has no cause.
    error.to_string().contains("error connecting") || error.to_string().contains("timeout")
}

/// Whether another connection may get what this one did not.
fn may_pass(error: &postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW, SqlState::T_R_SERIALIZATION_FAILURE]
                .contains(code)
                || code.code().starts_with("08")
        }
        None => error.is_closed() || is_io(error),
    }
}

/// A connection for reading: made anew when it breaks.
pub(super) struct Reader {
    pub(super) place: PostgresPlace,
    client: Option<Client>,
}

impl Reader {
    pub(super) fn with(place: PostgresPlace, client: Client) -> Self {
        Self { place, client: Some(client) }
    }

    pub(super) fn connect(place: PostgresPlace) -> Result<Self, RetrievalError> {
        let client = place.connect(true)?;
        Ok(Self::with(place, client))
    }

    /// Asks; again on a new connection if this one breaks, five times in all.
    pub(super) fn ask<T>(&mut self, question: impl Fn(&mut Client) -> Result<T, postgres::Error>) -> Result<T, RetrievalError> {
        let mut waits = WAITS.iter();
        loop {
            let mut client = match self.client.take() {
                Some(client) => client,
                None => match (self.place.connect(true), waits.next()) {
                    (Ok(client), _) => client,
                    (Err(error), None) => return Err(error),
                    (Err(_), Some(wait)) => {
                        std::thread::sleep(*wait);
                        continue;
                    }
                },
            };
            match question(&mut client) {
                Ok(answer) => {
                    self.client = Some(client);
                    return Ok(answer);
                }
                Err(error) if may_pass(&error) => match waits.next() {
                    // What broke is dropped; the next round connects.
                    Some(wait) => std::thread::sleep(*wait),
                    None => return Err(self.place.problem(&error)),
                },
                Err(error) => {
                    self.client = Some(client);
                    return Err(self.place.problem(&error));
                }
            }
        }
    }
}
