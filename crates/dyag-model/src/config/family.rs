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
    /// q, k, v in one matrix, gate and up in another.
    pub(crate) fused: bool,
    /// q, k and v have a bias.
    pub(super) qkv_bias: bool,
    /// Only part of each head may be rotated, and rope may be of the "longrope" kind.
    pub(super) phi_rope: bool,
}

/// All families, by name.
pub(crate) const FAMILIES: [Family; 4] = [
    Family {
        name: "llama",
        architecture: "LlamaForCausalLM",
        n_kv_heads: None,
        max_positions: 2048,
        rms_norm_eps: 1e-6,
        sliding_window: None,
        bos_token_id: Some(1),
        eos_token_id: Some(2),
        fused: false,
        qkv_bias: false,
        phi_rope: false,
    },
    Family {
        name: "mistral",
        architecture: "MistralForCausalLM",
        n_kv_heads: Some(8),
        max_positions: 131_072,
        rms_norm_eps: 1e-6,
        sliding_window: Some(4096),
        bos_token_id: Some(1),
        eos_token_id: Some(2),
        fused: false,
        qkv_bias: false,
        phi_rope: false,
    },
    Family {
        name: "phi3",
        architecture: "Phi3ForCausalLM",
        n_kv_heads: None,
        max_positions: 4096,
        rms_norm_eps: 1e-5,
        sliding_window: None,
        bos_token_id: Some(1),
        eos_token_id: Some(32_000),
        fused: true,
        qkv_bias: false,
        phi_rope: true,
    },
    Family {
        name: "qwen2",
        architecture: "Qwen2ForCausalLM",
        n_kv_heads: Some(32),
        max_positions: 32_768,
        rms_norm_eps: 1e-6,
        sliding_window: Some(4096),
        bos_token_id: None,
        eos_token_id: None,
        fused: false,
        qkv_bias: true,
        phi_rope: false,
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
