//! Elementary functions and reductions that the compiler can vectorise, and the macro that compiles them for each instruction set.

/// Compiles a function once for every rung of the ladder of instruction sets; the first argument picks one at run time.
/// The body uses no fused multiply-add, so every rung gives the same bits.
macro_rules! for_each_level {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name(level: $crate::cpu::Level, $($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
            fn avx512($($arg: $type),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) $(-> $ret)? { body($($arg),*) }
            match level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level was found on this machine.
                $crate::cpu::Level::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level was found on this machine.
                $crate::cpu::Level::Avx2 => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use for_each_level;

/// Lanes of every reduction: partial sums by index modulo 16, then added in order. Fixed, so that every level sums alike.
pub(crate) const LANES: usize = 16;

/// `exp(x)` to about two units in the last place: range reduction by ln 2 in two parts, then a polynomial of degree 6 (the coefficients of Cephes' `expf`).
/// Below -87.3 the result is 0, above 88.7 it is clamped.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const TO_INTEGER: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to the nearest integer
    let clamped = x.clamp(-87.3, 88.7);
    let shifted = clamped * std::f32::consts::LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let mantissa = p * r * r + r + 1.0;
    // The integer lies in the low bits of `shifted`: a conversion that saturates, as Rust's does, would be made number by number.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.3 { 0.0 } else { mantissa * scale }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh(x)`, from the exponential.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp(2.0 * x.clamp(-20.0, 20.0));
    (e - 1.0) / (e + 1.0)
}

/// `erf(x)` to about three units in the last place of 1: `x P(x²) / Q(x²)` on ±3.92, beyond which erf is ±1 in f32. The coefficients minimise the largest relative
/// error over that interval (linearised, reweighted least squares in the manner of Lawson 1961, on Chebyshev nodes: 1.9e-8 before rounding).
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const P: [f32; 6] = [std::f32::consts::FRAC_2_SQRT_PI, 0.190_393_91, 0.052_746_87, 3.765_030_8e-3, 2.848_617_4e-4, 2.050_079_3e-6];
    const Q: [f32; 6] = [1.0, 0.502_064_94, 0.114_103_75, 0.014_968_042, 1.162_379_3e-3, 3.809_054e-5];
    let z = x.clamp(-3.92, 3.92);
    let s = z * z;
    let polynomial = |c: &[f32; 6]| ((((c[5] * s + c[4]) * s + c[3]) * s + c[2]) * s + c[1]) * s + c[0];
    (z * polynomial(&P) / polynomial(&Q)).clamp(-1.0, 1.0)
}

/// Sum over `i` of `term(i)`, in [`LANES`] partial sums of f32.
#[inline(always)]
pub(crate) fn sum(len: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = len / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for (lane, partial) in lanes.iter_mut().enumerate() {
            *partial += term(i + lane);
        }
        i += LANES;
    }
    for (lane, i) in (whole..len).enumerate() {
        lanes[lane] += term(i);
    }
    lanes.iter().sum()
}

/// Sum of products of the elements of three slices of one length, as [`sum`] has it, whose checks of every index outweigh so short a term.
#[inline(always)]
pub(crate) fn sum_of_products(x: &[f32], y: &[f32], z: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let ((x, x_rest), (y, y_rest), (z, z_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>(), z.as_chunks::<LANES>());
    for ((x, y), z) in x.iter().zip(y).zip(z) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane] * z[lane];
        }
    }
    for (lane, ((x, y), z)) in x_rest.iter().zip(y_rest).zip(z_rest).enumerate() {
        lanes[lane] += x * y * z;
    }
    lanes.iter().sum()
}

/// Sum of all elements, in the same way.
#[inline(always)]
pub(crate) fn sum_of_slice(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (x, rest) = x.as_chunks::<LANES>();
    for x in x {
        for lane in 0..LANES {
            lanes[lane] += x[lane];
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        lanes[lane] += x;
    }
    lanes.iter().sum()
}

/// Sum of squares, in the same way.
#[inline(always)]
pub(crate) fn sum_of_squares(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (x, rest) = x.as_chunks::<LANES>();
    for x in x {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * x[lane];
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        lanes[lane] += x * x;
    }
    lanes.iter().sum()
}

/// The largest of `values`, or minus infinity when there are none; NaN is passed over.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    for (lane, v) in chunks.remainder().iter().enumerate() {
        lanes[lane] = if *v > lanes[lane] { *v } else { lanes[lane] };
    }
    for chunk in chunks {
        for (largest, v) in lanes.iter_mut().zip(chunk) {
            *largest = if *v > *largest { *v } else { *largest };
        }
    }
    lanes.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a })
}
