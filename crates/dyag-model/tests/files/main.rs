//! Reading a model's files: right ones, and every way of being wrong with what is said about it.

mod config;
mod folder;
mod gguf;
mod gguf_model;
mod robustness;
mod safetensors;

use std::path::{Path, PathBuf};

use dyag_kernels::WeightMatrix;
use dyag_model::weights::{DecoderWeights, GateUpWeights, QkvWeights};

/// Asserts that `result` is an error whose message has each of `parts`.
#[track_caller]
fn assert_error<T>(result: Result<T, dyag_model::ModelError>, parts: &[&str]) {
    let message = match result {
        Ok(_) => panic!("no error; expected one with {parts:?}"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

/// A copy of a golden case's model folder.
fn copy_of_golden(case: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dyag_testing::golden(case).join("model")).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

/// Changes a JSON file.
fn edit_json(path: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(value.as_object_mut().unwrap());
    std::fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
}

/// All values of a matrix, rows in the model's order.
fn values(matrix: &WeightMatrix) -> Vec<f32> {
    let mut out = vec![f32::NAN; matrix.rows() * matrix.cols()];
    for (row, out) in out.chunks_exact_mut(matrix.cols()).enumerate() {
        matrix.widen_row(row, 0, out);
    }
    out
}

/// All values of a decoder, a list a tensor, in a fixed order.
fn all_values(weights: &DecoderWeights) -> Vec<Vec<f32>> {
    let mut all = vec![values(&weights.embedding), weights.final_norm.clone(), values(&weights.head)];
    for layer in &weights.layers {
        all.push(layer.attention_norm.clone());
        match &layer.qkv {
            QkvWeights::Separate { q, k, v, q_bias, k_bias, v_bias } => {
                all.extend([values(q), values(k), values(v), q_bias.clone(), k_bias.clone(), v_bias.clone()]);
            }
            QkvWeights::Fused(qkv) => all.push(values(qkv)),
        }
        all.extend([values(&layer.o), layer.feed_forward_norm.clone()]);
        match &layer.gate_up {
            GateUpWeights::Separate { gate, up } => all.extend([values(gate), values(up)]),
            GateUpWeights::Fused(both) => all.push(values(both)),
        }
        all.push(values(&layer.down));
    }
    all
}
