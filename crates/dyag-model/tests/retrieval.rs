//! Cross-encoders and decoders as embedders, against sentence-transformers (made by tools/reference/make_retrieval_golden.py), their own promises, and folders that lie.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_kernels::Precision;
use dyag_kernels::cpu::{self, Level};
use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::device::Device;
use dyag_kernels::reference::ReferenceDevice;
use dyag_model::config::{FolderKind, folder_kind};
use dyag_model::decoder::{Decoder, WantedStates};
use dyag_model::encoder::{EmbeddingRecipe, Encoder, Pooling, Reranker, RerankerRecipe, ScoreActivation, TokenizedText};
use dyag_model::weights::{EncoderModel, Model, RerankerModel};
use dyag_testing::fixture;
use serde_json::{Value, json};

const RERANKERS: [&str; 3] = ["bert-reranker", "xlm-roberta-reranker", "camembert-reranker"];

fn cpu(threads: usize, level: Option<Level>) -> Arc<CpuDevice> {
    let options = CpuOptions { precision: Precision::F32, threads: Some(threads), level, int8_activations: false };
    Arc::new(CpuDevice::new(options).unwrap())
}

fn folder(name: &str) -> PathBuf {
    fixture(Path::new("retrieval").join(name))
}

/// Pairs and scores of a reranker's reference.
struct Pairs {
    ids: Vec<Vec<u32>>,
    types: Vec<Vec<u32>>,
    scores: Vec<f32>,
}

impl Pairs {
    fn load(name: &str) -> Self {
        let file: Value = serde_json::from_slice(&std::fs::read(folder(name).join("reference.json")).unwrap()).unwrap();
        let scores: Vec<Vec<f32>> = serde_json::from_value(file["scores"].clone()).unwrap();
        let [ids, types] = ["ids", "types"].map(|key| serde_json::from_value(file[key].clone()).unwrap());
        Self { ids, types, scores: scores.concat() }
    }

    /// With the types that the model has.
    fn tokenized(&self, n_types: usize) -> Vec<TokenizedText<'_>> {
        let pairs = self.ids.iter().zip(&self.types);
        pairs.map(|(ids, types)| TokenizedText { ids, types: if n_types > 1 { types } else { &[] } }).collect()
    }
}

fn check_scores<D: Device>(name: &str, device: Arc<D>) {
    let (model, pairs) = (RerankerModel::load(&folder(name)).unwrap(), Pairs::load(name));
    let recipe = RerankerRecipe::read(&folder(name), &model.encoder.config).unwrap();
    let what = device.describe();
    let logits = Reranker::new(device, &model).logits(&pairs.tokenized(model.encoder.config.n_token_types));
    assert!(logits.len() == pairs.scores.len() && logits.len() >= 80);
    let error = logits.iter().zip(&pairs.scores).map(|(logit, score)| (recipe.activation.apply(*logit) - score).abs()).fold(0.0, f32::max);
    assert!(error <= 2e-6, "{name}: {error}, {what}");
}

#[test]
fn scores_are_those_of_sentence_transformers() {
    for name in RERANKERS {
        for level in cpu::available().into_iter().filter(|level| *level <= Level::Avx512) {
            check_scores(name, cpu(2, Some(level)));
        }
        check_scores(name, Arc::new(ReferenceDevice::new(Precision::F32)));
    }
}

#[test]
fn a_pairs_bits_do_not_depend_on_company_or_threads() {
    for name in RERANKERS {
        let (model, pairs) = (RerankerModel::load(&folder(name)).unwrap(), Pairs::load(name));
        let pairs = pairs.tokenized(model.encoder.config.n_token_types);
        let together = Reranker::new(cpu(2, None), &model).logits(&pairs);
        let alone = Reranker::new(cpu(1, None), &model);
        for (pair, together) in pairs.iter().zip(together) {
            assert_eq!(alone.logits(&[*pair])[0].to_bits(), together.to_bits());
        }
        assert!(alone.logits(&[]).is_empty());
    }
}

/// The shorter way to the first tokens' states gives the bits of the longer one.
#[test]
fn first_states_are_the_first_of_all_states() {
    for name in ["encoder/bert", "encoder/xlm-roberta", "retrieval/bge-m3"] {
        let model = EncoderModel::load(&fixture(name)).unwrap();
        for device in [cpu(2, None), cpu(1, Some(Level::Scalar))] {
            let encoder = Encoder::new(device, &model.config, &model.weights);
            let texts: Vec<Vec<u32>> = (0..40).map(|n| (0..n).map(|token| (token * 7 + n) % 90).collect()).collect();
            let texts: Vec<TokenizedText<'_>> = texts.iter().map(|ids| TokenizedText::new(ids)).collect();
            let all = encoder.states(&texts, model.config.n_layers);
            let mut n_seen = 0;
            encoder.visit_first(&texts, &mut |text, state| {
                n_seen += 1;
                let expected = &all[text][..model.config.hidden_size.min(all[text].len())];
                assert!(
                    state.len() == expected.len() && state.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{name}, text {text}"
                );
                ControlFlow::Continue(())
            });
            assert_eq!(n_seen, texts.len());
        }
    }
}

/// Vectors of a decoder's states, which tests of the program compare with sentence-transformers, have the same bits alone and among others, and the last states are the last of all.
#[test]
fn states_of_decoders_do_not_depend_on_company_or_threads() {
    let model = Model::load_headless(&folder("qwen3-embedding")).unwrap();
    assert!(model.config.tied_head, "the file has no head");
    let texts: Vec<Vec<u32>> = (0..60).map(|n| (0..n).map(|token| (token * 11 + n) % 300).collect()).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let states = |decoder: &Decoder<CpuDevice>, texts: &[&[u32]], wanted| {
        let mut all = vec![Vec::new(); texts.len()];
        decoder.visit_states(texts, wanted, &mut |text, states| {
            all[text] = states.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            ControlFlow::Continue(())
        });
        all
    };
    let [two, one] = [2, 1].map(|threads| Decoder::new(cpu(threads, None), &model.config, &model.weights));
    let (all, last) = (states(&two, &texts, WantedStates::All), states(&two, &texts, WantedStates::Last));
    for (n, ((text, all), last)) in texts.iter().zip(&all).zip(&last).enumerate() {
        assert_eq!(all.len(), n * 32);
        assert_eq!(&states(&one, &[text], WantedStates::All)[0], all);
        assert_eq!(&all[all.len().saturating_sub(32)..], last);
    }
    let mut n_seen = 0;
    one.visit_states(&texts, WantedStates::Last, &mut |_, _| {
        n_seen += 1;
        ControlFlow::Break(())
    });
    assert!(n_seen == 1 && states(&one, &[&[], &[]], WantedStates::All).concat().is_empty());
}

#[test]
fn recipes_come_from_the_folders() {
    let recipe = |name: &str| RerankerRecipe::read(&folder(name), &RerankerModel::load(&folder(name)).unwrap().encoder.config).unwrap();
    assert_eq!(RERANKERS.map(|name| recipe(name).max_tokens), [56, 58, 58]);
    let activations = [ScoreActivation::Identity, ScoreActivation::Sigmoid, ScoreActivation::Identity];
    assert_eq!(RERANKERS.map(|name| recipe(name).activation), activations);
    let qwen = EmbeddingRecipe::read(&folder("qwen3-embedding"), 32, 96).unwrap();
    assert_eq!((qwen.pooling, qwen.normalize, qwen.max_tokens), (vec![Pooling::Last], true, 96));
    assert!(qwen.query_prompt.starts_with("Instruct: ") && qwen.query_prompt.ends_with("\nQuery:") && qwen.document_prompt.is_empty());
    let bge = EmbeddingRecipe::read(&folder("bge-m3"), 20, 58).unwrap();
    assert_eq!((bge.pooling, bge.normalize, bge.query_prompt.as_str()), (vec![Pooling::Cls], true, ""));
    for (name, kind) in [("qwen3-embedding", FolderKind::Decoder), ("e5", FolderKind::Encoder), ("bert-reranker", FolderKind::Encoder)] {
        assert_eq!(folder_kind(&folder(name)).unwrap(), kind);
    }
}

/// A copy of a folder one of whose JSON files was changed; without `edit`, it is written where it was not.
fn changed(name: &str, file: &str, edit: impl FnOnce(&mut Value)) -> (tempfile::TempDir, PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let copy = guard.path().join(name);
    copy_folder(&folder(name), &copy);
    let path = copy.join(file);
    let mut value: Value = std::fs::read(&path).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    edit(&mut value);
    std::fs::write(&path, value.to_string()).unwrap();
    (guard, copy)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

fn reads(path: &Path) -> Result<RerankerRecipe, dyag_model::error::ModelError> {
    RerankerModel::load(path).and_then(|model| RerankerRecipe::read(path, &model.encoder.config))
}

#[test]
fn rerankers_that_lie_are_refused_by_key() {
    let identity = "torch.nn.modules.linear.Identity";
    for (name, file, edit, parts) in [
        (
            "bert-reranker",
            "config.json",
            Box::new(|c: &mut Value| c["id2label"] = json!({"0": "no", "1": "yes"})) as Box<dyn Fn(&mut Value)>,
            &["num_labels", "2 labels", "one label"][..],
        ),
        ("bert-reranker", "config.json", Box::new(|c| drop(c.as_object_mut().unwrap().remove("id2label"))), &["num_labels", "2 labels"]),
        ("bert-reranker", "config.json", Box::new(|c| c["id2label"] = json!([1])), &["id2label", "an object"]),
        (
            "bert-reranker",
            "config.json",
            Box::new(|c| c["architectures"] = json!(["BertModel"])),
            &["architectures", "BertForSequenceClassification", "BertModel"],
        ),
        (
            "camembert-reranker",
            "config.json",
            Box::new(|c| c["architectures"] = json!(["RobertaForSequenceClassification"])),
            &["architectures", "CamembertForSequenceClassification"],
        ),
        ("bert-reranker", "config.json", Box::new(|c| c["hidden_size"] = json!(26)), &["has shape", "26", "24"]),
        (
            "bert-reranker",
            "config.json",
            Box::new(|c| c["sentence_transformers"] = json!({"activation_fn": "torch.nn.modules.activation.Tanh"})),
            &["sentence_transformers.activation_fn", "Tanh", "Sigmoid"],
        ),
        (
            "bert-reranker",
            "config.json",
            Box::new(|c| c["sentence_transformers"] = json!({"activation_fn": "mine.Identity"})),
            &["sentence_transformers.activation_fn", "mine.Identity"],
        ),
        (
            "bert-reranker",
            "config.json",
            Box::new(|c| c["sentence_transformers"] = json!(7)),
            &["`sentence_transformers` is 7", "an object"],
        ),
        (
            "bert-reranker",
            "modules.json",
            Box::new(|m| *m = json!([{"type": "a.Transformer"}, {"type": "a.LogitScore"}])),
            &["modules.json", "one Transformer"],
        ),
        (
            "bert-reranker",
            "config_sentence_transformers.json",
            Box::new(|c| *c = json!({"default_prompt_name": "query"})),
            &["default_prompt_name", "without a prompt"],
        ),
        ("bert-reranker", "tokenizer_config.json", Box::new(|c| *c = json!([])), &["tokenizer_config.json", "a JSON object"]),
    ] {
        let (_guard, path) = changed(name, file, edit);
        let message = reads(&path).expect_err("refused").to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    }
    // What sentence-transformers' own settings say goes before what config.json says.
    let (_guard, path) = changed("xlm-roberta-reranker", "config_sentence_transformers.json", |c| *c = json!({"activation_fn": identity}));
    assert_eq!(reads(&path).unwrap().activation, ScoreActivation::Identity);
    assert!(RerankerModel::load(&fixture("encoder/bert")).unwrap_err().to_string().contains("architectures"));
    assert!(RerankerModel::load(&folder("qwen3-embedding")).unwrap_err().to_string().contains("qwen3"));
}

/// Renames a tensor in the header of model.safetensors, which keeps its length.
fn rename(path: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let file = path.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let quoted = format!("\"{from}\"");
    let at = bytes.windows(quoted.len()).position(|window| window == quoted.as_bytes()).expect("the tensor is there");
    bytes[at + 1..at + 1 + to.len()].copy_from_slice(to.as_bytes());
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn heads_that_are_not_there_or_of_another_size_are_refused() {
    for (name, tensor, other) in [
        ("bert-reranker", "classifier.weight", "klassifier.weight"),
        ("bert-reranker", "bert.pooler.dense.bias", "bert.pooler.dence.bias"),
        ("xlm-roberta-reranker", "classifier.dense.weight", "classifier.dence.weight"),
        ("xlm-roberta-reranker", "classifier.out_proj.bias", "classifier.out_prok.bias"),
    ] {
        let (_guard, path) = changed(name, "config.json", |_| {});
        rename(&path, tensor, other);
        let message = RerankerModel::load(&path).unwrap_err().to_string();
        assert!(message.contains(tensor.trim_start_matches("bert.")) && message.contains("missing"), "{message}");
    }
    // A head made for wider states: the shapes of two tensors of as many numbers, exchanged.
    let (_guard, path) = changed("bert-reranker", "config.json", |_| {});
    let file = path.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(6).position(|window| window == b"[1,24]").expect("the classifier's shape");
    let spoiled = [&bytes[..at], b"[2,12]", &bytes[at + 6..]].concat();
    std::fs::write(&file, spoiled).unwrap();
    let message = RerankerModel::load(&path).unwrap_err().to_string();
    assert!(message.contains("classifier.weight") && message.contains("[2, 12]") && message.contains("[1, 24]"), "{message}");
}

#[test]
fn embedders_that_lie_are_refused_by_key() {
    for (file, edit, parts) in [
        (
            "config.json",
            Box::new(|c: &mut Value| c["is_causal"] = json!(false)) as Box<dyn Fn(&mut Value)>,
            &["is_causal", "none that come after"][..],
        ),
        ("config.json", Box::new(|c| c["auto_map"] = json!({"AutoModel": "modeling.Mine"})), &["auto_map", "not run"]),
        (
            "config.json",
            Box::new(|c| c["architectures"] = json!(["Qwen3ForSequenceClassification"])),
            &["architectures", "Qwen3ForCausalLM"],
        ),
        ("config.json", Box::new(|c| c["hidden_size"] = json!(64)), &["expected", "64", "32"]),
        ("config.json", Box::new(|c| c["intermediate_size"] = json!(50)), &["mlp.", "50", "48"]),
        ("1_Pooling/config.json", Box::new(|c| c["word_embedding_dimension"] = json!(1024)), &["1024", "32"]),
    ] {
        let (_guard, path) = changed("qwen3-embedding", file, edit);
        let read = Model::load_headless(&path)
            .and_then(|model| EmbeddingRecipe::read(&path, model.config.hidden_size, model.config.max_positions));
        let message = read.expect_err("refused").to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message:?} lacks one of {parts:?}");
    }
    // As Qwen publishes it: the class with a head, and no head in the file.
    let (_guard, path) = changed("qwen3-embedding", "config.json", |c| c["architectures"] = json!(["Qwen3ForCausalLM"]));
    assert!(Model::load_headless(&path).is_ok());
    assert!(Model::load(&path).is_err(), "a whole decoder has a head");
    let (_guard, path) = changed("qwen3-embedding", "config.json", |c| c["model_type"] = json!("mamba"));
    let message = folder_kind(&path).unwrap_err().to_string();
    assert!(message.contains("mamba") && message.contains("xlm-roberta") && message.contains("qwen3"), "{message}");
    assert!(Model::load_headless(&fixture("tiny-chat/model.gguf")).unwrap_err().to_string().contains("folder"));
}
