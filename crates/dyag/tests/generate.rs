//! `dyag generate-training`, `dyag generate-questions` and `dyag rules`: from chunks and catalogues to files, and every way they say no.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use common::{Outcome, Place, root};
use serde_json::{Value, json};

fn place() -> Place {
    let place = Place::new();
    for name in ["chunks_json_route.jsonl", "chunks_markdown_route.jsonl", "catalogue.md", "questions.jsonl"] {
        place.write(name, fs::read(root().join("fixtures/apps10").join(name)).expect("the fixture"));
    }
    place
}

fn done(place: &Place, arguments: &[&str]) -> Outcome {
    let outcome = place.run(arguments);
    assert_eq!(outcome.code, Some(0), "{arguments:?}\n{outcome}");
    outcome
}

fn rows(place: &Place, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn refused(place: &Place, arguments: &[&str], fragments: &[&str]) {
    let before = place.files("");
    let outcome = place.run(arguments);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{arguments:?}\n{outcome}");
    for fragment in fragments {
        assert!(outcome.stderr.contains(fragment), "{fragment:?} is not in\n{outcome}");
    }
    assert_eq!(place.files(""), before);
}

#[test]
fn a_divided_set_from_each_route() {
    let place = place();
    for route in ["json", "markdown"] {
        for method in ["rule-based", "augmented"] {
            let chunks = format!("chunks_{route}_route.jsonl");
            done(&place, &["generate-training", &chunks, "--output", "set.jsonl", "--method", method, "--split", "--validate"]);
            let (train, val, test) = (rows(&place, "set_train.jsonl"), rows(&place, "set_val.jsonl"), rows(&place, "set_test.jsonl"));
            assert_eq!((train.len(), val.len(), test.len()), (80, 10, 10), "{route} {method}");
            let documents: BTreeSet<&str> = train.iter().filter_map(|row| row["document"].as_str()).collect();
            assert_eq!(documents.len(), 10);
            let question = |row: &Value| row["messages"][1]["content"].as_str().expect("a question").to_owned();
            let taught: BTreeSet<String> = train.iter().map(question).collect();
            assert!(val.iter().chain(&test).all(|row| !taught.contains(&question(row))));
            let fields: BTreeSet<(&str, &str)> =
                train.iter().filter_map(|row| Some((row["document"].as_str()?, row["field"].as_str()?))).collect();
            assert!(
                val.iter()
                    .chain(&test)
                    .all(|row| fields.contains(&(row["document"].as_str().unwrap_or(""), row["field"].as_str().unwrap_or(""))))
            );
            assert!(!place.path("set.jsonl").exists());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_split_may_come_first() {
    let place = place();
    done(&place, &["generate-training", "--output", "a.jsonl", "--split", "chunks_json_route.jsonl", "--seed", "7"]);
    done(&place, &["generate-training", "chunks_json_route.jsonl", "--output", "b.jsonl", "--split", "wording", "--seed", "7"]);
    done(&place, &["generate-training", "chunks_json_route.jsonl", "--output", "c.jsonl", "--split", "--seed", "8"]);
    let bytes = |name: &str| fs::read(place.path(name)).expect("a file");
    for part in ["train", "val", "test"] {
        assert_eq!(bytes(&format!("a_{part}.jsonl")), bytes(&format!("b_{part}.jsonl")));
        assert_ne!(bytes(&format!("a_{part}.jsonl")), bytes(&format!("c_{part}.jsonl")));
    }
}

#[test]
fn whole_facts_are_kept_out() {
    let place = place();
    done(&place, &["generate-training", "chunks_markdown_route.jsonl", "--output", "set.jsonl", "--split", "facts", "--validate"]);
    let fields = |name: &str| -> BTreeSet<(String, String)> {
        rows(&place, name).iter().map(|row| (row["document"].to_string(), row["field"].to_string())).collect()
    };
    let train = fields("set_train.jsonl");
    assert!(fields("set_test.jsonl").is_disjoint(&train) && fields("set_val.jsonl").is_disjoint(&train));
}

#[test]
fn the_report_as_json_counts_tokens() {
    let place = place();
    place.model();
    let arguments = [
        "generate-training",
        "chunks_json_route.jsonl",
        "--output",
        "set.jsonl",
        "--count",
        "40",
        "--base-model",
        "model",
        "--json",
        "--validate",
        "--cite",
    ];
    let report: Value = serde_json::from_str(&done(&place, &arguments).stdout).expect("JSON");
    assert_eq!(report["report"]["made"], 40);
    assert_eq!(report["report"]["documents"]["covered"], 10);
    assert_eq!(report["report"]["dropped"]["counts"]["placeholder"]["domains"], 3);
    assert_eq!(report["problems"], json!([]));
    assert!(report["tokens"]["median"].as_u64().is_some_and(|n| n > 50), "{report}");
    let rows = rows(&place, "set.jsonl");
    let cited = |row: &Value| format!("[Source: {}]", row["source_chunk_ids"][0].as_str().unwrap_or("none"));
    assert!(rows.iter().all(|row| row["messages"][2]["content"].as_str().is_some_and(|answer| answer.ends_with(&cited(row)))));
}

#[test]
fn examples_with_passages() {
    let place = place();
    let arguments = [
        "generate-training",
        "chunks_json_route.jsonl",
        "--output",
        "raft.jsonl",
        "--count",
        "200",
        "--with-context",
        "--split",
        "--validate",
        "--json",
    ];
    let outcome = done(&place, &arguments);
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(report["problems"], json!([]));
    let contexts = report["report"]["contexts"].as_object().expect("contexts");
    assert_eq!(contexts.keys().map(String::as_str).collect::<Vec<_>>(), ["bearing", "none", "withheld"]);
    let train = rows(&place, "raft_train.jsonl");
    let of_kind = |kind: &str| train.iter().filter(|row| row["context"] == kind).count();
    let share = |share: f64| (train.len() as f64 * share).round() as usize;
    assert_eq!((of_kind("none"), of_kind("withheld")), (share(0.2), share(0.1)));
    for row in &train {
        let user = row["messages"][1]["content"].as_str().expect("a question");
        let sources = row["source_chunk_ids"].as_array().expect("a list");
        let passages = row["passage_chunk_ids"].as_array().expect("a list");
        match row["context"].as_str().expect("a context") {
            "none" => assert!(passages.is_empty() && !user.contains("[1]")),
            "bearing" => {
                assert!(sources.iter().all(|id| passages.contains(id)) && !sources.is_empty());
                assert!(user.contains("[5]") && !user.contains("[6]"), "{user}");
            }
            _ => {
                assert_eq!(row["messages"][2]["content"], "Les documents ne donnent pas cette information.");
                assert!(
                    sources.is_empty() && row["withheld_chunk_ids"].as_array().expect("a list").iter().all(|id| !passages.contains(id))
                );
            }
        }
    }
    let first = fs::read(place.path("raft_train.jsonl")).expect("a file");
    done(&place, &arguments);
    assert_eq!(fs::read(place.path("raft_train.jsonl")).expect("a file"), first);
    refused(&place, &["generate-training", "chunks_json_route.jsonl", "--output", "s.jsonl", "--passages", "3"], &["--with-context"]);
    let shares = |free: &'static str, silent: &'static str| {
        [
            "generate-training",
            "chunks_json_route.jsonl",
            "--output",
            "s.jsonl",
            "--with-context",
            "--context-free",
            free,
            "--unanswerable",
            silent,
        ]
    };
    refused(&place, &shares("1.5", "0"), &["--context-free", "from 0 to 1", "1.5"]);
    refused(&place, &shares("0.7", "0.6"), &["at most 1 together", "0.7 and 0.6"]);
}

#[test]
fn nothing_found_is_a_no_that_says_what_was_looked_for() {
    let place = place();
    place.write("empty.jsonl", "{\"id\": \"a\", \"source_id\": \"s\", \"title\": \"t\", \"content\": \"rien\"}\n");
    let outcome = place.run(&["generate-training", "empty.jsonl", "--output", "set.jsonl"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("status") && outcome.stderr.contains("--rules"), "{outcome}");
    assert!(!place.path("set.jsonl").exists());
    place.write("notes.md", "# Notes\n\nRien.\n");
    let outcome = place.run(&["generate-questions", "notes.md", "--output", "q.jsonl"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("headings with an id"), "{outcome}");
}

#[test]
fn wrong_input_is_refused() {
    let place = place();
    place.write("nothing.jsonl", "");
    place.write("latin.jsonl", b"{\"id\": \"a\", \"content\": \"caf\xe9\"}\n");
    place.write("other.jsonl", "{\"id\": \"a\", \"text\": \"x\"}\n");
    place.write("twice.jsonl", "{\"id\": \"a\", \"content\": \"x\"}\n{\"id\": \"a\", \"content\": \"y\"}\n");
    place.write("rules.toml", "language = 3");
    place.write("latin.md", b"# A\n\n**ID:** 1 \xe9\n");
    place.write("empty.md", "\n");
    let training = |input: &'static str| ["generate-training", input, "--output", "set.jsonl"];
    refused(&place, &training("nothing.jsonl"), &["nothing.jsonl", "no chunks"]);
    refused(&place, &training("latin.jsonl"), &["latin.jsonl, line 1", "0xE9", "offset 27"]);
    refused(&place, &training("other.jsonl"), &["other.jsonl, line 1", "content", "no such key"]);
    refused(&place, &training("twice.jsonl"), &["line 2", "id", "as in line 1"]);
    refused(&place, &training("catalogue.md"), &["catalogue.md", "dyag chunk"]);
    refused(&place, &training("missing.jsonl"), &["missing.jsonl", "No such file"]);
    refused(&place, &["generate-training", "chunks_json_route.jsonl", "--output", "no/such/set.jsonl"], &["no/such", "No such file"]);
    refused(
        &place,
        &["generate-training", "chunks_json_route.jsonl", "--output", "s.jsonl", "--rules", "rules.toml"],
        &["rules.toml", "language"],
    );
    refused(&place, &["generate-training", "chunks_json_route.jsonl", "--output", "s.jsonl", "--language", "xx"], &["fr, en"]);
    refused(
        &place,
        &["generate-training", "chunks_json_route.jsonl", "--output", "s.jsonl", "--split", "half"],
        &["wording, facts or both", "half"],
    );
    refused(&place, &["generate-training", "--output", "s.jsonl"], &["expected the file of chunks"]);
    refused(&place, &["generate-questions", "latin.md", "--output", "q.jsonl"], &["0xE9", "offset 15"]);
    refused(&place, &["generate-questions", "empty.md", "--output", "q.jsonl"], &["empty"]);
}

#[test]
fn what_is_read_is_never_written_over() {
    let place = place();
    let chunks = place.read("chunks_json_route.jsonl");
    place.write("s_train.jsonl", &chunks);
    place.write("s_test.jsonl", &chunks);
    let lost = "would be lost";
    refused(&place, &["generate-training", "s_train.jsonl", "--output", "s_train.jsonl"], &["s_train.jsonl", lost]);
    refused(&place, &["generate-training", "s_test.jsonl", "--output", "s.jsonl", "--split"], &["s_test.jsonl", lost]);
    refused(&place, &["generate-questions", "catalogue.md", "--output", "./catalogue.md"], &["catalogue.md", lost]);
    refused(&place, &["chunk", "catalogue.md", "--output", "catalogue.md"], &["catalogue.md", lost]);
    refused(
        &place,
        &["evaluate-finetuned", "questions.jsonl", "--base-model", "x", "--output", "questions.jsonl"],
        &["questions.jsonl", lost],
    );
    assert_eq!((place.read("s_train.jsonl"), place.read("s_test.jsonl")), (chunks.clone(), chunks));
    refused(
        &place,
        &["generate-training", "chunks_json_route.jsonl", "--output", "s.jsonl", "--llm-provider", "local"],
        &["--method llm-based"],
    );
}

#[test]
fn own_placeholders_and_own_rules() {
    let place = place();
    place.write("never.txt", "En production\n");
    done(
        &place,
        &["generate-training", "chunks_json_route.jsonl", "--output", "set.jsonl", "--placeholders", "never.txt", "--count", "200"],
    );
    assert!(rows(&place, "set.jsonl").iter().all(|row| row["messages"][2]["content"] != "En production"));
    let rules = done(&place, &["rules", "fr"]).stdout.replace("Quel est le statut de {name} ?", "Statut actuel de {name} ?");
    place.write("mine.toml", rules);
    done(&place, &["generate-training", "chunks_json_route.jsonl", "--output", "set.jsonl", "--rules", "mine.toml", "--count", "1000"]);
    assert!(rows(&place, "set.jsonl").iter().any(|row| row["messages"][1]["content"] == "Statut actuel de ADES ?"));
}

#[test]
fn question_sets_in_three_formats() {
    let place = place();
    let summary = done(&place, &["generate-questions", "catalogue.md", "--output", "rag.jsonl", "--json"]);
    let summary: Value = serde_json::from_str(&summary.stdout).expect("JSON");
    assert_eq!((&summary["questions"], &summary["placeholders"], &summary["documents"]), (&json!(205), &json!(9), &json!(10)));
    let (made, original) = (rows(&place, "rag.jsonl"), rows(&place, "questions.jsonl"));
    let questions = |rows: &[Value]| -> BTreeMap<String, String> {
        rows.iter().map(|row| (row["question"].to_string(), row["expected_answer"].to_string())).collect()
    };
    assert_eq!(questions(&made).len(), 205);
    assert!(questions(&made) == questions(&original));
    assert_eq!(made.iter().filter(|row| row["placeholder"] == true).count(), 9);
    done(&place, &["generate-questions", "catalogue.md", "--output", "ft.jsonl", "--format", "finetuning", "--no-placeholders"]);
    let chat = rows(&place, "ft.jsonl");
    assert_eq!((chat.len(), chat[0]["messages"].as_array().map(Vec::len)), (196, Some(3)));
    done(&place, &["generate-questions", "catalogue.md", "--output", "simple.jsonl", "--format", "simple", "--per-field", "1"]);
    assert_eq!(
        rows(&place, "simple.jsonl")[0].as_object().map(|row| row.keys().cloned().collect::<Vec<_>>()),
        Some(vec!["question".to_owned(), "expected_answer".to_owned()])
    );
    done(&place, &["generate-questions", "chunks_json_route.jsonl", "--output", "chunks.jsonl"]);
    assert!(rows(&place, "chunks.jsonl").len() > 100);
}
