//! Removing models: only inside the cache, and counting what that frees.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::list::{entries, files_below, references, sizes};
use super::{Cache, RepoFolder};
use crate::error::HubError;
use crate::event::Listener;
use crate::name::{HubName, is_lower_hex};

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The repository, with `@COMMIT` where one revision of several was removed, with `:FILE` where it was one file.
    pub name: String,
    /// Bytes that are free now.
    pub freed_bytes: u64,
}

impl Cache {
    /// Removes a repository with all its revisions; with a revision, that one and the content that no other needs; with a file, that file.
    ///
    /// # Errors
    /// That it is not there, or that its folder is not what the cache's layout says: then nothing is removed.
    pub fn remove(&self, name: &HubName, listener: Listener<'_>) -> Result<Removed, HubError> {
        let folder = self.repo(&name.repo);
        let absent = || HubError::NotCached { name: name.to_string(), cache: self.root.clone() };
        let facts = fs::symlink_metadata(&folder.root).map_err(|_| absent())?;
        let refuse = |problem: String| HubError::NotOurs { path: folder.root.clone(), problem };
        if !facts.is_dir() {
            return Err(refuse("expected a folder, found a link or a file, which may lead out of the cache".to_owned()));
        }
        let whole = |path: &Path| fs::canonicalize(path).map_err(HubError::io("find", path));
        if whole(&folder.root)?.parent() != Some(whole(&self.root)?.as_path()) {
            return Err(refuse("expected a folder right in the cache".to_owned()));
        }
        let _lock = folder.lock(&format!("{} to be fetched by another process", name.repo), listener)?;
        if name.revision.is_none() && name.file.is_none() {
            let freed_bytes = sizes_below(&folder.root);
            fs::remove_dir_all(&folder.root).map_err(HubError::io("remove", &folder.root))?;
            return Ok(Removed { name: name.repo.to_string(), freed_bytes });
        }
        let commit = folder.commit_of(name.revision()).ok_or_else(absent)?;
        let snapshot = folder.snapshot(&commit);
        match &name.file {
            Some(file) => {
                let path = snapshot.join(file);
                fs::symlink_metadata(&path).ok().filter(|facts| !facts.is_dir()).ok_or_else(absent)?;
                fs::remove_file(&path).map_err(HubError::io("remove", &path))?;
            }
            None => {
                fs::remove_dir_all(&snapshot).map_err(HubError::io("remove", &snapshot))?;
                for (reference, _) in references(&folder).into_iter().filter(|(_, other)| *other == commit) {
                    let path = folder.references().join(reference);
                    fs::remove_file(&path).map_err(HubError::io("remove", &path))?;
                }
            }
        }
        let freed_bytes = remove_unused(&folder)?;
        let file = name.file.as_ref().map(|file| format!(":{file}")).unwrap_or_default();
        Ok(Removed { name: format!("{}@{commit}{file}", name.repo), freed_bytes })
    }
}

/// Removes content that no snapshot links to, and says how much that was.
fn remove_unused(folder: &RepoFolder) -> Result<u64, HubError> {
    let used: BTreeSet<PathBuf> =
        files_below(&folder.snapshots()).into_iter().filter_map(|file| fs::canonicalize(folder.snapshots().join(file.name)).ok()).collect();
    let mut freed = 0;
    // What is being fetched is left to whoever fetches it.
    let is_content = |name: &str| matches!(name.len(), 40 | 64) && is_lower_hex(name);
    for (name, bytes) in sizes(&folder.blobs()).into_iter().filter(|(name, _)| is_content(name)) {
        let path = folder.blobs().join(name);
        if fs::canonicalize(&path).is_ok_and(|whole| !used.contains(&whole)) {
            fs::remove_file(&path).map_err(HubError::io("remove", &path))?;
            freed += bytes;
        }
    }
    Ok(freed)
}

/// Bytes of all files below a folder; links are counted as nothing.
fn sizes_below(root: &Path) -> u64 {
    let mut bytes = sizes(root).into_iter().map(|(_, bytes)| bytes).sum();
    for path in entries(root) {
        if fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_dir()) {
            bytes += sizes_below(&path);
        }
    }
    bytes
}
