//! Hugging Face folders: one file or shards, generation_config.json, and what is said when something is amiss.

use std::collections::BTreeMap;
use std::path::Path;

use dyag_model::weights::{Dtype, SafetensorsFile};
use dyag_model::{Model, SourceKind};
use dyag_testing::{GOLDEN_CASES, golden};
use serde_json::{Value, json};

use crate::{all_values, assert_error, copy_of_golden, edit_json};

/// A safetensors file of given tensors.
pub(crate) fn safetensors(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let mut header = BTreeMap::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let from = data.len();
        data.extend_from_slice(bytes);
        header.insert(name.to_string(), json!({"dtype": dtype, "shape": shape, "data_offsets": [from, data.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// Rewrites a folder's model.safetensors with some of its tensors changed: `None` drops a tensor.
fn rewrite(folder: &Path, change: impl Fn(&str, &[usize], &[u8]) -> Option<(String, Vec<usize>, Vec<u8>)>) {
    let path = folder.join("model.safetensors");
    let file = SafetensorsFile::open(&path).unwrap();
    let tensors: Vec<_> = file.names().filter_map(|name| file.tensor(name).and_then(|t| change(name, t.shape, t.bytes))).collect();
    let tensors: Vec<_> = tensors.iter().map(|(n, s, b)| (n.as_str(), "F32", s.as_slice(), b.as_slice())).collect();
    let bytes = safetensors(&tensors);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn reference_models_load_with_the_keys_of_transformers_4_and_5() {
    for case in GOLDEN_CASES {
        let folder = golden(case);
        let model = Model::load(&folder.join("model")).unwrap_or_else(|error| panic!("{case}: {error}"));
        let older = Model::load_with_config(&folder.join("model"), Some(&folder.join("config_v4.json"))).unwrap();
        assert_eq!(model.config, older.config, "{case}");
        assert_eq!(model.source.fingerprint(), older.source.fingerprint(), "{case}");
        assert_eq!(model.source.kind, SourceKind::Folder);
        assert_eq!(model.source.format_names(), "F32");
        assert_eq!(model.source.name, "model");
        assert_eq!(model.weights.layers.len(), model.config.n_layers);
        assert_eq!(model.source.n_bytes, 4 * model.source.n_parameters);
        let file = SafetensorsFile::open(&folder.join("model/model.safetensors")).unwrap();
        let embedding = file.tensor("model.embed_tokens.weight").unwrap();
        assert_eq!((embedding.dtype, embedding.shape), (Dtype::F32, &[model.config.vocab_size, model.config.hidden_size][..]));
        assert_eq!(all_values(&model.weights)[0], embedding.to_f32().unwrap());
    }
}

#[test]
fn shards_give_the_same_model() {
    let (_guard, folder) = copy_of_golden("qwen2");
    let whole = Model::load(&folder).unwrap();
    split_in_two(&folder);
    let sharded = Model::load(&folder).unwrap();
    assert_eq!(all_values(&whole.weights), all_values(&sharded.weights));
    assert_eq!(whole.source.fingerprint(), sharded.source.fingerprint());
}

/// Replaces model.safetensors by two shards and their index.
fn split_in_two(folder: &Path) {
    let path = folder.join("model.safetensors");
    let file = SafetensorsFile::open(&path).unwrap();
    let mut map = serde_json::Map::new();
    for (shard, odd) in [("model-00001-of-00002.safetensors", 0), ("model-00002-of-00002.safetensors", 1)] {
        let names: Vec<_> = file.names().enumerate().filter(|(i, _)| i % 2 == odd).map(|(_, name)| name).collect();
        let views: Vec<_> = names.iter().map(|name| (*name, file.tensor(name).unwrap())).collect();
        let tensors: Vec<_> = views.iter().map(|(name, t)| (*name, "F32", t.shape, t.bytes)).collect();
        std::fs::write(folder.join(shard), safetensors(&tensors)).unwrap();
        map.extend(names.iter().map(|name| (name.to_string(), json!(shard))));
    }
    drop(file);
    std::fs::remove_file(path).unwrap();
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn an_index_that_lies_is_refused() {
    let (_guard, folder) = copy_of_golden("qwen2");
    split_in_two(&folder);
    let index = folder.join("model.safetensors.index.json");
    let original = std::fs::read(&index).unwrap();
    let set = |name: &str, value: Value| {
        std::fs::write(&index, &original).unwrap();
        edit_json(&index, |object| {
            object["weight_map"].as_object_mut().unwrap().insert(name.to_owned(), value);
        });
        Model::load(&folder)
    };
    assert_error(set("model.norm.weight", json!("../elsewhere.safetensors")), &["weight_map[\"model.norm.weight\"]", "beside the index"]);
    assert_error(set("model.norm.weight", json!(3)), &["weight_map[\"model.norm.weight\"]"]);
    assert_error(set("model.norm.weight", json!("absent.safetensors")), &["cannot read", "absent.safetensors"]);
    assert_error(set("invented", json!("model-00001-of-00002.safetensors")), &["`invented`", "none of that name"]);
    edit_json(&index, |object| drop(object.remove("weight_map")));
    assert_error(Model::load(&folder), &["index.json", "the key `weight_map` is missing"]);
}

#[test]
fn end_tokens_of_both_configurations_are_joined() {
    let (_guard, folder) = copy_of_golden("llama3");
    edit_json(&folder.join("generation_config.json"), |object| drop(object.insert("eos_token_id".into(), json!([9, 2, 11]))));
    assert_eq!(Model::load(&folder).unwrap().config.eos_token_ids, [2, 9, 11]);
    std::fs::remove_file(folder.join("generation_config.json")).unwrap();
    assert_eq!(Model::load(&folder).unwrap().config.eos_token_ids, [2]);
}

#[test]
fn paths_without_a_model_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_error(Model::load(&path.join("nowhere")), &["cannot read", "nowhere"]);
    assert_error(Model::load(path), &["is not a model", "config.json", "model.safetensors", ".gguf"]);
    std::fs::write(path.join("pytorch_model.bin"), b"x").unwrap();
    assert_error(Model::load(path), &["pytorch_model.bin", "convert it"]);
    assert_error(Model::load(&path.join("pytorch_model.bin")), &["is not a model", "a GGUF file"]);
    std::fs::write(path.join("a.gguf"), b"GGUF").unwrap();
    assert_error(Model::load(path), &["a.gguf", "truncated"]);
    std::fs::write(path.join("b.gguf"), b"GGUF").unwrap();
    assert_error(Model::load(path), &["2 .gguf files", "give the path of one"]);
    std::fs::write(path.join("model.safetensors"), safetensors(&[])).unwrap();
    assert_error(Model::load(path), &["cannot read", "config.json"]);
    std::fs::write(path.join("config.json"), b"{\n \"a\": }").unwrap();
    assert_error(Model::load(path), &["config.json is not JSON", "line 2 column 7"]);
    std::fs::write(path.join("config.json"), b"[1]").unwrap();
    assert_error(Model::load(path), &["config.json", "a JSON object", "[1]"]);
}

#[test]
fn tensors_must_be_those_of_the_configuration() {
    let (_guard, folder) = copy_of_golden("tinyllama");
    let same = |name: &str, shape: &[usize], bytes: &[u8]| Some((name.to_owned(), shape.to_vec(), bytes.to_vec()));
    rewrite(&folder, |n, s, b| if n == "model.layers.1.mlp.up_proj.weight" { None } else { same(n, s, b) });
    assert_error(Model::load(&folder), &["the tensor `model.layers.1.mlp.up_proj.weight` is missing", "llama"]);

    let (_guard, folder) = copy_of_golden("tinyllama");
    rewrite(&folder, |n, s, b| if n == "model.norm.weight" { same("model.norm.bias", s, b) } else { same(n, s, b) });
    assert_error(Model::load(&folder), &["the tensor `model.norm.weight` is missing"]);

    let (_guard, folder) = copy_of_golden("tinyllama");
    edit_json(&folder.join("config.json"), |object| drop(object.insert("num_key_value_heads".into(), json!(4))));
    assert_error(Model::load(&folder), &["`model.layers.0.self_attn.k_proj.weight`", "[32, 64]", "expected [64, 64]"]);
    edit_json(&folder.join("config.json"), |object| {
        object.insert("num_key_value_heads".into(), json!(2));
        object.insert("num_hidden_layers".into(), json!(2));
    });
    assert_error(Model::load(&folder), &["`model.layers.2.", "has no place in a llama model"]);
    edit_json(&folder.join("config.json"), |object| drop(object.insert("num_hidden_layers".into(), json!(4))));
    assert_error(Model::load(&folder), &["`model.layers.3.", "is missing"]);
}

#[test]
fn weights_of_integers_are_refused_by_type() {
    let (_guard, folder) = copy_of_golden("tinyllama");
    let path = folder.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + header_len].to_vec()).unwrap();
    let changed = header.replacen("\"F32\"", "\"I32\"", 1);
    assert_ne!(header, changed);
    bytes[8..8 + header_len].copy_from_slice(changed.as_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert_error(Model::load(&folder), &["has type I32", "supported: F32, F16, BF16"]);
}

#[test]
fn old_llama_files_may_keep_their_rope_frequencies() {
    let (_guard, folder) = copy_of_golden("tinyllama");
    let path = folder.join("model.safetensors");
    let file = SafetensorsFile::open(&path).unwrap();
    let mut tensors: Vec<_> = file.names().map(|n| (n, file.tensor(n).unwrap())).map(|(n, t)| (n, "F32", t.shape, t.bytes)).collect();
    tensors.push(("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", &[1], &[0; 4]));
    let bytes = safetensors(&tensors);
    let before = all_values(&Model::load(&folder).unwrap().weights);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(all_values(&Model::load(&folder).unwrap().weights), before);
}

#[test]
fn the_fingerprint_tells_bases_apart() {
    let (_guard, folder) = copy_of_golden("qwen2");
    let original = Model::load(&folder).unwrap().source.fingerprint();
    assert_eq!(original.len(), 64);
    // Token ids and the longest sequence do not change what weights mean.
    edit_json(&folder.join("config.json"), |object| {
        object.insert("eos_token_id".into(), json!(3));
        object.insert("max_position_embeddings".into(), json!(64));
    });
    assert_eq!(Model::load(&folder).unwrap().source.fingerprint(), original);
    edit_json(&folder.join("config.json"), |object| drop(object.insert("rms_norm_eps".into(), json!(1e-5))));
    assert_ne!(Model::load(&folder).unwrap().source.fingerprint(), original);
    edit_json(&folder.join("config.json"), |object| drop(object.insert("rms_norm_eps".into(), json!(1e-6))));
    let path = folder.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_ne!(Model::load(&folder).unwrap().source.fingerprint(), original);
}

#[test]
fn matrices_are_quantised_as_the_model_is_loaded() {
    for case in ["qwen2", "phi3"] {
        let plain = Model::load(&golden(case).join("model")).unwrap();
        let mut model = plain.clone();
        // The feed-forward's rows of 160 are no whole blocks, and stay.
        assert!(!plain.config.intermediate_size.is_multiple_of(64) && plain.config.hidden_size.is_multiple_of(64));
        let n_matrices = plain.config.n_layers * if plain.config.fused { 3 } else { 6 };
        assert_eq!(model.quantize(), n_matrices, "{case}");
        assert_eq!(model.quantize(), 0, "they are quantised already");
        assert_eq!(model.source.formats[0], ("NF4", n_matrices));
        assert_eq!(model.source.formats.iter().map(|(_, n)| n).sum::<usize>(), plain.source.formats.iter().map(|(_, n)| n).sum::<usize>());
        assert!(model.source.n_bytes < plain.source.n_bytes);
        assert_eq!(model.source.fingerprint(), plain.source.fingerprint());
        assert_eq!(model.weights.embedding.format(), plain.weights.embedding.format());
        // Close to what it was: no element is further off than half the widest gap between two codes, as a share of its row's largest.
        let (before, after) = (&plain.weights.layers[0].o, &model.weights.layers[0].o);
        for row in 0..before.rows() {
            let [mut a, mut b] = [vec![0.0; before.cols()], vec![f32::NAN; before.cols()]];
            before.widen_row(row, 0, &mut a);
            after.widen_row(row, 0, &mut b);
            let largest = a.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 0.153 * largest), "{case} row {row}");
        }
    }
}
