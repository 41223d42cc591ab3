//! The processor as a [`Device`]: own kernels for each instruction set, threads by rayon.

mod attention;
mod dots;
mod elementwise;
mod few_rows;
mod loss;
mod math;
mod microkernel;
mod product;
#[cfg(test)]
#[expect(clippy::ptr_arg, reason = "the trait's buffers are vectors")]
mod tests;
mod transpose;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::cpu::{self, Level};
use crate::device::{
    Activation, AdamwStep, AttentionGradients, AttentionInputs, AttentionResult, Device, LossSum, Matmul, Place, Precision,
};
use crate::weight::WeightMatrix;

/// How a [`CpuDevice`] computes.
#[derive(Clone, Copy, Debug)]
pub struct CpuOptions {
    /// What products with frozen weights round to.
    pub precision: Precision,
    /// Threads; `None`: all processors this process may use.
    pub threads: Option<usize>,
    /// Instruction set; `None`: [`cpu::level`].
    pub level: Option<Level>,
}

/// The processor. Buffers are plain vectors, weights stay in their file's mapping.
#[derive(Debug)]
pub struct CpuDevice {
    pool: ThreadPool,
    level: Level,
    precision: Precision,
}

impl CpuDevice {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses them.
    pub fn new(options: CpuOptions) -> Result<Self, ThreadPoolBuildError> {
        let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("dyag-{i}")).build()?;
        Ok(Self { pool, level: options.level.unwrap_or_else(cpu::level), precision: options.precision })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

impl Device for CpuDevice {
    type Buffer = Vec<f32>;
    type Weight = WeightMatrix;

    fn describe(&self) -> String {
        let precision = match self.precision {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16 operands, f32 sums",
        };
        format!("cpu {} {precision}", self.level.name())
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn load_weight(&self, weight: &WeightMatrix) -> WeightMatrix {
        weight.clone()
    }

    fn zeros(&self, len: usize) -> Vec<f32> {
        vec![0.0; len]
    }

    fn upload(&self, values: &[f32]) -> Vec<f32> {
        values.to_vec()
    }

    fn download(&self, buffer: &Vec<f32>) -> Vec<f32> {
        buffer.clone()
    }

    fn len(&self, buffer: &Vec<f32>) -> usize {
        buffer.len()
    }

    fn fill_zero(&self, buffer: &mut Vec<f32>) {
        buffer.fill(0.0);
    }

    fn copy_block(&self, from: &Vec<f32>, from_place: Place, to: &mut Vec<f32>, to_place: Place, rows: usize, cols: usize) {
        assert!(from_place.col + cols <= from_place.width && to_place.col + cols <= to_place.width);
        for i in 0..rows {
            let source = (from_place.row + i) * from_place.width + from_place.col;
            let target = (to_place.row + i) * to_place.width + to_place.col;
            to[target..target + cols].copy_from_slice(&from[source..source + cols]);
        }
    }

    fn gather_rows(&self, from: &Vec<f32>, rows: &[usize], width: usize, to: &mut Vec<f32>) {
        assert_eq!(to.len(), rows.len() * width);
        for (to, row) in to.chunks_exact_mut(width).zip(rows) {
            to.copy_from_slice(&from[row * width..(row + 1) * width]);
        }
    }

    fn scatter_add_rows(&self, from: &Vec<f32>, rows: &[usize], width: usize, to: &mut Vec<f32>) {
        assert_eq!(from.len(), rows.len() * width);
        for (from, row) in from.chunks_exact(width).zip(rows) {
            to[row * width..(row + 1) * width].iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }

    fn add(&self, x: &mut Vec<f32>, y: &Vec<f32>) {
        assert_eq!(x.len(), y.len());
        self.pool.install(|| {
            x.par_chunks_mut(elementwise::CHUNK).zip(y.par_chunks(elementwise::CHUNK)).for_each(|(x, y)| {
                x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
            });
        });
    }

    fn embed(&self, table: &WeightMatrix, ids: &[u32], out: &mut Vec<f32>) {
        assert_eq!(out.len(), ids.len() * table.cols());
        for (row, id) in out.chunks_exact_mut(table.cols()).zip(ids) {
            table.widen_row(*id as usize, 0, row);
            product::round_to(self.precision, row);
        }
    }

    fn rms_norm(&self, x: &Vec<f32>, w: &Vec<f32>, eps: f32, y: &mut Vec<f32>, inv_rms: &mut Vec<f32>) {
        self.pool.install(|| elementwise::rms_norm(self.level, x, w, eps, y, inv_rms));
    }

    fn rms_norm_backward(&self, d_y: &Vec<f32>, x: &Vec<f32>, w: &Vec<f32>, inv_rms: &Vec<f32>, d_x: &mut Vec<f32>) {
        self.pool.install(|| elementwise::rms_norm_backward(self.level, d_y, x, w, inv_rms, d_x));
    }

    fn linear(&self, w: &WeightMatrix, x: &Vec<f32>, rows: usize, bias: Option<&Vec<f32>>, y: &mut Vec<f32>) {
        self.pool.install(|| product::linear(self.level, self.precision, w, x, rows, bias.map(Vec::as_slice), y));
    }

    fn linear_few(&self, w: &WeightMatrix, x: &Vec<f32>, rows: usize, bias: Option<&Vec<f32>>, y: &mut Vec<f32>) {
        self.pool.install(|| few_rows::linear_few(self.level, self.precision, w, x, rows, bias.map(Vec::as_slice), y));
    }

    fn linear_backward(&self, w: &WeightMatrix, d_y: &Vec<f32>, rows: usize, d_x: &mut Vec<f32>, accumulate: bool) {
        self.pool.install(|| product::linear_backward(self.level, self.precision, w, d_y, rows, d_x, accumulate));
    }

    fn matmul(&self, sizes: Matmul, a: &Vec<f32>, b: &Vec<f32>, c: &mut Vec<f32>) {
        self.pool.install(|| product::matmul(self.level, sizes, a, b, c));
    }

    fn matmul_few(&self, sizes: Matmul, x: &Vec<f32>, w: &Vec<f32>, y: &mut Vec<f32>) {
        self.pool.install(|| few_rows::matmul_few(self.level, sizes, x, w, y));
    }

    fn rope(&self, x: &mut Vec<f32>, n_heads: usize, head_size: usize, cos: &Vec<f32>, sin: &Vec<f32>, inverse: bool) {
        self.pool.install(|| elementwise::rope(self.level, x, n_heads, head_size, cos, sin, inverse));
    }

    fn attention(&self, inputs: &AttentionInputs<'_, Vec<f32>>, out: &mut Vec<f32>, log_sum_exp: &mut Vec<f32>) {
        self.pool.install(|| attention::attention(self.level, inputs, out, log_sum_exp));
    }

    fn attention_backward(
        &self,
        inputs: &AttentionInputs<'_, Vec<f32>>,
        result: &AttentionResult<'_, Vec<f32>>,
        gradients: AttentionGradients<'_, Vec<f32>>,
    ) {
        self.pool.install(|| attention::attention_backward(self.level, inputs, result, gradients));
    }

    fn gated(&self, activation: Activation, gate: &Vec<f32>, up: &Vec<f32>, out: &mut Vec<f32>) {
        self.pool.install(|| elementwise::gated(self.level, activation, gate, up, out));
    }

    fn gated_backward(&self, activation: Activation, d_out: &Vec<f32>, gate: &mut Vec<f32>, up: &mut Vec<f32>) {
        self.pool.install(|| elementwise::gated_backward(self.level, activation, d_out, gate, up));
    }

    fn cross_entropy(&self, logits: &mut Vec<f32>, targets: &[u32], weights: &[f32]) -> LossSum {
        self.pool.install(|| loss::cross_entropy(self.level, logits, targets, weights))
    }

    fn dropout(&self, p: f32, seed: u64, x: &Vec<f32>, out: &mut Vec<f32>) {
        self.pool.install(|| elementwise::dropout(p, seed, x, out));
    }

    fn sum_of_squares(&self, x: &Vec<f32>) -> f64 {
        self.pool.install(|| elementwise::sum_of_squares(x))
    }

    fn adamw(&self, step: AdamwStep, gradient: &Vec<f32>, parameter: &mut Vec<f32>, first: &mut Vec<f32>, second: &mut Vec<f32>) {
        self.pool.install(|| elementwise::adamw(self.level, step, gradient, parameter, first, second));
    }
}
