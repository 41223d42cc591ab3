//! Holm's adjustment of several p-values.

/// p-values adjusted so that, over the whole family, the chance of one or more false "different" stays below the level that they are
/// compared with (Holm, "A simple sequentially rejective multiple test procedure", 1979). The result has the order of `p_values`.
///
/// # Panics
/// When a p-value is not inside 0 to 1.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    assert!(p_values.iter().all(|p| (0.0..=1.0).contains(p)), "p-values lie in 0 to 1: {p_values:?}");
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max(p_values[index] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::holm;

    #[test]
    fn the_smallest_pays_for_all() {
        assert_eq!(holm(&[]), [0.0; 0]);
        assert_eq!(holm(&[0.03]), [0.03]);
        assert_eq!(holm(&[0.5, 0.01, 0.02]), [0.5, 0.03, 0.04]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn adjusting_raises_and_keeps_the_order(p in proptest::collection::vec(0.0..=1.0_f64, 0..20)) {
            let adjusted = holm(&p);
            for (i, a) in adjusted.iter().enumerate() {
                prop_assert!(*a >= p[i] && *a <= 1.0);
                prop_assert!(adjusted.iter().enumerate().all(|(j, b)| p[i] >= p[j] || a <= b));
            }
        }
    }
}
