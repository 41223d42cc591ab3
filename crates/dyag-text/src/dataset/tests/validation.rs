//! What validation finds.

use std::io::Write as _;

use serde_json::json;

use super::super::*;

fn validation(lines: &[String]) -> Validation {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    validate(file.path(), &ValidateOptions::default()).unwrap()
}

fn found(lines: &[String]) -> Vec<(Severity, FindingKind, usize, Option<usize>)> {
    let short =
        |finding: &Finding| (finding.severity, finding.kind, finding.source.line, finding.earlier.as_ref().map(|earlier| earlier.line));
    validation(lines).findings.iter().map(short).collect()
}

fn pair(question: &str, answer: &str) -> String {
    json!({"prompt": question, "completion": answer}).to_string()
}

const ERROR: Severity = Severity::Error;
const WARNING: Severity = Severity::Warning;

#[test]
fn a_good_file_has_nothing() {
    let lines = [pair("Quel est le statut de ADES ?", "En production"), pair("Quel est le statut de 6Tzen ?", "En production")];
    let validation = validation(&lines);
    assert_eq!((validation.n_rows, validation.n_unusable, validation.format), (2, 0, Some(Format::PromptCompletion)));
    assert_eq!(validation.findings, []);
}

#[test]
fn every_kind_of_finding() {
    let lines = [
        pair("Quel est le statut de ADES ?", "En production"),
        "{\"prompt\"".to_owned(),
        pair("", "x"),
        pair("Quel est le statut de ADES ?", "En production"),
        pair("quel est le STATUT de ADES", "en production."),
        pair("Quels est le statut de ADES ?", "En production"),
        pair("Quel est le statut de ADES ?", "Abandonné"),
        pair("Qui gère ADES ?", "***TEMPORAIRE***"),
        pair("Où est ADES ?", "Voir TODO ici"),
        pair("Que veut dire <|im_end|> ?", "Fin"),
        json!({"prompt": "Quand ?", "placeholder": true}).to_string(),
        json!({"question": "Quoi ?"}).to_string(),
    ];
    let expected = [
        (ERROR, FindingKind::Unusable, 2, None),
        (ERROR, FindingKind::Unusable, 3, None),
        (WARNING, FindingKind::Duplicate, 4, Some(1)),
        (WARNING, FindingKind::NearDuplicate, 5, Some(1)),
        (WARNING, FindingKind::NearDuplicate, 6, Some(1)),
        (WARNING, FindingKind::OtherAnswer, 7, Some(1)),
        (ERROR, FindingKind::Placeholder, 8, None),
        (WARNING, FindingKind::Placeholder, 9, None),
        (WARNING, FindingKind::ControlWord, 10, None),
        (WARNING, FindingKind::Placeholder, 11, None),
        (ERROR, FindingKind::Unusable, 12, None),
    ];
    assert_eq!(found(&lines), expected);
    let validation = validation(&lines);
    assert_eq!((validation.n_rows, validation.n_unusable, validation.n_marked_placeholders), (12, 3, 1));
    assert_eq!((validation.count(ERROR), validation.count(WARNING)), (4, 7));
    let told: Vec<&str> = validation.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(told[2], "repeats line 1 to the letter");
    assert_eq!(told[5], "the question of line 1 has another answer here: \"Abandonné\", there \"En production\"");
    assert_eq!(told[6], "turn 2 (assistant): the answer is a placeholder: ***TEMPORAIRE***");
}

#[test]
fn questions_may_lack_answers_and_documents_tell_them_apart() {
    let row = |question: &str, document: &str, answer: Option<&str>| {
        json!({"question": question, "expected_answer": answer, "document": document, "field": "statut"}).to_string()
    };
    let lines = [
        row("Quel est le statut actuel ?", "a", Some("x")),
        row("Quels est le statut actuel ?", "b", Some("y")),
        row("Quel est le statut actuel ??", "c", None),
        row("Quels est le statut actuel ??", "c", Some("x")),
    ];
    let expected = [(WARNING, FindingKind::NoAnswer, 3, None), (WARNING, FindingKind::OtherAnswer, 4, Some(2))];
    assert_eq!(found(&lines), expected, "whoever is asked cannot see the document");
}

#[test]
fn a_file_without_a_usable_row_is_still_looked_at() {
    let validation = validation(&["[".to_owned()]);
    assert_eq!((validation.format, validation.n_rows, validation.n_unusable), (None, 1, 1));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(validate(file.path(), &ValidateOptions::default()).unwrap_err().to_string().contains("empty"));
}
