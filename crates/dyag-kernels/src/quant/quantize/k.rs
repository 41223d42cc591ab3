//! Writing GGUF's "K" super-blocks: each sub-block gets the scale that fits it, then all of these are rounded to shares of the largest, and the integers
//! are taken anew for what a reader will multiply with.

use super::fit::{Search, affine, inverse, nearest, symmetric_scale, weighted_error};
use super::{put_f16, through_f16};

/// Scales and minimums of the sub-blocks in six bits each, and what they are shares of.
struct Shares {
    /// The super-block's `d` and `dmin`, before they are rounded to f16.
    d: f32,
    dmin: f32,
    scales: [u8; 8],
    minimums: [u8; 8],
}

/// Largest share.
const SHARES: f32 = 63.0;

/// The sub-blocks of 32 elements, fitted with weights that grow with an element's size.
#[inline(always)]
fn shares(x: &[f32; 256], search: &Search) -> Shares {
    let (mut scales, mut minimums) = ([0.0f32; 8], [0.0f32; 8]);
    let mut weights = [[0.0f32; 32]; 8];
    let (blocks, _) = x.as_chunks::<32>();
    for (i, block) in blocks.iter().enumerate() {
        let typical = (block.iter().map(|x| x * x).sum::<f32>() / 32.0).sqrt();
        weights[i] = block.map(|x| typical + x.abs());
        (scales[i], minimums[i]) = affine(block, &weights[i], search);
    }
    let most = |values: &[f32; 8]| values.iter().copied().fold(0.0, f32::max);
    let (d, dmin) = (most(&scales) / SHARES, most(&minimums) / SHARES);
    let mut shares = Shares { d, dmin, scales: [0; 8], minimums: [0; 8] };
    let (d, dmin) = (through_f16(d), through_f16(dmin));
    for (i, block) in blocks.iter().enumerate() {
        let wanted = (scales[i] * inverse(d), minimums[i] * inverse(dmin));
        (shares.scales[i], shares.minimums[i]) = best_shares(block, &weights[i], wanted, (d, dmin), search.levels);
    }
    shares
}

/// Of the whole numbers around the wanted shares, those with which the sub-block comes back with the smallest error: rounding each by itself would not see
/// that one can make up for the other.
#[inline(always)]
fn best_shares(x: &[f32; 32], weights: &[f32; 32], wanted: (f32, f32), (d, dmin): (f32, f32), levels: f32) -> (u8, u8) {
    let middle = (nearest(wanted.0.min(SHARES)), nearest(wanted.1.min(SHARES)));
    let (mut best, mut best_error) = (middle, f32::INFINITY);
    for by in [(0.0, 0.0), (0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (-1.0, -1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, 1.0)] {
        let shares = (middle.0 + by.0, middle.1 + by.1);
        if shares.0 < 0.0 || shares.0 > SHARES || shares.1 < 0.0 || shares.1 > SHARES {
            continue;
        }
        let (scale, minimum) = (d * shares.0, dmin * shares.1);
        let to_level = inverse(scale);
        let error = weighted_error(x, weights, |x| scale * nearest(((x + minimum) * to_level).clamp(0.0, levels)) - minimum);
        if error < best_error {
            (best, best_error) = (shares, error);
        }
    }
    (best.0 as u8, best.1 as u8)
}

/// Writes `d`, `dmin` and the twelve bytes of shares, and returns the integers of all elements for what they say.
#[inline(always)]
fn put_shares(x: &[f32; 256], shares: &Shares, levels: f32, out: &mut [u8]) -> Option<[u8; 256]> {
    put_f16(out, 0, shares.d)?;
    put_f16(out, 2, shares.dmin)?;
    for i in 0..4 {
        let (s, m) = (shares.scales[4 + i], shares.minimums[4 + i]);
        out[4 + i] = shares.scales[i] | (s >> 4) << 6;
        out[8 + i] = shares.minimums[i] | (m >> 4) << 6;
        out[12 + i] = s & 15 | (m & 15) << 4;
    }
    let (d, dmin) = (through_f16(shares.d), through_f16(shares.dmin));
    let mut q = [0u8; 256];
    for sub in 0..8 {
        let scale = d * f32::from(shares.scales[sub]);
        let minimum = dmin * f32::from(shares.minimums[sub]);
        let to_level = inverse(scale);
        for i in 32 * sub..32 * sub + 32 {
            q[i] = nearest(((x[i] + minimum) * to_level).clamp(0.0, levels)) as u8;
        }
    }
    Some(q)
}

/// Two sub-blocks of 32 a run of 32 bytes, low then high four bits.
#[inline(always)]
fn put_nibbles(q: &[u8; 256], out: &mut [u8]) {
    for pair in 0..4 {
        for i in 0..32 {
            out[32 * pair + i] = q[64 * pair + i] & 15 | q[64 * pair + 32 + i] << 4;
        }
    }
}

#[inline(always)]
pub(super) fn q4_k(x: &[f32; 256], out: &mut [u8; 144]) -> Option<()> {
    let shares = shares(x, &Search { levels: 15.0, first: -1.0, n: 20 });
    let q = put_shares(x, &shares, 15.0, out)?;
    put_nibbles(&q, &mut out[16..]);
    Some(())
}

#[inline(always)]
pub(super) fn q5_k(x: &[f32; 256], out: &mut [u8; 176]) -> Option<()> {
    let shares = shares(x, &Search { levels: 31.0, first: -0.5, n: 15 });
    let q = put_shares(x, &shares, 31.0, out)?;
    for i in 0..32 {
        out[16 + i] = (0..8).fold(0, |bits, sub| bits | (q[32 * sub + i] >> 4) << sub);
    }
    put_nibbles(&q, &mut out[48..]);
    Some(())
}

#[inline(always)]
pub(super) fn q6_k(x: &[f32; 256], out: &mut [u8; 210]) -> Option<()> {
    // What `d` in f16 cannot reach; the search's fourth powers stay finite below.
    if super::fit::largest(x).1.abs() > 65_504.0 * 128.0 * 32.0 {
        return None;
    }
    let (blocks, _) = x.as_chunks::<16>();
    let mut scales = [0.0f32; 16];
    for (scale, block) in scales.iter_mut().zip(blocks) {
        *scale = symmetric_scale(block, 32.0);
    }
    let (_, extreme) = super::fit::largest(&scales);
    let d = extreme / -128.0;
    let to_share = inverse(d);
    put_f16(out, 208, if to_share == 0.0 { 0.0 } else { d })?;
    let d = through_f16(d);
    let mut q = [32u8; 256];
    for (sub, scale) in scales.iter().enumerate() {
        let share = nearest((to_share * scale).clamp(-128.0, 127.0));
        out[192 + sub] = (share as i8) as u8;
        let to_level = inverse(d * share);
        for i in 16 * sub..16 * sub + 16 {
            q[i] = (nearest((x[i] * to_level).clamp(-32.0, 31.0)) + 32.0) as u8;
        }
    }
    for half in 0..2 {
        for i in 0..64 {
            let (low, high) = (q[128 * half + i], q[128 * half + 64 + i]);
            out[64 * half + i] = low & 15 | high << 4;
        }
        for i in 0..32 {
            out[128 + 32 * half + i] = (0..4).fold(0, |bits, group| bits | (q[128 * half + 32 * group + i] >> 4) << (2 * group));
        }
    }
    Some(())
}
