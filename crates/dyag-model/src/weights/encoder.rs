//! An encoder's weights put together from a safetensors folder: which tensor is which, in the names of all checkpoints there are.

use std::collections::BTreeMap;
use std::path::Path;

use dyag_kernels::WeightMatrix;

use super::model::{folder_name, folder_table};
use super::source::{ModelSource, SourceKind};
use super::table::TensorTable;
use crate::config::EncoderConfig;
use crate::error::ModelError;

/// An encoder as its files give it: shape, frozen weights (memory-mapped), and where they came from.
#[derive(Clone, Debug)]
pub struct EncoderModel {
    /// The shape.
    pub config: EncoderConfig,
    /// The weights.
    pub weights: EncoderWeights,
    /// The files.
    pub source: ModelSource,
}

/// All weights of an encoder, where they lie. Its pooler and heads are not among them.
#[derive(Clone, Debug)]
pub struct EncoderWeights {
    /// `[V, C]`.
    pub words: WeightMatrix,
    /// Rows of positions `[n_positions, C]`.
    pub positions: WeightMatrix,
    /// Rows of token types `[n_token_types, C]`.
    pub token_types: WeightMatrix,
    /// Norm of the sum of the three.
    pub norm: NormWeights,
    /// Layers from the bottom.
    pub layers: Vec<EncoderLayerWeights>,
}

/// A LayerNorm, `[C]` each.
#[derive(Clone, Debug)]
pub struct NormWeights {
    /// The gain.
    pub gain: Vec<f32>,
    /// The shift.
    pub shift: Vec<f32>,
}

/// A matrix `[out, in]` with its bias `[out]`.
#[derive(Clone, Debug)]
pub struct BiasedMatrix {
    /// The matrix.
    pub weight: WeightMatrix,
    /// The bias.
    pub bias: Vec<f32>,
}

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct EncoderLayerWeights {
    /// Queries, keys and values `[C, C]`.
    pub qkv: [BiasedMatrix; 3],
    /// Attention's output `[C, C]`.
    pub o: BiasedMatrix,
    /// Norm after attention.
    pub attention_norm: NormWeights,
    /// Into the feed-forward block `[F, C]`.
    pub up: BiasedMatrix,
    /// Out of it `[C, F]`.
    pub down: BiasedMatrix,
    /// Norm after the feed-forward block.
    pub feed_forward_norm: NormWeights,
}

/// The tensor by which the names' prefix is known.
const WORDS: &str = "embeddings.word_embeddings.weight";

/// What comes before an encoder's names in checkpoints that have a head as well.
const PREFIXES: [&str; 2] = ["bert.", "roberta."];

impl EncoderModel {
    /// Loads the encoder in the folder `path`: config.json with model.safetensors or its sharded index.
    ///
    /// # Errors
    /// When no model is there, a file is damaged, or the model asks for something that is not supported.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let (config, mut table) = open(path)?;
        let weights = EncoderWeights::build(&config, &mut table)?;
        table.refuse_unused(is_beside)?;
        Ok(Self::of_parts(path, config, weights, table))
    }

    /// The encoder of a folder whose tensors were all taken.
    pub(super) fn of_parts(path: &Path, config: EncoderConfig, weights: EncoderWeights, table: TensorTable) -> Self {
        let source = ModelSource::new(path, SourceKind::Folder, folder_name(path), format!("encoder {config:?}\n"), table, None);
        Self { config, weights, source }
    }
}

/// The shape and the tensors of the encoder in the folder `path`.
pub(super) fn open(path: &Path) -> Result<(EncoderConfig, TensorTable), ModelError> {
    let about = std::fs::metadata(path).map_err(|source| ModelError::io(path, source))?;
    if !about.is_dir() {
        let why = "expected the folder of an encoder, with config.json and model.safetensors; give the folder, not a file".to_owned();
        return Err(ModelError::NotAModel { path: path.to_owned(), why });
    }
    let config = EncoderConfig::from_json_file(&path.join("config.json"))?;
    let table = canonical(folder_table(path, &config.family)?);
    Ok((config, table))
}

/// The table under the names of an encoder by itself: without a prefix, and with today's names of gain and shift.
fn canonical(table: TensorTable) -> TensorTable {
    let prefix = PREFIXES.into_iter().find(|prefix| table.tensors.contains_key(&format!("{prefix}{WORDS}"))).unwrap_or_default();
    let rename = |name: String| {
        let name = name.strip_prefix(prefix).map(str::to_owned).unwrap_or(name);
        match (name.strip_suffix(".gamma"), name.strip_suffix(".beta")) {
            (Some(norm), _) => format!("{norm}.weight"),
            (_, Some(norm)) => format!("{norm}.bias"),
            _ => name,
        }
    };
    let TensorTable { path, family, tensors, .. } = table;
    let tensors: BTreeMap<_, _> = tensors.into_iter().map(|(name, tensor)| (rename(name), tensor)).collect();
    TensorTable::new(&path, &family, tensors)
}

/// Tensors that a checkpoint may have and that no token's state depends on: buffers that are counted anew, and whatever stands on top of the encoder.
fn is_beside(name: &str) -> bool {
    let heads = ["pooler.", "cls.", "lm_head.", "classifier.", "qa_outputs.", "vocab_transform.", "vocab_projector."];
    is_counted_anew(name) || heads.iter().any(|head| name.starts_with(head))
}

/// Buffers that a checkpoint may have and that are counted anew.
pub(super) fn is_counted_anew(name: &str) -> bool {
    matches!(name, "embeddings.position_ids" | "embeddings.token_type_ids")
}

impl EncoderWeights {
    /// Takes each tensor that `config` asks for, and checks its shape.
    pub(super) fn build(config: &EncoderConfig, table: &mut TensorTable) -> Result<Self, ModelError> {
        let c = config.hidden_size;
        let words = table.matrix(WORDS, config.vocab_size, c)?;
        let positions = table.matrix("embeddings.position_embeddings.weight", config.n_positions, c)?;
        let token_types = table.matrix("embeddings.token_type_embeddings.weight", config.n_token_types, c)?;
        let norm = norm(table, "embeddings.LayerNorm", c)?;
        let layers = (0..config.n_layers).map(|layer| build_layer(config, table, layer)).collect::<Result<_, _>>()?;
        Ok(Self { words, positions, token_types, norm, layers })
    }
}

fn norm(table: &mut TensorTable, name: &str, c: usize) -> Result<NormWeights, ModelError> {
    Ok(NormWeights { gain: table.vector(&format!("{name}.weight"), c)?, shift: table.vector(&format!("{name}.bias"), c)? })
}

pub(super) fn biased(table: &mut TensorTable, name: &str, rows: usize, cols: usize) -> Result<BiasedMatrix, ModelError> {
    Ok(BiasedMatrix { weight: table.matrix(&format!("{name}.weight"), rows, cols)?, bias: table.vector(&format!("{name}.bias"), rows)? })
}

fn build_layer(config: &EncoderConfig, table: &mut TensorTable, layer: usize) -> Result<EncoderLayerWeights, ModelError> {
    let (c, f) = (config.hidden_size, config.intermediate_size);
    let name = |part: &str| format!("encoder.layer.{layer}.{part}");
    Ok(EncoderLayerWeights {
        qkv: [
            biased(table, &name("attention.self.query"), c, c)?,
            biased(table, &name("attention.self.key"), c, c)?,
            biased(table, &name("attention.self.value"), c, c)?,
        ],
        o: biased(table, &name("attention.output.dense"), c, c)?,
        attention_norm: norm(table, &name("attention.output.LayerNorm"), c)?,
        up: biased(table, &name("intermediate.dense"), f, c)?,
        down: biased(table, &name("output.dense"), c, f)?,
        feed_forward_norm: norm(table, &name("output.LayerNorm"), c)?,
    })
}
