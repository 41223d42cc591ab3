//! A model as a GGUF file.

use std::path::Path;

use dyag_kernels::Format;

use super::rows::{Rows, Written};
use super::{ExportError, metadata, mixture};
use crate::adapter::Adapter;
use crate::config::DecoderConfig;
use crate::weights::gguf::{Entry, Field, GgufTokenizer, write_file};
use crate::weights::{Content, DecoderWeights, NamedTensor, Scheme};

/// Types of GGUF files, as llama.cpp names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GgufType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4KM,
    Q5KM,
    Q6K,
}

impl GgufType {
    /// All types.
    pub const ALL: [Self; 8] = [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4KM, Self::Q5KM, Self::Q6K];

    /// Name, number of `general.file_type`, and the format of most matrices.
    const fn row(self) -> (&'static str, u32, Format) {
        match self {
            Self::F32 => ("F32", 0, Format::F32),
            Self::F16 => ("F16", 1, Format::F16),
            Self::Bf16 => ("BF16", 32, Format::Bf16),
            Self::Q8_0 => ("Q8_0", 7, Format::Q8_0),
            Self::Q4_0 => ("Q4_0", 2, Format::Q4_0),
            Self::Q4KM => ("Q4_K_M", 15, Format::Q4K),
            Self::Q5KM => ("Q5_K_M", 17, Format::Q5K),
            Self::Q6K => ("Q6_K", 18, Format::Q6K),
        }
    }

    /// Name, as `Q4_K_M`.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The format of most matrices.
    pub(super) const fn main_format(self) -> Format {
        self.row().2
    }
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct GgufModel<'a> {
    /// The model's own name (`general.name`).
    pub name: &'a str,
    /// The shape.
    pub config: &'a DecoderConfig,
    /// The weights.
    pub weights: &'a DecoderWeights,
    /// What is merged into them.
    pub adapter: Option<&'a Adapter>,
    /// The tokenizer and the chat template.
    pub tokenizer: &'a GgufTokenizer,
}

/// Writes a GGUF file at `path`, whole or not at all; what lies there is replaced. Tensors whose format stays and that nothing is merged into are copied
/// byte for byte. `on_bytes` is told how many bytes of all are done.
///
/// # Errors
/// When the file cannot be written, a weight is not finite or too large, or the model has something for which llama.cpp's files have no place.
pub fn export_gguf(path: &Path, model: &GgufModel<'_>, kind: GgufType, on_bytes: &mut dyn FnMut(u64, u64)) -> Result<Written, ExportError> {
    let GgufModel { name, config, weights, adapter, tokenizer } = *model;
    let (_, file_type, main) = kind.row();
    let mut metadata = metadata::general(name, config, "model")?;
    metadata.push(("general.file_type".to_owned(), Field::U32(file_type)));
    if main.block_len() > 1 {
        metadata.push(("general.quantization_version".to_owned(), Field::U32(2)));
    }
    metadata.extend(metadata::shape(config)?);
    metadata.extend(metadata::tokenizer(tokenizer, config.vocab_size));
    let factors = metadata::rope_tensors(config);
    let extra = factors.iter().map(|(name, values)| NamedTensor {
        name: (*name).to_owned(),
        content: Content::Vector(values),
        interleaved: None,
        from_one: false,
    });
    let tensors: Vec<Rows<'_>> = extra.chain(weights.tensors(config, Scheme::Gguf)).map(|tensor| Rows::new(tensor, adapter)).collect();
    let entry =
        |rows: &Rows<'_>| Entry { name: rows.tensor.name.clone(), format: mixture::format(kind, config, rows), shape: rows.shape() };
    let entries: Vec<Entry> = tensors.iter().map(entry).collect();
    let all = entries.iter().map(Entry::n_bytes).sum();
    let mut written = Written::default();
    write_file(path, &metadata, &entries, |i, out| {
        tensors[i].write(entries[i].format, out)?;
        written.count(entries[i].format, entries[i].n_bytes(), tensors[i].pair.is_some());
        on_bytes(written.n_bytes, all);
        Ok(())
    })?;
    Ok(written)
}
