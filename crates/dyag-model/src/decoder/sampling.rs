//! The choice of the next token.

use dyag_kernels::random;

/// How tokens are chosen. Applied in this order: repetition penalty, temperature, top-k, top-p, as Transformers does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// 0: always the most probable token.
    pub temperature: f32,
    /// Keep the `k` most probable tokens; 0: all.
    pub top_k: usize,
    /// Keep the most probable tokens that reach this share together; 1: all.
    pub top_p: f32,
    /// Logits of tokens already seen are divided by this when positive, multiplied when negative (Keskar et al. 2019); 1: not at all.
    pub repetition_penalty: f32,
    /// Seed; a sequence's draws depend on it, the sequence's number and the step alone.
    pub seed: u64,
}

impl SamplingOptions {
    /// Greedy choice.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: 0 };

    /// Whether the largest logit is taken as it is.
    pub(super) fn takes_largest(&self) -> bool {
        self.temperature <= 0.0 && self.repetition_penalty == 1.0
    }

    /// Chooses from `logits` `[V]`, given all tokens of the sequence so far. `sequence` and `step` number the draw. A token whose logit is negative infinity
    /// is never chosen, as long as there is another.
    pub fn choose(&self, logits: &mut [f32], seen: &[u32], sequence: usize, step: usize) -> u32 {
        if self.repetition_penalty != 1.0 {
            let mut seen = seen.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                let logit = &mut logits[id as usize];
                *logit = if *logit > 0.0 { *logit / self.repetition_penalty } else { *logit * self.repetition_penalty };
            }
        }
        if self.temperature <= 0.0 {
            return largest(logits);
        }
        let mut kept: Vec<(u32, f64)> =
            logits.iter().enumerate().map(|(id, logit)| (id as u32, f64::from(*logit) / f64::from(self.temperature))).collect();
        // Descending, ties by id, so that the order never depends on the sort.
        let before = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if self.top_k > 0 && self.top_k < kept.len() {
            kept.select_nth_unstable_by(self.top_k, before);
            kept.truncate(self.top_k);
        }
        kept.sort_unstable_by(before);
        let top = kept[0].1;
        kept.iter_mut().for_each(|(_, p)| *p = (*p - top).exp());
        let total: f64 = kept.iter().map(|(_, p)| p).sum();
        if self.top_p < 1.0 {
            let mut reached = 0.0;
            let enough = kept.iter().position(|(_, p)| {
                reached += p / total;
                reached >= f64::from(self.top_p)
            });
            kept.truncate(enough.map_or(kept.len(), |i| i + 1));
        }
        let total: f64 = kept.iter().map(|(_, p)| p).sum();
        let draw = random::bits(random::bits(self.seed, sequence as u64), step as u64);
        let mut left = (draw >> 11) as f64 / (1u64 << 53) as f64 * total;
        for (id, p) in &kept {
            left -= p;
            if left < 0.0 {
                return *id;
            }
        }
        kept[kept.len() - 1].0
    }
}

/// Index of the largest value, the first of equals; NaN never wins.
fn largest(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, logit) in logits.iter().enumerate() {
        if *logit > best.1 {
            best = (id as u32, *logit);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(options: SamplingOptions, logits: &[f32], seen: &[u32]) -> Vec<f64> {
        let n = 20_000;
        let mut counts = vec![0.0; logits.len()];
        for step in 0..n {
            counts[options.choose(&mut logits.to_vec(), seen, 3, step) as usize] += 1.0 / f64::from(n as u32);
        }
        counts
    }

    #[test]
    fn draws_follow_the_softmax() {
        let shares = sampled(SamplingOptions { temperature: 0.5, ..SamplingOptions::GREEDY }, &[0.0, 0.5, 1.0], &[]);
        let total = 1.0 + 1f64.exp() + 2f64.exp();
        for (share, expected) in shares.iter().zip([1.0 / total, 1f64.exp() / total, 2f64.exp() / total]) {
            assert!((share - expected).abs() < 0.015, "{share} for {expected}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [0.0, 3.0, 1.0, 2.0];
        let one = SamplingOptions { temperature: 1.0, ..SamplingOptions::GREEDY };
        assert_eq!(sampled(SamplingOptions { top_k: 2, ..one }, &logits, &[]).iter().filter(|s| **s > 0.0).count(), 2);
        // Probabilities .032 .644 .087 .237: the first alone reaches .6, the first two .88.
        assert_eq!(sampled(SamplingOptions { top_p: 0.6, ..one }, &logits, &[]).iter().filter(|s| **s > 0.0).count(), 1);
        assert_eq!(sampled(SamplingOptions { top_p: 0.7, ..one }, &logits, &[]).iter().filter(|s| **s > 0.0).count(), 2);
    }

    #[test]
    fn the_penalty_weighs_each_seen_token_once() {
        let options = SamplingOptions { repetition_penalty: 2.0, ..SamplingOptions::GREEDY };
        let mut logits = [4.0, 3.0, -1.0];
        assert_eq!(options.choose(&mut logits, &[0, 0, 2], 0, 0), 1);
        assert_eq!(logits, [2.0, 3.0, -2.0]);
    }

    #[test]
    fn what_is_ruled_out_is_never_drawn() {
        let mut logits = [f32::NEG_INFINITY; 4];
        logits[2] = -30.0;
        for temperature in [0.0, 1.0, 50.0] {
            let options = SamplingOptions { temperature, ..SamplingOptions::GREEDY };
            assert!((0..200).all(|step| options.choose(&mut logits, &[], 0, step) == 2), "{temperature}");
        }
    }

    #[test]
    fn greedy_takes_the_first_of_equals_and_never_nan() {
        assert_eq!(SamplingOptions::GREEDY.choose(&mut [f32::NAN, 1.0, 1.0], &[], 0, 0), 1);
    }
}
