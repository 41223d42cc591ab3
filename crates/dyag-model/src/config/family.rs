//! The families: what Transformers' configuration class of each says where config.json is silent.

/// A family's defaults and shape.
#[derive(Debug)]
pub(crate) struct Family {
    /// `model_type`.
    pub(crate) name: &'static str,
    /// `architectures`.
    pub(crate) architecture: &'static str,
    /// Key/value heads where the key is absent (`null` means as many as query heads); `None`: as many as query heads.
    pub(super) n_kv_heads: Option<usize>,
    /// `max_position_embeddings`.
    pub(super) max_positions: usize,
    /// `rms_norm_eps`.
    pub(super) rms_norm_eps: f64,
    /// `sliding_window` where the key is absent.
    pub(super) sliding_window: Option<usize>,
    /// `bos_token_id` where the key is absent.
    pub(super) bos_token_id: Option<u32>,
    /// `eos_token_id` where the key is absent.
    pub(super) eos_token_id: Option<u32>,
    /// `head_dim` where the key is absent; `None`: what the heads make of `hidden_size`.
    pub(super) head_size: Option<usize>,
    /// `rope_theta` where nothing says.
    pub(super) rope_theta: f64,
    /// `tie_word_embeddings` where the key is absent.
    pub(super) tied_head: bool,
    /// q, k, v in one matrix, gate and up in another.
    pub(crate) fused: bool,
    /// q, k and v have a bias, whatever config.json says.
    pub(super) qkv_bias: bool,
    /// config.json says by `attention_bias` whether q, k, v and o have biases.
    pub(super) reads_attention_bias: bool,
    /// Which layers have the sliding window.
    pub(super) windows: Windows,
    /// Heads of q and k are normalised.
    pub(super) head_norms: bool,
    /// Gemma's kind: outputs are normalised before they join the residual stream, norms multiply with 1 + w, embeddings are scaled with the root of their width, layers
    /// with a window turn heads by another rope.
    pub(crate) gemma: bool,
    /// Only part of each head may be rotated, and rope may be of the "longrope" kind.
    pub(super) phi_rope: bool,
}

/// Which layers of a family have the sliding window, unless `layer_types` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windows {
    /// None has.
    Never,
    /// All have.
    Always,
    /// Those from `max_window_layers` up, when `use_sliding_window`.
    Upper,
    /// All but every so many-th, as `sliding_window_pattern` says, or 6.
    Pattern,
}

/// What most families have in common.
const PLAIN: Family = Family {
    name: "",
    architecture: "",
    n_kv_heads: None,
    max_positions: 2048,
    rms_norm_eps: 1e-6,
    sliding_window: None,
    bos_token_id: None,
    eos_token_id: None,
    head_size: None,
    rope_theta: 10_000.0,
    tied_head: false,
    fused: false,
    qkv_bias: false,
    reads_attention_bias: false,
    windows: Windows::Never,
    head_norms: false,
    gemma: false,
    phi_rope: false,
};

/// All families, by name.
pub(crate) const FAMILIES: [Family; 6] = [
    Family {
        name: "gemma3_text",
        architecture: "Gemma3ForCausalLM",
        n_kv_heads: Some(4),
        max_positions: 131_072,
        sliding_window: Some(4096),
        bos_token_id: Some(2),
        eos_token_id: Some(1),
        head_size: Some(256),
        rope_theta: 1e6,
        tied_head: true,
        reads_attention_bias: true,
        windows: Windows::Pattern,
        head_norms: true,
        gemma: true,
        ..PLAIN
    },
    Family {
        name: "llama",
        architecture: "LlamaForCausalLM",
        bos_token_id: Some(1),
        eos_token_id: Some(2),
        reads_attention_bias: true,
        ..PLAIN
    },
    Family {
        name: "mistral",
        architecture: "MistralForCausalLM",
        n_kv_heads: Some(8),
        max_positions: 131_072,
        sliding_window: Some(4096),
        bos_token_id: Some(1),
        eos_token_id: Some(2),
        windows: Windows::Always,
        ..PLAIN
    },
    Family {
        name: "phi3",
        architecture: "Phi3ForCausalLM",
        max_positions: 4096,
        rms_norm_eps: 1e-5,
        bos_token_id: Some(1),
        eos_token_id: Some(32_000),
        fused: true,
        windows: Windows::Always,
        phi_rope: true,
        ..PLAIN
    },
    Family {
        name: "qwen2",
        architecture: "Qwen2ForCausalLM",
        n_kv_heads: Some(32),
        max_positions: 32_768,
        sliding_window: Some(4096),
        qkv_bias: true,
        windows: Windows::Upper,
        ..PLAIN
    },
    Family {
        name: "qwen3",
        architecture: "Qwen3ForCausalLM",
        n_kv_heads: Some(32),
        max_positions: 32_768,
        sliding_window: Some(4096),
        head_size: Some(128),
        reads_attention_bias: true,
        windows: Windows::Upper,
        head_norms: true,
        ..PLAIN
    },
];

/// The family `name`.
pub(crate) fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

/// Names of the families, for messages.
pub(crate) fn known() -> String {
    FAMILIES.map(|family| family.name).join(", ")
}

/// The class in Transformers of a family.
pub(crate) fn family_architecture(name: &str) -> Option<&'static str> {
    family(name).map(|family| family.architecture)
}
