//! Models that were written are the models they were made from: every family, every type, merged and not.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_kernels::Precision;
use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::device::AttentionSpan;
use dyag_model::Model;
use dyag_model::adapter::{Adapter, LoraPair, Projection, Site};
use dyag_model::config::DecoderConfig;
use dyag_model::decoder::{Decoder, DeviceAdapter, GenerateLimits, Pack, SamplingOptions};
use dyag_model::export::{ExportError, FolderOptions, GgufModel, GgufType, config_json, export_adapter, export_gguf, export_weights};
use dyag_model::weights::gguf::Value;
use dyag_model::weights::{Dtype, GgufFile, GgufTokenizer};
use dyag_testing::{GOLDEN_CASES, golden, relative_l2, relative_to_largest};

fn device() -> Arc<CpuDevice> {
    let options = CpuOptions { precision: Precision::F32, threads: Some(2), level: None, int8_activations: false };
    Arc::new(CpuDevice::new(options).expect("threads"))
}

fn load(case: &str) -> (Model, Adapter) {
    let model = Model::load(&golden(case).join("model")).expect("a golden model");
    let adapter = Adapter::load(&golden(case).join("adapter"), &model.config).expect("its adapter");
    (model, adapter)
}

/// Some forty tokens, the same for every model.
fn ids() -> Vec<u32> {
    (0..40u32).map(|i| (i * 37 + 11) % 241).collect()
}

fn logits(model: &Model, adapter: Option<&Adapter>) -> Vec<f32> {
    let device = device();
    let decoder = Decoder::new(Arc::clone(&device), &model.config, &model.weights);
    let adapter = adapter.map(|adapter| DeviceAdapter::upload(&*device, adapter));
    let ids = ids();
    let n = ids.len();
    let positions = (0..n as u32).collect();
    let spans = vec![AttentionSpan { queries: 0..n, prefix: 0..0, own: 0..n }];
    decoder.logits(adapter.as_ref(), &Pack { ids, positions, spans, ..Pack::default() }, &(0..n).collect::<Vec<_>>())
}

fn greedy(model: &Model) -> Vec<u32> {
    let decoder = Decoder::new(device(), &model.config, &model.weights);
    let limits = GenerateLimits { max_new_tokens: 24, stop_ids: Vec::new(), batch: 1, numbers: Vec::new(), scored: false };
    let answers =
        decoder.generate(None, &[ids()], &SamplingOptions::GREEDY, &limits, &mut |_, _| ControlFlow::Continue(())).expect("generated");
    answers[0].ids.clone()
}

/// A tokenizer with fewer tokens than the embedding has rows, as published ones are.
fn tokenizer() -> GgufTokenizer {
    GgufTokenizer {
        model: "gpt2".to_owned(),
        pre: Some("qwen2".to_owned()),
        tokens: (0..250).map(|id| format!("t{id}")).collect(),
        token_types: vec![1; 250],
        merges: vec!["t 1".to_owned()],
        bos_token_id: Some(1),
        eos_token_id: Some(2),
        add_bos_token: Some(false),
        chat_template: Some("{{ messages }}".to_owned()),
        ..GgufTokenizer::default()
    }
}

fn write_gguf(path: &Path, model: &Model, adapter: Option<&Adapter>, kind: GgufType) -> Result<(), ExportError> {
    let tokenizer = tokenizer();
    let whole = GgufModel { name: "Golden", config: &model.config, weights: &model.weights, adapter, tokenizer: &tokenizer };
    export_gguf(path, &whole, kind, &mut |_, _| ()).map(|_| ())
}

/// Writes a folder with the golden model's own config.json.
fn write_folder(folder: &Path, case: &str, model: &Model, adapter: Option<&Adapter>, options: FolderOptions) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::copy(golden(case).join("model/config.json"), folder.join("config.json")).expect("its configuration");
    export_weights(folder, &model.config, &model.weights, adapter, options, &mut |_, _| ()).expect("written");
}

const F32: FolderOptions = FolderOptions { dtype: Dtype::F32, shard_bytes: u64::MAX };

#[test]
fn every_family_comes_back_from_every_type_of_gguf_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for case in GOLDEN_CASES {
        let (model, _) = load(case);
        let expected = logits(&model, None);
        for kind in GgufType::ALL {
            let path = folder.path().join(format!("{case}-{}.gguf", kind.name()));
            write_gguf(&path, &model, None, kind).unwrap_or_else(|error| panic!("{case} {}: {error}", kind.name()));
            let back = Model::load(&path).unwrap_or_else(|error| panic!("{case} {}: {error}", kind.name()));
            let error = relative_l2(&logits(&back, None), &expected);
            // In random models an error of the matrices is some four times as large in the logits; rows of 64 elements have Q5_0 for Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K.
            let bound = match kind {
                GgufType::F32 => 1e-6,
                GgufType::F16 => 2e-3,
                GgufType::Bf16 | GgufType::Q8_0 | GgufType::Q6K => 0.06,
                GgufType::Q5KM | GgufType::Q4KM => 0.35,
                GgufType::Q4_0 => 0.9,
            };
            assert!(error <= bound, "{case} {}: {error}", kind.name());
            if kind == GgufType::F32 {
                assert_eq!(greedy(&back), greedy(&model), "{case}");
                assert_eq!(back.config.windows, model.config.windows, "{case}");
            }
        }
    }
}

#[test]
fn a_merged_model_computes_what_base_and_adapter_compute() {
    let folder = tempfile::tempdir().expect("a folder");
    for case in GOLDEN_CASES {
        let (model, adapter) = load(case);
        let expected = logits(&model, Some(&adapter));
        assert!(relative_l2(&logits(&model, None), &expected) > 1e-3, "{case}: the adapter does something");
        let merged = folder.path().join(case);
        write_folder(&merged, case, &model, Some(&adapter), F32);
        let error = relative_to_largest(&logits(&Model::load(&merged).expect("loads"), None), &expected);
        assert!(error < 5e-6, "{case}: {error}");
        let path = folder.path().join(format!("{case}.gguf"));
        write_gguf(&path, &model, Some(&adapter), GgufType::F32).expect("written");
        let error = relative_to_largest(&logits(&Model::load(&path).expect("loads"), None), &expected);
        assert!(error < 5e-6, "{case} as GGUF: {error}");
        for (dtype, bound) in [(Dtype::F16, 2e-3), (Dtype::Bf16, 2e-2)] {
            let half = folder.path().join(format!("{case}-{}", dtype.name()));
            write_folder(&half, case, &model, Some(&adapter), FolderOptions { dtype, ..F32 });
            let error = relative_l2(&logits(&Model::load(&half).expect("loads"), None), &expected);
            assert!(error > 0.0 && error < bound, "{case} {}: {error}", dtype.name());
        }
    }
}

#[test]
fn an_element_is_summed_in_f32_and_rounded_once_to_the_nearest_even() {
    let (model, adapter) = load("qwen2");
    let folder = tempfile::tempdir().expect("a folder");
    write_folder(folder.path(), "qwen2", &model, Some(&adapter), FolderOptions { dtype: Dtype::Bf16, ..F32 });
    let file = dyag_model::weights::SafetensorsFile::open(&folder.path().join("model.safetensors")).expect("opens");
    let site = Site { layer: 1, projection: Projection::Down };
    let LoraPair { rank, scale, a, b, magnitude: _ } = &adapter.pairs[&site];
    let down = &model.weights.layers[1].down;
    let found = file.tensor("model.layers.1.mlp.down_proj.weight").expect("there").to_f32().expect("bf16");
    let mut row = vec![0.0; down.cols()];
    for i in 0..down.rows() {
        down.widen_row(i, 0, &mut row);
        for (j, weight) in row.iter().enumerate() {
            let sum: f64 = (0..*rank).map(|r| f64::from(b[i * rank + r]) * f64::from(a[r * down.cols() + j])).sum();
            let exact = f64::from(*weight) + f64::from(*scale) * sum;
            let error = (f64::from(found[i * down.cols() + j]) - exact).abs();
            // Half a unit in the last place of bf16, and the rounding of the f32 sum.
            assert!(error <= exact.abs() * 0.501 / 128.0 + 1e-9, "row {i}, column {j}: {error:e} of {exact:e}");
        }
    }
}

#[test]
fn shards_hold_the_same_as_one_file() {
    let (model, _) = load("tinyllama");
    let folder = tempfile::tempdir().expect("a folder");
    write_folder(folder.path(), "tinyllama", &model, None, FolderOptions { shard_bytes: 100_000, ..F32 });
    let names: Vec<PathBuf> = std::fs::read_dir(folder.path()).expect("files").map(|entry| entry.expect("an entry").path()).collect();
    let shards = names.iter().filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).count();
    assert!(shards > 3 && !folder.path().join("model.safetensors").exists(), "{names:?}");
    let back = Model::load(folder.path()).expect("loads");
    assert_eq!(logits(&back, None), logits(&model, None));
    assert_eq!(back.source.n_parameters, model.source.n_parameters);
}

#[test]
fn a_type_that_stays_is_copied_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    for (case, kind) in [("llama3", GgufType::Q4_0), ("qwen2", GgufType::Q5KM), ("phi3", GgufType::F16)] {
        let (model, _) = load(case);
        let (first, second) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
        write_gguf(&first, &model, None, kind).expect("written");
        write_gguf(&second, &Model::load(&first).expect("loads"), None, kind).expect("written again");
        let (a, b) = (GgufFile::open(&first).expect("opens"), GgufFile::open(&second).expect("opens"));
        let tensors = |file: &GgufFile| -> BTreeMap<String, Vec<u8>> {
            file.tensors().map(|(name, tensor)| (format!("{name} {tensor:?}"), file.bytes(tensor).as_slice().to_vec())).collect()
        };
        assert!(tensors(&a) == tensors(&b), "{case}");
    }
}

#[test]
fn an_adapters_file_says_what_llama_cpp_multiplies_with() {
    let folder = tempfile::tempdir().expect("a folder");
    for (case, architecture) in [("llama3", "llama"), ("mistral-window", "llama"), ("phi3", "phi3"), ("qwen2", "qwen2")] {
        let (model, mut adapter) = load(case);
        // One site with a scale of its own.
        let odd = *adapter.pairs.keys().next_back().expect("a site");
        adapter.pairs.get_mut(&odd).expect("its pair").scale *= 3.0;
        let path = folder.path().join(format!("{case}.gguf"));
        export_adapter(&path, "Golden", &model.config, &model.weights, &adapter).expect("written");
        let file = GgufFile::open(&path).expect("opens");
        let text = |key: &str| match file.value(key) {
            Some(Value::String(text)) => text.clone(),
            other => panic!("{key}: {other:?}"),
        };
        assert_eq!([text("general.type"), text("adapter.type"), text("general.architecture")], ["adapter", "lora", architecture]);
        let Some(Value::Float(alpha)) = file.value("adapter.lora.alpha") else { panic!("no alpha") };
        assert_eq!(file.tensors().count(), 2 * adapter.pairs.len());
        // Laid over a base in the same kind of file, it computes what the adapter computes.
        let base = folder.path().join(format!("{case}-base.gguf"));
        write_gguf(&base, &model, None, GgufType::F32).expect("written");
        let read = read_adapter(&file, *alpha as f32, &model.config);
        let error = relative_to_largest(&logits(&Model::load(&base).expect("loads"), Some(&read)), &logits(&model, Some(&adapter)));
        assert!(error < 3e-6, "{case}: {error}");
    }
}

/// Reads an adapter's file as llama.cpp does: `alpha / rank` times `B A`, rows of q and k interleaved within heads for Llama.
fn read_adapter(file: &GgufFile, alpha: f32, config: &DecoderConfig) -> Adapter {
    let parts: &[(&str, Projection)] = if config.fused {
        &[("attn_qkv", Projection::Qkv), ("attn_output", Projection::O), ("ffn_up", Projection::GateUp), ("ffn_down", Projection::Down)]
    } else {
        &[
            ("attn_q", Projection::Q),
            ("attn_k", Projection::K),
            ("attn_v", Projection::V),
            ("attn_output", Projection::O),
            ("ffn_gate", Projection::Gate),
            ("ffn_up", Projection::Up),
            ("ffn_down", Projection::Down),
        ]
    };
    let mut adapter = Adapter::default();
    for layer in 0..config.n_layers {
        for (part, projection) in parts {
            let tensor = |which: &str| {
                let tensor = file.tensor(&format!("blk.{layer}.{part}.weight.lora_{which}"))?;
                let bytes = file.bytes(tensor);
                let values: Vec<f32> = bytes.as_slice().chunks(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect();
                Some((tensor.shape.clone(), values))
            };
            let (Some((shape, a)), Some((_, mut b))) = (tensor("a"), tensor("b")) else { continue };
            let rank = shape[0];
            if matches!(config.family.as_str(), "llama" | "mistral") && matches!(projection, Projection::Q | Projection::K) {
                let half = config.head_size / 2;
                let stored = b.clone();
                for (row, out) in b.chunks_mut(rank).enumerate() {
                    let (head, within) = (row / config.head_size, row % config.head_size);
                    let place = head * config.head_size + if within < half { 2 * within } else { 2 * (within - half) + 1 };
                    out.copy_from_slice(&stored[place * rank..(place + 1) * rank]);
                }
            }
            adapter
                .pairs
                .insert(Site { layer, projection: *projection }, LoraPair { rank, scale: alpha / rank as f32, a, b, magnitude: None });
        }
    }
    adapter
}

#[test]
fn a_configuration_made_of_gguf_metadata_says_what_the_published_one_says() {
    let folder = tempfile::tempdir().expect("a folder");
    for case in GOLDEN_CASES {
        let (model, _) = load(case);
        let path = folder.path().join("m.gguf");
        write_gguf(&path, &model, None, GgufType::F32).expect("written");
        let back = Model::load(&path).expect("loads");
        let object = config_json(&back.config, Dtype::F32).unwrap_or_else(|error| panic!("{case}: {error}"));
        let read = DecoderConfig::from_json(Path::new(case), object.as_object().expect("an object")).unwrap_or_else(|e| panic!("{e}"));
        // Which tokens begin and end a text is the tokenizer's, which is another here.
        let expected = DecoderConfig { bos_token_id: read.bos_token_id, eos_token_ids: read.eos_token_ids.clone(), ..model.config };
        assert_eq!(read, expected, "{case}");
    }
}

#[test]
fn what_cannot_be_stored_is_named_and_leaves_nothing() {
    let (model, adapter) = load("qwen2");
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site { layer: 2, projection: Projection::V };
    for (value, kind, hint) in
        [(f32::NAN, GgufType::Q8_0, "damaged"), (f32::INFINITY, GgufType::F32, "damaged"), (1e9, GgufType::F16, "BF16")]
    {
        let mut bad = adapter.clone();
        let pair = bad.pairs.get_mut(&site).expect("a pair");
        pair.a.fill(1.0);
        pair.b[5 * pair.rank] = value;
        let path = folder.path().join("bad.gguf");
        let message = write_gguf(&path, &model, Some(&bad), kind).expect_err("refused").to_string();
        assert!(message.contains("`blk.2.attn_v.weight`, row 5, column 0") && message.contains(hint), "{message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("files").count(), 0);
}
