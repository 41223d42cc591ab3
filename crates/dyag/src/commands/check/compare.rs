//! Measures of how far one list of numbers is from another, and what is made of them.

use serde_json::{Value, json};

/// One line of the verdict.
#[derive(Clone, Debug)]
pub(super) struct Quantity {
    /// What was compared.
    pub(super) name: String,
    /// How far it is from the reference.
    pub(super) error: f64,
    /// How far it may be.
    pub(super) tolerance: f64,
    /// How far it must be at least: a computation in bf16 cannot be closer.
    pub(super) at_least: Option<f64>,
    /// Where it is furthest.
    pub(super) worst: String,
}

impl Quantity {
    /// Whether the error is where it should be; that of a NaN never is.
    pub(super) fn passes(&self) -> bool {
        self.error <= self.tolerance && self.at_least.is_none_or(|least| self.error >= least)
    }

    /// Why it does not pass.
    pub(super) fn complaint(&self) -> String {
        let Self { name, error, tolerance, at_least, worst } = self;
        match at_least {
            Some(least) if error < least => {
                format!(
                    "{name}: error {error:.1e} is under {least:.1e}, a hundredth of Transformers' in bf16: this was not computed in bf16"
                )
            }
            _ if worst.is_empty() => format!("{name}: error {error:.1e} is past {tolerance:.1e}"),
            _ => format!("{name}: error {error:.1e} is past {tolerance:.1e}, worst at {worst}"),
        }
    }

    /// For `--json`; a NaN becomes null.
    pub(super) fn to_json(&self) -> Value {
        let Self { name, error, tolerance, at_least, worst } = self;
        json!({"quantity": name, "error": error, "tolerance": tolerance, "at_least": at_least, "worst": worst, "passed": self.passes()})
    }
}

/// The largest of some errors, and where; a NaN is larger than any number.
#[derive(Clone, Debug)]
pub(super) struct Largest<T> {
    pub(super) error: f64,
    pub(super) at: Option<T>,
}

impl<T> Largest<T> {
    pub(super) const fn new() -> Self {
        Self { error: 0.0, at: None }
    }

    pub(super) fn see(&mut self, error: f64, at: T) {
        if self.at.is_none() || error > self.error || (error.is_nan() && !self.error.is_nan()) {
            (self.error, self.at) = (error, Some(at));
        }
    }
}

/// `‖ours − theirs‖ / ‖theirs‖`; two lists of zeros agree.
pub(super) fn relative_l2(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (ours, theirs) in pairs {
        difference += (ours - theirs).powi(2);
        norm += theirs.powi(2);
    }
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

/// Elements in f64, side by side.
pub(super) fn widened<'a>(ours: &'a [f32], theirs: &'a [f32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(ours, theirs)| (f64::from(*ours), f64::from(*theirs)))
}

/// The largest difference of two lists relative to the largest element of `theirs`, and its index.
pub(super) fn relative_to_largest(pairs: impl Iterator<Item = (f64, f64)>) -> Largest<usize> {
    let (mut largest, mut scale) = (Largest::new(), 0.0_f64);
    for (i, (ours, theirs)) in pairs.enumerate() {
        largest.see((ours - theirs).abs(), i);
        // A NaN of the reference must not be skipped, as `max` would.
        scale = if theirs.is_nan() { f64::NAN } else { scale.max(theirs.abs()) };
        if scale.is_nan() {
            return Largest { error: f64::NAN, at: Some(i) };
        }
    }
    if largest.error != 0.0 {
        largest.error /= scale;
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_never_passes_and_is_always_the_worst() {
        let mut largest = Largest::new();
        for (i, error) in [1.0, f64::NAN, 3.0].into_iter().enumerate() {
            largest.see(error, i);
        }
        assert_eq!(largest.at, Some(1));
        let quantity = Quantity { name: "x".into(), error: largest.error, tolerance: f64::INFINITY, at_least: None, worst: String::new() };
        assert!(!quantity.passes());
        assert!(relative_l2([(f64::NAN, 1.0)].into_iter()).is_nan());
        assert!(relative_to_largest([(1.0, 1.0), (0.0, f64::NAN), (0.0, 0.0)].into_iter()).error.is_nan());
        assert!(relative_to_largest([(f64::NAN, 1.0), (0.0, 0.0)].into_iter()).error.is_nan());
    }

    #[test]
    fn measures() {
        assert_eq!(relative_l2([(3.0, 3.0), (0.0, 4.0)].into_iter()), 0.8);
        assert_eq!(relative_l2([(0.0, 0.0)].into_iter()), 0.0);
        assert_eq!(relative_l2([(1.0, 0.0)].into_iter()), f64::INFINITY);
        let largest = relative_to_largest([(1.0, 1.5), (-9.0, -10.0)].into_iter());
        assert_eq!((largest.error, largest.at), (0.1, Some(1)));
        assert_eq!(relative_to_largest([(1.0, 0.0)].into_iter()).error, f64::INFINITY);
    }

    #[test]
    fn what_is_too_close_to_be_bf16_fails() {
        let quantity = |error| Quantity { name: "x".into(), error, tolerance: 1.5, at_least: Some(0.1), worst: String::new() };
        assert!(quantity(0.1).passes() && quantity(1.5).passes());
        assert!(!quantity(0.09).passes() && !quantity(1.6).passes());
        assert!(quantity(0.09).complaint().contains("not computed in bf16"));
    }
}
