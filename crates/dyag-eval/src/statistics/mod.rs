//! What a difference between two ways of answering is worth.
//!
//! Questions about one document resemble each other, so a set of 79 questions about ten documents holds less than 79 independent
//! observations. [`MeanDifference`] therefore forms its interval from documents: the cluster-robust variance CR2 with Satterthwaite degrees
//! of freedom ([`clustered`](MeanDifference)), which keeps its level with ten unequal documents where the plain bootstrap does not.
//! [`McNemar`] and [`randomisation`] test without assuming a distribution, [`cluster_bootstrap`] gives intervals to statistics of a whole
//! set, [`holm`] adjusts p-values for their number. Everything random comes from a seed.

mod bootstrap;
mod clustered;
mod distributions;
mod holm;
mod mcnemar;
mod random;
mod randomisation;
#[cfg(test)]
mod references;
#[cfg(test)]
mod simulation;

pub use bootstrap::{Bootstrap, cluster_bootstrap, cluster_bootstrap_of_mean, percentile, resampled_clusters};
pub use clustered::{Clusters, Interval, MeanDifference};
pub use distributions::{t_quantile, t_two_sided_p};
pub use holm::holm;
pub use mcnemar::McNemar;
pub use random::Random;
pub use randomisation::{MAX_EXACT_CLUSTERS, Randomisation, randomisation, sign_flips};
