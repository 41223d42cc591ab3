//! McNemar's exact test: two ways of answering that are right or wrong, question by question.

use serde::Serialize;

use super::distributions::fair_coin_at_most;

/// The questions that only one of two ways got right, and the chance of a split as uneven if both were equally good (McNemar, 1947; exact,
/// by the binomial distribution). It takes questions for independent, so with several questions a document it is too sure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Questions only the first got right.
    pub only_first: u64,
    /// Questions only the second got right.
    pub only_second: u64,
    /// Two-sided p-value; 1 when there are no such questions.
    pub p_value: f64,
}

impl McNemar {
    /// The test of so many questions.
    pub fn new(only_first: u64, only_second: u64) -> Self {
        let p_value = (2.0 * fair_coin_at_most(only_first.min(only_second), only_first + only_second)).min(1.0);
        Self { only_first, only_second, p_value }
    }

    /// The test of pairs of which each half is 0 (wrong) or 1 (right); none when another value is among them.
    pub fn of_pairs(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let (mut only_first, mut only_second) = (0, 0);
        for pair in pairs {
            match pair {
                (1.0, 0.0) => only_first += 1,
                (0.0, 1.0) => only_second += 1,
                (0.0, 0.0) | (1.0, 1.0) => {}
                _ => return None,
            }
        }
        Some(Self::new(only_first, only_second))
    }
}

#[cfg(test)]
mod tests {
    use super::McNemar;

    #[test]
    fn small_cases_by_hand() {
        assert_eq!(McNemar::new(0, 0).p_value, 1.0);
        assert_eq!(McNemar::new(3, 3).p_value, 1.0);
        assert!((McNemar::new(0, 5).p_value - 2.0 / 32.0).abs() < 1e-15);
        assert_eq!(McNemar::new(2, 9).p_value, McNemar::new(9, 2).p_value);
        let pairs = [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)];
        assert_eq!(McNemar::of_pairs(pairs), Some(McNemar::new(2, 1)));
        assert_eq!(McNemar::of_pairs([(0.5, 1.0)]), None);
    }
}
