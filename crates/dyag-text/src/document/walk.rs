//! Folders: which documents are below the paths that were given, in an order that does not change.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::DocumentError;

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the folder that was given, with `/` between names; its name alone where the file itself was given.
    pub source_id: String,
    /// Whether the file itself was given, rather than a folder above it.
    pub named: bool,
}

/// Something from which nothing was read.
#[derive(Debug)]
pub struct Skipped {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub reason: DocumentError,
    /// Whether it was given itself, rather than found below a folder.
    pub named: bool,
}

/// The files below some paths.
#[derive(Debug, Default)]
pub struct Walk {
    /// The files, in the order of the paths and then of their names; each once, whichever links lead to it.
    pub files: Vec<Found>,
    /// Paths that do not exist, and folders that cannot be listed.
    pub skipped: Vec<Skipped>,
    seen: HashSet<PathBuf>,
}

impl Walk {
    /// Looks below `inputs`. Names that begin with a dot are left out below a folder, and `excluded` everywhere.
    pub fn new(inputs: &[PathBuf], excluded: Option<&Path>) -> Self {
        let mut walk = Self::default();
        walk.seen.extend(excluded.and_then(|path| fs::canonicalize(path).ok()));
        for input in inputs {
            walk.input(input);
        }
        walk
    }

    fn input(&mut self, input: &Path) {
        match fs::metadata(input) {
            Ok(facts) if facts.is_dir() => self.folder(input),
            Ok(_) => {
                let name = input.file_name().map_or_else(|| input.to_string_lossy(), |name| name.to_string_lossy()).into_owned();
                self.file(input.to_owned(), name, true);
            }
            Err(error) => self.skip(input, error, true),
        }
    }

    /// Everything below a folder, without recursion: links may lead in circles.
    fn folder(&mut self, root: &Path) {
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let named = path == root;
            match fs::metadata(&path) {
                Ok(facts) if facts.is_dir() => match self.entries(&path) {
                    Ok(mut entries) => {
                        // The last of the list is looked at first.
                        entries.sort_by(|a, b| b.cmp(a));
                        open.extend(entries);
                    }
                    Err(error) => self.skip(&path, error, named),
                },
                Ok(_) => {
                    let below = path.strip_prefix(root).unwrap_or(&path);
                    let names: Vec<_> = below.components().map(|name| name.as_os_str().to_string_lossy()).collect();
                    self.file(path.clone(), names.join("/"), false);
                }
                Err(error) => self.skip(&path, error, named),
            }
        }
    }

    /// What is in a folder that was not looked at before.
    fn entries(&mut self, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
        if !self.seen.insert(fs::canonicalize(folder)?) {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                entries.push(entry.path());
            }
        }
        Ok(entries)
    }

    fn file(&mut self, path: PathBuf, source_id: String, named: bool) {
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if self.seen.insert(real) {
            self.files.push(Found { path, source_id, named });
        }
    }

    fn skip(&mut self, path: &Path, error: std::io::Error, named: bool) {
        self.skipped.push(Skipped { path: path.to_owned(), reason: DocumentError::read(path, error), named });
    }
}
