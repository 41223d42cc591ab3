//! Sharing beginnings, cutting packs and recomputing layers change the cost of a step and nothing else.

mod common;

use std::sync::atomic::AtomicBool;

use common::{Bench, config, sequences};
use dyag_kernels::device::LossSum;
use dyag_model::adapter::Adapter;
use dyag_model::decoder::{Checkpointing, DeviceAdapter};
use dyag_testing::relative_l2;
use dyag_train::packing::{PackOptions, Sequence, pack};
use dyag_train::step::{GradientOptions, summed_gradients, summed_loss};

/// An adapter whose B is not zero, so that every gradient is something.
fn adapter(bench: &Bench) -> Adapter {
    let mut adapter = Adapter::init(&bench.model.config, &bench.settings(&config()), 3).expect("an adapter");
    for (index, value) in adapter.pairs.values_mut().flat_map(|pair| pair.b.iter_mut()).enumerate() {
        *value = 0.05 * (index as f32 * 0.7).sin();
    }
    adapter
}

fn gradients(bench: &Bench, sequences: &[Sequence], options: PackOptions, checkpointing: Checkpointing) -> (LossSum, Adapter) {
    let device = &**bench.decoder.device();
    let adapter = DeviceAdapter::upload(device, &adapter(bench));
    let mut gradients = DeviceAdapter::zeros_like(device, &adapter);
    let packs = pack(&sequences.iter().collect::<Vec<_>>(), options);
    let how = GradientOptions { checkpointing, dropout: 0.0, seed: 0, step: 0 };
    let sum = summed_gradients(&bench.decoder, &adapter, &packs, how, &mut gradients, &AtomicBool::new(false)).expect("not stopped");
    assert_eq!(sum, summed_loss(&bench.decoder, &adapter, &packs), "the loss does not depend on whether gradients are made");
    (sum, gradients.download(device))
}

fn assert_close(a: &(LossSum, Adapter), b: &(LossSum, Adapter)) {
    assert_eq!((a.0.n_tokens, a.0.n_correct), (b.0.n_tokens, b.0.n_correct));
    let loss_error = (a.0.loss_sum_nats - b.0.loss_sum_nats).abs() / b.0.loss_sum_nats;
    assert!(loss_error < 1e-6, "loss: {loss_error:e}");
    let mut n_compared = 0;
    for ((name, x), (_, y)) in a.1.named_tensors().zip(b.1.named_tensors()) {
        assert!(y.iter().any(|v| *v != 0.0), "{name} has no gradient");
        let error = relative_l2(x, y);
        assert!(error < 1e-5, "{name}: {error:e}");
        n_compared += 1;
    }
    assert_eq!(n_compared, 3 * 5 * 2);
}

const APART: PackOptions = PackOptions { max_tokens: 10_000, share_prefixes: false, rope_length: 0 };
const SHARED: PackOptions = PackOptions { max_tokens: 10_000, share_prefixes: true, rope_length: 0 };

#[test]
fn shared_beginnings_give_the_loss_and_gradients_of_unshared_ones() {
    let bench = Bench::new(2);
    let answers_only = sequences(7);
    let every_token: Vec<Sequence> = answers_only.iter().map(|s| Sequence::new(s.ids().to_vec(), vec![true; s.n_tokens()])).collect();
    for sequences in [answers_only, every_token] {
        let apart = gradients(&bench, &sequences, APART, Checkpointing::Layer);
        assert_close(&gradients(&bench, &sequences, SHARED, Checkpointing::Layer), &apart);
        assert_close(&gradients(&bench, &sequences, PackOptions { max_tokens: 40, ..SHARED }, Checkpointing::Layer), &apart);
        assert_close(&gradients(&bench, &sequences, PackOptions { max_tokens: 1, ..APART }, Checkpointing::Layer), &apart);
    }
}

#[test]
fn recomputing_layers_gives_the_same_bits() {
    let bench = Bench::new(2);
    let sequences = sequences(5);
    let (kept, again) =
        (gradients(&bench, &sequences, SHARED, Checkpointing::None), gradients(&bench, &sequences, SHARED, Checkpointing::Layer));
    assert_eq!(kept, again);
}

#[test]
fn a_raised_stop_gives_up_the_step() {
    let bench = Bench::new(1);
    let device = &**bench.decoder.device();
    let adapter = DeviceAdapter::upload(device, &adapter(&bench));
    let mut gradients = DeviceAdapter::zeros_like(device, &adapter);
    let packs = pack(&sequences(2).iter().collect::<Vec<_>>(), SHARED);
    let how = GradientOptions { checkpointing: Checkpointing::Layer, dropout: 0.0, seed: 0, step: 0 };
    assert!(summed_gradients(&bench.decoder, &adapter, &packs, how, &mut gradients, &AtomicBool::new(true)).is_none());
}
