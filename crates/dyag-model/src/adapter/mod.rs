//! LoRA adapters: what they hold, and PEFT's files.

use std::collections::BTreeMap;

/// A matrix of a layer that an adapter can act on, named as PEFT names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Projection {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
    /// Fused q, k, v (Phi-3).
    Qkv,
    /// Fused gate and up (Phi-3).
    GateUp,
}

impl Projection {
    /// Module name inside a layer, such as `self_attn.q_proj`.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
            Self::Qkv => "self_attn.qkv_proj",
            Self::GateUp => "mlp.gate_up_proj",
        }
    }
}

/// One adapted matrix: which layer, which projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// Layer, from 0.
    pub layer: usize,
    /// The matrix inside the layer.
    pub projection: Projection,
}

/// The low-rank pair at one site: `y += scale * (x Aᵀ) Bᵀ`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraPair {
    /// R.
    pub rank: usize,
    /// `alpha / rank`, or `alpha / sqrt(rank)` for rank-stabilised LoRA.
    pub scale: f32,
    /// A `[R, in]`.
    pub a: Vec<f32>,
    /// B `[out, R]`.
    pub b: Vec<f32>,
}

/// A LoRA adapter in memory.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Adapter {
    /// The adapted sites, in order of layer, then projection.
    pub pairs: BTreeMap<Site, LoraPair>,
}
