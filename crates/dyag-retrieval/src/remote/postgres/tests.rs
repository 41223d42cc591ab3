//! Against a server that the variable DYAG_TEST_POSTGRES names, as `postgres://USER:PASSWORD@HOST:PORT/DATABASE` with pgvector; without it these tests do nothing.
//! `tools/acceptance/postgres.py DYAG --serve` starts one.

use std::ops::ControlFlow;
use std::sync::Mutex;

use super::*;
use crate::analysis::{Analyzer, Language};
use crate::indexing::{IndexEvent, IndexOptions};
use crate::remote::address::{Credentials, Place, RemotePlace};
use crate::testing::{Words, chunk, index_at, same_as_local, some_chunks};

/// One test at a time: they share the server's tables.
static SERVER: Mutex<()> = Mutex::new(());

/// Runs a test with a server whose tables of ours are gone.
fn with_server(test: impl FnOnce(&RemotePlace, &mut Client)) {
    let Ok(url) = std::env::var("DYAG_TEST_POSTGRES") else { return };
    let _one = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let place = RemotePlace::parse(&url, &Credentials::default()).expect("an address").expect("a server");
    let Place::Postgres(of_postgres) = &place.place else { panic!("an address of PostgreSQL") };
    let mut client = of_postgres.connect(false).expect("a server");
    client.batch_execute("DROP SCHEMA IF EXISTS dyag CASCADE").expect("removed");
    test(&place, &mut client);
}

#[test]
fn everything_is_as_in_a_folder() {
    with_server(|place, _| same_as_local(place, "same"));
}

#[test]
fn a_search_goes_on_after_its_connection_broke_and_ends_when_its_state_is_gone() {
    with_server(|place, client| {
        index_at(place, "c", some_chunks(), None, &IndexOptions::default());
        let store = place.open("c").expect("a store");
        let query = LexicalQuery { terms: Analyzer::new().question("statut de GIDAF", &[Language::French]) };
        let before = store.lexical(&query, 3, &Filter::default()).expect("found");
        let ended =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'dyag' AND pid <> pg_backend_pid()";
        let n: i64 = client.query_one(ended, &[]).expect("ended").get(0);
        assert!(n >= 1);
        assert_eq!(store.lexical(&query, 3, &Filter::default()).expect("found again"), before);
        index_at(place, "c", vec![chunk("only", "t", "autre statut")], None, &IndexOptions::default());
        let error = store.lexical(&query, 3, &Filter::default()).expect_err("another state");
        assert!(matches!(error, RetrievalError::Replaced { opened: 1, .. }), "{error}");
        assert_eq!(place.open("c").expect("a store").lexical(&query, 3, &Filter::default()).expect("found").len(), 1);
    });
}

#[test]
fn a_run_that_is_stopped_leaves_the_state_before_and_what_was_embedded() {
    with_server(|place, _| {
        index_at(place, "c", some_chunks(), Some(&Words::new()), &IndexOptions::default());
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
        assert_eq!(index_at(place, "c", many, Some(&embedder), &IndexOptions::default()).embedded, 0);
        place.open("c").expect("a store").verify().expect("as written");
    });
}

#[test]
fn a_second_writer_odd_names_and_odd_texts() {
    with_server(|place, client| {
        index_at(place, "c", some_chunks(), None, &IndexOptions::default());
        client.batch_execute("SELECT pg_advisory_lock(hashtext('dyag'), hashtext('c'))").expect("a lock");
        let other = place.index("c", some_chunks(), None, &IndexOptions::default(), &mut |_| ControlFlow::Continue(()));
        assert!(other.expect_err("refused").to_string().contains("another process is writing"));
        client.batch_execute("SELECT pg_advisory_unlock_all()").expect("free");
        let zero = vec![chunk("a", "t", "un \0 zéro")];
        let refused = place.index("c", zero, None, &IndexOptions::default(), &mut |_| ControlFlow::Continue(()));
        assert!(refused.expect_err("refused").to_string().contains("U+0000"));
        let quoted = vec![chunk("a'b\\\"; --", "t'", "l'eau $1 \\ 100 % {x}")];
        index_at(place, "q", quoted.clone(), None, &IndexOptions::default());
        let store = place.open("q").expect("a store");
        assert_eq!(store.all_chunks().expect("chunks"), quoted);
        assert!(store.chunks(&["a\0"]).is_err());
        let filter = Filter::parse(&["source_id=a", "nom!=\0"]).expect("a filter");
        let query = LexicalQuery { terms: Analyzer::new().question("eau", &[Language::French]) };
        assert_eq!(store.lexical(&query, 3, &filter).expect("found").len(), 1);
        assert!(matches!(place.open("a'b"), Err(RetrievalError::BadName { .. })));
        client.batch_execute("UPDATE dyag.format SET version = 99").expect("changed");
        assert!(place.open("q").err().expect("refused").to_string().contains("format 1"));
    });
}
