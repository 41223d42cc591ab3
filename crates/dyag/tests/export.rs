//! `dyag merge-lora` and `dyag export-gguf`: what was written answers as what it was made of, and what is refused.

mod common;

use std::fs;

use common::{Place, root};

/// A place with the tiny model as folder `model`, as file `tiny.gguf`, and an adapter trained on the folder in `out/final`.
fn trained() -> Place {
    let place = Place::new();
    place.model();
    place.dataset();
    place.write("tiny.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    let outcome = place.run(&[
        "finetune",
        "--base-model",
        "model",
        "--dataset",
        "train.jsonl",
        "--output",
        "out",
        "--epochs",
        "8",
        "--truncate",
        "--learning-rate",
        "0.01",
        "--precision",
        "f32",
    ]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    place
}

/// The first greedy tokens of an answer.
fn answer(place: &Place, model: &[&str]) -> String {
    let question = ["query-finetuned", "Quel est le statut de 6Tzen ?", "--temperature", "0", "--max-tokens", "16", "--precision", "f32"];
    let outcome = place.run(&[&question, model].concat());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome.stdout
}

#[test]
fn a_merged_folder_and_its_gguf_file_answer_as_the_adapter_does() {
    let place = trained();
    let expected = answer(&place, &["--model", "out/final"]);
    let merged = place.run(&["merge-lora", "out/final", "--output", "merged", "--dtype", "f32", "--text", "train.jsonl", "--json"]);
    assert_eq!(merged.code, Some(0), "{merged}");
    let report: serde_json::Value = serde_json::from_str(&merged.stdout).expect("JSON");
    assert!(report["merged_matrices"].as_u64() > Some(0), "{report}");
    let comparison = &report["comparison"];
    assert!(comparison["mean_kl_nats"].as_f64().expect("a number") < 1e-7, "{comparison}");
    let perplexities = ["perplexity_unmerged", "perplexity_merged"].map(|key| comparison[key].as_f64().expect("a number"));
    assert!(perplexities[0] > 1.0 && (perplexities[0] / perplexities[1] - 1.0).abs() < 1e-4, "{comparison}");
    assert_eq!(answer(&place, &["--base-model", "merged", "--no-system"]), answer(&place, &["--model", "out/final", "--no-system"]));
    let names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(place.files("merged"), names.map(|name| format!("merged/{name}")));
    for (model, arguments) in [("a.gguf", ["--adapter", "out/final"].as_slice()), ("b.gguf", ["merged"].as_slice())] {
        let outcome = place.run(&[&["export-gguf", "--type", "F32", "--output", model], arguments].concat());
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(answer(&place, &["--base-model", model, "--system", SYSTEM]), expected, "{model}");
    }
}

/// The system message of the dataset, which the adapter's manifest keeps.
const SYSTEM: &str = "Tu réponds brièvement.";

#[test]
fn every_type_is_written_and_answers() {
    let place = Place::new();
    place.write("tiny.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    let expected = answer(&place, &["--base-model", "tiny.gguf"]);
    for kind in ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0"] {
        let name = format!("{kind}.gguf");
        let outcome = place.run(&["export-gguf", "tiny.gguf", "--type", kind, "--output", &name]);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let found = answer(&place, &["--base-model", &name]);
        assert!(kind != "F32" || found == expected, "{found}");
    }
    let outcome = place.run(&["export-gguf", "tiny.gguf", "--type", "q8_0", "--output", "again.gguf"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(fs::read(place.path("again.gguf")).expect("a file"), fs::read(place.path("Q8_0.gguf")).expect("a file"));
}

#[test]
fn an_adapter_alone_and_a_modelfile() {
    let place = trained();
    let outcome = place.run(&["export-gguf", "--adapter", "out/final", "--adapter-only", "--output", "adapter.gguf"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let outcome = place.run(&["export-gguf", "--adapter", "out/final", "--type", "F16", "--output", "m.gguf", "--modelfile", "Modelfile"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let text = place.read("Modelfile");
    assert!(text.starts_with("FROM ") && text.lines().next().is_some_and(|line| line.ends_with("/m.gguf")), "{text}");
    let expected = "TEMPLATE \"\"\"{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ range .Messages }}{{ if eq .Role \"user\" }}\
                    <|im_start|>user\n{{ .Content }}<|im_end|>\n{{ else if eq .Role \"assistant\" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n\
                    {{ end }}{{ end }}<|im_start|>assistant\n\"\"\"\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("PARAMETER stop \"<|im_end|>\"\n") && text.contains(&format!("SYSTEM \"\"\"{SYSTEM}\"\"\"\n")), "{text}");
}

#[test]
fn a_gguf_base_becomes_a_folder() {
    let place = Place::new();
    place.dataset();
    place.write("tiny.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    let outcome = place.run(&[
        "finetune",
        "--base-model",
        "tiny.gguf",
        "--dataset",
        "train.jsonl",
        "--output",
        "out",
        "--epochs",
        "2",
        "--truncate",
        "--precision",
        "f32",
    ]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let outcome = place.run(&["merge-lora", "out/final", "--output", "merged", "--dtype", "f32", "--shard-size", "100KB"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let files = place.files("merged");
    assert!(
        files.contains(&"merged/model.safetensors.index.json".to_owned()) && files.contains(&"merged/tokenizer.json".to_owned()),
        "{files:?}"
    );
    assert_eq!(answer(&place, &["--base-model", "merged", "--no-system"]), answer(&place, &["--model", "out/final", "--no-system"]));
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_left() {
    let place = Place::new();
    place.model();
    place.write("tiny.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    place.write("there.gguf", "mine");
    fs::create_dir(place.path("there")).expect("a folder");
    let before = place.files(".");
    for (arguments, said) in [
        (["export-gguf", "tiny.gguf", "--type", "F16", "--output", "there.gguf"].as_slice(), "there.gguf exists already"),
        (&["export-gguf", "tiny.gguf", "--type", "Q3_K", "--output", "a.gguf"], "invalid value 'Q3_K'"),
        (&["export-gguf", "tiny.gguf", "--output", "a.gguf"], "--type"),
        (&["export-gguf", "tiny.gguf", "--type", "F16", "--output", "no/a.gguf"], "its folder no"),
        (&["export-gguf", "absent", "--type", "F16", "--output", "a.gguf"], "no model at absent"),
        (&["export-gguf", "--type", "F16", "--output", "a.gguf"], "MODEL"),
        (&["export-gguf", "tiny.gguf", "--adapter-only", "--output", "a.gguf"], "--adapter"),
        (&["merge-lora", "absent", "--output", "merged"], "no adapter in absent"),
        (&["merge-lora", "model", "--output", "there"], "there exists already"),
        (&["merge-lora", "model", "--output", "merged"], "names the base model"),
        (&["merge-lora", "model", "--output", "merged", "--shard-size", "big"], "KB, MB, GB or TB"),
    ] {
        let outcome = place.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}\n{outcome}");
        assert!(outcome.stderr.contains(said), "{arguments:?}\n{outcome}");
        assert_eq!(outcome.stdout, "");
    }
    assert_eq!(place.files("."), before);
    assert_eq!(place.read("there.gguf"), "mine");
}

#[test]
fn an_adapter_of_another_shape_is_refused_before_anything_is_written() {
    let place = Place::new();
    place.model();
    let adapter = root().join("fixtures/golden/qwen2-ragged/adapter");
    let outcome = place.run(&["merge-lora", &adapter.display().to_string(), "--base-model", "model", "--output", "merged"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("the adapter was made for another base"), "{outcome}");
    assert!(place.files("merged").is_empty() && !place.path("merged").exists());
}
