//! Which bytes of a file are there: sorted ranges that neither touch nor overlap.

use std::collections::VecDeque;

/// A set of bytes, as ranges from a first byte to before a last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a range; an empty one changes nothing.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Those that it touches lie side by side.
        let first = self.0.partition_point(|range| range.1 < start);
        let last = self.0.partition_point(|range| range.0 <= end);
        let (mut start, mut end) = (start, end);
        if let Some(touched) = self.0.get(first..last).filter(|touched| !touched.is_empty()) {
            start = start.min(touched[0].0);
            end = end.max(touched[touched.len() - 1].1);
        }
        self.0.splice(first..last.max(first), [(start, end)]);
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// What a file of `size` bytes lacks, in pieces of at most `piece` bytes.
    pub(crate) fn missing(&self, size: u64, piece: u64) -> VecDeque<(u64, u64)> {
        let mut pieces = VecDeque::new();
        let mut at = 0;
        for (start, end) in self.iter().chain([(size, size)]) {
            while at < start.min(size) {
                let until = start.min(size).min(at.saturating_add(piece.max(1)));
                pieces.push_back((at, until));
                at = until;
            }
            at = at.max(end);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same as marking bytes one by one.
        #[test]
        fn ranges_are_sets_of_bytes(added in prop::collection::vec((0_u64..60, 0_u64..20), 0..12), piece in 1_u64..30) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 80];
            for (start, length) in added {
                ranges.add(start, start + length);
                bytes[start as usize..(start + length) as usize].fill(true);
            }
            prop_assert_eq!(ranges.len(), bytes.iter().filter(|there| **there).count() as u64);
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", all);
            let mut seen = bytes;
            for (start, end) in ranges.missing(70, piece) {
                prop_assert!(start < end && end <= 70 && end - start <= piece);
                for byte in start..end {
                    prop_assert!(!seen[byte as usize], "byte {} is there, or missing twice", byte);
                    seen[byte as usize] = true;
                }
            }
            prop_assert!(seen[..70].iter().all(|there| *there));
        }
    }
}
