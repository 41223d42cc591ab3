//! The decoder against dumps of Transformers and PEFT, and its own promises: what is shared, split, batched or recomputed changes nothing.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dyag_kernels::Precision;
use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_kernels::device::{AttentionSpan, Device};
use dyag_kernels::reference::ReferenceDevice;
use dyag_model::Model;
use dyag_model::adapter::Adapter;
use dyag_model::decoder::{
    Checkpointing, Continuations, Decoder, DeviceAdapter, Dropout, GenerateError, GenerateLimits, Generated, Pack, SamplingOptions,
    StepOptions, StopReason, Target,
};
use dyag_model::weights::SafetensorsFile;

const CASES: [&str; 6] = ["qwen2", "tinyllama", "llama3", "phi3", "mistral-window", "qwen2-ragged"];
/// Cases of other adapters, over the models of the others: with magnitudes (of matrices with biases, of fused ones, of some, with other ranks), and other learning rates.
const VARIANTS: [&str; 9] = [
    "lora-rslora",
    "lora-dora",
    "lora-dora-fused",
    "lora-dora-some",
    "lora-patterns",
    "lora-all-linear",
    "lora-regex",
    "lora-plus",
    "lora-everything",
];
const KEEP_ALL: StepOptions = StepOptions { checkpointing: Checkpointing::None, dropout: None };

fn cpu(threads: usize) -> Arc<CpuDevice> {
    Arc::new(
        CpuDevice::new(CpuOptions { precision: Precision::F32, threads: Some(threads), level: None, int8_activations: false }).unwrap(),
    )
}

/// A reference case, loaded.
struct Case {
    folder: PathBuf,
    model: Model,
    adapter: Adapter,
    dump: SafetensorsFile,
}

impl Case {
    fn load(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(name);
        let base = std::fs::read_to_string(folder.join("base.txt")).map_or(folder.clone(), |base| folder.with_file_name(base.trim()));
        let model = Model::load(&base.join("model")).unwrap();
        let adapter = Adapter::load(&folder.join("adapter"), &model.config).unwrap();
        let dump = SafetensorsFile::open(&folder.join("reference.safetensors")).unwrap();
        Self { folder, model, adapter, dump }
    }

    /// With magnitudes away from the norms of the rows they belong to.
    fn with_magnitudes(mut self) -> Self {
        for (site, pair) in &mut self.adapter.pairs {
            let norms = self.model.weights.matrix(*site).unwrap().row_norms();
            pair.magnitude = Some(norms.iter().enumerate().map(|(j, norm)| norm * (1.0 + 0.2 * (j as f32).sin())).collect());
        }
        self
    }

    fn decoder<D: Device>(&self, device: Arc<D>) -> Decoder<D> {
        Decoder::new(device, &self.model.config, &self.model.weights)
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.dump.tensor(name).unwrap_or_else(|| panic!("{name} in {}", self.folder.display())).to_f32().unwrap()
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        self.dump.tensor(name).unwrap().to_i64().unwrap()
    }

    /// The batch without its padding, and for each row of the pack its place in the dump.
    fn pack(&self) -> (Pack, Vec<usize>) {
        let shape = self.dump.tensor("input_ids").unwrap().shape.to_vec();
        let [ids, mask, labels] = ["input_ids", "attention_mask", "labels"].map(|name| self.integers(name));
        let (mut pack, mut places) = (Pack::default(), Vec::new());
        for row in 0..shape[0] {
            let first = pack.ids.len();
            let at = |t: usize| row * shape[1] + t;
            let length = (0..shape[1]).filter(|t| mask[at(*t)] == 1).count();
            for t in 0..length {
                places.push(at(t));
                pack.ids.push(ids[at(t)] as u32);
                pack.positions.push(t as u32);
                if t + 1 < length && labels[at(t + 1)] >= 0 {
                    pack.targets.push(Target { row: first + t, id: labels[at(t + 1)] as u32, weight: 1.0 });
                }
            }
            pack.spans.push(AttentionSpan { queries: first..first + length, prefix: 0..0, own: first..first + length });
        }
        (pack, places)
    }
}

/// Largest difference, relative to the largest expected value.
fn largest_error(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let error = got.iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0f32, |m, v| if v > m || v.is_nan() { v } else { m });
    f64::from(error) / f64::from(largest)
}

fn relative_l2(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let sum = |f: &dyn Fn(usize) -> f64| (0..got.len()).map(|i| f(i).powi(2)).sum::<f64>().sqrt();
    sum(&|i| f64::from(got[i]) - f64::from(expected[i])) / sum(&|i| f64::from(expected[i]))
}

/// All gradients of a pass, end to end.
fn gradients<D: Device>(decoder: &Decoder<D>, adapter: &Adapter, pack: &Pack, options: &StepOptions) -> (f64, Adapter) {
    let device = &**decoder.device();
    let adapter = DeviceAdapter::upload(device, adapter);
    let mut gradients = DeviceAdapter::zeros_like(device, &adapter);
    let sum = decoder.loss_and_gradients(&adapter, pack, options, &mut gradients);
    (sum.loss_sum_nats / sum.n_tokens, gradients.download(device))
}

fn flat(adapter: &Adapter) -> Vec<f32> {
    adapter.named_tensors().flat_map(|(_, values)| values.to_vec()).collect()
}

fn agrees_with_the_dump<D: Device>(device: Arc<D>, name: &str) {
    let case = Case::load(name);
    let decoder = case.decoder(device.clone());
    let (pack, places) = case.pack();
    let rows: Vec<usize> = (0..places.len()).collect();
    let vocab = decoder.config().vocab_size;
    let at_places = |values: Vec<f32>| -> Vec<f32> { places.iter().flat_map(|p| values[p * vocab..(p + 1) * vocab].to_vec()).collect() };
    let on_device = DeviceAdapter::upload(&*device, &case.adapter);
    for (adapter, tensor) in [(None, "base_logits"), (Some(&on_device), "logits")] {
        let error = largest_error(&decoder.logits(adapter, &pack, &rows), &at_places(case.floats(tensor)));
        assert!(error < 1e-5, "{name} {tensor}: {error}");
    }
    let (loss, found) = gradients(&decoder, &case.adapter, &pack, &KEEP_ALL);
    let expected = f64::from(case.floats("loss")[0]);
    assert!(((loss - expected) / expected).abs() < 1e-5, "{name}: loss {loss}, expected {expected}");
    for (tensor, values) in found.named_tensors() {
        let n = pack.targets.len() as f32;
        let mean: Vec<f32> = values.iter().map(|v| v / n).collect();
        let error = relative_l2(&mean, &case.floats(&format!("grad.{tensor}")));
        assert!(error < 1e-4, "{name} {tensor}: {error}");
    }
}

#[test]
fn the_processor_agrees_with_the_dumps() {
    CASES.iter().chain(&VARIANTS).for_each(|name| agrees_with_the_dump(cpu(2), name));
}

#[test]
fn the_scalar_references_agree_with_the_dumps() {
    CASES.iter().chain(&VARIANTS).for_each(|name| agrees_with_the_dump(Arc::new(ReferenceDevice::new(Precision::F32)), name));
}

#[test]
fn recomputing_and_threads_change_no_bit() {
    for name in CASES.into_iter().chain(VARIANTS) {
        let case = Case::load(name);
        let (pack, _) = case.pack();
        let one = gradients(&case.decoder(cpu(1)), &case.adapter, &pack, &KEEP_ALL);
        let two =
            gradients(&case.decoder(cpu(2)), &case.adapter, &pack, &StepOptions { checkpointing: Checkpointing::Layer, dropout: None });
        assert_eq!(one.0.to_bits(), two.0.to_bits(), "{name}");
        assert_eq!(flat(&one.1), flat(&two.1), "{name}");
    }
}

#[test]
fn a_shared_prefix_gives_the_unshared_loss_and_gradients() {
    for name in ["qwen2", "mistral-window", "phi3", "with magnitudes"] {
        let case = if name == "with magnitudes" { Case::load("qwen2").with_magnitudes() } else { Case::load(name) };
        let (pack, _) = case.pack();
        // Two sequences that begin alike, apart and together. The last shared row predicts each one's own next token.
        let (prefix, tails) = (&pack.ids[..20], [&pack.ids[20..31], &pack.ids[33..50]]);
        let (mut apart, mut together) = (Pack::default(), Pack::default());
        let push = |pack: &mut Pack, ids: &[u32], position: usize| {
            let first = pack.ids.len();
            pack.ids.extend(ids);
            pack.positions.extend((position..position + ids.len()).map(|p| p as u32));
            first..first + ids.len()
        };
        let shared = push(&mut together, prefix, 0);
        together.spans.push(AttentionSpan { queries: shared.clone(), prefix: 0..0, own: shared });
        for tail in tails {
            let whole: Vec<u32> = prefix.iter().chain(tail).copied().collect();
            let rows = push(&mut apart, &whole, 0);
            apart.targets.extend((19..whole.len() - 1).map(|t| Target { row: rows.start + t, id: whole[t + 1], weight: 1.0 }));
            apart.spans.push(AttentionSpan { queries: rows.clone(), prefix: 0..0, own: rows });
            let rows = push(&mut together, tail, 20);
            together.targets.push(Target { row: 19, id: tail[0], weight: 1.0 });
            together.targets.extend((0..tail.len() - 1).map(|t| Target { row: rows.start + t, id: tail[t + 1], weight: 1.0 }));
            together.spans.push(AttentionSpan { queries: rows.clone(), prefix: 0..20, own: rows });
        }
        let decoder = case.decoder(cpu(2));
        let (apart, together) =
            (gradients(&decoder, &case.adapter, &apart, &KEEP_ALL), gradients(&decoder, &case.adapter, &together, &KEEP_ALL));
        assert!((apart.0 - together.0).abs() / apart.0 < 1e-6, "{name}: {} and {}", apart.0, together.0);
        let error = relative_l2(&flat(&together.1), &flat(&apart.1));
        assert!(error < 1e-5, "{name}: {error}");
    }
}

#[test]
fn a_subset_of_sites_gets_the_gradients_of_the_whole() {
    for name in ["qwen2", "phi3"] {
        let case = Case::load(name);
        let (pack, _) = case.pack();
        let decoder = case.decoder(cpu(2));
        let (_, whole) = gradients(&decoder, &case.adapter, &pack, &KEEP_ALL);
        let mut zeroed = case.adapter.clone();
        for kept in whole.pairs.keys() {
            // The others keep acting as a frozen part would not; with B at zero they do not act at all.
            zeroed.pairs.iter_mut().filter(|(site, _)| *site != kept).for_each(|(_, pair)| pair.b.fill(0.0));
            let alone = Adapter { pairs: [(*kept, case.adapter.pairs[kept].clone())].into() };
            let (_, all) = gradients(&decoder, &zeroed, &pack, &KEEP_ALL);
            let (_, one) = gradients(&decoder, &alone, &pack, &KEEP_ALL);
            let error = relative_l2(&flat(&one), &[&all.pairs[kept].a[..], &all.pairs[kept].b[..]].concat());
            assert!(error < 1e-6, "{name} {}: {error}", kept.module());
            zeroed = case.adapter.clone();
        }
    }
}

#[test]
fn gradients_through_dropout_match_differences() {
    let case = Case::load("qwen2-ragged");
    let (pack, _) = case.pack();
    let decoder = case.decoder(Arc::new(ReferenceDevice::new(Precision::F32)));
    let options = StepOptions { checkpointing: Checkpointing::Layer, dropout: Some(Dropout { p: 0.3, seed: 11 }) };
    let (loss, found) = gradients(&decoder, &case.adapter, &pack, &options);
    let (plain, _) = gradients(&decoder, &case.adapter, &pack, &KEEP_ALL);
    assert!((loss - plain).abs() > 1e-5, "dropout changes the loss");
    let n = pack.targets.len() as f64;
    for site in case.adapter.pairs.keys() {
        let step = 2e-3f32;
        let moved = |sign: f32| {
            let mut adapter = case.adapter.clone();
            let direction = &found.pairs[site];
            let length = flat(&Adapter { pairs: [(*site, direction.clone())].into() }).iter().map(|v| v * v).sum::<f32>().sqrt();
            let pair = adapter.pairs.get_mut(site).unwrap();
            pair.a.iter_mut().zip(&direction.a).for_each(|(v, d)| *v += sign * step * d / length);
            pair.b.iter_mut().zip(&direction.b).for_each(|(v, d)| *v += sign * step * d / length);
            (gradients(&decoder, &adapter, &pack, &options).0, f64::from(length))
        };
        let ((up, length), (down, _)) = (moved(1.0), moved(-1.0));
        let (difference, expected) = ((up - down) / (2.0 * f64::from(step)), length / n);
        assert!(
            ((difference - expected) / expected).abs() < 2e-2,
            "{}: {difference} by differences, {expected} by the backward",
            site.module()
        );
    }
}

fn generate(
    decoder: &Decoder<CpuDevice>,
    adapter: &Adapter,
    prompts: &[Vec<u32>],
    sampling: SamplingOptions,
    batch: usize,
) -> Vec<Generated> {
    let adapter = DeviceAdapter::upload(&**decoder.device(), adapter);
    let limits = GenerateLimits { max_new_tokens: 16, stop_ids: vec![], batch, numbers: Vec::new(), scored: false };
    let mut told = vec![Vec::new(); prompts.len()];
    let results = decoder
        .generate(Some(&adapter), prompts, &sampling, &limits, &mut |sequence, id| {
            told[sequence].push(id);
            ControlFlow::Continue(())
        })
        .unwrap();
    for (result, told) in results.iter().zip(told) {
        assert_eq!(result.ids, told);
    }
    results
}

#[test]
fn greedy_tokens_are_those_of_the_dumps() {
    for name in CASES.into_iter().chain(VARIANTS) {
        let case = Case::load(name);
        let expected: Vec<u32> = case.integers("greedy_ids").into_iter().map(|id| id as u32).collect();
        let (prompt, answer) = expected.split_at(expected.len() - 16);
        let results = generate(&case.decoder(cpu(2)), &case.adapter, &[prompt.to_vec()], SamplingOptions::GREEDY, 1);
        assert_eq!(results, [Generated { ids: answer.to_vec(), stop: StopReason::Length, likelihood: None }], "{name}");
    }
}

#[test]
fn a_scored_generation_says_how_likely_its_tokens_and_its_end_are() {
    let sampled = SamplingOptions { temperature: 1.2, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: 3 };
    for name in ["qwen2", "phi3"] {
        let case = Case::load(name);
        let decoder = case.decoder(cpu(2));
        let adapter = DeviceAdapter::upload(&**decoder.device(), &case.adapter);
        let ids = case.pack().0.ids;
        let prompts = [ids[..14].to_vec(), ids[..9].to_vec(), ids[4..20].to_vec()];
        let free = generate(&decoder, &case.adapter, &prompts, SamplingOptions::GREEDY, 3);
        // One of them is ended by a stop token, which counts; the others by their length.
        let stop_ids = vec![free[0].ids[7]];
        let limits = GenerateLimits { max_new_tokens: 16, stop_ids, batch: 2, numbers: Vec::new(), scored: true };
        for sampling in [SamplingOptions::GREEDY, sampled] {
            let results = decoder.generate(Some(&adapter), &prompts, &sampling, &limits, &mut |_, _| ControlFlow::Continue(())).unwrap();
            for (prompt, result) in prompts.iter().zip(&results) {
                let stop = if let StopReason::StopToken(id) = result.stop { Some(id) } else { None };
                let continuation: Vec<u32> = result.ids.iter().copied().chain(stop).collect();
                let (expected, _) = told_token_by_token(&decoder, &adapter, prompt, &continuation);
                let found = result.likelihood.unwrap();
                assert!((found.log_likelihood - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{name}: {found:?}, {expected}");
                assert_eq!((found.n_tokens, found.is_greedy), (continuation.len(), sampling == SamplingOptions::GREEDY), "{name}");
                assert!((found.mean_probability().ln() - expected / continuation.len() as f64).abs() < 1e-4);
            }
            if sampling == SamplingOptions::GREEDY {
                assert!(matches!(results[0].stop, StopReason::StopToken(_)));
            }
        }
    }
}

#[test]
fn a_sequence_does_not_depend_on_its_batch() {
    let sampled = SamplingOptions { temperature: 0.9, top_k: 40, top_p: 0.95, repetition_penalty: 1.1, seed: 5 };
    for name in ["qwen2", "mistral-window", "with magnitudes"] {
        let case = if name == "with magnitudes" { Case::load("qwen2").with_magnitudes() } else { Case::load(name) };
        let decoder = case.decoder(cpu(2));
        let (pack, _) = case.pack();
        let prompts: Vec<Vec<u32>> =
            [30, 12, 33, 20, 25].iter().enumerate().map(|(i, n)| [&pack.ids[..10], &pack.ids[10 + i..*n]].concat()).collect();
        for sampling in [SamplingOptions::GREEDY, sampled] {
            let all = generate(&decoder, &case.adapter, &prompts, sampling, 5);
            assert_eq!(all, generate(&decoder, &case.adapter, &prompts, sampling, 2), "{name}");
            assert_eq!(all, generate(&case.decoder(cpu(1)), &case.adapter, &prompts, sampling, 3), "{name}");
            // The first alone shares no prefix with anyone.
            assert_eq!(all[..1], generate(&decoder, &case.adapter, &prompts[..1], sampling, 1), "{name}");
        }
    }
}

#[test]
fn generation_stops_where_it_should() {
    let case = Case::load("qwen2");
    let decoder = case.decoder(cpu(1));
    let prompt = vec![5, 6, 7];
    let free = generate(&decoder, &case.adapter, std::slice::from_ref(&prompt), SamplingOptions::GREEDY, 1)[0].ids.clone();
    let adapter = DeviceAdapter::upload(&**decoder.device(), &case.adapter);
    let go = |limits: &GenerateLimits, prompt: &[u32], cancel_after: usize| {
        let mut n = 0;
        decoder.generate(Some(&adapter), &[prompt.to_vec()], &SamplingOptions::GREEDY, limits, &mut |_, _| {
            n += 1;
            if n == cancel_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    let limits = |max_new_tokens, stop_ids: &[u32]| GenerateLimits {
        max_new_tokens,
        stop_ids: stop_ids.to_vec(),
        batch: 1,
        numbers: Vec::new(),
        scored: false,
    };
    let at = free.iter().position(|id| *id == free[5]).unwrap();
    let stopped = go(&limits(16, &[free[5]]), &prompt, 0).unwrap().remove(0);
    assert_eq!(stopped, Generated { ids: free[..at].to_vec(), stop: StopReason::StopToken(free[5]), likelihood: None });
    assert_eq!(
        go(&limits(4, &[]), &prompt, 0).unwrap()[0],
        Generated { ids: free[..4].to_vec(), stop: StopReason::Length, likelihood: None }
    );
    assert_eq!(go(&limits(0, &[]), &prompt, 0).unwrap()[0], Generated { ids: vec![], stop: StopReason::Length, likelihood: None });
    assert_eq!(
        go(&limits(9, &[]), &prompt, 2).unwrap()[0],
        Generated { ids: free[..2].to_vec(), stop: StopReason::Cancelled, likelihood: None }
    );
    let long: Vec<u32> = (0..510).map(|i| 3 + i % 500).collect();
    assert_eq!(go(&limits(9, &[]), &long, 0).unwrap()[0].stop, StopReason::Context);
    assert_eq!(go(&limits(9, &[]), &[], 0).unwrap_err(), GenerateError::EmptyPrompt { index: 0 });
    assert!(matches!(
        go(&limits(9, &[]), &[1; 512], 0).unwrap_err(),
        GenerateError::PromptTooLong { n_tokens: 512, max_positions: 512, .. }
    ));
    assert!(matches!(go(&limits(9, &[]), &[515], 0).unwrap_err(), GenerateError::UnknownToken { id: 515, vocab_size: 515, .. }));
}

#[test]
fn a_sequence_of_the_callers_own_gives_the_tokens_of_generation() {
    let sampled = SamplingOptions { temperature: 0.9, top_k: 40, top_p: 0.95, repetition_penalty: 1.1, seed: 5 };
    for name in ["qwen2", "phi3", "mistral-window"] {
        let case = Case::load(name);
        let decoder = case.decoder(cpu(2));
        let prompt = case.pack().0.ids[..12].to_vec();
        let adapter = DeviceAdapter::upload(&**decoder.device(), &case.adapter);
        for sampling in [SamplingOptions::GREEDY, sampled] {
            let expected = generate(&decoder, &case.adapter, std::slice::from_ref(&prompt), sampling, 1).remove(0).ids;
            let mut sequence = decoder.sequence(Some(&adapter), &prompt, 16).unwrap();
            for step in 0..16 {
                let id = sampling.choose(&mut sequence.logits().to_vec(), sequence.ids(), 0, step);
                sequence.push(&[id]);
            }
            assert_eq!(sequence.ids()[12..], expected, "{name}");
            assert_eq!(sequence.room(), 0);
        }
    }
}

#[test]
fn tokens_may_enter_a_sequence_together_or_one_by_one() {
    let case = Case::load("mistral-window");
    let decoder = case.decoder(cpu(1));
    let ids = case.pack().0.ids[..30].to_vec();
    let logits = |cuts: &[usize]| {
        let mut sequence = decoder.sequence(None, &ids[..cuts[0]], 100).unwrap();
        cuts.windows(2).for_each(|cut| sequence.push(&ids[cut[0]..cut[1]]));
        assert_eq!(sequence.ids(), ids);
        sequence.logits().to_vec()
    };
    let whole = logits(&[30]);
    for cuts in [[3, 10, 30].as_slice(), &[3, 4, 5, 6, 30], &[29, 30]] {
        let error = largest_error(&logits(cuts), &whole);
        assert!(error < 1e-5, "{cuts:?}: {error}");
    }
    assert_eq!(decoder.sequence(None, &[], 3).err(), Some(GenerateError::EmptyPrompt { index: 0 }));
    assert_eq!(decoder.sequence(None, &ids, 10_000).unwrap().room(), decoder.config().max_positions - 30);
}

/// Log-probabilities of `continuation` after `context`, from the logits of a sequence that is told it token by token, in f64.
fn told_token_by_token(
    decoder: &Decoder<CpuDevice>,
    adapter: &DeviceAdapter<CpuDevice>,
    context: &[u32],
    continuation: &[u32],
) -> (f64, bool) {
    let mut sequence = decoder.sequence(Some(adapter), context, continuation.len()).unwrap();
    let (mut sum, mut is_greedy) = (0.0, true);
    for id in continuation {
        let logits: Vec<f64> = sequence.logits().iter().map(|logit| f64::from(*logit)).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        sum += logits[*id as usize] - largest - logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
        is_greedy &= logits[*id as usize] == largest;
        sequence.push(&[*id]);
    }
    (sum, is_greedy)
}

#[test]
fn likelihoods_are_those_of_single_tokens_however_they_are_grouped() {
    for name in ["qwen2", "phi3", "mistral-window"] {
        let case = Case::load(name);
        let decoder = case.decoder(cpu(2));
        let adapter = DeviceAdapter::upload(&**decoder.device(), &case.adapter);
        let ids = case.pack().0.ids;
        let greedy = generate(&decoder, &case.adapter, &[ids[..14].to_vec()], SamplingOptions::GREEDY, 1).remove(0).ids;
        let choices = vec![greedy[..5].to_vec(), ids[3..10].to_vec(), vec![ids[20]], vec![], ids[5..30].to_vec()];
        let several = Continuations { context: ids[..14].to_vec(), continuations: choices.clone() };
        let other = Continuations { context: ids[..25].to_vec(), continuations: vec![ids[25..30].to_vec(), ids[2..4].to_vec()] };
        let mut told = Vec::new();
        let together = decoder.log_likelihoods(Some(&adapter), &[several.clone(), other.clone()], &mut |n| told.push(n)).unwrap();
        assert_eq!(told, [2]);
        for (group, found) in [&several, &other].into_iter().zip(&together) {
            for (continuation, found) in group.continuations.iter().zip(found) {
                let (expected, is_greedy) = told_token_by_token(&decoder, &adapter, &group.context, continuation);
                assert!((found.log_likelihood - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{name}: {found:?}, {expected}");
                assert_eq!((found.n_tokens, found.is_greedy), (continuation.len(), is_greedy), "{name}");
            }
        }
        assert!(together[0][0].is_greedy && together[0][3].log_likelihood == 0.0);
        // One by one, where contexts share what they begin with, on one thread.
        let single: Vec<Continuations> =
            choices.iter().map(|choice| Continuations { context: several.context.clone(), continuations: vec![choice.clone()] }).collect();
        let one_thread = case.decoder(cpu(1));
        let alone = one_thread.log_likelihoods(Some(&adapter), &single, &mut |_| {}).unwrap();
        for (alone, together) in alone.iter().flatten().zip(&together[0]) {
            assert!((alone.log_likelihood - together.log_likelihood).abs() < 1e-4, "{name}: {alone:?}, {together:?}");
        }
    }
    let case = Case::load("qwen2");
    let decoder = case.decoder(cpu(1));
    let refused = |context: Vec<u32>, continuation: Vec<u32>| {
        decoder.log_likelihoods(None, &[Continuations { context, continuations: vec![continuation] }], &mut |_| {}).unwrap_err()
    };
    assert_eq!(refused(vec![], vec![1]), GenerateError::EmptyPrompt { index: 0 });
    assert!(matches!(refused(vec![1; 500], vec![1; 13]), GenerateError::PromptTooLong { n_tokens: 513, .. }));
    assert!(matches!(refused(vec![1], vec![515]), GenerateError::UnknownToken { id: 515, .. }));
    assert!(decoder.log_likelihoods(None, &[], &mut |_| {}).unwrap().is_empty());
}
