//! Which questions of two files are the same.

use serde_json::json;

use super::super::*;
use crate::near_duplicates::SAME_QUESTION;

fn rows(objects: &[Value]) -> Vec<Row> {
    let path: Arc<Path> = Arc::from(Path::new("d.jsonl"));
    let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let mut reader = RowReader::new(text.as_bytes(), &path, Purpose::Questions);
    std::iter::from_fn(|| reader.next_row().unwrap()).map(|read| read.strict().unwrap()).collect()
}

fn is_leak(a: &Value, b: &Value) -> bool {
    let leaks = |a, b| find_leaks(&rows(std::slice::from_ref(a)), &rows(std::slice::from_ref(b)), SAME_QUESTION).len();
    assert_eq!(leaks(a, b), leaks(b, a), "{a} {b}");
    leaks(a, b) > 0
}

fn about(question: &str, document: &str, field: &str) -> Value {
    json!({"question": question, "document": document, "field": field})
}

#[test]
fn questions_without_a_document_are_told_apart_by_their_names() {
    let question = |text: &str| json!({ "question": text });
    for (a, b, expected) in [
        ("Quel est le statut de 6Tzen ?", "quel est le statut de « 6 Tzen »", true),
        ("Quel est le statut de l'État ?", "Quel est le statut de l’etat", true),
        ("Quels est le statut de 6Tzen ?", "Quel est le statut de 6Tzen ?", true),
        ("Quel est le statut de 6Tzen ?", "L'application 6Tzen est-elle en production ?", false),
        ("Quelle est la date de mise en production de ADES ?", "Quelle est la date de mise en production de ADAU ?", false),
        ("Quel est le budget de la base en 2023 ?", "Quel est le budget de la base en 2024 ?", false),
    ] {
        assert_eq!(is_leak(&question(a), &question(b)), expected, "{a} | {b}");
    }
}

#[test]
fn documents_and_fields_decide_where_both_rows_have_them() {
    let question = "Quel est le statut ?";
    assert!(is_leak(&about(question, "ADES", "statut"), &about(question, "ades", "Statut")));
    assert!(!is_leak(&about(question, "ADES", "statut"), &about(question, "6Tzen", "statut")));
    assert!(!is_leak(&about(question, "ADES", "statut"), &about(question, "ADES", "domaine")));
    assert!(is_leak(&about(question, "ADES", "statut"), &json!({ "question": question })));
    let renamed = ("Quelle est la date de mise en production de ADES ?", "Quelle est la date de mise en production d'ADES EAUX ?");
    assert!(is_leak(&about(renamed.0, "1", "date"), &about(renamed.1, "1", "date")), "the same document under two names");
    let original = json!({"question": question, "app_id": 1238, "category": "status"});
    assert!(is_leak(&original, &json!({"question": question, "app_id": "1238", "category": "status"})));
    assert!(!is_leak(&original, &json!({"question": question, "app_id": "1", "category": "status"})));
}

#[test]
fn later_turns_that_stand_alone_are_compared() {
    let conversation = |first: &str, second: &str| {
        json!({"messages": [
            {"role": "user", "content": first}, {"role": "assistant", "content": "r"}, {"role": "user", "content": second},
        ]})
    };
    let a = conversation("Bonjour à tous", "Quel est le statut de 6Tzen ?");
    assert!(is_leak(&a, &json!({"question": "Quel est le statut de 6Tzen ?"})));
    assert!(!is_leak(&conversation("a", "Et ADES ?"), &conversation("b", "Et ADES ?")));
    let leaks =
        find_leaks(&rows(&[conversation("x", "y"), a]), &rows(&[json!({"question": "Quel est le statut de 6tzen"})]), SAME_QUESTION);
    assert_eq!((leaks[0].source.line, leaks[0].other_source.line, leaks[0].is_same_wording()), (2, 1, true));
}

#[test]
fn a_question_with_passages_is_the_question() {
    use crate::passages::{Language, Passage, prompt_with_passages};
    let passages = [Passage::new("ADES", "Quel est le statut de ADES ? En projet."), Passage::new("6Tzen", "**Statut** : En production")];
    let shown = |question: &str| {
        let prompt = prompt_with_passages(Language::French, question, &passages);
        json!({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": "En production"}]})
    };
    let asked = json!({"question": "Quel est le statut de 6Tzen ?"});
    assert!(is_leak(&shown("Quel est le statut de 6tzen"), &asked));
    assert!(!is_leak(&shown("Quel est le domaine de GIDAF ?"), &asked));
    assert!(
        !is_leak(&shown("Quel est le domaine de GIDAF ?"), &json!({"question": "Quel est le statut de ADES ?"})),
        "a passage asks nothing"
    );
}
