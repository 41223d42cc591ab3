//! The statistics beside SciPy, statsmodels and NumPy (`tools/reference/make_statistics_references.py`).

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/statistics").join(name);
    serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("a list: {value}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    items(value).iter().map(number).collect()
}

#[track_caller]
fn close(found: f64, expected: &Value, what: &str) {
    let expected = number(expected);
    assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{what}: found {found}, expected {expected}");
}

fn clusters(case: &Value) -> Clusters {
    Clusters::new(items(&case["labels"]).iter().map(|label| label.as_u64().expect("a label")))
}

#[test]
fn student_t_is_that_of_scipy() {
    let reference = fixture("distributions.json");
    for case in items(&reference["quantiles"]) {
        close(t_quantile(number(&case["p"]), number(&case["df"])), &case["value"], &case.to_string());
    }
    for case in items(&reference["tails"]) {
        close(t_two_sided_p(number(&case["t"]), number(&case["df"])), &case["value"], &case.to_string());
    }
}

#[test]
fn mcnemar_and_holm_are_those_of_statsmodels() {
    for case in items(&fixture("mcnemar.json")) {
        let count = |key: &str| case[key].as_u64().expect("a count");
        close(McNemar::new(count("b"), count("c")).p_value, &case["p"], &case.to_string());
    }
    for case in items(&fixture("holm.json")) {
        for (found, expected) in holm(&numbers(&case["p"])).into_iter().zip(items(&case["adjusted"])) {
            close(found, expected, &case.to_string());
        }
    }
}

#[test]
fn cr2_is_that_of_the_matrices() {
    for case in items(&fixture("clustered.json")) {
        let found = MeanDifference::new(&numbers(&case["differences"]), &clusters(case), 0.95);
        let interval = found.interval.expect("an interval");
        let standard_error = found.standard_error.expect("an error");
        for (what, value) in [
            ("mean", found.mean),
            ("standard_error", standard_error),
            ("degrees_of_freedom", found.degrees_of_freedom.expect("degrees")),
            ("p_value", found.p_value),
            ("low", interval.low),
            ("high", interval.high),
            ("smallest_detectable", found.smallest_detectable.expect("a difference")),
        ] {
            close(value, &case[what], what);
        }
        if case["equal_sizes"] == true {
            // statsmodels has no CR2, but for clusters of one size CR2 is its CR1.
            close(standard_error, &case["statsmodels_cr1"], "statsmodels");
        }
    }
}

#[test]
fn resampled_means_and_percentiles_are_those_of_numpy() {
    let case = fixture("bootstrap.json");
    let differences = numbers(&case["differences"]);
    let members = clusters(&case).members();
    let mut means: Vec<f64> = Vec::new();
    for (draw, expected) in items(&case["draws"]).iter().zip(items(&case["means"])) {
        let drawn = items(draw).iter().flat_map(|cluster| &members[cluster.as_u64().expect("a cluster") as usize]);
        let values: Vec<f64> = drawn.map(|observation| differences[*observation]).collect();
        means.push(values.iter().sum::<f64>() / values.len() as f64);
        close(*means.last().expect("just pushed"), expected, "a mean");
    }
    means.sort_by(f64::total_cmp);
    for one in items(&case["percentiles"]) {
        close(percentile(&means, number(&one["share"])), &one["value"], &one.to_string());
    }
}

#[test]
fn sign_flips_are_those_of_scipy() {
    for case in items(&fixture("randomisation.json")) {
        let found = sign_flips(&numbers(&case["differences"]), &clusters(case), 99, 1);
        assert!(found.is_exact);
        close(found.p_value, &case["p"], "p");
    }
}
