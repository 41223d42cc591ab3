//! The adapter a training starts from.

use dyag_kernels::random::bits;

use super::config::AdapterConfig;
use super::error::AdapterError;
use super::{Adapter, LoraPair, MAX_RANK, Site};
use crate::config::DecoderConfig;
use crate::weights::DecoderWeights;

impl Adapter {
    /// A new adapter: A uniform in ±1/sqrt(in), which is what PEFT's Kaiming initialisation with a = sqrt(5) comes to, and B zero, so that it
    /// changes nothing yet. Each matrix has its own stream of numbers, set by `seed` and its site alone.
    ///
    /// # Errors
    /// When the configuration adapts nothing of this model, or a rank is out of range.
    pub fn init(config: &DecoderConfig, settings: &AdapterConfig, seed: u64) -> Result<Self, AdapterError> {
        let mut adapter = Self::default();
        for (site, site_settings) in settings.sites(config)? {
            let rank = site_settings.rank;
            if rank == 0 || rank > MAX_RANK {
                return Err(AdapterError::Rank { rank });
            }
            let (n_in, n_out) = site.projection.sizes(config);
            let (a, b) = (uniform(seed, site, rank, n_in), vec![0.0; n_out * rank]);
            adapter.pairs.insert(site, LoraPair { rank, scale: site_settings.scale, a, b, magnitude: None });
        }
        Ok(adapter)
    }

    /// [`Adapter::init`], and with `settings.weight_decomposed` the magnitudes of the base's own matrices, so that it changes nothing yet either.
    ///
    /// # Errors
    /// As [`Adapter::init`].
    pub fn init_on(config: &DecoderConfig, weights: &DecoderWeights, settings: &AdapterConfig, seed: u64) -> Result<Self, AdapterError> {
        let mut adapter = Self::init(config, settings, seed)?;
        if settings.weight_decomposed {
            for (site, pair) in &mut adapter.pairs {
                pair.magnitude = weights.matrix(*site).map(dyag_kernels::WeightMatrix::row_norms);
            }
        }
        Ok(adapter)
    }
}

/// `[rank, n_in]` numbers in [-1/sqrt(n_in), 1/sqrt(n_in)).
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn uniform(seed: u64, site: Site, rank: usize, n_in: usize) -> Vec<f32> {
    let bound = 1.0 / (n_in as f64).sqrt();
    let site_seed = bits(seed, ((site.layer as u64) << 8) | site.projection as u64);
    // The upper 24 bits, as a number from -1 to below 1.
    let number = |index: usize| (bits(site_seed, index as u64) >> 40) as f64 / f64::from(1_u32 << 23) - 1.0;
    (0..rank * n_in).map(|index| (number(index) * bound) as f32).collect()
}
