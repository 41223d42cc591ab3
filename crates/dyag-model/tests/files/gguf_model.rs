//! Whole models from GGUF files: the golden models as llama.cpp's converter writes them, and refusals.

use std::path::Path;

use dyag_kernels::map::Bytes;
use dyag_kernels::{Format, WeightMatrix};
use dyag_model::config::RopeScaling;
use dyag_model::weights::GgufFile;
use dyag_model::{Model, ModelError, SourceKind};
use dyag_testing::{GOLDEN_CASES, GgufBuilder, fixture, golden, golden_gguf};

use crate::{all_values, assert_error};

fn load(builder: &GgufBuilder) -> Result<Model, ModelError> {
    let path = Path::new("folder/x.gguf");
    Model::from_gguf(path, GgufFile::from_bytes(path, Bytes::from_vec(builder.build()))?)
}

#[test]
fn golden_models_are_the_same_from_both_kinds_of_files() {
    for case in GOLDEN_CASES {
        let folder = Model::load(&golden(case).join("model")).unwrap();
        let gguf = load(&golden_gguf(case)).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(gguf.source.kind, SourceKind::Gguf);
        assert_eq!(gguf.source.name, "Golden");
        assert_eq!(all_values(&gguf.weights), all_values(&folder.weights), "{case}");
        let mut expected = folder.config.clone();
        // What a GGUF file says otherwise, or cannot say.
        expected.family = gguf.config.family.clone();
        expected.eos_token_ids.retain(|id| (*id as usize) < expected.vocab_size);
        if let RopeScaling::Divisors(divisors) = &gguf.config.rope.scaling {
            assert_eq!(case, "llama3");
            assert!(divisors.first() == Some(&1.0) && divisors.last() == Some(&32.0) && divisors.iter().any(|d| *d > 1.0 && *d < 32.0));
            expected.rope.scaling = gguf.config.rope.scaling.clone();
        }
        if let (RopeScaling::LongRope { attention_factor: read, .. }, RopeScaling::LongRope { attention_factor, .. }) =
            (&gguf.config.rope.scaling, &mut expected.rope.scaling)
        {
            assert!((*read / *attention_factor - 1.0).abs() < 1e-7, "{case}: an f32");
            *attention_factor = *read;
        }
        assert_eq!(gguf.config, expected, "{case}");
        assert_eq!(case == "llama3", matches!(gguf.config.rope.scaling, RopeScaling::Divisors(_)));
    }
}

#[test]
fn a_file_or_a_folder_of_one_file_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some-model.gguf");
    std::fs::write(&path, golden_gguf("qwen2").without("general.name").build()).unwrap();
    let by_file = Model::load(&path).unwrap();
    let by_folder = Model::load(folder.path()).unwrap();
    assert_eq!(by_file.source.name, "some-model");
    assert_eq!(by_file.source.fingerprint(), by_folder.source.fingerprint());
    assert_eq!(by_folder.source.path, folder.path());
    assert_error(Model::load_with_config(&path, Some(Path::new("c.json"))), &["c.json cannot be used with a GGUF file"]);
}

#[test]
fn biases_of_llama_files_are_put_back_in_order_too() {
    let head_size = 16;
    let mut builder = golden_gguf("tinyllama");
    for layer in 0..3 {
        for (part, len) in [("q", 64), ("k", 32), ("v", 32)] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            builder = builder.tensor_f32(&format!("blk.{layer}.attn_{part}.bias"), &[len], &values);
        }
    }
    let model = load(&builder).unwrap();
    assert!(model.config.qkv_bias);
    let dyag_model::weights::QkvWeights::Separate { q_bias, k_bias, v_bias, .. } = &model.weights.layers[0].qkv else { panic!("fused") };
    for bias in [q_bias, k_bias] {
        for (i, value) in bias.iter().enumerate() {
            let (head, within) = (i / head_size, i % head_size);
            let stored = head * head_size + if within < 8 { 2 * within } else { 2 * (within - 8) + 1 };
            assert_eq!(*value, stored as f32);
        }
    }
    assert_eq!(v_bias.iter().map(|v| *v as usize).collect::<Vec<_>>(), (0..32).collect::<Vec<_>>());
}

#[test]
fn quantised_rows_are_served_in_the_models_order() {
    // Two heads of four rows; row r of the file holds r in every element.
    let fixture = std::fs::read(fixture("quant/Q8_0.bin")).unwrap();
    let blocks = &fixture[4..4 + 8 * 34];
    let matrix = WeightMatrix::new(Bytes::from_vec(blocks.to_vec()), Format::Q8_0, 8, 32).unwrap();
    let plain: Vec<Vec<f32>> = (0..8).map(|row| widened(&matrix, row)).collect();
    let interleaved = matrix.with_interleaved_heads(4).unwrap();
    for (row, stored) in [0, 2, 1, 3, 4, 6, 5, 7].into_iter().enumerate() {
        assert_eq!(widened(&interleaved, row), plain[stored]);
    }
}

fn widened(matrix: &WeightMatrix, row: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; matrix.cols()];
    matrix.widen_row(row, 0, &mut out);
    out
}

#[test]
fn the_tokenizer_comes_along() {
    let builder = golden_gguf("llama3")
        .u32("tokenizer.ggml.padding_token_id", 4)
        .u32("tokenizer.ggml.unknown_token_id", u32::MAX)
        .u32("tokenizer.ggml.eot_token_id", 5)
        .bool("tokenizer.ggml.add_bos_token", true)
        .bool("tokenizer.ggml.add_space_prefix", false)
        .f32s("tokenizer.ggml.scores", &(0..515).map(|i| i as f32).collect::<Vec<_>>())
        .text("tokenizer.chat_template", "{{ messages }}");
    let model = load(&builder).unwrap();
    let tokenizer = model.source.tokenizer.as_ref().unwrap();
    assert_eq!((tokenizer.model.as_str(), tokenizer.pre.as_deref()), ("gpt2", Some("qwen2")));
    assert_eq!((tokenizer.tokens.len(), tokenizer.tokens[514].as_str()), (515, "token514"));
    assert_eq!((tokenizer.token_types.len(), tokenizer.scores[3], tokenizer.merges.len()), (515, 3.0, 2));
    assert_eq!((tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.eot_token_id), (Some(1), Some(2), Some(5)));
    assert_eq!((tokenizer.pad_token_id, tokenizer.unk_token_id), (Some(4), None));
    assert_eq!((tokenizer.add_bos_token, tokenizer.add_eos_token, tokenizer.add_space_prefix), (Some(true), None, Some(false)));
    assert_eq!(tokenizer.chat_template.as_deref(), Some("{{ messages }}"));
    assert_eq!(model.config.eos_token_ids, [2, 5]);
    assert_eq!(model.config.bos_token_id, Some(1));
}

#[test]
fn control_tokens_that_end_a_turn_by_their_text_end_a_sequence() {
    let mut tokens: Vec<String> = (0..515).map(|id| format!("token{id}")).collect();
    let mut types = vec![1; 515];
    for (id, text, kind) in [(500, "<|im_end|>", 3), (501, "<|endoftext|>", 3), (502, "<|im_start|>", 3), (503, "<|end|>", 1)] {
        tokens[id] = text.to_owned();
        types[id] = kind;
    }
    let builder = golden_gguf("qwen2")
        .texts("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
        .u32("tokenizer.ggml.eos_token_id", 501);
    // An ordinary token with such a text is text.
    assert_eq!(load(&builder).unwrap().config.eos_token_ids, [501, 500]);
}

#[test]
fn tokenizers_that_contradict_themselves_are_refused() {
    let builder = || golden_gguf("qwen2");
    assert_error(load(&builder().without("tokenizer.ggml.model")), &["the key `tokenizer.ggml.model` is missing"]);
    assert_error(load(&builder().u32("tokenizer.ggml.model", 1)), &["`tokenizer.ggml.model` is 1", "a string"]);
    assert_error(load(&builder().u32("tokenizer.ggml.bos_token_id", 515)), &["bos_token_id", "is 515", "515 tokens"]);
    assert_error(load(&builder().i32s("tokenizer.ggml.token_type", &[1, 2])), &["token_type", "an array of 515 integers"]);
    assert_error(load(&builder().f32s("tokenizer.ggml.scores", &[1.0])), &["scores", "an array of 515 numbers"]);
    let many: Vec<String> = (0..516).map(|id| id.to_string()).collect();
    let too_many = builder().without("tokenizer.ggml.token_type").texts("tokenizer.ggml.tokens", &many);
    assert_error(load(&too_many), &["tokenizer.ggml.tokens", "is 516", "at most 515", "token_embd.weight"]);
}

#[test]
fn what_a_file_must_say_is_named() {
    let builder = || golden_gguf("qwen2");
    for key in ["block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"] {
        let key = format!("qwen2.{key}");
        assert_error(load(&builder().without(&key)), &[&format!("the key `{key}` is missing")]);
        assert_error(load(&builder().u32(&key, 0)), &[&format!("`{key}` is 0")]);
        assert_error(load(&builder().text(&key, "x")), &[&format!("`{key}` is \"x\""), "an integer from 1"]);
    }
    assert_error(load(&builder().without("qwen2.attention.layer_norm_rms_epsilon")), &["layer_norm_rms_epsilon` is missing"]);
    assert_error(load(&builder().without("general.architecture")), &["the key `general.architecture` is missing"]);
    assert_error(
        load(&builder().text("general.architecture", "gemma2")),
        &["`general.architecture` is \"gemma2\"", "unsupported architecture", "gemma3, llama, phi3, qwen2, qwen3"],
    );
    assert_error(load(&builder().u32("qwen2.attention.head_count_kv", 3)), &["head_count_kv", "a divisor of the 4 query heads"]);
    assert_error(load(&builder().without_tensor("token_embd.weight")), &["the tensor `token_embd.weight` is missing"]);
    assert_error(load(&builder().without_tensor("blk.1.attn_q.bias")), &["the tensor `blk.1.attn_q.bias` is missing", "qwen2"]);
    assert_error(
        load(&builder().tensor_f32("blk.0.attn_q_norm.weight", &[16], &[1.0; 16])),
        &["the tensor `blk.0.attn_q_norm.weight` has no place in a qwen2 model"],
    );
    let wrong = builder().without_tensor("output_norm.weight").tensor_f32("output_norm.weight", &[63], &[1.0; 63]);
    assert_error(load(&wrong), &["`output_norm.weight`", "[63]", "expected [64]"]);
}

#[test]
fn head_counts_may_be_lists_of_equal_numbers() {
    let model = load(&golden_gguf("qwen2").i32s("qwen2.attention.head_count_kv", &[2, 2, 2])).unwrap();
    assert_eq!(model.config.n_kv_heads, 2);
    assert_error(
        load(&golden_gguf("qwen2").i32s("qwen2.attention.head_count_kv", &[2, 2, 1])),
        &["qwen2.attention.head_count_kv", "layers of different sizes"],
    );
}

#[test]
fn what_changes_the_numbers_is_refused_by_name() {
    let llama = || golden_gguf("tinyllama");
    assert_error(load(&llama().u32("llama.expert_count", 8)), &["llama.expert_count", "is 8", "not supported"]);
    assert!(load(&llama().u32("llama.expert_count", 0).u32("split.count", 1)).is_ok());
    assert_error(load(&llama().u32("split.count", 3)), &["split.count", "is 3", "merge the parts"]);
    assert_error(load(&llama().f32("llama.logit_scale", 0.5)), &["llama.logit_scale", "is 0.5"]);
    assert_error(load(&llama().bool("llama.attention.causal", false)), &["llama.attention.causal", "is false"]);
    assert_error(load(&llama().u32("llama.rope.dimension_count", 8)), &["llama.rope.dimension_count", "is 8", "whole heads"]);
    assert_error(load(&llama().text("llama.rope.scaling.type", "yarn")), &["llama.rope.scaling.type", "\"yarn\"", "none, linear"]);
    assert_error(load(&llama().u32("llama.attention.value_length", 8)), &["value_length", "is 8", "key_length (16)"]);
    assert_error(load(&golden_gguf("qwen2").u32("qwen2.attention.sliding_window", 8)), &["qwen2.attention.sliding_window", "is 8"]);
}

#[test]
fn rope_factors_are_read_from_keys_and_tensors() {
    let scaling = |builder: GgufBuilder| load(&builder).map(|model| model.config.rope.scaling);
    let llama = || golden_gguf("tinyllama");
    let linear = llama().text("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 4.0);
    assert_eq!(scaling(linear).unwrap(), RopeScaling::Linear { factor: 4.0 });
    assert_eq!(scaling(llama().f32("llama.rope.scale_linear", 2.0)).unwrap(), RopeScaling::Linear { factor: 2.0 });
    assert_eq!(scaling(llama().f32("llama.rope.scale_linear", 1.0)).unwrap(), RopeScaling::None);
    assert_eq!(scaling(llama().text("llama.rope.scaling.type", "none")).unwrap(), RopeScaling::None);
    assert_error(scaling(llama().text("llama.rope.scaling.type", "linear")), &["the key `llama.rope.scaling.factor` is missing"]);

    let (short, long) = ([1.0f32; 8], [3.0f32; 8]);
    let phi =
        || golden_gguf("phi3").tensor_f32("rope_factors_long.weight", &[8], &long).u32("phi3.rope.scaling.original_context_length", 64);
    let both = || phi().tensor_f32("rope_factors_short.weight", &[8], &short);
    let expected = |attention_factor| RopeScaling::LongRope {
        short: short.to_vec(),
        long: long.to_vec(),
        original_max_positions: 64,
        attention_factor,
    };
    // Stretched from 64 to 512 positions: sqrt(1 + ln 8 / ln 64) = sqrt(1.5).
    assert_eq!(scaling(both()).unwrap(), expected((1.0f64 + 8f64.ln() / 64f64.ln()).sqrt()));
    assert_eq!(scaling(both().f32("phi3.rope.scaling.attn_factor", 1.5)).unwrap(), expected(1.5));
    assert_error(scaling(phi()), &["rope_factors_long.weight and rope_factors_short.weight, both or none"]);
    assert_error(scaling(golden_gguf("llama3").text("llama.rope.scaling.type", "linear")), &["with rope_freqs.weight"]);
    let wrong = llama().tensor_f32("rope_freqs.weight", &[7], &[1.0; 7]);
    assert_error(scaling(wrong), &["8 divisors", "is 7"]);
    let zero = llama().tensor_f32("rope_freqs.weight", &[8], &[0.0; 8]);
    assert_error(scaling(zero), &["divisors above 0"]);
    let halves = llama().tensor("rope_freqs.weight", &[8], 1, vec![0; 16]);
    assert_error(scaling(halves), &["`rope_freqs.weight`", "a vector of F32", "F16"]);
}
