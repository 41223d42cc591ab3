//! Files and folders that reach the disk whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::RetrievalError;

/// What a file was when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Has the system write out a file, or a folder's entries.
pub(super) fn sync(path: &Path) -> Result<(), RetrievalError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| RetrievalError::write(path, error))
}

/// Writes a new file, and says what it is.
pub(super) fn write_new(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<FileRecord, RetrievalError> {
    let failed = |error| RetrievalError::write(path, error);
    let mut out = Hashing { out: BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?), hash: Sha256::new(), bytes: 0 };
    write(&mut out).and_then(|()| out.flush()).map_err(failed)?;
    out.out.get_ref().sync_all().map_err(failed)?;
    let sha256 = dyag_text::hex(&out.hash.finalize());
    Ok(FileRecord { bytes: out.bytes, sha256 })
}

/// Replaces a small file by one rename.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), RetrievalError> {
    let partial = path.with_extension("partial");
    write_new(&partial, |out| out.write_all(content))?;
    fs::rename(&partial, path).map_err(|error| RetrievalError::write(path, error))?;
    path.parent().map_or(Ok(()), sync)
}

/// The record of a file that is there.
pub(super) fn record(path: &Path) -> Result<FileRecord, RetrievalError> {
    let failed = |error| RetrievalError::read(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
    Ok(FileRecord { bytes, sha256: dyag_text::hex(&hash.finalize()) })
}

/// Refuses a file that is not what was recorded.
pub(super) fn expect(path: &Path, expected: &FileRecord) -> Result<(), RetrievalError> {
    let found = record(path)?;
    if found == *expected {
        return Ok(());
    }
    Err(RetrievalError::damaged(path, format!("SHA-256 {}", expected.sha256), found.sha256))
}

struct Hashing<W: Write> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.out.write(buffer)?;
        self.hash.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
