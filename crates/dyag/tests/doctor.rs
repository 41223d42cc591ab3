//! `dyag doctor`: what it says of this machine is so, and its exit status says whether dyag works here.

mod common;

use common::{Place, tiny_repo};
use dyag_testing::TestHub;
use serde_json::Value;

fn report(place: &Place, code: i32) -> Value {
    let outcome = place.run(&["doctor", "--no-measure", "--json"]);
    assert_eq!(outcome.code, Some(code), "{outcome}");
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

#[test]
fn the_machine_is_described() {
    let place = Place::new();
    let report = report(&place, 0);
    assert_eq!(report["ok"], true);
    assert!(report["processor"]["threads"].as_u64().is_some_and(|n| n >= 1), "{report:#}");
    assert!(report["processor"]["kernels"].as_str().is_some_and(|kernels| kernels.starts_with("cpu ")), "{report:#}");
    if cfg!(target_os = "linux") {
        let bytes = |key: &str| report["memory"][key].as_u64().expect("Linux says");
        assert!(bytes("available_bytes") > 0 && bytes("available_bytes") <= bytes("total_bytes"), "{report:#}");
    }
    for disk in report["disks"].as_array().expect("disks") {
        assert!(disk["writable"] == true && disk["free_bytes"].as_u64().is_none_or(|bytes| bytes > 0), "{report:#}");
    }
    assert_eq!(report["gpu"]["used"], false);
    assert_eq!((&report["hub"]["state"], &report["hub"]["detail"]), (&Value::from("offline"), &Value::from("HF_HUB_OFFLINE")));
    assert_eq!(report["token"], serde_json::json!({ "is_set": false, "source": null }));
    assert_eq!(report["speed"], Value::Null);
    assert!(report["trainable"].as_array().is_some_and(|rows| rows.len() >= 20), "{report:#}");
    // That no model is here is something to know where the network is forbidden.
    assert_eq!(report["notes"].as_array().map(Vec::len), Some(1), "{report:#}");
}

#[test]
fn the_hub_the_cache_and_the_token_are_looked_at_and_nothing_of_the_token_is_shown() {
    let place = Place::new();
    let hub = TestHub::with(tiny_repo("Qwen/Qwen2.5-0.5B-Instruct"));
    place.online(&hub);
    place.set("HF_TOKEN", "hf_geheim0123456789");
    assert_eq!(place.run(&["models", "pull", "qwen2.5:0.5b"]).code, Some(0));
    let before = hub.requests().len();
    let outcome = place.run(&["doctor", "--no-measure"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!outcome.to_string().contains("geheim"), "{outcome}");
    let requests = &hub.requests()[before..];
    assert_eq!(requests.len(), 1, "one short request");
    assert_eq!(requests[0].header("authorization"), None);
    let report = report(&place, 0);
    assert_eq!((&report["hub"]["state"], &report["hub"]["endpoint"]), (&Value::from("reached"), &Value::from(hub.url())));
    assert_eq!((&report["cache"]["models"], &report["cache"]["whole"]), (&Value::from(1), &Value::from(1)));
    assert!(report["cache"]["bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{report:#}");
    assert_eq!(report["token"]["source"], "HF_TOKEN");
}

#[test]
fn what_keeps_dyag_from_working_is_a_no_with_what_to_do() {
    let place = Place::new();
    place.set("HF_HUB_OFFLINE", "0");
    // Nobody listens there any more.
    let address = TestHub::with(tiny_repo("a/b")).url();
    place.set("HF_ENDPOINT", &address);
    let outcome = place.run(&["doctor", "--no-measure"]);
    assert_eq!(outcome.code, Some(0), "models are found elsewhere too: {outcome}");
    assert!(outcome.stdout.contains("note: the model hub") && outcome.stdout.contains("HTTPS_PROXY"), "{outcome}");
    assert!(outcome.stdout.contains("All is well"), "{outcome}");
    // A variable that is not understood.
    place.set("HF_ENDPOINT", "huggingface.co");
    let outcome = place.run(&["doctor", "--no-measure", "--lang", "fr"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.contains("problème : HF_ENDPOINT") && outcome.stdout.contains("Quelque chose empêche"), "{outcome}");
}

#[test]
fn ten_seconds_of_measuring_give_rates_and_estimates() {
    let place = Place::new();
    let outcome = place.run(&["doctor", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let speed = &report["speed"];
    assert!(speed["seconds"].as_f64().is_some_and(|seconds| seconds > 9.0), "{speed:#}");
    let products = speed["products"].as_array().expect("products");
    assert_eq!(
        products.iter().map(|product| product["operands"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["f32", "bf16", "int8"]
    );
    assert!(products.iter().all(|product| product["gflops"].as_f64().is_some_and(|rate| rate > 0.0)), "{speed:#}");
    let training = speed["training"].as_array().expect("estimates");
    let low = |name: &str| training.iter().find(|row| row["name"] == name).and_then(|row| row["tokens_a_second_low"].as_f64());
    // Ten times the parameters, a tenth of the speed.
    if let (Some(small), Some(large)) = (low("smollm2:135m"), low("qwen2.5:1.5b")) {
        assert!((small / large - 1.5e9 / 135e6).abs() < 1e-6, "{speed:#}");
    }
    assert!(speed["how"].as_str().is_some_and(|how| how.starts_with("an estimate:")), "{speed:#}");
}
