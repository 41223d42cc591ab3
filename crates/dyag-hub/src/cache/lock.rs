//! Locks, so that two programs do not write the same file: the system lets go of them when a process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::RepoFolder;
use crate::error::HubError;
use crate::event::{Event, Listener};
use crate::files::BlobId;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl RepoFolder {
    /// For everything that writes below the repository's folder and is this program.
    pub(crate) fn lock(&self, what: &str, listener: Listener<'_>) -> Result<Lock, HubError> {
        take(&self.locks.join("dyag.lock"), what, listener)
    }

    /// For one file's content: the lock that the hub's own programs take too.
    pub(crate) fn lock_blob(&self, id: &BlobId, what: &str, listener: Listener<'_>) -> Result<Lock, HubError> {
        take(&self.locks.join(format!("{id}.lock")), what, listener)
    }
}

fn take(path: &Path, what: &str, listener: Listener<'_>) -> Result<Lock, HubError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(HubError::io("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            listener(Event::Waiting { what: what.to_owned() });
            file.lock().map_err(HubError::io("lock", path))?;
        }
        Err(TryLockError::Error(error)) => return Err(HubError::io("lock", path)(error)),
    }
    Ok(Lock { _file: file })
}
