//! The question sets of examples/apps10/retrieval: every gold chunk is in the file of chunks that its key names, and every kind is what it is called.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use dyag_text::chunk::read_chunks;
use dyag_text::near_duplicates::fold;
use serde_json::Value;

const KINDS: [(&str, usize); 5] = [("named", 205), ("misspelt", 25), ("paraphrased", 25), ("nameless", 25), ("unanswerable", 20)];
const ROUTES: [(&str, &str); 2] = [("gold_chunk_ids", "chunks.jsonl"), ("gold_chunk_ids_markdown", "chunks_markdown.jsonl")];

fn apps10() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/apps10")
}

fn rows(kind: &str) -> Vec<Value> {
    let path = apps10().join("retrieval").join(format!("{kind}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("no {key} in {row}"))
}

#[test]
fn gold_chunks_are_in_the_files_they_belong_to() {
    for (key, name) in ROUTES {
        let chunks = read_chunks(&apps10().join(name)).expect("chunks");
        let sources: BTreeMap<&str, &str> = chunks.iter().map(|chunk| (chunk.id.as_str(), chunk.source_id.as_str())).collect();
        let mut n_gold = 0;
        for row in KINDS.iter().flat_map(|(kind, _)| rows(kind)) {
            for id in row[key].as_array().unwrap_or_else(|| panic!("no {key} in {row}")) {
                let source = sources.get(id.as_str().expect("an id"));
                assert_eq!(source, Some(&text(&row, "app_id")), "{name}: {row}");
                n_gold += 1;
            }
        }
        assert!(n_gold > 200, "{name}: {n_gold}");
    }
}

#[test]
fn every_kind_is_what_it_is_called() {
    let mut ids = BTreeSet::new();
    for (kind, at_least) in KINDS {
        let rows = rows(kind);
        assert!(rows.len() >= at_least, "{kind}: {}", rows.len());
        for row in &rows {
            assert_eq!(text(row, "kind"), kind);
            assert!(ids.insert(text(row, "id").to_owned()), "{row}");
            let gold = row["gold_chunk_ids"].as_array().expect("a list");
            match kind {
                "unanswerable" => assert!(gold.is_empty() && row.get("expected_answer").is_none(), "{row}"),
                "named" => assert!(!text(row, "expected_answer").is_empty()),
                _ => assert!(!gold.is_empty() && !text(row, "expected_answer").is_empty(), "{row}"),
            }
            let (question, name) = (format!(" {} ", fold(text(row, "question"))), row["app_name"].as_str().map(fold));
            let names_it = name.is_some_and(|name| question.contains(&format!(" {name} ")));
            assert!(kind != "nameless" || !names_it, "{row}");
            assert!(kind != "paraphrased" || names_it, "{row}");
        }
    }
}

#[test]
fn half_of_the_questions_about_debian_are_taught_in_other_words() {
    let read = |name: &str| -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/retrieval/debian").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    };
    let (questions, train) = (read("questions.jsonl"), read("train.jsonl"));
    assert!(questions.len() >= 150 && (300..=400).contains(&train.len()), "{} {}", questions.len(), train.len());
    let taught: Vec<&Value> = questions.iter().filter(|row| row["taught"] == true).collect();
    assert!(questions.len().abs_diff(2 * taught.len()) <= 5, "{} of {}", taught.len(), questions.len());
    let ids: BTreeSet<&str> = questions.iter().map(|row| text(row, "id")).collect();
    assert_eq!(ids.len(), questions.len());
    let sources = |row: &Value, key: &str| -> BTreeSet<String> {
        row[key].as_array().expect("a list").iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
    };
    let trained: BTreeMap<String, BTreeSet<String>> =
        train.iter().map(|row| (fold(text(&row["messages"][1], "content")), sources(row, "source_chunk_ids"))).collect();
    for row in &questions {
        let gold = sources(row, "gold_chunk_ids");
        assert!(!gold.is_empty() && gold.iter().all(|id| id.len() == 16 && id.bytes().all(|c| c.is_ascii_hexdigit())), "{row}");
        assert!(!trained.contains_key(&fold(text(row, "question"))), "asked in training: {row}");
        let teaches = trained.values().any(|sources| *sources == gold);
        assert!(row["taught"] == false || teaches, "not taught: {row}");
    }
}
