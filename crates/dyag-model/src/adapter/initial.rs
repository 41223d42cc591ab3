//! The adapter a training starts from.

use super::config::AdapterConfig;
use super::error::AdapterError;
use super::{Adapter, LoraPair, MAX_RANK, Site};
use crate::config::DecoderConfig;

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
            let pair = LoraPair { rank, scale: site_settings.scale, a: uniform(seed, site, rank, n_in), b: vec![0.0; n_out * rank] };
            adapter.pairs.insert(site, pair);
        }
        Ok(adapter)
    }
}

/// `[rank, n_in]` numbers in [-1/sqrt(n_in), 1/sqrt(n_in)).
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn uniform(seed: u64, site: Site, rank: usize, n_in: usize) -> Vec<f32> {
    let bound = 1.0 / (n_in as f64).sqrt();
    let place = ((site.layer as u64) << 8) | site.projection as u64;
    let mut random = SplitMix64::new(SplitMix64::new(seed).next() ^ SplitMix64::new(place).next());
    let number = |bits: u64| ((bits >> 40) as f64 / f64::from(1_u32 << 23) - 1.0) * bound;
    (0..rank * n_in).map(|_| number(random.next()) as f32).collect()
}

/// SplitMix64 (Steele, Lea & Flood 2014).
struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    fn new(state: u64) -> Self {
        Self { state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
