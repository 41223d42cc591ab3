//! Vectors that were made and not yet part of a generation: a run that was killed does not make them again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::description::EmbedderRecord;
use crate::error::RetrievalError;

/// Vectors by the fingerprint of their text.
pub(super) type VectorsByText = HashMap<[u8; 16], Vec<f32>>;

/// A file of records, a fingerprint, a vector and a checksum each, after a line that names the embedder.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

fn checksum(fingerprint: &[u8; 16], vector: &[u8]) -> u32 {
    // FNV-1a: what a kill leaves is a record that is cut or was never written, not a clever forgery.
    fingerprint.iter().chain(vector).fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl Journal {
    /// Opens the journal at `path`: what it holds of this embedder, and the place to go on.
    pub(super) fn open(path: &Path, embedder: &EmbedderRecord) -> Result<(Self, VectorsByText), RetrievalError> {
        let header = format!("dyag vectors 1 {} {}\n", embedder.dimension, embedder.signature.replace('\n', "\\n"));
        let mut found = VectorsByText::new();
        let mut whole = 0u64;
        if let Ok(file) = File::open(path) {
            let mut reader = BufReader::with_capacity(1 << 20, file);
            let mut start = vec![0; header.len()];
            if reader.read_exact(&mut start).is_ok() && start == header.as_bytes() {
                whole = header.len() as u64;
                let mut record = vec![0; 16 + 4 * embedder.dimension + 4];
                while reader.read_exact(&mut record).is_ok() {
                    let (fingerprint, rest) = record.split_at(16);
                    let (vector, sum) = rest.split_at(4 * embedder.dimension);
                    let fingerprint: [u8; 16] = std::array::from_fn(|place| fingerprint[place]);
                    if checksum(&fingerprint, vector).to_le_bytes() != sum {
                        break;
                    }
                    let vector = vector.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                    found.insert(fingerprint, vector);
                    whole += record.len() as u64;
                }
            }
        }
        let failed = |error| RetrievalError::write(path, error);
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        file.set_len(whole).map_err(failed)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).map_err(failed)?;
        if whole == 0 {
            file.write_all(header.as_bytes()).map_err(failed)?;
        }
        Ok((Self { path: path.to_owned(), file }, found))
    }

    /// Keeps vectors.
    pub(super) fn add<'a>(&mut self, vectors: impl Iterator<Item = ([u8; 16], &'a [f32])>) -> Result<(), RetrievalError> {
        let mut bytes = Vec::new();
        for (fingerprint, vector) in vectors {
            let vector: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            bytes.extend_from_slice(&fingerprint);
            bytes.extend_from_slice(&vector);
            bytes.extend_from_slice(&checksum(&fingerprint, &vector).to_le_bytes());
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| RetrievalError::write(&self.path, error))
    }

    /// Removes the file: its vectors have their place.
    pub(super) fn remove(path: &Path) {
        // One that stays is read by the next run, to which it does no harm.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_cut_at_any_byte_gives_its_whole_records() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("j");
        let embedder = EmbedderRecord { name: "e".into(), signature: "s".into(), dimension: 3 };
        let (mut journal, found) = Journal::open(&path, &embedder).expect("a journal");
        assert!(found.is_empty());
        let vectors = [([1u8; 16], [1.0f32, 2.0, 3.0]), ([2; 16], [4.0, 5.0, 6.0])];
        journal.add(vectors.iter().map(|(f, v)| (*f, &v[..]))).expect("kept");
        let bytes = fs::read(&path).expect("bytes");
        let (header, record) = (bytes.len() - 2 * 32, 32);
        for cut in 0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).expect("cut");
            let (mut journal, found) = Journal::open(&path, &embedder).expect("a journal");
            assert_eq!(found.len(), cut.saturating_sub(header) / record, "{cut}");
            journal.add([([9; 16], &[7.0f32, 8.0, 9.0][..])].into_iter()).expect("kept");
            let (_, again) = Journal::open(&path, &embedder).expect("again");
            assert_eq!(again.len(), found.len() + 1, "{cut}");
            assert_eq!(again[&[9; 16]], [7.0, 8.0, 9.0]);
        }
        let mut damaged = bytes.clone();
        damaged[header + 20] ^= 1;
        fs::write(&path, &damaged).expect("damaged");
        assert!(Journal::open(&path, &embedder).expect("a journal").1.is_empty());
        let other = EmbedderRecord { signature: "t".into(), ..embedder };
        fs::write(&path, &bytes).expect("whole");
        assert!(Journal::open(&path, &other).expect("a journal").1.is_empty(), "another embedder's vectors are none of ours");
    }
}
