//! Scales of small blocks: a search over candidates, each with the scale that fits its integers best (weighted least squares).

/// Chains that sums run in.
const LANES: usize = 8;

/// The nearest whole number, halves to the even one, of a number below 2^22 in size: adding and taking away 1.5 * 2^23 leaves no place for a fraction.
#[inline(always)]
pub(super) fn nearest(x: f32) -> f32 {
    const FRACTIONLESS: f32 = 12_582_912.0;
    (x + FRACTIONLESS) - FRACTIONLESS
}

/// `1 / x`, or 0 where that is no number to multiply with.
#[inline(always)]
pub(super) fn inverse(x: f32) -> f32 {
    let inverse = 1.0 / x;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The place and the value of the element largest in size; the first of several.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> (usize, f32) {
    let mut best = (0, 0.0f32);
    for (i, value) in x.iter().enumerate() {
        if value.abs() > best.1.abs() {
            best = (i, *value);
        }
    }
    best
}

/// `sum(term(i))` over `0..N`, in [`LANES`] chains folded by halves.
#[inline(always)]
fn sum<const N: usize>(term: impl Fn(usize) -> f32) -> f32 {
    let mut chains = [0.0f32; LANES];
    for from in (0..N).step_by(LANES) {
        for (lane, chain) in chains.iter_mut().enumerate() {
            *chain += term(from + lane);
        }
    }
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            chains[i] += chains[i + n];
        }
        n /= 2;
    }
    chains[0]
}

/// `sum(w * (stored(x) - x)²)`.
#[inline(always)]
pub(super) fn weighted_error<const N: usize>(x: &[f32; N], w: &[f32; N], stored: impl Fn(f32) -> f32) -> f32 {
    sum::<N>(|i| {
        let off = stored(x[i]) - x[i];
        w[i] * off * off
    })
}

/// The scale `d` for which `d * q`, with whole numbers `q` from `-levels` to `levels - 1`, comes nearest to `x`, large elements counting more (weights `x²`);
/// 0 where all elements are next to nothing. Candidates let the largest element become a little less or more than `-levels`.
#[inline(always)]
pub(super) fn symmetric_scale<const N: usize>(x: &[f32; N], levels: f32) -> f32 {
    let (_, extreme) = largest(x);
    if extreme.abs() < 1e-15 {
        return 0.0;
    }
    let (mut best_scale, mut best_merit) = (0.0, -1.0);
    for step in -9i8..=9 {
        let to_levels = -(levels + 0.1 * f32::from(step)) / extreme;
        let mut q = [0.0f32; N];
        for (q, x) in q.iter_mut().zip(x) {
            *q = nearest(to_levels * x).clamp(-levels, levels - 1.0);
        }
        let along = sum::<N>(|i| x[i] * x[i] * x[i] * q[i]);
        let square = sum::<N>(|i| x[i] * x[i] * q[i] * q[i]);
        // The weighted error with the best scale is sum(x⁴) - along² / square.
        if square > 0.0 && along * along > best_merit * square {
            best_scale = along / square;
            best_merit = along * best_scale;
        }
    }
    best_scale
}

/// Candidates of [`affine`].
pub(super) struct Search {
    /// Largest whole number.
    pub(super) levels: f32,
    /// What the first candidate adds to `levels` for the range of the block.
    pub(super) first: f32,
    /// Candidates, a tenth of a level apart.
    pub(super) n: u8,
}

/// Scale `d` and minimum `m`, neither negative, for which `d * q - m`, with whole numbers `q` from 0 to `search.levels`, comes nearest to `x` under the
/// weights `w`.
#[inline(always)]
pub(super) fn affine<const N: usize>(x: &[f32; N], w: &[f32; N], search: &Search) -> (f32, f32) {
    let low = x.iter().copied().fold(0.0, f32::min);
    let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = high - low;
    // A block of one number needs no scale; so does one whose range is too small to divide by.
    if range <= 0.0 || inverse(range) == 0.0 {
        return (0.0, -low);
    }
    let (w_sum, wx_sum) = (sum::<N>(|i| w[i]), sum::<N>(|i| w[i] * x[i]));
    let mut best = (range / search.levels, low);
    let mut best_error = f32::INFINITY;
    let around = (0..=search.n).map(|step| search.levels + search.first + 0.1 * f32::from(step));
    for levels in std::iter::once(search.levels).chain(around) {
        let to_levels = levels / range;
        let mut q = [0.0f32; N];
        for (q, x) in q.iter_mut().zip(x) {
            *q = nearest(to_levels * (x - low)).clamp(0.0, search.levels);
        }
        let wq_sum = sum::<N>(|i| w[i] * q[i]);
        let wqq_sum = sum::<N>(|i| w[i] * q[i] * q[i]);
        let wqx_sum = sum::<N>(|i| w[i] * q[i] * x[i]);
        let determinant = w_sum * wqq_sum - wq_sum * wq_sum;
        if determinant <= 0.0 {
            continue;
        }
        let mut scale = (w_sum * wqx_sum - wx_sum * wq_sum) / determinant;
        let mut offset = (wqq_sum * wx_sum - wq_sum * wqx_sum) / determinant;
        if offset > 0.0 {
            (scale, offset) = (wqx_sum / wqq_sum, 0.0);
        }
        let error = sum::<N>(|i| {
            let off = scale * q[i] + offset - x[i];
            w[i] * off * off
        });
        if error < best_error && scale >= 0.0 {
            best_error = error;
            best = (scale, offset);
        }
    }
    (best.0, -best.1)
}
