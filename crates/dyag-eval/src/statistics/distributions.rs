//! Student's t distribution and the binomial with equal chances, on the special functions of `statrs`.

use statrs::function::beta::beta_reg;
use statrs::function::factorial::ln_factorial;

/// From so many degrees of freedom on, t is the normal distribution to more digits than any use here asks for.
const MAX_DEGREES_OF_FREEDOM: f64 = 1e6;

/// The chance that a t variable with `degrees_of_freedom` is further from 0 than `t`: `I(v / (v + t^2); v/2, 1/2)`, the regularised
/// incomplete beta function (Abramowitz and Stegun 26.7.1).
///
/// # Panics
/// When `t` is NaN or the degrees of freedom are not positive.
pub fn t_two_sided_p(t: f64, degrees_of_freedom: f64) -> f64 {
    assert!(!t.is_nan() && degrees_of_freedom > 0.0, "t = {t} with {degrees_of_freedom} degrees of freedom");
    if t.is_infinite() {
        return 0.0;
    }
    let v = degrees_of_freedom.min(MAX_DEGREES_OF_FREEDOM);
    let squared = t * t;
    if squared < 1.0 {
        // The other end of the same function: v / (v + t^2) would be too close to 1 to hold a small t.
        return 1.0 - beta_reg(0.5, v / 2.0, squared / (v + squared));
    }
    beta_reg(v / 2.0, 0.5, v / (v + squared))
}

/// The value that a t variable stays below with chance `probability`.
///
/// Found by halving an interval of |t| on the logarithm of its tail, down to neighbouring numbers, so its error is that of [`t_two_sided_p`].
///
/// # Panics
/// When `probability` is not inside 0 to 1, or the degrees of freedom are not positive.
pub fn t_quantile(probability: f64, degrees_of_freedom: f64) -> f64 {
    assert!(probability > 0.0 && probability < 1.0, "a quantile at {probability}");
    if probability == 0.5 {
        return 0.0;
    }
    let tail = 2.0 * probability.min(1.0 - probability);
    let (mut low, mut high) = (0.0, 1.0);
    while t_two_sided_p(high, degrees_of_freedom) > tail && high < f64::MAX / 4.0 {
        low = high;
        high *= 2.0;
    }
    // 200 halvings reach neighbouring numbers from any start.
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if t_two_sided_p(middle, degrees_of_freedom) > tail { low = middle } else { high = middle }
    }
    if probability < 0.5 { -high } else { high }
}

/// The chance of at most `k` heads in `n` throws of a fair coin, summed from the largest term down.
pub(crate) fn fair_coin_at_most(k: u64, n: u64) -> f64 {
    if k >= n {
        return 1.0;
    }
    if 2 * k >= n {
        // By symmetry; the other side has the shorter sum.
        return 1.0 - fair_coin_at_most_below_half(n - k - 1, n);
    }
    fair_coin_at_most_below_half(k, n)
}

fn fair_coin_at_most_below_half(k: u64, n: u64) -> f64 {
    let log_first = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) - n as f64 * std::f64::consts::LN_2;
    let (mut sum, mut term) = (1.0, 1.0);
    for i in (1..=k).rev() {
        term *= i as f64 / (n - i + 1) as f64;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    (log_first.exp() * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        // One degree of freedom: Cauchy, quantile(0.75) = 1.
        assert!((t_quantile(0.75, 1.0) - 1.0).abs() < 1e-14);
        assert!((t_two_sided_p(1.0, 1.0) - 0.5).abs() < 1e-14);
        assert!((t_quantile(0.975, 1e9) - 1.959_964).abs() < 1e-5, "the normal distribution");
        assert_eq!(t_quantile(0.5, 3.0), 0.0);
        assert_eq!(t_two_sided_p(f64::INFINITY, 3.0), 0.0);
        assert!((fair_coin_at_most(1, 4) - 5.0 / 16.0).abs() < 1e-15);
        assert!((fair_coin_at_most(2, 4) - 11.0 / 16.0).abs() < 1e-15);
        assert_eq!((fair_coin_at_most(4, 4), fair_coin_at_most(0, 0)), (1.0, 1.0));
        assert!((fair_coin_at_most(500_000, 1_000_001) - 0.5).abs() < 1e-8, "many throws end");
    }

    #[test]
    fn small_values_keep_their_digits() {
        // Close to 0 the tail falls by twice the density at 0, which is 1 / (pi t) for Cauchy and 1 / sqrt(8) at two degrees.
        for t in [1e-12, 1e-8, 1e-4] {
            assert!((1.0 - t_two_sided_p(t, 1.0) - 2.0 * t / std::f64::consts::PI).abs() < 1e-14 + t * t);
            assert!((1.0 - t_two_sided_p(t, 2.0) - t / 2.0_f64.sqrt()).abs() < 1e-14 + t * t);
        }
        let t = t_quantile(0.500_083_736_066_591_6, 432.751_809_422_064_5);
        assert!((t_two_sided_p(t, 432.751_809_422_064_5) - 2.0 * (1.0 - 0.500_083_736_066_591_6)).abs() < 1e-14);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn quantiles_invert_the_tail(probability in 0.001..0.999_f64, close in -1e-3..1e-3_f64, v in 0.5..500.0_f64) {
            for probability in [probability, 0.5 + close] {
                let t = t_quantile(probability, v);
                let tail = t_two_sided_p(t, v);
                prop_assert!((tail - 2.0 * probability.min(1.0 - probability)).abs() < 1e-12, "{}", tail);
                prop_assert!((t + t_quantile(1.0 - probability, v)).abs() < 1e-9 * (1.0 + t.abs()));
            }
        }

        #[test]
        fn both_sides_of_a_coin_add_up(n in 1..400_u64, part in 0.0..1.0_f64) {
            let k = (part * n as f64) as u64;
            let above = if k < n { fair_coin_at_most(n - k - 1, n) } else { 0.0 };
            prop_assert!((fair_coin_at_most(k, n) + above - 1.0).abs() < 1e-12);
        }
    }
}
