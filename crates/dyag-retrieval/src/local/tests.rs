//! Generations, incremental work, kills and readers beside writers; searches against loops that are their specification.

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dyag_text::chunk::Chunk;
use dyag_text::language_model::ModelFailure;
use dyag_text::{Embedder, Reranker, TextRole};
use proptest::prelude::*;

use super::*;
use crate::analysis::{Analyzer, Field, Language};
use crate::indexing::{IndexEvent, IndexOptions, IndexReport};
use crate::retriever::{Ranking, Retriever, SearchOptions};
use crate::testing::{Words, chunk, device, some_chunks};

fn build(root: &Path, chunks: Vec<Chunk>, embedder: Option<&dyn Embedder>, options: IndexOptions) -> Result<IndexReport, RetrievalError> {
    let options = IndexOptions { created_at: "2026-01-01T00:00:00Z".into(), ..options };
    index(root, "apps", chunks, embedder, &options, &mut |_| ControlFlow::Continue(()))
}

fn search(store: &LocalStore, embedder: &dyn Embedder, question: &str, ranking: Ranking) -> Vec<String> {
    let retriever = Retriever::new(store, Some(embedder), None).expect("a retriever");
    let options = SearchOptions { ranking, ..SearchOptions::default() };
    retriever.search(question, &options).expect("found").hits.into_iter().map(|hit| hit.chunk.id).collect()
}

#[test]
fn words_identifiers_accents_and_misspellings_find_their_passage() {
    let root = tempfile::tempdir().expect("a folder");
    let embedder = Words::new();
    let report = build(root.path(), some_chunks(), Some(&embedder), IndexOptions::default()).expect("indexed");
    assert_eq!((report.added, report.embedded, report.description.n_documents), (4, 4, 3));
    assert_eq!(report.description.languages, [Language::French]);
    let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
    store.verify().expect("as written");
    for (question, expected) in [
        ("Quel est le statut de GIDAF ?", "b1"),
        ("contact de 6tzen", "a1"),
        ("v2.4.1", "a1"),
        ("tzen@exemple.fr", "a1"),
        ("TRANSPORT ROUTIER", "a2"),
        ("dematerialisation", "a2"),
        ("eco activite", "c1"),
        ("statut de GIDFA", "b1"),
    ] {
        for ranking in [Ranking::Lexical, Ranking::Fused] {
            assert_eq!(search(&store, &embedder, question, ranking).first().map(String::as_str), Some(expected), "{question} {ranking:?}");
        }
    }
    assert!(search(&store, &embedder, "zzzz", Ranking::Lexical).is_empty());
    assert!(search(&store, &embedder, "", Ranking::Lexical).is_empty());
    let retriever = Retriever::new(&store, Some(&embedder), None).expect("a retriever");
    let found = retriever.search("statut de GIDFA", &SearchOptions::default()).expect("found");
    assert_eq!(found.corrections, [("gidfa".to_owned(), vec!["gidaf".to_owned()])]);
    let nothing = retriever.search("recette gâteau chocolat", &SearchOptions::default()).expect("found");
    assert_eq!(nothing.confidence.coverage, 0.0);
    assert_eq!(nothing.confidence.unknown_words, ["recette", "gateau", "chocolat"]);
    assert!(found.confidence.coverage > 0.9, "{:?}", found.confidence);
}

/// Likes short passages that begin with a letter of the question, and keeps what it was asked.
struct Letters(std::cell::RefCell<Vec<usize>>);

impl Reranker for Letters {
    fn name(&self) -> String {
        "letters".to_owned()
    }

    fn signature(&self) -> String {
        "letters".to_owned()
    }

    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, ModelFailure> {
        self.0.borrow_mut().push(passages.len());
        let likes = |passage: &&str| if passage.chars().next().is_some_and(|first| query.contains(first)) { 1.0 } else { 0.0 };
        Ok(passages.iter().map(|passage| likes(passage) - passage.len() as f32 / 1e4).collect())
    }
}

#[test]
fn questions_that_are_searched_for_together_find_what_each_finds_alone() {
    let root = tempfile::tempdir().expect("a folder");
    let embedder = Words::new();
    build(root.path(), some_chunks(), Some(&embedder), IndexOptions::default()).expect("indexed");
    let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
    let questions = ["statut de GIDAF", "zzzz", "contact 6Tzen éco", "", "TRANSPORT ROUTIER"];
    let options = SearchOptions { k: 2, ranking: Ranking::Lexical, reranked: 4, ..SearchOptions::default() };
    for reranker in [None, Some(&Letters(Vec::new().into()))] {
        let retriever = Retriever::new(&store, Some(&embedder), reranker.map(|letters| letters as &dyn Reranker)).expect("a retriever");
        let mut told = Vec::new();
        let together = retriever.search_all(&questions, &options, &mut |n| told.push(n)).expect("found");
        assert!(told.is_sorted() && told.last() == Some(&questions.len()), "{told:?}");
        for (question, found) in questions.iter().zip(&together) {
            let alone = retriever.search(question, &options).expect("found");
            assert_eq!((&alone.hits, &alone.confidence, &alone.corrections), (&found.hits, &found.confidence, &found.corrections));
            let stages: Vec<&str> = found.seconds.iter().map(|(stage, _)| *stage).collect();
            assert_eq!(stages.contains(&"rerank"), reranker.is_some());
            assert!(stages.last() == Some(&"all") && found.hits.len() <= 2, "{stages:?}");
            assert!(found.hits.iter().all(|hit| hit.stages.rerank.is_some() == reranker.is_some()));
        }
        assert!(together[1].hits.is_empty() && together[3].hits.is_empty() && together[2].hits.len() == 2);
        let asked = reranker.map(|letters| letters.0.take()).unwrap_or_default();
        assert!(asked.iter().all(|n| *n <= 4), "{asked:?}");
    }
}

#[test]
fn only_what_changed_is_embedded_and_what_vanished_leaves() {
    let root = tempfile::tempdir().expect("a folder");
    let embedder = Words::new();
    build(root.path(), some_chunks(), Some(&embedder), IndexOptions::default()).expect("indexed");
    let again = build(root.path(), some_chunks(), Some(&embedder), IndexOptions::default()).expect("indexed");
    assert!(!again.written && again.unchanged == 4 && embedder.asked.get() == 4);
    let mut chunks = some_chunks();
    chunks.remove(0);
    chunks[0].content.push_str(" Nouveau.");
    // Only the id is another: the text is known.
    chunks[1].id = "z9".into();
    // The text is known, the metadata is not.
    chunks[2].chunk_type = "details".into();
    let report = build(root.path(), chunks, Some(&embedder), IndexOptions::default()).expect("indexed");
    assert_eq!((report.added, report.changed, report.unchanged, report.removed, report.embedded), (1, 2, 0, 2, 1));
    assert_eq!(report.description.generation, 2);
    let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
    assert!(store.chunks(&["b1"]).is_err(), "it vanished");
    assert_eq!(store.chunks(&["z9", "a1"]).expect("chunks")[0].id, "z9");
    let added = build(
        root.path(),
        vec![chunk("n1", "Neuf", "Un passage de plus.")],
        Some(&embedder),
        IndexOptions { add: true, ..IndexOptions::default() },
    );
    assert_eq!(added.expect("indexed").description.n_chunks, 4);
    let rebuilt =
        build(root.path(), some_chunks(), Some(&embedder), IndexOptions { rebuild: true, ..IndexOptions::default() }).expect("indexed");
    assert_eq!((rebuilt.embedded, rebuilt.added), (4, 4));
    // Vectors that were taken over are those that would have been made.
    let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
    let own = search(&store, &embedder, "contact 6Tzen", Ranking::Vector);
    assert_eq!(own.len(), 4);
}

#[test]
fn with_copies_of_vectors_the_same_is_found() {
    let (exact, copied) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let embedder = Words::new();
    let mut chunks = some_chunks();
    chunks.extend(
        (0..3_000).map(|n| chunk(&format!("m{n}"), &format!("Note {n}"), &format!("statut {} du dossier {} en {}", n % 7, n % 11, n % 13))),
    );
    let options = IndexOptions { approximate_from: Some(3_004), ..IndexOptions::default() };
    build(exact.path(), chunks.clone(), Some(&embedder), IndexOptions::default()).expect("indexed");
    build(copied.path(), chunks.clone(), Some(&embedder), options.clone()).expect("indexed");
    let open = |root: &Path| LocalStore::open(root, "apps", device()).expect("a store");
    let store = open(copied.path());
    store.verify().expect("as written");
    assert!(
        store.sizes().expect("sizes").contains_key("vectors.q8_0")
            && !open(exact.path()).sizes().expect("sizes").contains_key("vectors.q8_0")
    );
    let vectors = embedder.embed(&["statut du dossier 3", "contact"], TextRole::Query).expect("vectors");
    for vector in vectors.iter().map(|vector| unit(vector).expect("a direction")) {
        let all = |store: &LocalStore| store.nearest(&vector, chunks.len(), &Filter::default()).expect("found");
        assert_eq!(all(&store), all(&open(exact.path())));
        assert_eq!(store.nearest(&vector, 5, &Filter::default()).expect("found"), all(&store)[..5]);
    }
    // What is there gets copies when they are wanted, and loses them; nothing is embedded for it.
    let made = |options| build(exact.path(), chunks.clone(), Some(&embedder), options).expect("indexed").written;
    let asked = embedder.asked.get();
    assert!(made(options.clone()) && open(exact.path()).sizes().expect("sizes").contains_key("vectors.q8_0") && !made(options.clone()));
    assert!(made(IndexOptions::default()) && !open(exact.path()).sizes().expect("sizes").contains_key("vectors.q8_0"));
    assert_eq!(embedder.asked.get(), asked);
    // Vectors are taken over from it, and a smaller collection needs none.
    let asked = embedder.asked.get();
    chunks.truncate(200);
    build(copied.path(), chunks, Some(&embedder), options).expect("indexed");
    assert_eq!(embedder.asked.get(), asked);
    assert!(!open(copied.path()).sizes().expect("sizes").contains_key("vectors.q8_0"));
}

#[test]
fn another_embedder_is_refused_and_none_is_lexical_alone() {
    let root = tempfile::tempdir().expect("a folder");
    let embedder = Words::new();
    build(root.path(), some_chunks(), Some(&embedder), IndexOptions::default()).expect("indexed");
    let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
    let other = Words { signature: "other".into(), ..Words::new() };
    assert!(matches!(Retriever::new(&store, Some(&other), None), Err(RetrievalError::OtherEmbedder { .. })));
    let without = Retriever::new(&store, None, None).expect("a retriever");
    assert!(matches!(without.search("statut", &SearchOptions::default()), Err(RetrievalError::NoEmbedder { .. })));
    let lexical = SearchOptions { ranking: Ranking::Lexical, ..SearchOptions::default() };
    assert!(!without.search("statut", &lexical).expect("found").hits.is_empty());
    // Another embedder makes all vectors anew, and a collection without one has none.
    assert_eq!(build(root.path(), some_chunks(), Some(&other), IndexOptions::default()).expect("indexed").embedded, 4);
    let report = build(root.path(), some_chunks(), None, IndexOptions::default()).expect("indexed");
    assert!(report.written && report.description.embedder.is_none());
    let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
    assert!(matches!(store.nearest(&[1.0; 32], 1, &Filter::default()), Err(RetrievalError::NoVectors { .. })));
}

#[test]
fn bad_passages_and_vectors_are_named() {
    let root = tempfile::tempdir().expect("a folder");
    let mut twice = some_chunks();
    twice[1].id = "b1".into();
    let mut empty = some_chunks();
    empty[2].content = " \n".into();
    for (chunks, expected) in [(twice, "an id of its own"), (empty, "content"), (Vec::new(), "at least one chunk")] {
        let error = build(root.path(), chunks, None, IndexOptions::default()).expect_err("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let zero = Words { zero_at: Some("déchets"), ..Words::new() };
    let error = build(root.path(), some_chunks(), Some(&zero), IndexOptions::default()).expect_err("refused");
    assert!(error.to_string().contains("\"c1\"") && error.to_string().contains("zeros"), "{error}");
    let wide = Words { dimension: 32, ..Words::new() };
    struct Lies(Words);
    impl Embedder for Lies {
        fn name(&self) -> String {
            self.0.name()
        }
        fn signature(&self) -> String {
            self.0.signature()
        }
        fn dimension(&self) -> usize {
            31
        }
        fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ModelFailure> {
            self.0.embed(texts, role)
        }
    }
    assert!(build(root.path(), some_chunks(), Some(&Lies(wide)), IndexOptions::default()).is_err());
    assert!(LocalStore::open(root.path(), "apps", device()).is_err(), "nothing was made");
    for name in ["", "../x", "a/b", ".a", "é"] {
        assert!(matches!(LocalStore::open(root.path(), name, device()), Err(RetrievalError::BadName { .. })), "{name}");
    }
    let error = LocalStore::open(root.path(), "absent", device()).err().expect("refused").to_string();
    assert!(error.contains("absent") && error.contains("index-rag"), "{error}");
}

#[test]
fn a_run_that_is_stopped_leaves_the_old_state_and_goes_on_where_it_was() {
    let root = tempfile::tempdir().expect("a folder");
    let first = Words::new();
    build(root.path(), some_chunks(), Some(&first), IndexOptions::default()).expect("indexed");
    let many: Vec<Chunk> = (0..700).map(|n| chunk(&format!("m{n:03}"), "Titre", &format!("passage {n} du corpus"))).collect();
    let embedder = Words::new();
    let mut events = 0;
    let stopped = index(root.path(), "apps", many.clone(), Some(&embedder), &IndexOptions::default(), &mut |event| match event {
        IndexEvent::Embedding { .. } if events == 3 => ControlFlow::Break(()),
        _ => {
            events += 1;
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(stopped, Err(RetrievalError::Stopped)));
    assert_eq!(embedder.asked.get(), 384);
    let store = LocalStore::open(root.path(), "apps", device()).expect("the old state");
    assert_eq!(store.description().n_chunks, 4);
    // Stopped again while the lexical index is written: all vectors are there.
    let stopped = index(root.path(), "apps", many.clone(), Some(&embedder), &IndexOptions::default(), &mut |event| match event {
        IndexEvent::Indexing { .. } => ControlFlow::Break(()),
        IndexEvent::Embedding { .. } => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(RetrievalError::Stopped)));
    assert_eq!(embedder.asked.get(), 700);
    let report = build(root.path(), many, Some(&embedder), IndexOptions::default()).expect("indexed");
    assert_eq!((report.embedded, embedder.asked.get()), (0, 700));
    assert_eq!(
        search(&LocalStore::open(root.path(), "apps", device()).expect("a store"), &embedder, "passage 17", Ranking::Lexical)[0],
        "m017"
    );
    let left: Vec<String> =
        fs::read_dir(root.path().join("apps")).expect("a folder").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert!(left.iter().all(|name| !name.ends_with(".partial") && name != "embedding.journal"), "{left:?}");
}

#[test]
fn readers_see_one_state_while_states_follow_each_other() {
    let root = tempfile::tempdir().expect("a folder");
    let state = |n: usize| -> Vec<Chunk> {
        (0..30).map(|i| chunk(&format!("s{i:02}"), &format!("etat{n}"), &format!("mot{n} passage {i}"))).collect()
    };
    build(root.path(), state(0), None, IndexOptions::default()).expect("indexed");
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (device, mut seen) = (device(), HashSet::new());
                    while !done.load(Ordering::Relaxed) {
                        let store = LocalStore::open(root.path(), "apps", Arc::clone(&device)).expect("a state");
                        let retriever = Retriever::new(&store, None, None).expect("a retriever");
                        let options = SearchOptions { k: 30, ranking: Ranking::Lexical, ..SearchOptions::default() };
                        let hits = retriever.search("passage", &options).expect("found").hits;
                        let titles: HashSet<String> = hits.iter().map(|hit| hit.chunk.title.clone()).collect();
                        assert_eq!((hits.len(), titles.len()), (30, 1), "a mixture");
                        seen.extend(titles);
                    }
                    seen
                })
            })
            .collect();
        for n in 1..25 {
            build(root.path(), state(n), None, IndexOptions::default()).expect("indexed");
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().expect("no failure").len()).sum::<usize>()
    });
    assert!(seen > 2, "readers saw {seen} states");
    let folders = fs::read_dir(root.path().join("apps"))
        .expect("a folder")
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("generation-"));
    assert_eq!(folders.count(), 2);
}

#[test]
fn a_second_writer_and_damaged_files_are_refused() {
    let root = tempfile::tempdir().expect("a folder");
    let embedder = Words::new();
    build(root.path(), some_chunks(), Some(&embedder), IndexOptions::default()).expect("indexed");
    let lock = build::Lock::take(&root.path().join("apps")).expect("a lock");
    assert!(matches!(build(root.path(), some_chunks(), None, IndexOptions::default()), Err(RetrievalError::Locked { .. })));
    drop(lock);
    let generation = root.path().join("apps/generation-000001");
    for file in ["chunks.jsonl", "chunks.offsets", "vectors.f32", "collection.json"] {
        let path = generation.join(file);
        let bytes = fs::read(&path).expect("bytes");
        for damaged in [&bytes[..bytes.len() - 1], &[][..]] {
            fs::write(&path, damaged).expect("damaged");
            assert!(LocalStore::open(root.path(), "apps", device()).is_err(), "{file}");
        }
        // The same length, another content: seen when it is looked for, or when it is read, and never a panic.
        let mut flipped = bytes.clone();
        flipped.iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&path, &flipped).expect("damaged");
        if let Ok(store) = LocalStore::open(root.path(), "apps", device()) {
            assert!(store.verify().is_err(), "{file}");
            let _ = store.lexical(&LexicalQuery { terms: Analyzer::new().question("statut", &[Language::French]) }, 5, &Filter::default());
            let _ = store.nearest(&[1.0; 32], 5, &Filter::default());
        }
        fs::write(&path, &bytes).expect("mended");
    }
    LocalStore::open(root.path(), "apps", device()).expect("whole again").verify().expect("as written");
    assert_eq!(collections(root.path()).expect("names"), ["apps"]);
    remove(root.path(), "apps").expect("removed");
    assert!(collections(root.path()).expect("names").is_empty());
}

/// BM25 as it is published, with tantivy's rounding of lengths, in double precision.
fn bm25(chunks: &[Chunk], terms: &[QueryTerm]) -> Vec<(usize, f64)> {
    let analyzer = Analyzer::new();
    let analysed: Vec<_> = chunks.iter().map(|chunk| analyzer.passage(&chunk.title, &chunk.content, Language::French)).collect();
    let n = chunks.len() as f64;
    let mut scores = vec![0f64; chunks.len()];
    let mut has = vec![false; chunks.len()];
    for QueryTerm { field, text, weight } in terms {
        let counts: Vec<f64> = analysed.iter().map(|terms| terms.of(*field).iter().filter(|term| *term == text).count() as f64).collect();
        let df = counts.iter().filter(|count| **count > 0.0).count() as f64;
        let average = analysed.iter().map(|terms| terms.of(*field).len() as f64).sum::<f64>() / n;
        let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
        for (place, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            use tantivy::fieldnorm::FieldNormReader;
            let length = FieldNormReader::id_to_fieldnorm(FieldNormReader::fieldnorm_to_id(analysed[place].of(*field).len() as u32));
            let norm = 1.2 * (0.25 + 0.75 * f64::from(length) / average);
            scores[place] += f64::from(*weight) * idf * 2.2 * count / (count + norm);
            has[place] = true;
        }
    }
    let mut ranked: Vec<(usize, f64)> = (0..chunks.len()).filter(|place| has[*place]).map(|place| (place, scores[place])).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn rankings_are_bm25_and_filters_are_what_they_say(
        texts in prop::collection::vec(("[a-d]", prop::collection::vec("(ro|mi|ta|lune|soleil|mer|v1\\.2|SI-7)", 1..40)), 2..60),
        question in prop::collection::vec("(ro|mi|lune|mer|v1\\.2|SI-7)", 1..4),
    ) {
        let root = tempfile::tempdir().expect("a folder");
        let mut chunks: Vec<Chunk> = texts.iter().enumerate().map(|(n, (title, words))| chunk(&format!("k{n:03}"), title, &words.join(" "))).collect();
        for chunk in &mut chunks {
            // One language, whatever the words look like.
            chunk.content.push_str(" le la les des");
        }
        build(root.path(), chunks.clone(), None, IndexOptions::default()).expect("indexed");
        let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
        let terms = Analyzer::new().question(&question.join(" "), &[Language::French]);
        let expected = bm25(&chunks, &terms);
        let found = store.lexical(&LexicalQuery { terms: terms.clone() }, chunks.len(), &Filter::default()).expect("found");
        prop_assert_eq!(found.len(), expected.len());
        for (hit, (place, score)) in found.iter().zip(&expected) {
            prop_assert!((f64::from(hit.score) - score).abs() <= 2e-4 * score.abs(), "{} {} {}", hit.score, score, place);
        }
        for pair in found.windows(2) {
            prop_assert!(pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].id < pair[1].id));
        }
        for condition in ["name=a", "name!=a|b", "length>=60", "source_id=k", "absent=1"] {
            let filter = Filter::parse(&[condition]).expect("a filter");
            let filtered = store.lexical(&LexicalQuery { terms: terms.clone() }, chunks.len(), &filter).expect("found");
            let wanted: Vec<_> = found.iter().filter(|hit| chunks.iter().any(|chunk| chunk.id == hit.id && filter.passes(chunk))).cloned().collect();
            prop_assert_eq!(filtered, wanted, "{}", condition);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_automaton_finds_the_words_that_the_rule_finds(
        words in prop::collection::hash_set("[abé1]{3,9}", 1..40),
        word in "[abé1]{3,9}",
    ) {
        let root = tempfile::tempdir().expect("a folder");
        let chunks: Vec<Chunk> = words.iter().enumerate().map(|(n, word)| chunk(&format!("p{n:03}"), "t", &format!("{word} {}", if n % 3 == 0 { "abab" } else { "baba" }))).collect();
        let languages = vec![Some(Language::French); chunks.len()];
        let path = root.path().join("index");
        lexical::write(&path, 700, &Analyzer::new(), &chunks, &languages, Language::French, &mut |_| Ok(())).expect("written");
        let index = lexical::Lexical::open(&path, chunks.len()).expect("an index");
        let analysed: Vec<_> = chunks.iter().map(|chunk| Analyzer::new().passage(&chunk.title, &chunk.content, Language::French)).collect();
        let all: HashSet<&String> = analysed.iter().flat_map(|terms| &terms.word).collect();
        let counted = all.into_iter().map(|text| (analysed.iter().filter(|terms| terms.word.contains(text)).count() as u64, text.clone()));
        let folded = dyag_text::near_duplicates::fold(&word);
        prop_assert_eq!(index.similar_words(&folded).expect("words"), crate::similar::among(&folded, counted));
    }
}

#[test]
fn of_many_equal_passages_the_first_ids_are_given() {
    let root = tempfile::tempdir().expect("a folder");
    let texts = ["lune mer terre soleil", "soleil terre mer lune", "mer lune soleil terre"];
    let mut chunks: Vec<Chunk> = (0..900).map(|n| chunk(&format!("p{n:03}"), "lune", texts[n % 3])).collect();
    chunks.push(chunk("z", "lune", "lune lune lune mer terre soleil"));
    build(root.path(), chunks, None, IndexOptions::default()).expect("indexed");
    let store = LocalStore::open(root.path(), "apps", device()).expect("a store");
    for question in ["lune mer terre soleil", "soleil lune", "terre"] {
        let terms = Analyzer::new().question(question, &[Language::French]);
        let found = store.lexical(&LexicalQuery { terms }, 10, &Filter::default()).expect("found");
        let equal: Vec<&str> = found.iter().map(|hit| hit.id.as_str()).filter(|id| *id != "z").collect();
        let first: Vec<String> = (0..equal.len()).map(|n| format!("p{n:03}")).collect();
        assert_eq!(equal, first, "{question}");
    }
}

#[test]
fn several_segments_become_one_in_order() {
    let root = tempfile::tempdir().expect("a folder");
    let chunks: Vec<Chunk> = (0..5_000).map(|n| chunk(&format!("p{n:05}"), "t", &format!("mot{n}"))).collect();
    let languages = vec![Some(Language::French); chunks.len()];
    let path = root.path().join("index");
    lexical::write(&path, 700, &Analyzer::new(), &chunks, &languages, Language::French, &mut |_| Ok(())).expect("written");
    let index = lexical::Lexical::open(&path, chunks.len()).expect("an index in order");
    for n in [0, 1, 699, 700, 2_499, 4_999] {
        let terms = vec![QueryTerm { field: Field::Word, text: format!("mot{n}"), weight: 1.0 }];
        let found = index.search(&LexicalQuery { terms }, 3, &Filter::default()).expect("found");
        assert_eq!(found.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [n]);
    }
    assert!(lexical::Lexical::open(&path, 4_999).is_err());
}
