//! Any file of a generation damaged at any place: an error, or answers, never a panic.

use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::*;
use crate::indexing::IndexOptions;
use crate::retriever::{Ranking, Retriever, SearchOptions};
use crate::testing::{Words, chunk, device, some_chunks};

/// Changes of each file.
const CHANGES: usize = 40;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// The bytes with a part of them inverted, zeroed, left out, said twice, or with the largest number in it.
fn damaged(bytes: &[u8], mut random: impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = random(bytes.len());
    let end = (at + 1 + random(9)).min(bytes.len());
    match random(5) {
        0 => changed[at..end].iter_mut().for_each(|byte| *byte ^= 0xff),
        1 => changed[at..end].fill(0),
        2 => drop(changed.drain(at..end)),
        3 => changed.splice(at..at, bytes[at..end].iter().copied()).for_each(drop),
        _ => changed[at..end].fill(0xff),
    }
    changed
}

/// Everything that reads: what is found, passages, words like others, all passages, their check.
fn read_all(root: &Path, embedder: &Words) -> Result<(), RetrievalError> {
    let store = LocalStore::open(root, "apps", device())?;
    let retriever = Retriever::new(&store, Some(embedder), None)?;
    for (question, ranking) in [("statut du dossier 3", Ranking::Fused), ("statu de GIDFA", Ranking::Lexical), ("contact", Ranking::Vector)]
    {
        retriever.search(question, &SearchOptions { ranking, ..SearchOptions::default() })?;
    }
    let filter = Filter::parse(&["chunk_type=main".to_owned()]).expect("a filter");
    retriever.search("dossier", &SearchOptions { filter, ..SearchOptions::default() })?;
    store.each_chunk(&mut |_| Ok(()))?;
    store.verify()
}

#[test]
fn of_a_large_lexical_index_lengths_are_compared_and_verify_reads_all() {
    let root = tempfile::tempdir().expect("a folder");
    let options = IndexOptions { created_at: "2026-01-01T00:00:00Z".into(), ..IndexOptions::default() };
    index(root.path(), "apps", some_chunks(), None, &options, &mut |_| ControlFlow::Continue(())).expect("indexed");
    let generation = root.path().join("apps/generation-000001");
    let manifest = || serde_json::from_slice(&fs::read(generation.join("collection.json")).expect("read")).expect("a manifest");
    let mut found = Vec::new();
    files(&generation.join("lexical"), &mut found);
    let path = found.iter().find(|path| path.extension().is_some_and(|end| end == "term")).expect("terms");
    let bytes = fs::read(path).expect("bytes");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0xff;
    for (content, seen_by_length) in [(&bytes[..bytes.len() - 1], true), (&flipped[..], false)] {
        fs::remove_file(path).expect("removed");
        fs::write(path, content).expect("damaged");
        assert_eq!(generation::check_lexical(&generation, &manifest(), 0).is_err(), seen_by_length);
        assert!(verify(root.path(), "apps").is_err());
        assert!(index(root.path(), "apps", some_chunks(), None, &options, &mut |_| ControlFlow::Continue(())).is_err());
    }
    // Made again, whatever is there.
    let rebuild = IndexOptions { rebuild: true, ..options };
    index(root.path(), "apps", some_chunks(), None, &rebuild, &mut |_| ControlFlow::Continue(())).expect("made again");
    verify(root.path(), "apps").expect("as written");
}

#[test]
fn damage_anywhere_is_an_error_or_harmless() {
    let root = tempfile::tempdir().expect("a folder");
    let embedder = Words::new();
    let mut chunks = some_chunks();
    chunks.extend((0..200).map(|n| chunk(&format!("m{n}"), &format!("Note {n}"), &format!("statut {} du dossier {}", n % 7, n % 11))));
    let options = IndexOptions { created_at: "2026-01-01T00:00:00Z".into(), approximate_from: Some(100), ..IndexOptions::default() };
    index(root.path(), "apps", chunks, Some(&embedder), &options, &mut |_| ControlFlow::Continue(())).expect("indexed");
    read_all(root.path(), &embedder).expect("whole");
    let mut found = Vec::new();
    files(&root.path().join("apps"), &mut found);
    assert!(found.len() > 8, "{found:?}");
    let (mut state, mut panics, mut refused) = (1u64, Vec::new(), 0);
    for path in found {
        let bytes = fs::read(&path).expect("bytes");
        for change in 0..if bytes.is_empty() { 0 } else { CHANGES } {
            let changed = damaged(&bytes, |below| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as usize % below
            });
            // A reader may have the file mapped: another takes its place.
            fs::remove_file(&path).expect("removed");
            fs::write(&path, changed).expect("damaged");
            match catch_unwind(AssertUnwindSafe(|| read_all(root.path(), &embedder))) {
                Ok(outcome) => refused += usize::from(outcome.is_err()),
                Err(_) => panics.push(format!("{} change {change}", path.display())),
            }
        }
        fs::remove_file(&path).expect("removed");
        fs::write(&path, &bytes).expect("mended");
    }
    assert!(panics.is_empty(), "{} panics, {refused} refusals: {panics:#?}", panics.len());
    assert!(refused > 100, "{refused}");
    read_all(root.path(), &embedder).expect("whole again");
}
