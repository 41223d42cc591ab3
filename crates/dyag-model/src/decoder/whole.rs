//! Full fine-tuning: all weights of a decoder as numbers that are trained, and a decoder made of them.
//!
//! The numbers are kept in f32, as the model's files have them. A decoder is made of them anew for each step, with its matrices as products read them
//! ([`Device::freeze`]), so that loss and gradients stay a function of weights and tokens. Their gradients are added where the layers' backward has both factors.

use std::collections::BTreeMap;
use std::sync::Arc;

use dyag_kernels::{Device, WeightMatrix};

use super::Decoder;
use super::device_adapter::DeviceAdapter;
use crate::adapter::Projection;
use crate::config::{DecoderConfig, family};
use crate::weights::{DecoderWeights, GateUpWeights, LayerWeights, QkvWeights};

/// A tensor of a decoder, by where it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Part {
    Embedding,
    Layer(usize, LayerPart),
    FinalNorm,
    /// Unless it is the embedding.
    Head,
}

/// A tensor of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum LayerPart {
    AttentionNorm,
    Weight(Projection),
    Bias(Projection),
    QNorm,
    KNorm,
    AttentionOutputNorm,
    FeedForwardNorm,
    FeedForwardOutputNorm,
}

impl Part {
    /// All tensors of a model of that shape, in order.
    pub fn all(config: &DecoderConfig) -> Vec<Self> {
        use LayerPart::{AttentionNorm, AttentionOutputNorm, Bias, FeedForwardNorm, FeedForwardOutputNorm, KNorm, QNorm, Weight};
        let mut of_layer = vec![AttentionNorm, FeedForwardNorm];
        for projection in Projection::all(config) {
            of_layer.push(Weight(*projection));
            let has_bias = match projection {
                Projection::Q | Projection::K | Projection::V => config.qkv_bias,
                Projection::O => config.o_bias,
                _ => false,
            };
            of_layer.extend(has_bias.then_some(Bias(*projection)));
        }
        of_layer.extend(config.head_norms.then_some([QNorm, KNorm]).into_iter().flatten());
        of_layer.extend(config.output_norms.then_some([AttentionOutputNorm, FeedForwardOutputNorm]).into_iter().flatten());
        of_layer.sort_unstable();
        let mut parts = vec![Self::Embedding];
        parts.extend((0..config.n_layers).flat_map(|layer| of_layer.iter().map(move |part| Self::Layer(layer, *part))));
        parts.push(Self::FinalNorm);
        parts.extend((!config.tied_head).then_some(Self::Head));
        parts
    }

    /// Name in a Transformers model.
    pub fn name(self, config: &DecoderConfig) -> String {
        let (layer, part) = match self {
            Self::Embedding => return "model.embed_tokens.weight".to_owned(),
            Self::FinalNorm => return "model.norm.weight".to_owned(),
            Self::Head => return "lm_head.weight".to_owned(),
            Self::Layer(layer, part) => (layer, part),
        };
        let of_layer = match part {
            LayerPart::Weight(projection) => format!("{}.weight", projection.module()),
            LayerPart::Bias(projection) => format!("{}.bias", projection.module()),
            LayerPart::AttentionNorm => "input_layernorm.weight".to_owned(),
            LayerPart::QNorm => "self_attn.q_norm.weight".to_owned(),
            LayerPart::KNorm => "self_attn.k_norm.weight".to_owned(),
            // Gemma's name means something else in other families.
            LayerPart::AttentionOutputNorm => "post_attention_layernorm.weight".to_owned(),
            LayerPart::FeedForwardNorm if config.output_norms => "pre_feedforward_layernorm.weight".to_owned(),
            LayerPart::FeedForwardNorm => "post_attention_layernorm.weight".to_owned(),
            LayerPart::FeedForwardOutputNorm => "post_feedforward_layernorm.weight".to_owned(),
        };
        format!("model.layers.{layer}.{of_layer}")
    }

    /// Sizes, outermost first: `[out, in]` or `[channels]`.
    pub fn shape(self, config: &DecoderConfig) -> Vec<usize> {
        let (c, d) = (config.hidden_size, config.head_size);
        match self {
            Self::Embedding | Self::Head => vec![config.vocab_size, c],
            Self::FinalNorm => vec![c],
            Self::Layer(_, LayerPart::Weight(projection)) => {
                let (n_in, n_out) = projection.sizes(config);
                vec![n_out, n_in]
            }
            Self::Layer(_, LayerPart::Bias(projection)) => vec![projection.sizes(config).1],
            Self::Layer(_, LayerPart::QNorm | LayerPart::KNorm) => vec![d],
            Self::Layer(..) => vec![c],
        }
    }

    /// Whether it has two dimensions.
    pub fn is_matrix(self) -> bool {
        matches!(self, Self::Embedding | Self::Head | Self::Layer(_, LayerPart::Weight(_)))
    }

    /// Whether it is the gain of a norm.
    fn is_gain(self) -> bool {
        !matches!(self, Self::Embedding | Self::Head | Self::Layer(_, LayerPart::Weight(_) | LayerPart::Bias(_)))
    }
}

/// What gains in memory are more than in the files: 1 for Gemma.
fn gain_offset(config: &DecoderConfig) -> f32 {
    if family(&config.family).is_some_and(|family| family.gemma) { 1.0 } else { 0.0 }
}

impl<D: Device> DeviceAdapter<D> {
    /// All weights of a model, widened to f32, to be trained whole.
    pub fn of_weights(device: &D, config: &DecoderConfig, weights: &DecoderWeights) -> Self {
        let upload = |part: Part| (part, device.upload(&values(config, weights, part)));
        Self::of_whole(Part::all(config).into_iter().map(upload).collect())
    }
}

/// The values of a tensor as the model's files have them.
fn values(config: &DecoderConfig, weights: &DecoderWeights, part: Part) -> Vec<f32> {
    let values = match part {
        Part::Embedding => widened(&weights.embedding),
        Part::FinalNorm => weights.final_norm.clone(),
        Part::Head => widened(&weights.head),
        Part::Layer(layer, part) => of_layer(&weights.layers[layer], part),
    };
    if !part.is_gain() {
        return values;
    }
    let offset = gain_offset(config);
    values.into_iter().map(|gain| gain - offset).collect()
}

fn of_layer(weights: &LayerWeights, part: LayerPart) -> Vec<f32> {
    let of_pair = |pair: &Option<[Vec<f32>; 2]>, place: usize| pair.as_ref().expect("the shape says that it is there")[place].clone();
    match part {
        LayerPart::AttentionNorm => weights.attention_norm.clone(),
        LayerPart::FeedForwardNorm => weights.feed_forward_norm.clone(),
        LayerPart::QNorm => of_pair(&weights.head_norms, 0),
        LayerPart::KNorm => of_pair(&weights.head_norms, 1),
        LayerPart::AttentionOutputNorm => of_pair(&weights.output_norms, 0),
        LayerPart::FeedForwardOutputNorm => of_pair(&weights.output_norms, 1),
        LayerPart::Weight(projection) => widened(matrix(weights, projection)),
        LayerPart::Bias(projection) => match (projection, &weights.qkv) {
            (Projection::Q, QkvWeights::Separate { q_bias, .. }) => q_bias.clone(),
            (Projection::K, QkvWeights::Separate { k_bias, .. }) => k_bias.clone(),
            (Projection::V, QkvWeights::Separate { v_bias, .. }) => v_bias.clone(),
            (Projection::O, _) => weights.o_bias.clone(),
            _ => unreachable!("no family has a bias there"),
        },
    }
}

fn matrix(weights: &LayerWeights, projection: Projection) -> &WeightMatrix {
    match (projection, &weights.qkv, &weights.gate_up) {
        (Projection::O, ..) => &weights.o,
        (Projection::Down, ..) => &weights.down,
        (Projection::Q, QkvWeights::Separate { q, .. }, _) => q,
        (Projection::K, QkvWeights::Separate { k, .. }, _) => k,
        (Projection::V, QkvWeights::Separate { v, .. }, _) => v,
        (Projection::Qkv, QkvWeights::Fused(qkv), _) => qkv,
        (Projection::Gate, _, GateUpWeights::Separate { gate, .. }) => gate,
        (Projection::Up, _, GateUpWeights::Separate { up, .. }) => up,
        (Projection::GateUp, _, GateUpWeights::Fused(gate_up)) => gate_up,
        _ => unreachable!("the shape says which matrices there are"),
    }
}

fn widened(matrix: &WeightMatrix) -> Vec<f32> {
    let mut out = vec![0.0; matrix.rows() * matrix.cols()];
    out.chunks_exact_mut(matrix.cols()).enumerate().for_each(|(row, out)| matrix.widen_row(row, 0, out));
    out
}

impl<D: Device> Decoder<D> {
    /// A decoder of trained weights.
    ///
    /// # Panics
    /// If `weights` are not all of a model of that shape.
    pub fn of_whole(device: Arc<D>, config: &DecoderConfig, weights: &DeviceAdapter<D>) -> Self {
        let whole = weights.whole();
        let freeze = |part: Part| {
            let [rows, cols] = part.shape(config)[..] else { unreachable!("a matrix") };
            device.freeze(&whole[&part], rows, cols)
        };
        let gain = |part: Part| {
            let offset = gain_offset(config);
            device.upload(&device.download(&whole[&part]).into_iter().map(|value| value + offset).collect::<Vec<_>>())
        };
        let bias = |part: Part| whole.get(&part).map(|bias| device.upload(&device.download(bias)));
        let embedding = freeze(Part::Embedding);
        let head = if config.tied_head { freeze(Part::Embedding) } else { freeze(Part::Head) };
        let layers = (0..config.n_layers).map(|layer| Self::layer_of(config, layer, &freeze, &gain, &bias)).collect();
        let final_norm = gain(Part::FinalNorm);
        Self::of_parts(device, config, embedding, layers, final_norm, head)
    }
}

/// Where the gradients of whole tensors are added.
pub(super) type WholeGradients<D> = BTreeMap<Part, <D as Device>::Buffer>;
