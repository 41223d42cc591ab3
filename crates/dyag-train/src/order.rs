//! In which order examples are seen: a pure function of seed and epoch, so that a resumed run needs no generator's state.

/// SplitMix64 (Steele, Lea & Flood 2014): one multiplication-free state step, well mixed output.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, without bias (Lemire 2019).
    fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            let (high, low) = ((product >> 64) as u64, product as u64);
            if low >= bound.wrapping_neg() % bound {
                return high;
            }
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number that depends on `seed` and on every one of `parts`, for streams that must not meet.
pub fn derive_seed(seed: u64, parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(mix(seed ^ 0x6479_6167_2D74_7261), |state, part| mix(state.rotate_left(23) ^ mix(part.wrapping_add(0x9E37_79B9_7F4A_7C15))))
}

const EPOCH_STREAM: u64 = 1;
const SPLIT_STREAM: u64 = 2;
const DROPOUT_STREAM: u64 = 3;
const NOISE_STREAM: u64 = 4;

fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let mut generator = SplitMix64(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        let chosen = generator.below(last as u64 + 1) as usize;
        order.swap(last, chosen);
    }
    order
}

/// The order of `n` examples in epoch `epoch` (from 0); their own order when not `shuffle`.
pub fn epoch_order(n: usize, seed: u64, epoch: u64, shuffle: bool) -> Vec<usize> {
    if shuffle { permutation(n, derive_seed(seed, &[EPOCH_STREAM, epoch])) } else { (0..n).collect() }
}

/// Divides `n` examples into those to train on and those to validate on, each in their own order. `share` of them (rounded, at least one,
/// never all) are for validation.
///
/// # Panics
/// If `n` is below 2.
pub fn split(n: usize, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    assert!(n >= 2, "nothing to divide");
    let n_validation = ((n as f64 * share).round() as usize).clamp(1, n - 1);
    let order = permutation(n, derive_seed(seed, &[SPLIT_STREAM]));
    let (validation, train) = order.split_at(n_validation);
    let (mut train, mut validation) = (train.to_vec(), validation.to_vec());
    train.sort_unstable();
    validation.sort_unstable();
    (train, validation)
}

/// Seed of the dropout of one pack.
pub fn dropout_seed(seed: u64, step: u64, pack: u64) -> u64 {
    derive_seed(seed, &[DROPOUT_STREAM, step, pack])
}

/// Seed of the noise on one example in one step, wherever it is packed.
pub fn noise_seed(seed: u64, step: u64, example: u64) -> u64 {
    derive_seed(seed, &[NOISE_STREAM, step, example])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_epoch_is_another_permutation_and_always_the_same() {
        let orders: Vec<_> = (0..20).map(|epoch| epoch_order(50, 42, epoch, true)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert_eq!(orders.iter().collect::<BTreeSet<_>>().len(), 20);
        assert_eq!(orders[3], epoch_order(50, 42, 3, true));
        assert_ne!(orders[3], epoch_order(50, 43, 3, true));
        assert_eq!(epoch_order(4, 42, 3, false), [0, 1, 2, 3]);
    }

    #[test]
    fn every_example_comes_first_about_as_often() {
        let mut firsts = [0_u32; 5];
        for epoch in 0..10_000 {
            firsts[epoch_order(5, 7, epoch, true)[0]] += 1;
        }
        // Binomial, mean 2000, standard deviation 40: five of them.
        assert!(firsts.iter().all(|n| (1800..2200).contains(n)), "{firsts:?}");
    }

    #[test]
    fn the_order_does_not_change_between_versions() {
        assert_eq!(epoch_order(8, 42, 0, true), FROZEN_ORDER);
    }

    /// A resumed run must see what the interrupted one would have seen, whichever version wrote the checkpoint.
    const FROZEN_ORDER: [usize; 8] = [3, 2, 7, 1, 6, 0, 5, 4];

    #[test]
    fn split_is_a_partition_with_something_on_both_sides() {
        for (n, share, expected) in [(2, 0.9, 1), (10, 0.1, 1), (10, 0.01, 1), (10, 0.25, 3), (3, 0.9, 2), (1000, 0.1, 100)] {
            let (train, validation) = split(n, share, 1);
            assert_eq!(validation.len(), expected, "{n} x {share}");
            let both: BTreeSet<_> = train.iter().chain(&validation).collect();
            assert_eq!((both.len(), train.len() + validation.len()), (n, n));
        }
    }
}
