//! Folders that appear whole or not at all, and that can tell later whether they are still whole.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::TrainError;

/// Lists the SHA-256 of every other file of a checkpoint, as `sha256sum` writes and checks it.
pub const SUMS_FILE: &str = "SHA256SUMS";

const PARTIAL: &str = ".partial";
const REMOVED: &str = ".removed";

/// A folder under a temporary name, until [`NewFolder::publish`] gives it its own. Dropped before that, it is removed.
#[derive(Debug)]
pub struct NewFolder {
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

/// What is wrong with a file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Name of the file inside the folder.
    pub file: String,
    /// Expected and found.
    pub problem: String,
}

impl NewFolder {
    /// Starts a folder that will be named `target`, beside it.
    pub fn create(target: &Path) -> Result<Self, TrainError> {
        let temporary = beside(target, PARTIAL);
        remove_if_there(&temporary)?;
        fs::create_dir(&temporary).map_err(TrainError::io("create the folder", &temporary))?;
        Ok(Self { temporary, target: target.to_owned(), published: false })
    }

    /// Where its files go meanwhile.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Writes one file.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), TrainError> {
        let path = self.temporary.join(name);
        fs::write(&path, content).map_err(TrainError::io("write", &path))
    }

    /// Writes one file of JSON.
    pub fn write_json(&self, name: &str, value: &impl serde::Serialize) -> Result<(), TrainError> {
        let mut text = serde_json::to_string_pretty(value).map_err(|source| TrainError::Json {
            path: self.temporary.join(name),
            kind: "JSON value",
            source,
        })?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Adds [`SUMS_FILE`] over everything written so far.
    pub fn write_sums(&self) -> Result<(), TrainError> {
        let mut sums = String::new();
        for name in file_names(&self.temporary).map_err(TrainError::io("list", &self.temporary))? {
            let path = self.temporary.join(&name);
            let sum = hash_file(&path).map_err(TrainError::io("read", &path))?;
            writeln!(sums, "{sum}  {name}").expect("a String takes everything");
        }
        self.write(SUMS_FILE, sums.as_bytes())
    }

    /// Brings everything to the disk and gives the folder its name, replacing what had it.
    pub fn publish(mut self) -> Result<(), TrainError> {
        for name in file_names(&self.temporary).map_err(TrainError::io("list", &self.temporary))? {
            sync(&self.temporary.join(name))?;
        }
        sync(&self.temporary)?;
        if self.target.exists() {
            let old = beside(&self.target, REMOVED);
            remove_if_there(&old)?;
            fs::rename(&self.target, &old).map_err(TrainError::io("rename", &self.target))?;
        }
        fs::rename(&self.temporary, &self.target).map_err(TrainError::io("rename to its final name", &self.temporary))?;
        self.published = true;
        sync(parent(&self.target))?;
        remove_if_there(&beside(&self.target, REMOVED))
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what remains is cleared by the next run, under a name nobody reads.
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

/// Removes a folder so that at no moment a part of it has its name.
pub fn remove(folder: &Path) -> Result<(), TrainError> {
    let doomed = beside(folder, REMOVED);
    remove_if_there(&doomed)?;
    fs::rename(folder, &doomed).map_err(TrainError::io("rename", folder))?;
    remove_if_there(&doomed)
}

/// Clears what a run that was killed left half written or half removed in `parent`.
pub fn clear_leftovers(parent: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(parent).map_err(TrainError::io("list", parent))? {
        let entry = entry.map_err(TrainError::io("list", parent))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && (name.ends_with(PARTIAL) || name.ends_with(REMOVED)) && entry.path().is_dir() {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

/// Compares every file of `folder` with [`SUMS_FILE`].
pub fn verify(folder: &Path) -> Result<(), Damage> {
    let damage = |file: &str, problem: String| Damage { file: file.to_owned(), problem };
    let sums = fs::read(folder.join(SUMS_FILE)).map_err(|e| damage(SUMS_FILE, format!("cannot be read ({e})")))?;
    let sums = String::from_utf8(sums).map_err(|_| damage(SUMS_FILE, "is not text".to_owned()))?;
    if sums.is_empty() {
        return Err(damage(SUMS_FILE, "is empty; expected a line for each file".to_owned()));
    }
    let mut unlisted = file_names(folder).map_err(|e| damage(SUMS_FILE, format!("its folder cannot be listed ({e})")))?;
    unlisted.retain(|name| name != SUMS_FILE);
    for (index, line) in sums.lines().enumerate() {
        let parts = line.split_once("  ").filter(|(sum, name)| {
            sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()) && !name.is_empty() && !name.contains(['/', '\\'])
        });
        let Some((expected, name)) = parts else {
            return Err(damage(SUMS_FILE, format!("line {} is not `SHA256  NAME`: {line:?}", index + 1)));
        };
        let found = hash_file(&folder.join(name)).map_err(|e| damage(name, format!("cannot be read ({e})")))?;
        if found != expected {
            return Err(damage(name, format!("expected SHA-256 {expected}, found {found}")));
        }
        unlisted.retain(|unlisted| unlisted != name);
    }
    match unlisted.first() {
        None => Ok(()),
        Some(name) => Err(damage(SUMS_FILE, format!("expected a line for {name}, found none"))),
    }
}

/// SHA-256 of a file's content, in hexadecimal.
pub fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// SHA-256 of some bytes, in hexadecimal.
pub fn hash_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// `PARENT/.NAME SUFFIX`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}{suffix}"))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn remove_if_there(folder: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(TrainError::io("remove", folder)(e)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), TrainError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(TrainError::io("bring to the disk", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(folder: &Path) -> Vec<String> {
        file_names(folder).expect("readable")
    }

    #[test]
    fn a_folder_appears_whole_and_replaces_the_old() {
        let root = tempfile::tempdir().expect("temporary folder");
        let target = root.path().join("checkpoint-1");
        for content in ["old", "new"] {
            let folder = NewFolder::create(&target).expect("created");
            folder.write("a.txt", content.as_bytes()).expect("written");
            folder.write_sums().expect("summed");
            if content == "old" {
                assert!(!target.exists());
            }
            folder.publish().expect("published");
        }
        assert_eq!(fs::read_to_string(target.join("a.txt")).expect("there"), "new");
        assert_eq!(listing(root.path()), ["checkpoint-1"]);
        assert_eq!(verify(&target), Ok(()));
    }

    #[test]
    fn an_abandoned_folder_leaves_nothing() {
        let root = tempfile::tempdir().expect("temporary folder");
        let folder = NewFolder::create(&root.path().join("x")).expect("created");
        folder.write("a", b"1").expect("written");
        drop(folder);
        assert!(listing(root.path()).is_empty());
    }

    #[test]
    fn leftovers_of_a_killed_run_are_cleared_and_nothing_else() {
        let root = tempfile::tempdir().expect("temporary folder");
        for name in [".checkpoint-3.partial", ".checkpoint-1.removed", "checkpoint-2", ".mine"] {
            fs::create_dir(root.path().join(name)).expect("created");
        }
        clear_leftovers(root.path()).expect("cleared");
        assert_eq!(listing(root.path()), [".mine", "checkpoint-2"]);
    }

    /// The file that is found damaged, and how it was damaged.
    type Damaged = (&'static str, fn(&Path));

    #[test]
    fn every_kind_of_damage_is_found_and_named() {
        let root = tempfile::tempdir().expect("temporary folder");
        let spoil: [Damaged; 6] = [
            (SUMS_FILE, |f| {
                let sums = fs::read_to_string(f.join(SUMS_FILE)).expect("readable");
                fs::write(f.join(SUMS_FILE), sums.lines().next().expect("a line")).expect("written");
            }),
            ("b", |f| fs::write(f.join("b"), b"2222x").expect("written")),
            ("b", |f| fs::write(f.join("b"), b"222").expect("written")),
            ("a", |f| fs::remove_file(f.join("a")).expect("removed")),
            (SUMS_FILE, |f| fs::write(f.join(SUMS_FILE), b"what?\n").expect("written")),
            (SUMS_FILE, |f| fs::remove_file(f.join(SUMS_FILE)).expect("removed")),
        ];
        for (index, (file, spoil)) in spoil.into_iter().enumerate() {
            let target = root.path().join(index.to_string());
            let folder = NewFolder::create(&target).expect("created");
            folder.write("a", b"1111").expect("written");
            folder.write("b", b"2222").expect("written");
            folder.write_sums().expect("summed");
            folder.publish().expect("published");
            assert_eq!(verify(&target), Ok(()));
            spoil(&target);
            assert_eq!(verify(&target).expect_err("damaged").file, file);
        }
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        assert_eq!(hash_bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
