//! One file's content: fetched in ranges by several connections, gone on with after a kill, compared with its hash before it gets its name.

mod hash;
mod partial;
mod ranges;
mod transfer;

use std::fs;

use crate::api::Api;
use crate::cache::RepoFolder;
use crate::error::HubError;
use crate::event::Event;
use crate::files::BlobId;
use crate::settings::TransferSettings;

pub(crate) use partial::{is_partial, left_over};

use partial::Partial;

/// A file to fetch.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) id: BlobId,
}

impl Wanted {
    /// Whether its content lies in the cache.
    pub(crate) fn is_in(&self, folder: &RepoFolder) -> bool {
        fs::metadata(folder.blob(&self.id)).is_ok_and(|facts| facts.is_file() && facts.len() == self.size)
    }
}

/// Fetches a file's content into the cache.
pub(crate) fn fetch(
    api: &Api<'_>,
    commit: &str,
    wanted: &Wanted,
    folder: &RepoFolder,
    settings: &TransferSettings,
) -> Result<(), HubError> {
    let Wanted { name, size, id } = wanted;
    let _lock = folder.lock_blob(id, &format!("{name} to be fetched by another process"), api.listener)?;
    if wanted.is_in(folder) {
        return Ok(());
    }
    (api.listener)(Event::File { name: name.clone(), bytes: *size });
    let partial = Partial::open(&folder.blobs(), id, *size)?;
    transfer::transfer(api, commit, name, &partial, settings)?;
    (api.listener)(Event::Verifying { name: name.clone() });
    let (found, length) = hash::of_file(partial.content(), id).map_err(HubError::io("read", partial.content()))?;
    if found != id.hash() || length != *size {
        partial.discard();
        return Err(HubError::WrongHash { file: name.clone(), algorithm: id.algorithm(), expected: id.to_string(), found });
    }
    partial.finish(&folder.blob(id))
}
