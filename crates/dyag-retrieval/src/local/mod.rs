//! Collections in folders of this machine.
//!
//! `ROOT/NAME/` holds generations, each whole and never changed, and `CURRENT`, which names the one that counts and is replaced by one rename. So a reader has one state from beginning to
//! end whatever a writer does, and a kill leaves the generation before. What was embedded is kept in a journal until it is part of a generation.

mod build;
mod codes;
mod files;
mod generation;
mod journal;
mod lexical;
mod vectors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_kernels::cpu_device::CpuDevice;
use dyag_text::chunk::Chunk;

use crate::analysis::QueryTerm;
use crate::description::Description;
use crate::error::RetrievalError;
use crate::filter::Filter;
use crate::indexing::{TIES, dot};
use crate::store::{LexicalQuery, Scored, Store};

pub use build::index;
use generation::Generation;
pub(crate) use vectors::unit;

/// How often a reader looks again when the generation it was about to open is gone.
const LOOKS: usize = 20;

/// Names of the collections in `root`, in order.
///
/// # Errors
/// A folder that is there and cannot be read.
pub fn collections(root: &Path) -> Result<Vec<String>, RetrievalError> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| RetrievalError::read(root, error))?,
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join(generation::CURRENT).exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Removes a collection.
///
/// # Errors
/// No such collection, another writer, a folder that cannot be removed.
pub fn remove(root: &Path, name: &str) -> Result<(), RetrievalError> {
    let folder = existing(root, name)?;
    let _lock = build::Lock::take(&folder)?;
    std::fs::remove_dir_all(&folder).map_err(|error| RetrievalError::write(&folder, error))
}

/// Compares every byte of the collection `name` under `root` with what was written, without opening it.
///
/// # Errors
/// No such collection; the first file that is not as it was written.
pub fn verify(root: &Path, name: &str) -> Result<(), RetrievalError> {
    match generation::current(&existing(root, name)?)? {
        Some(current) => generation::verify(&current),
        None => Ok(()),
    }
}

fn existing(root: &Path, name: &str) -> Result<PathBuf, RetrievalError> {
    let folder = build::folder_of(root, name)?;
    if folder.join(generation::CURRENT).exists() {
        return Ok(folder);
    }
    let found = match collections(root)? {
        names if names.is_empty() => "none".to_owned(),
        names => names.join(", "),
    };
    Err(RetrievalError::NoCollection { place: root.display().to_string(), name: name.to_owned(), found })
}

/// A collection in a folder, open at one generation.
pub struct LocalStore {
    generation: Generation,
    device: Arc<CpuDevice>,
}

impl LocalStore {
    /// Opens the collection `name` under `root`. Products are computed on `device`, which should compute in f32, and with copies of vectors in whole numbers.
    ///
    /// # Errors
    /// No such collection, files that are damaged.
    pub fn open(root: &Path, name: &str, device: Arc<CpuDevice>) -> Result<Self, RetrievalError> {
        let folder = existing(root, name)?;
        let mut looks = 0;
        loop {
            let current = generation::current(&folder)?;
            let Some(current) = current else {
                return Err(RetrievalError::NoCollection {
                    place: root.display().to_string(),
                    name: name.to_owned(),
                    found: "an empty folder".to_owned(),
                });
            };
            match Generation::open(&current) {
                Ok(generation) => return Ok(Self { generation, device }),
                // A writer that finished twice in between has removed it; the one that counts now is another.
                Err(error) if looks == LOOKS || generation::current(&folder)?.as_ref() == Some(&current) => return Err(error),
                Err(_) => looks += 1,
            }
        }
    }

    fn named(&self, ranking: Vec<(usize, f32)>) -> Result<Vec<Scored>, RetrievalError> {
        ranking.into_iter().map(|(place, score)| Ok(Scored { id: self.generation.id(place)?, score })).collect()
    }
}

impl Store for LocalStore {
    fn description(&self) -> &Description {
        &self.generation.manifest.description
    }

    fn lexical(&self, query: &LexicalQuery, k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError> {
        self.named(self.generation.lexical.search(query, k, filter)?)
    }

    fn nearest(&self, vector: &[f32], k: usize, filter: &Filter) -> Result<Vec<Scored>, RetrievalError> {
        let no_vectors = || RetrievalError::NoVectors { collection: self.description().collection.clone() };
        let vectors = self.generation.vectors.as_ref().ok_or_else(no_vectors)?;
        let passing = self.generation.lexical.passing(filter)?;
        let near = vectors.nearest(&self.device, vector, k + TIES, passing.as_deref());
        // Products of the device differ from others' in their last digits; what is given is the product that every store computes.
        let mut near: Vec<(usize, f32)> = near.into_iter().map(|(place, _)| (place, dot(&vectors.row(place), vector) as f32)).collect();
        near.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        near.truncate(k);
        self.named(near)
    }

    fn chunks(&self, ids: &[&str]) -> Result<Vec<Chunk>, RetrievalError> {
        let missing =
            |id: &str| RetrievalError::Chunk { id: id.to_owned(), expected: "a chunk of the collection", found: "none".to_owned() };
        ids.iter().map(|id| self.generation.place(id)?.map_or_else(|| Err(missing(id)), |place| self.generation.chunk(place))).collect()
    }

    fn document_frequencies(&self, terms: &[QueryTerm]) -> Result<Vec<u64>, RetrievalError> {
        terms.iter().map(|term| self.generation.lexical.document_frequency(term)).collect()
    }

    fn similar_words(&self, word: &str) -> Result<Vec<String>, RetrievalError> {
        self.generation.lexical.similar_words(word)
    }

    fn each_chunk(&self, each: &mut dyn FnMut(Chunk) -> Result<(), RetrievalError>) -> Result<(), RetrievalError> {
        (0..self.generation.len()).try_for_each(|place| each(self.generation.chunk(place)?))
    }

    fn verify(&self) -> Result<(), RetrievalError> {
        self.generation.verify()
    }

    fn sizes(&self) -> Result<BTreeMap<String, u64>, RetrievalError> {
        Ok(self.generation.sizes())
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
