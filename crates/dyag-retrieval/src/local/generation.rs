//! One state of a collection, in a folder that never changes: passages, lexical index, vectors, and what they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dyag_kernels::map::Bytes;
use dyag_text::chunk::Chunk;
use serde::{Deserialize, Serialize};

use super::files::{self, FileRecord};
use super::lexical::Lexical;
use super::vectors::Vectors;
use crate::description::{ANALYSIS_VERSION, Description, EmbedderRecord};
use crate::error::RetrievalError;

/// Of the files of a generation.
pub(super) const FORMAT: u32 = 1;
pub(super) const MANIFEST: &str = "collection.json";
pub(super) const CHUNKS: &str = "chunks.jsonl";
pub(super) const OFFSETS: &str = "chunks.offsets";
pub(super) const VECTORS: &str = "vectors.f32";
pub(super) const CODES: &str = "vectors.q8_0";
/// Beside vectors that lie in another order than passages; no version but the first wrote it.
const LISTS: &str = "vectors.ivf";
pub(super) const LEXICAL: &str = "lexical";
/// Names the generation that counts.
pub(super) const CURRENT: &str = "CURRENT";

/// What `collection.json` says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    #[serde(flatten)]
    pub(super) description: Description,
    /// Hash of all passages, to see that nothing changed.
    pub(super) content: String,
    /// Files that are read as they lie, and those of the lexical index.
    pub(super) files: BTreeMap<String, FileRecord>,
}

impl Manifest {
    /// Whether the files of the lexical index are recorded: those of the first collections were not.
    pub(super) fn records_lexical(&self) -> bool {
        self.files.keys().any(|name| name.starts_with(LEXICAL))
    }

    /// Reads what the generation in `folder` says of itself.
    fn read(folder: &Path) -> Result<Self, RetrievalError> {
        let path = folder.join(MANIFEST);
        let text = fs::read(&path).map_err(|error| RetrievalError::read(&path, error))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| RetrievalError::damaged(&path, "a description of a collection", error.to_string()))?;
        if manifest.format != FORMAT || manifest.description.analysis_version != ANALYSIS_VERSION {
            return Err(RetrievalError::damaged(
                &path,
                format!("format {FORMAT}, analysis {ANALYSIS_VERSION}, which this version of dyag reads"),
                format!("format {}, analysis {}", manifest.format, manifest.description.analysis_version),
            ));
        }
        Ok(manifest)
    }
}

/// Whether the files of the generation in `folder` are as they were written, byte for byte; the first that is not is an error. Opens none of them.
pub(super) fn verify(folder: &Path) -> Result<(), RetrievalError> {
    let manifest = Manifest::read(folder)?;
    if !manifest.records_lexical() {
        return Err(RetrievalError::damaged(&folder.join(MANIFEST), "a record of the lexical index", "none, as of an earlier version"));
    }
    manifest.files.iter().try_for_each(|(name, expected)| files::expect(&folder.join(name), expected))
}

/// Bytes of a lexical index up to which it is compared with what was written whenever it is opened; of a larger one the lengths of its files are (`rag-stats --verify` reads all).
const READ_WHOLE: u64 = 32 << 20;

/// What the files of a generation's lexical index are, by their path in the generation.
pub(super) fn lexical_records(folder: &Path) -> Result<BTreeMap<String, FileRecord>, RetrievalError> {
    let lexical = folder.join(LEXICAL);
    let mut records = BTreeMap::new();
    for entry in fs::read_dir(&lexical).map_err(|error| RetrievalError::read(&lexical, error))? {
        let entry = entry.map_err(|error| RetrievalError::read(&lexical, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Locks of a writer that has ended.
        if !name.ends_with(".lock") {
            records.insert(format!("{LEXICAL}/{name}"), files::record(&entry.path())?);
        }
    }
    Ok(records)
}

/// Refuses a lexical index with damaged files: the library that reads them believes what they say.
pub(super) fn check_lexical(folder: &Path, manifest: &Manifest, read_whole: u64) -> Result<(), RetrievalError> {
    let recorded = || manifest.files.iter().filter(|(name, _)| name.starts_with(LEXICAL));
    let reads_whole = recorded().map(|(_, record)| record.bytes).fold(0, u64::saturating_add) <= read_whole;
    for (name, expected) in recorded() {
        let path = folder.join(name);
        let bytes = fs::metadata(&path).map_err(|error| RetrievalError::read(&path, error))?.len();
        if bytes != expected.bytes {
            return Err(RetrievalError::damaged(&path, format!("{} bytes", expected.bytes), format!("{bytes} bytes")));
        }
        if reads_whole {
            files::expect(&path, expected)?;
        }
    }
    Ok(())
}

/// A generation's name from its number.
pub(super) fn name(number: u64) -> String {
    format!("generation-{number:06}")
}

/// The number in a generation's name.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("generation-")?.parse().ok()
}

/// The folder of the generation that counts, or none.
pub(super) fn current(collection: &Path) -> Result<Option<PathBuf>, RetrievalError> {
    let path = collection.join(CURRENT);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RetrievalError::read(&path, error)),
        Ok(text) => match number(text.trim()) {
            Some(number) => Ok(Some(collection.join(name(number)))),
            None => {
                Err(RetrievalError::damaged(&path, "the name of a generation", format!("{:?}", text.chars().take(40).collect::<String>())))
            }
        },
    }
}

/// A generation that is open. What it was opened with stays readable when its folder is removed.
pub(super) struct Generation {
    pub(super) manifest: Manifest,
    folder: PathBuf,
    chunks: Bytes,
    offsets: Bytes,
    pub(super) lexical: Lexical,
    pub(super) vectors: Option<Vectors>,
}

impl Generation {
    /// Opens the generation in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, RetrievalError> {
        let manifest = Manifest::read(folder)?;
        let n = manifest.description.n_chunks;
        let map = |name: &str| {
            let path = folder.join(name);
            let bytes = Bytes::map_file(&path).map_err(|error| RetrievalError::read(&path, error))?;
            match manifest.files.get(name) {
                Some(record) if record.bytes == bytes.len() as u64 => Ok(bytes),
                record => {
                    let expected = record.map_or("a record of it".to_owned(), |record| format!("{} bytes", record.bytes));
                    Err(RetrievalError::damaged(&path, expected, format!("{} bytes", bytes.len())))
                }
            }
        };
        let (chunks, offsets) = (map(CHUNKS)?, map(OFFSETS)?);
        let expected = n.checked_add(1).and_then(|n| n.checked_mul(8));
        if n == 0 || expected != Some(offsets.len()) {
            let path = folder.join(OFFSETS);
            return Err(RetrievalError::damaged(&path, format!("the beginnings of {n} passages"), format!("{} bytes", offsets.len())));
        }
        check_lexical(folder, &manifest, READ_WHOLE)?;
        let lexical = Lexical::open(&folder.join(LEXICAL), n)?;
        let vectors = match &manifest.description.embedder {
            Some(EmbedderRecord { dimension, .. }) => {
                if manifest.files.contains_key(LISTS) {
                    let expected = "vectors in the order of passages (`dyag index-rag --rebuild` embeds all of them again)";
                    return Err(RetrievalError::damaged(&folder.join(LISTS), expected, "an inverted file, as of an earlier version"));
                }
                let path = folder.join(CODES);
                let codes = manifest.files.contains_key(CODES).then(|| map(CODES)).transpose()?;
                Some(Vectors::open(&folder.join(VECTORS), n, *dimension, codes.map(|bytes| (path.as_path(), bytes)))?)
            }
            None => None,
        };
        Ok(Self { manifest, folder: folder.to_owned(), chunks, offsets, lexical, vectors })
    }

    /// Passages.
    pub(super) fn len(&self) -> usize {
        self.manifest.description.n_chunks
    }

    /// The line of a passage.
    fn line(&self, place: usize) -> Result<&[u8], RetrievalError> {
        let offset = |place: usize| {
            let bytes = self.offsets.as_slice().as_chunks::<8>().0.get(place)?;
            usize::try_from(u64::from_le_bytes(*bytes)).ok()
        };
        let range = offset(place).zip(offset(place + 1));
        range.and_then(|(from, to)| self.chunks.as_slice().get(from..to)).ok_or_else(|| {
            RetrievalError::damaged(
                &self.folder.join(OFFSETS),
                format!("the bounds of passage {place}"),
                "none that lie in the file of passages",
            )
        })
    }

    /// A passage.
    pub(super) fn chunk(&self, place: usize) -> Result<Chunk, RetrievalError> {
        serde_json::from_slice(self.line(place)?).map_err(|error| {
            RetrievalError::damaged(&self.folder.join(CHUNKS), format!("a passage in line {}", place + 1), error.to_string())
        })
    }

    /// The id of a passage.
    pub(super) fn id(&self, place: usize) -> Result<String, RetrievalError> {
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        let id: Id = serde_json::from_slice(self.line(place)?).map_err(|error| {
            RetrievalError::damaged(&self.folder.join(CHUNKS), format!("a passage in line {}", place + 1), error.to_string())
        })?;
        Ok(id.id)
    }

    /// The place of the passage with an id: they are in the order of ids.
    pub(super) fn place(&self, id: &str) -> Result<Option<usize>, RetrievalError> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.id(middle)?.as_str().cmp(id) {
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Ok(None)
    }

    /// Whether the files are as they were written, byte for byte; the first that is not is an error.
    pub(super) fn verify(&self) -> Result<(), RetrievalError> {
        verify(&self.folder)
    }

    /// Whether passages and vectors, which the next generation takes over, are as they were written.
    pub(super) fn verify_taken_over(&self) -> Result<(), RetrievalError> {
        let files = [CHUNKS, OFFSETS, VECTORS].into_iter().filter_map(|name| Some((name, self.manifest.files.get(name)?)));
        files.into_iter().try_for_each(|(name, expected)| files::expect(&self.folder.join(name), expected))
    }

    /// Bytes of all files, by name.
    pub(super) fn sizes(&self) -> BTreeMap<String, u64> {
        let size = |path: &Path| fs::metadata(path).map(|data| data.len()).unwrap_or(0);
        let lexical = fs::read_dir(self.folder.join(LEXICAL)).map(|entries| entries.flatten().map(|entry| size(&entry.path())).sum());
        let outside = self.manifest.files.iter().filter(|(name, _)| !name.contains('/'));
        let mut sizes: BTreeMap<String, u64> = outside.map(|(name, record)| (name.clone(), record.bytes)).collect();
        sizes.insert(LEXICAL.to_owned(), lexical.unwrap_or(0));
        sizes
    }
}
