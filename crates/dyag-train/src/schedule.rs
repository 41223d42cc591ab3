//! The learning rate of each step, as Transformers' schedules have it.

use serde::{Deserialize, Serialize};

/// The course of the learning rate after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Half a cosine from the peak to zero.
    Cosine,
    /// A straight line from the peak to zero.
    Linear,
    /// The peak throughout.
    Constant,
}

/// Learning rates by step: `get_cosine_schedule_with_warmup`, `get_linear_schedule_with_warmup` and `get_constant_schedule_with_warmup` of
/// Transformers. With any warm-up the first step's rate is zero, as it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    kind: ScheduleKind,
    peak: f64,
    warmup_steps: u64,
    total_steps: u64,
}

impl Schedule {
    /// A schedule over `total_steps`, of which the first `warmup_ratio` (rounded up to whole steps) warm up to `peak`.
    pub fn new(kind: ScheduleKind, peak: f64, warmup_ratio: f64, total_steps: u64) -> Self {
        let warmup_steps = (warmup_ratio * total_steps as f64).ceil() as u64;
        Self { kind, peak, warmup_steps, total_steps }
    }

    /// Steps of the warm-up.
    pub fn warmup_steps(&self) -> u64 {
        self.warmup_steps
    }

    /// Learning rate of update `index`, counted from 0.
    pub fn learning_rate(&self, index: u64) -> f64 {
        self.peak * self.factor(index)
    }

    fn factor(&self, index: u64) -> f64 {
        if index < self.warmup_steps {
            return index as f64 / self.warmup_steps as f64;
        }
        let after_warmup = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => self.total_steps.saturating_sub(index) as f64 / after_warmup,
            ScheduleKind::Cosine => {
                let progress = (index - self.warmup_steps) as f64 / after_warmup;
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[s.get_last_lr()[0] for each step]` of Transformers 5.23.0, learning rate 2e-4, 10 steps, 2 (or 0) of warm-up.
    const COSINE: [f64; 10] = [
        0.0,
        0.0001,
        0.0002,
        0.0001923879532511287,
        0.00017071067811865476,
        0.000138268343236509,
        0.0001,
        6.173165676349103e-05,
        2.9289321881345254e-05,
        7.612046748871327e-06,
    ];
    const LINEAR: [f64; 10] =
        [0.0, 0.0001, 0.0002, 0.000175, 0.00015000000000000001, 0.000125, 0.0001, 7.500000000000001e-05, 5e-05, 2.5e-05];
    const CONSTANT: [f64; 10] = [0.0, 0.0001, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002, 0.0002];
    const COSINE_WITHOUT_WARMUP: [f64; 10] = [
        0.0002,
        0.00019510565162951537,
        0.00018090169943749476,
        0.00015877852522924732,
        0.00013090169943749476,
        0.0001,
        6.909830056250527e-05,
        4.12214747707527e-05,
        1.9098300562505266e-05,
        4.8943483704846475e-06,
    ];

    fn check(kind: ScheduleKind, warmup_ratio: f64, expected: [f64; 10]) {
        let schedule = Schedule::new(kind, 2e-4, warmup_ratio, 10);
        for (index, expected) in expected.into_iter().enumerate() {
            let found = schedule.learning_rate(index as u64);
            assert!((found - expected).abs() <= 1e-12 * 2e-4, "{kind:?} step {index}: {found:e}, Transformers has {expected:e}");
        }
    }

    #[test]
    fn equals_transformers() {
        check(ScheduleKind::Cosine, 0.2, COSINE);
        check(ScheduleKind::Linear, 0.2, LINEAR);
        check(ScheduleKind::Constant, 0.2, CONSTANT);
        check(ScheduleKind::Cosine, 0.0, COSINE_WITHOUT_WARMUP);
    }

    #[test]
    fn warmup_is_rounded_up() {
        assert_eq!(Schedule::new(ScheduleKind::Cosine, 1.0, 0.03, 38).warmup_steps(), 2);
        assert_eq!(Schedule::new(ScheduleKind::Cosine, 1.0, 0.03, 1).warmup_steps(), 1);
        assert_eq!(Schedule::new(ScheduleKind::Cosine, 1.0, 0.0, 38).warmup_steps(), 0);
    }
}
