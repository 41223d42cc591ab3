//! Words, identifiers, stems and languages.

use dyag_text::chunk::Chunk;

use super::{Analyzer, Field, Language, content_hash, fingerprint};

fn words(text: &str) -> Vec<String> {
    Analyzer::new().passage("", text, Language::French).word
}

#[test]
fn identifiers_versions_and_paths_are_whole_and_in_parts() {
    assert_eq!(words("version v2.4.1,"), ["version", "v2", "4", "1", "v2.4.1"]);
    assert_eq!(words("(SI-0042)"), ["0042", "si-0042"]);
    assert_eq!(words("« /etc/apt/sources.list »."), ["etc", "apt", "sources", "list", "etc/apt/sources.list"]);
    assert_eq!(words("écrire à x.y@z.fr !"), ["ecrire", "x", "z", "fr", "x.y@z.fr"]);
}

#[test]
fn accents_case_and_elision_make_no_difference() {
    assert_eq!(words("L'Éco-activité"), words("l’ECO-ACTIVITE"));
    assert_eq!(words("d'ADES"), ["ades"]);
    assert_eq!(words("œuvre"), words("oeuvre"));
}

#[test]
fn forms_of_a_word_meet_in_their_stem() {
    let analyzer = Analyzer::new();
    let stem = |text: &str, language| analyzer.passage("", text, language).stem;
    assert_eq!(stem("déclarations", Language::French), stem("declaration", Language::French));
    for words in ["créé créée créés créées", "dématérialisé dématérialisées dématérialisation", "hébergé hébergées hébergement"]
    {
        let stems: Vec<String> = words.split(' ').flat_map(|word| stem(word, Language::French)).collect();
        assert!(stems.iter().all(|one| *one == stems[0]), "{words}: {stems:?}");
    }
    assert_eq!(stem("gestionnaires", Language::French), stem("gestionnaire", Language::French));
    assert_eq!(stem("libraries", Language::English), stem("library", Language::English));
}

#[test]
fn a_question_of_stop_words_alone_still_asks() {
    let analyzer = Analyzer::new();
    let french = [Language::French];
    assert_eq!(analyzer.question_words("Quel est le statut de GIDAF ?", &french), ["statut", "gidaf"]);
    assert_eq!(analyzer.question_words("Qui est-ce ?", &french), ["qui", "est", "ce"]);
    assert!(analyzer.question("?!", &french).is_empty());
}

#[test]
fn a_question_has_each_term_once_and_stems_of_every_language() {
    let analyzer = Analyzer::new();
    let terms = analyzer.question("statuts statuts", &[Language::French, Language::English]);
    for field in Field::ALL {
        let mut of_field: Vec<&str> = terms.iter().filter(|term| term.field == field).map(|term| term.text.as_str()).collect();
        let n = of_field.len();
        of_field.dedup();
        assert_eq!(of_field.len(), n, "{field:?}");
    }
    assert!(terms.iter().any(|term| term.field == Field::Word && term.text == "statuts"));
}

#[test]
fn languages_are_told_apart_and_unknown_ones_are_none() {
    let analyzer = Analyzer::new();
    assert_eq!(analyzer.language("Le statut de l'application est dans la fiche."), Some(Language::French));
    assert_eq!(analyzer.language("The status of the application is in its record."), Some(Language::English));
    assert_eq!(analyzer.language("GIDAF 1238"), None);
}

#[test]
fn hashes_tell_what_changed() {
    let chunk = |title: &str, content: &str, kind: &str| Chunk {
        id: "1".into(),
        source_id: "s".into(),
        title: title.into(),
        content: content.into(),
        metadata: serde_json::Map::new(),
        chunk_type: kind.into(),
    };
    let (a, b) = (chunk("t", "c", "x"), chunk("t", "c", "y"));
    assert_eq!(fingerprint(&a), fingerprint(&b), "the kind is not embedded");
    assert_ne!(content_hash(&a), content_hash(&b));
    assert_ne!(fingerprint(&a), fingerprint(&chunk("t", "c.", "x")));
}
