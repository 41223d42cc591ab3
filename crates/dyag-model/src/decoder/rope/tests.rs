//! Frequencies against those Transformers computes with.

use std::path::Path;

use serde_json::Value;

use super::frequencies;
use crate::config::DecoderConfig;

#[test]
fn frequencies_of_every_kind_are_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/config/cases.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in &cases {
        let (name, expected) = (&case["name"], &case["expected"]);
        let config = DecoderConfig::from_json(Path::new("config.json"), case["config"].as_object().unwrap()).unwrap();
        let original = expected["original_positions"].as_u64().unwrap() as usize;
        for (longest, key) in [(original, "frequencies"), (original + 1, "frequencies_long")] {
            let (found, scale) = frequencies(&config.rope, longest);
            let expected_list: Vec<f64> = expected[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            assert_eq!(found.len(), expected_list.len(), "{name}");
            // Transformers computes them in f32, a few roundings from the exact value.
            let close = found.iter().zip(&expected_list).all(|(f, e)| (f64::from(*f) - e).abs() <= 2e-6 * e);
            assert!(close, "{name} {key}: {found:?}, expected {expected_list:?}");
            assert!((scale - expected["attention_factor"].as_f64().unwrap()).abs() < 1e-12, "{name}");
        }
    }
}
