//! One ranking of several: reciprocal ranks (Cormack, Clarke, Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", 2009).

use std::collections::HashMap;

/// The constant of that paper: how much the first ranks differ from those that follow.
pub const RRF_CONSTANT: f64 = 60.0;

/// Ids by the sum of `1 / (60 + rank)` over the rankings that hold them (ranks from 1), the largest first; equal sums by id in byte order.
pub fn fuse(rankings: &[Vec<&str>]) -> Vec<(String, f64)> {
    let mut sums: HashMap<&str, f64> = HashMap::new();
    for ranking in rankings {
        for (place, id) in ranking.iter().enumerate() {
            *sums.entry(id).or_default() += 1.0 / (RRF_CONSTANT + (place + 1) as f64);
        }
    }
    let mut fused: Vec<(String, f64)> = sums.into_iter().map(|(id, sum)| (id.to_owned(), sum)).collect();
    fused.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
    fused
}

#[cfg(test)]
mod tests {
    use super::fuse;

    #[test]
    fn what_two_rankings_agree_on_comes_first() {
        let fused = fuse(&[vec!["a", "b", "c"], vec!["c", "b", "d"]]);
        let ids: Vec<&str> = fused.iter().map(|(id, _)| id.as_str()).collect();
        // a: 1/61; b: 2/62; c: 1/63 + 1/61; d: 1/63.
        assert_eq!(ids, ["c", "b", "a", "d"]);
        assert!((fused[1].1 - 2.0 / 62.0).abs() < 1e-15);
    }

    #[test]
    fn equal_sums_are_ordered_by_id_and_nothing_gives_nothing() {
        let fused = fuse(&[vec!["b"], vec!["a"]]);
        assert_eq!(fused.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(fuse(&[Vec::new(), Vec::new()]).is_empty());
    }
}
