//! The forward pass of a single query: what a decoding step asks of each sequence.
//!
//! A lone query's group of heads would leave most lanes of a panel of pairs empty, so here the heads are rows: a block of keys is turned as it is read, and values are
//! read where they lie. Each sum has the order that [`super::forward`] gives it, and so the same bits.

use super::KEY_BLOCK;
use super::Kernel;
use super::pack::{self, Room};
use super::sight::{Lines, Sight, Stack};
use super::softmax::{self, Running};
use crate::cpu::Level;
use crate::cpu_device::microkernel::{self, MAX_ROWS, PANEL, Tile};
use crate::cpu_device::transpose;

/// Heads of a group up to which this way is taken.
pub(super) const MOST_HEADS: usize = MAX_ROWS;

/// Distance of two heads' scores.
const STEP: usize = KEY_BLOCK.next_multiple_of(PANEL);

/// Scratch of a thread.
#[derive(Default)]
pub(super) struct Scratch {
    lines: Room,
    key_lines: Room,
    panel: Room,
    values: Room,
    scores: Room,
    sums: Room,
}

/// As [`super::forward::block`], for one query.
pub(super) fn query(
    kernel: &Kernel<'_>,
    sight: Sight<'_>,
    query: usize,
    scratch: &mut Scratch,
    mut write: impl FnMut(usize, usize, usize, &[f32], (f32, f32)),
) {
    let Kernel { level, shape, .. } = *kernel;
    let (size, stack) = (shape.head_size, Stack::new(query..query + 1, kernel.group()));
    assert!(stack.n <= MOST_HEADS);
    let lines = scratch.lines.of(stack.n * size);
    pack::gather_pairs(|head| kernel.query_head(kernel.q, head), sight.span, stack, size, shape.scale, lines);
    let sums = scratch.sums.of(stack.n * size);
    sums.fill(0.0);
    let mut state = Running::EMPTY;
    let seen = sight.keys(query);
    for keys in sight.blocks(query..query + 1) {
        let keys = keys.start.max(seen.start)..keys.end;
        let room = scratch.key_lines.of(KEY_BLOCK * size);
        let scores = &mut scratch.scores.of(MOST_HEADS * STEP)[..stack.n * STEP];
        let k = sight.lines(kernel.key_head(kernel.k), keys.clone(), room);
        scores_of_lines(level, lines, k, size, scratch.panel.of(size * PANEL), scores);
        softmax::running_rows(level, scores, STEP, keys.len(), &mut state);
        for (sums, correction) in sums.chunks_exact_mut(size).zip(&state.correction) {
            sums.iter_mut().for_each(|sum| *sum *= correction);
        }
        let v = sight.lines(kernel.key_head(kernel.v), keys, room);
        add_values(level, scores, v, size, scratch.values.of(KEY_BLOCK * PANEL), sums);
    }
    for (head, sums) in sums.chunks_exact(size).enumerate() {
        write(query, head, 0, sums, (state.largest[head], state.total[head]));
    }
}

/// `scores [heads][STEP] = lines [heads][size] kᵀ`.
fn scores_of_lines(level: Level, lines: &[f32], k: Lines<'_>, size: usize, panel: &mut [f32], scores: &mut [f32]) {
    static ZEROS: [f32; PANEL] = [0.0; PANEL];
    for first in (0..k.n).step_by(PANEL) {
        let part = k.part(first, PANEL);
        for j in (0..part.n).step_by(transpose::ROWS) {
            let rows = part.part(j, transpose::ROWS);
            transpose::into_panel(level, rows.values, rows.step, rows.n, size, &mut panel[j..]);
        }
        assert!(panel.len() >= size * PANEL && lines.len() / size * STEP <= scores.len() && first + part.n <= STEP);
        // SAFETY: `lines` has `size` channels a head, `panel` as many lines, and `scores` STEP elements a head, as asserted.
        unsafe {
            let tile = Tile {
                k: size,
                a: lines.as_ptr(),
                a_row: size,
                a_col: 1,
                b: panel.as_ptr(),
                b_row: PANEL,
                c: scores.as_mut_ptr().add(first),
                c_row: STEP,
                start: Some(ZEROS.as_ptr()),
                rows: lines.len() / size,
                cols: part.n,
            };
            microkernel::accumulate(level, tile);
        }
    }
}

/// `sums [heads][size] += weights [heads][STEP] v`, each element's sum over the block in one chain.
fn add_values(level: Level, weights: &[f32], v: Lines<'_>, size: usize, panel: &mut [f32], sums: &mut [f32]) {
    let heads = weights.len() / STEP;
    assert!(v.n <= STEP && (v.n - 1) * v.step + size <= v.values.len() && heads * size <= sums.len());
    for first in (0..size).step_by(PANEL) {
        let cols = PANEL.min(size - first);
        let (b, b_row) = if level == Level::Avx512 {
            (v.values[first..].as_ptr(), v.step)
        } else {
            for (i, to) in panel[..v.n * PANEL].chunks_exact_mut(PANEL).enumerate() {
                to[..cols].copy_from_slice(&v.values[i * v.step + first..][..cols]);
            }
            (panel.as_ptr(), PANEL)
        };
        // SAFETY: `v` holds v.n lines of `size` channels, a copy of them as many lines of a panel, weights and sums `heads` rows, as asserted.
        unsafe {
            let tile = Tile {
                k: v.n,
                a: weights.as_ptr(),
                a_row: STEP,
                a_col: 1,
                b,
                b_row,
                c: sums.as_mut_ptr().add(first),
                c_row: size,
                start: None,
                rows: heads,
                cols,
            };
            microkernel::accumulate(level, tile);
        }
    }
}
