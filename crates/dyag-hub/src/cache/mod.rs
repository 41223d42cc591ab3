//! The hub's cache on this machine: `models--ORG--NAME/{blobs,refs,snapshots/COMMIT}`, shared with every program that uses its layout.
//!
//! Content lies in `blobs`, named by its hash; a snapshot is a folder of relative links to it; `refs/main` holds the commit that `main` was.

mod list;
mod lock;
mod remove;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files::{BlobId, WEIGHTS, WEIGHTS_INDEX};
use crate::name::{HubName, RepoId, is_commit, wrong_file};

pub use list::{CachedFile, CachedModel, CachedRevision};
pub use remove::Removed;

/// The largest index of divided weights that is read.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// A cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The snapshot's folder, or the GGUF file in it.
    pub path: PathBuf,
    /// The commit.
    pub commit: String,
}

/// The folder of a repository in a cache.
#[derive(Clone, Debug)]
pub(crate) struct RepoFolder {
    pub(crate) root: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// The cache in a folder, which need not be there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn repo(&self, repo: &RepoId) -> RepoFolder {
        let name = repo.folder_name();
        RepoFolder { root: self.root.join(&name), locks: self.root.join(".locks").join(name) }
    }

    /// The model of that name, when all that it needs lies in the cache.
    pub fn find(&self, name: &HubName) -> Option<Found> {
        let repo = self.repo(&name.repo);
        let commit = repo.commit_of(name.revision())?;
        let snapshot = repo.snapshot(&commit);
        match &name.file {
            Some(file) => {
                let path = snapshot.join(file);
                path.is_file().then_some(Found { path, commit })
            }
            None => lacks(&snapshot).is_none().then_some(Found { path: snapshot, commit }),
        }
    }

    /// What a model in the cache lacks to be used, when something of it is there.
    pub fn lacks(&self, name: &HubName) -> Option<String> {
        let repo = self.repo(&name.repo);
        let snapshot = repo.snapshot(&repo.commit_of(name.revision())?);
        match &name.file {
            Some(file) => (!snapshot.join(file).is_file()).then(|| file.clone()),
            None => lacks(&snapshot),
        }
    }
}

impl RepoFolder {
    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn blob(&self, id: &BlobId) -> PathBuf {
        self.blobs().join(id.hash())
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.snapshots().join(commit)
    }

    pub(crate) fn references(&self) -> PathBuf {
        self.root.join("refs")
    }

    /// The commit that a revision is here.
    pub(crate) fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return self.snapshot(revision).is_dir().then(|| revision.to_owned());
        }
        let path = self.references().join(revision);
        if fs::metadata(&path).ok()?.len() > 200 {
            return None;
        }
        let commit = fs::read_to_string(path).ok()?.trim().to_owned();
        is_commit(&commit).then_some(commit)
    }
}

/// The first file that a snapshot lacks to be used as a model; none where it is whole.
pub(crate) fn lacks(snapshot: &Path) -> Option<String> {
    let missing = |name: &str| !snapshot.join(name).is_file();
    if let Some(name) = ["config.json", "tokenizer.json"].into_iter().find(|name| missing(name)) {
        return Some(name.to_owned());
    }
    if !missing(WEIGHTS) {
        return None;
    }
    match shards(&snapshot.join(WEIGHTS_INDEX)) {
        Some(shards) => shards.into_iter().find(|name| missing(name)),
        None => Some(WEIGHTS.to_owned()),
    }
}

/// The files that an index of divided weights names, each once; none where there is no index that can be read.
fn shards(index: &Path) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    if fs::metadata(index).ok()?.len() > MAX_INDEX_BYTES {
        return None;
    }
    let index: Index = serde_json::from_slice(&fs::read(index).ok()?).ok()?;
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    (!names.is_empty() && names.iter().all(|name| wrong_file(name).is_none())).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_whole_when_its_index_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        assert_eq!(lacks(folder.path()).as_deref(), Some("config.json"));
        write("config.json", "{}");
        assert_eq!(lacks(folder.path()).as_deref(), Some("tokenizer.json"));
        write("tokenizer.json", "{}");
        assert_eq!(lacks(folder.path()).as_deref(), Some("model.safetensors"));
        write("model.safetensors.index.json", r#"{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}"#);
        write("model-1.safetensors", "");
        assert_eq!(lacks(folder.path()).as_deref(), Some("model-2.safetensors"));
        write("model-2.safetensors", "");
        assert_eq!(lacks(folder.path()), None);
        write("model.safetensors.index.json", r#"{"weight_map": {"a": "../../x"}}"#);
        assert_eq!(lacks(folder.path()).as_deref(), Some("model.safetensors"));
        write("model.safetensors", "");
        assert_eq!(lacks(folder.path()), None);
    }
}
