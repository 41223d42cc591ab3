//! The narrow interface between the decoder, the encoder and whatever does the arithmetic.
//!
//! Every operation works on dense row-major f32 buffers of one device. The models are written against this trait alone, so a device is added
//! by writing these operations, and [`crate::reference::ReferenceDevice`] (plain loops, f64 sums) is the oracle each of them is tested against.

mod one_by_one;

use std::ops::Range;

use crate::weight::WeightMatrix;

pub use one_by_one::{project_backward_one_by_one, project_few_one_by_one, project_one_by_one};

/// What the operands of products with frozen weights are rounded to. Sums, norms, softmax, adapters and the loss are f32 or wider in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Operands stay f32 (weights are widened).
    F32,
    /// Activations and weights are rounded to bf16, nearest even, and summed in f32.
    Bf16,
}

/// Queries and the keys they see, as rows of the buffers given to [`Device::attention`].
///
/// Where attention is causal, query `i` of `queries` sees all of `prefix`, then the first `own.len() - queries.len() + i + 1` rows of `own`; else it sees all of both. A training segment has
/// `own == queries`; a decoding step has one query at the end of `own`; examples that share their first tokens have them as `prefix`.
/// Key positions run on from `prefix` to `own`, which is what a sliding window counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionSpan {
    /// Rows of q and of the output.
    pub queries: Range<usize>,
    /// Rows of k and v that all queries see; may be empty.
    pub prefix: Range<usize>,
    /// Rows of k and v that follow, the last of them those of the queries; at least as many as `queries`.
    pub own: Range<usize>,
}

/// Sizes of an attention operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// H, query heads.
    pub n_heads: usize,
    /// G, key/value heads; divides H.
    pub n_kv_heads: usize,
    /// D, channels a head.
    pub head_size: usize,
    /// What scores are multiplied with, usually `1 / sqrt(D)`.
    pub scale: f32,
    /// A query at position p sees keys at positions above `p - window`; `None`: all. Of causal attention alone.
    pub window: Option<usize>,
    /// Whether a query sees no key after its own position (a decoder), or all keys of its span (an encoder).
    pub causal: bool,
}

/// A general product of f32 buffers, `c = alpha * op(a) op(b) + beta * c`, with `op(a)` `[m, k]`, `op(b)` `[k, n]` and `c` `[m, n]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matmul {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// `a` lies as `[k, m]`.
    pub transpose_a: bool,
    /// `b` lies as `[n, k]`.
    pub transpose_b: bool,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of what `c` held; at 0 the old content is not read.
    pub beta: f32,
}

impl Matmul {
    /// `u = scale x Aᵀ` of a low-rank pair, `x` `[rows, n_in]`.
    pub fn squeeze(rows: usize, n_in: usize, rank: usize, scale: f32) -> Self {
        Self { m: rows, n: rank, k: n_in, transpose_a: false, transpose_b: true, alpha: scale, beta: 0.0 }
    }
}

/// A term `u v` of low rank beside a product with a frozen matrix; in f32 whatever the precision.
#[derive(Debug)]
pub struct LowRank<'a, B> {
    /// `[T, R]`.
    pub u: &'a B,
    /// The other factor: `[out, R]` for [`Device::linear`], `[R, in]` for [`Device::linear_backward`].
    pub v: &'a B,
    /// R.
    pub rank: usize,
}

/// A low-rank pair beside a frozen matrix (Hu et al. 2021): `u = scale x Aᵀ`, and `u Bᵀ` is added to the matrix's product.
#[derive(Debug)]
pub struct LowRankPair<'a, B> {
    /// A `[R, in]`.
    pub a: &'a B,
    /// B `[out, R]`.
    pub b: &'a B,
    /// R.
    pub rank: usize,
    /// What `x Aᵀ` is multiplied with.
    pub scale: f32,
}

impl<B> Clone for LowRankPair<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for LowRankPair<'_, B> {}

/// One of several projections that read the same input: see [`Device::project`].
pub struct Projection<'a, D: Device + ?Sized> {
    /// `[out, in]`.
    pub weight: &'a D::Weight,
    /// `[out]`.
    pub bias: Option<&'a D::Buffer>,
    /// A pair, and the buffer `[T, R]` that gets its `u`.
    pub pair: Option<(LowRankPair<'a, D::Buffer>, &'a mut D::Buffer)>,
    /// `[T, out]`.
    pub y: &'a mut D::Buffer,
}

/// The way back through one of several projections that read the same input: see [`Device::project_backward`].
pub struct ProjectionGradient<'a, D: Device + ?Sized> {
    /// `[out, in]`.
    pub weight: &'a D::Weight,
    /// `[T, out]`.
    pub d_y: &'a D::Buffer,
    /// The pair that acted.
    pub pair: Option<PairGradient<'a, D::Buffer>>,
}

/// A pair on the way back.
pub struct PairGradient<'a, B> {
    /// The pair.
    pub pair: LowRankPair<'a, B>,
    /// What the forward gave `[T, R]`.
    pub u: &'a B,
    /// Gradient of A, added to.
    pub d_a: &'a mut B,
    /// Gradient of B, added to.
    pub d_b: &'a mut B,
}

/// Where a rectangle lies in a row-major buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First row.
    pub row: usize,
    /// First column.
    pub col: usize,
    /// Columns of the whole buffer.
    pub width: usize,
}

/// The activation function of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `x * Φ(x)` with the normal distribution function `Φ(x) = (1 + erf(x / √2)) / 2` (Hendrycks & Gimpel 2016).
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

/// One AdamW update's constants (Loshchilov & Hutter 2019, as in PyTorch).
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct AdamwStep {
    pub learning_rate: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
    /// Number of this update, from 1: the bias corrections are `1 - beta^t`.
    pub t: u32,
    /// What the gradient is multiplied with first (one over the number of tokens, and the clip).
    pub gradient_scale: f32,
}

/// What the loss of some rows came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossSum {
    /// Sum of the weighted negative log-likelihoods, in nats.
    pub loss_sum_nats: f64,
    /// Sum of the weights.
    pub n_tokens: f64,
    /// Weighted number of rows whose largest logit is the target's.
    pub n_correct: f64,
}

impl std::ops::AddAssign for LossSum {
    fn add_assign(&mut self, other: Self) {
        self.loss_sum_nats += other.loss_sum_nats;
        self.n_tokens += other.n_tokens;
        self.n_correct += other.n_correct;
    }
}

/// Operations over device buffers. Sizes that do not agree are bugs of the caller: implementations assert.
///
/// Every operation gives the same bits for any number of threads, and a row's result does not depend on the rows beside it.
pub trait Device: Send + Sync {
    /// Dense f32 storage on the device.
    type Buffer: Send + Sync;
    /// A frozen matrix where the device can use it.
    type Weight: Send + Sync;

    /// The kernels in use, for people and manifests, such as `cpu avx512 f32`.
    fn describe(&self) -> String;

    /// What products with frozen weights round to.
    fn precision(&self) -> Precision;

    /// Calls `work`, which starts many operations, from where starting them is cheapest.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// Makes a frozen matrix usable.
    fn load_weight(&self, weight: &WeightMatrix) -> Self::Weight;

    /// A frozen matrix `[rows, cols]` of values that were computed, as products read it: rounded where they round it.
    fn freeze(&self, values: &Self::Buffer, rows: usize, cols: usize) -> Self::Weight;

    /// A buffer of `len` elements for a result that is written whole before it is read: what it holds until then is not said.
    fn scratch(&self, len: usize) -> Self::Buffer;

    /// As [`Device::scratch`], for activations that products read: a device that rounds them to bf16 there may keep them so. Only what is said to take them takes them:
    /// `copy_block`, `rms_norm` (as its result), `gated`, `gated_backward`, `scale_columns`, `add_column_products`, `project` and `project_backward`.
    fn scratch_activations(&self, len: usize) -> Self::Buffer {
        self.scratch(len)
    }

    /// Bytes of an element of [`Device::scratch_activations`].
    fn activation_bytes(&self) -> usize {
        4
    }

    /// The same numbers as an activation is kept: rounded where [`Device::scratch_activations`] rounds, else as they are.
    fn compact(&self, buffer: Self::Buffer) -> Self::Buffer {
        buffer
    }

    /// The reverse of [`Device::compact`]: f32 for every operation.
    fn expand(&self, buffer: Self::Buffer) -> Self::Buffer {
        buffer
    }

    /// Gives memory that no buffer uses back to the system.
    fn release_unused(&self) {}

    /// A buffer of `len` zeros.
    fn zeros(&self, len: usize) -> Self::Buffer;

    /// A copy of `values` on the device.
    fn upload(&self, values: &[f32]) -> Self::Buffer;

    /// A copy of the buffer's content.
    fn download(&self, buffer: &Self::Buffer) -> Vec<f32>;

    /// Elements of the buffer.
    fn len(&self, buffer: &Self::Buffer) -> usize;

    /// Sets every element to zero.
    fn fill_zero(&self, buffer: &mut Self::Buffer);

    /// Copies a `[rows, cols]` rectangle from one buffer into another.
    fn copy_block(&self, from: &Self::Buffer, from_place: Place, to: &mut Self::Buffer, to_place: Place, rows: usize, cols: usize);

    /// `to[i, :] = from[rows[i], :]` over rows of `width`.
    fn gather_rows(&self, from: &Self::Buffer, rows: &[usize], width: usize, to: &mut Self::Buffer);

    /// `to[rows[i], :] += from[i, :]`, in the order of `i`.
    fn scatter_add_rows(&self, from: &Self::Buffer, rows: &[usize], width: usize, to: &mut Self::Buffer);

    /// `x += y`.
    fn add(&self, x: &mut Self::Buffer, y: &Self::Buffer);

    /// `x *= factor`.
    fn scale(&self, factor: f32, x: &mut Self::Buffer);

    /// `out[i, :] = table[ids[i], :]`.
    fn embed(&self, table: &Self::Weight, ids: &[u32], out: &mut Self::Buffer);

    /// RMSNorm (Zhang & Sennrich 2019): `y = w * x * r` with `r = 1 / sqrt(mean(x²) + eps)` of each row; `r` is kept in `inv_rms` `[T]`.
    fn rms_norm(&self, x: &Self::Buffer, w: &Self::Buffer, eps: f32, y: &mut Self::Buffer, inv_rms: &mut Self::Buffer);

    /// `d_x += r * (w*d_y - x * r² * mean(x * w * d_y))`; the weight is frozen.
    fn rms_norm_backward(&self, d_y: &Self::Buffer, x: &Self::Buffer, w: &Self::Buffer, inv_rms: &Self::Buffer, d_x: &mut Self::Buffer);

    /// The gain's gradient of [`Device::rms_norm`]: `d_w += Σ_t d_y * x * r`.
    fn rms_norm_gain_backward(&self, d_y: &Self::Buffer, x: &Self::Buffer, inv_rms: &Self::Buffer, d_w: &mut Self::Buffer);

    /// A matrix' gradient where it is trained itself: `d_w += d_yᵀ x` `[out, in]`, in f32. Takes activations.
    fn weight_backward(&self, d_y: &Self::Buffer, x: &Self::Buffer, rows: usize, d_w: &mut Self::Buffer);

    /// A bias' gradient: `d_b += Σ_t d_y`. Takes activations.
    fn bias_backward(&self, d_y: &Self::Buffer, d_b: &mut Self::Buffer);

    /// LayerNorm (Ba et al. 2016) of `x`, or of `x + residual`: `y = w * (x - mean) / sqrt(variance + eps) + b` over each row of `w.len()` channels, the variance being
    /// the mean square of `x - mean`.
    fn layer_norm(
        &self,
        x: &Self::Buffer,
        residual: Option<&Self::Buffer>,
        affine: LayerNormWeights<'_, Self::Buffer>,
        eps: f32,
        y: &mut Self::Buffer,
    );

    /// `y = x Wᵀ (+ bias) (+ u vᵀ)` for `rows` rows.
    fn linear(
        &self,
        w: &Self::Weight,
        x: &Self::Buffer,
        rows: usize,
        bias: Option<&Self::Buffer>,
        low_rank: Option<LowRank<'_, Self::Buffer>>,
        y: &mut Self::Buffer,
    );

    /// `y = x Wᵀ (+ bias)` as [`Device::linear`] has it, for the few rows of a decoding step: reads each weight once and packs nothing. A separate operation, not a choice by
    /// the number of rows, so that a row's bits do not depend on how many there are.
    fn linear_few(&self, w: &Self::Weight, x: &Self::Buffer, rows: usize, bias: Option<&Self::Buffer>, y: &mut Self::Buffer);

    /// `d_x = d_y W (+ u v)`, or `d_x += d_y W (+ u v)` when `accumulate`. The frozen weight gets no gradient.
    fn linear_backward(
        &self,
        w: &Self::Weight,
        d_y: &Self::Buffer,
        rows: usize,
        low_rank: Option<LowRank<'_, Self::Buffer>>,
        d_x: &mut Self::Buffer,
        accumulate: bool,
    );

    /// `y = x Wᵀ (+ bias) + u Bᵀ (+ residual)` with `u = scale x Aᵀ`, for all `parts`, which read the same x `[rows, in]`. `residual` has the size of every `y`.
    fn project(&self, x: &Self::Buffer, rows: usize, residual: Option<&Self::Buffer>, parts: Vec<Projection<'_, Self>>) {
        project_one_by_one(self, x, rows, residual, parts);
    }

    /// [`Device::project`] for the few rows of a decoding step: what [`Device::linear_few`] is to [`Device::linear`].
    fn project_few(&self, x: &Self::Buffer, rows: usize, residual: Option<&Self::Buffer>, parts: Vec<Projection<'_, Self>>) {
        project_few_one_by_one(self, x, rows, residual, parts);
    }

    /// The way back through [`Device::project`]: adds the gradients of the pairs, and gives `d_x = sum of d_y W + d_u A` with `d_u = scale d_y B`, overwritten or,
    /// with its flag set, added to. Frozen weights get no gradient.
    fn project_backward(
        &self,
        x: &Self::Buffer,
        rows: usize,
        parts: Vec<ProjectionGradient<'_, Self>>,
        d_x: Option<(&mut Self::Buffer, bool)>,
    ) {
        project_backward_one_by_one(self, x, rows, parts, d_x);
    }

    /// `y = factors * x (+ bias) (+ residual)` over rows of `factors.len()` columns: what a weight-decomposed adapter (Liu et al. 2024) makes of a product.
    /// `x` and `y` may be activations, or `y` alone.
    fn scale_columns(
        &self,
        x: &Self::Buffer,
        factors: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        residual: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    );

    /// `sums[j] += factors[j] * Σ_t x[t, j] y[t, j]`, in f64 within a call: the gradient of what columns were multiplied with. `x` and `y` may be activations.
    fn add_column_products(&self, x: &Self::Buffer, y: &Self::Buffer, factors: &Self::Buffer, sums: &mut Self::Buffer);

    /// `squares[j] = ‖w[j]‖²` of the rows as they lie, never rounded, summed in f64.
    fn row_squares(&self, w: &Self::Weight, squares: &mut Self::Buffer);

    /// `norms[j] = ‖w[j] + scale b[j] A‖` `[out]` of a frozen matrix and a pair beside it, whose operands are never rounded; `squares` as [`Device::row_squares`] gave them.
    fn adapted_norms(&self, w: &Self::Weight, squares: &Self::Buffer, pair: LowRankPair<'_, Self::Buffer>, norms: &mut Self::Buffer);

    /// A product of plain buffers, in f32: what adapters are made of.
    fn matmul(&self, sizes: Matmul, a: &Self::Buffer, b: &Self::Buffer, c: &mut Self::Buffer);

    /// `y = beta * y + alpha * x wᵀ` for few rows of x `[rows, k]` and w `[n, k]`, in f32: an adapter's part of a decoding step. What [`Device::linear_few`]
    /// is to [`Device::linear`].
    fn matmul_few(&self, sizes: Matmul, x: &Self::Buffer, w: &Self::Buffer, y: &mut Self::Buffer);

    /// Rotary embedding (Su et al. 2021, halves paired as in GPT-NeoX) of `[T, n_heads, D]` in place. `cos` and `sin` are `[T, rotary/2]`; channels past
    /// `rotary` stay. `inverse` rotates back, which is the backward.
    fn rope(&self, x: &mut Self::Buffer, n_heads: usize, head_size: usize, cos: &Self::Buffer, sin: &Self::Buffer, inverse: bool);

    /// Softmax attention, causal or not, of q `[T, H, D]` over k, v `[S, G, D]` by spans; `log_sum_exp` `[T, H]` is kept for the backward.
    /// Rows of `out` in no span are left as they are.
    fn attention(&self, inputs: &AttentionInputs<'_, Self::Buffer>, out: &mut Self::Buffer, log_sum_exp: &mut Self::Buffer);

    /// Gradients of [`Device::attention`] with the same inputs.
    fn attention_backward(
        &self,
        inputs: &AttentionInputs<'_, Self::Buffer>,
        result: &AttentionResult<'_, Self::Buffer>,
        gradients: AttentionGradients<'_, Self::Buffer>,
    );

    /// `out = activation(gate) * up`.
    fn gated(&self, activation: Activation, gate: &Self::Buffer, up: &Self::Buffer, out: &mut Self::Buffer);

    /// Gradients of [`Device::gated`] written over `gate` and `up`.
    fn gated_backward(&self, activation: Activation, d_out: &Self::Buffer, gate: &mut Self::Buffer, up: &mut Self::Buffer);

    /// `x = activation(x)`: a feed-forward block without a gate.
    fn activate(&self, activation: Activation, x: &mut Self::Buffer);

    /// Softmax cross-entropy of logits `[rows, V]` against `targets`, each row weighted and added to `sum` in order; the logits are replaced by their gradient
    /// of the weighted sum.
    fn cross_entropy(&self, logits: &mut Self::Buffer, targets: &[u32], weights: &[f32], sum: &mut LossSum);

    /// Inverted dropout: `out[i] = x[i] / (1 - p)` or 0, decided by a counter-based generator from `seed` and `i`, so the backward repeats it.
    fn dropout(&self, p: f32, seed: u64, x: &Self::Buffer, out: &mut Self::Buffer);

    /// The place of the largest value of each row of `x` `[rows, width]`, the first of equal ones. NaN never is the largest; 0 in a row without another value above negative
    /// infinity.
    fn largest(&self, x: &Self::Buffer, width: usize) -> Vec<u32>;

    /// Sum of squares, in f64.
    fn sum_of_squares(&self, x: &Self::Buffer) -> f64;

    /// One AdamW update of `parameter` and its moments.
    fn adamw(
        &self,
        step: AdamwStep,
        gradient: &Self::Buffer,
        parameter: &mut Self::Buffer,
        first: &mut Self::Buffer,
        second: &mut Self::Buffer,
    );
}

/// Gain and shift of a LayerNorm, `[C]` each.
#[derive(Debug)]
pub struct LayerNormWeights<'a, B> {
    /// The gain.
    pub w: &'a B,
    /// The shift.
    pub b: &'a B,
}

impl<B> Clone for LayerNormWeights<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for LayerNormWeights<'_, B> {}

/// What attention works on.
#[derive(Debug)]
pub struct AttentionInputs<'a, B> {
    /// Sizes.
    pub shape: AttentionShape,
    /// Who attends to whom.
    pub spans: &'a [AttentionSpan],
    /// Queries `[T, H, D]`, rotated where the model has rope.
    pub q: &'a B,
    /// Keys `[S, G, D]`, rotated likewise.
    pub k: &'a B,
    /// Values `[S, G, D]`.
    pub v: &'a B,
}

/// What attention's forward pass gave, and the gradient that came back for it.
#[derive(Debug)]
pub struct AttentionResult<'a, B> {
    /// The output `[T, H, D]`.
    pub out: &'a B,
    /// Log of the sum of exponentials of each row of scores `[T, H]`.
    pub log_sum_exp: &'a B,
    /// Gradient of the output `[T, H, D]`.
    pub d_out: &'a B,
}

/// Where attention's gradients go: `q` is overwritten; `k` and `v` are added to, so that a shared prefix gathers from all its users.
#[derive(Debug)]
pub struct AttentionGradients<'a, B> {
    /// Gradient of the queries `[T, H, D]`.
    pub q: &'a mut B,
    /// Gradient of the keys `[S, G, D]`.
    pub k: &'a mut B,
    /// Gradient of the values `[S, G, D]`.
    pub v: &'a mut B,
}
