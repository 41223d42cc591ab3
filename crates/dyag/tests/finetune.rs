//! `dyag finetune`: interruption and resuming, validation, initial adapters, and the flags that contradict each other.

mod common;

use std::fs;
use std::process::Stdio;

use common::{Outcome, Place, conversation, root};

/// Arguments of a short run, and more.
fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let common = ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--output", "out"];
    [common.as_slice(), more].concat()
}

/// The tiny model, and twelve conversations about as many things.
fn place() -> Place {
    let place = Place::new();
    place.model();
    let lines: Vec<String> = (0..12).map(|i| conversation(&format!("Quel est le numéro {i} ?"), &format!("C'est {}", 7 * i))).collect();
    place.write("train.jsonl", lines.concat());
    place
}

fn succeeds(place: &Place, arguments: &[&str]) -> Outcome {
    let outcome = place.run(arguments);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome
}

fn refused(place: &Place, arguments: &[&str], fragments: &[&str]) {
    let outcome = place.run(arguments);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{arguments:?}\n{outcome}");
    for fragment in fragments {
        assert!(outcome.stderr.contains(fragment), "no {fragment:?} in:\n{outcome}");
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_and_the_resumed_run_ends_as_one_never_interrupted() {
    let more = ["--max-steps", "40", "--batch-size", "3", "--accumulation", "1", "--save-total-limit", "50"];
    let whole = place();
    succeeds(&whole, &arguments(&more));

    let place = place();
    let child = place.command(&arguments(&more)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let outcome = common::interrupted_at(child, &place.path("out/log.jsonl"), 3);
    let said = &outcome.stderr;
    assert!(outcome.code == Some(130) && said.contains("interrupted after step") && said.contains("--resume"), "{outcome}");
    assert!(!place.path("out/final").exists());

    let resumed = succeeds(&place, &arguments(&[more.as_slice(), &["--resume"]].concat()));
    assert!(resumed.stderr.contains("resuming from out/checkpoint-"), "{resumed}");
    for name in ["final/adapter_model.safetensors", "final/adapter_config.json", "checkpoint-40/optimizer.safetensors"] {
        let read = |place: &Place| fs::read(place.path("out").join(name)).expect(name);
        assert!(read(&whole) == read(&place), "{name} differs");
    }
    assert_eq!(place.read("out/log.jsonl").lines().count(), 40);
}

#[test]
fn validation_best_and_early_stopping_reach_the_result() {
    let place = place();
    let more =
        ["--validation-split", "0.25", "--load-best", "--early-stopping-patience", "2", "--epochs", "200", "--learning-rate", "5e-2"];
    let outcome =
        succeeds(&place, &arguments(&[more.as_slice(), &["--json", "--clip", "0", "--batch-size", "9", "--accumulation", "1"]].concat()));
    let result = json(&outcome.stdout);
    let metrics = &result["metrics"];
    assert_eq!(result["status"], "finished");
    assert_eq!(metrics["stopped_early"], true, "{outcome}");
    assert_eq!(metrics["adapter_step"], metrics["best_step"]);
    assert!(metrics["best_validation_loss"].as_f64() < metrics["validation_loss"].as_f64(), "{outcome}");
    let manifest = json(&place.read("out/final/dyag.json"));
    assert_eq!(manifest["metrics"], *metrics);
    assert_eq!(manifest["dataset"]["n_validation_conversations"], 3);
    assert_eq!(manifest["system_message"], "Tu réponds brièvement.");
    assert!(outcome.stderr.contains("validation"), "{outcome}");
    // Its own file, now; the two ways exclude each other.
    fs::copy(place.path("train.jsonl"), place.path("other.jsonl")).expect("copied");
    refused(&place, &arguments(&["--validation", "other.jsonl", "--validation-split", "0.2"]), &["--validation"]);
    refused(&place, &arguments(&["--load-best", "--output", "out2"]), &["--output"]);
    fs::remove_dir_all(place.path("out")).expect("removed");
    refused(&place, &arguments(&["--load-best"]), &["--load-best", "--validation"]);
    assert!(!place.path("out").exists());
    let outcome = succeeds(&place, &arguments(&["--validation", "other.jsonl", "--max-steps", "1"]));
    assert!(outcome.stdout.contains("validation"), "{outcome}");
}

#[test]
fn a_trained_adapter_can_be_the_start_of_another_run() {
    let place = place();
    succeeds(&place, &arguments(&["--max-steps", "2", "--lora-rank", "3", "--target-modules", "q_proj,v_proj"]));
    fs::rename(place.path("out"), place.path("first")).expect("renamed");
    let from = ["--init-adapter", "first/final", "--max-steps", "2"];
    refused(&place, &arguments(&[from.as_slice(), &["--lora-rank", "4"]].concat()), &["--lora-rank 4", "first/final", "3"]);
    refused(&place, &arguments(&[from.as_slice(), &["--lora-alpha", "4"]].concat()), &["--lora-alpha 4", "32"]);
    refused(&place, &arguments(&[from.as_slice(), &["--target-modules", "k_proj"]].concat()), &["--target-modules"]);
    let outcome = succeeds(&place, &arguments(&from));
    assert!(outcome.stderr.contains("q_proj v_proj"), "{outcome}");
    let manifest = json(&place.read("out/final/dyag.json"));
    assert_eq!((&manifest["config"]["lora"]["rank"], &manifest["config"]["lora"]["alpha"]), (&3.into(), &32.0.into()));
    assert_eq!(manifest["config"]["lora"]["initial_adapter"].as_str().map(str::len), Some(64));
    // Another start is another run.
    refused(&place, &arguments(&["--max-steps", "2", "--resume"]), &["checkpoint-2", "was", "is now"]);
}

#[test]
fn variants_of_lora_are_trained_kept_and_shown() {
    let place = place();
    let more = [
        "--use-dora",
        "--use-rslora",
        "--lora-plus-ratio",
        "16",
        "--neftune-alpha",
        "5",
        "--lora-rank",
        "4",
        "--rank-pattern",
        "0.self_attn.q_proj=2",
        "--rank-pattern",
        "(q|v)_proj=3",
        "--alpha-pattern",
        "o_proj=1.5",
        "--target-modules",
        r".*\.self_attn\.[qvo]_proj",
    ];
    let outcome =
        succeeds(&place, &arguments(&[more.as_slice(), &["--max-steps", "3", "--batch-size", "4", "--accumulation", "1"]].concat()));
    for fragment in ["rank-stabilised", "magnitudes (DoRA)", "LoRA+", "NEFTune", "2 other ranks", "1 other alpha", "not shared"] {
        assert!(outcome.stderr.contains(fragment), "no {fragment:?} in {outcome}");
    }
    let config = json(&place.read("out/final/adapter_config.json"));
    assert_eq!((&config["use_dora"], &config["use_rslora"], &config["r"]), (&true.into(), &true.into(), &4.into()));
    assert_eq!(config["rank_pattern"], json(r#"{"0.self_attn.q_proj": 2, "(q|v)_proj": 3}"#));
    assert_eq!(config["alpha_pattern"], json(r#"{"o_proj": 1.5}"#));
    assert_eq!(config["target_modules"], r".*\.self_attn\.[qvo]_proj");
    let manifest = json(&place.read("out/final/dyag.json"));
    assert_eq!((&manifest["config"]["lora_plus_ratio"], &manifest["config"]["neftune_alpha"]), (&16.0.into(), &5.0.into()));
    assert_eq!(manifest["config"]["lora"]["target_text"], config["target_modules"]);
    let shown = succeeds(&place, &["inspect", "out/final"]).stdout;
    for fragment in [
        "weight decomposed    true",
        "rank stabilised      true",
        r".*\.self_attn\.[qvo]_proj",
        "0.self_attn.q_proj",
        "learning rate of b   0.0032",
        "neftune alpha        5.0",
    ] {
        assert!(shown.contains(fragment), "no {fragment:?} in {shown}");
    }
    // It goes on and starts other runs only as what it is, and answers.
    refused(&place, &arguments(&["--max-steps", "3", "--resume", "--batch-size", "4", "--accumulation", "1"]), &["was", "is now"]);
    fs::rename(place.path("out"), place.path("first")).expect("renamed");
    // The first step of a warm-up has a learning rate of 0.
    let from = ["--init-adapter", "first/final", "--max-steps", "2"];
    refused(&place, &arguments(&[from.as_slice(), &["--rank-pattern", "q_proj=2"]].concat()), &["--rank-pattern q_proj=2", "(q|v)_proj=3"]);
    succeeds(&place, &arguments(&[from.as_slice(), &["--dropout", "0.1"]].concat()));
    let again = json(&place.read("out/final/adapter_config.json"));
    assert_eq!((&again["use_dora"], &again["rank_pattern"]), (&config["use_dora"], &config["rank_pattern"]));
    succeeds(&place, &["query-finetuned", "Quel est le numéro 3 ?", "--model", "first/final", "--temperature", "0", "--max-tokens", "5"]);
    let magnitudes = |folder: &str| fs::read(place.path(folder).join("adapter_model.safetensors")).expect("there");
    assert_ne!(magnitudes("first/final"), magnitudes("out/final"));
    // The magnitudes gone, or of another length.
    let config = place.read("first/final/adapter_config.json").replace("\"use_dora\": true", "\"use_dora\": false");
    place.write("first/final/adapter_config.json", config);
    refused(&place, &["query-finetuned", "a", "--model", "first/final"], &["lora_magnitude_vector", "use_dora"]);
}

#[test]
fn a_run_is_not_overwritten_and_not_resumed_with_other_settings() {
    let place = place();
    succeeds(&place, &arguments(&["--max-steps", "1"]));
    refused(&place, &arguments(&["--max-steps", "1"]), &["out", "already holds", "--resume"]);
    refused(&place, &arguments(&["--max-steps", "2", "--resume"]), &["--max-steps was 1, and is now 2"]);
    place.write("train.jsonl", conversation("a", "b"));
    refused(&place, &arguments(&["--max-steps", "1", "--resume"]), &["the dataset (SHA-256) was"]);
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let place = place();
    for (flag, value) in [
        ("--epochs", "0"),
        ("--batch-size", "0"),
        ("--learning-rate", "-1"),
        ("--warmup-ratio", "2"),
        ("--dropout", "1"),
        ("--max-seq-length", "1"),
        ("--target-modules", "w_proj"),
        ("--target-modules", "(q_proj"),
        ("--target-modules", ".*w_proj"),
        ("--rank-pattern", "q_proj"),
        ("--rank-pattern", "q_proj=x"),
        ("--rank-pattern", "w_proj=3"),
        ("--rank-pattern", "q_proj=0"),
        ("--alpha-pattern", "(q_proj=3"),
        ("--alpha-pattern", "q_pro=3"),
        ("--lora-plus-ratio", "0"),
        ("--neftune-alpha", "-1"),
        ("--validation-split", "0.95"),
        ("--memory-limit", "lots"),
        ("--date", "2024-13-01"),
    ] {
        let given = format!("{flag}={value}");
        refused(&place, &arguments(&[&given]), &[flag]);
    }
    refused(&place, &arguments(&["--memory-limit", "1MB"]), &["0.00 GB", "--memory-limit", "activations"]);
    assert!(!place.path("out").exists());
}

#[test]
fn a_gguf_base_leaves_a_tokenizer_that_other_programs_read() {
    let place = place();
    place.write("model.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    let mut of_folder = arguments(&["--max-steps", "1"]);
    succeeds(&place, &of_folder);
    fs::rename(place.path("out"), place.path("folder")).expect("renamed");
    of_folder[2] = "model.gguf";
    succeeds(&place, &of_folder);
    let (a, b) = (json(&place.read("folder/final/dyag.json")), json(&place.read("out/final/dyag.json")));
    for key in ["shape", "vocabulary_hash", "template_hash"] {
        assert_eq!(a["base_model"][key], b["base_model"][key], "{key}");
    }
    let vocabulary = |folder: &str| json(&place.read(&format!("{folder}/final/tokenizer.json")))["model"]["vocab"].clone();
    assert_eq!(vocabulary("out").as_object().map(serde_json::Map::len), vocabulary("folder").as_object().map(serde_json::Map::len));
    assert_eq!(json(&place.read("out/final/tokenizer_config.json"))["eos_token"], "<|im_end|>");
    assert_eq!(place.read("out/final/chat_template.jinja"), place.read("folder/final/chat_template.jinja"));
}

#[test]
fn sharing_beginnings_changes_the_cost_and_not_the_course() {
    let place = place();
    let losses = |more: &[&str]| {
        // In f32: in bf16 a shared token's gradient is rounded once for all that share it.
        let common = ["--max-steps", "3", "--loss", "all", "--precision", "f32"];
        let outcome = succeeds(&place, &arguments(&[common.as_slice(), more].concat()));
        let log: Vec<serde_json::Value> = place.read("out/log.jsonl").lines().map(json).collect();
        fs::remove_dir_all(place.path("out")).expect("removed");
        let total = |key: &str| log.iter().map(|line| line[key].as_u64().expect("a number")).sum::<u64>();
        let losses: Vec<f64> = log.iter().map(|line| line["loss"].as_f64().expect("a loss")).collect();
        (losses, total("n_computed_tokens"), total("n_sequence_tokens"), outcome.stderr.contains("computed"))
    };
    let (shared, computed, sequence, said) = losses(&[]);
    assert!(said && computed * 3 < sequence * 2, "{computed} of {sequence}");
    let (apart, computed, ..) = losses(&["--no-shared-prefix"]);
    assert!(computed + 36 >= sequence, "{computed} of {sequence}: all but the last token of each example");
    for (a, b) in shared.iter().zip(&apart) {
        assert!((a - b).abs() < 1e-5 * b, "{shared:?} {apart:?}");
    }
}
