//! From values to places along an axis, and the values that stand at it.

use super::super::words::Language;

/// An axis from one value to another.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Scale {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

/// Room at both ends, in percent of the width.
const MARGIN: f64 = 2.0;

impl Scale {
    /// From `low` to `high`; where they are one value, some room around it.
    pub(in super::super) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 1.0, low + 1.0) };
        Self { low, high, is_logarithmic: false }
    }

    /// Each step along it multiplies. Both values are above 0.
    pub(in super::super) fn logarithmic(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { 2.0 * low };
        Self { low, high, is_logarithmic: true }
    }

    /// The place of a value, in percent; those beyond the ends stand at the ends.
    pub(in super::super) fn place(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        MARGIN + (100.0 - 2.0 * MARGIN) * share.clamp(0.0, 1.0)
    }

    /// Round values within, about `n` of them, as they are written.
    pub(in super::super) fn ticks(&self, n: usize, language: Language) -> Vec<(f64, String)> {
        if self.is_logarithmic {
            return self.powers(language);
        }
        let rough = (self.high - self.low) / n as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(10.0 * power);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        // Counted in whole steps, so that no sum drifts.
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step + 1e-9).floor() as i64);
        let tick = |number: i64| {
            let value = number as f64 * step;
            (value, language.number(&format!("{value:.digits$}")))
        };
        (first..=last).map(tick).collect()
    }

    fn powers(&self, language: Language) -> Vec<(f64, String)> {
        let mut ticks = Vec::new();
        for power in self.low.log10().floor() as i32..=self.high.log10().ceil() as i32 {
            let value = 10_f64.powi(power);
            if (self.low..=self.high).contains(&value) {
                let digits = usize::try_from(-power).unwrap_or(0);
                ticks.push((value, language.number(&format!("{value:.digits$}"))));
            }
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let texts = |scale: Scale, n: usize| scale.ticks(n, Language::French).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(Scale::linear(-0.31, 0.5), 4), ["0,0", "0,5"].map(str::to_owned));
        assert_eq!(texts(Scale::linear(-35.0, 61.0), 5), ["\u{2212}20", "0", "20", "40", "60"].map(str::to_owned));
        assert_eq!(texts(Scale::logarithmic(0.05, 12.0), 5), ["0,1", "1", "10"].map(str::to_owned));
        let scale = Scale::linear(0.0, 10.0);
        assert_eq!((scale.place(0.0), scale.place(10.0), scale.place(99.0), scale.place(5.0)), (2.0, 98.0, 98.0, 50.0));
        assert_eq!(Scale::logarithmic(1.0, 100.0).place(10.0), 50.0);
        assert!(Scale::linear(3.0, 3.0).place(3.0) == 50.0 && Scale::logarithmic(3.0, 3.0).place(0.0) == 2.0);
    }
}
