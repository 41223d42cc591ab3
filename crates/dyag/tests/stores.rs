//! Collections on servers: the commands over `--store URL`, with a server in memory that plays Qdrant's interface, and what wrong addresses and servers come to.
//! A real PostgreSQL is asked by `tools/acceptance/postgres.py`.

mod common;

use std::fs;
use std::net::TcpListener;

use common::{Outcome, Place, root};
use dyag_testing::{ScriptedReply, TestQdrant};
use serde_json::{Value, json};

const KEY: &str = "k3y-of-the-tests";

/// A place with the ten applications and a tiny encoder, and no key.
fn place() -> Place {
    let place = Place::new();
    for name in ["chunks.jsonl", "retrieval/named.jsonl", "retrieval/misspelt.jsonl"] {
        place.write(name, fs::read(root().join("examples/apps10").join(name)).expect("a file"));
    }
    for variable in ["QDRANT_API_KEY", "PGPASSWORD", "SSL_CERT_FILE"] {
        place.set(variable, "");
    }
    place
}

fn encoder() -> String {
    root().join("fixtures/retrieval/e5").display().to_string()
}

fn done(place: &Place, arguments: &[&str]) -> Outcome {
    let outcome = place.run(arguments);
    assert_eq!(outcome.code, Some(0), "{arguments:?}\n{outcome}");
    assert!(!outcome.to_string().contains(KEY), "{outcome}");
    outcome
}

fn json_of(place: &Place, arguments: &[&str]) -> Value {
    let outcome = done(place, arguments);
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"))
}

#[test]
fn every_command_does_on_a_server_what_it_does_in_a_folder() {
    let place = place();
    let server = TestQdrant::start(Some(KEY));
    place.set("QDRANT_API_KEY", KEY);
    let (url, encoder) = (server.url(), encoder());
    let stores = ["index", url.as_str()];
    for store in stores {
        let made = json_of(&place, &["index-rag", "chunks.jsonl", "--store", store, "--embedding-model", &encoder, "--json"]);
        assert_eq!(made["embedded"], made["added"], "{made}");
        let again = json_of(&place, &["index-rag", "chunks.jsonl", "--store", store, "--json"]);
        assert_eq!((&again["written"], &again["embedded"]), (&json!(false), &json!(0)), "the embedder is remembered: {again}");
    }
    let shown = format!("qdrant+{url}");
    let stats = json_of(&place, &["rag-stats", "--store", &url, "--all", "--verify", "--json"]);
    assert_eq!((&stats["store"], &stats["collections"][0]["description"]["n_chunks"]), (&json!(shown), &json!(33)), "{stats}");
    assert!(done(&place, &["rag-stats", "--store", &url]).stdout.contains("33 passages"));
    let asked = ["query-rag", "contact de 6Tzn", "--passages-only", "--json", "--filter", "chunk_type!=sites", "--store"];
    let found = stores.map(|store| {
        let mut found = json_of(&place, &[&asked[..], &[store]].concat());
        if let Some(found) = found.as_object_mut() {
            found.retain(|key, _| !["timing", "seconds", "store"].contains(&key.as_str()));
        }
        found
    });
    assert_eq!(found[0]["passages"], found[1]["passages"]);
    assert!(found[0]["passages"].as_array().is_some_and(|passages| passages.len() == 5), "{}", found[0]);
    for questions in ["retrieval/named.jsonl", "retrieval/misspelt.jsonl"] {
        let runs = stores.map(|store| {
            let arguments = [
                "evaluate-rag",
                questions,
                "--passages-only",
                "--n-chunks",
                "10",
                "--run-file",
                "search.run",
                "--max-questions",
                "40",
                "--store",
                store,
            ];
            done(&place, &arguments);
            let run = place.read("search.run");
            run.lines().map(|line| line.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
        });
        assert!(runs[0].len() > 200, "{questions}");
        assert_eq!(runs[0], runs[1], "{questions}");
    }
    let sets = stores.map(|store| {
        done(&place, &["create-eval-set", "--output", "set.jsonl", "--count", "12", "--store", store]);
        place.read("set.jsonl")
    });
    assert_eq!(sets[0], sets[1]);
}

#[test]
fn troubles_with_servers_are_told_and_no_secret_is() {
    let place = place();
    let server = TestQdrant::start(Some(KEY));
    let url = server.url();
    let nowhere = format!(
        "postgres://me:{KEY}@127.0.0.1:{}/x",
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
    );
    let refused = |arguments: &[&str], expected: &str| {
        let outcome = place.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}\n{outcome}");
        assert!(outcome.stderr.contains(expected) && !outcome.to_string().contains(KEY), "{arguments:?} {expected:?}\n{outcome}");
    };
    let ask = |store: &str, expected: &str| refused(&["query-rag", "statut", "--passages-only", "--store", store], expected);
    ask(&url, "QDRANT_API_KEY");
    ask(&nowhere, "no server answers");
    ask("postgres://127.0.0.1/x", "postgres://USER@HOST");
    ask("redis://127.0.0.1/x", "redis");
    refused(&["index-rag", "chunks.jsonl", "--store", &nowhere], "no server answers");
    refused(&["rag-stats", "--all", "--store", &format!("http://me:{KEY}@127.0.0.1:1")], "QDRANT_API_KEY");
    place.set("QDRANT_API_KEY", KEY);
    ask(&url, "found none");
    ask("http://192.0.2.1:6333", "--store-allow-http");
    refused(&["index-rag", "chunks.jsonl", "--store", &url, "--collection", "../x"], "collection name");
    done(&place, &["index-rag", "chunks.jsonl", "--store", &url, "--embedding-model", &encoder()]);
    let other = root().join("fixtures/retrieval/bge-m3").display().to_string();
    refused(&["query-rag", "statut", "--passages-only", "--store", &url, "--embedding-model", &other], "was embedded by");
    for _ in 0..4 {
        server.trouble("points/query", ScriptedReply::closed());
    }
    ask(&url, "the middle of an answer");
    server.trouble("/aliases", ScriptedReply::json("<html>"));
    ask(&url, "Qdrant");
    let https = url.replace("http://", "qdrant+https://");
    ask(&https, "the connection broke");
    place.set("SSL_CERT_FILE", place.path("absent.pem"));
    ask(&https, "absent.pem");
    ask("postgres://me@192.0.2.1/x?connect_timeout=1", "absent.pem");
}
