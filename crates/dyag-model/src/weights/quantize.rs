//! Quantising a model's frozen matrices as it is loaded (Dettmers et al. 2023, QLoRA): less memory for a little of each answer.

use dyag_kernels::WeightMatrix;

use super::{DecoderWeights, GateUpWeights, LayerWeights, Model, QkvWeights};

impl Model {
    /// Puts the matrices of all layers into NormalFloat-4, one after the other; norms, biases, embedding and head stay as they are, and so do matrices that are
    /// quantised already or whose rows are no whole blocks. Returns how many it was. The source's formats and bytes then say what is in use; its fingerprint
    /// stays that of the files.
    pub fn quantize(&mut self) -> usize {
        let mut n_quantised = 0;
        for matrix in self.weights.layer_matrices() {
            let Some(quantised) = matrix.quantized() else { continue };
            let source = &mut self.source;
            source.n_bytes = (source.n_bytes + quantised.bytes().len() as u64).saturating_sub(matrix.bytes().len() as u64);
            source.count_format(matrix.format().name(), quantised.format().name());
            *matrix = quantised;
            n_quantised += 1;
        }
        n_quantised
    }
}

impl DecoderWeights {
    fn layer_matrices(&mut self) -> impl Iterator<Item = &mut WeightMatrix> {
        self.layers.iter_mut().flat_map(|layer| {
            let LayerWeights { attention_norm: _, qkv, head_norms: _, o, o_bias: _, output_norms: _, feed_forward_norm: _, gate_up, down } =
                layer;
            let qkv = match qkv {
                QkvWeights::Separate { q, k, v, .. } => vec![q, k, v],
                QkvWeights::Fused(qkv) => vec![qkv],
            };
            let gate_up = match gate_up {
                GateUpWeights::Separate { gate, up } => vec![gate, up],
                GateUpWeights::Fused(gate_up) => vec![gate_up],
            };
            qkv.into_iter().chain([o]).chain(gate_up).chain([down])
        })
    }
}
