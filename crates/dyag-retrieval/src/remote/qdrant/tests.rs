//! Against a server in memory that plays Qdrant's contract ([`TestQdrant`]); no real Qdrant was asked.

use std::ops::ControlFlow;
use std::time::Duration;

use dyag_testing::{ScriptedReply, TestQdrant};

use super::*;
use crate::analysis::{Analyzer, Language};
use crate::indexing::{IndexEvent, IndexOptions};
use crate::remote::address::{Credentials, RemotePlace};
use crate::testing::{Words, chunk, index_at, same_as_local, some_chunks};

fn place(server: &TestQdrant, key: Option<&str>) -> RemotePlace {
    let credentials = Credentials { qdrant_api_key: key.map(str::to_owned), ..Credentials::default() };
    RemotePlace::parse(&server.url(), &credentials).expect("an address").expect("a server")
}

fn query() -> LexicalQuery {
    LexicalQuery { terms: Analyzer::new().question("statut de GIDAF", &[Language::French]) }
}

#[test]
fn everything_is_as_in_a_folder() {
    let server = TestQdrant::start(Some("k3y-of-the-tests"));
    same_as_local(&place(&server, Some("k3y-of-the-tests")), "same");
    assert_eq!(server.collections().len(), 2, "{:?}", server.collections());
}

#[test]
fn generations_replace_each_other_at_once_and_old_readers_are_told() {
    let server = TestQdrant::start(None);
    let place = place(&server, None);
    index_at(&place, "c", some_chunks(), Some(&Words::new()), &IndexOptions::default());
    assert_eq!(server.alias("c").as_deref(), Some("c__g1"));
    let store = place.open("c").expect("a store");
    index_at(&place, "c", vec![chunk("only", "t", "autre statut")], Some(&Words::new()), &IndexOptions::default());
    assert_eq!(
        (server.alias("c").as_deref(), server.collections().as_slice()),
        (Some("c__g2"), ["c__g2".to_owned(), "c__g2__words".to_owned()].as_slice())
    );
    let switches = server.requests().into_iter().filter(|request| request.path == "/collections/aliases").count();
    assert_eq!(switches, 2, "each generation appears by one request");
    for error in [
        store.lexical(&query(), 3, &Filter::default()).map(drop).expect_err("gone"),
        store.nearest(&[0.5; 32], 3, &Filter::default()).map(drop).expect_err("gone"),
        store.chunks(&["b1"]).map(drop).expect_err("gone"),
        store.similar_words("statutt").map(drop).expect_err("gone"),
        store.document_frequencies(&query().terms).map(drop).expect_err("gone"),
    ] {
        assert!(matches!(error, RetrievalError::Replaced { opened: 1, .. }), "{error}");
    }
}

#[test]
fn a_run_that_is_stopped_leaves_the_state_before_and_what_was_embedded() {
    let server = TestQdrant::start(None);
    let place = place(&server, None);
    index_at(&place, "c", some_chunks(), Some(&Words::new()), &IndexOptions::default());
    let many: Vec<Chunk> = (0..700).map(|n| chunk(&format!("m{n:03}"), "Titre", &format!("passage {n} du corpus"))).collect();
    let embedder = Words::new();
    for stop_at_writing in [false, true] {
        let mut events = 0;
        let stopped = place.index("c", many.clone(), Some(&embedder), &IndexOptions::default(), &mut |event| {
            events += 1;
            match event {
                IndexEvent::Embedding { .. } if !stop_at_writing && events == 4 => ControlFlow::Break(()),
                IndexEvent::Indexing { .. } => ControlFlow::Break(()),
                IndexEvent::Embedding { .. } => ControlFlow::Continue(()),
            }
        });
        assert!(matches!(stopped, Err(RetrievalError::Stopped)));
        let store = place.open("c").expect("the state before");
        store.verify().expect("as written");
        assert_eq!(store.description().n_chunks, 4);
    }
    assert_eq!(embedder.asked.get(), 700);
    assert_eq!(index_at(&place, "c", many, Some(&embedder), &IndexOptions::default()).embedded, 0);
    place.open("c").expect("a store").verify().expect("as written");
    assert_eq!(server.collections().len(), 2, "nothing is left of runs that were stopped: {:?}", server.collections());
}

#[test]
fn passing_troubles_are_waited_for_and_lasting_ones_are_told() {
    let server = TestQdrant::start(Some("k3y-of-the-tests"));
    let place = place(&server, Some("k3y-of-the-tests"));
    index_at(&place, "c", some_chunks(), None, &IndexOptions::default());
    let store = place.open("c").expect("a store");
    server.trouble("points/query", ScriptedReply::status(429, "slow down").header("Retry-After", "0"));
    server.trouble("points/query", ScriptedReply::status(503, ""));
    server.trouble("points/query", ScriptedReply::closed());
    assert!(!store.lexical(&query(), 3, &Filter::default()).expect("found").is_empty());
    for _ in 0..4 {
        server.trouble(
            "points/query",
            ScriptedReply::status(500, r#"{"status":{"error":"Service internal error: k3y-of-the-tests is the key"}}"#),
        );
    }
    let error = store.lexical(&query(), 3, &Filter::default()).expect_err("failed").to_string();
    assert!(error.contains("HTTP 500") && error.contains("[secret]") && !error.contains("k3y"), "{error}");
    for (reply, part) in [
        (ScriptedReply::json("{}"), "Qdrant"),
        (ScriptedReply::json(r#"{"result": {"points": [{"payload": 3}]}}"#), "Qdrant"),
        (ScriptedReply::status(302, "").header("Location", "http://elsewhere/"), "redirection"),
        (ScriptedReply::status(400, r#"{"status":{"error":"Wrong input"}}"#), "Wrong input"),
    ] {
        server.trouble("points/query", reply);
        let error = store.lexical(&query(), 3, &Filter::default()).expect_err("failed").to_string();
        assert!(error.contains(part) && error.contains("qdrant+http://127.0.0.1"), "{error}");
    }
    for _ in 0..4 {
        server.trouble("points/query", ScriptedReply::json(r#"{"result": {"points": []}}"#).half());
    }
    let error = store.lexical(&query(), 3, &Filter::default()).expect_err("failed").to_string();
    assert!(error.contains("the middle of an answer"), "{error}");
}

#[test]
fn servers_that_are_not_there_or_refuse() {
    let server = TestQdrant::start(Some("k3y-of-the-tests"));
    for key in [None, Some("an0ther-key")] {
        let error = place(&server, key).open("c").err().expect("refused").to_string();
        assert!(error.contains("QDRANT_API_KEY") && error.contains("401") && !error.contains("an0ther"), "{error}");
    }
    let with_key = place(&server, Some("k3y-of-the-tests"));
    let error = with_key.open("absent").err().expect("none").to_string();
    assert!(error.contains("\"absent\", found none"), "{error}");
    index_at(&with_key, "c", some_chunks(), Some(&Words::new()), &IndexOptions::default());
    assert!(with_key.open("absent").err().expect("none").to_string().contains("found c"));
    let store = with_key.open("c").expect("a store");
    assert!(store.nearest(&[1.0; 31], 3, &Filter::default()).expect_err("another size").to_string().contains("32 numbers, found 31"));
    server.change_payloads("c__g1", |payload| payload["content"] = "autre".into());
    assert!(store.verify().expect_err("changed").to_string().contains("damaged"));
    server.change_payloads("c__g1", |payload| payload["metadata"] = "[]".into());
    assert!(store.chunks(&["b1"]).expect_err("changed").to_string().contains("JSON object"));
    server.remove("c__g1__words");
    assert!(with_key.open("c").err().expect("no words").to_string().contains("words"));
    let url = server.url();
    drop(server);
    let gone = RemotePlace::parse(&url, &Credentials::default()).expect("an address").expect("a server");
    let error = gone.open("c").err().expect("no server").to_string();
    assert!(error.contains("no server answers there"), "{error}");
    assert!(gone.index("c", some_chunks(), None, &IndexOptions::default(), &mut |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn a_server_that_goes_away_while_it_is_written_keeps_the_state_before() {
    let server = TestQdrant::start(None);
    let place = place(&server, None);
    index_at(&place, "c", some_chunks(), None, &IndexOptions::default());
    let parts = [
        "PUT /collections/c__g2?",
        "PUT /collections/c__g2/points",
        "PUT /collections/c__g3__words/points",
        "count",
        "POST /collections/aliases",
    ];
    for part in &parts[1..] {
        for _ in 0..4 {
            server.trouble(part, ScriptedReply::closed().after(Duration::from_millis(1)));
        }
        let failed = place.index("c", vec![chunk("x", "t", "autre")], None, &IndexOptions::default(), &mut |_| ControlFlow::Continue(()));
        assert!(failed.is_err(), "{part}");
        let store = place.open("c").expect("the state before");
        store.verify().expect("as written");
        assert_eq!(store.description().n_chunks, 4);
    }
    assert_eq!(index_at(&place, "c", vec![chunk("x", "t", "autre")], None, &IndexOptions::default()).description.n_chunks, 1);
    assert_eq!(server.collections().len(), 2, "{:?}", server.collections());
}
