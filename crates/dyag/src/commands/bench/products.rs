//! The products of a layer and of the head, one by one.

use dyag_kernels::{Device, WeightMatrix};
use dyag_model::weights::{GateUpWeights, QkvWeights};
use serde::Serialize;

use super::median_seconds;
use crate::model_files::ModelFiles;

/// One shape.
#[derive(Debug, Serialize)]
pub(super) struct Product {
    /// Where the model has it.
    pub(super) name: String,
    /// Output channels.
    pub(super) n_out: usize,
    /// Input channels.
    pub(super) n_in: usize,
    /// How the weights are stored.
    pub(super) format: &'static str,
    /// Rows of activations.
    pub(super) tokens: usize,
    /// `x Wᵀ`, 10^9 operations a second.
    pub(super) forward_gflops: f64,
    /// `d_y W`, 10^9 operations a second.
    pub(super) backward_gflops: f64,
    /// Shares of the peak that was measured.
    pub(super) forward_share: Option<f64>,
    pub(super) backward_share: Option<f64>,
}

/// Times every shape of the first layer, and the head, at `tokens` rows.
pub(super) fn measure<D: Device>(device: &D, files: &ModelFiles, tokens: usize, runs: usize, peak: Option<f64>) -> Vec<Product> {
    let mut products: Vec<Product> = Vec::new();
    for (name, matrix) in matrices(files) {
        let (n_out, n_in, format) = (matrix.rows(), matrix.cols(), matrix.format().name());
        if let Some(same) = products.iter_mut().find(|p| (p.n_out, p.n_in, p.format) == (n_out, n_in, format)) {
            same.name = format!("{} {name}", same.name);
            continue;
        }
        let weight = device.load_weight(matrix);
        let x = device.upload(&pseudo_random(tokens * n_in));
        let d_y = device.upload(&pseudo_random(tokens * n_out));
        let (mut y, mut d_x) = (device.zeros(tokens * n_out), device.zeros(tokens * n_in));
        let forward = median_seconds(runs, || device.linear(&weight, &x, tokens, None, None, &mut y));
        let backward = median_seconds(runs, || device.linear_backward(&weight, &d_y, tokens, None, &mut d_x, false));
        let rate = |seconds: f64| 2.0 * (tokens * n_out * n_in) as f64 / seconds / 1e9;
        products.push(Product {
            name: name.to_owned(),
            n_out,
            n_in,
            format,
            tokens,
            forward_gflops: rate(forward),
            backward_gflops: rate(backward),
            forward_share: peak.map(|peak| rate(forward) / peak),
            backward_share: peak.map(|peak| rate(backward) / peak),
        });
    }
    products
}

fn matrices(files: &ModelFiles) -> Vec<(&'static str, &WeightMatrix)> {
    let mut matrices = Vec::new();
    if let Some(layer) = files.weights().layers.first() {
        match &layer.qkv {
            QkvWeights::Separate { q, k, v, .. } => matrices.extend([("q", q), ("k", k), ("v", v)]),
            QkvWeights::Fused(qkv) => matrices.push(("qkv", qkv)),
        }
        matrices.push(("o", &layer.o));
        match &layer.gate_up {
            GateUpWeights::Separate { gate, up } => matrices.extend([("gate", gate), ("up", up)]),
            GateUpWeights::Fused(gate_up) => matrices.push(("gate_up", gate_up)),
        }
        matrices.push(("down", &layer.down));
    }
    matrices.push(("head", &files.weights().head));
    matrices
}

/// Numbers in -1 .. 1.
fn pseudo_random(len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (dyag_kernels::random::bits(1, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}
