//! Fetching a model: what the hub says it has, what of it is needed and not here yet, each file checked, then the links and the revision.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::api::Api;
use crate::cache::{Cache, RepoFolder};
use crate::disk::free_bytes;
use crate::download::{Wanted, fetch, left_over};
use crate::error::HubError;
use crate::event::{Event, Listener};
use crate::files::{Listing, RemoteFile, needed};
use crate::http::Client;
use crate::name::{HubName, is_commit};
use crate::settings::HubSettings;

/// So many bytes are left free beside what is fetched.
const SPARE_BYTES: u64 = 16 << 20;

/// A model that was fetched, or was here already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// The name that was asked for.
    pub name: String,
    /// The commit.
    pub commit: String,
    /// The snapshot's folder, or the GGUF file in it.
    pub path: PathBuf,
    /// Names of the files.
    pub files: Vec<String>,
    /// Their size in bytes.
    pub bytes: u64,
    /// What had to be fetched for that.
    pub fetched_bytes: u64,
}

/// What the hub says of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    /// The commit.
    pub commit: String,
    /// Whether its terms have to be accepted.
    pub gated: bool,
    /// Its licence, as its card names it.
    pub licence: Option<String>,
    /// The files that would be fetched, with their sizes in bytes where the hub tells them.
    pub files: Vec<(String, Option<u64>)>,
}

fn offline(settings: &HubSettings, name: &HubName) -> Result<(), HubError> {
    match settings.offline {
        Some(variable) => Err(HubError::Offline { name: name.to_string(), variable, cache: settings.cache.clone() }),
        None => Ok(()),
    }
}

/// Asks the hub about a model, without fetching it.
///
/// # Errors
/// As [`pull`], as far as it gets.
pub fn about(settings: &HubSettings, name: &HubName, listener: Listener<'_>) -> Result<About, HubError> {
    offline(settings, name)?;
    let client = Client::new(settings)?;
    let listing = Api { client: &client, listener, name }.listing()?;
    let files = needed(name, &listing)?.into_iter().map(|file| (file.name, file.facts.map(|(size, _)| size))).collect();
    Ok(About { commit: listing.commit, gated: listing.gated, licence: listing.licence, files })
}

/// Fetches a model into the cache: the files that it needs of the revision, pinned to its commit. What is there already, of this revision,
/// another one or an attempt that was interrupted, is not fetched again.
///
/// Nothing gets its final name before its hash is right, and no branch points to a snapshot that is not whole.
///
/// # Errors
/// Names that the hub does not know, models that need access, and everything that can go wrong on the way; see [`HubError`].
pub fn pull(settings: &HubSettings, name: &HubName, listener: Listener<'_>) -> Result<Pulled, HubError> {
    offline(settings, name)?;
    settings.warnings.iter().for_each(|warning| listener(Event::Note(warning.clone())));
    let client = Client::new(settings)?;
    let api = Api { client: &client, listener, name };
    let listing = api.listing()?;
    let files = wanted(&api, &listing)?;
    let folder = Cache::new(&settings.cache).repo(&name.repo);
    if files.iter().any(|file| !file.is_in(&folder)) {
        // Whether these files are given to whom this token belongs is asked before anything is written.
        if let Some(file) = files.iter().min_by_key(|file| file.size) {
            api.file_facts(&listing.commit, &file.name)?;
        }
    }
    let lock = folder.lock(&format!("{} to be fetched by another process", name.repo), listener)?;
    let fetched_bytes = fetch_all(&api, settings, &listing, &files, &folder)?;
    for file in &files {
        link(&folder, &listing.commit, file)?;
    }
    if !is_commit(name.revision()) {
        write_reference(&folder.references().join(name.revision()), &listing.commit)?;
    }
    drop(lock);
    let snapshot = folder.snapshot(&listing.commit);
    Ok(Pulled {
        name: name.to_string(),
        commit: listing.commit,
        path: name.file.as_ref().map_or(snapshot.clone(), |file| snapshot.join(file)),
        bytes: files.iter().map(|file| file.size).sum(),
        files: files.into_iter().map(|file| file.name).collect(),
        fetched_bytes,
    })
}

/// The files that are needed, with size and hash: the hub is asked for those that its listing does not tell. Small ones first.
fn wanted(api: &Api<'_>, listing: &Listing) -> Result<Vec<Wanted>, HubError> {
    let mut files = Vec::new();
    for RemoteFile { name, facts } in needed(api.name, listing)? {
        let facts = match facts {
            Some(facts) => Some(facts),
            None => api.file_facts(&listing.commit, &name)?,
        };
        let Some((size, id)) = facts else {
            return Err(HubError::Hostile {
                host: api.client.origin.as_str().to_owned(),
                what: name,
                problem:
                    "expected its size and its hash (in the listing, or as headers X-Linked-Size and X-Linked-ETag or ETag), found none"
                        .to_owned(),
            });
        };
        files.push(Wanted { name, size, id });
    }
    files.sort_by(|a, b| a.size.cmp(&b.size).then_with(|| a.name.cmp(&b.name)));
    Ok(files)
}

fn fetch_all(api: &Api<'_>, settings: &HubSettings, listing: &Listing, files: &[Wanted], folder: &RepoFolder) -> Result<u64, HubError> {
    let todo: Vec<&Wanted> = files.iter().filter(|file| !file.is_in(folder)).collect();
    let total = |files: &mut dyn Iterator<Item = u64>| files.fold(0_u64, u64::saturating_add);
    let all = total(&mut files.iter().map(|file| file.size));
    let missing = total(&mut todo.iter().map(|file| file.size - left_over(&folder.blobs(), &file.id, file.size)));
    if todo.is_empty() {
        return Ok(0);
    }
    if let Some(free) = free_bytes(&settings.cache)
        && free < missing.saturating_add(SPARE_BYTES)
    {
        return Err(HubError::NoRoom { name: api.name.to_string(), cache: settings.cache.clone(), needed: missing, free });
    }
    (api.listener)(Event::Start {
        name: api.name.to_string(),
        commit: listing.commit.clone(),
        n_files: todo.len(),
        missing_bytes: missing,
        present_bytes: all - missing,
    });
    for file in todo {
        fetch(api, &listing.commit, file, folder, &settings.transfer)?;
    }
    Ok(missing)
}

/// Puts a file into a snapshot: a relative link to its content.
fn link(folder: &RepoFolder, commit: &str, file: &Wanted) -> Result<(), HubError> {
    let path = folder.snapshot(commit).join(&file.name);
    let parent = path.parent().unwrap_or(&path);
    fs::create_dir_all(parent).map_err(HubError::io("create", parent))?;
    let depth = 2 + file.name.matches('/').count();
    let target: PathBuf = std::iter::repeat_n("..", depth).chain(["blobs", file.id.hash()]).collect();
    if fs::read_link(&path).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".dyag-new");
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    place(&target, &folder.blob(&file.id), &new).and_then(|()| fs::rename(&new, &path)).map_err(HubError::io("link", &path))
}

#[cfg(unix)]
fn place(target: &Path, _: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Where links are a privilege, the content is there twice, as other programs do it.
#[cfg(not(unix))]
fn place(_: &Path, blob: &Path, copy: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, copy).or_else(|_| fs::copy(blob, copy).map(|_| ()))
}

fn write_reference(path: &Path, commit: &str) -> Result<(), HubError> {
    if fs::read_to_string(path).is_ok_and(|found| found == commit) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".dyag-new");
    let new = path.with_file_name(name);
    fs::write(&new, commit).and_then(|()| fs::rename(&new, path)).map_err(HubError::io("write", path))
}
