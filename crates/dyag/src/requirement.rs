//! `--require METRIC>=X`: what a set must reach.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::bail;
use dyag_eval::metrics::metric;
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

/// Refuses figures that the run will not have, before it begins: they are neither in `known` nor metrics whose names begin with one of `families`, with or without `avg_`.
///
/// # Errors
/// The first that is unknown, with the known one that is most like it.
pub(crate) fn check(requirements: &[Requirement], known: &BTreeSet<String>, families: &[&str]) -> anyhow::Result<()> {
    let is_known = |name: &str| {
        let plain = name.strip_prefix("avg_").unwrap_or(name);
        known.contains(name) || (families.iter().any(|family| plain.starts_with(family)) && metric(plain).is_some())
    };
    if let Some(Requirement { metric, .. }) = requirements.iter().find(|requirement| !is_known(&requirement.metric)) {
        let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(name, metric));
        let nearest = nearest.map_or(String::new(), |name| format!("; the nearest is {name}"));
        bail!(
            "--require: expected a figure that this run will have, found {metric:?}{nearest} (a file of results lists them all under \"metrics\")"
        );
    }
    Ok(())
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
    fn a_figure_that_will_not_be_there_is_refused_at_once() {
        let known = ["exact_match", "errors"].map(str::to_owned).into();
        let checked = |text: &str| check(&[text.parse().expect(text)], &known, &["grounded_"]).map_err(|error| error.to_string());
        for sound in ["exact_match>=0", "grounded_words>=0.5", "avg_grounded_words>=0.5"] {
            assert_eq!(checked(sound), Ok(()));
        }
        assert!(checked("grounded_wrds>=0").is_err() && checked("retrieval_mrr>=0").is_err());
        assert!(checked("exact_mach>=0").is_err_and(|error| error.contains("nearest is exact_match")));
    }

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
