//! Any bytes as a GGUF file: an error, or a model whose every row can be widened.
#![no_main]

use std::path::Path;

use dyag_kernels::WeightMatrix;
use dyag_kernels::map::Bytes;
use dyag_model::Model;
use dyag_model::weights::{GateUpWeights, GgufFile, QkvWeights};
use libfuzzer_sys::fuzz_target;

fn widen(matrix: &WeightMatrix) {
    let mut out = vec![0.0; matrix.cols()];
    for row in 0..matrix.rows() {
        matrix.widen_row(row, 0, &mut out);
    }
}

fuzz_target!(|data: &[u8]| {
    let path = Path::new("fuzzed");
    let Ok(file) = GgufFile::from_bytes(path, Bytes::from_vec(data.to_vec())) else { return };
    let n_bytes: usize = file.tensors().map(|(_, tensor)| file.bytes(tensor).len()).sum();
    assert!(n_bytes <= data.len());
    let Ok(model) = Model::from_gguf(path, file) else { return };
    assert_eq!(model.source.fingerprint().len(), 64);
    assert_eq!(model.weights.layers.len(), model.config.n_layers);
    widen(&model.weights.embedding);
    widen(&model.weights.head);
    for layer in &model.weights.layers {
        match &layer.qkv {
            QkvWeights::Separate { q, k, v, .. } => [q, k, v].map(widen).into_iter().collect(),
            QkvWeights::Fused(qkv) => widen(qkv),
        }
        match &layer.gate_up {
            GateUpWeights::Separate { gate, up } => [gate, up].map(widen).into_iter().collect(),
            GateUpWeights::Fused(both) => widen(both),
        }
        widen(&layer.o);
        widen(&layer.down);
    }
});
