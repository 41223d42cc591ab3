//! `dyag evaluate-finetuned`: what it writes, that batches and interruptions change nothing, and how it says no.

mod common;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::{Outcome, Place};
use dyag_testing::{Loopback, RecordedRequest, ScriptedReply};
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
    // A server answers in one piece.
    let is_remote = results["metadata"]["arm"] == "remote";
    for row in results["results"].as_array_mut().expect("rows") {
        for key in ["time_seconds", "first_token_seconds", "latency_seconds"] {
            let seconds = row.as_object_mut().expect("a row").remove(key).and_then(|seconds| seconds.as_f64());
            assert!(
                row["success"] == false || (is_remote && key == "first_token_seconds") || seconds.is_some_and(|seconds| seconds >= 0.0),
                "{key}"
            );
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

#[cfg(unix)]
fn ctrl_c_says_where_the_answers_are(place: &Place) {
    let partial = place.path("stopped.json.partial.jsonl");
    let child = place.command(&arguments("stopped.json", &[])).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("dyag runs");
    let outcome = common::interrupted_at(child, &partial, 2);
    assert!(outcome.code == Some(130) && outcome.stderr.contains("the answers so far are in stopped.json.partial.jsonl"), "{outcome}");
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
    assert!(kills > 0);
    #[cfg(unix)]
    ctrl_c_says_where_the_answers_are(&place);
    done(&place, &arguments("killed.json", &[]));
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
    let outcome = place.run(&arguments("never.json", &["--require", "exact_mach>=0.5"]));
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("the nearest is exact_match") && !place.path("never.json").exists(), "{outcome}");
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

/// A server with OpenAI's chat completions that knows every second question and refuses every fifth.
fn server() -> Loopback {
    Loopback::answering(|request: &RecordedRequest| {
        let body: Value = serde_json::from_str(&request.body).expect("a JSON body");
        let messages = body["messages"].as_array().expect("messages");
        let question = messages.last().and_then(|message| message["content"].as_str()).expect("a question");
        let number: usize = question.split(' ').rev().nth(1).and_then(|word| word.parse().ok()).expect("a number");
        if number % 5 == 4 {
            return ScriptedReply::status(400, "{\"error\": {\"message\": \"this content is refused\"}}");
        }
        let text = if number.is_multiple_of(2) { "En production" } else { "Je ne sais pas." };
        ScriptedReply::json(
            json!({ "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 20 + messages.len(), "completion_tokens": 3 } }).to_string(),
        )
    })
}

#[test]
fn a_model_behind_a_server_is_an_arm_like_the_others() {
    let place = place(20);
    let server = server();
    let url = server.url();
    let asked = |output: &str, more: &[&str]| {
        let arguments = [
            "evaluate-finetuned",
            "questions.jsonl",
            "--llm-provider",
            "openai",
            "--llm-model",
            "m-1",
            "--llm-url",
            &url,
            "--output",
            output,
        ];
        place.run(&[&arguments[..], more].concat())
    };
    let outcome = asked("remote.json", &[]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let results = without_time(&place, "remote.json");
    assert_eq!((&results["metadata"]["arm"], &results["metadata"]["model"]), (&json!("remote"), &json!("openai/m-1")));
    let rows = results["results"].as_array().expect("rows");
    assert_eq!(
        (rows.len(), &rows[2]["generated_answer"], &rows[2]["tokens_in"], &rows[2]["exact_match"]),
        (20, &json!("En production"), &json!(21), &json!(true))
    );
    assert!(rows[4]["error"].as_str().is_some_and(|error| error.contains("this content is refused")), "{}", rows[4]);
    assert_eq!((&results["metrics"]["errors"], &results["metrics"]["success_rate"]), (&json!(4.0), &json!(80.0)));
    // One request at a time gives the same, and so does another system message, which is sent.
    asked("one.json", &["--batch-size", "1"]);
    assert!(without_time(&place, "one.json")["results"] == results["results"]);
    asked("told.json", &["--system", "Réponds."]);
    assert_eq!(without_time(&place, "told.json")["results"][2]["tokens_in"], 22);
    // It is compared like the others.
    done(&place, &arguments("base.json", &[]));
    let outcome = place.run(&["compare-models", "--results", "base=base.json", "--results", "remote=remote.json"]);
    assert!(outcome.code == Some(0) && outcome.stdout.contains("remote better"), "{outcome}");

    let refused =
        place.run(&["evaluate-finetuned", "questions.jsonl", "--llm-provider", "openai", "--llm-model", "m", "--base-model", "model"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("expected it without --model and --base-model"), "{refused}");
    let refused = place.run(&["evaluate-finetuned", "questions.jsonl", "--llm-provider", "local", "--llm-model", "model"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("--base-model PATH"), "{refused}");
    let gone = place.run(&[
        "evaluate-finetuned",
        "questions.jsonl",
        "--llm-provider",
        "openai",
        "--llm-model",
        "m",
        "--llm-url",
        "http://127.0.0.1:9",
        "--output",
        "gone.json",
    ]);
    assert!(gone.code == Some(2) && !place.path("gone.json").exists(), "{gone}");
}
