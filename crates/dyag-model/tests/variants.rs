//! Adapters with magnitudes, and noise on the embeddings: what the dumps of PEFT cannot show.

use std::sync::Arc;

use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::device::AttentionSpan;
use dyag_kernels::reference::ReferenceDevice;
use dyag_kernels::{Device, Precision, WeightMatrix};
use dyag_model::Model;
use dyag_model::adapter::{Adapter, AdapterConfig, Projection};
use dyag_model::decoder::{Checkpointing, Decoder, DeviceAdapter, Dropout, Noise, Pack, StepOptions, Target};
use dyag_model::weights::{DecoderWeights, GateUpWeights, QkvWeights, SafetensorsFile};
use dyag_testing::{golden, relative_l2, relative_to_largest};

const KEEP_ALL: StepOptions = StepOptions { checkpointing: Checkpointing::None, dropout: None };

fn cpu(precision: Precision, threads: usize) -> Arc<CpuDevice> {
    Arc::new(CpuDevice::new(CpuOptions { precision, threads: Some(threads), level: None, int8_activations: false }).unwrap())
}

/// The model and the adapter of a case `lora-...`.
fn load(case: &str) -> (Model, Adapter) {
    let folder = golden(case);
    let base = std::fs::read_to_string(folder.join("base.txt")).unwrap();
    let model = Model::load(&golden(base.trim()).join("model")).unwrap();
    let adapter = Adapter::load(&folder.join("adapter"), &model.config).unwrap();
    (model, adapter)
}

/// Two sequences, every token of which predicts the next.
fn pack() -> Pack {
    let mut pack = Pack::default();
    for (from, n) in [(0, 23), (40, 17)] {
        let first = pack.ids.len();
        pack.ids.extend((0..n).map(|i| (from + i * 37) % 500 + 3));
        pack.positions.extend(0..n);
        let rows = first..pack.ids.len();
        pack.targets.extend((rows.start..rows.end - 1).map(|row| Target { row, id: pack.ids[row + 1], weight: 1.0 }));
        pack.spans.push(AttentionSpan { queries: rows.clone(), prefix: 0..0, own: rows });
    }
    pack
}

fn gradients<D: Device>(decoder: &Decoder<D>, adapter: &Adapter, pack: &Pack, options: &StepOptions) -> (f64, Adapter) {
    let device = &**decoder.device();
    let adapter = DeviceAdapter::upload(device, adapter);
    let mut gradients = DeviceAdapter::zeros_like(device, &adapter);
    let sum = decoder.loss_and_gradients(&adapter, pack, options, &mut gradients);
    (sum.loss_sum_nats, gradients.download(device))
}

fn dropout(p: f32) -> StepOptions {
    StepOptions { checkpointing: Checkpointing::Layer, dropout: Some(Dropout { p, seed: 11 }) }
}

#[test]
fn dropping_nothing_is_no_dropout() {
    for case in ["lora-dora", "lora-dora-fused"] {
        let (model, adapter) = load(case);
        let decoder = Decoder::new(cpu(Precision::F32, 2), &model.config, &model.weights);
        let (loss, plain) = gradients(&decoder, &adapter, &pack(), &KEEP_ALL);
        let (loss_dropped, dropped) = gradients(&decoder, &adapter, &pack(), &dropout(0.0));
        assert!((loss - loss_dropped).abs() < 1e-6 * loss, "{case}: {loss} and {loss_dropped}");
        for ((name, a), (_, b)) in dropped.named_tensors().zip(plain.named_tensors()) {
            assert!(relative_l2(a, b) < 1e-5, "{case} {name}: {}", relative_l2(a, b));
        }
    }
}

/// The gradients of magnitudes are those of the loss itself, since norms do not depend on them; on their way down they go through all of the backward.
#[test]
fn gradients_of_magnitudes_match_differences_with_dropout_and_without() {
    let (model, adapter) = load("lora-dora");
    let decoder = Decoder::new(Arc::new(ReferenceDevice::new(Precision::F32)), &model.config, &model.weights);
    for options in [KEEP_ALL, dropout(0.3)] {
        let (_, found) = gradients(&decoder, &adapter, &pack(), &options);
        for site in adapter.pairs.keys().step_by(4) {
            let direction = found.pairs[site].magnitude.as_ref().unwrap();
            let length = direction.iter().map(|v| v * v).sum::<f32>().sqrt();
            let loss = |step: f32| {
                let mut moved = adapter.clone();
                let magnitude = moved.pairs.get_mut(site).unwrap().magnitude.as_mut().unwrap();
                magnitude.iter_mut().zip(direction).for_each(|(m, d)| *m += step * d / length);
                gradients(&decoder, &moved, &pack(), &options).0
            };
            let difference = (loss(4e-3) - loss(-4e-3)) / 8e-3;
            assert!((difference - f64::from(length)).abs() < 1e-2 * difference, "{}: {difference} and {length}", site.module());
        }
    }
}

/// PEFT's own numbers, with dropout that drops what ours does.
#[test]
fn dropout_beside_magnitudes_is_that_of_peft() {
    let (model, adapter) = load("lora-dora");
    let dump = SafetensorsFile::open(&golden("lora-dora").join("dropout.safetensors")).unwrap();
    let ids: Vec<u32> = dump.tensor("input_ids").unwrap().to_i64().unwrap().into_iter().map(|id| id as u32).collect();
    let n = ids.len();
    let pack = Pack {
        positions: (0..n as u32).collect(),
        spans: vec![AttentionSpan { queries: 0..n, prefix: 0..0, own: 0..n }],
        targets: (0..n - 1).map(|row| Target { row, id: ids[row + 1], weight: 1.0 }).collect(),
        ids,
        ..Pack::default()
    };
    let floats = |name: &str| dump.tensor(name).unwrap().to_f32().unwrap();
    let decoder = Decoder::new(cpu(Precision::F32, 2), &model.config, &model.weights);
    let (loss, found) = gradients(&decoder, &adapter, &pack, &dropout(floats("p")[0]));
    let expected = f64::from(floats("loss")[0]);
    assert!((loss - expected).abs() < 1e-5 * expected, "{loss}, expected {expected}");
    for (name, values) in found.named_tensors() {
        let error = relative_l2(values, &floats(&format!("grad.{name}")));
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn magnitudes_keep_the_bits_whatever_is_kept_and_however_many_threads_compute() {
    for case in ["lora-dora", "lora-dora-fused", "lora-everything"] {
        let (model, adapter) = load(case);
        for precision in [Precision::F32, Precision::Bf16] {
            let run = |threads, checkpointing| {
                let decoder = Decoder::new(cpu(precision, threads), &model.config, &model.weights);
                gradients(&decoder, &adapter, &pack(), &StepOptions { checkpointing, dropout: None })
            };
            let kept = run(1, Checkpointing::None);
            assert_eq!(kept, run(2, Checkpointing::Layer), "{case} {precision:?}");
            assert!(kept.1.pairs.values().all(|pair| pair.magnitude.as_ref().unwrap().iter().any(|d| *d != 0.0)));
        }
    }
}

#[test]
fn a_changed_adapter_has_new_norms() {
    let (model, adapter) = load("lora-dora");
    let device = cpu(Precision::F32, 2);
    let decoder = Decoder::new(device.clone(), &model.config, &model.weights);
    let mut uploaded = DeviceAdapter::upload(&*device, &adapter);
    decoder.loss(Some(&uploaded), &pack());
    let mut changed = adapter;
    changed.pairs.values_mut().for_each(|pair| pair.b.iter_mut().for_each(|b| *b *= -1.5));
    for (pair, changed) in uploaded.pairs_mut().values_mut().zip(changed.pairs.values()) {
        pair.b = device.upload(&changed.b);
    }
    let fresh = DeviceAdapter::upload(&*device, &changed);
    assert_eq!(decoder.loss(Some(&uploaded), &pack()), decoder.loss(Some(&fresh), &pack()));
}

/// The model with an adapter merged row by row.
fn merged(weights: &DecoderWeights, adapter: &Adapter) -> DecoderWeights {
    let mut merged = weights.clone();
    for (site, pair) in &adapter.pairs {
        let old = weights.matrix(*site).unwrap();
        let mut values = vec![0.0; old.rows() * old.cols()];
        for (j, row) in values.chunks_exact_mut(old.cols()).enumerate() {
            old.widen_row(j, 0, row);
            pair.merge_row(j, row);
        }
        let layer = &mut merged.layers[site.layer];
        let place = match (site.projection, &mut layer.qkv, &mut layer.gate_up) {
            (Projection::Q, QkvWeights::Separate { q, .. }, _) => q,
            (Projection::K, QkvWeights::Separate { k, .. }, _) => k,
            (Projection::V, QkvWeights::Separate { v, .. }, _) => v,
            (Projection::Qkv, QkvWeights::Fused(qkv), _) => qkv,
            (Projection::Gate, _, GateUpWeights::Separate { gate, .. }) => gate,
            (Projection::Up, _, GateUpWeights::Separate { up, .. }) => up,
            (Projection::GateUp, _, GateUpWeights::Fused(gate_up)) => gate_up,
            (Projection::O, ..) => &mut layer.o,
            _ => &mut layer.down,
        };
        *place = WeightMatrix::from_f32(&values, old.rows(), old.cols());
    }
    merged
}

#[test]
fn a_merged_adapter_gives_the_logits_of_one_beside_its_base() {
    for case in ["lora-rslora", "lora-dora", "lora-dora-fused", "lora-everything"] {
        let (model, adapter) = load(case);
        let device = cpu(Precision::F32, 2);
        let decoder = Decoder::new(device.clone(), &model.config, &model.weights);
        let beside = decoder.logits(Some(&DeviceAdapter::upload(&*device, &adapter)), &pack(), &[5, 22, 30]);
        let alone = Decoder::new(device, &model.config, &merged(&model.weights, &adapter)).logits(None, &pack(), &[5, 22, 30]);
        let error = relative_to_largest(&alone, &beside);
        assert!(error < 1e-5, "{case}: {error}");
        assert!(relative_to_largest(&decoder.logits(None, &pack(), &[5, 22, 30]), &beside) > 1e-3);
    }
}

#[test]
fn a_fresh_adapter_with_magnitudes_changes_nothing() {
    let (model, _) = load("lora-dora");
    let settings = AdapterConfig { weight_decomposed: true, ..AdapterConfig::new(Projection::all(&model.config), 4, 8.0) };
    let adapter = Adapter::init_on(&model.config, &model.weights, &settings, 42).unwrap();
    assert_eq!(adapter.named_tensors().count(), 3 * adapter.pairs.len());
    let plain = AdapterConfig { weight_decomposed: false, ..settings };
    let without = Adapter::init_on(&model.config, &model.weights, &plain, 42).unwrap();
    assert!(adapter.pairs.values().zip(without.pairs.values()).all(|(a, b)| a.a == b.a && b.magnitude.is_none()));
    let device = cpu(Precision::F32, 2);
    let decoder = Decoder::new(device.clone(), &model.config, &model.weights);
    let with = decoder.logits(Some(&DeviceAdapter::upload(&*device, &adapter)), &pack(), &[20]);
    assert!(relative_to_largest(&with, &decoder.logits(None, &pack(), &[20])) < 1e-5);
}

#[test]
fn noise_is_added_to_its_rows_while_training_alone() {
    let (model, adapter) = load("lora-dora");
    let decoder = Decoder::new(cpu(Precision::F32, 2), &model.config, &model.weights);
    let plain = pack();
    let silent = Pack { noise: vec![Noise { rows: 0..23, magnitude: 0.0, seed: 5 }], ..plain.clone() };
    // Small values of the embedding's own size.
    let noisy = Pack { noise: vec![Noise { rows: 23..40, magnitude: 0.02, seed: 5 }], ..plain.clone() };
    let [of_plain, of_silent, of_noisy] = [&plain, &silent, &noisy].map(|pack| gradients(&decoder, &adapter, pack, &KEEP_ALL));
    assert_eq!(of_plain, of_silent);
    assert!((of_plain.0 - of_noisy.0).abs() > 1e-4 * of_plain.0);
    let again = gradients(&decoder, &adapter, &noisy, &StepOptions { checkpointing: Checkpointing::Layer, dropout: None });
    assert_eq!(of_noisy, again);
    // The first sequence has none, and the second alone has the same.
    let loss_of = |pack: &Pack, rows: std::ops::Range<usize>| {
        let targets = pack.targets.iter().copied().filter(|target| rows.contains(&target.row)).collect();
        gradients(&decoder, &adapter, &Pack { targets, ..pack.clone() }, &KEEP_ALL).0
    };
    assert_eq!(loss_of(&plain, 0..23), loss_of(&noisy, 0..23));
    let second = Pack {
        ids: plain.ids[23..].to_vec(),
        rope_length: 0,
        positions: plain.positions[23..].to_vec(),
        spans: vec![AttentionSpan { queries: 0..17, prefix: 0..0, own: 0..17 }],
        targets: plain.targets.iter().filter(|t| t.row >= 23).map(|t| Target { row: t.row - 23, ..*t }).collect(),
        noise: vec![Noise { rows: 0..17, ..noisy.noise[0].clone() }],
    };
    assert!((loss_of(&second, 0..17) - loss_of(&noisy, 23..40)).abs() < 1e-5 * of_plain.0);
    let device = &**decoder.device();
    let uploaded = DeviceAdapter::upload(device, &adapter);
    assert_eq!(decoder.loss(Some(&uploaded), &noisy), decoder.loss(Some(&uploaded), &plain));
}
