//! Whole runs: they learn, resume to the same bytes, and refuse what cannot be resumed.

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Bench, Place, assert_same, config, varied, whole};
use dyag_train::checkpoint::{Resume, list};
use dyag_train::config::{CheckpointingChoice, LoraSettings, Method};
use dyag_train::{Event, Outcome, TrainConfig};

fn finished(outcome: Outcome) -> dyag_train::manifest::Metrics {
    match outcome {
        Outcome::Finished { metrics, .. } => metrics,
        Outcome::Interrupted { step, .. } => panic!("interrupted at step {step}"),
    }
}

/// Stops a run after `step` steps, as Ctrl-C does.
fn interrupt(place: &Place, bench: &Bench, config: TrainConfig, resume: Resume, step: u64) -> Outcome {
    let stop = AtomicBool::new(false);
    let mut listener = |event: Event<'_>| {
        if matches!(event, Event::Step { record, .. } if record.step == step) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    place.run_until(bench, config, resume, &stop, &mut listener).expect("saved")
}

#[test]
fn a_run_memorises_its_answers() {
    let bench = Bench::new(2);
    let place = Place::new(6);
    let target_modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(str::to_owned).to_vec();
    let config = TrainConfig {
        epochs: 60,
        batch_size: 6,
        accumulation: 1,
        learning_rate: 1e-2,
        weight_decay: 0.0,
        clip: 1.0,
        lora: LoraSettings { rank: 16, alpha: 32.0, target_modules, ..config().lora },
        ..config()
    };
    let metrics = finished(place.run(&bench, config, Resume::No).expect("trained"));
    let losses = place.losses();
    assert_eq!(losses.len(), 60);
    // Logits of a normed state of 64 channels against this model's small embedding are at most about 5, so no loss here is below 1.6.
    assert!(losses[59] < 0.27 * losses[0], "{losses:?}");
    assert_eq!((metrics.last_epoch_loss, metrics.last_epoch_token_accuracy), (losses[59], 1.0));
    for name in ["adapter_config.json", "adapter_model.safetensors", "dyag.json", "tokenizer.json"] {
        assert!(place.output().join("final").join(name).exists(), "{name}");
    }
}

#[test]
fn eight_by_one_is_two_by_four_and_one_thread_is_two() {
    for config in [config, varied, whole] {
        let runs: Vec<Place> =
            [(8, 1, 2, CheckpointingChoice::Layer), (2, 4, 2, CheckpointingChoice::None), (8, 1, 1, CheckpointingChoice::Layer)]
                .into_iter()
                .map(|(batch_size, accumulation, threads, checkpointing)| {
                    let place = Place::new(19);
                    let config = TrainConfig { batch_size, accumulation, checkpointing, ..config() };
                    finished(place.run(&Bench::new(threads), config, Resume::No).expect("trained"));
                    place
                })
                .collect();
        assert_eq!(runs[0].losses().len(), 4 * 3);
        let name = if config().method == Method::Full { "model.safetensors" } else { "adapter_model.safetensors" };
        let weights = |place: &Place| fs::read(place.output().join("final").join(name)).expect("there");
        assert!(weights(&runs[0]) == weights(&runs[1]), "8 x 1 and 2 x 4, recomputed and kept, differ");
        assert_same(&runs[0].left(), &runs[2].left());
    }
}

#[test]
fn whatever_varies_lora_changes_the_run() {
    let bench = Bench::new(2);
    let losses = |config| {
        let place = Place::new(8);
        finished(place.run(&bench, TrainConfig { epochs: 2, ..config }, Resume::No).expect("trained"));
        place.losses()
    };
    let lora = || config().lora;
    let plain = losses(config());
    let variants = [
        ("scale", 2, TrainConfig { lora: LoraSettings { rslora: true, ..lora() }, ..config() }),
        ("magnitudes", 2, TrainConfig { lora: LoraSettings { dora: true, ..lora() }, ..config() }),
        ("ranks", 2, TrainConfig { lora: LoraSettings { rank_pattern: vec![("q_proj".to_owned(), 1)], ..lora() }, ..config() }),
        ("alphas", 2, TrainConfig { lora: LoraSettings { alpha_pattern: vec![("q_proj".to_owned(), 80.0)], ..lora() }, ..config() }),
        ("learning rates", 2, TrainConfig { lora_plus_ratio: Some(4.0), ..config() }),
        ("noise", 0, TrainConfig { neftune_alpha: Some(5.0), ..config() }),
    ];
    for (what, first, config) in variants {
        let varied = losses(config);
        // A fresh adapter changes nothing yet, whatever its kind, and the first step is of the warm-up; noise acts from the start.
        if first > 0 {
            assert!((plain[0] - varied[0]).abs() < 1e-5 * plain[0], "{what}: {} and {}", plain[0], varied[0]);
        }
        assert!((plain[first..].iter().zip(&varied[first..])).all(|(a, b)| (a - b).abs() > 1e-6), "{what}: {plain:?} {varied:?}");
    }
    // One learning rate for all is a ratio of one, to the bit.
    assert_eq!(plain, losses(TrainConfig { lora_plus_ratio: Some(1.0), ..config() }));
}

#[test]
fn another_seed_is_another_run() {
    let bench = Bench::new(2);
    let losses = |seed| {
        let place = Place::new(9);
        finished(place.run(&bench, TrainConfig { seed, epochs: 1, ..config() }, Resume::No).expect("trained"));
        place.losses()
    };
    assert_eq!(losses(1), losses(1));
    assert_ne!(losses(1), losses(2));
}

#[test]
fn interrupted_anywhere_and_resumed_it_leaves_the_same_bytes() {
    interrupted_and_resumed(config);
}

#[test]
fn interrupted_anywhere_and_resumed_so_do_variants() {
    interrupted_and_resumed(varied);
}

#[test]
fn interrupted_anywhere_and_resumed_so_do_all_weights() {
    interrupted_and_resumed(whole);
}

fn interrupted_and_resumed(config: fn() -> TrainConfig) {
    let bench = Bench::new(2);
    let mut whole = Place::new(10);
    whole.validation = common::sequences(14)[10..].to_vec();
    // 3 steps an epoch, 12 in all; checkpoints by epoch and every second step.
    let dropout = if config().method == Method::Full { 0.0 } else { 0.1 };
    let config = || TrainConfig { save_steps: Some(2), dropout, load_best: true, ..config() };
    finished(whole.run(&bench, config(), Resume::No).expect("trained"));
    for steps in [vec![1], vec![3], vec![5, 6, 11], vec![12]] {
        let mut place = Place::new(10);
        place.validation.clone_from(&whole.validation);
        let mut resume = Resume::No;
        for step in &steps {
            let outcome = interrupt(&place, &bench, config(), resume, *step);
            if *step < 12 {
                let checkpoint = place.output().join(format!("checkpoint-{step}"));
                assert_eq!(outcome, Outcome::Interrupted { step: *step, checkpoint: Some(checkpoint.clone()) });
                assert!(checkpoint.exists());
            }
            resume = Resume::Newest;
        }
        finished(place.run(&bench, config(), Resume::Newest).expect("resumed"));
        let (mut a, mut b) = (whole.left(), place.left());
        // The checkpoints of an interruption are its own; everything else is the same.
        for left in [&mut a, &mut b] {
            left.retain(|name, _| !name.starts_with("checkpoint-"));
        }
        assert_same(&a, &b);
    }
}

#[test]
fn killed_at_any_step_and_resumed_it_leaves_the_same_bytes() {
    let bench = Bench::new(2);
    let whole = Place::new(10);
    let config = || TrainConfig { save_steps: Some(2), epochs: 3, ..config() };
    finished(whole.run(&bench, config(), Resume::No).expect("trained"));
    for killed_at in 2..=9 {
        let place = Place::new(10);
        // A panic out of the listener leaves the folder as a kill at that moment does.
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut listener = |event: Event<'_>| {
                if matches!(event, Event::Step { record, .. } if record.step == killed_at) {
                    std::panic::resume_unwind(Box::new("killed"));
                }
            };
            place.run_until(&bench, config(), Resume::No, &AtomicBool::new(false), &mut listener)
        }));
        assert!(killed.is_err());
        let resumed_at = list(&place.output()).pop().map(|(step, _)| step);
        if killed_at > 2 {
            assert!(resumed_at.is_some_and(|step| step > 0 && step + 2 >= killed_at), "{resumed_at:?} of {killed_at}");
        }
        // What a kill inside a checkpoint leaves.
        fs::create_dir(place.output().join(".checkpoint-9.partial")).expect("created");
        fs::write(place.output().join(".checkpoint-9.partial/adapter_config.json"), "{").expect("written");
        finished(place.run(&bench, config(), Resume::Newest).expect("resumed"));
        assert_same(&whole.left(), &place.left());
    }
}

#[test]
fn a_damaged_checkpoint_is_refused_by_name_and_an_older_one_can_be_used() {
    let bench = Bench::new(2);
    let place = Place::new(8);
    let config = || TrainConfig { epochs: 3, ..config() };
    finished(place.run(&bench, config(), Resume::No).expect("trained"));
    let whole = place.left();
    assert_eq!(list(&place.output()).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [4, 6]);
    let newest = place.output().join("checkpoint-6");
    for file in ["optimizer.safetensors", "trainer_state.json", "adapter_model.safetensors", "dyag.json", "tokenizer.json", "SHA256SUMS"] {
        let content = fs::read(newest.join(file)).expect("there");
        let mut damaged = content.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(newest.join(file), &damaged).expect("written");
        let message = place.run(&bench, config(), Resume::Newest).expect_err("refused").to_string();
        for fragment in ["checkpoint-6", "checkpoint-4", "--resume-from"] {
            assert!(message.contains(fragment), "no {fragment:?} in: {message}");
        }
        // A changed line of the sums shows as the file that it no longer fits.
        assert!(file == "SHA256SUMS" || message.contains(file), "no {file:?} in: {message}");
        fs::write(newest.join(file), &content).expect("restored");
    }
    fs::remove_file(newest.join("optimizer.safetensors")).expect("removed");
    assert!(place.run(&bench, config(), Resume::Newest).is_err());
    finished(place.run(&bench, config(), Resume::From(place.output().join("checkpoint-4"))).expect("resumed"));
    assert!(place.output().join("superseded-checkpoint-6").exists());
    let mut again = place.left();
    again.retain(|name, _| !name.starts_with("superseded-"));
    assert_same(&whole, &again);
}

#[test]
fn another_dataset_base_or_setting_is_refused_with_both_values() {
    let bench = Bench::new(2);
    let mut place = Place::new(8);
    let config = || TrainConfig { epochs: 1, ..config() };
    finished(place.run(&bench, config(), Resume::No).expect("trained"));
    let before = place.left();
    let message = |place: &Place, config| place.run(&bench, config, Resume::Newest).expect_err("refused").to_string();
    let said = message(&place, TrainConfig { learning_rate: 1e-3, ..config() });
    assert!(said.contains("--learning-rate was 0.005, and is now 0.001"), "{said}");
    let said = message(&place, TrainConfig { lora_plus_ratio: Some(16.0), ..config() });
    assert!(said.contains("--lora-plus-ratio was null, and is now 16.0"), "{said}");
    let said = message(&place, TrainConfig { neftune_alpha: Some(5.0), ..config() });
    assert!(said.contains("--neftune-alpha was null, and is now 5.0"), "{said}");
    let said = message(&place, TrainConfig { lora: LoraSettings { dora: true, ..config().lora }, ..config() });
    assert!(said.contains("--use-dora was false, and is now true"), "{said}");
    let said = message(&place, TrainConfig { shuffle: false, ..config() });
    assert!(said.contains("--no-shuffle") && said.contains("was true, and is now false"), "{said}");
    place.train.swap(0, 1);
    let said = message(&place, config());
    assert!(said.contains("the dataset (SHA-256) was "), "{said}");
    assert_same(&before, &place.left());
    // What only concerns saving may change.
    place.train.swap(0, 1);
    finished(
        place.run(&bench, TrainConfig { save_steps: Some(1), save_total_limit: 5, ..config() }, Resume::Newest).expect("the same run"),
    );
}

#[test]
fn the_best_adapter_is_kept_and_a_run_without_improvement_stops() {
    let bench = Bench::new(2);
    let mut place = Place::new(8);
    // Questions it cannot answer: learning by heart makes their loss worse sooner or later.
    place.validation = common::sequences(40)[30..].to_vec();
    let config = TrainConfig {
        epochs: 60,
        learning_rate: 2e-2,
        clip: 0.0,
        load_best: true,
        early_stopping_patience: Some(3),
        save_total_limit: 1,
        ..config()
    };
    let metrics = finished(place.run(&bench, config.clone(), Resume::No).expect("trained"));
    assert!(metrics.stopped_early && metrics.steps < 120, "{metrics:?}");
    let best = metrics.best_step.expect("a best step");
    assert_eq!(metrics.steps, best + 3 * 2, "patience 3, 2 steps an epoch");
    assert_eq!(metrics.adapter_step, best);
    assert!(metrics.best_validation_loss < metrics.validation_loss);
    assert_eq!(list(&place.output()).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [best, metrics.steps]);
    let weights = |folder: &str| fs::read(place.output().join(folder).join("adapter_model.safetensors")).expect("there");
    assert_eq!(weights("final"), weights(&format!("checkpoint-{best}")));
    assert_ne!(weights("final"), weights(&format!("checkpoint-{}", metrics.steps)));
    // Resuming a run that stopped early does not go on.
    assert_eq!(finished(place.run(&bench, config, Resume::Newest).expect("resumed")), metrics);
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_written() {
    let bench = Bench::new(1);
    let mut place = Place::new(4);
    let cases: [(&str, TrainConfig); 3] = [
        ("--load-best", TrainConfig { load_best: true, ..config() }),
        ("--early-stopping-patience", TrainConfig { early_stopping_patience: Some(1), ..config() }),
        ("--clip", TrainConfig { clip: f64::NAN, ..config() }),
    ];
    for (flag, config) in cases {
        let message = place.run(&bench, config, Resume::No).expect_err("refused").to_string();
        assert!(message.contains(flag), "{message}");
    }
    place.train[2] = dyag_train::packing::Sequence::new(vec![1, 515, 2], vec![true; 3]);
    let message = place.run(&bench, config(), Resume::No).expect_err("refused").to_string();
    assert!(message.contains("example 3") && message.contains("515"), "{message}");
    place.train.clear();
    assert!(place.run(&bench, config(), Resume::No).is_err());
    assert!(!place.output().exists());
}

#[test]
fn two_runs_never_write_to_one_folder() {
    let (bench, place) = (Bench::new(1), Place::new(4));
    fs::create_dir_all(place.output()).expect("made");
    let other = fs::File::create(place.output().join(".lock")).expect("made");
    other.lock().expect("locked");
    let message = place.run(&bench, config(), Resume::No).expect_err("in use").to_string();
    assert!(message.contains("another run is writing to it"), "{message}");
    drop(other);
    finished(place.run(&bench, config(), Resume::No).expect("free again"));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_says_what_to_do() {
    let bench = Bench::new(2);
    // Infinity times the zeros of B.
    let mut place = Place::new(4);
    place.initial_scale = f32::INFINITY;
    let error = place.run(&bench, config(), Resume::No).expect_err("not a number").to_string();
    for fragment in ["step 1", "NaN", "--learning-rate", "--precision"] {
        assert!(error.contains(fragment), "no {fragment:?} in: {error}");
    }
    assert!(list(&place.output()).is_empty() && !place.output().join("final").exists());
}
