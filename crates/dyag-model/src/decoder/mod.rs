//! One decoder for all families, with hand-written forward and backward.
//!
//! A layer is about fifteen operations of [`Device`], written out in `layer.rs`, forward and backward side by side. No gradient of a frozen weight is
//! ever formed, and nothing below the lowest adapted layer is differentiated.

mod cache;
mod device_adapter;
mod dora;
mod generate;
mod head;
mod layer;
mod likelihood;
mod norms;
mod pack;
mod projection;
mod rope;
mod sampling;
mod sequence;
mod training;

use std::sync::Arc;

use dyag_kernels::Device;

use crate::config::DecoderConfig;
use crate::weights::{DecoderWeights, GateUpWeights, LayerWeights, QkvWeights};

pub use device_adapter::{DeviceAdapter, DevicePair};
pub use generate::{GenerateError, GenerateLimits, Generated, StopReason, Watch};
pub use head::LOGITS_BYTES;
pub use likelihood::{Continuations, Likelihood};
pub use pack::{Noise, Pack, Target};
pub use sampling::SamplingOptions;
pub use sequence::Sequence;
pub use training::{Checkpointing, Dropout, StepOptions};

use dora::DecoderId;
use layer::{GateUp, Layer, Qkv};
use norms::{HeadNorms, OutputNorm};
use projection::Linear;

/// A model's frozen weights on a device, ready to compute.
pub struct Decoder<D: Device> {
    device: Arc<D>,
    config: DecoderConfig,
    embedding: D::Weight,
    layers: Vec<Layer<D>>,
    final_norm: D::Buffer,
    head: D::Weight,
    logits_bytes: usize,
    id: DecoderId,
}

impl<D: Device> Decoder<D> {
    /// Puts the weights where `device` computes.
    pub fn new(device: Arc<D>, config: &DecoderConfig, weights: &DecoderWeights) -> Self {
        let layers = weights.layers.iter().map(|weights| load_layer(&*device, weights)).collect();
        Self {
            embedding: device.load_weight(&weights.embedding),
            layers,
            final_norm: device.upload(&weights.final_norm),
            head: device.load_weight(&weights.head),
            config: config.clone(),
            device,
            logits_bytes: LOGITS_BYTES,
            id: DecoderId::new(),
        }
    }

    /// With another limit on the memory of a chunk of logits. Results do not depend on it.
    pub fn with_logits_bytes(self, logits_bytes: usize) -> Self {
        Self { logits_bytes, ..self }
    }

    /// The device.
    pub fn device(&self) -> &Arc<D> {
        &self.device
    }

    /// The model's shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The embedding rows of `ids` `[T, C]`.
    fn embed(&self, ids: &[u32]) -> D::Buffer {
        let vocab_size = self.config.vocab_size;
        assert!(ids.iter().all(|id| (*id as usize) < vocab_size), "a token id is not below the vocabulary's {vocab_size}");
        let mut x = self.device.scratch(ids.len() * self.config.hidden_size);
        self.device.embed(&self.embedding, ids, &mut x);
        if self.config.embedding_scale != 1.0 {
            self.device.scale(self.config.embedding_scale, &mut x);
        }
        x
    }
}

fn load_layer<D: Device>(device: &D, weights: &LayerWeights) -> Layer<D> {
    use crate::adapter::Projection;
    let linear = |projection, weight, bias: &[f32]| Linear::load(device, projection, weight, bias);
    let qkv = match &weights.qkv {
        QkvWeights::Separate { q, k, v, q_bias, k_bias, v_bias } => {
            Qkv::Separate([linear(Projection::Q, q, q_bias), linear(Projection::K, k, k_bias), linear(Projection::V, v, v_bias)])
        }
        QkvWeights::Fused(qkv) => Qkv::Fused(linear(Projection::Qkv, qkv, &[])),
    };
    let gate_up = match &weights.gate_up {
        GateUpWeights::Separate { gate, up } => GateUp::Separate([linear(Projection::Gate, gate, &[]), linear(Projection::Up, up, &[])]),
        GateUpWeights::Fused(gate_up) => GateUp::Fused(linear(Projection::GateUp, gate_up, &[])),
    };
    let [attention_output_norm, feed_forward_output_norm] = match &weights.output_norms {
        None => [OutputNorm { gain: None }, OutputNorm { gain: None }],
        Some(gains) => gains.each_ref().map(|gain| OutputNorm { gain: Some(device.upload(gain)) }),
    };
    Layer {
        attention_norm: device.upload(&weights.attention_norm),
        qkv,
        head_norms: weights.head_norms.as_ref().map(|gains| HeadNorms { gains: gains.each_ref().map(|gain| device.upload(gain)) }),
        o: linear(Projection::O, &weights.o, &weights.o_bias),
        attention_output_norm,
        feed_forward_norm: device.upload(&weights.feed_forward_norm),
        gate_up,
        down: linear(Projection::Down, &weights.down, &[]),
        feed_forward_output_norm,
    }
}
