//! The specification of the sums.

use super::activations::Row;
use super::panel::{COLUMNS, Panel, RUN, block_at, run_at};
use super::{Blocks, CHAINS};

/// Adds `n_groups` groups of blocks to the chains `[column][chain]` of one row.
pub(super) fn add(blocks: Blocks, panel: &Panel, n_groups: usize, x: Row<'_>, chains: &mut [f32; COLUMNS * CHAINS]) {
    for block in 0..n_groups * CHAINS {
        for column in 0..COLUMNS {
            let mut sum = blocks.offset_bits.map_or(0, |bits| -(x.sums[block] << bits));
            for run in block * blocks.len / RUN..(block + 1) * blocks.len / RUN {
                let weights = &panel.bytes[run_at(run, column)..][..RUN];
                sum += weights.iter().zip(&x.bytes[run * RUN..]).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum::<i32>();
            }
            let at = block_at(block, column);
            let chain = &mut chains[column * CHAINS + block % CHAINS];
            *chain = (panel.scales[at] * x.d[block]).mul_add(sum as f32, *chain);
            if blocks.offset_bits.is_none() {
                *chain = panel.minimums[at].mul_add(x.scaled_sums[block], *chain);
            }
        }
    }
}
