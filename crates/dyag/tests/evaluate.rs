//! `dyag evaluate-finetuned`: what it writes, that batches and interruptions change nothing, and how it says no.

mod common;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::{Outcome, Place};
use serde_json::{Value, json};

/// A place with the tiny model and `n` questions.
fn place(n: usize) -> Place {
    let place = Place::new();
    place.model();
    let row = |i: usize| {
        json!({ "id": format!("q{i}"), "question": format!("Quel est le statut de l'outil {i} ?"), "expected_answer": "En production", "category": "status", "app_id": i / 3 }).to_string()
    };
    place.write("questions.jsonl", (0..n).map(|i| row(i) + "\n").collect::<String>());
    place
}

fn arguments<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["evaluate-finetuned", "questions.jsonl", "--base-model", "model", "--max-tokens", "6", "--output", output];
    arguments.extend(more);
    arguments
}

fn done(place: &Place, arguments: &[&str]) -> Outcome {
    let outcome = place.run(arguments);
    assert_eq!(outcome.code, Some(0), "{arguments:?}\n{outcome}");
    outcome
}

/// A file of results without what measures time and memory.
fn without_time(place: &Place, name: &str) -> Value {
    let mut results: Value = serde_json::from_str(&place.read(name)).expect("JSON");
    for key in ["started_at", "evaluated_at", "duration_seconds", "peak_memory_bytes"] {
        results["metadata"].as_object_mut().expect("metadata").remove(key);
    }
    for key in ["avg_time_seconds", "avg_first_token_seconds", "avg_latency_seconds", "tokens_per_second"] {
        results["metrics"].as_object_mut().expect("metrics").remove(key);
    }
    for row in results["results"].as_array_mut().expect("rows") {
        for key in ["time_seconds", "first_token_seconds", "latency_seconds"] {
            let seconds = row.as_object_mut().expect("a row").remove(key).and_then(|seconds| seconds.as_f64());
            assert!(row["success"] == false || seconds.is_some_and(|seconds| seconds >= 0.0), "{key}");
        }
    }
    results
}

#[test]
fn one_by_one_and_together_the_answers_are_the_same() {
    let place = place(70);
    done(&place, &arguments("one.json", &["--batch-size", "1"]));
    done(&place, &arguments("many.json", &["--batch-size", "32", "--threads", "2"]));
    let (one, many) = (without_time(&place, "one.json"), without_time(&place, "many.json"));
    assert!(one == many, "{one}\n{many}");
    let rows = one["results"].as_array().expect("rows");
    assert_eq!(rows.len(), 70);
    assert_eq!((&rows[3]["id"], &rows[3]["category"], &rows[3]["document"]), (&json!("q3"), &json!("status"), &json!("1")));
    assert!(rows.iter().all(|row| row["generated_answer"].is_string() && row["metrics"]["exact_match"] == 0.0 && row["tokens_out"] == 6));
    let bits = |row: &Value| row["metrics"]["bits_per_byte_expected"].as_f64().expect("bits per byte");
    // The tiny model knows nothing: some nine bits for each of its few hundred tokens, of which "En production" takes less than one a byte.
    assert!(
        rows.iter()
            .all(|row| (1.0..12.0).contains(&bits(row)) && row["metrics"]["perplexity_expected"].as_f64().is_some_and(|p| p > 100.0))
    );
    let pooled = one["metrics"]["bits_per_byte_expected"].as_f64().expect("bits per byte");
    let mean = rows.iter().map(bits).sum::<f64>() / 70.0;
    assert!((pooled - mean).abs() < 1e-9, "all expected answers have the same length: {pooled}, {mean}");
    assert_eq!((&one["metadata"]["arm"], &one["metadata"]["total_questions"]), (&json!("base"), &json!(70)));
    assert_eq!((&one["metrics"]["success_rate"], &one["metrics"]["exact_match_rate"]), (&json!(100.0), &json!(0.0)));
    assert!(one["metrics"]["signatures"]["corpus_bleu_intl"].as_str().is_some_and(|text| text.contains("tok:intl")));
    assert!(!place.path("one.json.partial.jsonl").exists());
}

#[test]
fn sampling_is_seeded() {
    let place = place(5);
    for (name, seed) in [("a.json", "1"), ("b.json", "1"), ("c.json", "2")] {
        done(&place, &arguments(name, &["--temperature", "1", "--seed", seed]));
    }
    let answers = |name: &str| without_time(&place, name)["results"].clone();
    assert!(answers("a.json") == answers("b.json") && answers("a.json") != answers("c.json"));
}

#[test]
fn a_killed_run_goes_on_and_ends_the_same() {
    let place = place(300);
    done(&place, &arguments("whole.json", &[]));
    let mut kills = 0;
    for wait_ms in [150, 250, 350, 450, 600, 80, 900, 300, 200, 500] {
        let mut child =
            place.command(&arguments("killed.json", &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("dyag runs");
        std::thread::sleep(Duration::from_millis(wait_ms));
        if child.try_wait().expect("asked").is_none() {
            kills += 1;
        }
        let _ = child.kill();
        child.wait().expect("ended");
    }
    done(&place, &arguments("killed.json", &[]));
    assert!(kills > 0);
    assert!(without_time(&place, "whole.json") == without_time(&place, "killed.json"));
}

#[test]
fn answers_of_another_run_are_not_taken() {
    let place = place(3);
    done(&place, &arguments("r.json", &[]));
    place.write("r.json.partial.jsonl", "{\"identity\": {\"dataset_sha256\": \"other\"}}\n{\"index\": 0}\n");
    let outcome = place.run(&arguments("r.json", &[]));
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("--restart"), "{outcome}");
    done(&place, &arguments("r.json", &["--restart"]));
}

#[test]
fn requirements_decide_the_exit_status() {
    let place = place(3);
    done(&place, &arguments("r.json", &["--require", "success_rate>=100", "--require", "errors<=0"]));
    let outcome = place.run(&arguments("r.json", &["--require", "exact_match>=0.5"]));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("missed: exact_match>=0.5: it is 0.0000"), "{outcome}");
    assert_eq!(place.run(&arguments("r.json", &["--require", "exact_match"])).code, Some(2));
}

#[test]
fn missing_expected_answers_and_questions_that_do_not_fit() {
    let place = place(1);
    let long = "statut ".repeat(3000);
    place.write("questions.jsonl", format!("{{\"question\": \"A ?\"}}\n{{\"question\": \"{long}\", \"expected_answer\": \"B\"}}\n"));
    let outcome = done(&place, &arguments("r.json", &["--json"]));
    let summary: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((&summary["metrics"]["errors"], &summary["metrics"]["success_rate"]), (&json!(1.0), &json!(50.0)));
    assert!(summary["metrics"].get("exact_match").is_none(), "{summary}");
    let results = without_time(&place, "r.json");
    assert_eq!(results["results"][0]["expected_answer"], Value::Null);
    assert!(results["results"][1]["error"].as_str().is_some_and(|error| error.contains("tokens")), "{results}");
    place.write("questions.jsonl", format!("{{\"question\": \"{long}\"}}\n"));
    let outcome = place.run(&arguments("r.json", &[]));
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("no question was answered"), "{outcome}");
}

#[test]
fn wrong_input_is_refused() {
    let place = place(2);
    for (content, fragment) in [("", "empty"), ("{\"a\": 1}\n", "line 1"), ("{\"question\": \"A ?\"}\n[]\n", "line 2")] {
        place.write("questions.jsonl", content);
        let outcome = place.run(&arguments("r.json", &[]));
        assert_eq!(outcome.code, Some(2), "{outcome}");
        assert!(outcome.stderr.contains(fragment), "{fragment:?} is not in\n{outcome}");
    }
    assert!(
        fs::read_dir(place.path("")).expect("a folder").all(|entry| !entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .starts_with("r.json"))
    );
    let outcome = place.run(&["evaluate-finetuned", "questions.jsonl", "--output", "r.json"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    let outcome = place.run(&arguments("no/r.json", &[]));
    assert!(outcome.stderr.contains("No such file"), "{outcome}");
}
