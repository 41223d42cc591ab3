//! Files changed at random: an error or a model, never a panic.

use std::path::Path;

use dyag_kernels::map::Bytes;
use dyag_model::Model;
use dyag_model::config::DecoderConfig;
use dyag_model::weights::{GgufFile, SafetensorsFile};
use dyag_testing::{GgufBuilder, fixture};
use proptest::prelude::*;

use crate::folder::safetensors;

/// The smallest Llama.
fn small_gguf() -> Vec<u8> {
    let mut builder = GgufBuilder::default()
        .text("general.architecture", "llama")
        .u32("llama.block_count", 1)
        .u32("llama.context_length", 8)
        .u32("llama.embedding_length", 4)
        .u32("llama.feed_forward_length", 2)
        .u32("llama.attention.head_count", 2)
        .u32("llama.attention.head_count_kv", 1)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", &["a", "b", "</s>"])
        .i32s("tokenizer.ggml.token_type", &[1, 1, 3]);
    for (name, shape) in [
        ("token_embd", &[3, 4][..]),
        ("output_norm", &[4]),
        ("blk.0.attn_norm", &[4]),
        ("blk.0.attn_q", &[4, 4]),
        ("blk.0.attn_k", &[2, 4]),
        ("blk.0.attn_v", &[2, 4]),
        ("blk.0.attn_output", &[4, 4]),
        ("blk.0.ffn_norm", &[4]),
        ("blk.0.ffn_gate", &[2, 4]),
        ("blk.0.ffn_up", &[2, 4]),
        ("blk.0.ffn_down", &[4, 2]),
        ("rope_freqs", &[1]),
    ] {
        let values = vec![1.0; shape.iter().product()];
        builder = builder.tensor_f32(&format!("{name}.weight"), shape, &values);
    }
    builder.build()
}

fn load_gguf(bytes: Vec<u8>) -> Result<Model, dyag_model::ModelError> {
    let path = Path::new("x.gguf");
    Model::from_gguf(path, GgufFile::from_bytes(path, Bytes::from_vec(bytes))?)
}

/// Applies changes `(place, byte)` and cuts to `keep` of 256 parts.
fn damage(mut bytes: Vec<u8>, changes: &[(u16, u8)], keep: u16) -> Vec<u8> {
    for (place, byte) in changes {
        let at = usize::from(*place) % bytes.len();
        bytes[at] = *byte;
    }
    let len = bytes.len() * usize::from(keep) / 256;
    bytes.truncate(len);
    bytes
}

#[test]
fn the_undamaged_files_load() {
    let model = load_gguf(small_gguf()).unwrap();
    assert_eq!(model.config.eos_token_ids, [2]);
    assert!(model.config.tied_head);
    // So do the seeds of the fuzz target, without which it would not get past the header.
    for seed in ["llama", "qwen2", "phi3"] {
        let bytes = std::fs::read(fixture(format!("../fuzz/seeds/gguf/{seed}.gguf"))).unwrap();
        assert_eq!(load_gguf(bytes).unwrap_or_else(|error| panic!("{seed}: {error}")).config.family, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_gguf_files_never_panic(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 0..6), keep in prop_oneof![Just(256u16), 0..=256u16]) {
        if let Ok(model) = load_gguf(damage(small_gguf(), &changes, keep)) {
            prop_assert_eq!(model.weights.layers.len(), model.config.n_layers);
            prop_assert_eq!(model.source.fingerprint().len(), 64);
        }
    }

    #[test]
    fn damaged_safetensors_files_never_panic(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 0..6), keep in prop_oneof![Just(256u16), 0..=256u16]) {
        let whole = safetensors(&[("a", "F32", &[2, 3], &[1; 24]), ("b", "I64", &[2], &[2; 16]), ("c", "BF16", &[], &[3; 2])]);
        if let Ok(file) = SafetensorsFile::from_bytes(Path::new("x"), Bytes::from_vec(damage(whole, &changes, keep))) {
            for name in file.names() {
                let tensor = file.tensor(name).unwrap();
                let n: usize = tensor.shape.iter().product();
                prop_assert_eq!(n * tensor.dtype.size(), tensor.bytes.len());
                if let Ok(values) = tensor.to_f32() {
                    prop_assert_eq!(values.len(), n);
                }
            }
        }
    }

    #[test]
    fn changed_configurations_never_panic(case in any::<prop::sample::Index>(), key in any::<prop::sample::Index>(), value in prop_oneof![
        Just("0".to_owned()), Just("-1".to_owned()), Just("1".to_owned()), Just("1e400".to_owned()), Just("null".to_owned()), Just("[]".to_owned()),
        Just("{}".to_owned()), Just("\"x\"".to_owned()), Just("18446744073709551615".to_owned()), Just("0.1".to_owned()), Just("[1,2]".to_owned()),
    ]) {
        let cases: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(fixture("config/cases.json")).unwrap()).unwrap();
        let mut object = case.get(&cases)["config"].as_object().unwrap().clone();
        let keys: Vec<String> = object.keys().cloned().collect();
        if let Ok(value) = serde_json::from_str(&value) {
            object.insert(key.get(&keys).clone(), value);
        }
        if let Ok(config) = DecoderConfig::from_json(Path::new("config.json"), &object) {
            prop_assert_eq!(config.windows.len(), config.n_layers);
            prop_assert!(config.rope.rotary_size % 2 == 0 && config.rope.rotary_size <= config.head_size);
        }
    }
}
