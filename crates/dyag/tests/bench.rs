//! `dyag bench`: what it measures is there, and hangs together.

mod common;

use common::Place;
use serde_json::Value;

/// A number above zero at `path`.
#[track_caller]
fn positive(report: &Value, path: &str) -> f64 {
    let value = report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path}: {report:#}"));
    assert!(value > 0.0, "{path} is {value}");
    value
}

#[test]
fn the_report_has_every_part_for_programs_and_for_people() {
    let place = Place::new();
    place.model();
    place.dataset();
    let arguments = ["bench", "--base-model", "model", "--dataset", "train.jsonl", "--runs", "1", "--tokens", "8"];
    let output = place.run(&arguments);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for part in
        ["peak", "read from memory", "products of 8 rows", "shared beginnings once", "every token", "prefill", "32 answers", "GB at most"]
    {
        assert!(output.stdout.contains(part), "no {part:?} in:\n{}", output.stdout);
    }

    let output = place.run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    positive(&report, "/peaks/memory_gigabytes_a_second");
    positive(&report, "/peak_memory_bytes");
    let products = report["products"].as_array().expect("products");
    let names: Vec<&str> = products.iter().filter_map(|product| product["name"].as_str()).flat_map(|name| name.split(' ')).collect();
    for name in ["q", "k", "v", "o", "gate", "up", "down", "head"] {
        assert_eq!(names.iter().filter(|other| **other == name).count(), 1, "{name} among {names:?}");
    }
    for index in 0..products.len() {
        positive(&report, &format!("/products/{index}/forward_gflops"));
        positive(&report, &format!("/products/{index}/backward_gflops"));
    }
    // Without shared beginnings every token that is learned from is computed; with them never more than that.
    let computed_share = |way: usize| {
        positive(&report, &format!("/training/{way}/computed_tokens_a_second"))
            / positive(&report, &format!("/training/{way}/tokens_a_second"))
    };
    assert_eq!(report["training"][0]["shared_prefixes"], true);
    assert!(computed_share(0) <= computed_share(1) && computed_share(1) <= 1.0, "{report:#}");
    for rate in ["prefill_tokens_a_second", "decode_tokens_a_second", "streams_tokens_a_second", "decode_share_of_memory"] {
        positive(&report, &format!("/generation/{rate}"));
    }
}

#[test]
fn without_a_model_the_machine_is_measured() {
    let place = Place::new();
    let output = place.run(&["bench", "--threads", "1"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.contains("1 threads") && output.stdout.contains("GB/s read from memory"), "{}", output.stdout);
}
