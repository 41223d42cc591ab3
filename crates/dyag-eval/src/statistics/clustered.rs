//! The mean of paired differences, with an interval that knows which questions belong to one document.

use std::collections::HashMap;
use std::hash::Hash;

use serde::Serialize;

use super::distributions::{t_quantile, t_two_sided_p};

/// The chance of finding a difference at which the smallest detectable one is stated.
const POWER: f64 = 0.8;

/// Below this share of the largest difference, a standard error is rounding.
const ROUNDING: f64 = 1e-12;

/// Which observations belong together: questions about one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    of: Vec<usize>,
    sizes: Vec<usize>,
}

impl Clusters {
    /// Observations with equal labels belong together; clusters are numbered as their labels first occur.
    pub fn new<L: Hash + Eq>(labels: impl IntoIterator<Item = L>) -> Self {
        let mut numbers = HashMap::new();
        let mut sizes = Vec::new();
        let of = labels
            .into_iter()
            .map(|label| {
                let number = *numbers.entry(label).or_insert(sizes.len());
                if number == sizes.len() {
                    sizes.push(0);
                }
                sizes[number] += 1;
                number
            })
            .collect();
        Self { of, sizes }
    }

    /// `n` observations of which each stands alone.
    pub fn singletons(n: usize) -> Self {
        Self { of: (0..n).collect(), sizes: vec![1; n] }
    }

    /// Number of observations.
    pub fn n_observations(&self) -> usize {
        self.of.len()
    }

    /// Number of clusters.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there are no observations.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The cluster of each observation.
    pub fn of(&self) -> &[usize] {
        &self.of
    }

    /// The number of observations of each cluster, at least one each.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Sums of `values` over each cluster.
    ///
    /// # Panics
    /// When there is not one value for each observation.
    pub fn sums(&self, values: &[f64]) -> Vec<f64> {
        assert_eq!(values.len(), self.of.len(), "one value for each observation");
        let mut sums = vec![0.0; self.sizes.len()];
        for (value, cluster) in values.iter().zip(&self.of) {
            sums[*cluster] += value;
        }
        sums
    }

    /// The observations of each cluster.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members: Vec<Vec<usize>> = self.sizes.iter().map(|size| Vec::with_capacity(*size)).collect();
        for (observation, cluster) in self.of.iter().enumerate() {
            members[*cluster].push(observation);
        }
        members
    }
}

/// From one number to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// A mean difference and what is known about it.
///
/// The variance is CR2 (Bell and McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples", 2002) of a
/// regression on a constant: with `N` observations, cluster sizes `n_g`, shares `h_g = n_g / N` and sums of residuals `S_g`,
/// `V = 1/N^2 * sum(S_g^2 / (1 - h_g))`. Degrees of freedom are Satterthwaite's, for equal and uncorrelated errors (Pustejovsky and Tipton,
/// 2018): `(tr W)^2 / tr W^2` with `W = diag(a) - b b'`, `a_g = n_g / (N^2 (1 - h_g))`, `b_g = n_g / sqrt(N^3 (1 - h_g))`. When every
/// cluster is one observation, this is the paired t-test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanDifference {
    /// Number of differences.
    pub n_observations: usize,
    /// Number of clusters.
    pub n_clusters: usize,
    /// Their mean, each observation with the same weight.
    pub mean: f64,
    /// The standard error; none when there are fewer than two clusters.
    pub standard_error: Option<f64>,
    /// Satterthwaite's degrees of freedom; none when there are fewer than two clusters.
    pub degrees_of_freedom: Option<f64>,
    /// The interval at the confidence asked for. None when it cannot be known: fewer than two clusters, or no variation between them.
    pub interval: Option<Interval>,
    /// Two-sided p-value of "no difference". Where clusters do not vary, that of flipping the signs of whole clusters.
    pub p_value: f64,
    /// The smallest true difference that a set with this standard error shows in eight of ten times: `(t(1 - alpha/2) + t(0.8)) * error`
    /// (Bloom, "Minimum detectable effects", 1995), before any adjustment for several tests.
    pub smallest_detectable: Option<f64>,
}

impl MeanDifference {
    /// What is known about the mean of `differences`, with an interval that holds the true mean with chance `confidence`.
    ///
    /// # Panics
    /// When there are no differences, one is not finite, `clusters` are those of another set, or `confidence` is not inside 0 to 1.
    pub fn new(differences: &[f64], clusters: &Clusters, confidence: f64) -> Self {
        assert!(!differences.is_empty() && differences.iter().all(|d| d.is_finite()), "finite differences, at least one");
        assert!(confidence > 0.0 && confidence < 1.0, "a confidence of {confidence}");
        let n = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let sums = clusters.sums(differences);
        let largest = differences.iter().fold(0.0_f64, |largest, d| largest.max(d.abs()));
        let unknown = Self {
            n_observations: differences.len(),
            n_clusters: clusters.len(),
            mean,
            standard_error: None,
            degrees_of_freedom: None,
            interval: None,
            p_value: 1.0,
            smallest_detectable: None,
        };
        if clusters.len() < 2 {
            return unknown;
        }
        let (standard_error, degrees_of_freedom) = cr2(&sums, clusters.sizes(), mean);
        let known = Self { standard_error: Some(standard_error), degrees_of_freedom: Some(degrees_of_freedom), ..unknown };
        if standard_error <= ROUNDING * largest {
            // Every document says the same: there is no variation to form an interval from. Of the 2^G ways to choose signs, two are as far.
            let is_zero = mean.abs() <= ROUNDING * largest;
            return Self { p_value: if is_zero { 1.0 } else { 2.0_f64.powi(1 - clusters.len().min(1000) as i32) }, ..known };
        }
        let quantile = t_quantile(0.5 + confidence / 2.0, degrees_of_freedom);
        Self {
            interval: Some(Interval { low: mean - quantile * standard_error, high: mean + quantile * standard_error }),
            p_value: t_two_sided_p(mean / standard_error, degrees_of_freedom),
            smallest_detectable: Some((quantile + t_quantile(POWER, degrees_of_freedom)) * standard_error),
            ..known
        }
    }
}

/// The CR2 standard error of a mean and its Satterthwaite degrees of freedom, from two clusters on.
fn cr2(sums: &[f64], sizes: &[usize], mean: f64) -> (f64, f64) {
    let n = sizes.iter().sum::<usize>() as f64;
    let (mut variance, mut sum_a, mut sum_aa, mut sum_bb, mut sum_abb) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (sum, size) in sums.iter().zip(sizes) {
        let size = *size as f64;
        let rest = 1.0 - size / n;
        let residual = sum - size * mean;
        variance += residual * residual / (n * n * rest);
        let a = size / (n * n * rest);
        let bb = a * size / n;
        sum_a += a;
        sum_aa += a * a;
        sum_bb += bb;
        sum_abb += a * bb;
    }
    let trace = sum_a - sum_bb;
    let trace_of_square = sum_aa - 2.0 * sum_abb + sum_bb * sum_bb;
    (variance.sqrt(), trace * trace / trace_of_square)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-10 * (1.0 + a.abs())
    }

    #[test]
    fn single_observations_are_the_paired_t_test() {
        let differences = [0.5, -0.25, 1.0, 0.75, 0.0];
        let found = MeanDifference::new(&differences, &Clusters::singletons(5), 0.95);
        let variance = differences.iter().map(|d| (d - 0.4_f64).powi(2)).sum::<f64>() / 4.0;
        assert!(close(found.mean, 0.4));
        assert!(close(found.standard_error.unwrap(), (variance / 5.0).sqrt()));
        assert!(close(found.degrees_of_freedom.unwrap(), 4.0));
        let interval = found.interval.unwrap();
        assert!(interval.low < 0.0 && interval.high > 0.8 && found.p_value > 0.05);
    }

    #[test]
    fn what_cannot_be_known_is_not_said() {
        let one_document = MeanDifference::new(&[1.0, 0.0, 1.0], &Clusters::new(["a"; 3]), 0.95);
        assert_eq!((one_document.interval, one_document.p_value), (None, 1.0));
        let always = MeanDifference::new(&[0.1; 6], &Clusters::new([1, 1, 2, 2, 3, 3]), 0.95);
        assert_eq!((always.interval, always.p_value), (None, 0.25), "three documents that agree prove little");
        let cancelled = MeanDifference::new(&[1.0, -1.0, 1.0, -1.0], &Clusters::new([1, 1, 2, 2]), 0.95);
        assert_eq!((cancelled.interval, cancelled.p_value), (None, 1.0));
        let equal = MeanDifference::new(&[0.0; 4], &Clusters::new([1, 1, 2, 2]), 0.95);
        assert_eq!((equal.interval, equal.p_value), (None, 1.0), "equal so far");
        assert_eq!(equal.smallest_detectable, None);
    }

    fn observations() -> impl Strategy<Value = Vec<(f64, u8)>> {
        proptest::collection::vec((-1.0..1.0_f64, 0..6_u8), 2..60)
    }

    proptest! {
        #[test]
        fn the_interval_and_the_p_value_agree(observations in observations()) {
            let (differences, labels): (Vec<f64>, Vec<u8>) = observations.into_iter().unzip();
            let found = MeanDifference::new(&differences, &Clusters::new(labels), 0.95);
            if let Some(interval) = found.interval {
                let excludes = interval.low > 0.0 || interval.high < 0.0;
                prop_assert!(excludes == (found.p_value < 0.05) || (found.p_value - 0.05).abs() < 1e-9);
                let degrees = found.degrees_of_freedom.unwrap();
                prop_assert!(degrees > 0.0 && degrees <= found.n_clusters as f64 - 1.0 + 1e-9, "{degrees}");
            }
        }

        #[test]
        fn order_does_not_matter_and_exchanging_turns_the_sign(observations in observations()) {
            let read = |observations: &[(f64, u8)], sign: f64| {
                let (differences, labels): (Vec<f64>, Vec<u8>) = observations.iter().map(|(d, label)| (sign * d, *label)).unzip();
                MeanDifference::new(&differences, &Clusters::new(labels), 0.9)
            };
            let forth = read(&observations, 1.0);
            let back = read(&observations.iter().rev().copied().collect::<Vec<_>>(), -1.0);
            prop_assert!(close(forth.mean, -back.mean) && close(forth.p_value, back.p_value));
            if let (Some(a), Some(b)) = (forth.interval, back.interval) {
                prop_assert!(close(a.low, -b.high) && close(a.high, -b.low));
            }
        }
    }
}
