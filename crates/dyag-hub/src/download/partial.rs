//! A file that is not whole yet, and beside it a journal of the ranges that are there: what a kill leaves is gone on with.
//!
//! The content has holes while several connections write it. It therefore has a name of its own: versions of the hub's Python package take the
//! length of `HASH.incomplete` for what is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::ranges::Ranges;
use crate::error::HubError;
use crate::files::BlobId;

const CONTENT: &str = ".dyag.incomplete";
const JOURNAL: &str = ".dyag.ranges";
/// The largest journal that is read; one that is larger is started anew.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// Whether a name in `blobs` is that of a file that is not whole yet, of this program or another.
pub(crate) fn is_partial(name: &str) -> bool {
    name.ends_with(".incomplete") || name.ends_with(JOURNAL)
}

/// Content and journal of one file that is being fetched.
#[derive(Debug)]
pub(crate) struct Partial {
    content: PathBuf,
    journal: PathBuf,
    size: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    there: Ranges,
    journal: File,
}

/// A place in the content from which one connection writes on.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    partial: &'a Partial,
    file: File,
    at: u64,
    buffer: Vec<u8>,
    record_bytes: usize,
}

/// What an earlier attempt left of a file of that size.
pub(crate) fn left_over(blobs: &Path, id: &BlobId, size: u64) -> u64 {
    read_journal(&blobs.join(format!("{id}{JOURNAL}")), &blobs.join(format!("{id}{CONTENT}")), size).len()
}

impl Partial {
    /// Opens what is left of an earlier attempt, or begins.
    pub(crate) fn open(blobs: &Path, id: &BlobId, size: u64) -> Result<Self, HubError> {
        fs::create_dir_all(blobs).map_err(HubError::io("create", blobs))?;
        let (content, journal) = (blobs.join(format!("{id}{CONTENT}")), blobs.join(format!("{id}{JOURNAL}")));
        let there = read_journal(&journal, &content, size);
        OpenOptions::new().create(true).truncate(there.len() == 0).write(true).open(&content).map_err(HubError::io("write", &content))?;
        let file = write_journal(&journal, &there, size).map_err(HubError::io("write", &journal))?;
        Ok(Self { content, journal, size, state: Mutex::new(State { there, journal: file }) })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn content(&self) -> &Path {
        &self.content
    }

    /// The bytes that are there.
    pub(crate) fn there(&self) -> Ranges {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).there.clone()
    }

    /// Forgets everything that is there; says how much that was.
    pub(crate) fn start_over(&self) -> Result<u64, HubError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = state.there.len();
        state.there = Ranges::default();
        state.journal = write_journal(&self.journal, &state.there, self.size).map_err(HubError::io("write", &self.journal))?;
        Ok(forgotten)
    }

    /// Removes content and journal.
    pub(crate) fn discard(&self) {
        // What cannot be removed is overwritten by the next attempt.
        let _ = fs::remove_file(&self.journal);
        let _ = fs::remove_file(&self.content);
    }

    /// Gives the whole content its final name.
    pub(crate) fn finish(self, blob: &Path) -> Result<(), HubError> {
        let synced = File::open(&self.content).and_then(|file| file.sync_all());
        synced.and_then(|()| fs::rename(&self.content, blob)).map_err(HubError::io("write", blob))?;
        let _ = fs::remove_file(&self.journal);
        sync_folder_of(blob).map_err(HubError::io("write", blob))
    }

    /// A connection's place. After each `record_bytes` it is written down that they are there.
    pub(crate) fn writer(&self, at: u64, record_bytes: usize) -> Result<Writer<'_>, HubError> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).open(&self.content)?;
            file.seek(SeekFrom::Start(at))?;
            Ok(file)
        };
        let file = open().map_err(HubError::io("write", &self.content))?;
        Ok(Writer { partial: self, file, at, buffer: Vec::with_capacity(record_bytes.max(1)), record_bytes: record_bytes.max(1) })
    }

    fn record(&self, start: u64, end: u64) -> Result<(), HubError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.there.add(start, end);
        state.journal.write_all(format!("{start} {end}\n").as_bytes()).map_err(HubError::io("write", &self.journal))
    }
}

impl Writer<'_> {
    /// Adds bytes. Returns how many came to lie on the disk by it.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<u64, HubError> {
        let mut written = 0;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.record_bytes - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == self.record_bytes {
                written += self.flush()?;
            }
        }
        Ok(written)
    }

    /// Puts what is held back on the disk.
    pub(crate) fn flush(&mut self) -> Result<u64, HubError> {
        let n = self.buffer.len() as u64;
        if n > 0 {
            self.file.write_all(&self.buffer).map_err(HubError::io("write", &self.partial.content))?;
            self.partial.record(self.at, self.at + n)?;
            self.at += n;
            self.buffer.clear();
        }
        Ok(n)
    }

    /// The byte after the last one on the disk.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }
}

fn header(size: u64) -> String {
    format!("dyag-ranges 1 {size}\n")
}

/// The ranges that a journal names; none where it is of another size or version, or damaged. A last line that a kill cut off does not count.
fn read_journal(journal: &Path, content: &Path, size: u64) -> Ranges {
    let mut there = Ranges::default();
    let Ok(content) = fs::metadata(content) else { return there };
    if fs::metadata(journal).map_or(u64::MAX, |facts| facts.len()) > MAX_JOURNAL_BYTES {
        return there;
    }
    let Ok(text) = fs::read_to_string(journal) else { return there };
    let Some(lines) = text.strip_prefix(&header(size)) else { return there };
    for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let numbers = line.split_once(' ').and_then(|(start, end)| Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?)));
        match numbers {
            Some((start, end)) if start < end && end <= size && end <= content.len() => there.add(start, end),
            _ => return Ranges::default(),
        }
    }
    there
}

/// Writes a journal anew and leaves it open to be added to.
fn write_journal(path: &Path, there: &Ranges, size: u64) -> io::Result<File> {
    let mut text = header(size);
    for (start, end) in there.iter() {
        text.push_str(&format!("{start} {end}\n"));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, text)?;
    fs::rename(&new, path)?;
    OpenOptions::new().append(true).open(path)
}

/// Makes a rename last: on Unix the folder itself has to be synced.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> BlobId {
        BlobId::git_sha1(&"a".repeat(40)).expect("a hash")
    }

    #[test]
    fn what_was_written_is_there_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = folder.path();
        let partial = Partial::open(blobs, &id(), 100).expect("opened");
        let mut writer = partial.writer(40, 8).expect("a writer");
        assert_eq!(writer.write(&[1; 20]).expect("written"), 16);
        drop(writer);
        drop(partial);
        assert_eq!(left_over(blobs, &id(), 100), 16);
        let partial = Partial::open(blobs, &id(), 100).expect("opened");
        assert_eq!(partial.there().iter().collect::<Vec<_>>(), [(40, 56)]);
        assert_eq!(fs::read(partial.content()).expect("read")[40..56], [1; 16]);
        // Another size is another file.
        assert_eq!(left_over(blobs, &id(), 101), 0);
        assert_eq!(partial.start_over().expect("written"), 16);
        drop(partial);
        assert_eq!(left_over(blobs, &id(), 100), 0);
    }

    #[test]
    fn a_journal_that_was_cut_off_or_lies_is_not_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = folder.path();
        fs::write(blobs.join(format!("{}{CONTENT}", id())), [0; 50]).expect("written");
        for (text, expected) in [
            ("dyag-ranges 1 100\n0 10\n20 3", 10),
            ("dyag-ranges 1 100\n0 10\n20 30\n", 20),
            ("dyag-ranges 1 100\n0 10\n40 60\n", 0),
            ("dyag-ranges 1 100\n10 0\n", 0),
            ("dyag-ranges 1 100\nabc\n", 0),
            ("dyag-ranges 2 100\n0 10\n", 0),
            ("dyag-ranges 1 10", 0),
            ("", 0),
        ] {
            fs::write(blobs.join(format!("{}{JOURNAL}", id())), text).expect("written");
            assert_eq!(left_over(blobs, &id(), 100), expected, "{text:?}");
        }
    }
}
