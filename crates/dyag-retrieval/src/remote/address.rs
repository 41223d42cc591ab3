//! Where a server is: an address that says which kind it is, and what is never shown of it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;
use crate::error::RetrievalError;

/// What addresses of stores look like.
const EXPECTED: &str = "a folder, postgres://USER@HOST:PORT/DATABASE or qdrant+https://HOST:6333";
/// What an address begins with; a folder of such a name is written `./NAME`.
const SCHEMES: [&str; 7] = ["postgres", "postgresql", "http", "https", "qdrant", "qdrant+http", "qdrant+https"];
/// Parameters of a PostgreSQL address.
const PARAMETERS: &str = "sslmode, sslrootcert, host, connect_timeout, statement_timeout and vectors";

/// What servers ask for and an address does not say; from the environment and from flags.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Password of PostgreSQL, where the address has none.
    pub postgres_password: Option<String>,
    /// Key of Qdrant.
    pub qdrant_api_key: Option<String>,
    /// A PEM file whose certificates are trusted in place of the built-in authorities.
    pub certificates: Option<PathBuf>,
    /// The key may go over http to another machine.
    pub allow_http: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(not shown)")
    }
}

/// A server that keeps collections.
#[derive(Clone, Debug)]
pub struct RemotePlace {
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Postgres(PostgresPlace),
    Qdrant(QdrantPlace),
}

/// Whether the connection is encrypted. Certificates are always verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    Never,
    IfOffered,
    Always,
}

/// How the nearest vectors are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VectorSearch {
    /// By looking at all.
    Exact,
    /// By the server's graph, which may miss some.
    Hnsw,
}

#[derive(Clone, Debug)]
pub(super) struct PostgresPlace {
    /// Host name, address, or the folder of a socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) password: Option<Secret>,
    pub(super) encryption: Encryption,
    pub(super) certificates: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) vectors: VectorSearch,
    pub(super) shown: String,
}

#[derive(Clone, Debug)]
pub(super) struct QdrantPlace {
    /// Without a `/` at its end.
    pub(super) url: String,
    pub(super) key: Option<Secret>,
    pub(super) certificates: Option<PathBuf>,
    pub(super) is_loopback: bool,
    pub(super) vectors: VectorSearch,
    pub(super) shown: String,
}

fn wrong(found: impl Into<String>) -> RetrievalError {
    RetrievalError::Address { expected: EXPECTED.to_owned(), found: found.into() }
}

fn wrong_for(expected: impl Into<String>, found: impl Into<String>) -> RetrievalError {
    RetrievalError::Address { expected: expected.into(), found: found.into() }
}

impl RemotePlace {
    /// Reads an address; none for what is a folder's name.
    ///
    /// # Errors
    /// An address of no known kind or with unknown parts; a key that would go over http to another machine. What stands before an `@` is never part of the message.
    pub fn parse(text: &str, credentials: &Credentials) -> Result<Option<Self>, RetrievalError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.split_once(':') {
                Some((scheme, _)) if SCHEMES.contains(&scheme) => Err(wrong(format!("{scheme}: without // behind it"))),
                _ => Ok(None),
            };
        };
        let place = match scheme {
            "postgres" | "postgresql" => Place::Postgres(postgres(rest, credentials)?),
            "qdrant+http" | "http" => Place::Qdrant(qdrant("http", rest, credentials)?),
            "qdrant+https" | "https" => Place::Qdrant(qdrant("https", rest, credentials)?),
            "qdrant" => return Err(wrong_for("qdrant+http://HOST:6333 or qdrant+https://HOST:6333", "qdrant://, which says neither")),
            other => return Err(wrong(format!("the scheme {:?}", printable(other)))),
        };
        Ok(Some(Self { place }))
    }
}

/// A name that an error may show.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(40).collect()
}

/// Bytes written as `%41`.
fn decoded(text: &str, part: &str) -> Result<String, RetrievalError> {
    let bad = || wrong_for(format!("%XX for bytes in the {part} of an address, in UTF-8, and no zero byte"), "others (not shown)");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(bad)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit())).ok_or_else(bad)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = after;
    }
    if bytes.contains(&0) { Err(bad()) } else { String::from_utf8(bytes).map_err(|_| bad()) }
}

/// Host and port; the host of an IPv6 address without its brackets.
fn host_and_port(text: &str, default: u16) -> Result<(String, u16), RetrievalError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| wrong("[ without ]"))?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("")))
        }
        None => text.split_once(':').map_or((text, Some("")), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some("") => default,
        Some(digits) => digits.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("a port that is not a number from 1 to 65535"))?,
        None => return Err(wrong("something after ]")),
    };
    Ok((decoded(host, "host")?, port))
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.starts_with('/') || host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
    }
}

fn vector_search(value: &str) -> Result<VectorSearch, RetrievalError> {
    match value {
        "exact" => Ok(VectorSearch::Exact),
        "hnsw" => Ok(VectorSearch::Hnsw),
        other => Err(wrong_for("vectors=exact or vectors=hnsw", format!("{:?}", printable(other)))),
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, RetrievalError> {
    let seconds = value.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| wrong_for(format!("{name} in seconds, from 1 to 86400"), "something else"))
}

/// Keys and values after `?`.
fn parameters(query: &str) -> Result<Vec<(String, String)>, RetrievalError> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(|| wrong_for("KEY=VALUE after ?", "a key without a value"))?;
            Ok((decoded(key, "parameters")?, decoded(value, "parameters")?))
        })
        .collect()
}

fn postgres(rest: &str, credentials: &Credentials) -> Result<PostgresPlace, RetrievalError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
    let user = decoded(user, "user's name")?;
    let password = password.map(|password| decoded(password, "password")).transpose()?;
    let password = password.or_else(|| credentials.postgres_password.clone()).as_deref().and_then(Secret::new);
    let (mut host, port) = host_and_port(host, 5432)?;
    let mut place = PostgresPlace {
        host: String::new(),
        port,
        database: decoded(database, "database's name")?,
        user,
        password,
        encryption: Encryption::Never,
        certificates: credentials.certificates.clone(),
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(60),
        vectors: VectorSearch::Exact,
        shown: String::new(),
    };
    let mut encryption = None;
    for (key, value) in parameters(query)? {
        match key.as_str() {
            "sslmode" => encryption = Some(value),
            "sslrootcert" => place.certificates = Some(PathBuf::from(value)),
            "host" => host = value,
            "connect_timeout" => place.connect_timeout = seconds("connect_timeout", &value)?,
            "statement_timeout" => place.statement_timeout = seconds("statement_timeout", &value)?,
            "vectors" => place.vectors = vector_search(&value)?,
            "password" => return Err(wrong_for("the password in PGPASSWORD", "it among the parameters of the address (not shown)")),
            other => return Err(wrong_for(format!("the parameters {PARAMETERS}"), format!("{:?}", printable(other)))),
        }
    }
    if host.is_empty() {
        return Err(wrong("an address without a host; a socket's folder is written postgres://USER@/DATABASE?host=/run/postgresql"));
    }
    if place.user.is_empty() {
        return Err(wrong_for("the user's name before the host: postgres://USER@HOST/DATABASE", "none"));
    }
    if place.database.is_empty() {
        place.database.clone_from(&place.user);
    }
    let is_here = is_loopback(&host);
    place.encryption = match encryption.as_deref() {
        None if is_here => Encryption::Never,
        None | Some("require" | "verify-ca" | "verify-full") => Encryption::Always,
        Some("disable") => Encryption::Never,
        Some("prefer" | "allow") if is_here => Encryption::IfOffered,
        Some("prefer" | "allow") => {
            let found = "prefer, which anybody on the way can turn into no encryption";
            return Err(wrong_for("sslmode=require (certificates are verified) or sslmode=disable for a server on another machine", found));
        }
        Some(other) => return Err(wrong_for("sslmode=disable, prefer, require or verify-full", format!("{:?}", printable(other)))),
    };
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    place.shown = match host.starts_with('/') {
        true => format!("postgres://{}@:{port}/{}?host={host}", place.user, place.database),
        false => format!("postgres://{}@{bracketed}:{port}/{}", place.user, place.database),
    };
    place.host = host;
    Ok(place)
}

fn qdrant(scheme: &str, rest: &str, credentials: &Credentials) -> Result<QdrantPlace, RetrievalError> {
    if rest.contains('@') {
        return Err(wrong_for("an address of Qdrant without a name or password in it; its key comes from QDRANT_API_KEY", "an @"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_matches('/');
    let (host, port) = host_and_port(authority, 6333)?;
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c)) {
        return Err(wrong("an address without a host, or a host with other signs than letters, digits, - and ."));
    }
    if !path.chars().all(|c| c.is_ascii_alphanumeric() || "-._/~".contains(c)) {
        return Err(wrong("a path with other signs than letters, digits and -._~/"));
    }
    let mut vectors = VectorSearch::Exact;
    for (key, value) in parameters(query)? {
        match key.as_str() {
            "vectors" => vectors = vector_search(&value)?,
            other => {
                return Err(wrong_for(
                    "the parameter vectors, and no key, which comes from QDRANT_API_KEY",
                    format!("{:?}", printable(other)),
                ));
            }
        }
    }
    let key = credentials.qdrant_api_key.as_deref().map(str::trim).and_then(Secret::new);
    if key.as_ref().is_some_and(|key| !key.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(wrong_for("printable ASCII without spaces in QDRANT_API_KEY", "other signs (not shown)"));
    }
    let is_loopback = is_loopback(&host);
    if key.is_some() && scheme == "http" && !is_loopback && !credentials.allow_http {
        return Err(RetrievalError::OpenKey { host });
    }
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    let url = format!("{scheme}://{bracketed}:{port}{path}");
    let shown = format!("qdrant+{url}");
    Ok(QdrantPlace { url, key, certificates: credentials.certificates.clone(), is_loopback, vectors, shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(key: Option<&str>, allow_http: bool) -> Credentials {
        Credentials {
            postgres_password: Some("from-env".into()),
            qdrant_api_key: key.map(str::to_owned),
            allow_http,
            ..Credentials::default()
        }
    }

    fn pg(text: &str) -> PostgresPlace {
        match RemotePlace::parse(text, &credentials(None, false)).expect(text).expect("a server").place {
            Place::Postgres(place) => place,
            Place::Qdrant(_) => panic!("{text}"),
        }
    }

    fn error(text: &str, key: Option<&str>) -> String {
        RemotePlace::parse(text, &credentials(key, false)).expect_err(text).to_string()
    }

    #[test]
    fn folders_are_no_servers() {
        for text in ["dyag-index", "/a/b", "C:\\x", "a:b"] {
            assert!(RemotePlace::parse(text, &Credentials::default()).expect(text).is_none());
        }
        for text in ["http:x", "postgres:db", "qdrant:h"] {
            assert!(error(text, None).contains("without // behind it"), "{text}");
        }
    }

    #[test]
    fn addresses_of_postgresql() {
        let place = pg("postgres://me:p%40ss%2Fw@db.example.org:6543/dyag?connect_timeout=3&vectors=hnsw");
        assert_eq!((place.host.as_str(), place.port, place.user.as_str(), place.database.as_str()), ("db.example.org", 6543, "me", "dyag"));
        assert_eq!(place.password.as_ref().map(Secret::expose), Some("p@ss/w"));
        assert_eq!(
            (place.encryption, place.vectors, place.connect_timeout),
            (Encryption::Always, VectorSearch::Hnsw, Duration::from_secs(3))
        );
        assert_eq!(place.shown, "postgres://me@db.example.org:6543/dyag");
        assert!(!format!("{place:?}").contains("p@ss"));
        let socket = pg("postgresql://me@/?host=/run/postgresql");
        assert_eq!((socket.host.as_str(), socket.database.as_str(), socket.encryption), ("/run/postgresql", "me", Encryption::Never));
        assert_eq!(socket.password.as_ref().map(Secret::expose), Some("from-env"));
        assert_eq!(pg("postgres://me@%2Frun%2Fpg/x").host, "/run/pg");
        assert_eq!(pg("postgres://me@[::1]/x").shown, "postgres://me@[::1]:5432/x");
        for (text, encryption) in [
            ("postgres://me@localhost/x", Encryption::Never),
            ("postgres://me@127.0.0.1/x?sslmode=prefer", Encryption::IfOffered),
            ("postgres://me@10.0.0.1/x", Encryption::Always),
            ("postgres://me@10.0.0.1/x?sslmode=disable", Encryption::Never),
        ] {
            assert_eq!(pg(text).encryption, encryption, "{text}");
        }
    }

    #[test]
    fn addresses_of_qdrant() {
        let place = |text: &str, key: Option<&str>, allow: bool| match RemotePlace::parse(text, &credentials(key, allow))
            .expect(text)
            .expect("a server")
            .place
        {
            Place::Qdrant(place) => place,
            Place::Postgres(_) => panic!("{text}"),
        };
        assert_eq!(place("http://localhost", None, false).url, "http://localhost:6333");
        let https = place("qdrant+https://q.example.org/base/?vectors=hnsw", Some(" k3y-k3y "), false);
        assert_eq!((https.url.as_str(), https.vectors), ("https://q.example.org:6333/base", VectorSearch::Hnsw));
        assert_eq!(https.key.as_ref().map(Secret::expose), Some("k3y-k3y"));
        assert!(!format!("{https:?}").contains("k3y"));
        assert_eq!(place("qdrant+http://10.0.0.1:1", Some("k3y"), true).shown, "qdrant+http://10.0.0.1:1");
        assert!(error("http://10.0.0.1:6333", Some("k3y")).contains("--store-allow-http"));
    }

    #[test]
    fn bad_addresses_name_what_is_wrong_and_show_no_secret() {
        for (text, part) in [
            ("mysql://me:s3cret@h/x", "mysql"),
            ("qdrant://h", "qdrant+https"),
            ("postgres://h/x", "USER"),
            ("postgres://me:s3cret@/x", "without a host"),
            ("postgres://me:s3cret@h:0/x", "port"),
            ("postgres://me:s3cret%zz@h/x", "%XX"),
            ("postgres://me:s3cret%00@h/x", "%XX"),
            ("postgres://me:s3cret@h/x?sslmode=maybe", "maybe"),
            ("postgres://me:s3cret@h/x?sslmode=prefer", "require"),
            ("postgres://me@h/x?password=s3cret", "PGPASSWORD"),
            ("postgres://me:s3cret@h/x?colour=red", "sslmode, "),
            ("postgres://me:s3cret@h/x?connect_timeout=soon", "seconds"),
            ("http://me:s3cret@h", "QDRANT_API_KEY"),
            ("http://h?api-key=s3cret", "QDRANT_API_KEY"),
            ("https://", "host"),
            ("https://h/a b", "path"),
        ] {
            let message = error(text, None);
            assert!(message.contains(part) && !message.contains("s3cret"), "{text}: {message}");
        }
    }
}
