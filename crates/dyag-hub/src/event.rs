//! What a download tells its watcher.

use std::time::Duration;

/// Something that happened. Some are told from several threads at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another program fetches the same model; this one waits for it.
    Waiting {
        /// What is waited for.
        what: String,
    },
    /// What is about to be fetched.
    Start {
        /// The repository and revision.
        name: String,
        /// The commit.
        commit: String,
        /// Files that are not here yet.
        n_files: usize,
        /// What is still to come, in bytes.
        missing_bytes: u64,
        /// What lies here already of an earlier attempt or another revision, in bytes.
        present_bytes: u64,
    },
    /// A file is begun.
    File {
        /// Its name in the repository.
        name: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// So many more bytes lie on the disk.
    Bytes(u64),
    /// So many bytes, told before, have to be fetched once more.
    Again(u64),
    /// A whole file is compared with its hash.
    Verifying {
        /// Its name.
        name: String,
    },
    /// Something failed and is tried again.
    Retry {
        /// What failed.
        problem: String,
        /// After so long.
        wait: Duration,
    },
    /// Something that the person should know.
    Note(String),
}

/// Who is told.
pub type Listener<'a> = &'a (dyn Fn(Event) + Sync);
