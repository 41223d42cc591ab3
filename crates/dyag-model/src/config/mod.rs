//! What a model's files say about its shape, whatever file says it.

mod encoder;
mod family;
mod folder;
mod gguf;
pub(crate) mod json;
mod rope;

use dyag_kernels::device::Activation;

pub(crate) use encoder::{ClassifierHead, classifier_head};
pub use encoder::{EncoderConfig, FolderKind, Positions, folder_kind};
pub(crate) use family::{family, family_architecture};
pub(crate) use rope::long_rope_scale;

/// The shape of a decoder: everything that sets one family apart from another.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Family, as `model_type` of config.json has it: `qwen2`, `llama`, `gemma3_text` and so on.
    pub family: String,
    /// C, channels of the residual stream.
    pub hidden_size: usize,
    /// F, channels inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// H, query heads.
    pub n_heads: usize,
    /// G, key/value heads.
    pub n_kv_heads: usize,
    /// D, channels a head.
    pub head_size: usize,
    /// V, tokens of the vocabulary (rows of the embedding).
    pub vocab_size: usize,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// Added under the root of RMSNorm.
    pub rms_norm_eps: f32,
    /// Rotary embedding.
    pub rope: Rope,
    /// Rotary embedding of the layers with a sliding window, where it is another.
    pub window_rope: Option<Rope>,
    /// Sliding window of each layer, in tokens; `None` for full attention.
    pub windows: Vec<Option<usize>>,
    /// q, k and v lie in one matrix (`qkv_proj`), gate and up in another (`gate_up_proj`).
    pub fused: bool,
    /// q, k and v have a bias.
    pub qkv_bias: bool,
    /// o has a bias.
    pub o_bias: bool,
    /// Each head of q and k goes through an RMSNorm of its own before it is rotated.
    pub head_norms: bool,
    /// What attention and the feed-forward block give goes through a norm before it joins the residual stream.
    pub output_norms: bool,
    /// What attention's scores are multiplied with, usually `1 / sqrt(D)`.
    pub attention_scale: f32,
    /// What the embedding's rows are multiplied with, usually 1.
    pub embedding_scale: f32,
    /// The gate's activation function.
    pub activation: Activation,
    /// The output head is the embedding.
    pub tied_head: bool,
    /// Beginning-of-sequence token, if the files name one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a sequence (config.json, generation_config.json, GGUF metadata), without duplicates.
    pub eos_token_ids: Vec<u32>,
}

/// Rotary embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the wavelengths.
    pub theta: f64,
    /// Channels of each head that are rotated (D unless `partial_rotary_factor` says fewer); even.
    pub rotary_size: usize,
    /// How the wavelengths were stretched.
    pub scaling: RopeScaling,
}

impl Rope {
    /// The longest sequence that is turned by the short one of two lists of divisors; `None` where there are no two.
    pub fn short_up_to(&self) -> Option<usize> {
        match &self.scaling {
            RopeScaling::LongRope { original_max_positions, .. } => Some(*original_max_positions),
            _ => None,
        }
    }
}

/// How rope's wavelengths are stretched for long contexts.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All positions divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3's rule by wavelength.
    Llama3 {
        /// Divisor of the long wavelengths' frequencies.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided whole.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are left.
        high_freq_factor: f64,
        /// Positions the model was first trained for.
        original_max_positions: usize,
    },
    /// A divisor for each pair of channels (GGUF's `rope_freqs.weight`, where Llama 3's rule is already worked out).
    Divisors(Vec<f32>),
    /// Phi-3's two lists of divisors, by whether the sequence passes the original length, and the scale of cos and sin.
    LongRope {
        /// Divisors up to `original_max_positions`.
        short: Vec<f32>,
        /// Divisors beyond.
        long: Vec<f32>,
        /// Positions the model was first trained for.
        original_max_positions: usize,
        /// What cos and sin are multiplied with.
        attention_factor: f64,
    },
}
