//! Everything that can go wrong with a model by name, said so that its reader knows what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::name::{NameError, RepoId};

/// Why a model could not be fetched, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),

    /// The network is not to be used.
    #[error(
        "{name} is not on this machine, and {variable} forbids to fetch it: unset {variable}, or fetch the model where the network may be \
         used (`dyag models pull {name}`) and copy {} over", cache.display()
    )]
    Offline {
        /// The model.
        name: String,
        /// The variable.
        variable: &'static str,
        /// The cache folder.
        cache: PathBuf,
    },

    /// No such repository, or a private one that this token does not open.
    #[error("{endpoint} knows no model {repo}{}", if *.has_token { ", or does not show it to the account of this token" } else { "; a private one needs a token in HF_TOKEN" })]
    UnknownRepo {
        /// The repository.
        repo: RepoId,
        /// The hub.
        endpoint: String,
        /// Whether a token was sent.
        has_token: bool,
    },

    /// The repository has no such revision.
    #[error("{repo} has no revision {revision:?}: expected a branch, a tag or a whole commit of {page}")]
    UnknownRevision {
        /// The repository.
        repo: RepoId,
        /// What was asked for.
        revision: String,
        /// Its page.
        page: String,
    },

    /// The repository has no such file.
    #[error("{repo} has no file {file:?}; {}", listed(.known))]
    UnknownFile {
        /// The repository.
        repo: RepoId,
        /// What was asked for.
        file: String,
        /// Its GGUF files.
        known: Vec<String>,
    },

    /// The repository holds nothing that this program could use.
    #[error("{repo} holds no model that can be used: {problem}")]
    NoModel {
        /// The repository.
        repo: RepoId,
        /// What was expected and found.
        problem: String,
    },

    /// The model's publisher wants its terms accepted first.
    #[error("{repo} is gated: {}", gated(page, *.has_token))]
    Gated {
        /// The repository.
        repo: RepoId,
        /// The page on which its terms are accepted.
        page: String,
        /// Whether a token was sent.
        has_token: bool,
    },

    /// The token is not one that the hub knows.
    #[error(
        "{endpoint} does not accept the access token (status {status}): it is mistyped, expired or revoked. Make a new one, or unset it: models that are not gated need none"
    )]
    BadToken {
        /// The hub.
        endpoint: String,
        /// What it answered.
        status: u16,
    },

    /// The hub asks to come back later than is worth waiting.
    #[error("{host} asks to try again in {seconds} s: too many requests. Try again then; what was fetched is kept")]
    TooManyRequests {
        /// The host.
        host: String,
        /// So many seconds.
        seconds: u64,
    },

    /// Something on the way to the hub or in its answer.
    #[error("cannot fetch {what} from {host}: {problem}{}", if *.attempts > 1 { format!(" ({attempts} attempts); what was fetched is kept, so that the next one goes on from there") } else { String::new() })]
    Http {
        /// What was asked for.
        what: String,
        /// From whom.
        host: String,
        /// What went wrong.
        problem: String,
        /// How often it was tried.
        attempts: usize,
    },

    /// A server that says what cannot be true.
    #[error("{host} cannot be trusted with {what}: {problem}")]
    Hostile {
        /// The server.
        host: String,
        /// What was asked for.
        what: String,
        /// What was expected and found.
        problem: String,
    },

    /// A file that is not what its hash says.
    #[error("{file} is damaged: expected the {algorithm} {expected}, found {found}. It was removed; fetch it again")]
    WrongHash {
        /// The file.
        file: String,
        /// Which hash.
        algorithm: &'static str,
        /// In the repository.
        expected: String,
        /// Of what came.
        found: String,
    },

    /// Not enough room.
    #[error(
        "not enough room in {} for {name}: {} to fetch, {} free. Free some (`dyag models list` shows what lies there, `dyag models rm NAME` \
         removes it), or name a folder on another disk in HF_HUB_CACHE", cache.display(), bytes(*needed), bytes(*free)
    )]
    NoRoom {
        /// The model.
        name: String,
        /// The cache folder.
        cache: PathBuf,
        /// Bytes still to fetch.
        needed: u64,
        /// Bytes free.
        free: u64,
    },

    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A model that is not in the cache, and was to be removed.
    #[error("{name} is not in the cache {}", cache.display())]
    NotCached {
        /// The model.
        name: String,
        /// The cache folder.
        cache: PathBuf,
    },

    /// A folder that is not what the cache's layout says.
    #[error("{}: {problem}; nothing was removed", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What was expected and found.
        problem: String,
    },

    /// The HTTP client cannot be made as the environment asks.
    #[error("{variable}: {problem}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What was expected and found.
        problem: String,
    },
}

impl HubError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn listed(files: &[String]) -> String {
    if files.is_empty() {
        return "it has no GGUF file at all".to_owned();
    }
    let some: Vec<&str> = files.iter().take(20).map(String::as_str).collect();
    format!("its GGUF files: {}{}", some.join(", "), if files.len() > some.len() { ", ..." } else { "" })
}

fn gated(page: &str, has_token: bool) -> String {
    let token = if has_token {
        "the account of the token has no access to it, or the token is not allowed to read gated repositories"
    } else {
        "its publisher wants its terms accepted, and there is no token to show that they were"
    };
    format!("{token}. Ask for access on {page}, then set HF_TOKEN to a token of that account")
}

/// A size for people.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1000 => format!("{n} bytes"),
        1000..1_000_000 => format!("{:.0} KB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}
