//! Who sees whom: positions, rows and heads of attention's operands, and the masks of blocks that are seen in part.

use std::ops::Range;

use super::KEY_BLOCK;
use crate::cpu_device::microkernel::PANEL;
use crate::device::{AttentionShape, AttentionSpan};

/// One head's columns of a `[rows, width]` buffer.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    values: &'a [f32],
    /// Elements from one row to the next.
    pub(super) width: usize,
    first: usize,
    size: usize,
}

impl<'a> Head<'a> {
    pub(super) fn new(values: &'a [f32], n_heads: usize, size: usize, head: usize) -> Self {
        Self { values, width: n_heads * size, first: head * size, size }
    }

    /// The head's channels of one row.
    pub(super) fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.width + self.first..][..self.size]
    }

    /// All that follows the head's first channel of `row`.
    fn rows_from(self, row: usize) -> &'a [f32] {
        &self.values[row * self.width + self.first..]
    }
}

/// Rows of a head's channels at equal distances.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    pub(super) values: &'a [f32],
    /// Elements from one row to the next.
    pub(super) step: usize,
    pub(super) n: usize,
}

impl Lines<'_> {
    /// The lines from `first` on, up to `n`.
    pub(super) fn part(self, first: usize, n: usize) -> Self {
        debug_assert!(first < self.n);
        Self { values: &self.values[first * self.step..], step: self.step, n: n.min(self.n - first) }
    }
}

/// A span with the window its queries look through. Positions count the span's keys along `prefix` and then `own`.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) span: &'a AttentionSpan,
    window: Option<usize>,
    causal: bool,
    /// Position of the first query.
    pub(super) before: usize,
}

impl<'a> Sight<'a> {
    pub(super) fn new(span: &'a AttentionSpan, shape: AttentionShape) -> Self {
        Self { span, window: shape.window, causal: shape.causal, before: span.prefix.len() + span.own.len() - span.queries.len() }
    }

    /// Positions of the keys that the query, counted from the span's first, sees.
    pub(super) fn keys(self, query: usize) -> Range<usize> {
        if !self.causal {
            return 0..self.before + self.span.queries.len();
        }
        let position = self.before + query;
        self.window.map_or(0, |w| (position + 1).saturating_sub(w))..position + 1
    }

    /// Positions of the keys that some of the queries see.
    pub(super) fn keys_of(self, queries: Range<usize>) -> Range<usize> {
        self.keys(queries.start).start..self.keys(queries.end - 1).end
    }

    /// The queries that see some of the keys; they follow one another.
    pub(super) fn queries_of(self, keys: Range<usize>) -> Range<usize> {
        let n = self.span.queries.len();
        if !self.causal {
            return 0..n;
        }
        let end = self.window.map_or(n, |w| (keys.end - 1 + w).saturating_sub(self.before).min(n));
        keys.start.saturating_sub(self.before).min(end)..end
    }

    /// The blocks of keys that some of the queries see, from the first such block's beginning to the last key seen. That blocks lie at multiples of their
    /// length, whoever asks, is what makes a query's sums the same in every company.
    pub(super) fn blocks(self, queries: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let seen = self.keys_of(queries);
        (seen.start / KEY_BLOCK * KEY_BLOCK..seen.end).step_by(KEY_BLOCK).map(move |from| from..(from + KEY_BLOCK).min(seen.end))
    }

    /// Rows of k or v at the positions: where they lie if they follow one another, else copied to `room`.
    pub(super) fn lines<'b>(self, head: Head<'b>, keys: Range<usize>, room: &'b mut [f32]) -> Lines<'b> {
        let AttentionSpan { prefix, own, .. } = self.span;
        let n = keys.len();
        if keys.end <= prefix.len() {
            return Lines { values: head.rows_from(prefix.start + keys.start), step: head.width, n };
        }
        if keys.start >= prefix.len() {
            return Lines { values: head.rows_from(own.start + keys.start - prefix.len()), step: head.width, n };
        }
        let rows = (prefix.start + keys.start..prefix.end).chain(own.start..own.start + keys.end - prefix.len());
        for (to, row) in room.chunks_exact_mut(head.size).zip(rows) {
            to.copy_from_slice(head.row(row));
        }
        Lines { values: room, step: head.size, n }
    }
}

/// The query heads that share a key/value head, stacked as `(query, head)` with the head running fastest, from a query of a span on.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    /// First query, counted from the span's first.
    pub(super) first: usize,
    /// Heads of a query.
    pub(super) group: usize,
    /// `(query, head)` pairs.
    pub(super) n: usize,
}

impl Stack {
    pub(super) fn new(queries: Range<usize>, group: usize) -> Self {
        Self { first: queries.start, group, n: queries.len() * group }
    }

    /// The queries of some of the pairs.
    pub(super) fn queries(self, pairs: Range<usize>) -> Range<usize> {
        self.first + pairs.start / self.group..self.first + (pairs.end - 1) / self.group + 1
    }

    /// The pairs of a range of queries that overlaps the stack.
    pub(super) fn pairs(self, queries: Range<usize>) -> Range<usize> {
        let at = |query: usize| ((query.max(self.first) - self.first) * self.group).min(self.n);
        at(queries.start)..at(queries.end)
    }

    /// Head, counted within the group, and query of a pair.
    pub(super) fn at(self, pair: usize) -> (usize, usize) {
        (self.first + pair / self.group, pair % self.group)
    }
}

/// Sets the scores of what is not seen to minus infinity: rows of `scores` are the keys `keys`, columns the pairs from `first_pair`.
pub(super) fn mask(sight: Sight<'_>, stack: Stack, keys: Range<usize>, pairs: Range<usize>, scores: &mut [f32]) {
    let queries = stack.queries(pairs.clone());
    let whole = sight.keys(queries.end - 1).start..sight.keys(queries.start).end;
    for (key, row) in keys.zip(scores.chunks_exact_mut(PANEL)) {
        if !whole.contains(&key) {
            let seen = stack.pairs(sight.queries_of(key..key + 1));
            blank(row, seen.start.saturating_sub(pairs.start)..seen.end.saturating_sub(pairs.start));
        }
    }
}

/// All but the columns `seen`.
fn blank(row: &mut [f32], seen: Range<usize>) {
    let end = seen.end.min(PANEL);
    row[..seen.start.min(end)].fill(f32::NEG_INFINITY);
    row[end..].fill(f32::NEG_INFINITY);
}
