//! What lies in the cache, whoever put it there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Cache, RepoFolder, lacks};
use crate::download::is_partial;
use crate::error::HubError;
use crate::name::{RepoId, is_commit};

/// A repository in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CachedModel {
    /// `organisation/name`.
    pub repo: String,
    /// Its folder.
    pub path: PathBuf,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Bytes of downloads that did not end yet, among them.
    pub unfinished_bytes: u64,
    /// Its snapshots.
    pub revisions: Vec<CachedRevision>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CachedRevision {
    /// The commit.
    pub commit: String,
    /// Branches and tags that were this commit when they were fetched.
    pub refs: Vec<String>,
    /// Its folder.
    pub path: PathBuf,
    /// Its files, sorted by name.
    pub files: Vec<CachedFile>,
    /// A file that it lacks to be used as a model; a GGUF file in it can be used nevertheless.
    pub lacks: Option<String>,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CachedFile {
    /// Its name, with `/` between folders.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl CachedRevision {
    /// Sum of the files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Names of its GGUF files.
    pub fn gguf_files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str()).filter(|name| crate::name::is_gguf(name))
    }
}

impl Cache {
    /// All models in the cache, by name. What is not a model's folder is passed over.
    ///
    /// # Errors
    /// That the cache folder is there and cannot be read.
    pub fn models(&self) -> Result<Vec<CachedModel>, HubError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(HubError::io("read", &self.root))?,
        };
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.map_err(HubError::io("read", &self.root))?;
            let name = entry.file_name();
            if let Some(repo) = name.to_str().and_then(RepoId::from_folder_name)
                && entry.path().is_dir()
            {
                models.push(self.model(&repo));
            }
        }
        models.sort_by(|a, b| a.repo.cmp(&b.repo));
        Ok(models)
    }

    /// What lies here of one repository; nothing of it makes an empty list of revisions.
    pub fn model(&self, repo: &RepoId) -> CachedModel {
        let folder = self.repo(repo);
        let (mut bytes, mut unfinished_bytes) = (0, 0);
        for (name, size) in sizes(&folder.blobs()) {
            bytes += size;
            if is_partial(&name) {
                unfinished_bytes += size;
            }
        }
        CachedModel { repo: repo.to_string(), path: folder.root.clone(), bytes, unfinished_bytes, revisions: revisions(&folder) }
    }
}

fn revisions(folder: &RepoFolder) -> Vec<CachedRevision> {
    let mut refs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, commit) in references(folder) {
        refs.entry(commit).or_default().push(name);
    }
    let mut commits: Vec<String> =
        entries(&folder.snapshots()).into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect();
    commits.retain(|commit| is_commit(commit));
    commits.sort();
    commits
        .into_iter()
        .map(|commit| {
            let path = folder.snapshot(&commit);
            let files = files_below(&path);
            CachedRevision { refs: refs.remove(&commit).unwrap_or_default(), lacks: lacks(&path), files, path, commit }
        })
        .collect()
}

/// Branches and tags with the commits that they were.
pub(super) fn references(folder: &RepoFolder) -> Vec<(String, String)> {
    let root = folder.references();
    let mut found: Vec<(String, String)> = files_below(&root)
        .into_iter()
        .filter(|file| file.bytes <= 200)
        .filter_map(|file| {
            let commit = fs::read_to_string(root.join(&file.name)).ok()?.trim().to_owned();
            is_commit(&commit).then_some((file.name, commit))
        })
        .collect();
    found.sort();
    found
}

/// Files below a folder, links to files among them; links to folders are not followed.
pub(super) fn files_below(root: &Path) -> Vec<CachedFile> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for path in entries(&folder) {
            let Ok(kind) = fs::symlink_metadata(&path) else { continue };
            if kind.is_dir() {
                open.push(path);
            } else if let (Ok(facts), Ok(name)) = (fs::metadata(&path), path.strip_prefix(root))
                && facts.is_file()
            {
                files.push(CachedFile { name: name.to_string_lossy().replace('\\', "/"), bytes: facts.len() });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Names and bytes on the disk of the files right in a folder.
pub(super) fn sizes(folder: &Path) -> Vec<(String, u64)> {
    entries(folder)
        .into_iter()
        .filter_map(|path| {
            let facts = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
            Some((path.file_name()?.to_string_lossy().into_owned(), on_disk(&facts)))
        })
        .collect()
}

/// A file with holes takes less than its length.
#[cfg(unix)]
fn on_disk(facts: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    facts.len().min(facts.blocks().saturating_mul(512))
}

#[cfg(not(unix))]
fn on_disk(facts: &fs::Metadata) -> u64 {
    facts.len()
}
