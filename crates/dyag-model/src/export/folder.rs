//! A model's weights as a Hugging Face folder has them: safetensors, in shards above a size, with an index.

use std::io::Write;
use std::path::Path;

use dyag_kernels::Format;
use serde_json::{Map, Value, json};

use super::ExportError;
use super::rows::{Rows, Written};
use crate::adapter::Adapter;
use crate::config::DecoderConfig;
use crate::files::{write_atomically, write_bytes_atomically};
use crate::weights::gguf::TensorError;
use crate::weights::{DecoderWeights, Dtype, Scheme};

/// How weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderOptions {
    /// Type of all tensors: F32, F16 or BF16.
    pub dtype: Dtype,
    /// Bytes past which a further tensor goes into the next file.
    pub shard_bytes: u64,
}

/// A tensor and its size in the file.
struct Placed<'a> {
    rows: Rows<'a>,
    n_bytes: u64,
}

/// Writes the weights, merged with `adapter`, as model.safetensors into `folder`, which must exist, or as shards with model.safetensors.index.json. `on_bytes` is
/// told how many bytes of all are done.
///
/// # Errors
/// When a file cannot be written, or a weight is not finite or too large for the type.
///
/// # Panics
/// If `options` name a type that weights do not have.
pub fn export_weights(
    folder: &Path,
    config: &DecoderConfig,
    weights: &DecoderWeights,
    adapter: Option<&Adapter>,
    options: FolderOptions,
    on_bytes: &mut dyn FnMut(u64, u64),
) -> Result<Written, ExportError> {
    let format = options.dtype.format().expect("a type that weights have");
    let n_bytes = |rows: &Rows<'_>| rows.shape().iter().product::<usize>() as u64 * options.dtype.size() as u64;
    let tensors: Vec<Placed<'_>> = weights
        .tensors(config, Scheme::Folder)
        .into_iter()
        .map(|tensor| Rows::new(tensor, adapter))
        .map(|rows| Placed { n_bytes: n_bytes(&rows), rows })
        .collect();
    let shards = shards(&tensors, options.shard_bytes);
    let all: u64 = tensors.iter().map(|tensor| tensor.n_bytes).sum();
    let mut written = Written::default();
    let mut map = Map::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => "model.safetensors".to_owned(),
            n => format!("model-{:05}-of-{n:05}.safetensors", number + 1),
        };
        map.extend(shard.iter().map(|tensor| (tensor.rows.tensor.name.clone(), json!(name))));
        write_shard(&folder.join(name), shard, options.dtype, format, &mut |tensor| {
            written.count(format, tensor.n_bytes, tensor.rows.pair.is_some());
            on_bytes(written.n_bytes, all);
        })?;
    }
    if shards.len() > 1 {
        let index = json!({"metadata": {"total_size": all}, "weight_map": map});
        write_bytes_atomically(&folder.join("model.safetensors.index.json"), format!("{index:#}\n").as_bytes())?;
    }
    Ok(written)
}

/// Runs of tensors of at most `limit` bytes, unless one alone has more.
fn shards<'t, 'a>(tensors: &'t [Placed<'a>], limit: u64) -> Vec<&'t [Placed<'a>]> {
    let (mut shards, mut from, mut size) = (Vec::new(), 0, 0);
    for (i, tensor) in tensors.iter().enumerate() {
        if i > from && size + tensor.n_bytes > limit {
            shards.push(&tensors[from..i]);
            (from, size) = (i, 0);
        }
        size += tensor.n_bytes;
    }
    shards.push(&tensors[from..]);
    shards
}

fn write_shard(
    path: &Path,
    tensors: &[Placed<'_>],
    dtype: Dtype,
    format: Format,
    on_tensor: &mut dyn FnMut(&Placed<'_>),
) -> Result<(), ExportError> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut offset = 0;
    for Placed { rows, n_bytes } in tensors {
        let entry = json!({"dtype": dtype.name(), "shape": rows.shape(), "data_offsets": [offset, offset + n_bytes]});
        header.insert(rows.tensor.name.clone(), entry);
        offset += n_bytes;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Tensors begin at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut content_error = None;
    let outcome = write_atomically(path, |out: &mut dyn Write| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for tensor in tensors {
            tensor.rows.write(format, out).map_err(|error| match error {
                TensorError::Io(error) => error,
                TensorError::Content(error) => {
                    content_error = Some(error);
                    std::io::Error::other("a tensor cannot be written")
                }
            })?;
            on_tensor(tensor);
        }
        Ok(())
    });
    match content_error {
        Some(error) => Err(error),
        None => Ok(outcome?),
    }
}
