//! What `dyag chunk` makes of documents, and what it says of those it cannot read.

mod common;

use std::fs;

use common::{Outcome, Place, root};
use serde_json::Value;

fn place() -> Place {
    let place = Place::new();
    for (name, from) in [
        ("docs/applications.md", "examples/apps10/applications.md"),
        ("catalogue.json", "fixtures/apps10/catalogue.json"),
        ("headings.md", "fixtures/apps10/application_headings.md"),
    ] {
        place.write(name, fs::read(root().join(from)).expect("the fixture"));
    }
    place
}

fn chunk(place: &Place, arguments: &[&str]) -> Outcome {
    place.run(&[["chunk", "--output", "chunks.jsonl"].as_slice(), arguments].concat())
}

fn chunks(place: &Place) -> Vec<Value> {
    place.read("chunks.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs a command that must be refused: exit status 2, every fragment on stderr, nothing written.
fn refused(place: &Place, arguments: &[&str], fragments: &[&str]) {
    let outcome = chunk(place, arguments);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome}");
    assert!(outcome.stderr.contains("error: ") && !outcome.stderr.contains("panicked"), "{outcome}");
    for fragment in fragments {
        assert!(outcome.stderr.contains(fragment), "{arguments:?} does not say {fragment:?}:\n{outcome}");
    }
    assert!(!place.path("chunks.jsonl").exists(), "{arguments:?} wrote chunks");
}

#[test]
fn a_json_catalogue() {
    let place = place();
    let outcome = chunk(&place, &["catalogue.json"]);
    insta::assert_snapshot!(outcome, @r"
    exit status 0
    --- stdout
    1 document: 33 chunks of 48 to 1587 characters (median 144), written to chunks.jsonl
    ");
    let chunks = chunks(&place);
    assert_eq!(chunks[0]["id"], "555671c28432d025");
    assert_eq!(chunks[0]["metadata"]["app_name"], "6Tzen");
    let first = place.read("chunks.jsonl");
    assert_eq!(chunk(&place, &["catalogue.json"]).code, Some(0));
    assert_eq!(place.read("chunks.jsonl"), first, "the same documents give the same chunks");
}

#[test]
fn a_folder_of_many_formats() {
    let place = place();
    place.write("docs/notes/a.txt", "Une note.\n\nDeux notes.");
    place.write("docs/page.html", "<html><head><title>Page</title></head><body><h1>Page</h1><p>Un texte &eacute;crit.</p></body></html>");
    place.write("docs/parc.csv", "Code;Nom;Statut\n12;Un;Actif\n13;Deux;\n");
    place.write("docs/image.png", [0x89, b'P', b'N', b'G']);
    place.write("docs/vide.md", "");
    place.write("docs/.caché/x.md", "caché");
    let outcome = chunk(&place, &["docs", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("skipped: docs/image.png: its format is not known"), "{outcome}");
    assert!(outcome.stderr.contains("skipped: docs/vide.md: the file is empty"), "{outcome}");
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let chunks = chunks(&place);
    assert_eq!((&report["documents"], &report["chunks"]), (&Value::from(4), &Value::from(chunks.len())));
    assert_eq!((report["skipped"].as_array().map(Vec::len), &report["unit"]), (Some(2), &Value::from("characters")));
    let (min, max) = (report["sizes"]["min"].as_u64().expect("a number"), report["sizes"]["max"].as_u64().expect("a number"));
    assert!(min > 0 && max <= 1800, "{report}");
    let sources: Vec<&str> = chunks.iter().map(|chunk| chunk["source_id"].as_str().expect("a text")).collect();
    for source in ["1238", "1", "notes/a.txt", "page.html", "12"] {
        assert!(sources.contains(&source), "{source} is not among {sources:?}");
    }
    // A document keeps its ids, whatever is beside it.
    let note = chunks.iter().find(|chunk| chunk["source_id"] == "notes/a.txt").cloned();
    fs::remove_file(place.path("docs/page.html")).expect("removed");
    assert_eq!(chunk(&place, &["docs"]).code, Some(0));
    assert_eq!(self::chunks(&place).into_iter().find(|chunk| chunk["source_id"] == "notes/a.txt"), note);
}

#[test]
fn sizes_and_overlaps() {
    let place = Place::new();
    let words: Vec<String> = (0..500).map(|n| format!("mot{n}")).collect();
    place.write("long.txt", words.join(" "));
    let outcome = chunk(&place, &["long.txt", "--by", "size", "--size", "200", "--overlap", "40"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let chunks = chunks(&place);
    assert!(chunks.len() > 20);
    for pair in chunks.windows(2) {
        let content = |chunk: &Value| chunk["content"].as_str().expect("a text").to_owned();
        let (before, after) = (content(&pair[0]), content(&pair[1]));
        let first = after.split(' ').next().expect("a word");
        assert!(after.chars().count() <= 200 && before.split(' ').any(|word| word == first), "{before} / {after}");
    }
    refused(&Place::new(), &["x.txt", "--size", "10", "--overlap", "9"], &["--overlap", "found 9"]);
}

#[test]
fn sizes_in_a_models_tokens() {
    let place = place();
    place.model();
    refused(&place, &["headings.md", "--unit", "tokens"], &["--base-model"]);
    let outcome = chunk(&place, &["headings.md", "--unit", "tokens", "--base-model", "model", "--size", "300", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(report["unit"], "tokens");
    assert!(report["sizes"]["max"].as_u64().is_some_and(|max| max <= 300 && max > 200), "{report}");
}

#[test]
fn one_application_in_two_files() {
    let place = place();
    let outcome = chunk(&place, &["docs", "headings.md"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("note: 10 ids occur more than once, such as 1238, in applications.md and in headings.md"), "{outcome}");
    let chunks = chunks(&place);
    let ids: std::collections::HashSet<&str> = chunks.iter().map(|chunk| chunk["id"].as_str().expect("a text")).collect();
    assert_eq!(ids.len(), chunks.len());
    place.write("a/lire.md", "un");
    place.write("b/lire.md", "deux");
    let outcome = chunk(&place, &["a", "b"]);
    assert!(outcome.stderr.contains("b/lire.md: another document is called lire.md too"), "{outcome}");
    let sources: Vec<Value> = self::chunks(&place).into_iter().map(|chunk| chunk["source_id"].clone()).collect();
    assert_eq!(sources, ["lire.md", "b/lire.md"]);
}

#[test]
fn files_that_cannot_be_read() {
    let place = place();
    refused(&place, &["absent.md"], &["absent.md", "No such file"]);
    place.write("vide.md", "");
    refused(&place, &["vide.md"], &["vide.md: the file is empty"]);
    place.write("autre.txt", b"caf\xE9");
    refused(&place, &["autre.txt"], &["autre.txt", "0xE9 at offset 3", "windows-1252", "--encoding"]);
    place.write("forme.json", "{\"a\": 1}");
    refused(&place, &["forme.json"], &["forme.json", "expected a list of objects", "found an object with the keys a"]);
    place.write("faux.json", "[\n{\"a\"");
    refused(&place, &["faux.json"], &["faux.json, line 2", "not JSON"]);
    place.write("coupé.docx", b"PK\x03\x04 rien");
    refused(&place, &["coupé.docx"], &["coupé.docx: not a readable DOCX file"]);
    place.write("page.pdf", "%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R >>\nendobj\ntrailer\n<< /Root 1 0 R /Size 4 >>\n%%EOF\n");
    refused(&place, &["page.pdf"], &["page.pdf: no text was found", "OCR"]);
    refused(&place, &["docs", "--encoding", "klingon"], &["klingon", "windows-1252"]);
    let outcome = place.run(&["chunk", "docs", "--output", "absent/chunks.jsonl"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("absent/chunks.jsonl"), "{outcome}");
}

#[test]
fn an_encoding_that_is_named() {
    let place = Place::new();
    place.write("autre.txt", b"caf\xE9");
    place.write("déjà.txt", "thé");
    assert_eq!(chunk(&place, &["autre.txt", "déjà.txt", "--encoding", "windows-1252"]).code, Some(0));
    let contents: Vec<Value> = chunks(&place).into_iter().map(|chunk| chunk["content"].clone()).collect();
    assert_eq!(contents, ["café", "thé"]);
}

#[test]
fn a_named_file_that_fails_does_not_stop_the_others() {
    let place = place();
    let outcome = chunk(&place, &["absent.md", "docs"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("error: absent.md") && outcome.stdout.contains("1 document"), "{outcome}");
    assert!(chunks(&place).len() >= 10);
}

#[test]
fn folders_in_which_nothing_is_found() {
    let place = Place::new();
    place.write("docs/image.png", "x");
    let outcome = chunk(&place, &["docs"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome}");
    assert!(outcome.stderr.contains("nothing was found to chunk in docs") && outcome.stderr.contains(".docx"), "{outcome}");
    assert!(!place.path("chunks.jsonl").exists());
}
