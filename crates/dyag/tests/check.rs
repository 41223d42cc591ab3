//! `dyag check` on the reference dumps: it passes where the numbers agree, and fails, saying where, when a single weight is moved.

mod common;

use std::fs;

use common::{Outcome, Place, root};
use dyag_testing::{GOLDEN_CASES as CASES, PEFT_CASES as PEFT};
use serde_json::Value;

/// Variants of LoRA: `fixtures/golden/lora-VARIANT` over the case that its base.txt names.
const VARIANTS: [&str; 9] = ["rslora", "dora", "dora-fused", "dora-some", "patterns", "all-linear", "regex", "plus", "everything"];

/// A place with `fixtures/golden/CASE` as `model`, `adapter` and `reference`.
fn place(case: &str) -> Place {
    let place = Place::new();
    copy(&place, &format!("golden/{case}/model"), "model");
    copy(&place, &format!("golden/{case}/adapter"), "adapter");
    copy(&place, &format!("golden/{case}"), "reference");
    place
}

/// Copies the files of a folder of fixtures.
fn copy(place: &Place, from: &str, to: &str) {
    for entry in fs::read_dir(root().join("fixtures").join(from)).expect("fixtures") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            place.write(&format!("{to}/{name}"), fs::read(&path).expect("a fixture"));
        }
    }
}

fn check(place: &Place, more: &[&str]) -> Outcome {
    let arguments = ["check", "--model", "model", "--adapter", "adapter", "--reference", "reference/reference.safetensors"];
    place.run(&[arguments.as_slice(), more].concat())
}

fn passes(place: &Place, more: &[&str]) {
    let outcome = check(place, more);
    assert_eq!(outcome.code, Some(0), "{more:?}\n{outcome}");
    assert!(outcome.stdout.ends_with("\npassed\n"), "{outcome}");
}

#[test]
fn every_case_passes_with_the_keys_of_either_version() {
    for case in CASES {
        let place = place(case);
        for config in ["model/config.json", "reference/config_v4.json"] {
            passes(&place, &["--config", config]);
            passes(&place, &["--config", config, "--precision", "bf16"]);
        }
    }
}

#[test]
fn every_case_passes_on_the_scalar_references() {
    for case in CASES {
        let place = place(case);
        passes(&place, &["--device", "reference"]);
        passes(&place, &["--device", "reference", "--precision", "bf16"]);
    }
}

/// Cases of `fixtures/full`: dumps of the golden models with all weights trained. Between them every kind of tensor: embedding, head, biases, fused matrices, all norms.
const FULL: [&str; 5] = ["qwen2", "phi3", "qwen3-bias", "gemma3", "llama-bias"];

#[test]
fn all_weights_of_every_family_are_trained_as_pytorch_trains_them() {
    for case in FULL {
        let place = Place::new();
        copy(&place, &format!("golden/{case}/model"), "model");
        copy(&place, &format!("full/{case}"), "reference");
        for more in [&[][..], &["--precision", "bf16"], &["--device", "reference"]] {
            let arguments = [&["check", "--model", "model", "--reference", "reference/reference.safetensors"], more].concat();
            let outcome = place.run(&arguments);
            assert_eq!(outcome.code, Some(0), "{case} {more:?}\n{outcome}");
            assert!(outcome.stdout.ends_with("\npassed\n"), "{outcome}");
        }
    }
    // Another model's dump, and a gradient that is off.
    let place = Place::new();
    copy(&place, "golden/llama-bias/model", "model");
    copy(&place, "full/qwen3-bias", "reference");
    let other = place.run(&["check", "--model", "model", "--reference", "reference/reference.safetensors"]);
    assert_eq!(other.code, Some(2), "{other}");
    copy(&place, "golden/qwen3-bias/model", "model");
    let file = "reference/reference.safetensors";
    let original = fs::read(place.path(file)).expect("the dump");
    let name = "grad.model.layers.1.self_attn.q_proj.weight";
    let tensor = matrices(&original).into_iter().find(|tensor| tensor.name == name).expect("a gradient");
    place.write(file, moved(&original, &tensor, 7));
    let spoilt = place.run(&["check", "--model", "model", "--reference", "reference/reference.safetensors"]);
    assert!(spoilt.code == Some(1) && spoilt.stdout.contains("worst at model.layers.1.self_attn.q_proj.weight"), "{spoilt}");
}

#[test]
fn adapters_that_peft_saved_pass_whatever_way_they_name_matrices() {
    for (name, case) in PEFT {
        let place = place(case);
        copy(&place, &format!("peft/{name}/adapter"), "adapter");
        copy(&place, &format!("peft/{name}"), "reference");
        passes(&place, &[]);
    }
}

/// A place with a variant of LoRA over its base.
fn variant(name: &str) -> Place {
    let from = format!("golden/lora-{name}");
    let place = place(fs::read_to_string(root().join("fixtures").join(&from).join("base.txt")).expect("base.txt").trim());
    copy(&place, &format!("{from}/adapter"), "adapter");
    copy(&place, &from, "reference");
    place
}

#[test]
fn every_variant_of_lora_passes() {
    for name in VARIANTS {
        let place = variant(name);
        passes(&place, &[]);
        passes(&place, &["--precision", "bf16"]);
        passes(&place, &["--device", "reference"]);
        passes(&place, &["--device", "reference", "--precision", "bf16"]);
    }
}

#[test]
fn a_magnitude_moved_or_another_ratio_fails() {
    let place = variant("everything");
    with_fact(&place, "loraplus_lr_ratio", Value::Null);
    let outcome = check(&place, &[]);
    assert!(outcome.code == Some(1) && outcome.stdout.contains("FAILED: total update"), "{outcome}");
    with_fact(&place, "loraplus_lr_ratio", (-1).into());
    refused(&place, &[], &["reference.json", "loraplus_lr_ratio"]);
    with_fact(&place, "loraplus_lr_ratio", 4.0.into());
    passes(&place, &[]);
    let file = "adapter/adapter_model.safetensors";
    let original = fs::read(place.path(file)).expect("weights");
    let name = "base_model.model.model.layers.1.mlp.up_proj.lora_magnitude_vector";
    let tensor = tensors(&original).into_iter().find(|tensor| tensor.name == name).expect("the magnitudes");
    place.write(file, moved(&original, &tensor, 7));
    let outcome = check(&place, &[]);
    assert!(outcome.code == Some(1) && outcome.stdout.contains("FAILED: gradients: "), "{outcome}");
    // Their gradient is compared as well.
    place.write(file, original);
    let file = "reference/reference.safetensors";
    let original = fs::read(place.path(file)).expect("the dump");
    let tensor = tensors(&original).into_iter().find(|tensor| tensor.name == format!("grad.{name}")).expect("its gradient");
    place.write(file, moved(&original, &tensor, 7));
    let outcome = check(&place, &[]);
    let said = format!("worst at {name}");
    assert!(outcome.code == Some(1) && outcome.stdout.contains(&said), "{outcome}");
}

/// Where a tensor of F32 lies in its file, and its shape.
struct Tensor {
    name: String,
    start: usize,
    shape: Vec<usize>,
}

/// The matrices of a safetensors file.
fn matrices(bytes: &[u8]) -> Vec<Tensor> {
    tensors(bytes).into_iter().filter(|tensor| tensor.shape.len() == 2).collect()
}

/// All tensors of a safetensors file.
fn tensors(bytes: &[u8]) -> Vec<Tensor> {
    let header_len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_len]).expect("a header");
    let tensors = header.as_object().expect("an object").iter().filter(|(name, _)| *name != "__metadata__");
    let numbers = |value: &Value| -> Vec<usize> { serde_json::from_value(value.clone()).expect("numbers") };
    tensors
        .map(|(name, about)| Tensor {
            name: name.clone(),
            start: 8 + header_len + numbers(&about["data_offsets"])[0],
            shape: numbers(&about["shape"]),
        })
        .collect()
}

/// The same bytes with one element of a tensor moved by one standard deviation of all its elements.
fn moved(bytes: &[u8], tensor: &Tensor, index: usize) -> Vec<u8> {
    let n = tensor.shape.iter().product::<usize>();
    let at = |i: usize| tensor.start + 4 * i;
    let value = |i: usize| f32::from_le_bytes(bytes[at(i)..at(i) + 4].try_into().expect("four bytes"));
    let mean = (0..n).map(|i| f64::from(value(i))).sum::<f64>() / n as f64;
    let variance = (0..n).map(|i| (f64::from(value(i)) - mean).powi(2)).sum::<f64>() / n as f64;
    let mut bytes = bytes.to_vec();
    bytes[at(index)..at(index) + 4].copy_from_slice(&(value(index) + variance.sqrt() as f32).to_le_bytes());
    bytes
}

/// First token of the first row: a row of the embedding that the dump uses.
fn first_token(place: &Place) -> usize {
    let bytes = fs::read(place.path("reference/reference.safetensors")).expect("the dump");
    let ids = matrices(&bytes).into_iter().find(|tensor| tensor.name == "input_ids").expect("input_ids");
    u64::from_le_bytes(bytes[ids.start..ids.start + 8].try_into().expect("eight bytes")) as usize
}

#[test]
fn one_weight_moved_by_one_standard_deviation_fails_and_the_worst_tensor_is_named() {
    for (c, case) in CASES.into_iter().enumerate() {
        let place = place(case);
        for file in ["model/model.safetensors", "adapter/adapter_model.safetensors"] {
            let original = fs::read(place.path(file)).expect("weights");
            // Some matrices of each file, others for each case; of each some element.
            for (i, tensor) in matrices(&original).iter().enumerate().filter(|(i, _)| (i + c) % 7 == 0) {
                let index = if tensor.name.contains("embed_tokens") {
                    first_token(&place) * tensor.shape[1] + i
                } else {
                    (i * 7919 + 1009 * c) % tensor.shape.iter().product::<usize>()
                };
                place.write(file, moved(&original, tensor, index));
                let outcome = check(&place, &[]);
                let gradients = outcome.stdout.lines().find(|line| line.starts_with("FAILED: gradients: "));
                let named = gradients.is_some_and(|line| line.contains("worst at base_model.model.model.layers."));
                assert!(outcome.code == Some(1) && named, "{case}: {} moved at {index}\n{outcome}", tensor.name);
            }
            place.write(file, original);
        }
        passes(&place, &[]);
    }
}

#[test]
fn the_worst_tensor_is_the_one_whose_own_reference_was_changed() {
    let place = place("qwen2");
    let file = "reference/reference.safetensors";
    let original = fs::read(place.path(file)).expect("the dump");
    for (prefix, quantity) in [("grad.", "gradients"), ("final.", "total update")] {
        let name = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight";
        let tensor = matrices(&original).into_iter().find(|tensor| tensor.name == format!("{prefix}{name}")).expect("the tensor");
        place.write(file, moved(&original, &tensor, 5));
        let outcome = check(&place, &[]);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let failed: Vec<_> = outcome.stdout.lines().filter(|line| line.starts_with("FAILED: ")).collect();
        assert!(failed.len() == 1 && failed[0].contains(quantity) && failed[0].ends_with(name), "{outcome}");
    }
}

#[test]
fn the_result_for_machines_says_the_same() {
    let place = place("qwen2-ragged");
    let outcome = check(&place, &["--json"]);
    let value: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((outcome.code, &value["passed"]), (Some(0), &Value::Bool(true)), "{outcome}");
    let names: Vec<_> = value["quantities"].as_array().expect("a list").iter().map(|q| q["quantity"].as_str().expect("a name")).collect();
    let all = ["base logits", "logits", "loss", "gradients", "losses of 10 steps", "gradient norms", "total update", "16 greedy tokens"];
    assert_eq!(names, all);
    assert!(value["kernel"].as_str().is_some_and(|kernel| kernel.contains("f32")), "{outcome}");
    let outcome = check(&place, &["--json", "--tolerance-factor", "1e-6"]);
    let value: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((outcome.code, &value["passed"]), (Some(1), &Value::Bool(false)), "{outcome}");
}

/// Replaces a key of reference.json.
fn with_fact(place: &Place, key: &str, value: Value) {
    let mut facts: Value = serde_json::from_str(&place.read("reference/reference.json")).expect("JSON");
    facts[key] = value;
    place.write("reference/reference.json", facts.to_string());
}

#[test]
fn single_precision_does_not_pass_as_bf16() {
    let place = place("tinyllama");
    let errors = |factor: f64| {
        serde_json::json!({
            "logits_max_relative_to_largest": 0.02 * factor, "loss_abs": 0.0,
            "grad_relative_l2_worst": 0.03 * factor, "grad_relative_l2_mean": 0.02 * factor,
        })
    };
    // Had Transformers been a hundred times worse, ours would be too good to be bf16; had it been a hundred times better, too bad.
    for (factor, reason) in [(100.0, "not computed in bf16"), (0.01, "is past")] {
        with_fact(&place, "bf16", errors(factor));
        let outcome = check(&place, &["--precision", "bf16"]);
        let complaints: Vec<_> = outcome.stdout.lines().filter(|line| line.starts_with("FAILED: ")).collect();
        assert!(outcome.code == Some(1) && complaints.len() == 3 && complaints.iter().all(|line| line.contains(reason)), "{outcome}");
    }
    with_fact(&place, "bf16", errors(1.0));
    passes(&place, &["--precision", "bf16"]);
}

#[test]
fn a_reference_that_is_not_a_number_fails() {
    let place = place("qwen2-ragged");
    let file = "reference/reference.safetensors";
    let mut bytes = fs::read(place.path(file)).expect("the dump");
    let name = "grad.base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let at = matrices(&bytes).into_iter().find(|tensor| tensor.name == name).expect("the gradient").start;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write(file, bytes);
    let outcome = check(&place, &[]);
    assert!(outcome.code == Some(1) && outcome.stdout.contains("FAILED: gradients: error NaN"), "{outcome}");
}

fn refused(place: &Place, more: &[&str], fragments: &[&str]) {
    let outcome = check(place, more);
    assert!(outcome.code == Some(2) && outcome.stdout.is_empty() && !outcome.stderr.contains("panicked"), "{more:?}\n{outcome}");
    for fragment in fragments {
        assert!(outcome.stderr.contains(fragment), "the message does not say {fragment:?}:\n{outcome}");
    }
}

#[test]
fn what_is_no_dump_of_this_adapter_is_refused() {
    let place = place("qwen2");
    copy(&place, "golden/qwen2-ragged", "reference");
    refused(&place, &[], &["reference.safetensors", "base_model.model.model.layers.0", "is missing", "this adapter"]);
    copy(&place, "golden/qwen2", "reference");
    copy(&place, "peft/patterns/adapter", "adapter");
    refused(&place, &[], &["is of no matrix of this adapter"]);
    copy(&place, "golden/qwen2-ragged/adapter", "adapter");
    refused(&place, &[], &["lora_A.weight", "[3, 72]", "[3, 64]", "another base"]);
    copy(&place, "peft/dora/adapter", "adapter");
    refused(&place, &[], &["lora_magnitude_vector", "is missing", "this adapter"]);
    let config = place.read("adapter/adapter_config.json").replace("\"use_dora\": true", "\"use_dora\": false");
    place.write("adapter/adapter_config.json", config);
    refused(&place, &[], &["lora_magnitude_vector", "use_dora"]);
    fs::remove_file(place.path("adapter/adapter_config.json")).expect("removed");
    refused(&place, &[], &["adapter_config.json", "No such file"]);
}

#[test]
fn wrong_dumps_and_flags_are_refused() {
    let place = place("qwen2-ragged");
    refused(&place, &["--device", "cuda"], &["--device cuda"]);
    refused(&place, &["--device", "reference", "--threads", "2"], &["--threads 2"]);
    refused(&place, &["--config", "reference/reference.json"], &["reference.json", "model_type"]);
    with_fact(&place, "bf16", Value::Null);
    refused(&place, &["--precision", "bf16"], &["reference.json", "\"bf16\""]);
    for (key, value) in [("optimizer", "SGD".into()), ("dtype", "bfloat16".into()), ("steps", 0.into()), ("prompt_tokens", 24.into())] {
        with_fact(&place, key, value);
        refused(&place, &[], &["reference.json", key]);
        copy(&place, "golden/qwen2-ragged", "reference");
    }
    let whole = fs::read(place.path("reference/reference.safetensors")).expect("the dump");
    place.write("reference/reference.safetensors", &whole[..whole.len() / 2]);
    refused(&place, &[], &["reference.safetensors", "truncated"]);
    place.write("reference/reference.safetensors", "no dump");
    refused(&place, &[], &["reference.safetensors"]);
    fs::remove_file(place.path("reference/reference.json")).expect("removed");
    refused(&place, &[], &["reference.json", "beside the reference"]);
}

#[test]
fn tokens_that_no_model_has_are_refused() {
    let place = place("qwen2-ragged");
    let file = "reference/reference.safetensors";
    let original = fs::read(place.path(file)).expect("the dump");
    // A token past the vocabulary, one below zero, and a hole in a row.
    for (tensor, cell, value) in [("input_ids", 3, 515_i64), ("labels", 10, -7), ("attention_mask", 4, 0)] {
        let at = matrices(&original).into_iter().find(|t| t.name == tensor).expect("the tensor").start + 8 * cell;
        let mut bytes = original.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        place.write(file, bytes);
        refused(&place, &[], &[tensor, file]);
    }
}
