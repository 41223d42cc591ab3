//! LoRA adapters (Hu et al. 2021): what they hold, and PEFT's files.

mod config;
mod error;
mod initial;
mod peft_files;
mod targets;

use std::collections::BTreeMap;

use crate::config::DecoderConfig;

pub use config::{AdapterConfig, CONFIG_FILE, TargetModules};
pub use error::AdapterError;
pub use peft_files::WEIGHTS_FILE;
pub use targets::{SiteSettings, parse_targets};

/// Largest rank that is read or made.
pub const MAX_RANK: usize = 65_536;

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

    /// Last part of the module name, such as `q_proj`.
    pub fn short_name(self) -> &'static str {
        self.module().split_once('.').map_or(self.module(), |(_, name)| name)
    }

    /// Every projection that layers of this model have: seven, or four when they are fused.
    pub const fn all(config: &DecoderConfig) -> &'static [Self] {
        if config.fused {
            &[Self::Qkv, Self::O, Self::GateUp, Self::Down]
        } else {
            &[Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down]
        }
    }

    /// Input and output channels of this projection in a model of that shape.
    pub const fn sizes(self, config: &DecoderConfig) -> (usize, usize) {
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) = (config.n_heads * config.head_size, config.n_kv_heads * config.head_size);
        match self {
            Self::Q => (c, queries),
            Self::K | Self::V => (c, keys),
            Self::O => (queries, c),
            Self::Gate | Self::Up => (c, f),
            Self::Down => (f, c),
            Self::Qkv => (c, queries + 2 * keys),
            Self::GateUp => (c, 2 * f),
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

impl Site {
    /// Name of the module in a Transformers model, such as `model.layers.3.self_attn.q_proj`.
    pub fn module(self) -> String {
        format!("model.layers.{}.{}", self.layer, self.projection.module())
    }

    /// Names of A and B in PEFT's file, in that order.
    pub fn tensor_names(self) -> [String; 2] {
        ["A", "B"].map(|which| format!("base_model.model.{}.lora_{which}.weight", self.module()))
    }

    /// Name of DoRA's magnitudes in PEFT's file.
    pub fn magnitude_name(self) -> String {
        format!("base_model.model.{}.lora_magnitude_vector", self.module())
    }
}

/// The low-rank pair at one site: `y += scale * (x Aᵀ) Bᵀ`.
///
/// With magnitudes (DoRA, Liu et al. 2024) the site's whole matrix is `W' = diag(m / n) (W + scale B A)`, where `n[j] = ‖(W + scale B A)[j]‖` over the inputs of output
/// channel j; the frozen bias is left as it is. [`LoraPair::merge_row`] makes a row of it.
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
    /// The magnitude m `[out]` of each output channel, of a weight-decomposed adapter (DoRA) alone.
    pub magnitude: Option<Vec<f32>>,
}

impl LoraPair {
    /// Turns row `row` of the frozen matrix, `weights` `[in]`, into that of the matrix with the pair merged, in f64: `w + scale b A`, and with magnitudes
    /// `(m / ‖w + scale b A‖) (w + scale b A)`. A row of zeros keeps its zeros.
    ///
    /// # Panics
    /// If `row` is not below `out`, or `weights` has another length than `in`.
    pub fn merge_row(&self, row: usize, weights: &mut [f32]) {
        let Self { rank, scale, a, b, magnitude } = self;
        assert_eq!(weights.len() * rank, a.len(), "a row has as many weights as A has columns");
        let mut sums: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        for (b, a) in b[row * rank..(row + 1) * rank].iter().zip(a.chunks_exact(weights.len())) {
            let factor = f64::from(*scale) * f64::from(*b);
            sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * f64::from(*a));
        }
        let norm = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        let stretch = magnitude.as_ref().map_or(1.0, |magnitude| if norm > 0.0 { f64::from(magnitude[row]) / norm } else { 0.0 });
        #[allow(clippy::cast_possible_truncation)]
        weights.iter_mut().zip(sums).for_each(|(weight, sum)| *weight = (stretch * sum) as f32);
    }
}

/// A LoRA adapter in memory.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Adapter {
    /// The adapted sites, in order of layer, then projection.
    pub pairs: BTreeMap<Site, LoraPair>,
}

impl Adapter {
    /// Trained numbers in all matrices together.
    pub fn n_parameters(&self) -> usize {
        self.pairs.values().map(|pair| pair.a.len() + pair.b.len() + pair.magnitude.as_ref().map_or(0, Vec::len)).sum()
    }

    /// Every tensor with its name in PEFT's file, A before B before magnitudes, in order of site.
    pub fn named_tensors(&self) -> impl Iterator<Item = (String, &[f32])> {
        self.shaped_tensors().map(|(name, _, values)| (name, values))
    }

    /// As [`Adapter::named_tensors`], with each tensor's shape in PEFT's file: `[R, in]`, `[out, R]`, `[out]`.
    pub fn shaped_tensors(&self) -> impl Iterator<Item = (String, Vec<usize>, &[f32])> {
        self.pairs.iter().flat_map(|(site, LoraPair { rank, scale: _, a, b, magnitude })| {
            let names = site.tensor_names();
            let shapes = [vec![*rank, a.len() / rank], vec![b.len() / rank, *rank]];
            let matrices = names.into_iter().zip(shapes).zip([a, b]).map(|((name, shape), values)| (name, shape, values.as_slice()));
            matrices.chain(magnitude.iter().map(|values| (site.magnitude_name(), vec![values.len()], values.as_slice())))
        })
    }
}
