//! The commands of the program that this one re-creates, as people have them in their scripts, one after the other: they run as they stand.

mod common;

use std::fs;

use common::{Outcome, Place, root};
use serde_json::Value;

#[test]
fn the_original_chain_runs_as_it_stands() {
    let place = Place::new();
    place.write("chunks.jsonl", fs::read(root().join("examples/apps10/chunks.jsonl")).expect("the chunks"));
    let run = |line: &str| -> Outcome {
        // Words of a line, one of them perhaps in quotation marks.
        let mut words: Vec<&str> = Vec::new();
        for (place, part) in line.split('"').enumerate() {
            if place % 2 == 1 {
                words.push(part);
            } else {
                words.extend(part.split_whitespace());
            }
        }
        let outcome = place.run(&words);
        assert_eq!(outcome.code, Some(0), "{line}\n{outcome}");
        outcome
    };
    let json = |file: &str| -> Value { serde_json::from_str(&place.read(file)).expect(file) };

    run("generate-training chunks.jsonl --output training.jsonl --method augmented --count 100 --split");
    let n_lines = |part: &str| place.read(&format!("training_{part}.jsonl")).lines().count();
    let n_test = n_lines("test");
    assert_eq!((n_lines("train"), n_lines("val"), n_test), (80, 10, 10));

    let trained = run(
        "finetune --dataset training_train.jsonl --base-model dyag-tiny --output out --epochs 3 --batch-size 4 --force-cpu -v --max-seq-length 1024",
    );
    assert!(trained.stderr.contains("cpu"), "{trained}");
    let losses: Vec<f64> = place
        .read("out/log.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["loss"].as_f64().expect("a loss"))
        .collect();
    assert!(losses.last() < losses.first(), "{losses:?}");
    let manifest = json("out/final/dyag.json");
    assert_eq!(manifest["base_model"]["path"], "dyag-tiny", "{manifest}");

    let answer = run("query-finetuned \"Quel est le statut de 6Tzen ?\" --model out/final --temperature 0 --max-tokens 40");
    // The template writes a space before each answer, which is no part of it, streamed or kept.
    assert!(!answer.stdout.trim().is_empty() && !answer.stdout.starts_with(char::is_whitespace), "{answer}");

    run("evaluate-finetuned training_test.jsonl --model out/final --output results_ft.json --max-tokens 60");
    run("index-rag chunks.jsonl --collection applications --embedding-model none");
    run(
        "evaluate-rag training_test.jsonl --base-model dyag-tiny --collection applications --n-chunks 2 --output results_rag.json --max-tokens 60",
    );
    for file in ["results_ft.json", "results_rag.json"] {
        let results = json(file);
        let rows = results["results"].as_array().expect("rows");
        assert_eq!(rows.len(), n_test, "{file}");
        let is_plain = |answer: &Value| answer.as_str().is_some_and(|answer| !answer.starts_with(char::is_whitespace));
        assert!(rows.iter().all(|row| row["success"] == true && is_plain(&row["generated_answer"])), "{file}: {results}");
    }
    run("compare-models --rag-results results_rag.json --finetuned-results results_ft.json --output comparison --format both");
    let found = place.files(".");
    for file in ["comparison.json", "comparison.md"] {
        assert!(found.iter().any(|path| path.ends_with(file)), "{file}: {found:?}");
    }
}
