//! An adapter as a GGUF file, which llama.cpp lays over a base.

use std::path::Path;

use dyag_kernels::{Format, WeightMatrix};

use super::rows::{Rows, Written, original_row};
use super::{ExportError, metadata};
use crate::adapter::{Adapter, LoraPair};
use crate::config::DecoderConfig;
use crate::weights::gguf::{Entry, Field, write_file};
use crate::weights::{Content, DecoderWeights, NamedTensor, Scheme};

/// Writes `adapter`, made for a base of shape `config`, in f32. A reader multiplies each pair with `adapter.lora.alpha` divided by its rank; where sites have
/// scales that do not follow from one alpha, the rest is multiplied into B. `weights` are the base's: they name the tensors.
///
/// # Errors
/// When the file cannot be written or a number is not finite.
pub fn export_adapter(
    path: &Path,
    name: &str,
    config: &DecoderConfig,
    weights: &DecoderWeights,
    adapter: &Adapter,
) -> Result<Written, ExportError> {
    let first =
        adapter.pairs.values().next().ok_or_else(|| ExportError::no_place("an adapter without a pair", "there is nothing in it"))?;
    if adapter.pairs.values().any(|pair| pair.magnitude.is_some()) {
        return Err(ExportError::no_place(
            "a DoRA adapter alone",
            "GGUF adapters have no magnitudes; merge it into its base, without --adapter-only",
        ));
    }
    // A reader takes an alpha of 0 for none, that is for a scale of 1.
    let alpha = if first.scale == 0.0 { first.rank as f32 } else { first.scale * first.rank as f32 };
    let mut metadata = metadata::general(name, config, "adapter")?;
    metadata.push(("adapter.type".to_owned(), Field::Text("lora".to_owned())));
    metadata.push(("adapter.lora.alpha".to_owned(), Field::F32(alpha)));
    let matrices = matrices(config, weights, adapter, alpha);
    let tensors: Vec<Rows<'_>> = matrices
        .iter()
        .map(|(name, matrix)| NamedTensor {
            name: name.clone(),
            content: Content::Matrix(matrix, None),
            interleaved: None,
            from_one: false,
        })
        .map(|tensor| Rows::new(tensor, None))
        .collect();
    let entries: Vec<Entry> =
        tensors.iter().map(|rows| Entry { name: rows.tensor.name.clone(), format: Format::F32, shape: rows.shape() }).collect();
    let mut written = Written::default();
    write_file(path, &metadata, &entries, |i, out| {
        tensors[i].write(Format::F32, out)?;
        written.count(Format::F32, entries[i].n_bytes(), false);
        Ok(())
    })?;
    Ok(written)
}

/// A and B of every site, with their names, B's rows in the order of the base's file.
fn matrices(config: &DecoderConfig, weights: &DecoderWeights, adapter: &Adapter, alpha: f32) -> Vec<(String, WeightMatrix)> {
    let mut matrices = Vec::with_capacity(2 * adapter.pairs.len());
    for NamedTensor { name, content, interleaved, .. } in weights.tensors(config, Scheme::Gguf) {
        let Content::Matrix(matrix, Some(site)) = content else { continue };
        let Some(LoraPair { rank, scale, a, b, magnitude: _ }) = adapter.pairs.get(&site) else { continue };
        let folded = scale * *rank as f32 / alpha;
        let row = |stored: usize| interleaved.map_or(stored, |size| original_row(stored, size));
        let b: Vec<f32> = (0..matrix.rows())
            .flat_map(|stored| &b[row(stored) * rank..(row(stored) + 1) * rank])
            .map(|value| if folded == 1.0 { *value } else { value * folded })
            .collect();
        matrices.push((format!("{name}.lora_a"), WeightMatrix::from_f32(a, *rank, matrix.cols())));
        matrices.push((format!("{name}.lora_b"), WeightMatrix::from_f32(&b, matrix.rows(), *rank)));
    }
    matrices
}
