//! A base model quantised as it is loaded: it learns, resumes to the same bytes, and adapters say which base they were trained on.

mod common;

use std::fs;

use common::{Outcome, Place, root};

const TRAIN: [&str; 21] = [
    "finetune",
    "--base-model",
    "model",
    "--dataset",
    "train.jsonl",
    "--output",
    "out",
    "--learning-rate",
    "5e-3",
    "--batch-size",
    "2",
    "--accumulation",
    "1",
    "--schedule",
    "constant",
    "--warmup-ratio",
    "0",
    "--use-rslora",
    "--no-shuffle",
    "--quantize",
    "nf4",
];

fn place() -> Place {
    let place = Place::new();
    place.model();
    place.dataset();
    place
}

fn train(place: &Place, more: &[&str]) -> Outcome {
    place.run(&[TRAIN.as_slice(), more].concat())
}

fn succeeds(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn it_learns_and_the_adapter_says_on_which_base() {
    let place = place();
    let outcome = succeeds(train(&place, &["--max-steps", "60"]));
    assert!(outcome.stderr.contains("NF4"), "{outcome}");
    let log = place.read("out/log.jsonl");
    let losses: Vec<f64> =
        log.lines().map(json).filter(|line| line.get("step").is_some()).filter_map(|line| line["loss"].as_f64()).collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.3 * first, "the loss fell from {first} to {last} only");
    assert_eq!(json(&place.read("out/final/dyag.json"))["base_model"]["quantization"], "nf4");

    let ask = ["query-finetuned", "--model", "out/final", "--temperature", "0", "Qui gère ADES ?"];
    let quantised = succeeds(place.run(&[ask.as_slice(), &["--quantize", "nf4"]].concat()));
    assert_eq!((quantised.stdout.as_str(), quantised.stderr.as_str()), ("Le BRGM\n", ""));
    let plain = succeeds(place.run(&ask));
    for fragment in ["note: out/final", "quantised to nf4", "--quantize nf4"] {
        assert!(plain.stderr.contains(fragment), "{plain}");
    }
}

#[test]
fn an_adapter_of_the_plain_base_says_so_on_the_quantised_one() {
    let place = place();
    let plain = &TRAIN[..TRAIN.len() - 2];
    succeeds(place.run(&[plain, &["--max-steps", "1"]].concat()));
    assert_eq!(json(&place.read("out/final/dyag.json"))["base_model"].get("quantization"), None);
    let ask = ["query-finetuned", "--model", "out/final", "--max-tokens", "1", "--quantize", "nf4", "a"];
    let outcome = succeeds(place.run(&ask));
    for fragment in ["note: out/final", "as its files have it", "leave --quantize out"] {
        assert!(outcome.stderr.contains(fragment), "{outcome}");
    }
}

#[test]
fn a_resumed_run_gives_the_bytes_of_one_never_interrupted_and_needs_the_same_base() {
    let place = place();
    let steps = ["--max-steps", "4", "--save-total-limit", "9"];
    succeeds(train(&place, &steps));
    let adapter = || fs::read(place.path("out/final/adapter_model.safetensors")).expect("an adapter");
    let whole = adapter();
    let resume = [steps.as_slice(), &["--resume-from", "out/checkpoint-2"]].concat();
    let plain = &TRAIN[..TRAIN.len() - 2];
    let refused = place.run(&[plain, &resume].concat());
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("--quantize") && refused.stderr.contains("nf4"), "{refused}");
    succeeds(train(&place, &resume));
    assert!(adapter() == whole, "the resumed run's adapter has other bytes");
}

#[test]
fn a_gguf_file_with_plain_matrices_is_quantised_too() {
    let place = place();
    place.write("model.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    let mut arguments = TRAIN;
    arguments[2] = "model.gguf";
    let outcome = succeeds(place.run(&[arguments.as_slice(), &["--max-steps", "1"]].concat()));
    assert!(outcome.stderr.contains("NF4"), "{outcome}");
}
