//! Adapters: PEFT's files read and written, and everything in them that must be refused.

use std::fs;
use std::path::Path;

use dyag_model::Model;
use dyag_model::adapter::{
    Adapter, AdapterConfig, AdapterError, CONFIG_FILE, Projection, Site, TargetModules, WEIGHTS_FILE, parse_targets,
};
use dyag_model::config::DecoderConfig;
use dyag_testing::{PEFT_CASES, TinyModel, fixture, golden};
use proptest::prelude::*;
use serde_json::{Value, json};

fn shape(case: &str) -> DecoderConfig {
    Model::load(&golden(case).join("model")).expect("a model").config
}

/// Parses a configuration with some keys changed from a plain one.
fn parsed(changes: &Value) -> Result<AdapterConfig, AdapterError> {
    let mut config = json!({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"});
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    AdapterConfig::parse(config.to_string().as_bytes(), Path::new("dir/adapter_config.json"))
}

/// The sites of a configuration as `layer.short_name:rank:scale`.
fn sites(changes: &Value, shape: &DecoderConfig) -> Vec<String> {
    let sites = parsed(changes).expect("a configuration").sites(shape).expect("sites");
    sites.iter().map(|(s, set)| format!("{}.{}:{}:{}", s.layer, s.projection.short_name(), set.rank, set.scale)).collect()
}

#[test]
fn what_is_saved_is_what_was_loaded_and_always_the_same_bytes() {
    for (name, base) in PEFT_CASES {
        let (folder, config) = (fixture("peft").join(name).join("adapter"), shape(base));
        let settings = AdapterConfig::read(&folder).expect("a configuration");
        let adapter = Adapter::load(&folder, &config).expect("an adapter");
        let out = tempfile::tempdir().expect("a folder");
        adapter.save(out.path(), &settings).expect("saved");
        assert_eq!(AdapterConfig::read(out.path()).expect("read back"), settings);
        assert_eq!(Adapter::load(out.path(), &config).expect("read back"), adapter);
        let bytes = |file: &str| fs::read(out.path().join(file)).expect("a file");
        let first = [CONFIG_FILE, WEIGHTS_FILE].map(bytes);
        adapter.save(out.path(), &settings).expect("saved again");
        assert_eq!([CONFIG_FILE, WEIGHTS_FILE].map(bytes), first);
        assert_eq!(fs::read_dir(out.path()).expect("the folder").count(), 2, "no temporary file is left");
    }
}

#[test]
fn names_match_at_the_end_after_a_dot() {
    let config = shape("qwen2");
    assert_eq!(sites(&json!({"target_modules": ["k_proj"]}), &config), ["0.k_proj:8:2", "1.k_proj:8:2", "2.k_proj:8:2"]);
    assert_eq!(sites(&json!({"target_modules": ["1.mlp.up_proj", "oops"]}), &config), ["1.up_proj:8:2"]);
    assert_eq!(sites(&json!({"target_modules": ["model.layers.2.self_attn.o_proj"]}), &config), ["2.o_proj:8:2"]);
    // `_proj` is the end of every name, but after no dot.
    assert!(matches!(parsed(&json!({"target_modules": ["_proj"]})).unwrap().sites(&config), Err(AdapterError::NoTarget { .. })));
}

#[test]
fn a_string_is_a_regular_expression_for_the_whole_name() {
    let config = shape("qwen2");
    assert_eq!(sites(&json!({"target_modules": r"model\.layers\.[01]\.self_attn\.v_proj"}), &config), ["0.v_proj:8:2", "1.v_proj:8:2"]);
    assert_eq!(sites(&json!({"target_modules": r".*2\.mlp.(?!gate|up).*_proj"}), &config), ["2.down_proj:8:2"]);
    for pattern in ["q_proj", "layers.0.self_attn.q_proj", r".*\.q_pro", r"model\.layers\.0\.self_attn"] {
        assert!(parsed(&json!({"target_modules": pattern})).unwrap().sites(&config).is_err(), "{pattern}");
    }
    let broken = parsed(&json!({"target_modules": "(q_proj"})).unwrap().sites(&config).unwrap_err().to_string();
    assert!(broken.contains("target_modules") && broken.contains("(q_proj"), "{broken}");
}

#[test]
fn all_linear_means_every_projection_and_not_the_head() {
    for (case, n) in [("qwen2", 7), ("phi3", 4), ("tinyllama", 7)] {
        let config = shape(case);
        for spelling in ["all-linear", "All-Linear"] {
            assert_eq!(sites(&json!({"target_modules": spelling}), &config).len(), n * config.n_layers);
        }
    }
    let some = sites(&json!({"target_modules": "all-linear", "exclude_modules": ["mlp.up_proj", "v_proj"]}), &shape("qwen2"));
    assert_eq!(some.len(), 5 * 3);
}

#[test]
fn the_first_pattern_that_matches_sets_rank_and_alpha() {
    let config = shape("qwen2");
    let changes = json!({
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"layers.0.self_attn.q_proj": 2, "q_proj": 4, ".*q_proj": 32, "(v|k)_proj": 1, "proj": 64},
        "alpha_pattern": {"^model.layers.1.*": 1.5, "q_pro": 100},
    });
    // `proj` and `q_pro` match no whole end of a name.
    let expected = ["0.q_proj:2:8", "0.v_proj:1:16", "1.q_proj:4:0.375", "1.v_proj:1:1.5", "2.q_proj:4:4", "2.v_proj:1:16"];
    assert_eq!(sites(&changes, &config), expected);
    let stabilised = json!({"target_modules": ["0.self_attn.q_proj"], "r": 4, "lora_alpha": 10, "use_rslora": true});
    assert_eq!(sites(&stabilised, &config), ["0.q_proj:4:5"]);
}

#[test]
fn layers_to_transform_picks_layers_of_names_given_by_their_end() {
    let config = shape("qwen2");
    assert_eq!(sites(&json!({"layers_to_transform": 1}), &config), ["1.q_proj:8:2"]);
    assert_eq!(sites(&json!({"layers_to_transform": [0, 2], "layers_pattern": "layers"}), &config), ["0.q_proj:8:2", "2.q_proj:8:2"]);
    assert_eq!(sites(&json!({"layers_to_transform": []}), &config).len(), 3);
    let named = json!({"target_modules": ["model.layers.0.self_attn.k_proj", "q_proj"], "layers_to_transform": [2]});
    assert_eq!(sites(&named, &config), ["0.k_proj:8:2", "2.q_proj:8:2"]);
    assert!(parsed(&json!({"layers_to_transform": [1], "layers_pattern": ["h"]})).unwrap().sites(&config).is_err());
    assert!(parsed(&json!({"layers_to_transform": [7]})).unwrap().sites(&config).is_err());
    assert!(parsed(&json!({"layers_to_transform": [1], "target_modules": ".*q_proj"})).is_err());
}

#[test]
fn what_changes_the_numbers_is_refused_by_name() {
    for (key, value) in [
        ("bias", json!("all")),
        ("bias", json!("lora_only")),
        ("modules_to_save", json!(["lm_head"])),
        ("fan_in_fan_out", json!(true)),
        ("layer_replication", json!([[0, 2]])),
        ("trainable_token_indices", json!([1, 2])),
        ("lora_bias", json!(true)),
        ("target_parameters", json!(["experts.w"])),
        ("alora_invocation_tokens", json!([5])),
        ("use_qalora", json!(true)),
        ("megatron_config", json!({"a": 1})),
        ("arrow_config", json!({"top_k": 3})),
        ("use_bdlora", json!({"nblocks": 2})),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!("loftq")),
        ("task_type", json!("SEQ_CLS")),
        ("peft_type", json!("IA3")),
        ("peft_type", json!("ADALORA")),
        ("use_something_new", json!(true)),
    ] {
        let error = parsed(&json!({key: value})).expect_err(key).to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains("adapter_config.json"), "{key}: {error}");
    }
    // Keys of newer versions that are not in use, and initialisations that leave the base alone.
    let harmless = json!({"use_something_new": false, "other": null, "more": {}, "init_lora_weights": "gaussian", "bias": "none", "modules_to_save": []});
    parsed(&harmless).expect("nothing is in use");
}

#[test]
fn keys_with_impossible_values_are_named() {
    for (key, value) in [
        ("r", json!(0)),
        ("r", json!(-3)),
        ("r", json!(1_000_000_000)),
        ("r", json!("8")),
        ("lora_alpha", json!("x")),
        ("target_modules", json!(null)),
        ("target_modules", json!([])),
        ("target_modules", json!([1])),
        ("target_modules", json!({})),
        ("rank_pattern", json!([1])),
        ("rank_pattern", json!({"q_proj": 0})),
        ("alpha_pattern", json!({"q_proj": "x"})),
        ("use_rslora", json!("yes")),
        ("use_dora", json!(1)),
        ("lora_dropout", json!(1.0)),
        ("layers_to_transform", json!([-1])),
        ("exclude_modules", json!(3)),
    ] {
        let error = parsed(&json!({key: value.clone()})).expect_err(key).to_string();
        assert!(error.contains(key) && error.contains("expected") && error.contains("found"), "{key} = {value}: {error}");
    }
    assert!(AdapterConfig::parse(b"[1, 2]", Path::new("x")).is_err());
    assert!(AdapterConfig::parse(b"{", Path::new("x")).is_err());
    assert!(AdapterConfig::parse(b"{\"r\": 8}", Path::new("x")).unwrap_err().to_string().contains("peft_type"));
}

#[test]
fn embedding_and_head_are_refused() {
    for module in ["lm_head", "embed_tokens"] {
        let error = parsed(&json!({"target_modules": ["q_proj", module]})).unwrap().sites(&shape("tinyllama")).unwrap_err().to_string();
        assert!(error.contains(module) && error.contains("q_proj"), "{error}");
    }
}

/// A folder with a saved adapter for the `qwen2` case.
fn saved() -> (tempfile::TempDir, DecoderConfig) {
    let config = shape("qwen2");
    let settings = AdapterConfig::new(&[Projection::Q, Projection::Down], 4, 8.0);
    let folder = tempfile::tempdir().expect("a folder");
    Adapter::init(&config, &settings, 1).expect("an adapter").save(folder.path(), &settings).expect("saved");
    (folder, config)
}

fn refusal(folder: &Path, config: &DecoderConfig) -> String {
    Adapter::load(folder, config).expect_err("refused").to_string()
}

/// Changes a key of the saved configuration.
fn reconfigure(folder: &Path, key: &str, value: Value) {
    let path = folder.join(CONFIG_FILE);
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    config[key] = value;
    fs::write(path, config.to_string()).expect("written");
}

#[test]
fn an_adapter_for_another_base_is_refused_with_both_shapes() {
    let (folder, config) = saved();
    let error = refusal(folder.path(), &shape("qwen2-ragged"));
    assert!(error.contains("q_proj.lora_A.weight") && error.contains("[4, 64]") && error.contains("[4, 72]"), "{error}");
    let error = refusal(folder.path(), &DecoderConfig { n_layers: 2, windows: vec![None; 2], ..config.clone() });
    assert!(error.contains("layer 2") && error.contains("2 layers"), "{error}");
    let error = refusal(folder.path(), &DecoderConfig { n_layers: 4, windows: vec![None; 4], ..config });
    assert!(error.contains("model.layers.3.self_attn.q_proj.lora_A.weight` is missing"), "{error}");
}

#[test]
fn missing_and_superfluous_tensors_are_named() {
    let (folder, config) = saved();
    reconfigure(folder.path(), "target_modules", json!(["q_proj", "down_proj", "k_proj"]));
    let error = refusal(folder.path(), &config);
    assert!(error.contains("layers.0.self_attn.k_proj.lora_A.weight` is missing") && error.contains("[4, 64]"), "{error}");
    reconfigure(folder.path(), "target_modules", json!(["q_proj"]));
    let error = refusal(folder.path(), &config);
    assert!(error.contains("down_proj.lora_A.weight` belongs nowhere") && error.contains("target_modules"), "{error}");
    reconfigure(folder.path(), "target_modules", json!(["q_proj", "down_proj"]));
    reconfigure(folder.path(), "r", json!(8));
    let error = refusal(folder.path(), &config);
    assert!(error.contains("[4, 64]") && error.contains("[8, 64]"), "{error}");
}

#[test]
fn magnitudes_are_there_where_the_configuration_says_so_and_nowhere_else() {
    let config = shape("qwen2");
    let adapter = Adapter::load(&fixture("peft/dora/adapter"), &config).expect("an adapter");
    let lengths: Vec<_> = adapter.pairs.values().map(|pair| pair.magnitude.as_ref().map(Vec::len)).collect();
    assert_eq!((lengths, adapter.n_parameters()), (vec![Some(32); 3], 3 * (2 * 64 + 32 * 2 + 32)));
    let folder = tempfile::tempdir().expect("a folder");
    let settings = AdapterConfig::read(&fixture("peft/dora/adapter")).expect("a configuration");
    adapter.save(folder.path(), &settings).expect("saved");
    assert_eq!(Adapter::load(folder.path(), &config).expect("read back"), adapter);
    reconfigure(folder.path(), "use_dora", json!(false));
    let error = refusal(folder.path(), &config);
    assert!(error.contains("v_proj.lora_magnitude_vector` belongs nowhere") && error.contains("use_dora"), "{error}");
    reconfigure(folder.path(), "use_dora", json!(true));
    let spoilt = |magnitude: Option<Vec<f32>>| {
        let mut spoilt = adapter.clone();
        spoilt.pairs.values_mut().next().expect("a pair").magnitude = magnitude;
        spoilt.save(folder.path(), &settings).expect("saved");
        refusal(folder.path(), &config)
    };
    let error = spoilt(None);
    assert!(error.contains("layers.0.self_attn.v_proj.lora_magnitude_vector` is missing") && error.contains("[32]"), "{error}");
    let error = spoilt(Some(vec![1.0; 31]));
    assert!(error.contains("lora_magnitude_vector` has shape [31]") && error.contains("[32]"), "{error}");
    let error = spoilt(Some(vec![f32::NAN; 32]));
    assert!(error.contains("lora_magnitude_vector` holds a value that is not finite"), "{error}");
}

#[test]
fn targets_are_names_an_expression_or_all() {
    let (plain, fused) = (TinyModel::qwen2().config, TinyModel::phi3().config);
    let names = |names: &[&str]| TargetModules::Names(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(TargetModules::parse("v_proj, q_proj,v_proj", &plain).unwrap(), names(&["q_proj", "v_proj"]));
    assert_eq!(TargetModules::parse("1.mlp.up_proj,self_attn.q_proj", &plain).unwrap(), names(&["1.mlp.up_proj", "self_attn.q_proj"]));
    assert_eq!(TargetModules::parse("All-Linear", &fused).unwrap(), names(&["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]));
    for pattern in [".*q_proj", r"model\.layers\.(0|1)\.mlp\.up_proj", "q_pro[j]", "(a,b)"] {
        assert_eq!(TargetModules::parse(pattern, &plain).unwrap(), TargetModules::Pattern(pattern.to_owned()));
    }
    for (text, config, said) in [
        ("q_proj", &fused, "qkv_proj"),
        ("lm_head", &plain, "down_proj"),
        ("_proj", &plain, "\"_proj\""),
        ("q_proj,,v_proj", &plain, "\"\""),
        ("", &plain, "all-linear"),
        ("99.mlp.up_proj", &plain, "99.mlp.up_proj"),
        ("(q_proj", &plain, "not a regular expression"),
    ] {
        let error = TargetModules::parse(text, config).expect_err(text).to_string();
        assert!(error.contains(said), "{text:?}: {error}");
    }
}

#[test]
fn patterns_of_nothing_are_named() {
    let config = shape("qwen2");
    let check = |changes: Value| parsed(&changes).unwrap().check_patterns(&config).map_err(|error| error.to_string());
    check(json!({"rank_pattern": {"q_proj": 2, "2.self_attn.q_proj": 3}, "alpha_pattern": {"^model.*": 1}})).expect("all match");
    for (changes, fragments) in [
        (
            json!({"rank_pattern": {"q_proj": 2, "v_proj": 3}}),
            ["rank_pattern \"v_proj\" matches no module", "model.layers.0.self_attn.q_proj"],
        ),
        (json!({"alpha_pattern": {"q_pro": 2}}), ["alpha_pattern \"q_pro\" matches no module", "end of a name"]),
        (json!({"alpha_pattern": {"(q_proj": 2}}), ["(q_proj", "not a regular expression"]),
    ] {
        let error = check(changes).expect_err("refused");
        assert!(fragments.iter().all(|fragment| error.contains(fragment)), "{error}");
    }
}

#[test]
fn damaged_weights_are_refused() {
    let (folder, config) = saved();
    let path = folder.path().join(WEIGHTS_FILE);
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() - 1]).expect("written");
    assert!(refusal(folder.path(), &config).contains("truncated"));
    let mut poisoned = whole.clone();
    let last = poisoned.len() - 4;
    poisoned[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&path, poisoned).expect("written");
    let error = refusal(folder.path(), &config);
    assert!(error.contains("not finite") && error.contains("inf"), "{error}");
    fs::remove_file(&path).expect("removed");
    assert!(refusal(folder.path(), &config).contains(WEIGHTS_FILE));
    fs::write(folder.path().join("adapter_model.bin"), "pickle").expect("written");
    assert!(refusal(folder.path(), &config).contains("pickle"));
}

#[test]
fn a_new_adapter_has_a_bounded_a_and_a_zero_b_set_by_the_seed() {
    let config = shape("qwen2");
    let settings = AdapterConfig::new(Projection::all(&config), 16, 32.0);
    let adapter = Adapter::init(&config, &settings, 42).expect("an adapter");
    assert_eq!(adapter, Adapter::init(&config, &settings, 42).expect("an adapter"));
    assert_ne!(adapter, Adapter::init(&config, &settings, 43).expect("an adapter"));
    assert_eq!(adapter.pairs.len(), 7 * 3);
    let expected: usize = Projection::all(&config).iter().map(|p| p.sizes(&config)).map(|(i, o)| 16 * (i + o)).sum();
    assert_eq!(adapter.n_parameters(), 3 * expected);
    for (site, pair) in &adapter.pairs {
        let (n_in, n_out) = site.projection.sizes(&config);
        assert_eq!((pair.a.len(), pair.b.len(), pair.scale), (16 * n_in, 16 * n_out, 2.0));
        assert!(pair.b.iter().all(|b| *b == 0.0));
        // Uniform in ±bound: mean 0, variance bound²/3, and values near both ends.
        let bound = 1.0 / (n_in as f64).sqrt();
        let n = pair.a.len() as f64;
        let mean = pair.a.iter().map(|a| f64::from(*a)).sum::<f64>() / n;
        let variance = pair.a.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>() / n;
        let (low, high) = pair.a.iter().fold((0.0, 0.0), |(l, h), a| (f64::min(l, (*a).into()), f64::max(h, (*a).into())));
        assert!(mean.abs() < 4.0 * bound / (3.0 * n).sqrt(), "{site:?}: mean {mean}");
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 4.0 / n.sqrt(), "{site:?}: variance {variance}");
        assert!(
            (-bound..-0.97 * bound).contains(&low) && (0.97 * bound..bound).contains(&high),
            "{site:?}: {low} to {high}, bound {bound}"
        );
    }
    // A site's numbers do not depend on which others are adapted.
    let one = Adapter::init(&config, &AdapterConfig::new(&[Projection::Up], 16, 32.0), 42).expect("an adapter");
    let site = Site { layer: 2, projection: Projection::Up };
    assert_eq!(one.pairs[&site], adapter.pairs[&site]);
    let other = Site { layer: 1, projection: Projection::Up };
    assert_ne!(one.pairs[&site].a, one.pairs[&other].a);
}

#[test]
fn target_names_as_users_type_them() {
    let (plain, fused) = (TinyModel::qwen2().config, TinyModel::phi3().config);
    assert_eq!(parse_targets("q_proj, v_proj", &plain).unwrap(), [Projection::Q, Projection::V]);
    assert_eq!(parse_targets("down_proj,self_attn.q_proj,down_proj", &plain).unwrap(), [Projection::Q, Projection::Down]);
    assert_eq!(parse_targets("all-linear", &plain).unwrap().len(), 7);
    assert_eq!(parse_targets("all-linear", &fused).unwrap(), Projection::all(&fused));
    for (text, config, advice) in [
        ("q_proj", &fused, "qkv_proj"),
        ("up_proj", &fused, "gate_up_proj"),
        ("qkv_proj", &plain, "q_proj, k_proj, v_proj"),
        ("lm_head", &plain, "down_proj"),
        ("q_proj,,v_proj", &plain, "\"\""),
        ("", &plain, "all-linear"),
    ] {
        let error = parse_targets(text, config).expect_err(text).to_string();
        assert!(error.contains(advice), "{text:?}: {error}");
    }
    let written = AdapterConfig::new(&[Projection::V, Projection::Q, Projection::V], 2, 3.0).targets;
    assert_eq!(written, TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any settings survive being written and read.
    #[test]
    fn settings_survive_their_file(
        rank in 1_usize..500,
        alpha in prop_oneof![(1_u32..1000).prop_map(f64::from), 0.001_f64..1e6],
        rank_pattern in prop::collection::vec(("[a-z_.0-9]{1,12}", 1_usize..99), 0..4),
        stabilised: bool,
        decomposed: bool,
        dropout in prop_oneof![Just(0.0_f32), Just(0.1), Just(0.05), 0.0_f32..0.99],
        layers in prop::option::of(prop::collection::vec(0_usize..40, 1..4)),
        base in prop::option::of("\\PC{0,20}"),
        names in prop::collection::vec("[a-z_.\"\\\\é]{1,12}", 1..4),
    ) {
        let mut seen = std::collections::HashSet::new();
        let rank_pattern = rank_pattern.into_iter().filter(|(key, _)| seen.insert(key.clone())).collect();
        let config = AdapterConfig {
            base_model: base, rank_pattern, rank_stabilised: stabilised, weight_decomposed: decomposed, dropout, layers, targets: TargetModules::Names(names),
            ..AdapterConfig::new(&[], rank, alpha)
        };
        let text = config.to_json();
        prop_assert_eq!(AdapterConfig::parse(text.as_bytes(), Path::new("x")).unwrap(), config);
    }

    /// Whatever a configuration or its weights hold, reading them ends in a value or an error.
    #[test]
    fn hostile_files_never_panic(text in "\\PC*", patterns in prop::collection::vec("\\PC{0,20}", 1..3), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = AdapterConfig::parse(text.as_bytes(), Path::new("x"));
        let config = TinyModel::qwen2().config;
        for targets in [TargetModules::Pattern(patterns[0].clone()), TargetModules::Names(patterns.clone())] {
            let pattern = patterns.iter().map(|p| (p.clone(), 1)).collect();
            let settings = AdapterConfig { targets, rank_pattern: pattern, layers_pattern: patterns.clone(), layers: Some(vec![0]), ..AdapterConfig::new(&[], 1, 1.0) };
            let _ = settings.sites(&config);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(WEIGHTS_FILE), bytes).unwrap();
        let _ = Adapter::load_as(folder.path(), &config, &AdapterConfig::new(&[Projection::Q], 1, 1.0));
    }
}
