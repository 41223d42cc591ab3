//! Ten seconds of products of matrices, and what they let expect of training.

use std::time::{Duration, Instant};

use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::map::Bytes;
use dyag_kernels::{Device, Format, Precision, WeightMatrix, cpu};
use serde::Serialize;

use super::models::{Trainable, Verdict};
use crate::language::say;

/// The measurement of one kernel takes so long.
const A_KERNEL: Duration = Duration::from_millis(3300);

/// Rows and channels of the products: a layer of a model of 1.5 thousand million parameters, cut shorter.
const ROWS: usize = 256;
const N_IN: usize = 1536;
const N_OUT: usize = 4096;
/// Rows while answers are written, of several at a time.
const FEW_ROWS: usize = 8;

/// Operations of a parameter and a token: two in each of the forward and the backward pass, and two more where layers are computed twice.
const OPERATIONS: f64 = 4.0;
const OPERATIONS_TWICE: f64 = 6.0;

/// Shares of the rate of single products that whole steps reached where both were measured (docs/LOG.md): 0.5B in f32, 125 of 223 GFLOP/s; 1.5B in bf16
/// with layers computed twice, 40.3 tokens a second where the products alone take as long as 47.
const SHARE_LOW: f64 = 0.56;
const SHARE_HIGH: f64 = 0.86;

/// What was measured, and what follows.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    pub(super) seconds: f64,
    pub(super) products: Vec<Rate>,
    /// Tokens a second of training by the product that `--precision auto` picks: estimates.
    pub(super) training: Vec<Estimate>,
    /// How the estimates are computed.
    pub(super) how: String,
}

/// Products of one kernel.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    /// `f32`, `bf16`, `int8`.
    pub(super) operands: &'static str,
    pub(super) kernel: String,
    pub(super) rows: usize,
    /// 10^9 operations a second: the median.
    pub(super) gflops: f64,
    pub(super) runs: usize,
    /// Whether `--precision auto` trains (int8: writes answers of quantised models) with it.
    pub(super) picked: bool,
}

/// What training may come to.
#[derive(Debug, Serialize)]
pub(super) struct Estimate {
    pub(super) name: String,
    /// Computed tokens a second where layers are computed twice to save memory and the rest of a step takes long.
    pub(super) tokens_a_second_low: f64,
    /// And where they are computed once and it takes little.
    pub(super) tokens_a_second_high: f64,
}

impl Speed {
    /// Measures, and estimates for the models that a processor is said to be enough for and memory allows.
    pub(super) fn measure(models: &[Trainable]) -> anyhow::Result<Self> {
        let start = Instant::now();
        let is_bf16 = cpu::bf16_is_fast();
        let products = vec![
            training_product(Precision::F32, "f32", !is_bf16)?,
            training_product(Precision::Bf16, "bf16", is_bf16)?,
            writing_product()?,
        ];
        let gflops = products.iter().find(|rate| rate.picked).map_or(0.0, |rate| rate.gflops);
        let training = models.iter().filter(|row| row.cpu && row.verdict != Verdict::No).filter_map(|row| estimate(row, gflops)).collect();
        let how = say!(
            "an estimate: from {gflops:.0} GFLOP/s x {SHARE_LOW} / ({OPERATIONS_TWICE} operations x parameters), layers computed twice to save memory, to \
             {gflops:.0} GFLOP/s x {SHARE_HIGH} / ({OPERATIONS} x parameters); {SHARE_LOW} and {SHARE_HIGH} are what whole steps reached of the rate of their \
             products where that was measured. In computed tokens: examples that begin alike share tokens, so that a dataset goes by faster. \
             `dyag bench --base-model NAME --dataset FILE` measures",
            "une estimation : de {gflops:.0} GFLOP/s x {SHARE_LOW} / ({OPERATIONS_TWICE} opérations x paramètres), couches calculées deux fois pour économiser la \
             mémoire, à {gflops:.0} GFLOP/s x {SHARE_HIGH} / ({OPERATIONS} x paramètres) ; {SHARE_LOW} et {SHARE_HIGH} sont ce que des pas entiers ont atteint de la \
             vitesse de leurs produits là où on l'a mesuré. En jetons calculés : les exemples qui commencent de même en partagent, et un jeu passe plus vite. \
             « dyag bench --base-model NOM --dataset FICHIER » mesure"
        );
        Ok(Self { seconds: start.elapsed().as_secs_f64(), products, training, how })
    }
}

fn estimate(row: &Trainable, gflops: f64) -> Option<Estimate> {
    let parameters = count(row.parameters.as_deref()?)?;
    let rate = |share: f64, operations: f64| gflops * 1e9 * share / (operations * parameters);
    Some(Estimate {
        name: row.name.clone(),
        tokens_a_second_low: rate(SHARE_LOW, OPERATIONS_TWICE),
        tokens_a_second_high: rate(SHARE_HIGH, OPERATIONS),
    })
}

/// `1.5B` and `135M` as numbers.
fn count(text: &str) -> Option<f64> {
    let (number, factor) = match text.strip_suffix(['B', 'b']) {
        Some(number) => (number, 1e9),
        None => (text.strip_suffix(['M', 'm'])?, 1e6),
    };
    number.parse::<f64>().ok().filter(|n| *n > 0.0).map(|n| n * factor)
}

/// A product and the one of its backward pass, with weights in bf16.
fn training_product(precision: Precision, operands: &'static str, picked: bool) -> anyhow::Result<Rate> {
    let device = CpuDevice::new(CpuOptions { precision, threads: None, level: None, int8_activations: false })?;
    let halves = numbers(N_OUT * N_IN).into_iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect();
    let matrix = WeightMatrix::new(Bytes::from_vec(halves), Format::Bf16, N_OUT, N_IN).expect("sizes agree");
    let weight = device.load_weight(&matrix);
    let (x, d_y) = (device.upload(&numbers(ROWS * N_IN)), device.upload(&numbers(ROWS * N_OUT)));
    let (mut y, mut d_x) = (device.zeros(ROWS * N_OUT), device.zeros(ROWS * N_IN));
    let operations = 4.0 * (ROWS * N_IN * N_OUT) as f64;
    let (gflops, runs) = median_rate(operations, || {
        device.linear(&weight, &x, ROWS, None, None, &mut y);
        device.linear_backward(&weight, &d_y, ROWS, None, &mut d_x, false);
    });
    Ok(Rate { operands, kernel: device.describe(), rows: ROWS, gflops, runs, picked })
}

/// A product of few rows with weights of 8 bits, as answers of quantised models are written.
fn writing_product() -> anyhow::Result<Rate> {
    let device = CpuDevice::new(CpuOptions { precision: Precision::F32, threads: None, level: None, int8_activations: true })?;
    // Blocks of 32: a scale in f16 (2^-7), then the numbers.
    let block =
        |i: usize| [0x00, 0x20].into_iter().chain((0..32).map(move |j| (dyag_kernels::random::bits(2, (32 * i + j) as u64) >> 56) as u8));
    let bytes = (0..N_OUT * N_IN / 32).flat_map(block).collect();
    let matrix = WeightMatrix::new(Bytes::from_vec(bytes), Format::Q8_0, N_OUT, N_IN).expect("sizes agree");
    let weight = device.load_weight(&matrix);
    let x = device.upload(&numbers(FEW_ROWS * N_IN));
    let mut y = device.zeros(FEW_ROWS * N_OUT);
    let operations = 2.0 * (FEW_ROWS * N_IN * N_OUT) as f64;
    let (gflops, runs) = median_rate(operations, || device.linear_few(&weight, &x, FEW_ROWS, None, &mut y));
    Ok(Rate { operands: "int8", kernel: device.describe(), rows: FEW_ROWS, gflops, runs, picked: true })
}

/// The median rate of as many runs as fit the time, after one that is not counted.
fn median_rate(operations: f64, mut work: impl FnMut()) -> (f64, usize) {
    let start = Instant::now();
    work();
    let mut rates = Vec::new();
    while rates.is_empty() || start.elapsed() < A_KERNEL {
        let one = Instant::now();
        work();
        rates.push(operations / one.elapsed().as_secs_f64().max(1e-9) / 1e9);
    }
    rates.sort_by(f64::total_cmp);
    (rates[rates.len() / 2], rates.len())
}

/// Numbers in -1 .. 1.
fn numbers(len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (dyag_kernels::random::bits(1, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_what_they_are_said_to_be() {
        assert_eq!([count("1.5B"), count("135M"), count("many"), count("-1B")], [Some(1.5e9), Some(135e6), None, None]);
        let row = Trainable {
            name: "a".to_owned(),
            parameters: Some("1.5B".to_owned()),
            memory_min_gb: 3.0,
            memory_recommended_gb: 6.0,
            verdict: Verdict::Yes,
            batch_size: 4,
            cpu: true,
        };
        let estimate = estimate(&row, 300.0).expect("parameters are known");
        // 300e9 x 0.86 / (4 x 1.5e9), and 300e9 x 0.56 / (6 x 1.5e9).
        assert!((estimate.tokens_a_second_high - 43.0).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.tokens_a_second_low - 56.0 / 3.0).abs() < 1e-9, "{estimate:?}");
    }
}
