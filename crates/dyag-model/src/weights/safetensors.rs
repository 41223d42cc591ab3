//! Reader of safetensors files: a header of JSON, then the tensors' bytes, memory-mapped.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dyag_kernels::map::Bytes;
use dyag_kernels::{Format, quant};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::error::ModelError;

/// Longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dtype {
    Bool,
    U8,
    I8,
    F8E4M3,
    F8E5M2,
    F8E8M0,
    U16,
    I16,
    F16,
    Bf16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
    C64,
}

impl Dtype {
    const ALL: [(&'static str, Self, usize); 17] = [
        ("BOOL", Self::Bool, 1),
        ("U8", Self::U8, 1),
        ("I8", Self::I8, 1),
        ("F8_E4M3", Self::F8E4M3, 1),
        ("F8_E5M2", Self::F8E5M2, 1),
        ("F8_E8M0", Self::F8E8M0, 1),
        ("U16", Self::U16, 2),
        ("I16", Self::I16, 2),
        ("F16", Self::F16, 2),
        ("BF16", Self::Bf16, 2),
        ("U32", Self::U32, 4),
        ("I32", Self::I32, 4),
        ("F32", Self::F32, 4),
        ("U64", Self::U64, 8),
        ("I64", Self::I64, 8),
        ("F64", Self::F64, 8),
        ("C64", Self::C64, 8),
    ];

    /// The type as headers name it.
    pub fn name(self) -> &'static str {
        Self::row(self).0
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        Self::row(self).2
    }

    /// How weights of this type are widened; `None` for types that weights do not have.
    pub fn format(self) -> Option<Format> {
        match self {
            Self::F32 => Some(Format::F32),
            Self::F16 => Some(Format::F16),
            Self::Bf16 => Some(Format::Bf16),
            _ => None,
        }
    }

    fn row(self) -> (&'static str, Self, usize) {
        *Self::ALL.iter().find(|row| row.1 == self).expect("every type is in the table")
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.0 == name).map(|row| row.1)
    }
}

/// A safetensors file, mapped into memory, its header checked.
#[derive(Clone, Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    bytes: Bytes,
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

/// Where a tensor lies; the range counts from the start of the file.
#[derive(Clone, Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// One tensor of a [`SafetensorsFile`].
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    path: &'a Path,
    name: &'a str,
    /// Type of the elements.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: &'a [usize],
    /// The elements, row-major, little-endian.
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    /// The elements as f32.
    ///
    /// # Errors
    /// [`ModelError::UnsupportedType`] unless the type is F32, F16 or BF16.
    pub fn to_f32(&self) -> Result<Vec<f32>, ModelError> {
        let format = self.dtype.format().ok_or_else(|| self.wrong_type("F32, F16, BF16"))?;
        let mut out = vec![0.0; self.bytes.len() / self.dtype.size()];
        quant::widen(format, self.bytes, &mut out);
        Ok(out)
    }

    /// The elements as i64.
    ///
    /// # Errors
    /// [`ModelError::UnsupportedType`] unless the type is I64 or I32.
    pub fn to_i64(&self) -> Result<Vec<i64>, ModelError> {
        match self.dtype {
            Dtype::I64 => Ok(self.bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
            Dtype::I32 => Ok(self.bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()),
            _ => Err(self.wrong_type("I64, I32")),
        }
    }

    fn wrong_type(&self, supported: &str) -> ModelError {
        ModelError::UnsupportedType {
            path: self.path.to_owned(),
            name: self.name.to_owned(),
            found: self.dtype.name().to_owned(),
            supported: supported.to_owned(),
        }
    }
}

impl SafetensorsFile {
    /// Maps the file at `path` and checks its header against it.
    ///
    /// # Errors
    /// When the file cannot be read, or its header is not what the format asks for: JSON that fits the file, tensors of known types that lie end to end,
    /// each as long as its shape says.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = Bytes::map_file(path).map_err(|source| ModelError::io(path, source))?;
        Self::from_bytes(path, bytes)
    }

    /// Reads a file that is in memory already; `path` is for messages.
    ///
    /// # Errors
    /// As [`SafetensorsFile::open`].
    pub fn from_bytes(path: &Path, bytes: Bytes) -> Result<Self, ModelError> {
        let data = bytes.as_slice();
        let file_len = data.len() as u64;
        let truncated =
            |what: &str, expected| ModelError::Truncated { path: path.to_owned(), what: what.to_owned(), expected, found: file_len };
        let length = data.first_chunk::<8>().ok_or_else(|| truncated("the length of the header", 8))?;
        let header_len = u64::from_le_bytes(*length);
        if header_len > MAX_HEADER {
            let found = format!("{header_len} in a file of {file_len} bytes");
            return Err(ModelError::malformed(path, "the length of the header", format!("at most {MAX_HEADER} bytes"), found));
        }
        let start = 8 + header_len;
        if start > file_len {
            return Err(truncated("the header", start));
        }
        let start = start as usize;
        let header: Header = serde_json::from_slice(&data[8..start]).map_err(|error| {
            ModelError::malformed(path, "the header", "JSON that lists each tensor's dtype, shape and data_offsets once", error.to_string())
        })?;
        let mut tensors = BTreeMap::new();
        for (name, raw) in header.tensors {
            let entry = check_tensor(path, &name, &raw, start)?;
            tensors.insert(name, entry);
        }
        check_layout(path, &tensors, start, data.len())?;
        Ok(Self { path: path.to_owned(), bytes, tensors, metadata: header.metadata })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What `__metadata__` says.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.tensors.get_key_value(name)?;
        let bytes = &self.bytes.as_slice()[entry.range.clone()];
        Some(TensorView { path: &self.path, name, dtype: entry.dtype, shape: &entry.shape, bytes })
    }

    /// The bytes of the tensor `name`, kept mapped by whoever holds them.
    pub(crate) fn tensor_bytes(&self, name: &str) -> Option<Bytes> {
        self.bytes.slice(self.tensors.get(name)?.range.clone())
    }
}

/// The header as it is written: tensors in the file's order, duplicates refused.
#[derive(Default)]
struct Header {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut seen = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("`{name}` is listed twice")));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else {
                        let tensor = map.next_value()?;
                        header.tensors.push((name, tensor));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Checks a tensor by itself: a known type, offsets in order, as many bytes as the shape says.
fn check_tensor(path: &Path, name: &str, raw: &RawTensor, start: usize) -> Result<Entry, ModelError> {
    let what = || format!("the tensor `{name}`");
    let dtype = Dtype::from_name(&raw.dtype).ok_or_else(|| ModelError::UnsupportedType {
        path: path.to_owned(),
        name: name.to_owned(),
        found: raw.dtype.clone(),
        supported: Dtype::ALL.map(|row| row.0).join(", "),
    })?;
    let n_bytes = raw.shape.iter().try_fold(dtype.size() as u64, |n, size| n.checked_mul(*size));
    let [from, to] = raw.data_offsets;
    if from > to || n_bytes != Some(to - from) {
        let expected = match n_bytes {
            Some(n) => format!("{n} bytes for shape {:?} of {}", raw.shape, dtype.name()),
            None => format!("a shape whose size in bytes fits 64 bits, not {:?}", raw.shape),
        };
        return Err(ModelError::malformed(path, what(), expected, format!("data_offsets [{from}, {to}]")));
    }
    let absolute = |offset: u64| usize::try_from(offset).ok()?.checked_add(start);
    let shape = raw.shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<Vec<_>>>();
    match (absolute(from), absolute(to), shape) {
        (Some(from), Some(to), Some(shape)) => Ok(Entry { dtype, shape, range: from..to }),
        _ => Err(ModelError::malformed(path, what(), "offsets that fit this machine's addresses", format!("data_offsets [{from}, {to}]"))),
    }
}

/// Checks that tensors lie end to end from `start` to the end of the file, with neither overlap nor hole.
fn check_layout(path: &Path, tensors: &BTreeMap<String, Entry>, start: usize, file_len: usize) -> Result<(), ModelError> {
    let mut by_place: Vec<_> = tensors.iter().collect();
    by_place.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
    if let Some((name, last)) = by_place.last().filter(|(_, last)| last.range.end > file_len) {
        return Err(ModelError::Truncated {
            path: path.to_owned(),
            what: format!("the tensor `{name}`"),
            expected: last.range.end as u64,
            found: file_len as u64,
        });
    }
    let mut at = start;
    for (name, entry) in by_place {
        if entry.range.start != at {
            let trouble = if entry.range.start < at { "overlaps the tensor before it" } else { "leaves a hole before it" };
            let found = format!("data_offsets that begin at {}, which {trouble}", entry.range.start - start);
            return Err(ModelError::malformed(path, format!("the tensor `{name}`"), format!("a beginning at {}", at - start), found));
        }
        at = entry.range.end;
    }
    if at != file_len {
        let expected = format!("an end at byte {at}, where the last tensor ends");
        return Err(ModelError::malformed(path, "the file", expected, format!("{file_len} bytes")));
    }
    Ok(())
}
