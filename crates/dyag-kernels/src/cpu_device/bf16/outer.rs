//! Sums over T of outer products, `g += lᵀ y`: the gradients of adapters.

use std::ops::Range;

use rayon::prelude::*;

use super::backward::pairs_of;
use super::task::{Base, Destination, Lie, extent, with_scratch, write};
use super::{BLOCK, DEEP, Extent, Kind, PANEL, PANELS_A_TASK, Packed, STEP, Unit, Values};
use crate::cpu::Level;

/// All that meets one `y` `[T, width]`.
pub(super) struct Outer<'a> {
    pub(super) y: Values<'a>,
    pub(super) width: usize,
    pub(super) users: Vec<User<'a>>,
}

/// One `l`.
pub(super) struct User<'a> {
    /// `l` `[T, R]` as lines of the ranks, the sums running over T.
    pub(super) lines: &'a Packed,
    /// R.
    pub(super) rank: usize,
    /// `g`, `[R, width]` or, where it lies across, `[width, R]`.
    pub(super) to: Destination,
    pub(super) lie: Lie,
}

/// Adds all of them to where they go.
///
/// # Safety
/// The machine must have `kind`; nobody else may write the destinations, of which no two are the same.
pub(super) unsafe fn add_outer(kind: Kind, level: Level, rows: usize, outers: &[Outer<'_>]) {
    let mut tasks = Vec::new();
    for outer in outers {
        let panels = outer.width.div_ceil(BLOCK);
        tasks.extend((0..panels).step_by(PANELS_A_TASK).map(|first| (outer, first..(first + PANELS_A_TASK).min(panels))));
    }
    tasks.into_par_iter().with_max_len(1).for_each(|(outer, panels)| {
        // SAFETY: the caller's contract; each task has panels of its own.
        unsafe { task(&kind.ready(), level, rows, outer, panels) };
    });
}

/// Some panels of `y` with all their users.
///
/// # Safety
/// No other task may have these.
unsafe fn task(unit: &Unit, level: Level, rows: usize, outer: &Outer<'_>, panels: Range<usize>) {
    let Outer { y, width, users } = outer;
    let columns = panels.start * BLOCK..(panels.end * BLOCK).min(*width);
    // Every user's blocks of ranks, one after the other.
    let blocks: Vec<(&User<'_>, usize)> =
        users.iter().flat_map(|user| (0..user.rank.div_ceil(BLOCK)).map(move |block| (user, block))).collect();
    with_scratch(blocks.len() * panels.len(), |_, room, sums| {
        for deep in 0..rows.div_ceil(DEEP) {
            let depth = deep * DEEP..((deep + 1) * DEEP).min(rows);
            pairs_of(*y, (rows, *width), depth, &columns, room);
            for (index, (user, block)) in blocks.iter().enumerate() {
                let steps = user.lines.steps(deep);
                for panel in panels.clone() {
                    let pairs = &room[(panel - panels.start) * PANEL..][..steps * STEP];
                    let wanted = Extent { lines: extent(*block, user.rank), columns: extent(panel, *width) };
                    let sums = &mut sums[index * panels.len() + panel - panels.start];
                    unit.multiply(wanted, steps, (user.lines.block(deep, *block), pairs), sums, deep == 0);
                }
            }
        }
        for (index, (user, block)) in blocks.iter().enumerate() {
            for panel in panels.clone() {
                let sums = &sums[index * panels.len() + panel - panels.start];
                let base = Base { held: true, ..Base::default() };
                // SAFETY: the caller's contract.
                unsafe { write(level, user.to, base, sums, (block * BLOCK, panel * BLOCK), user.lie) };
            }
        }
    });
}
