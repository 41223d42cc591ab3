//! A model's frozen weights, from a Hugging Face folder or a GGUF file.

mod build;
mod encoder;
pub mod gguf;
mod model;
mod quantize;
mod reranker;
pub mod safetensors;
mod source;
mod table;

pub(crate) use build::{Content, NamedTensor, Scheme};
pub use encoder::{BiasedMatrix, EncoderLayerWeights, EncoderModel, EncoderWeights, NormWeights};
pub use gguf::{GgufFile, GgufTokenizer};
pub use model::Model;
pub use reranker::{RerankerHead, RerankerModel};
pub use safetensors::{Dtype, SafetensorsFile, TensorView};
pub use source::{ModelSource, SourceKind};

use dyag_kernels::WeightMatrix;

use crate::adapter::{Projection, Site};

/// All weights of a decoder, where they lie.
#[derive(Clone, Debug)]
pub struct DecoderWeights {
    /// `[V, C]`.
    pub embedding: WeightMatrix,
    /// Layers from the bottom.
    pub layers: Vec<LayerWeights>,
    /// Gain of the last norm `[C]`.
    pub final_norm: Vec<f32>,
    /// `[V, C]`; a clone of `embedding` when the head is tied.
    pub head: WeightMatrix,
}

impl DecoderWeights {
    /// The matrix at `site`; `None` where this model has none: another layer, or one that it fuses with others.
    pub fn matrix(&self, site: Site) -> Option<&WeightMatrix> {
        let layer = self.layers.get(site.layer)?;
        match (site.projection, &layer.qkv, &layer.gate_up) {
            (Projection::Q, QkvWeights::Separate { q, .. }, _) => Some(q),
            (Projection::K, QkvWeights::Separate { k, .. }, _) => Some(k),
            (Projection::V, QkvWeights::Separate { v, .. }, _) => Some(v),
            (Projection::Qkv, QkvWeights::Fused(qkv), _) => Some(qkv),
            (Projection::O, _, _) => Some(&layer.o),
            (Projection::Gate, _, GateUpWeights::Separate { gate, .. }) => Some(gate),
            (Projection::Up, _, GateUpWeights::Separate { up, .. }) => Some(up),
            (Projection::GateUp, _, GateUpWeights::Fused(gate_up)) => Some(gate_up),
            (Projection::Down, _, _) => Some(&layer.down),
            _ => None,
        }
    }
}

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Gain of the norm before attention `[C]`.
    pub attention_norm: Vec<f32>,
    /// q, k, v.
    pub qkv: QkvWeights,
    /// Gains of the norms of q's and k's heads `[D]`, where there are any.
    pub head_norms: Option<[Vec<f32>; 2]>,
    /// `[C, H * D]`.
    pub o: WeightMatrix,
    /// `[C]`, or empty.
    pub o_bias: Vec<f32>,
    /// Gains of the norms of what attention and the feed-forward block give `[C]`, where there are any.
    pub output_norms: Option<[Vec<f32>; 2]>,
    /// Gain of the norm before the feed-forward block `[C]`.
    pub feed_forward_norm: Vec<f32>,
    /// gate, up.
    pub gate_up: GateUpWeights,
    /// `[C, F]`.
    pub down: WeightMatrix,
}

/// The matrices that make queries, keys and values, with biases (empty when there are none).
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a layer")]
#[allow(missing_docs)]
pub enum QkvWeights {
    /// `[H*D, C]`, `[G*D, C]`, `[G*D, C]`.
    Separate { q: WeightMatrix, k: WeightMatrix, v: WeightMatrix, q_bias: Vec<f32>, k_bias: Vec<f32>, v_bias: Vec<f32> },
    /// `[(H + 2G) * D, C]`.
    Fused(WeightMatrix),
}

/// The matrices of the gated feed-forward block.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum GateUpWeights {
    /// `[F, C]` each.
    Separate { gate: WeightMatrix, up: WeightMatrix },
    /// `[2F, C]`, gate first.
    Fused(WeightMatrix),
}
