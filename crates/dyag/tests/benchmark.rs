//! `dyag benchmark`: what it prints and writes, that nothing depends on batches, and how it says no.

mod common;

use std::fs;

use common::{Outcome, Place, root};
use serde_json::{Value, json};

fn place() -> Place {
    let place = Place::new();
    place.model();
    for file in ["choices.toml", "choices.jsonl"] {
        place.write(file, fs::read(root().join("examples/apps10").join(file)).expect("the example"));
    }
    place.write(
        "texts.toml",
        "task = \"texts\"\ndataset_path = \"texts.jsonl\"\nfewshot_path = \"texts.jsonl\"\nnum_fewshot = 1\noutput_type = \"generate_until\"\ndoc_to_text = \"Q: {{q}}\\nR:\"\ndoc_to_target = \"a\"\ngeneration_kwargs = { max_gen_toks = 5 }",
    );
    place
        .write("texts.jsonl", (0..9).map(|i| json!({"q": format!("le statut {i}"), "a": "ouvert"}).to_string() + "\n").collect::<String>());
    place.write("lines.toml", "task = \"lines\"\ndataset_path = \"texts.jsonl\"\noutput_type = \"loglikelihood\"\ndoc_to_text = \"{{q}} est\"\ndoc_to_target = \"a\"");
    place
}

fn benchmark(place: &Place, arguments: &[&str]) -> Outcome {
    place.run(&[&["benchmark", "--base-model", "model"], arguments].concat())
}

fn written(place: &Place, arguments: &[&str]) -> Value {
    let outcome = benchmark(place, &[arguments, &["--output", "out.json"]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let mut written: Value = serde_json::from_str(&place.read("out.json")).expect("JSON");
    for task in written["tasks"].as_array_mut().expect("tasks") {
        task.as_object_mut().expect("a task").remove("seconds").expect("a time");
    }
    written
}

#[test]
fn tasks_of_all_kinds_and_the_same_for_any_batch() {
    let place = place();
    let all = ["choices.toml", "texts.toml", "lines.toml"];
    let one = written(&place, &[&all[..], &["--batch-size", "1", "--threads", "1"]].concat());
    let many = written(&place, &[&all[..], &["--batch-size", "32", "--threads", "2"]].concat());
    assert!(one == many, "{one}\n{many}");
    let [choices, texts, lines] = one["tasks"].as_array().expect("tasks").as_slice() else { panic!("{one}") };
    let names = |task: &Value| task["figures"].as_array().expect("figures").iter().map(|figure| figure["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(choices), ["acc", "acc_norm", "acc_bytes"]);
    assert_eq!((names(texts), names(lines)), (vec![json!("exact_match")], vec![json!("acc"), json!("perplexity")]));
    // The figure is that of the documents.
    let documents = choices["documents"].as_array().expect("documents");
    let right = documents.iter().filter(|document| document["scores"]["acc"] == 1.0).count() as f64;
    let acc = choices["figures"][0]["value"].as_f64().expect("a value");
    assert!((acc - right / documents.len() as f64).abs() < 1e-12);
    for document in documents {
        let said = document["said"].as_array().expect("likelihoods");
        let likelihoods: Vec<f64> = said.iter().map(|one| one["log_likelihood"].as_f64().expect("a likelihood")).collect();
        let best = (0..4).fold(0, |best, place| if likelihoods[place] > likelihoods[best] { place } else { best });
        assert_eq!(document["scores"]["acc"] == 1.0, document["gold"][0] == best, "{document}");
    }
    let first = &texts["documents"][1];
    assert_eq!(first["context"], "Q: le statut 0\nR: ouvert\n\nQ: le statut 1\nR:");
    assert_eq!((&lines["documents"][0]["continuations"], lines["n_documents"].as_u64()), (&json!([" ouvert"]), Some(9)));

    let limited = written(&place, &["choices.toml", "--limit", "3", "--apply-chat-template"]);
    assert_eq!(limited["tasks"][0]["n_documents"], 3);
    assert_ne!(limited["tasks"][0]["documents"][0]["said"], choices["documents"][0]["said"], "another format, other likelihoods");
}

#[test]
fn figures_are_printed_and_decide_the_exit_status() {
    let place = place();
    let outcome = benchmark(&place, &["choices.toml", "--limit", "5", "--require", "acc>=0"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.starts_with("apps10_choices: 5 documents, ") && outcome.stdout.contains("\n  acc          0."), "{outcome}");
    let outcome = benchmark(&place, &["choices.toml", "--limit", "2", "--require", "acc>=1.5", "--json"]);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("apps10_choices: missed: acc>=1.5: it is"), "{outcome}");
    let printed: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((&printed["settings"]["base_model"], &printed["tasks"][0]["num_fewshot"]), (&json!("model"), &json!(0)));
}

#[test]
fn what_is_wrong_is_said_before_the_model_is_loaded() {
    let place = place();
    let refused = |arguments: &[&str], expected: &str| {
        let outcome = place.run(&[&["benchmark", "--base-model", "no such model"], arguments].concat());
        assert!(outcome.code == Some(2) && outcome.stderr.contains(expected), "{outcome}\nexpected: {expected}");
        assert!(!outcome.stderr.contains("no such model"), "{outcome}");
    };
    refused(&["none.toml"], "cannot read the task none.toml");
    refused(&["choices.jsonl"], "choices.jsonl: ");
    refused(&["choices.toml", "choices.toml"], "are both called apps10_choices");
    refused(&["texts.toml", "--num-fewshot", "20"], "texts.jsonl: expected at least 20 documents, found 9");
    place.write("choices.jsonl", place.read("choices.jsonl") + "{\"question\": \"?\"}\n");
    refused(&["choices.toml"], "line 42: doc_to_choice: ");
    place.write("choices.jsonl", "");
    refused(&["choices.toml"], "expected at least 1 documents, found 0");
}
