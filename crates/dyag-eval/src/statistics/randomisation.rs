//! Randomisation tests: what the difference would be if the names of the two ways had been given out by chance.

use serde::Serialize;

use super::clustered::Clusters;
use super::random::Random;

/// Up to so many clusters all exchanges are gone through; beyond, they are drawn.
pub const MAX_EXACT_CLUSTERS: usize = 14;

/// What counts as equal to the observed difference: sums in another order differ by rounding.
const ROUNDING: f64 = 1e-12;

/// The outcome of a randomisation test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Randomisation {
    /// The statistic with nothing exchanged.
    pub observed: f64,
    /// Two-sided p-value: the share of exchanges whose statistic is as far from 0.
    pub p_value: f64,
    /// Number of exchanges that were tried.
    pub n_exchanges: usize,
    /// Whether those were all there are.
    pub is_exact: bool,
}

/// The paired randomisation test (Fisher, 1935; Noreen, 1989; Riezler and Maxwell, 2005, for statistics of a whole corpus).
///
/// `statistic` is given one choice for each observation, `true` where the answers of the two ways are exchanged, and gives the difference
/// between the two; corpus scores such as BLEU recompute both sides. Observations of one cluster are exchanged together. Up to
/// [`MAX_EXACT_CLUSTERS`] clusters, all exchanges are tried; else `n_draws` of them, and the observed one is counted among them (Davison
/// and Hinkley, 1997).
///
/// # Panics
/// When there are no observations or no draws.
pub fn randomisation(clusters: &Clusters, statistic: impl Fn(&[bool]) -> f64, n_draws: usize, seed: u64) -> Randomisation {
    let mut choices = vec![false; clusters.n_observations()];
    run(clusters.len(), n_draws, seed, |exchanged| {
        for (choice, cluster) in choices.iter_mut().zip(clusters.of()) {
            *choice = exchanged[*cluster];
        }
        statistic(&choices)
    })
}

/// [`randomisation`] of a mean of differences, from sums over clusters alone.
///
/// # Panics
/// As [`randomisation`]; and when there is not one difference for each observation.
pub fn sign_flips(differences: &[f64], clusters: &Clusters, n_draws: usize, seed: u64) -> Randomisation {
    let sums = clusters.sums(differences);
    let n = differences.len() as f64;
    run(clusters.len(), n_draws, seed, |exchanged| {
        sums.iter().zip(exchanged).map(|(sum, is_exchanged)| if *is_exchanged { -sum } else { *sum }).sum::<f64>() / n
    })
}

fn run(n_clusters: usize, n_draws: usize, seed: u64, mut statistic: impl FnMut(&[bool]) -> f64) -> Randomisation {
    assert!(n_clusters > 0 && n_draws > 0, "observations and draws, at least one each");
    let mut exchanged = vec![false; n_clusters];
    let observed = statistic(&exchanged);
    let limit = observed.abs() * (1.0 - ROUNDING);
    if n_clusters <= MAX_EXACT_CLUSTERS {
        let n_exchanges = 1_usize << n_clusters;
        let n_as_far = (0..n_exchanges)
            .filter(|bits| {
                exchanged.iter_mut().enumerate().for_each(|(cluster, choice)| *choice = bits >> cluster & 1 == 1);
                statistic(&exchanged).abs() >= limit
            })
            .count();
        return Randomisation { observed, p_value: n_as_far as f64 / n_exchanges as f64, n_exchanges, is_exact: true };
    }
    let mut random = Random::new(seed);
    let n_as_far = (0..n_draws)
        .filter(|_| {
            exchanged.iter_mut().for_each(|choice| *choice = random.flip());
            statistic(&exchanged).abs() >= limit
        })
        .count();
    Randomisation { observed, p_value: (n_as_far + 1) as f64 / (n_draws + 1) as f64, n_exchanges: n_draws, is_exact: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_exchanges_of_a_few() {
        let found = sign_flips(&[1.0, 1.0, 1.0], &Clusters::singletons(3), 10, 1);
        assert_eq!((found.p_value, found.n_exchanges, found.is_exact), (0.25, 8, true));
        let together = sign_flips(&[1.0, 1.0, 1.0], &Clusters::new(["a", "a", "b"]), 10, 1);
        assert_eq!(together.p_value, 0.5, "answers about one document are exchanged together");
        assert_eq!(sign_flips(&[0.0; 3], &Clusters::singletons(3), 10, 1).p_value, 1.0);
    }

    #[test]
    fn a_closure_gives_what_sums_give() {
        let differences: Vec<f64> = (0..40).map(|i| f64::from(i % 7) - 2.5).collect();
        let clusters = Clusters::new((0..40).map(|i| i % 20));
        let statistic = |choices: &[bool]| {
            choices.iter().zip(&differences).map(|(is_exchanged, d)| if *is_exchanged { -d } else { *d }).sum::<f64>() / 40.0
        };
        let slow = randomisation(&clusters, statistic, 999, 5);
        let fast = sign_flips(&differences, &clusters, 999, 5);
        assert_eq!((slow.p_value, slow.is_exact), (fast.p_value, false));
        assert!(slow.p_value >= 1.0 / 1000.0, "never zero");
    }
}
