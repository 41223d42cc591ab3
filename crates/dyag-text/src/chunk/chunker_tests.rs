use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::chunk::Characters;
use crate::document::Format;

const SECTIONS: ChunkOptions = ChunkOptions { by: Division::Section, size: 1800, overlap: 0 };

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn markdown(name: &str, text: &str) -> Document {
    Document::parse(text.as_bytes(), Format::Markdown, name, name, None).expect("Markdown")
}

fn plain(text: &str) -> Document {
    Document::parse(text.as_bytes(), Format::Text, "t.txt", "t.txt", None).expect("text")
}

fn chunks(document: &Document, options: ChunkOptions) -> Vec<Chunk> {
    Chunker::new(options, &Characters).expect("options").add(document)
}

fn fixture(name: &str) -> Document {
    Document::read(&root().join(name), Path::new(name).file_name().expect("a name").to_str().expect("UTF-8"), None).expect("the fixture")
}

#[test]
fn a_json_catalogue_has_the_chunks_of_the_original() {
    let document = fixture("fixtures/apps10/catalogue.json");
    let made = chunks(&document, SECTIONS);
    let facts = std::fs::read_to_string(root().join("fixtures/apps10/catalogue_chunks.jsonl")).expect("the facts");
    let facts: Vec<Value> = facts.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((made.len(), facts.len()), (33, 33));
    for (chunk, fact) in made.iter().zip(&facts) {
        let told = [&chunk.id, &chunk.source_id, &chunk.chunk_type, &chunk.title];
        assert_eq!(told.map(String::as_str), ["id", "source_id", "chunk_type", "title"].map(|key| fact[key].as_str().expect("a text")));
    }
    // Every value of the source is in a chunk of its application.
    let Content::Catalogue(records) = &document.content else { panic!("a catalogue") };
    for record in records {
        let of_it =
            made.iter().filter(|chunk| chunk.source_id == record.id).map(|chunk| chunk.content.as_str()).collect::<Vec<_>>().join("\n");
        let mut open: Vec<&Value> = record.fields.values().collect();
        while let Some(value) = open.pop() {
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(object) => open.extend(object.values()),
                scalar => {
                    let text = crate::document::record::scalar(scalar).expect("a scalar");
                    assert!(of_it.contains(&text), "{} lost {text}", record.name);
                }
            }
        }
    }
    for chunk in &made {
        let text = |key: &str| chunk.metadata.get(key).and_then(Value::as_str).map(str::len);
        assert!(text("app_id").is_some() && text("app_name").is_some() && text("app_state").is_some(), "{chunk:?}");
        assert!(chunk.metadata.values().all(|value| value.as_str().is_none_or(|text| text.chars().count() <= 200)), "{chunk:?}");
    }
    assert_eq!(
        made[0].content,
        "# 6Tzen\n**ID**: 1238\n**Nom complet**: Outil national de dématérialisation des démarches des transports routiers\n**Statut**: En production\n**Portée géographique**: Nationale"
    );
    assert_eq!(
        made[2].content,
        "# 6Tzen - Informations techniques\n## Domaines métier\n- Domaine: Transports routiers\n## Événements\n- Mise en production: 10/02/2020\n## Acteurs\n- MOA: SG/DNUM/MSP/DS/GED"
    );
    assert_eq!(made[0].metadata["portee geographique"], "Nationale");
}

const APPLICATIONS: [(&str, &str, &str); 10] = [
    ("1238", "6Tzen", "En production"),
    ("1081", "8 SINP", "En construction"),
    ("231", "ACAPE", "En production"),
    ("1239", "Acceslibre", "En production"),
    ("1261", "Access'cité", "En production"),
    ("1147", "Action Cœur de Ville", "En production"),
    ("233", "Activités environnementales (éco-activités)", "En production"),
    ("919", "Adapt.sh", "En production"),
    ("228", "ADAU", "En production"),
    ("1", "ADES", "En production"),
];

#[test]
fn every_application_of_a_markdown_catalogue_is_named_in_all_its_chunks() {
    for name in ["examples/apps10/applications.md", "fixtures/apps10/application_headings.md"] {
        for (by, size) in [(Division::Section, 1800), (Division::Section, 400), (Division::Size, 700)] {
            let document = fixture(name);
            let made = chunks(&document, ChunkOptions { by, size, overlap: 50 });
            let mut sources: Vec<&str> = made.iter().map(|chunk| chunk.source_id.as_str()).collect();
            sources.dedup();
            assert_eq!(sources, APPLICATIONS.map(|(id, _, _)| id), "{name}");
            for (id, app_name, state) in APPLICATIONS {
                let of_it: Vec<&Chunk> = made.iter().filter(|chunk| chunk.source_id == id).collect();
                for (index, chunk) in of_it.iter().enumerate() {
                    assert_eq!(chunk.metadata["app_id"], id);
                    assert_eq!(chunk.metadata["app_name"], app_name);
                    assert_eq!(chunk.metadata["app_state"], state);
                    assert!(chunk.content.contains(app_name), "{chunk:?}");
                    let others = APPLICATIONS.iter().filter(|(other, _, _)| *other != id);
                    assert!(!others.into_iter().any(|(_, other, _)| chunk.content.contains(&format!("# {other}\n"))), "{chunk:?}");
                    let chunk_type = if index == 0 { "main" } else { "details" };
                    assert_eq!((chunk.chunk_type.as_str(), &chunk.id), (chunk_type, &chunk_id(id, chunk_type, index)));
                }
                for fact in [app_name, id, state] {
                    assert!(of_it[0].content.contains(fact), "the main chunk does not say {fact}: {:?}", of_it[0]);
                }
            }
        }
    }
}

#[test]
fn the_main_chunk_and_the_details() {
    let made = chunks(&fixture("examples/apps10/applications.md"), SECTIONS);
    let of_first: Vec<&Chunk> = made.iter().filter(|chunk| chunk.source_id == "1238").collect();
    let titles: Vec<&str> = of_first.iter().map(|chunk| chunk.title.as_str()).collect();
    assert_eq!(titles, ["6Tzen - Informations principales", "6Tzen - Détails 1 (Description)", "6Tzen - Détails 2"]);
    assert!(of_first[1].content.starts_with("# 6Tzen\n## Description\nLa dématérialisation"), "{}", of_first[1].content);
    assert!(
        of_first[2].content.starts_with("# 6Tzen\n## Domaines métier\n- Transports routiers\n\n## Sites web\n"),
        "{}",
        of_first[2].content
    );
    assert_eq!(of_first[1].metadata["path"], serde_json::json!(["6Tzen", "Description"]));
    assert_eq!(made.iter().find(|chunk| chunk.source_id == "1081").map(|chunk| chunk.id.as_str()), Some("5ab2e6c23f788c89"));
}

#[test]
fn sections_keep_the_titles_above_them() {
    let long = "Une phrase. ".repeat(40);
    let text = format!("# Guide\n\nIntro\n\n## A\n\n### A1\n\n{long}\n\n### A2\n\npetit\n\n### A3\n\npetit aussi\n\n## Seul\n");
    let made = chunks(&markdown("g/guide.md", &text), ChunkOptions { size: 600, ..SECTIONS });
    let shown: Vec<(&str, &str)> = made.iter().map(|chunk| (chunk.title.as_str(), chunk.content.as_str())).collect();
    let long = long.trim_end();
    assert_eq!(
        shown,
        [
            ("Guide", "# Guide\nIntro"),
            ("Guide - A > A1", format!("# Guide\n## A\n### A1\n{long}").as_str()),
            ("Guide - A", "# Guide\n## A\n### A2\npetit\n\n### A3\npetit aussi\n\n## Seul"),
        ]
    );
    assert!(made.iter().enumerate().all(|(index, chunk)| chunk.id == chunk_id("g/guide.md", "section", index)));
}

#[test]
fn a_long_paragraph_is_cut_at_sentences() {
    let text: String = (0..100).map(|n| format!("Voici la phrase numéro {n} de M. Durand, qui est assez longue. ")).collect();
    let made = chunks(&plain(&text), ChunkOptions { size: 1000, overlap: 0, ..SECTIONS });
    assert!(made.len() >= 6);
    let lengths: Vec<usize> = made.iter().map(|chunk| chunk.content.chars().count()).collect();
    for chunk in &made {
        assert!(
            chunk.content.chars().count() <= 1000 && chunk.content.starts_with("Voici") && chunk.content.ends_with("longue."),
            "{chunk:?}"
        );
    }
    let (least, most) = (lengths.iter().min().expect("some"), lengths.iter().max().expect("some"));
    assert!(least * 10 >= most * 6, "about the same length each: {lengths:?}");
    assert_eq!(made[0].title, format!("t (1/{})", made.len()));
}

#[test]
fn an_overlap_is_the_end_of_the_chunk_before() {
    let text: String = (0..400).map(|n| format!("mot{n} ")).collect();
    for by in [Division::Section, Division::Size] {
        let made = chunks(&plain(&text), ChunkOptions { by, size: 300, overlap: 60 });
        assert!(made.len() > 5);
        for pair in made.windows(2) {
            let first = pair[1].content.split_whitespace().next().expect("a word");
            let at =
                pair[0].content.find(&format!("{first} ")).or_else(|| pair[0].content.strip_suffix(first).map(str::len)).expect("repeated");
            let repeated = &pair[0].content[at..];
            assert!(pair[1].content.starts_with(repeated) && repeated.len() <= 60 && repeated.len() > 40, "{pair:?}");
        }
    }
}

#[test]
fn tables_repeat_their_header() {
    let rows: String = (0..40).map(|n| format!("| ligne {n} | une valeur {n} |\n")).collect();
    let made =
        chunks(&markdown("t.md", &format!("# T\n\n| a | b |\n|---|---|\n{rows}")), ChunkOptions { size: 400, overlap: 40, ..SECTIONS });
    assert!(made.len() > 2);
    for chunk in &made {
        assert!(chunk.content.starts_with("# T\n| a | b |\n|---|---|\n| ligne "), "{}", chunk.content);
        assert!(
            chunk.content.lines().all(|line| line.starts_with('#') || (line.starts_with('|') && line.ends_with('|'))),
            "{}",
            chunk.content
        );
        assert!(chunk.content.chars().count() <= 400);
    }
    let all = made.iter().map(|chunk| chunk.content.as_str()).collect::<Vec<_>>().join("\n");
    assert!((0..40).all(|n| all.matches(&format!("| ligne {n} |")).count() == 1));
}

#[test]
fn code_stays_whole_until_it_is_very_long() {
    let code = |n: usize| format!("# C\n\nAvant.\n\n```rust\n{}```\n\nAprès.\n", "let valeur = 12345;\n".repeat(n));
    let options = ChunkOptions { size: 200, ..SECTIONS };
    let made = chunks(&markdown("c.md", &code(30)), options);
    assert!(made.iter().any(|chunk| chunk.content.matches("let valeur").count() == 30), "{made:?}");
    let made = chunks(&markdown("c.md", &code(100)), options);
    assert_eq!(made.iter().map(|chunk| chunk.content.matches("let valeur = 12345;").count()).sum::<usize>(), 100);
    for chunk in &made {
        assert_eq!(chunk.content.matches("```").count() % 2, 0, "{}", chunk.content);
        assert!(chunk.content.chars().count() <= 200, "{}", chunk.content);
    }
}

#[test]
fn rows_of_a_table_of_names_are_entries() {
    let text = format!("id;nom;statut;note\n7;Un;Actif;{}\n8;Deux;;x\n", "long ".repeat(600));
    let document = Document::parse(text.as_bytes(), Format::Csv, "a.csv", "a.csv", None).expect("CSV");
    let made = chunks(&document, SECTIONS);
    assert_eq!(made.len(), 2);
    assert!(made[0].content.starts_with("# Un\n**id**: 7\n**nom**: Un\n**statut**: Actif\n**note**: long long"));
    assert_eq!((made[0].id.as_str(), &made[0].metadata["app_state"]), (chunk_id("7", "record", 0).as_str(), &Value::from("Actif")));
    assert!(made[0].metadata.get("note").is_none());
}

#[test]
fn one_application_in_two_documents_is_numbered_on() {
    let text = "# A\n\n**ID:** 1\n\n# B\n\n**ID:** 2\n";
    let mut chunker = Chunker::new(SECTIONS, &Characters).expect("options");
    let mut made = chunker.add(&markdown("a.md", text));
    made.extend(chunker.add(&markdown("b.md", text)));
    let ids: HashSet<&str> = made.iter().map(|chunk| chunk.id.as_str()).collect();
    assert_eq!(ids.len(), made.len());
    assert_eq!(made[2].id, chunk_id("1", "main", 1));
    let again = Repeated { id: "1".to_owned(), first: "a.md".to_owned(), again: "b.md".to_owned() };
    assert_eq!(chunker.repeated()[0], again);
}

#[test]
fn options_that_contradict_each_other() {
    let options = |size, overlap| Chunker::new(ChunkOptions { by: Division::Size, size, overlap }, &Characters).map(|_| ());
    assert_eq!(options(0, 0), Err(ChunkOptionsError::NoSize));
    assert_eq!(options(100, 50), Err(ChunkOptionsError::Overlap { size: 100, overlap: 50 }));
    assert_eq!(options(1, 0), Ok(()));
}

/// Words, sentences, lists, blank lines.
fn prose() -> impl Strategy<Value = String> {
    let word = prop_oneof![8 => "[a-zéA-Z]{1,12}", 2 => "[a-z]{1,6}[.!?,]", 1 => "- ", 1 => "\n\n", 1 => "[0-9]{1,3}", 1 => "\n- "];
    proptest::collection::vec((word, prop_oneof![8 => Just(" "), 1 => Just("\n"), 1 => Just("   ")]), 1..300)
        .prop_map(|words| words.into_iter().map(|(word, space)| format!("{word}{space}")).collect())
}

/// Any lines of Markdown.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "[a-zé ]{0,80}", 1 => "#{1,4} [a-zA-Z]{1,9}", 1 => Just("```".to_owned()), 2 => "\\| [a-z]{1,9} \\| [a-z]{1,9} \\|",
        1 => Just("|---|---|".to_owned()), 1 => "- [a-z ]{1,30}", 1 => "\\*\\*ID:\\*\\* [0-9]{1,3}", 1 => "    [a-z# :]{1,20}", 1 => "[<>&\\[\\]()!`*_~:-]{1,9}",
    ];
    proptest::collection::vec(line, 0..60).prop_map(|lines| lines.join("\n"))
}

fn options() -> impl Strategy<Value = ChunkOptions> {
    (any::<bool>(), 30usize..600, 0usize..3).prop_map(|(by_size, size, overlap)| ChunkOptions {
        by: if by_size { Division::Size } else { Division::Section },
        size,
        overlap: overlap * size / 6,
    })
}

proptest! {
    #[test]
    fn no_text_is_lost_and_no_word_cut(text in prose(), options in options()) {
        prop_assume!(!text.trim().is_empty());
        let options = ChunkOptions { overlap: 0, ..options };
        let made = chunks(&plain(&text), options);
        let words: Vec<&str> = text.split_whitespace().collect();
        let in_chunks: Vec<&str> = made.iter().flat_map(|chunk| chunk.content.split_whitespace()).collect();
        prop_assert_eq!(words, in_chunks);
        prop_assert!(made.iter().all(|chunk| chunk.content.chars().count() <= options.size));
    }

    #[test]
    fn with_overlaps_too_no_chunk_is_too_long(text in prose(), options in options()) {
        prop_assume!(!text.trim().is_empty());
        let made = chunks(&plain(&text), options);
        prop_assert!(made.iter().all(|chunk| chunk.content.chars().count() <= options.size));
        prop_assert_eq!(&made, &chunks(&plain(&text), options));
    }

    #[test]
    fn markdown_of_any_kind(text in lines(), options in options()) {
        let Ok(document) = Document::parse(text.as_bytes(), Format::Markdown, "a.md", "a.md", None) else { return Ok(()) };
        let made = chunks(&document, options);
        prop_assert!(!made.is_empty());
        let ids: HashSet<&str> = made.iter().map(|chunk| chunk.id.as_str()).collect();
        prop_assert_eq!(ids.len(), made.len());
        // Every word of every block is in some chunk.
        let Content::Outline(outline) = &document.content else { return Ok(()) };
        let all: HashSet<&str> = made.iter().flat_map(|chunk| chunk.content.split_whitespace()).collect();
        for block in outline.sections.iter().flat_map(|section| &section.blocks) {
            for word in block.text.split_whitespace() {
                prop_assert!(all.contains(word), "{} is lost: {:?}", word, made);
            }
        }
    }
}
