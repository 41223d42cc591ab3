//! The inverse of building: every tensor of a decoder with its name in either scheme, for files that are written.

use dyag_kernels::WeightMatrix;

use super::{FOLDER, GGUF, Naming};
use crate::adapter::{Projection, Site};
use crate::config::{DecoderConfig, family};
use crate::weights::{DecoderWeights, GateUpWeights, LayerWeights, QkvWeights};

/// Whose names tensors get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Transformers'.
    Folder,
    /// llama.cpp's.
    Gguf,
}

impl Scheme {
    fn naming(self) -> &'static Naming {
        match self {
            Self::Folder => &FOLDER,
            Self::Gguf => &GGUF,
        }
    }
}

/// What a tensor holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// A matrix, and the site at which an adapter may act on it.
    Matrix(&'a WeightMatrix, Option<Site>),
    /// A vector.
    Vector(&'a [f32]),
}

/// A tensor on its way into a file.
#[derive(Clone, Debug)]
pub(crate) struct NamedTensor<'a> {
    /// Name in the file.
    pub(crate) name: String,
    /// What it holds, in the order of rows of the original model.
    pub(crate) content: Content<'a>,
    /// D, where the file interleaves the two halves of each head (q and k of Llama in GGUF).
    pub(crate) interleaved: Option<usize>,
    /// Whether the file holds differences from 1.
    pub(crate) from_one: bool,
}

impl DecoderWeights {
    /// All tensors, those outside layers first, then layer by layer; a tied head is left out.
    pub(crate) fn tensors(&self, config: &DecoderConfig, scheme: Scheme) -> Vec<NamedTensor<'_>> {
        let naming = scheme.naming();
        let from_one = naming.gemma_gains_from_one && family(&config.family).is_some_and(|family| family.gemma);
        let Self { embedding, layers, final_norm, head } = self;
        let outside = |name: &str, content| NamedTensor { name: format!("{name}.weight"), content, interleaved: None, from_one: false };
        let mut list = vec![outside(naming.embedding, Content::Matrix(embedding, None))];
        if !config.tied_head {
            list.push(outside(naming.head, Content::Matrix(head, None)));
        }
        list.push(NamedTensor { from_one, ..outside(naming.final_norm, Content::Vector(final_norm)) });
        for (layer, weights) in layers.iter().enumerate() {
            list_layer(weights, &mut Listing { config, naming, layer, from_one, list: &mut list });
        }
        list
    }
}

/// A layer's part of the list.
struct Listing<'a, 'w> {
    config: &'a DecoderConfig,
    naming: &'a Naming,
    layer: usize,
    /// Whether the file holds norms' gains as differences from 1.
    from_one: bool,
    list: &'a mut Vec<NamedTensor<'w>>,
}

impl<'w> Listing<'_, 'w> {
    fn add(&mut self, part: &str, kind: &str, content: Content<'w>, interleaved: bool) {
        let name = format!("{}.{}.{part}.{kind}", self.naming.layer, self.layer);
        self.list.push(NamedTensor { name, content, interleaved: interleaved.then_some(self.config.head_size), from_one: false });
    }

    fn matrix(&mut self, part: &str, projection: Projection, weight: &'w WeightMatrix, interleaved: bool) {
        let site = Site { layer: self.layer, projection };
        self.add(part, "weight", Content::Matrix(weight, Some(site)), interleaved);
    }

    fn norm(&mut self, part: &str, gain: &'w [f32]) {
        self.add(part, "weight", Content::Vector(gain), false);
        if let Some(last) = self.list.last_mut() {
            last.from_one = self.from_one;
        }
    }

    /// A bias, unless it is empty.
    fn bias(&mut self, part: &str, bias: &'w [f32], interleaved: bool) {
        if !bias.is_empty() {
            self.add(part, "bias", Content::Vector(bias), interleaved);
        }
    }
}

fn list_layer<'w>(weights: &'w LayerWeights, listing: &mut Listing<'_, 'w>) {
    let LayerWeights { attention_norm, qkv, head_norms, o, o_bias, output_norms, feed_forward_norm, gate_up, down } = weights;
    let naming = listing.naming;
    let interleaved = naming.llama_interleaves && matches!(listing.config.family.as_str(), "llama" | "mistral");
    listing.norm(naming.attention_norm, attention_norm);
    match qkv {
        QkvWeights::Separate { q, k, v, q_bias, k_bias, v_bias } => {
            listing.matrix(naming.q, Projection::Q, q, interleaved);
            listing.bias(naming.q, q_bias, interleaved);
            listing.matrix(naming.k, Projection::K, k, interleaved);
            listing.bias(naming.k, k_bias, interleaved);
            listing.matrix(naming.v, Projection::V, v, false);
            listing.bias(naming.v, v_bias, false);
        }
        QkvWeights::Fused(qkv) => listing.matrix(naming.qkv, Projection::Qkv, qkv, false),
    }
    if let Some([q_norm, k_norm]) = head_norms {
        listing.norm(naming.q_norm, q_norm);
        listing.norm(naming.k_norm, k_norm);
    }
    listing.matrix(naming.o, Projection::O, o, false);
    listing.bias(naming.o, o_bias, false);
    if let Some([attention, feed_forward]) = output_norms {
        listing.norm(naming.attention_output_norm, attention);
        listing.norm(naming.gemma_feed_forward_norm, feed_forward_norm);
        listing.norm(naming.feed_forward_output_norm, feed_forward);
    } else {
        listing.norm(naming.feed_forward_norm, feed_forward_norm);
    }
    match gate_up {
        GateUpWeights::Separate { gate, up } => {
            listing.matrix(naming.gate, Projection::Gate, gate, false);
            listing.matrix(naming.up, Projection::Up, up, false);
        }
        GateUpWeights::Fused(gate_up) => listing.matrix(naming.gate_up, Projection::GateUp, gate_up, false),
    }
    listing.matrix(naming.down, Projection::Down, down, false);
}
