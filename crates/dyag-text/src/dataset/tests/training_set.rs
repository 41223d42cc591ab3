//! What a training set is said to teach.

use super::*;

fn set(rows: &[serde_json::Value]) -> TrainingSet {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train.jsonl");
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(&path, text).expect("written");
    TrainingSet::read(&path).expect("a training set")
}

fn example(question: &str, answer: &str) -> serde_json::Value {
    serde_json::json!({ "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": question}, {"role": "assistant", "content": answer}] })
}

fn about(mut row: serde_json::Value, document: &str, field: &str) -> serde_json::Value {
    row["document"] = document.into();
    row["field"] = field.into();
    row["category"] = field.into();
    row
}

fn asked<'a>(question: &'a str, expected: &'a str) -> AskedQuestion<'a> {
    AskedQuestion { question, expected_answer: Some(expected), ..AskedQuestion::default() }
}

fn kind(teaching: &Teaching) -> &'static str {
    match teaching {
        Teaching::Leaked { .. } => "leaked",
        Teaching::OtherWording { .. } => "other wording",
        Teaching::Never => "never",
        Teaching::Unknown => "unknown",
    }
}

#[test]
fn rows_that_name_document_and_field() {
    let set = set(&[
        about(example("Quel est le statut de 6Tzen ?", "En production"), "1238", "status"),
        about(example("Quel est le statut de ADES ?", "En production"), "383", "status"),
        about(example("Qui est responsable de 6Tzen ?", "Mme Martin"), "1238", "contact"),
    ]);
    let on = |question, expected, document, field| {
        kind(&set.teaching(&AskedQuestion { document: Some(document), field: Some(field), ..asked(question, expected) }))
    };
    assert_eq!(on("quel est le statut de 6tzen", "En production", "1238", "status"), "leaked");
    assert_eq!(on("6Tzen est-elle encore utilisée ?", "En production", "1238", "status"), "other wording");
    assert_eq!(on("Où en est 6Tzen ?", "Retirée", "1238", "status"), "other wording", "a field is taught, whatever the answer");
    assert_eq!(on("Quel est le statut de ACAI ?", "En production", "77", "status"), "never", "the same answer of another document");
    assert_eq!(on("Qui est responsable de ADES ?", "M. Petit", "383", "contact"), "never");
    // Kinds alone hold several facts: the answers tell them apart.
    let by_kind = |question, expected| {
        kind(&set.teaching(&AskedQuestion { document: Some("1238"), category: Some("contact"), ..asked(question, expected) }))
    };
    assert_eq!(by_kind("Qui s'occupe de 6Tzen ?", "Mme Martin"), "other wording");
    assert_eq!(by_kind("Quel est le courriel du support ?", "aide@example.org"), "never");
}

#[test]
fn rows_that_say_nothing_of_themselves() {
    let set =
        set(&[example("L'application 6Tzen est-elle en production ?", "En production"), example("À quoi sert ADES ?", "Suivi des eaux")]);
    assert_eq!(kind(&set.teaching(&asked("Quel est le statut de 6Tzen ?", "en production."))), "other wording");
    assert_eq!(kind(&set.teaching(&asked("Quel est le statut de ADES ?", "En production"))), "never");
    assert_eq!(kind(&set.teaching(&asked("Quel est l'objectif de ADES ?", "Suivi des eaux"))), "other wording");
    assert_eq!(kind(&set.teaching(&asked("À quoi sert ADES ?", "Autre chose"))), "leaked", "answers do not matter for a leak");
    let unknown = AskedQuestion { question: "Et pourquoi ?", ..AskedQuestion::default() };
    assert_eq!(kind(&set.teaching(&unknown)), "unknown");
    let Teaching::OtherWording { source, question } = set.teaching(&asked("Quel est le statut de 6Tzen ?", "En production")) else {
        panic!("another wording")
    };
    assert_eq!((source.line, question.as_str()), (1, "L'application 6Tzen est-elle en production ?"));
}

#[test]
fn placeholders_teach_nothing_and_an_empty_set_is_an_error() {
    let mut hidden = example("Quel est le statut de 6Tzen ?", "TODO");
    hidden["placeholder"] = true.into();
    let set = set(&[hidden.clone(), example("a B ?", "b")]);
    assert_eq!((set.n_rows, set.sha256.len()), (1, 64));
    assert_eq!(kind(&set.teaching(&asked("Quel est le statut de 6Tzen ?", "TODO"))), "never");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("empty.jsonl");
    for text in [String::new(), format!("{hidden}\n")] {
        std::fs::write(&path, text).expect("written");
        assert!(TrainingSet::read(&path).is_err());
    }
}
