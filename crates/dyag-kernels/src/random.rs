//! Random numbers that are a function of a seed and a position, so that any part of a run can be made again.

/// Random bits of element `index` under `seed`: the finaliser of SplitMix64 (Steele, Lea & Flood 2014) over the two.
#[inline(always)]
pub fn bits(seed: u64, index: u64) -> u64 {
    let mut z = seed ^ index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether dropout with probability `p` drops element `index`.
#[inline(always)]
pub fn dropped(p: f32, seed: u64, index: usize) -> bool {
    bits(seed, index as u64) < (f64::from(p) * 2f64.powi(64)) as u64
}
