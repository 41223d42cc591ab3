//! What searching says where something is not as it was meant: another embedder, a filter that leaves nothing, addresses and files of the wrong kind, damage, chunks that are not there, no room.

mod common;

use std::fs;

use common::{Place, root};
use serde_json::{Value, json};

/// A place with the tiny model and the paths of the ten applications' chunks and of an encoder.
fn place() -> (Place, String, [String; 2]) {
    let place = Place::new();
    place.model();
    let path = |name: &str| root().join(name).display().to_string();
    (place, path("examples/apps10/chunks.jsonl"), [path("fixtures/retrieval/e5"), path("fixtures/retrieval/bge-m3")])
}

/// Makes a collection that is searched by words.
fn made(place: &Place, chunks: &str, more: &[&str]) {
    let outcome = place.run(&[["index-rag", chunks, "--embedding-model", "none"].as_slice(), more].concat());
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn another_embedder_is_told_of_and_the_same_is_not() {
    let (place, chunks, [e5, bge_m3]) = place();
    let index = |embedder: &str| {
        let outcome = place.run(&["index-rag", &chunks, "--embedding-model", embedder]);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        outcome.stderr.contains("all passages are embedded again by")
    };
    assert_eq!([index(&e5), index(&e5), index("none"), index(&bge_m3), index(&e5)], [false, false, false, false, true]);
}

#[test]
fn a_filter_that_leaves_nothing_is_told_of() {
    let (place, chunks, [e5, _]) = place();
    assert_eq!(place.run(&["index-rag", &chunks, "--embedding-model", &e5]).code, Some(0));
    let query = |more: &[&str]| {
        let mut arguments = vec!["query-rag", "Quel est le statut de 6Tzen ?", "--passages-only", "--filter"];
        arguments.extend(more);
        let outcome = place.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        outcome.stderr
    };
    assert!(query(&["chunk_type=nothing"]).contains("--filter chunk_type=nothing lets no passage of the collection through"));
    assert!(
        query(&["chunk_type=nothing", "--search", "lexical"])
            .contains("no passage that --filter chunk_type=nothing lets through has a word")
    );
    assert!(!query(&["chunk_type=overview"]).contains("--filter"));
}

#[test]
fn addresses_and_files_of_the_wrong_kind_are_named() {
    let (place, chunks, _) = place();
    for (arguments, expected) in [
        (["--store", "http:localhost"], "http: without // behind it"),
        (["--embedding-model", "model.gguf"], "expected the folder of an embedding model"),
    ] {
        place.write("model.gguf", b"GGUF");
        let outcome = place.run(&["index-rag", &chunks, arguments[0], arguments[1]]);
        assert!(outcome.code == Some(2) && outcome.stderr.contains(expected), "{expected}: {outcome}");
    }
}

#[test]
fn the_only_collection_needs_no_name_and_several_do() {
    let (place, chunks, _) = place();
    let index = |name: &str| assert_eq!(place.run(&["index-rag", &chunks, "--collection", name]).code, Some(0));
    let nowhere = place.run(&["rag-stats", "--all", "--store", "nowhere"]);
    assert!(nowhere.code == Some(2) && nowhere.stderr.contains("nowhere: expected a folder of collections"), "{nowhere}");
    let stats = || place.run(&["rag-stats"]);
    index("notes");
    let outcome = place.run(&["query-rag", "Quel est le statut de 6Tzen ?", "--passages-only"]);
    assert!(outcome.code == Some(0) && stats().stdout.starts_with("notes: "), "{outcome}");
    index("letters");
    let outcome = stats();
    assert!(
        outcome.code == Some(2) && outcome.stderr.contains("expected --collection NAME, since there are several: letters, notes"),
        "{outcome}"
    );
    index("applications");
    assert!(stats().stdout.starts_with("applications: "));
}

#[test]
fn questions_that_the_documents_do_not_answer_are_scored_by_whether_the_answer_says_so() {
    let (place, chunks, _) = place();
    assert_eq!(place.run(&["index-rag", &chunks, "--embedding-model", "none"]).code, Some(0));
    place.write("q.jsonl", r#"{"id": "u1", "question": "recette gâteau chocolat ?", "kind": "unanswerable"}"#);
    let evaluate = ["evaluate-rag", "q.jsonl", "--base-model", "model", "--output", "u.json", "--language", "fr"];
    assert_eq!(place.run(&evaluate).code, Some(0));
    let results: Value = serde_json::from_str(&place.read("u.json")).expect("JSON");
    assert_eq!(results["results"][0]["metrics"]["abstained"], 1.0, "{results}");
    assert_eq!(results["results"][0]["kind"], "unanswerable");
}

#[test]
fn gold_chunks_that_are_not_there_are_told_of_and_ids_that_two_questions_have_name_neither() {
    let (place, chunks, _) = place();
    made(&place, &chunks, &[]);
    let row = |id: &str, question: &str, gold: Value| {
        json!({ "id": id, "question": question, "expected_answer": "x", "gold_chunk_ids": gold }).to_string()
    };
    let evaluate = |more: &[&str]| {
        let arguments = ["evaluate-rag", "gold.jsonl", "--passages-only", "--run-file", "gold.run", "--restart"];
        place.run(&[arguments.as_slice(), more].concat())
    };
    place.write(
        "gold.jsonl",
        [row("q", "statut de 6Tzen", json!(["nope"])), row("q", "contact de ADES", json!(["gone", "nope"]))].join("\n"),
    );
    let outcome = evaluate(&[]);
    assert!(outcome.code == Some(0) && outcome.stderr.contains("2 of the 2 chunks that gold_chunk_ids name"), "{outcome}");
    let run = place.read("gold.run");
    let queries: std::collections::BTreeSet<&str> = run.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(queries, ["q_1", "q_2"].into(), "{run}");
    for gold in [json!("nope"), json!([1, null])] {
        place.write("gold.jsonl", row("q", "statut de 6Tzen", gold));
        let outcome = evaluate(&[]);
        assert!(
            outcome.code == Some(2) && outcome.stderr.contains("gold.jsonl, line 1") && outcome.stderr.contains("a list of ids"),
            "{outcome}"
        );
    }
    let lost = evaluate(&["--output", "gold.run"]);
    assert!(lost.code == Some(2) && lost.stderr.contains("would be lost"), "{lost}");
}

#[test]
fn a_prompt_without_room_for_a_passage_is_no_answer_that_the_documents_do_not_say() {
    let (place, chunks, _) = place();
    made(&place, &chunks, &[]);
    let arguments = ["query-rag", "Quel est le statut de 6Tzen ?", "--base-model", "model", "--max-tokens", "8"];
    let outcome = place.run(&[arguments.as_slice(), &["--max-prompt-tokens", "64"]].concat());
    assert!(
        outcome.code == Some(2) && outcome.stderr.contains("room for a passage") && outcome.stderr.contains("--max-prompt-tokens"),
        "{outcome}"
    );
}

#[test]
fn damage_is_not_taken_over_and_what_is_made_anew_needs_nothing_of_it() {
    let (place, chunks, _) = place();
    made(&place, &chunks, &[]);
    let folder = place.path("dyag-index/applications");
    let passages = folder.join("generation-000001/chunks.jsonl");
    let text = fs::read_to_string(&passages).expect("passages");
    fs::write(&passages, text.replacen("En production", "Xn production", 1)).expect("damaged");
    place.write("one.jsonl", json!({ "id": "new", "source_id": "s", "title": "t", "content": "Un passage." }).to_string());
    let added = place.run(&["index-rag", "one.jsonl", "--add"]);
    assert!(added.code == Some(2) && added.stderr.contains("damaged") && added.stderr.contains("--rebuild"), "{added}");
    fs::write(folder.join("CURRENT"), "nonsense").expect("damaged");
    let plain = place.run(&["index-rag", &chunks]);
    assert!(plain.code == Some(2) && plain.stderr.contains("none (with --rebuild"), "{plain}");
    made(&place, &chunks, &["--rebuild"]);
    let verified = place.run(&["rag-stats", "--verify"]);
    assert_eq!(verified.code, Some(0), "{verified}");
}
