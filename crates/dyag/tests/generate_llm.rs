//! `dyag generate-training --method llm-based` against a server on the loopback that speaks each protocol, and against one in trouble.

mod common;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Outcome, Place, root};
use dyag_testing::{Loopback, RecordedRequest, ScriptedReply};
use serde_json::{Value, json};

const KEY: &str = "sk-kept-secret-0123456789";

fn place() -> Place {
    let place = Place::new();
    place.write("chunks.jsonl", fs::read(root().join("fixtures/apps10/chunks_json_route.jsonl")).expect("the fixture"));
    place
}

fn arguments<'a>(provider: &'a str, url: &'a str) -> Vec<&'a str> {
    vec![
        "generate-training",
        "chunks.jsonl",
        "--output",
        "set.jsonl",
        "--method",
        "llm-based",
        "--count",
        "30",
        "--split",
        "--validate",
        "--json",
        "--llm-provider",
        provider,
        "--llm-model",
        "m-1",
        "--llm-url",
        url,
    ]
}

fn run(place: &Place, arguments: &[&str]) -> Outcome {
    let output = place.command(arguments).env("OPENAI_API_KEY", KEY).env("ANTHROPIC_API_KEY", KEY).output().expect("dyag runs");
    let outcome = Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(!outcome.stdout.contains(KEY) && !outcome.stderr.contains(KEY), "the key is told: {outcome}");
    outcome
}

/// What a careful model would say of the passage in a prompt: a fact for each labelled line, one that the passage does not say, and a placeholder.
fn facts_of(prompt: &str) -> Value {
    let name = prompt.lines().find_map(|line| line.strip_prefix("Document : ")).expect("the document's name");
    let passage = prompt.split("Passage :\n").nth(1).and_then(|rest| rest.split("\n\nDonne ").next()).expect("the passage");
    let mut facts: Vec<Value> = Vec::new();
    for line in passage.lines().filter(|line| line.contains(':') && !line.starts_with('#')).take(1) {
        let (label, value) = line.trim_start_matches(['-', ' ']).split_once(':').expect("a colon");
        let (label, value) = (label.replace('*', ""), value.trim());
        facts.push(json!({
            "question_1": format!("{label}, pour {name}, quelle valeur ?"), "question_2": format!("Que sait-on de {name} côté {label} ?"),
            "question_3": format!("Rappelle ce que le catalogue indique sous {label} au sujet de {name}."), "answer": value, "quote": line,
        }));
    }
    facts.push(json!({ "question_1": format!("Quel budget a {name} ?"), "question_2": "", "question_3": "", "answer": "12 millions d'euros", "quote": "12 millions d'euros" }));
    facts.push(json!({ "question_1": format!("Quel est le domaine de {name} ?"), "question_2": "", "question_3": "", "answer": "***TEMPORAIRE***", "quote": "" }));
    json!({ "facts": facts })
}

/// A server that answers in a protocol.
fn server(provider: &'static str) -> Loopback {
    Loopback::answering(move |request: &RecordedRequest| {
        let body: Value = serde_json::from_str(&request.body).expect("a JSON body");
        let user = body["messages"]
            .as_array()
            .and_then(|messages| messages.last())
            .and_then(|message| message["content"].as_str())
            .expect("a prompt");
        let facts = facts_of(user);
        let reply = match provider {
            "openai" => json!({
                "choices": [{ "message": { "role": "assistant", "content": facts.to_string() }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 100, "completion_tokens": 50 },
            }),
            "anthropic" => {
                assert_eq!(request.header("x-api-key"), Some(KEY));
                let tool = body["tools"][0]["name"].as_str().expect("a tool");
                json!({
                    "content": [{ "type": "tool_use", "id": "t", "name": tool, "input": facts }], "stop_reason": "tool_use",
                    "usage": { "input_tokens": 100, "output_tokens": 50 },
                })
            }
            _ => {
                json!({ "message": { "role": "assistant", "content": facts.to_string() }, "done": true, "done_reason": "stop", "prompt_eval_count": 100, "eval_count": 50 })
            }
        };
        ScriptedReply::json(reply.to_string())
    })
}

#[test]
fn each_protocol_gives_a_sound_set_and_asks_nothing_twice() {
    for provider in ["openai", "anthropic", "ollama"] {
        let place = place();
        let server = server(provider);
        let url = server.url();
        let outcome = run(&place, &arguments(provider, &url));
        assert_eq!(outcome.code, Some(0), "{provider}: {outcome}");
        let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert_eq!((&report["report"]["made"], &report["report"]["documents"]["covered"]), (&json!(30), &json!(10)), "{provider}");
        assert_eq!(report["problems"], json!([]));
        for reason in ["unsupported", "placeholder"] {
            assert!(
                report["report"]["dropped"]["counts"][reason]["model"].as_u64().is_some_and(|n| n >= 10),
                "{}",
                report["report"]["dropped"]
            );
        }
        let n = server.requests().len();
        assert_eq!(report["language_model"]["usage"]["n_requests"], json!(n));
        let bytes = fs::read(place.path("set_train.jsonl")).expect("a file");
        // Every answer is on the disk: the second run asks nothing and writes the same.
        let again = run(&place, &arguments(provider, &url));
        assert_eq!(again.code, Some(0), "{again}");
        assert_eq!(server.requests().len(), n);
        assert_eq!(fs::read(place.path("set_train.jsonl")).expect("a file"), bytes);
        for name in place.files("") {
            assert!(!String::from_utf8_lossy(&fs::read(place.path(&name)).expect("a file")).contains(KEY), "{name} holds the key");
        }
    }
}

#[test]
fn a_refused_key_and_a_missing_provider_are_errors() {
    let place = place();
    let refusing = Loopback::answering(|_| ScriptedReply::status(401, format!("{{\"error\": {{\"message\": \"wrong key {KEY}\"}}}}")));
    let outcome = run(&place, &arguments("openai", &refusing.url()));
    assert_eq!((outcome.code, refusing.requests().len()), (Some(2), 1), "{outcome}");
    assert!(outcome.stderr.contains("401") && outcome.stderr.contains("OPENAI_API_KEY"), "{outcome}");
    assert!(place.files("").iter().all(|name| !name.starts_with("set")), "{:?}", place.files(""));
    let outcome = run(&place, &["generate-training", "chunks.jsonl", "--output", "set.jsonl", "--method", "llm-based"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("--llm-provider"), "{outcome}");
}

#[test]
fn a_limit_keeps_what_was_found_and_says_so() {
    let place = place();
    let server = server("ollama");
    let url = server.url();
    let mut limited = arguments("ollama", &url);
    limited.extend(["--max-requests", "4"]);
    let outcome = run(&place, &limited);
    assert_eq!((outcome.code, server.requests().len()), (Some(1), 4), "{outcome}");
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert!(report["report"]["shortfall"].to_string().contains("--max-requests"), "{}", report["report"]["shortfall"]);
    // Without the limit the run goes on from the answers that are kept.
    let outcome = run(&place, &arguments("ollama", &url));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert!(report["language_model"]["usage"]["n_cache_hits"].as_u64().is_some_and(|n| n >= 4), "{}", report["language_model"]);
}

#[test]
fn a_server_in_trouble_is_survived_or_named() {
    let place = place();
    // Too many requests, a fault, half a body and garbage, once each; then it works.
    let healthy = AtomicUsize::new(0);
    let troubled = Loopback::answering(move |request: &RecordedRequest| {
        let body: Value = serde_json::from_str(&request.body).expect("a JSON body");
        let facts = facts_of(body["messages"][1]["content"].as_str().expect("a prompt"));
        let good =
            json!({ "message": { "role": "assistant", "content": facts.to_string() }, "done": true, "done_reason": "stop" }).to_string();
        match healthy.fetch_add(1, Ordering::Relaxed) {
            0 => ScriptedReply::status(429, "slow down").header("Retry-After", "0"),
            1 => ScriptedReply::status(500, "fault"),
            2 => ScriptedReply::json(good).half(),
            3 => ScriptedReply::json("<html>garbage</html>"),
            _ => ScriptedReply::json(good),
        }
    });
    let outcome = run(&place, &arguments("ollama", &troubled.url()));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert!(report["language_model"]["usage"]["n_retries"].as_u64().is_some_and(|n| n >= 3), "{}", report["language_model"]);
    // Nobody listens.
    let place = self::place();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let url = format!("http://{nobody}");
    let outcome = run(&place, &arguments("ollama", &url));
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains(&url), "{outcome}");
}
