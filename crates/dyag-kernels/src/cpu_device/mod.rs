//! The processor as a [`Device`]: own kernels for each instruction set, threads by rayon.

mod attention;
mod dots;
mod elementwise;
mod few_rows;
mod loss;
pub(crate) mod math;
mod microkernel;
mod peak;
mod pool;
mod product;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod transpose;

use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::cpu::{self, Level};
use crate::device::{
    Activation, AdamwStep, AttentionGradients, AttentionInputs, AttentionResult, Device, LossSum, LowRank, Matmul, Place, Precision,
};
use crate::weight::WeightMatrix;

pub use pool::CpuBuffer;

use pool::Pool;

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

/// The processor. Buffers are taken from a pool of the device, weights stay in their file's mapping.
#[derive(Debug)]
pub struct CpuDevice {
    threads: ThreadPool,
    memory: Arc<Pool>,
    /// Of the vector instructions.
    level: Level,
    precision: Precision,
    /// Products with frozen weights go through the matrix unit.
    tiles: bool,
}

/// Whether the matrix unit can be used. Asks the system for it, once.
#[cfg(target_arch = "x86_64")]
pub(crate) fn tiles_available() -> bool {
    tiles::available()
}

impl CpuDevice {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses them.
    pub fn new(options: CpuOptions) -> Result<Self, ThreadPoolBuildError> {
        let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        let threads = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("dyag-{i}")).build()?;
        let level = options.level.unwrap_or_else(cpu::level);
        let tiles = level == Level::Amx && options.precision == Precision::Bf16;
        Ok(Self { threads, memory: Arc::default(), level: level.vector(), precision: options.precision, tiles })
    }

    /// Whether products with frozen weights go through the matrix unit.
    pub fn uses_tiles(&self) -> bool {
        self.tiles
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }
}

impl Device for CpuDevice {
    type Buffer = CpuBuffer;
    type Weight = WeightMatrix;

    fn describe(&self) -> String {
        let precision = match self.precision {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16 operands, f32 sums",
        };
        let level = if self.tiles { Level::Amx } else { self.level };
        format!("cpu {} {precision}", level.name())
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        // On a thread of the pool an operation begins without waking another.
        self.threads.install(work)
    }

    fn load_weight(&self, weight: &WeightMatrix) -> WeightMatrix {
        weight.clone()
    }

    fn scratch(&self, len: usize) -> CpuBuffer {
        let mut buffer = self.memory.take(len);
        if cfg!(debug_assertions) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    fn zeros(&self, len: usize) -> CpuBuffer {
        let mut buffer = self.memory.take(len);
        self.fill_zero(&mut buffer);
        buffer
    }

    fn upload(&self, values: &[f32]) -> CpuBuffer {
        let mut buffer = self.memory.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    fn download(&self, buffer: &CpuBuffer) -> Vec<f32> {
        buffer.to_vec()
    }

    fn len(&self, buffer: &CpuBuffer) -> usize {
        buffer.len()
    }

    fn fill_zero(&self, buffer: &mut CpuBuffer) {
        self.threads.install(|| buffer.par_chunks_mut(elementwise::CHUNK).for_each(|part| part.fill(0.0)));
    }

    fn copy_block(&self, from: &CpuBuffer, from_place: Place, to: &mut CpuBuffer, to_place: Place, rows: usize, cols: usize) {
        assert!(from_place.col + cols <= from_place.width && to_place.col + cols <= to_place.width);
        for i in 0..rows {
            let source = (from_place.row + i) * from_place.width + from_place.col;
            let target = (to_place.row + i) * to_place.width + to_place.col;
            to[target..target + cols].copy_from_slice(&from[source..source + cols]);
        }
    }

    fn gather_rows(&self, from: &CpuBuffer, rows: &[usize], width: usize, to: &mut CpuBuffer) {
        assert_eq!(to.len(), rows.len() * width);
        for (to, row) in to.chunks_exact_mut(width).zip(rows) {
            to.copy_from_slice(&from[row * width..(row + 1) * width]);
        }
    }

    fn scatter_add_rows(&self, from: &CpuBuffer, rows: &[usize], width: usize, to: &mut CpuBuffer) {
        assert_eq!(from.len(), rows.len() * width);
        for (from, row) in from.chunks_exact(width).zip(rows) {
            to[row * width..(row + 1) * width].iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }

    fn add(&self, x: &mut CpuBuffer, y: &CpuBuffer) {
        assert_eq!(x.len(), y.len());
        self.threads.install(|| {
            x.par_chunks_mut(elementwise::CHUNK).zip(y.par_chunks(elementwise::CHUNK)).for_each(|(x, y)| {
                x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
            });
        });
    }

    fn embed(&self, table: &WeightMatrix, ids: &[u32], out: &mut CpuBuffer) {
        assert_eq!(out.len(), ids.len() * table.cols());
        for (row, id) in out.chunks_exact_mut(table.cols()).zip(ids) {
            table.widen_row(*id as usize, 0, row);
            product::round_to(self.precision, row);
        }
    }

    fn rms_norm(&self, x: &CpuBuffer, w: &CpuBuffer, eps: f32, y: &mut CpuBuffer, inv_rms: &mut CpuBuffer) {
        self.threads.install(|| elementwise::rms_norm(self.level, x, w, eps, y, inv_rms));
    }

    fn rms_norm_backward(&self, d_y: &CpuBuffer, x: &CpuBuffer, w: &CpuBuffer, inv_rms: &CpuBuffer, d_x: &mut CpuBuffer) {
        self.threads.install(|| elementwise::rms_norm_backward(self.level, d_y, x, w, inv_rms, d_x));
    }

    fn linear(
        &self,
        w: &WeightMatrix,
        x: &CpuBuffer,
        rows: usize,
        bias: Option<&CpuBuffer>,
        low_rank: Option<LowRank<'_, CpuBuffer>>,
        y: &mut CpuBuffer,
    ) {
        self.threads.install(|| self.forward_product(w, (x, rows), bias.map(|bias| &**bias), low_rank, y));
    }

    fn linear_few(&self, w: &WeightMatrix, x: &CpuBuffer, rows: usize, bias: Option<&CpuBuffer>, y: &mut CpuBuffer) {
        self.threads.install(|| few_rows::linear_few(self.level, self.precision, w, x, rows, bias.map(|bias| &**bias), y));
    }

    fn linear_backward(
        &self,
        w: &WeightMatrix,
        d_y: &CpuBuffer,
        rows: usize,
        low_rank: Option<LowRank<'_, CpuBuffer>>,
        d_x: &mut CpuBuffer,
        accumulate: bool,
    ) {
        self.threads.install(|| self.backward_product(w, (d_y, rows), low_rank, d_x, accumulate));
    }

    fn matmul(&self, sizes: Matmul, a: &CpuBuffer, b: &CpuBuffer, c: &mut CpuBuffer) {
        self.threads.install(|| self.plain_product(sizes, a, b, c));
    }

    fn matmul_few(&self, sizes: Matmul, x: &CpuBuffer, w: &CpuBuffer, y: &mut CpuBuffer) {
        self.threads.install(|| few_rows::matmul_few(self.level, sizes, x, w, y));
    }

    fn rope(&self, x: &mut CpuBuffer, n_heads: usize, head_size: usize, cos: &CpuBuffer, sin: &CpuBuffer, inverse: bool) {
        self.threads.install(|| elementwise::rope(self.level, x, n_heads, head_size, cos, sin, inverse));
    }

    fn attention(&self, inputs: &AttentionInputs<'_, CpuBuffer>, out: &mut CpuBuffer, log_sum_exp: &mut CpuBuffer) {
        self.threads.install(|| attention::attention(self.level, inputs, out, log_sum_exp));
    }

    fn attention_backward(
        &self,
        inputs: &AttentionInputs<'_, CpuBuffer>,
        result: &AttentionResult<'_, CpuBuffer>,
        gradients: AttentionGradients<'_, CpuBuffer>,
    ) {
        self.threads.install(|| attention::attention_backward(self.level, &self.memory, inputs, result, gradients));
    }

    fn gated(&self, activation: Activation, gate: &CpuBuffer, up: &CpuBuffer, out: &mut CpuBuffer) {
        self.threads.install(|| elementwise::gated(self.level, activation, gate, up, out));
    }

    fn gated_backward(&self, activation: Activation, d_out: &CpuBuffer, gate: &mut CpuBuffer, up: &mut CpuBuffer) {
        self.threads.install(|| elementwise::gated_backward(self.level, activation, d_out, gate, up));
    }

    fn cross_entropy(&self, logits: &mut CpuBuffer, targets: &[u32], weights: &[f32]) -> LossSum {
        self.threads.install(|| loss::cross_entropy(self.level, logits, targets, weights))
    }

    fn dropout(&self, p: f32, seed: u64, x: &CpuBuffer, out: &mut CpuBuffer) {
        self.threads.install(|| elementwise::dropout(p, seed, x, out));
    }

    fn sum_of_squares(&self, x: &CpuBuffer) -> f64 {
        self.threads.install(|| elementwise::sum_of_squares(x))
    }

    fn adamw(&self, step: AdamwStep, gradient: &CpuBuffer, parameter: &mut CpuBuffer, first: &mut CpuBuffer, second: &mut CpuBuffer) {
        self.threads.install(|| elementwise::adamw(self.level, step, gradient, parameter, first, second));
    }
}
