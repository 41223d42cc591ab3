//! `--require METRIC>=X`: what a set must reach.

use std::str::FromStr;

use dyag_eval::results::SetMetrics;

/// A figure over the set, and what it must be at least or at most.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requirement {
    metric: String,
    at_least: bool,
    bound: f64,
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a figure and a bound such as exact_match>=0.8 or errors<=0, found {text:?}");
        let (metric, bound, at_least) = match (text.split_once(">="), text.split_once("<=")) {
            (Some((metric, bound)), _) => (metric, bound, true),
            (None, Some((metric, bound))) => (metric, bound, false),
            (None, None) => return Err(expected()),
        };
        let bound = bound.trim().parse::<f64>().ok().filter(|bound| bound.is_finite()).ok_or_else(expected)?;
        if metric.trim().is_empty() {
            return Err(expected());
        }
        Ok(Self { metric: metric.trim().to_owned(), at_least, bound })
    }
}

impl Requirement {
    /// Why it is missed; none when it is reached. A figure that was not measured reaches nothing.
    pub(crate) fn missed(&self, metrics: &SetMetrics) -> Option<String> {
        let Self { metric, at_least, bound } = self;
        let sign = if *at_least { ">=" } else { "<=" };
        match metrics.values.get(metric) {
            None => {
                let known: Vec<&str> = metrics.values.keys().map(String::as_str).collect();
                Some(format!("missed: {metric}{sign}{bound}: there is no figure {metric}; there are {}", known.join(", ")))
            }
            Some(value) if (*at_least && value >= bound) || (!at_least && value <= bound) => None,
            Some(value) => Some(format!("missed: {metric}{sign}{bound}: it is {value:.4}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read_and_decided() {
        let mut metrics = SetMetrics::default();
        metrics.values.insert("f1".to_owned(), 0.5);
        let missed = |text: &str| text.parse::<Requirement>().expect(text).missed(&metrics);
        assert_eq!(missed("f1>=0.5"), None);
        assert_eq!(missed("f1 <= 0.5"), None);
        assert!(missed("f1>=0.51").is_some_and(|text| text.contains("it is 0.5000")));
        assert!(missed("f2>=0").is_some_and(|text| text.contains("there are f1")));
        for wrong in ["f1", "f1>0.5", ">=0.5", "f1>=x", "f1>=inf"] {
            assert!(wrong.parse::<Requirement>().is_err(), "{wrong}");
        }
    }
}
