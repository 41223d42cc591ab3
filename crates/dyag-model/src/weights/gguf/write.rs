//! Writing GGUF files, version 3: header, metadata and list of tensors at once, then each tensor as its writer makes it.

use std::io::{self, Write};
use std::path::Path;

use dyag_kernels::Format;

use super::types;
use crate::files::{WriteError, write_atomically};

/// What tensors begin at a multiple of: the format's default, so that no key need say it.
const ALIGNMENT: u64 = 32;

/// A metadata value with the type it gets in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Bools(Vec<bool>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Texts(Vec<String>),
}

/// A line of the list of tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) format: Format,
    /// Sizes, outermost first.
    pub(crate) shape: Vec<usize>,
}

/// Why a tensor could not be written: the file, or what was to be written.
pub(crate) enum TensorError<E> {
    Io(io::Error),
    Content(E),
}

impl<E> From<io::Error> for TensorError<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Entry {
    /// Bytes in the file.
    ///
    /// # Panics
    /// If rows are no whole blocks.
    pub(crate) fn n_bytes(&self) -> u64 {
        let (cols, outer) = self.shape.split_last().expect("a tensor has a size");
        let row = self.format.row_bytes(*cols).expect("rows of whole blocks");
        outer.iter().product::<usize>() as u64 * row as u64
    }
}

/// Writes the file at `path`, whole or not at all. `write_tensor` writes the bytes of tensor `i`, as many as its entry takes.
///
/// # Errors
/// When the disk fails or refuses, and what `write_tensor` gives; nothing is then left under `path` that was not there before.
pub(crate) fn write_file<E: From<WriteError>>(
    path: &Path,
    metadata: &[(String, Field)],
    entries: &[Entry],
    mut write_tensor: impl FnMut(usize, &mut dyn Write) -> Result<(), TensorError<E>>,
) -> Result<(), E> {
    let mut content_error = None;
    let outcome = write_atomically(path, |out| {
        let mut out = Counted { out, n_bytes: 0 };
        out.write_all(&header(metadata, entries))?;
        for (i, entry) in entries.iter().enumerate() {
            out.pad()?;
            let start = out.n_bytes;
            write_tensor(i, &mut out).map_err(|error| match error {
                TensorError::Io(error) => error,
                TensorError::Content(error) => {
                    content_error = Some(error);
                    io::Error::other("a tensor cannot be written")
                }
            })?;
            assert_eq!(out.n_bytes - start, entry.n_bytes(), "the tensor {} has the size of its entry", entry.name);
        }
        out.pad()
    });
    match (content_error, outcome) {
        (Some(error), _) => Err(error),
        (None, outcome) => Ok(outcome?),
    }
}

/// Everything before the first tensor.
fn header(metadata: &[(String, Field)], entries: &[Entry]) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, field) in metadata {
        put_text(&mut out, key);
        put_field(&mut out, field);
    }
    let mut offset = 0u64;
    for entry in entries {
        let Entry { name, format, shape } = entry;
        put_text(&mut out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        out.extend(shape.iter().rev().flat_map(|size| (*size as u64).to_le_bytes()));
        out.extend(types::number(*format).to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset = (offset + entry.n_bytes()).next_multiple_of(ALIGNMENT);
    }
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A value with the number of its type before it.
fn put_field(out: &mut Vec<u8>, field: &Field) {
    let mut array = |kind: u32, len: usize| {
        out.extend([9u32, kind].into_iter().flat_map(u32::to_le_bytes));
        out.extend((len as u64).to_le_bytes());
    };
    match field {
        Field::U32(value) => out.extend([4, *value].into_iter().flat_map(u32::to_le_bytes)),
        Field::F32(value) => out.extend([6u32.to_le_bytes(), value.to_le_bytes()].concat()),
        Field::Bool(value) => out.extend([&7u32.to_le_bytes()[..], &[u8::from(*value)]].concat()),
        Field::Text(text) => {
            out.extend(8u32.to_le_bytes());
            put_text(out, text);
        }
        Field::Bools(values) => {
            array(7, values.len());
            out.extend(values.iter().map(|value| u8::from(*value)));
        }
        Field::I32s(values) => {
            array(5, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Field::F32s(values) => {
            array(6, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Field::Texts(texts) => {
            array(8, texts.len());
            for text in texts {
                put_text(out, text);
            }
        }
    }
}

/// Counts what goes through.
struct Counted<'a> {
    out: &'a mut dyn Write,
    n_bytes: u64,
}

impl Counted<'_> {
    /// Zeros up to where a tensor may begin.
    fn pad(&mut self) -> io::Result<()> {
        let n = self.n_bytes.next_multiple_of(ALIGNMENT) - self.n_bytes;
        self.write_all(&[0; ALIGNMENT as usize][..n as usize])
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
