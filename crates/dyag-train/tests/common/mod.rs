//! What the tests of training share: a tiny real model, data to learn, and a run in a folder of its own.
#![allow(dead_code, missing_docs, reason = "each test file is a crate of its own and uses a part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::{Device, Precision};
use dyag_model::Model;
use dyag_model::adapter::{Adapter, AdapterConfig, parse_targets};
use dyag_model::decoder::Decoder;
use dyag_train::checkpoint::{Resume, open_output};
use dyag_train::config::{CheckpointingChoice, LoraSettings, Method};
use dyag_train::manifest::{BaseModel, ConversationFacts, DatasetFacts};
use dyag_train::packing::Sequence;
use dyag_train::plan::MemoryPlan;
use dyag_train::schedule::ScheduleKind;
use dyag_train::{Companion, Event, Outcome, TrainConfig, TrainError, TrainInputs, train};

/// The tiny Qwen2 of the fixtures on the processor.
pub(crate) struct Bench {
    pub(crate) model: Model,
    pub(crate) decoder: Decoder<CpuDevice>,
}

impl Bench {
    pub(crate) fn new(threads: usize) -> Self {
        let model = Model::load(&dyag_testing::golden("qwen2").join("model")).expect("the fixture loads");
        let options = CpuOptions { precision: Precision::F32, threads: Some(threads), level: None, int8_activations: false };
        let device = Arc::new(CpuDevice::new(options).expect("threads start"));
        let decoder = Decoder::new(device, &model.config, &model.weights);
        Self { model, decoder }
    }

    pub(crate) fn settings(&self, config: &TrainConfig) -> AdapterConfig {
        let projections = parse_targets(&config.lora.target_modules.join(","), &self.model.config).expect("known names");
        let LoraSettings { rank, alpha, rslora, dora, rank_pattern, alpha_pattern, .. } = &config.lora;
        AdapterConfig {
            rank_stabilised: *rslora,
            weight_decomposed: *dora,
            rank_pattern: rank_pattern.clone(),
            alpha_pattern: alpha_pattern.clone(),
            ..AdapterConfig::new(&projections, *rank, *alpha)
        }
    }
}

/// Settings that learn quickly.
pub(crate) fn config() -> TrainConfig {
    TrainConfig {
        epochs: 4,
        max_steps: None,
        batch_size: 2,
        accumulation: 2,
        learning_rate: 5e-3,
        lora_plus_ratio: None,
        schedule: ScheduleKind::Cosine,
        warmup_ratio: 0.1,
        clip: 0.3,
        weight_decay: 0.01,
        seed: 42,
        shuffle: true,
        loss: dyag_text::LossTokens::Assistant,
        max_seq_length: 64,
        truncate: false,
        dropout: 0.0,
        neftune_alpha: None,
        share_prefixes: true,
        method: Method::Lora,
        lora: LoraSettings {
            rank: 4,
            alpha: 8.0,
            rslora: false,
            dora: false,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            target_text: None,
            target_modules: ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"].map(str::to_owned).to_vec(),
            initial_adapter: None,
        },
        precision: "f32".to_owned(),
        validation_split: None,
        load_best: false,
        early_stopping_patience: None,
        date: None,
        checkpointing: CheckpointingChoice::Layer,
        save_steps: None,
        save_total_limit: 2,
    }
}

/// Those settings with all that LoRA has been varied by: scale, magnitudes, ranks, learning rates, noise.
pub(crate) fn varied() -> TrainConfig {
    TrainConfig {
        lora_plus_ratio: Some(4.0),
        neftune_alpha: Some(5.0),
        lora: LoraSettings {
            rslora: true,
            dora: true,
            rank_pattern: vec![("1.self_attn.q_proj".to_owned(), 2), ("v_proj".to_owned(), 6)],
            alpha_pattern: vec![("mlp.*".to_owned(), 3.0)],
            ..config().lora
        },
        ..config()
    }
}

/// Those settings with all weights trained.
pub(crate) fn whole() -> TrainConfig {
    TrainConfig { method: Method::Full, learning_rate: 2e-3, ..config() }
}

/// `n` examples that begin with the same 12 tokens, ask something of 1 to 5 tokens, and are answered by 2 to 6 learned ones.
pub(crate) fn sequences(n: u32) -> Vec<Sequence> {
    let example = |i: u32| {
        let question = (0..1 + i % 5).map(|j| 100 + (i * 7 + j * 3) % 200);
        let answer = (0..2 + i % 5).map(|j| 300 + (i * 11 + j * 5) % 200);
        let mut ids: Vec<u32> = (40..52).chain(question).collect();
        let mut trained = vec![false; ids.len()];
        ids.extend(answer);
        trained.resize(ids.len(), true);
        // Something that follows the answer, as templates have it.
        ids.push(9);
        trained.push(false);
        Sequence::new(ids, trained)
    };
    (0..n).map(example).collect()
}

/// A run's data and folder.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) train: Vec<Sequence>,
    pub(crate) validation: Vec<Sequence>,
    pub(crate) max_pack_tokens: usize,
    /// What the fresh adapter's A is multiplied with.
    pub(crate) initial_scale: f32,
}

impl Place {
    pub(crate) fn new(n: u32) -> Self {
        Self {
            folder: tempfile::tempdir().expect("temporary folder"),
            train: sequences(n),
            validation: Vec::new(),
            max_pack_tokens: 64,
            initial_scale: 1.0,
        }
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    pub(crate) fn run(&self, bench: &Bench, config: TrainConfig, resume: Resume) -> Result<Outcome, TrainError> {
        self.run_until(bench, config, resume, &AtomicBool::new(false), &mut |_| {})
    }

    pub(crate) fn run_until(
        &self,
        bench: &Bench,
        config: TrainConfig,
        resume: Resume,
        stop: &AtomicBool,
        listener: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, TrainError> {
        let output = self.output();
        let resume = open_output(&output, &resume)?;
        let settings = bench.settings(&config);
        let mut adapter = Adapter::init_on(&bench.model.config, &bench.model.weights, &settings, config.seed).expect("an adapter");
        adapter.pairs.values_mut().flat_map(|pair| pair.a.iter_mut()).for_each(|value| *value *= self.initial_scale);
        let is_whole = config.method == Method::Full;
        if is_whole {
            adapter = Adapter::default();
        }
        let inputs = TrainInputs {
            decoder: &bench.decoder,
            weights: is_whole.then_some(&bench.model.weights),
            adapter,
            adapter_config: settings,
            train: &self.train,
            validation: &self.validation,
            base_model: base_model(&bench.model),
            conversation: ConversationFacts::default(),
            dataset: dataset(&self.train, &self.validation),
            companions: &[Companion { name: "tokenizer.json".to_owned(), content: b"{}".to_vec() }],
            memory: &memory(self.max_pack_tokens, config.checkpointing),
            config,
            output: &output,
            resume,
        };
        train(inputs, listener, stop)
    }

    /// Everything the run left, by name, without what measures time.
    pub(crate) fn left(&self) -> BTreeMap<String, Vec<u8>> {
        let mut left = BTreeMap::new();
        collect(&self.output(), &self.output(), &mut left);
        left
    }

    pub(crate) fn losses(&self) -> Vec<f64> {
        let log = fs::read_to_string(self.output().join("log.jsonl")).expect("a log");
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64().expect("a loss")).collect()
    }
}

pub(crate) fn base_model(model: &Model) -> BaseModel {
    BaseModel {
        path: "model".to_owned(),
        family: model.config.family.clone(),
        shape: format!("{:?}", model.config),
        fingerprint: model.source.fingerprint(),
        vocabulary_hash: "v".to_owned(),
        template_hash: "t".to_owned(),
        quantization: None,
        hub: None,
    }
}

pub(crate) fn dataset(train: &[Sequence], validation: &[Sequence]) -> DatasetFacts {
    DatasetFacts {
        name: "train.jsonl".to_owned(),
        sha256: dyag_train::folder::hash_bytes(format!("{train:?}").as_bytes()),
        n_conversations: train.len() as u64,
        n_tokens: train.iter().map(|s| s.n_tokens() as u64).sum(),
        n_trained_tokens: train.iter().map(|s| s.n_trained() as u64).sum(),
        validation_name: None,
        validation_sha256: None,
        n_validation_conversations: validation.len() as u64,
    }
}

pub(crate) fn memory(max_pack_tokens: usize, checkpointing: CheckpointingChoice) -> MemoryPlan {
    MemoryPlan {
        logits_bytes: 1 << 20,
        weights_bytes: 0,
        adapter_bytes: 0,
        activation_bytes: 0,
        other_bytes: 0,
        max_pack_tokens,
        recompute: checkpointing == CheckpointingChoice::Layer,
        available_bytes: u64::MAX,
        available_source: "a test".to_owned(),
    }
}

fn collect(root: &Path, folder: &Path, left: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(root, &path, left);
            continue;
        }
        let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
        let content = fs::read(&path).expect("readable");
        left.insert(name.clone(), if name.ends_with(".json") || name.ends_with(".jsonl") { without_timing(&content) } else { content });
    }
}

/// JSON documents, one after another, without the keys named `timing`; all other bytes are compared through their values.
fn without_timing(content: &[u8]) -> Vec<u8> {
    let values = serde_json::Deserializer::from_slice(content).into_iter::<serde_json::Value>();
    let mut text = String::new();
    for value in values {
        let mut value = value.expect("JSON");
        value.as_object_mut().map(|object| object.remove("timing"));
        text.push_str(&value.to_string());
        text.push('\n');
    }
    text.into_bytes()
}

/// Fails naming the files that differ.
pub(crate) fn assert_same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let differing: Vec<_> = a.iter().filter(|(name, content)| b[*name] != **content).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "differ: {differing:?}");
}

pub(crate) fn describe(bench: &Bench) -> String {
    bench.decoder.device().describe()
}
