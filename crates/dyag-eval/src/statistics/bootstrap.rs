//! The cluster bootstrap: intervals for statistics of a whole set that are no means, such as BLEU.

use serde::Serialize;

use super::clustered::{Clusters, Interval};
use super::random::Random;

/// The values of a statistic over resampled sets, and their interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// The value over the set itself.
    pub estimate: f64,
    /// The standard deviation of the resampled values.
    pub standard_error: f64,
    /// From one percentile of the resampled values to another. With few clusters it is too narrow: see
    /// [`MeanDifference`](super::MeanDifference) for means.
    pub interval: Interval,
    /// Number of resampled sets.
    pub n_resamples: usize,
}

impl Bootstrap {
    /// Sums up resampled values; sorts them.
    fn new(estimate: f64, mut values: Vec<f64>, confidence: f64) -> Self {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0).max(1.0);
        let tail = (1.0 - confidence) / 2.0;
        let interval = Interval { low: percentile(&values, tail), high: percentile(&values, 1.0 - tail) };
        Self { estimate, standard_error: variance.sqrt(), interval, n_resamples: values.len() }
    }
}

/// As many clusters as there are, drawn with replacement.
pub fn resampled_clusters(n_clusters: usize, random: &mut Random) -> Vec<usize> {
    (0..n_clusters).map(|_| random.below(n_clusters)).collect()
}

/// The percentile bootstrap (Efron, 1979) over whole clusters. `statistic` is given the observations of a resampled set, some of them
/// several times, and gives the statistic's value; for a paired difference it computes both halves over the same observations.
///
/// # Panics
/// When there are no observations, no resamples, or `confidence` is not inside 0 to 1.
pub fn cluster_bootstrap(
    clusters: &Clusters,
    statistic: impl Fn(&[usize]) -> f64,
    n_resamples: usize,
    confidence: f64,
    seed: u64,
) -> Bootstrap {
    check(clusters, n_resamples, confidence);
    let members = clusters.members();
    let all: Vec<usize> = (0..clusters.n_observations()).collect();
    let mut random = Random::new(seed);
    let mut observations = Vec::with_capacity(all.len());
    let values = (0..n_resamples)
        .map(|_| {
            observations.clear();
            for cluster in resampled_clusters(members.len(), &mut random) {
                observations.extend_from_slice(&members[cluster]);
            }
            statistic(&observations)
        })
        .collect();
    Bootstrap::new(statistic(&all), values, confidence)
}

/// [`cluster_bootstrap`] of a mean, from sums over clusters alone: the same numbers up to rounding, in less time.
///
/// # Panics
/// As [`cluster_bootstrap`]; and when there is not one value for each observation.
pub fn cluster_bootstrap_of_mean(values: &[f64], clusters: &Clusters, n_resamples: usize, confidence: f64, seed: u64) -> Bootstrap {
    check(clusters, n_resamples, confidence);
    let (sums, sizes) = (clusters.sums(values), clusters.sizes());
    let mean = |clusters: &mut dyn Iterator<Item = usize>| {
        let (sum, size) = clusters.fold((0.0, 0), |(sum, size), cluster| (sum + sums[cluster], size + sizes[cluster]));
        sum / size as f64
    };
    let mut random = Random::new(seed);
    let resampled = (0..n_resamples).map(|_| mean(&mut (0..sizes.len()).map(|_| random.below(sizes.len())))).collect();
    Bootstrap::new(mean(&mut (0..sizes.len())), resampled, confidence)
}

fn check(clusters: &Clusters, n_resamples: usize, confidence: f64) {
    assert!(!clusters.is_empty() && n_resamples > 0, "observations and resamples, at least one each");
    assert!(confidence > 0.0 && confidence < 1.0, "a confidence of {confidence}");
}

/// The value below which a share of `sorted` lies, linear between neighbours (definition 7 of Hyndman and Fan, 1996: NumPy's default).
///
/// # Panics
/// When `sorted` is empty or `share` is not in 0 to 1.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    assert!(!sorted.is_empty() && (0.0..=1.0).contains(&share), "a percentile at {share} of {} values", sorted.len());
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_from_sums_is_the_mean_of_observations() {
        let values = [0.0, 1.0, 1.0, 0.5, -1.0, 0.25];
        let clusters = Clusters::new(["a", "b", "a", "c", "b", "b"]);
        let mean = |observations: &[usize]| observations.iter().map(|i| values[*i]).sum::<f64>() / observations.len() as f64;
        let slow = cluster_bootstrap(&clusters, mean, 500, 0.9, 3);
        let fast = cluster_bootstrap_of_mean(&values, &clusters, 500, 0.9, 3);
        assert!((slow.interval.low - fast.interval.low).abs() < 1e-12 && (slow.interval.high - fast.interval.high).abs() < 1e-12);
        assert!((slow.standard_error - fast.standard_error).abs() < 1e-12);
        assert!(slow.interval.low < slow.estimate && slow.estimate < slow.interval.high);
        assert_eq!(slow, cluster_bootstrap(&clusters, mean, 500, 0.9, 3), "the seed decides");
        assert_ne!(slow, cluster_bootstrap(&clusters, mean, 500, 0.9, 4));
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        assert_eq!(percentile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(percentile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!((percentile(&[1.0], 0.3), percentile(&[1.0, 2.0], 1.0)), (1.0, 2.0));
    }
}
