//! The main job on a tiny real model: train it on two facts, ask for them, one by one, in a conversation, and from a file.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use common::{Place, root};

const TRAIN: [&str; 22] = [
    "finetune",
    "--base-model",
    "model",
    "--dataset",
    "train.jsonl",
    "--output",
    "out",
    "--max-steps",
    "60",
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
    "--seed",
    "7",
    "--use-rslora",
];

/// A place with a model that was trained on two facts.
fn trained() -> Place {
    let place = Place::new();
    place.model();
    place.dataset();
    let outcome = place.run(&TRAIN);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    place
}

fn ask(arguments: &[&'static str]) -> Vec<&'static str> {
    [["query-finetuned", "--model", "out/final", "--temperature", "0"].as_slice(), arguments].concat()
}

#[test]
fn learns_two_facts_and_answers_them() {
    let place = trained();
    let files = place.files("out/final");
    for name in ["adapter_config.json", "adapter_model.safetensors", "dyag.json", "tokenizer.json"] {
        assert!(files.contains(&format!("out/final/{name}")), "{files:?}");
    }
    let log: Vec<serde_json::Value> = place
        .read("out/log.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .filter(|v: &serde_json::Value| v.get("step").is_some())
        .collect();
    let loss = |line: &serde_json::Value| line["loss"].as_f64().expect("a loss");
    let (first, last) = (loss(&log[0]), loss(&log[log.len() - 1]));
    // The frozen head of a model of 64 channels cannot give any token more than a quarter of the probability.
    assert!(last < 0.3 * first, "the loss fell from {first} to {last} only");

    let outcome = place.run(&ask(&["Qui gère ADES ?"]));
    insta::assert_snapshot!(outcome, @r"
    exit status 0
    --- stdout
    Le BRGM
    ");
    let outcome = place.run(&ask(&["Quel est le statut de 6Tzen ?", "--json"]));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON on stdout");
    assert_eq!(answer["answer"], "En production", "{outcome}");
    assert_eq!(answer["stopped"], "end of turn", "{outcome}");

    // The system message that was trained is used unless told otherwise; without it the prompt is shorter.
    let prompt_tokens = |arguments: &[&'static str]| {
        let outcome = place.run(&ask(arguments));
        let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
        answer["n_prompt_tokens"].as_u64().expect("a number")
    };
    let with = prompt_tokens(&["a", "--json"]);
    let same = prompt_tokens(&["a", "--json", "--system", "Tu réponds brièvement."]);
    let without = prompt_tokens(&["a", "--json", "--no-system"]);
    assert_eq!(with, same);
    assert!(without < with);
}

#[test]
fn an_adapter_without_a_manifest_needs_to_be_told_its_base() {
    let place = trained();
    fs::remove_file(place.path("out/final/dyag.json")).expect("removed");
    let question = ask(&["Qui gère ADES ?"]);
    let outcome = place.run(&question);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("--base-model"), "{outcome}");
    let told = [question.as_slice(), &["--base-model", "model", "--system", "Tu réponds brièvement."]].concat();
    assert_eq!(place.run(&told).stdout, "Le BRGM\n");
}

#[test]
fn a_base_that_moved_is_asked_for() {
    let place = trained();
    fs::rename(place.path("model"), place.path("elsewhere")).expect("moved");
    let question = ask(&["Qui gère ADES ?"]);
    let outcome = place.run(&question);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("--base-model") && outcome.stderr.contains("dyag.json"), "{outcome}");
    assert_eq!(place.run(&[question.as_slice(), &["--base-model", "elsewhere"]].concat()).stdout, "Le BRGM\n");
}

#[test]
fn a_conversation_keeps_its_history_and_a_pipe_is_a_conversation() {
    let place = trained();
    let outcome = place.run_with_input(&ask(&[]), "Qui gère ADES ?\nQuel est le statut de 6Tzen ?\n\nnever asked\n");
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(outcome.stdout.lines().next(), Some("Le BRGM"), "{outcome}");
    assert_eq!(outcome.stdout.lines().count(), 2, "an empty line ends: {outcome}");
    let outcome = place.run_with_input(&ask(&["--json"]), "Qui gère ADES ?\nQuel est le statut de 6Tzen ?\n");
    let answers: Vec<serde_json::Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let tokens: Vec<u64> = answers.iter().map(|answer| answer["n_prompt_tokens"].as_u64().expect("a number")).collect();
    assert!(tokens[1] > tokens[0] + 10, "the second prompt holds the first turn: {tokens:?}");
}

#[test]
fn a_file_of_questions_is_answered_and_counted() {
    let place = trained();
    let rows = [
        "{\"id\": \"q1\", \"question\": \"Qui gère ADES ?\", \"expected_answer\": \" LE brgm \"}\n".to_owned(),
        "{\"question\": \"Quel est le statut de 6Tzen ?\", \"answer\": \"En production\"}\n".to_owned(),
        "{\"question\": \"Quel est le statut de 6Tzen ?\", \"expected_answer\": \"Arrêtée\"}\n".to_owned(),
        "{\"question\": \"Qui gère ADES ?\"}\n".to_owned(),
    ];
    place.write("questions.jsonl", rows.concat());
    let outcome = place.run(&ask(&["--questions", "questions.jsonl", "--output", "answers.jsonl"]));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.contains("2 of 3"), "{outcome}");
    let answers: Vec<serde_json::Value> =
        place.read("answers.jsonl").lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let said: Vec<&str> = answers.iter().map(|row| row["answer"].as_str().expect("a text")).collect();
    assert_eq!(said, ["Le BRGM", "En production", "En production", "Le BRGM"]);
    let exact: Vec<Option<bool>> = answers.iter().map(|row| row.get("exact").and_then(serde_json::Value::as_bool)).collect();
    assert_eq!(exact, [Some(true), Some(true), Some(false), None]);
    assert_eq!(answers[0]["id"], "q1", "a row keeps its own keys");

    let outcome = place.run(&ask(&["--questions", "questions.jsonl", "--json"]));
    let summary: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON on stdout");
    assert_eq!(
        (&summary["n_questions"], &summary["n_with_expected_answer"], &summary["n_exact"]),
        (&4.into(), &3.into(), &2.into()),
        "{outcome}"
    );
}

#[test]
fn a_gguf_file_answers_as_the_folder_does() {
    let place = Place::new();
    place.model();
    place.write("model.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    let answer = |base: &'static str| {
        let arguments =
            ["query-finetuned", "Quel est le statut ?", "--base-model", base, "--temperature", "0", "--max-tokens", "12", "--json"];
        let outcome = place.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let value: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON on stdout");
        (value["answer"].clone(), value["n_prompt_tokens"].clone())
    };
    assert_eq!(answer("model"), answer("model.gguf"));
}

#[test]
fn sampling_follows_its_seed() {
    let place = Place::new();
    place.model();
    let answer = |seed: &'static str| {
        let arguments = ["query-finetuned", "a", "--base-model", "model", "--temperature", "1.5", "--max-tokens", "16", "--seed", seed];
        let outcome = place.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        outcome.stdout
    };
    assert_eq!(answer("1"), answer("1"));
    assert_ne!(answer("1"), answer("2"));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    place.model();
    let arguments = ["query-finetuned", "a", "--base-model", "model", "--temperature", "1", "--max-tokens", "400"];
    let mut child = place.command(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut first = [0];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut first).expect("an answer begins");
    drop(stdout);
    let mut said = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut said).expect("stderr");
    assert_eq!(said, "");
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

#[test]
fn verbose_gives_the_rates_on_stderr() {
    let place = Place::new();
    place.model();
    let outcome = place.run(&["query-finetuned", "a", "--base-model", "model", "--max-tokens", "4", "-v"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    for word in ["prompt", "tokens/s"] {
        assert!(outcome.stderr.contains(word), "{outcome}");
    }
}
