//! A model's frozen weights, from a Hugging Face folder or a GGUF file.

mod build;
mod encoder;
pub mod gguf;
mod model;
mod quantize;
pub mod safetensors;
mod source;
mod table;

pub use encoder::{BiasedMatrix, EncoderLayerWeights, EncoderModel, EncoderWeights, NormWeights};
pub use gguf::{GgufFile, GgufTokenizer};
pub use model::Model;
pub use safetensors::{Dtype, SafetensorsFile, TensorView};
pub use source::{ModelSource, SourceKind};

use dyag_kernels::WeightMatrix;

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
