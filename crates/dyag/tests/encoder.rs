//! `dyag evaluate-finetuned --encoder`: scores in rows and figures, the same for any number of threads, and how it says no.

mod common;

use common::{Outcome, Place};
use dyag_testing::fixture;
use serde_json::{Value, json};

fn place() -> Place {
    let place = Place::new();
    place.model();
    let row = |i: usize| json!({ "id": format!("q{i}"), "question": format!("Question {i} ?"), "expected_answer": format!("En production depuis {i}") });
    place.write("questions.jsonl", (0..8).map(|i| row(i).to_string() + "\n").collect::<String>());
    place
}

fn run(place: &Place, output: &str, encoder: &str, more: &[&str]) -> Outcome {
    let mut arguments = vec!["evaluate-finetuned", "questions.jsonl", "--base-model", "model", "--max-tokens", "6", "--output", output];
    arguments.extend(["--encoder", encoder]);
    arguments.extend(more);
    place.run(&arguments)
}

fn file(place: &Place, name: &str) -> Value {
    serde_json::from_str(&place.read(name)).expect("JSON")
}

#[test]
fn an_encoder_adds_scores_that_do_not_depend_on_threads() {
    let (place, encoder) = (place(), fixture("encoder/bert").display().to_string());
    for (name, threads) in [("one.json", "1"), ("two.json", "2")] {
        let outcome = run(&place, name, &encoder, &["--threads", threads, "--limit", "5"]);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert!(outcome.stdout.contains("BERTScore F1") && outcome.stdout.contains("embedding similarity"), "{outcome}");
        assert!(outcome.stderr.contains("BERTScore after layer 3") && outcome.stderr.contains("from modules.json"), "{outcome}");
    }
    let (one, two) = (file(&place, "one.json"), file(&place, "two.json"));
    let names = [
        "bertscore_bert_f1",
        "bertscore_bert_precision",
        "bertscore_bert_recall",
        "bertscore_bert_f1_rescaled",
        "similarity_bert",
        "similarity_bert_rescaled",
    ];
    for name in names {
        for row in 0..5 {
            let value = &one["results"][row]["metrics"][name];
            assert!(value.is_f64() && *value == two["results"][row]["metrics"][name], "{name}, row {row}: {value}");
        }
        assert!(one["metrics"][name].is_f64() && one["metrics"][name] == two["metrics"][name], "{name}");
        let signature = one["metrics"]["signatures"][name].as_str().unwrap_or_default();
        assert!(signature.contains("model:bert@"), "{name}: {signature}");
    }
    let signature = one["metrics"]["signatures"]["bertscore_bert_f1_rescaled"].as_str().unwrap_or_default();
    // Of all questions' expected answers, though five were asked: eight texts with three others each.
    assert!(signature.contains("layer:3") && signature.contains("idf:no") && signature.contains("of 24 pairs"), "{signature}");
}

#[test]
fn another_layer_is_another_score() {
    let (place, encoder) = (place(), fixture("encoder/xlm-roberta").display().to_string());
    for layer in ["0", "2"] {
        let outcome =
            run(&place, &format!("{layer}.json"), &encoder, &["--encoder-layer", layer, "--require", "bertscore_xlm-roberta_f1>=0"]);
        assert_eq!(outcome.code, Some(0), "{outcome}");
    }
    let f1 = |name: &str| file(&place, name)["metrics"]["bertscore_xlm-roberta_f1"].clone();
    assert!(f1("0.json").is_f64() && f1("0.json") != f1("2.json"));
}

#[test]
fn what_cannot_judge_is_refused_before_anything_is_asked() {
    let place = place();
    let encoder = fixture("encoder/bert").display().to_string();
    let no_tokenizer = fixture("encoder/bert-old").display().to_string();
    for (encoder, more, parts) in [
        ("missing", &[][..], &["--encoder missing", "No such file"][..]),
        ("model", &[], &["--encoder model"]),
        (&encoder, &["--encoder-layer", "4"], &["--encoder-layer", "at most 3", "found 4"]),
        (&no_tokenizer, &[], &["tokenizer.json"]),
    ] {
        let outcome = run(&place, "none.json", encoder, more);
        assert_eq!(outcome.code, Some(2), "{outcome}");
        assert!(parts.iter().all(|part| outcome.stderr.contains(part)), "{parts:?}\n{outcome}");
        assert!(!place.path("none.json").exists() && !place.path("none.json.partial.jsonl").exists());
    }
    let outcome = place.run(&["evaluate-finetuned", "questions.jsonl", "--base-model", "model", "--encoder-layer", "1"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("--encoder"), "{outcome}");
}
