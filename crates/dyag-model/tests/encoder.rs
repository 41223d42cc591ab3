//! The encoder against dumps of Transformers and sentence-transformers (made by tools/reference/make_encoder_golden.py), its own promises, and files that lie.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_kernels::Precision;
use dyag_kernels::cpu::{self, Level};
use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::device::Device;
use dyag_kernels::reference::ReferenceDevice;
use dyag_model::encoder::{EmbeddingRecipe, Encoder, Pooling, RecipeOrigin, TokenizedText, pool};
use dyag_model::weights::{EncoderModel, SafetensorsFile};
use dyag_testing::{fixture, relative_to_largest};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const CASES: [&str; 3] = ["bert", "xlm-roberta", "bert-old"];

fn cpu(threads: usize, level: Option<Level>) -> Arc<CpuDevice> {
    let options = CpuOptions { precision: Precision::F32, threads: Some(threads), level, int8_activations: false };
    Arc::new(CpuDevice::new(options).unwrap())
}

/// A reference case, loaded.
struct Case {
    folder: PathBuf,
    model: EncoderModel,
    dump: SafetensorsFile,
    ids: Vec<Vec<u32>>,
}

impl Case {
    fn load(name: &str) -> Self {
        let folder = fixture(Path::new("encoder").join(name));
        let model = EncoderModel::load(&folder).unwrap();
        let dump = SafetensorsFile::open(&folder.join("reference.safetensors")).unwrap();
        let texts: Value = serde_json::from_slice(&std::fs::read(folder.join("texts.json")).unwrap()).unwrap();
        Self { model, dump, ids: serde_json::from_value(texts["ids"].clone()).unwrap(), folder }
    }

    fn encoder<D: Device>(&self, device: Arc<D>) -> Encoder<D> {
        Encoder::new(device, &self.model.config, &self.model.weights)
    }

    fn texts(&self) -> Vec<TokenizedText<'_>> {
        self.ids.iter().map(|ids| TokenizedText::new(ids)).collect()
    }

    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        Some(self.dump.tensor(name)?.to_f32().unwrap())
    }

    /// Compares the states after every layer, with types 0 and, where the dump has them, with types 0, 1, 0, 1, ...
    fn check<D: Device>(&self, device: Arc<D>) {
        let encoder = self.encoder(device);
        let what = encoder.device().describe();
        let kinds: Vec<Vec<u32>> = self.ids.iter().map(|ids| (0..ids.len() as u32).map(|token| token % 2).collect()).collect();
        let typed: Vec<_> = self.ids.iter().zip(&kinds).map(|(ids, types)| TokenizedText { ids, types }).collect();
        for layer in 0..=self.model.config.n_layers {
            for (name, texts) in [("hidden", &self.texts()), ("types", &typed)] {
                let Some(expected) = self.floats(&format!("{name}.{layer}")) else { continue };
                let error = relative_to_largest(&encoder.states(texts, layer).concat(), &expected);
                assert!(error <= 2e-6, "{}, {name} after {layer} layers: {error} of the largest, {what}", self.folder.display());
            }
        }
    }
}

#[test]
fn states_are_those_of_transformers() {
    for case in CASES.map(Case::load) {
        assert!(case.floats("hidden.0").is_some() && case.ids.len() >= 8);
        for level in cpu::available().into_iter().filter(|level| *level <= Level::Avx512) {
            case.check(cpu(2, Some(level)));
        }
        case.check(Arc::new(ReferenceDevice::new(Precision::F32)));
    }
}

#[test]
fn pooled_vectors_are_those_of_sentence_transformers() {
    for case in CASES.map(Case::load) {
        let width = case.model.config.hidden_size;
        let states = case.encoder(cpu(1, None)).states(&case.texts(), case.model.config.n_layers);
        for kind in Pooling::ALL {
            let vectors: Vec<f32> = states.iter().flat_map(|states| pool(states, width, &[kind], false)).collect();
            let error = relative_to_largest(&vectors, &case.floats(&format!("pool.{}", kind.name())).unwrap());
            assert!(error <= 2e-6, "{}, {}: {error} of the largest", case.folder.display(), kind.name());
        }
        let both = pool(&states[3], width, &[Pooling::Cls, Pooling::Mean], true);
        assert!(both.len() == 2 * width && (both.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(pool(&[], width, &Pooling::ALL, true), vec![0.0; 6 * width]);
    }
}

/// A text's states have the same bits alone and among others, in any order, on one thread and on two.
#[test]
fn bits_do_not_depend_on_company_or_threads() {
    for case in CASES.map(Case::load) {
        let layer = case.model.config.n_layers;
        // Enough texts for several passes.
        let texts: Vec<TokenizedText<'_>> = (0..120).map(|i| case.texts()[i * 7 % case.ids.len()]).collect();
        let together = case.encoder(cpu(2, None)).states(&texts, layer);
        let alone = case.encoder(cpu(1, None));
        for (text, together) in texts.iter().zip(&together) {
            let alone = &alone.states(&[*text], layer)[0];
            assert!(alone.len() == together.len() && alone.iter().zip(together).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}

#[test]
fn visits_end_when_asked_and_texts_may_be_empty() {
    let case = Case::load("bert");
    let encoder = case.encoder(cpu(1, None));
    let mut n_seen = 0;
    encoder.visit(&case.texts(), 1, &mut |_, _| {
        n_seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!(n_seen, 1);
    let [first, empty] = [&case.ids[3][..], &[]].map(TokenizedText::new);
    let states = encoder.states(&[empty, first, empty], 3);
    assert!(states[0].is_empty() && states[2].is_empty());
    assert_eq!(states[1], encoder.states(&[first], 3)[0]);
    assert!(encoder.states(&[empty], 3)[0].is_empty() && encoder.states(&[], 3).is_empty());
}

#[test]
fn recipes_come_from_the_folder() {
    let recipe = |name: &str| {
        let case = Case::load(name);
        EmbeddingRecipe::read(&case.folder, case.model.config.hidden_size, case.model.config.max_tokens()).unwrap()
    };
    let bert = recipe("bert");
    assert_eq!((bert.pooling, bert.normalize, bert.max_tokens, bert.origin), (vec![Pooling::Mean], true, 32, RecipeOrigin::Files));
    assert_eq!([bert.query_prompt, bert.document_prompt, bert.plain_prompt], ["question : ", "service : ", ""]);
    let roberta = recipe("xlm-roberta");
    assert_eq!((roberta.pooling, roberta.normalize, roberta.max_tokens), (vec![Pooling::Cls], false, 58));
    let old = recipe("bert-old");
    assert_eq!((old.pooling, old.normalize, old.max_tokens, old.origin), (vec![Pooling::Mean], true, 40, RecipeOrigin::Assumed));
    let (_guard, folder) = copy("bert-old", "tiny-e5");
    let e5 = EmbeddingRecipe::read(&folder, 15, 40).unwrap();
    assert_eq!([e5.query_prompt, e5.document_prompt, e5.plain_prompt], ["query: ", "passage: ", "query: "]);
    assert!(e5.origin.to_string().contains("by the folder's name"));
}

/// A copy of a case's folder under another name.
fn copy(case: &str, name: &str) -> (tempfile::TempDir, PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let folder = guard.path().join(name);
    copy_folder(&fixture(Path::new("encoder").join(case)), &folder);
    (guard, folder)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name == "reference.safetensors" {
            continue;
        }
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// The message about a folder one of whose JSON files was changed.
fn refused(file: &str, edit: impl FnOnce(&mut Value)) -> String {
    let (_guard, folder) = copy("bert", "bert");
    let path = folder.join(file);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(&path, value.to_string()).unwrap();
    let read =
        EncoderModel::load(&folder).and_then(|model| EmbeddingRecipe::read(&folder, model.config.hidden_size, model.config.max_tokens()));
    let message = read.expect_err("refused").to_string();
    assert!(message.contains(&folder.display().to_string()), "{message}");
    message
}

#[test]
fn configurations_that_lie_are_refused_by_key() {
    let changed = |key: &str, value: Value| refused("config.json", |config| config[key] = value);
    for (key, value, parts) in [
        ("model_type", json!("deberta-v2"), &["deberta-v2", "xlm-roberta"][..]),
        ("model_type", json!(7), &["`model_type` is 7", "a string"]),
        ("position_embedding_type", json!("relative_key"), &["relative_key", "absolute"]),
        ("is_decoder", json!(true), &["`is_decoder` is true"]),
        ("hidden_act", json!("mish"), &["mish", "gelu_new"]),
        ("num_attention_heads", json!(5), &["a divisor of hidden_size (24)", "5"]),
        ("num_hidden_layers", json!(4), &["encoder.layer.3.attention.self.query.weight", "missing"]),
        ("num_hidden_layers", json!(2), &["encoder.layer.2.", "has no place"]),
        ("num_hidden_layers", json!(99_999_999), &["at most 10000"]),
        ("hidden_size", json!(26), &["has shape", "expected", "26", "24"]),
        ("hidden_size", json!(2_147_483_646), &["expected", "2147483646"]),
        ("intermediate_size", json!(41), &["intermediate.dense.weight", "[40, 24]", "[41, 24]"]),
        ("max_position_embeddings", json!(51), &["position_embeddings", "[50, 24]", "[51, 24]"]),
        ("vocab_size", json!(0), &["`vocab_size` is 0"]),
        ("vocab_size", Value::Null, &["`vocab_size` is missing"]),
        ("layer_norm_eps", json!(-1.0), &["layer_norm_eps", "from 0 up"]),
        ("quantization_config", json!({"bits": 4}), &["quantization_config", "BF16"]),
    ] {
        let message = changed(key, value);
        assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    }
    let message = refused("config.json", |config| {
        config["model_type"] = json!("roberta");
        config["pad_token_id"] = json!(49);
    });
    assert!(message.contains("pad_token_id") && message.contains("49"), "{message}");
}

#[test]
fn recipes_that_lie_are_refused_by_key() {
    for (file, edit, parts) in [
        ("modules.json", (|modules| *modules = json!({})) as fn(&mut Value), &["a list of modules"][..]),
        ("modules.json", |modules| modules[1]["path"] = json!("../1_Pooling"), &["[1].path", "../1_Pooling"]),
        ("modules.json", |modules| modules[2]["type"] = json!("sentence_transformers.models.Dense"), &["[2].type", "Dense"]),
        ("modules.json", |modules| drop(modules.as_array_mut().unwrap().drain(1..)), &["a module of type Pooling"]),
        ("1_Pooling/config.json", |pooling| pooling["word_embedding_dimension"] = json!(384), &["384", "24"]),
        ("1_Pooling/config.json", |pooling| pooling["pooling_mode"] = json!("median"), &["median", "weightedmean"]),
        ("1_Pooling/config.json", |pooling| pooling["include_prompt"] = json!(false), &["include_prompt"]),
        ("sentence_bert_config.json", |lengths| lengths["max_seq_length"] = json!("long"), &["max_seq_length", "long"]),
        ("config_sentence_transformers.json", |prompts| prompts["prompts"] = json!(["a"]), &["prompts", "an object"]),
        ("config_sentence_transformers.json", |prompts| prompts["default_prompt_name"] = json!("x"), &["default_prompt_name", "\"x\""]),
    ] {
        let message = refused(file, edit);
        assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    }
}

#[test]
fn what_is_no_encoder_is_refused() {
    let file = fixture("encoder/bert/config.json");
    assert!(EncoderModel::load(&file).unwrap_err().to_string().contains("give the folder, not a file"));
    assert!(EncoderModel::load(&fixture("golden/qwen2/model")).unwrap_err().to_string().contains("qwen2"));
    let (_guard, folder) = copy("bert", "bert");
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    assert!(EncoderModel::load(&folder).unwrap_err().to_string().contains("model.safetensors"));
}

#[test]
fn hashes_see_every_byte() {
    let (_guard, folder) = copy("bert", "bert");
    let before = EncoderModel::load(&folder).unwrap().source.content_hash();
    assert_eq!(before, Case::load("bert").model.source.content_hash());
    let path = folder.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 20_000;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_ne!(before, EncoderModel::load(&folder).unwrap().source.content_hash());
}

/// Writes `value` somewhere into a JSON object.
fn spoil(object: &mut Map<String, Value>, place: usize, value: &Value) {
    let n = object.len().max(1);
    if let Some(old) = object.values_mut().nth(place % n) {
        *old = value.clone();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn spoiled_configurations_are_errors_or_models(place in 0usize..40, number in prop_oneof![Just(0i64), Just(-1), Just(1), Just(i64::MAX), 0i64..100]) {
        for value in [json!(number), json!([number]), json!(number as f64 * 1e300), json!("x"), json!({}), Value::Null] {
            let (_guard, folder) = copy("bert", "bert");
            for file in ["config.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"] {
                let path = folder.join(file);
                let mut object: Map<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                spoil(&mut object, place, &value);
                std::fs::write(&path, Value::Object(object).to_string()).unwrap();
            }
            let _ = EncoderModel::load(&folder).and_then(|model| EmbeddingRecipe::read(&folder, model.config.hidden_size, model.config.max_tokens()));
        }
    }

    #[test]
    fn spoiled_weights_are_errors_or_models(changes in proptest::collection::vec((0usize..4000, any::<u8>()), 1..6), keep in 1usize..=256) {
        let (_guard, folder) = copy("bert-old", "bert");
        let path = folder.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() * keep / 256);
        std::fs::write(&path, bytes).unwrap();
        if let Ok(model) = EncoderModel::load(&folder) {
            let encoder = Encoder::new(cpu(1, None), &model.config, &model.weights);
            prop_assert_eq!(encoder.states(&[TokenizedText::new(&[1, 2, 3])], 2)[0].len(), 3 * 15);
        }
    }
}
