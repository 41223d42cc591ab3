//! config.json: what Transformers makes of it, and refusals.

use std::path::Path;

use dyag_model::config::{DecoderConfig, RopeScaling};
use serde_json::{Map, Value, json};

use crate::assert_error;

/// A configuration of the family with nothing but what must be there.
fn bare(family: &str) -> Map<String, Value> {
    let keys = json!({
        "model_type": family, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 50
    });
    keys.as_object().unwrap().clone()
}

fn read(object: &Map<String, Value>) -> Result<DecoderConfig, dyag_model::ModelError> {
    DecoderConfig::from_json(Path::new("config.json"), object)
}

/// The bare configuration with `key` set.
fn with(family: &str, key: &str, value: Value) -> Result<DecoderConfig, dyag_model::ModelError> {
    let mut object = bare(family);
    object.insert(key.to_owned(), value);
    read(&object)
}

#[test]
fn configurations_mean_what_transformers_makes_of_them() {
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(dyag_testing::fixture("config/cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 25);
    for case in &cases {
        let (name, expected) = (&case["name"], &case["expected"]);
        let config = read(case["config"].as_object().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(json!(config.head_size), expected["head_size"], "{name}");
        assert_eq!(json!(config.n_kv_heads), expected["n_kv_heads"], "{name}");
        assert_eq!(json!(config.max_positions), expected["max_positions"], "{name}");
        assert_eq!(config.rms_norm_eps, expected["rms_norm_eps"].as_f64().unwrap() as f32, "{name}");
        assert_eq!(json!(config.windows), expected["windows"], "{name}");
        assert_eq!(json!(config.tied_head), expected["tied_head"], "{name}");
        assert_eq!(json!(config.qkv_bias), expected["qkv_bias"], "{name}");
        assert_eq!(json!(config.bos_token_id), expected["bos_token_id"], "{name}");
        assert_eq!(json!(config.eos_token_ids), expected["eos_token_ids"], "{name}");
        let factor = match &config.rope.scaling {
            RopeScaling::LongRope { attention_factor, .. } => *attention_factor,
            _ => 1.0,
        };
        assert!((factor - expected["attention_factor"].as_f64().unwrap()).abs() < 1e-12, "{name}: {factor}");
    }
}

#[test]
fn every_required_key_is_named_when_it_is_missing_and_when_it_is_nonsense() {
    for key in ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"] {
        let mut object = bare("llama");
        object.remove(key);
        assert_error(read(&object), &["config.json", &format!("the key `{key}` is missing")]);
        for wrong in [json!(0), json!(-3), json!(1.5), json!("64"), json!(1u64 << 40), json!([64]), json!(true)] {
            assert_error(with("llama", key, wrong.clone()), &[&format!("`{key}` is {wrong}"), "expected an integer from 1"]);
        }
    }
    let mut object = bare("llama");
    object.remove("model_type");
    assert_error(read(&object), &["the key `model_type` is missing"]);
}

#[test]
fn numbers_that_do_not_go_together_are_refused() {
    assert_error(with("llama", "num_attention_heads", json!(6)), &["num_attention_heads", "a divisor of hidden_size (64)"]);
    assert_error(with("llama", "num_key_value_heads", json!(3)), &["num_key_value_heads", "is 3", "a divisor of the 4 query heads"]);
    assert_error(with("llama", "head_dim", json!(7)), &["even number", "is 7"]);
    assert_error(with("phi3", "partial_rotary_factor", json!(0.33)), &["partial_rotary_factor", "even number", "is 5"]);
    assert_error(with("phi3", "partial_rotary_factor", json!(2.0)), &["even number", "is 32"]);
    assert_error(with("llama", "num_hidden_layers", json!(100_000)), &["num_hidden_layers", "at most 10000"]);
    assert_error(with("llama", "rms_norm_eps", json!(-1.0)), &["rms_norm_eps", "is -1"]);
    assert_error(with("llama", "rope_theta", json!(0)), &["rope_theta", "a number above 0"]);
    assert_error(with("mistral", "sliding_window", json!(0)), &["sliding_window", "is 0"]);
    assert_error(with("qwen2", "layer_types", json!(["full_attention"])), &["layer_types", "4 entries"]);
    let sliding = json!(["sliding_attention", "full_attention", "full_attention", "full_attention"]);
    assert_error(with("qwen2", "layer_types", sliding), &["layer_types[0]", "no sliding window is set"]);
    assert_error(with("llama", "eos_token_id", json!(["a"])), &["eos_token_id", "a token id or a list of token ids"]);
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    assert_error(with("gpt2", "x", Value::Null), &["`model_type` is \"gpt2\"", "unsupported architecture", "llama, mistral, phi3, qwen2"]);
    assert_error(
        with("qwen2", "architectures", json!(["Qwen2ForSequenceClassification"])),
        &["architectures", "Qwen2ForSequenceClassification", "Qwen2ForCausalLM"],
    );
    assert_error(with("llama", "hidden_act", json!("relu")), &["hidden_act", "\"relu\"", "silu"]);
    assert_error(with("llama", "mlp_bias", json!(true)), &["mlp_bias"]);
    assert_error(with("llama", "quantization_config", json!({"quant_method": "gptq"})), &["quantization_config", "gptq", "GGUF"]);
    assert_error(with("llama", "partial_rotary_factor", json!(0.5)), &["partial_rotary_factor", "is 0.5", "whole heads"]);
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768});
    assert_error(with("qwen2", "rope_scaling", yarn), &["rope_scaling.rope_type", "\"yarn\"", "default, linear, llama3, longrope"]);
    let dynamic = json!({"type": "dynamic", "factor": 4.0});
    assert_error(with("llama", "rope_scaling", dynamic), &["rope_scaling.type", "\"dynamic\""]);
    let nested = json!({"full_attention": {"rope_type": "default"}});
    assert_error(with("llama", "rope_parameters", nested), &["rope_parameters.full_attention", "not supported"]);
    let mixed = json!(["sliding_attention", "full_attention", "full_attention", "full_attention"]);
    assert_error(with("mistral", "layer_types", mixed), &["layer_types", "every layer the same"]);
}

#[test]
fn rope_objects_lack_nothing() {
    let incomplete = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0});
    assert_error(with("llama", "rope_scaling", incomplete), &["the key `rope_scaling.high_freq_factor` is missing"]);
    let reversed = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0});
    assert_error(with("llama", "rope_scaling", reversed), &["rope_scaling.high_freq_factor", "above low_freq_factor (4)"]);
    assert_error(with("llama", "rope_scaling", json!({"type": "linear"})), &["the key `rope_scaling.factor` is missing"]);
    let long = |short: Value| json!({"type": "longrope", "short_factor": short, "long_factor": [1, 1, 1, 1, 1, 1, 1, 1]});
    assert_error(with("phi3", "rope_scaling", long(json!([1, 1]))), &["short_factor", "8 divisors", "is 2"]);
    assert_error(with("phi3", "rope_scaling", long(json!([1, 1, 1, 0, 1, 1, 1, 1]))), &["divisors above 0", "is 0"]);
    assert_error(with("phi3", "rope_scaling", long(json!("1"))), &["rope_scaling.short_factor", "a list of numbers"]);
    assert_error(with("phi3", "rope_scaling", json!([])), &["rope_scaling", "an object"]);
}
