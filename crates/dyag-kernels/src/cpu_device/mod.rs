//! The processor as a [`Device`]: own kernels for each instruction set, threads by rayon.

mod attention;
#[cfg(target_arch = "x86_64")]
mod bf16;
mod columns;
mod dots;
mod elementwise;
mod few_rows;
mod int8;
mod loss;
pub(crate) mod math;
mod microkernel;
mod peak;
mod pool;
mod product;
#[cfg(target_arch = "x86_64")]
mod project;
mod project_f32;
mod rows;
#[cfg(test)]
mod tests;
mod trained;
mod transpose;

use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::cpu::{self, Level};
use crate::device::{
    self, Activation, AdamwStep, AttentionGradients, AttentionInputs, AttentionResult, Device, LayerNormWeights, LossSum, LowRank,
    LowRankPair, Matmul, Place, Precision, Projection, ProjectionGradient,
};
use crate::weight::WeightMatrix;

pub use pool::CpuBuffer;

pub(crate) use columns::row_squares;

use few_rows::FewRows;
use pool::Pool;
use rows::{Widened, copy_rows};

/// How a [`CpuDevice`] computes.
#[derive(Clone, Copy, Debug)]
pub struct CpuOptions {
    /// What products with frozen weights round to.
    pub precision: Precision,
    /// Threads; `None`: all processors this process may use.
    pub threads: Option<usize>,
    /// Instruction set; `None`: [`cpu::level`].
    pub level: Option<Level>,
    /// Products of few rows (decoding) with quantised weights round activations to bytes, a scale for 32 of them, whatever the precision.
    pub int8_activations: bool,
}

/// The processor. Buffers are taken from a pool of the device, weights stay in their file's mapping.
#[derive(Debug)]
pub struct CpuDevice {
    threads: ThreadPool,
    memory: Arc<Pool>,
    /// Of the vector instructions.
    level: Level,
    precision: Precision,
    /// What multiplies whole numbers where activations become bytes.
    int8: Option<int8::Kernel>,
    /// What multiplies in bf16; `None`: products are computed in f32, of rounded operands where the precision is bf16.
    #[cfg(target_arch = "x86_64")]
    bf16: Option<bf16::Kind>,
}

#[cfg(target_arch = "x86_64")]
pub(crate) use bf16::{dots_available as bf16_dots_available, tiles_available};

impl CpuDevice {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses them.
    pub fn new(options: CpuOptions) -> Result<Self, ThreadPoolBuildError> {
        let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        let threads = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("dyag-{i}")).build()?;
        let level = options.level.unwrap_or_else(cpu::level);
        let precision = options.precision;
        #[cfg(target_arch = "x86_64")]
        let bf16 = bf16::Kind::of(level).filter(|_| precision == Precision::Bf16);
        Ok(Self {
            threads,
            memory: Arc::default(),
            level: level.vector(),
            precision,
            int8: options.int8_activations.then(|| int8::Kernel::at(level.vector())),
            #[cfg(target_arch = "x86_64")]
            bf16,
        })
    }

    /// The rung whose instructions multiply with frozen weights.
    pub fn product_level(&self) -> Level {
        #[cfg(target_arch = "x86_64")]
        match self.bf16 {
            Some(bf16::Kind::Tiles) => return Level::Amx,
            Some(bf16::Kind::Dots) => return Level::Avx512Bf16,
            None => {}
        }
        self.level
    }

    fn few_rows(&self) -> FewRows {
        FewRows { level: self.level, precision: self.precision, int8: self.int8 }
    }

    /// The numbers of a buffer in f32, copied where they are bf16.
    fn widened<'a>(&self, buffer: &'a CpuBuffer) -> Widened<'a> {
        let Some(halves) = buffer.halves() else { return Widened::Borrowed(buffer) };
        let mut widened = self.scratch(halves.len());
        self.threads.install(|| elementwise::from_halves(self.level, halves, &mut widened));
        Widened::Owned(widened)
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
        let int8 = self
            .int8
            .map_or(String::new(), |kernel| format!(", int8 activations for quantised weights while decoding ({})", kernel.name()));
        format!("cpu {} {precision}{int8}", self.product_level().name())
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

    fn freeze(&self, values: &CpuBuffer, rows: usize, cols: usize) -> WeightMatrix {
        self.threads.install(|| trained::freeze(self.precision, values, rows, cols))
    }

    fn scratch(&self, len: usize) -> CpuBuffer {
        let mut buffer = self.memory.take(len);
        if cfg!(debug_assertions) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    fn scratch_activations(&self, len: usize) -> CpuBuffer {
        #[cfg(target_arch = "x86_64")]
        if self.bf16.is_some() {
            let mut buffer = self.memory.take_narrow(len);
            if cfg!(debug_assertions) {
                buffer.halves_mut().expect("just made so").fill(0x7fc0);
            }
            return buffer;
        }
        self.scratch(len)
    }

    fn activation_bytes(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.bf16.is_some() {
            return 2;
        }
        4
    }

    fn compact(&self, buffer: CpuBuffer) -> CpuBuffer {
        if self.activation_bytes() == 4 || buffer.halves().is_some() {
            return buffer;
        }
        let mut compacted = self.scratch_activations(buffer.n_elements());
        if let Some(halves) = compacted.halves_mut() {
            self.threads.install(|| elementwise::to_halves(self.level, &buffer, halves));
        }
        compacted
    }

    fn expand(&self, buffer: CpuBuffer) -> CpuBuffer {
        let Some(halves) = buffer.halves() else { return buffer };
        let mut expanded = self.scratch(halves.len());
        self.threads.install(|| elementwise::from_halves(self.level, halves, &mut expanded));
        expanded
    }

    fn release_unused(&self) {
        self.memory.release_unused();
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
        match buffer.halves() {
            None => buffer.to_vec(),
            Some(halves) => halves.iter().map(|bits| f32::from_bits(u32::from(*bits) << 16)).collect(),
        }
    }

    fn len(&self, buffer: &CpuBuffer) -> usize {
        buffer.n_elements()
    }

    fn fill_zero(&self, buffer: &mut CpuBuffer) {
        self.threads.install(|| buffer.par_chunks_mut(elementwise::CHUNK).for_each(|part| part.fill(0.0)));
    }

    fn copy_block(&self, from: &CpuBuffer, from_place: Place, to: &mut CpuBuffer, to_place: Place, rows: usize, cols: usize) {
        assert!(from_place.col + cols <= from_place.width && to_place.col + cols <= to_place.width);
        match (from.halves(), to.halves_mut()) {
            (Some(from), Some(to)) => copy_rows(from, from_place, to, to_place, rows, cols),
            _ => copy_rows(from, from_place, to, to_place, rows, cols),
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
        self.threads.install(|| elementwise::add(x, y));
    }

    fn scale(&self, factor: f32, x: &mut CpuBuffer) {
        self.threads.install(|| x.par_chunks_mut(elementwise::CHUNK).for_each(|part| part.iter_mut().for_each(|x| *x *= factor)));
    }

    fn embed(&self, table: &WeightMatrix, ids: &[u32], out: &mut CpuBuffer) {
        assert_eq!(out.len(), ids.len() * table.cols());
        for (row, id) in out.chunks_exact_mut(table.cols()).zip(ids) {
            table.widen_row(*id as usize, 0, row);
            product::round_to(self.precision, row);
        }
    }

    fn rms_norm(&self, x: &CpuBuffer, w: &CpuBuffer, eps: f32, y: &mut CpuBuffer, inv_rms: &mut CpuBuffer) {
        self.threads.install(|| match y.halves_mut() {
            Some(y) => elementwise::rms_norm_narrow(self.level, x, w, eps, y, inv_rms),
            None => elementwise::rms_norm(self.level, x, w, eps, y, inv_rms),
        });
    }

    fn rms_norm_backward(&self, d_y: &CpuBuffer, x: &CpuBuffer, w: &CpuBuffer, inv_rms: &CpuBuffer, d_x: &mut CpuBuffer) {
        self.threads.install(|| elementwise::rms_norm_backward(self.level, d_y, x, w, inv_rms, d_x));
    }

    fn rms_norm_gain_backward(&self, d_y: &CpuBuffer, x: &CpuBuffer, inv_rms: &CpuBuffer, d_w: &mut CpuBuffer) {
        self.threads.install(|| trained::add_gain_gradient(d_y, x, inv_rms, d_w));
    }

    fn weight_backward(&self, d_y: &CpuBuffer, x: &CpuBuffer, rows: usize, d_w: &mut CpuBuffer) {
        let (n, k) = (d_y.n_elements() / rows, x.n_elements() / rows);
        assert_eq!(d_w.len(), n * k);
        let sizes = Matmul { m: n, n: k, k: rows, transpose_a: true, transpose_b: false, alpha: 1.0, beta: 1.0 };
        let (d_y, x) = (self.widened(d_y), self.widened(x));
        self.threads.install(|| self.plain_product(sizes, &d_y, &x, d_w));
    }

    fn bias_backward(&self, d_y: &CpuBuffer, d_b: &mut CpuBuffer) {
        let d_y = self.widened(d_y);
        self.threads.install(|| trained::add_sums(&d_y, d_b));
    }

    fn layer_norm(
        &self,
        x: &CpuBuffer,
        residual: Option<&CpuBuffer>,
        LayerNormWeights { w, b }: LayerNormWeights<'_, CpuBuffer>,
        eps: f32,
        y: &mut CpuBuffer,
    ) {
        self.threads.install(|| elementwise::layer_norm(self.level, x, residual.map(|residual| &**residual), (w, b), eps, y));
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
        self.threads.install(|| {
            #[cfg(target_arch = "x86_64")]
            if let Some(kind) = self.bf16 {
                return self.linear_bf16(kind, w, (x, rows), bias, low_rank, y);
            }
            self.forward_product(w, (x, rows), bias.map(|bias| &**bias), low_rank, y);
        });
    }

    fn linear_few(&self, w: &WeightMatrix, x: &CpuBuffer, rows: usize, bias: Option<&CpuBuffer>, y: &mut CpuBuffer) {
        let part = few_rows::Part { w, bias: bias.map(|bias| &**bias), pair: None, residual: None, y };
        self.threads.install(|| self.few_rows().project(x, rows, &mut [part]));
    }

    fn project_few(&self, x: &CpuBuffer, rows: usize, residual: Option<&CpuBuffer>, mut parts: Vec<Projection<'_, Self>>) {
        self.threads.install(|| {
            for Projection { weight, pair, .. } in &mut parts {
                if let Some((LowRankPair { a, rank, scale, .. }, u)) = pair {
                    few_rows::matmul_few(self.level, Matmul::squeeze(rows, weight.cols(), *rank, *scale), x, a, u);
                }
            }
            let mut few = Vec::with_capacity(parts.len());
            for Projection { weight: w, bias, pair, y } in parts {
                let (bias, residual) = (bias.map(|bias| &**bias), residual.map(|residual| &**residual));
                let pair = pair.map(|(pair, u)| (&**u, &**pair.b, pair.rank));
                few.push(few_rows::Part { w, bias, pair, residual, y });
            }
            self.few_rows().project(x, rows, &mut few);
        });
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
        self.threads.install(|| {
            #[cfg(target_arch = "x86_64")]
            if let Some(kind) = self.bf16 {
                return self.linear_backward_bf16(kind, w, (d_y, rows), low_rank, (d_x, accumulate));
            }
            self.backward_product(w, (d_y, rows), low_rank, d_x, accumulate);
        });
    }

    fn scale_columns(&self, x: &CpuBuffer, factors: &CpuBuffer, bias: Option<&CpuBuffer>, residual: Option<&CpuBuffer>, y: &mut CpuBuffer) {
        let beside = (bias.map(|bias| &**bias), residual.map(|residual| &**residual));
        self.threads.install(|| match (x.halves(), y.halves_mut()) {
            (None, None) => columns::scale(self.level, x, factors, beside, y),
            (Some(x), Some(y)) => columns::scale_narrow(self.level, x, factors, beside, y),
            (None, Some(y)) => columns::scale_to_narrow(self.level, x, factors, beside, y),
            (Some(_), None) => panic!("activations in bf16 are scaled to the same"),
        });
    }

    fn add_column_products(&self, x: &CpuBuffer, y: &CpuBuffer, factors: &CpuBuffer, sums: &mut CpuBuffer) {
        self.threads.install(|| match (x.halves(), y.halves()) {
            (None, None) => columns::sum(self.level, x, y, factors, sums),
            (Some(x), Some(y)) => columns::sum_narrow(self.level, x, y, factors, sums),
            (None, Some(y)) => columns::sum_with_narrow(self.level, x, y, factors, sums),
            (Some(x), None) => columns::sum_with_narrow(self.level, y, x, factors, sums),
        });
    }

    fn row_squares(&self, w: &WeightMatrix, squares: &mut CpuBuffer) {
        self.threads.install(|| row_squares(self.level, w, squares));
    }

    fn adapted_norms(&self, w: &WeightMatrix, squares: &CpuBuffer, pair: LowRankPair<'_, CpuBuffer>, norms: &mut CpuBuffer) {
        self.threads.install(|| self.norms_of_adapted(w, squares, pair, norms));
    }

    fn project(&self, x: &CpuBuffer, rows: usize, residual: Option<&CpuBuffer>, parts: Vec<Projection<'_, Self>>) {
        self.threads.install(|| {
            #[cfg(target_arch = "x86_64")]
            if let Some(kind) = self.bf16 {
                return self.project_bf16(kind, x, rows, residual, parts);
            }
            self.project_f32(x, rows, residual.map(|residual| &**residual), parts);
        });
    }

    #[cfg(target_arch = "x86_64")]
    fn project_backward(&self, x: &CpuBuffer, rows: usize, parts: Vec<ProjectionGradient<'_, Self>>, d_x: Option<(&mut CpuBuffer, bool)>) {
        match self.bf16 {
            Some(kind) => self.threads.install(|| self.project_backward_bf16(kind, x, rows, parts, d_x)),
            None => device::project_backward_one_by_one(self, x, rows, parts, d_x),
        }
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
        self.threads.install(|| match (gate.halves(), up.halves(), out.halves_mut()) {
            (Some(gate), Some(up), Some(out)) => elementwise::gated_narrow(self.level, activation, gate, up, out),
            _ => elementwise::gated(self.level, activation, gate, up, out),
        });
    }

    fn gated_backward(&self, activation: Activation, d_out: &CpuBuffer, gate: &mut CpuBuffer, up: &mut CpuBuffer) {
        self.threads.install(|| match (d_out.halves(), gate.halves_mut(), up.halves_mut()) {
            (Some(d_out), Some(gate), Some(up)) => elementwise::gated_backward_narrow(self.level, activation, d_out, gate, up),
            _ => elementwise::gated_backward(self.level, activation, d_out, gate, up),
        });
    }

    fn activate(&self, activation: Activation, x: &mut CpuBuffer) {
        self.threads.install(|| match x.halves_mut() {
            Some(x) => elementwise::activate_narrow(self.level, activation, x),
            None => elementwise::activate(self.level, activation, x),
        });
    }

    fn cross_entropy(&self, logits: &mut CpuBuffer, targets: &[u32], weights: &[f32], sum: &mut LossSum) {
        self.threads.install(|| loss::cross_entropy(self.level, logits, targets, weights, sum));
    }

    fn dropout(&self, p: f32, seed: u64, x: &CpuBuffer, out: &mut CpuBuffer) {
        self.threads.install(|| elementwise::dropout(p, seed, x, out));
    }

    fn largest(&self, x: &CpuBuffer, width: usize) -> Vec<u32> {
        self.threads.install(|| elementwise::largest(x, width))
    }

    fn sum_of_squares(&self, x: &CpuBuffer) -> f64 {
        self.threads.install(|| elementwise::sum_of_squares(x))
    }

    fn adamw(&self, step: AdamwStep, gradient: &CpuBuffer, parameter: &mut CpuBuffer, first: &mut CpuBuffer, second: &mut CpuBuffer) {
        self.threads.install(|| elementwise::adamw(self.level, step, gradient, parameter, first, second));
    }
}
