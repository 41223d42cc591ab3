//! Reading a GGUF header piece by piece, each piece checked against the file's end.

use std::path::Path;

use crate::error::ModelError;

/// A place in the bytes of a file.
pub(super) struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of `bytes`, which are all of the file `path`.
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes, at: 0 }
    }

    /// The file, for messages.
    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Bytes left.
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `len` bytes; `what` names them in the error.
    pub(super) fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8], ModelError> {
        if len > self.remaining() as u64 {
            return Err(self.truncated(what, (self.at as u64).saturating_add(len)));
        }
        let from = self.at;
        self.at += len as usize;
        Ok(&self.bytes[from..self.at])
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ModelError> {
        self.take(N as u64, what).map(|bytes| bytes.try_into().expect("as many as asked"))
    }

    /// The next four bytes, little-endian.
    pub(super) fn u32(&mut self, what: &str) -> Result<u32, ModelError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// The next eight bytes, little-endian.
    pub(super) fn u64(&mut self, what: &str) -> Result<u64, ModelError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string: its length in bytes, then UTF-8.
    pub(super) fn string(&mut self, what: &str) -> Result<String, ModelError> {
        let len = self.u64(what)?;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
            ModelError::malformed(self.path, what, "UTF-8", format!("other bytes after the first {}", error.valid_up_to()))
        })
    }

    /// A number of items that each take at least `item_len` bytes of what is left, so that room for them can be made without fear.
    pub(super) fn count(&mut self, item_len: usize, what: &str) -> Result<usize, ModelError> {
        let count = self.u64(what)?;
        let end = count.checked_mul(item_len as u64).and_then(|n| n.checked_add(self.at as u64)).unwrap_or(u64::MAX);
        if end > self.bytes.len() as u64 {
            return Err(self.truncated(&format!("{what} ({count} items)"), end));
        }
        Ok(count as usize)
    }

    fn truncated(&self, what: &str, expected: u64) -> ModelError {
        ModelError::Truncated { path: self.path.to_owned(), what: what.to_owned(), expected, found: self.bytes.len() as u64 }
    }
}
