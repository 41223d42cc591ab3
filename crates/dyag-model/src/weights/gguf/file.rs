//! Reader of GGUF files: header, metadata, list of tensors, and the tensors' bytes, memory-mapped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dyag_kernels::Format;
use dyag_kernels::map::Bytes;

use super::cursor::Cursor;
use super::value::Value;
use super::{types, value};
use crate::error::ModelError;

/// Beginning of every GGUF file.
const MAGIC: [u8; 4] = *b"GGUF";

/// Alignment of tensors where `general.alignment` does not say.
const DEFAULT_ALIGNMENT: usize = 32;

/// A GGUF file, mapped into memory, its header checked.
#[derive(Clone, Debug)]
pub struct GgufFile {
    path: PathBuf,
    version: u32,
    bytes: Bytes,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, GgufTensor>,
}

/// Where a tensor lies and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// How elements are stored.
    pub format: Format,
    /// Sizes, outermost first (the reverse of the file's order): `[rows, cols]` for a matrix.
    pub shape: Vec<usize>,
    range: Range<usize>,
}

/// A line of the list of tensors, before its place is checked.
struct RawTensor {
    name: String,
    format: Format,
    shape: Vec<usize>,
    offset: u64,
    n_bytes: u64,
}

impl GgufFile {
    /// Maps the file at `path` and checks header, metadata and list of tensors against it.
    ///
    /// # Errors
    /// When the file cannot be read, is truncated, is of another version or byte order, or breaks the format's rules; when a tensor is of a type that is
    /// not read here.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = Bytes::map_file(path).map_err(|source| ModelError::io(path, source))?;
        Self::from_bytes(path, bytes)
    }

    /// Reads a file that is in memory already; `path` is for messages.
    ///
    /// # Errors
    /// As [`GgufFile::open`].
    pub fn from_bytes(path: &Path, bytes: Bytes) -> Result<Self, ModelError> {
        let mut cursor = Cursor::new(path, bytes.as_slice());
        let version = read_version(&mut cursor)?;
        // A tensor takes at least 24 bytes (length of the name, number of dimensions, type, offset), a metadata pair 13.
        let n_tensors = cursor.count(24, "the list of tensors")?;
        let n_pairs = cursor.count(13, "the metadata")?;
        let metadata = read_metadata(&mut cursor, n_pairs)?;
        let mut raw = Vec::with_capacity(n_tensors);
        for _ in 0..n_tensors {
            raw.push(read_tensor(&mut cursor)?);
        }
        let alignment = alignment(path, &metadata)?;
        let data_start = cursor.position().next_multiple_of(alignment);
        let tensors = place_tensors(path, raw, data_start, alignment, bytes.len())?;
        Ok(Self { path: path.to_owned(), version, bytes, metadata, tensors })
    }

    /// Whether the file at `path` begins as a GGUF file does.
    pub fn is_gguf(path: &Path) -> bool {
        let mut magic = [0; 4];
        std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic)).is_ok() && magic == MAGIC
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Version of the format.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata value `key`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// Takes the metadata value `key` out, for the large ones.
    pub(crate) fn take_value(&mut self, key: &str) -> Option<Value> {
        self.metadata.remove(key)
    }

    /// Keys of all metadata, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &GgufTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.get(name)
    }

    /// The bytes of `tensor`, which must be one of this file's; kept mapped by whoever holds them.
    ///
    /// # Panics
    /// If `tensor` comes from a longer file.
    pub fn bytes(&self, tensor: &GgufTensor) -> Bytes {
        self.bytes.slice(tensor.range.clone()).expect("the tensor was checked against its file")
    }
}

/// Checks the magic bytes and returns the version.
fn read_version(cursor: &mut Cursor<'_>) -> Result<u32, ModelError> {
    let path = cursor.path();
    let magic: [u8; 4] = cursor.array("the first four bytes")?;
    if magic != MAGIC {
        return Err(ModelError::malformed(path, "the first four bytes", "\"GGUF\"", format!("{magic:02x?}")));
    }
    match cursor.u32("the version")? {
        version @ (2 | 3) => Ok(version),
        version if (1..=0xffff).contains(&version.swap_bytes()) => Err(ModelError::malformed(
            path,
            "the version",
            "2 or 3",
            format!("{} with big-endian bytes; convert the file", version.swap_bytes()),
        )),
        version => Err(ModelError::malformed(path, "the version", "2 or 3", version.to_string())),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, n_pairs: usize) -> Result<BTreeMap<String, Value>, ModelError> {
    let mut metadata = BTreeMap::new();
    for i in 0..n_pairs {
        let key = cursor.string(&format!("the key of metadata pair {i}"))?;
        let value = value::read(cursor, &format!("the metadata `{key}`"))?;
        if metadata.contains_key(&key) {
            return Err(ModelError::malformed(cursor.path(), format!("the metadata `{key}`"), "one value", "a second one"));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

/// Reads a line of the list of tensors: name, sizes (innermost first), type, offset.
fn read_tensor(cursor: &mut Cursor<'_>) -> Result<RawTensor, ModelError> {
    let path = cursor.path();
    let name = cursor.string("the name of a tensor")?;
    let what = format!("the tensor `{name}`");
    let n_dims = cursor.u32(&what)?;
    if !(1..=4).contains(&n_dims) {
        return Err(ModelError::malformed(path, what, "1 to 4 dimensions", n_dims.to_string()));
    }
    let mut sizes = Vec::with_capacity(4);
    for _ in 0..n_dims {
        sizes.push(cursor.u64(&what)?);
    }
    let format = types::format(cursor.u32(&what)?).map_err(|found| ModelError::UnsupportedType {
        path: path.to_owned(),
        name: name.clone(),
        found,
        supported: types::supported(),
    })?;
    let offset = cursor.u64(&what)?;
    let shape: Option<Vec<usize>> = sizes.iter().rev().map(|size| usize::try_from(*size).ok()).collect();
    let n_bytes = shape.as_ref().and_then(|shape| {
        let (cols, outer) = shape.split_last()?;
        outer.iter().try_fold(format.row_bytes(*cols)?, |n, size| n.checked_mul(*size))
    });
    match (shape, n_bytes) {
        (Some(shape), Some(n_bytes)) => Ok(RawTensor { name, format, shape, offset, n_bytes: n_bytes as u64 }),
        _ => {
            let expected = format!("rows of whole blocks of {} elements ({}), in a size of 64 bits", format.block_len(), format.name());
            Err(ModelError::malformed(path, what, expected, format!("sizes {sizes:?}")))
        }
    }
}

fn alignment(path: &Path, metadata: &BTreeMap<String, Value>) -> Result<usize, ModelError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Integer(n)) if (1..=1 << 20).contains(n) && n.count_ones() == 1 => Ok(*n as usize),
        Some(other) => Err(ModelError::bad_value(path, "general.alignment", "a power of two up to 1048576", other)),
    }
}

/// Checks that every tensor is aligned, inside the file, named once, and overlaps no other.
fn place_tensors(
    path: &Path,
    mut raw: Vec<RawTensor>,
    data_start: usize,
    alignment: usize,
    file_len: usize,
) -> Result<BTreeMap<String, GgufTensor>, ModelError> {
    raw.sort_by_key(|tensor| (tensor.offset, tensor.n_bytes));
    // Of a truncated file, the message should say how long it ought to be.
    let absolute_end = |tensor: &RawTensor| tensor.offset.saturating_add(tensor.n_bytes).saturating_add(data_start as u64);
    if let Some(last) = raw.iter().max_by_key(|tensor| absolute_end(tensor)).filter(|last| absolute_end(last) > file_len as u64) {
        return Err(ModelError::Truncated {
            path: path.to_owned(),
            what: format!("the tensor `{}`", last.name),
            expected: absolute_end(last),
            found: file_len as u64,
        });
    }
    let mut tensors = BTreeMap::new();
    let mut end = 0;
    for RawTensor { name, format, shape, offset, n_bytes } in raw {
        let what = || format!("the tensor `{name}`");
        if !offset.is_multiple_of(alignment as u64) {
            return Err(ModelError::malformed(path, what(), format!("an offset that is a multiple of {alignment}"), offset.to_string()));
        }
        if n_bytes > 0 && offset < end {
            let expected = format!("an offset of at least {end}, where the tensor before it ends");
            return Err(ModelError::malformed(path, what(), expected, offset.to_string()));
        }
        end = end.max(offset + n_bytes);
        let from = data_start + offset as usize;
        let tensor = GgufTensor { format, shape, range: from..from + n_bytes as usize };
        if tensors.contains_key(&name) {
            return Err(ModelError::malformed(path, what(), "one tensor of this name", "a second one"));
        }
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}
