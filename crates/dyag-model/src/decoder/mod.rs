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
mod states;
mod training;
mod whole;

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
pub use states::WantedStates;
pub use training::{Checkpointing, Dropout, StepOptions};
pub use whole::{LayerPart, Part};

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
        let (embedding, head) = (device.load_weight(&weights.embedding), device.load_weight(&weights.head));
        let final_norm = device.upload(&weights.final_norm);
        Self::of_parts(device, config, embedding, layers, final_norm, head)
    }

    fn of_parts(
        device: Arc<D>,
        config: &DecoderConfig,
        embedding: D::Weight,
        layers: Vec<Layer<D>>,
        final_norm: D::Buffer,
        head: D::Weight,
    ) -> Self {
        let (config, id) = (config.clone(), DecoderId::new());
        Self { device, config, embedding, layers, final_norm, head, logits_bytes: LOGITS_BYTES, id }
    }

    /// A layer whose parts come from functions by their place.
    fn layer_of(
        config: &DecoderConfig,
        layer: usize,
        weight: &dyn Fn(Part) -> D::Weight,
        gain: &dyn Fn(Part) -> D::Buffer,
        bias: &dyn Fn(Part) -> Option<D::Buffer>,
    ) -> Layer<D> {
        use crate::adapter::Projection;
        let part = |part: LayerPart| Part::Layer(layer, part);
        let linear = |projection: Projection| {
            let (weight, bias) = (weight(part(LayerPart::Weight(projection))), bias(part(LayerPart::Bias(projection))));
            Linear::new(projection, weight, bias, projection.sizes(config))
        };
        let gain = |of: LayerPart| gain(part(of));
        let output_norm = |of: LayerPart| OutputNorm { gain: config.output_norms.then(|| gain(of)) };
        let (qkv, gate_up) = if config.fused {
            (Qkv::Fused(linear(Projection::Qkv)), GateUp::Fused(linear(Projection::GateUp)))
        } else {
            let qkv = [Projection::Q, Projection::K, Projection::V].map(linear);
            (Qkv::Separate(qkv), GateUp::Separate([Projection::Gate, Projection::Up].map(linear)))
        };
        Layer {
            attention_norm: gain(LayerPart::AttentionNorm),
            qkv,
            head_norms: config.head_norms.then(|| HeadNorms { gains: [gain(LayerPart::QNorm), gain(LayerPart::KNorm)] }),
            o: linear(Projection::O),
            attention_output_norm: output_norm(LayerPart::AttentionOutputNorm),
            feed_forward_norm: gain(LayerPart::FeedForwardNorm),
            gate_up,
            down: linear(Projection::Down),
            feed_forward_output_norm: output_norm(LayerPart::FeedForwardOutputNorm),
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
