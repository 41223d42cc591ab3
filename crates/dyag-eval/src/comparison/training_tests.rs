//! Comparisons of ways whose training set is known.

use std::sync::Arc;

use dyag_text::dataset::TrainingSet;

use super::*;
use crate::results::Row;

/// Twelve documents with a status, a contact and a purpose each.
fn results(is_right: impl Fn(usize, &str) -> bool) -> Results {
    let fields = ["status", "contact", "purpose"];
    let questions = (0..12).flat_map(|document| fields.map(|field| (document, field)));
    let row = |(document, field): (usize, &'static str)| Row {
        id: Some(format!("{document}-{field}")),
        question: format!("Que dit-on de App{document} : {field} ?"),
        expected_answer: Some(format!("{field} de {document}")),
        generated_answer: Some("x".into()),
        metrics: [(Arc::from("exact_match"), f64::from(u8::from(is_right(document, field))))].into(),
        document: Some(Arc::from(document.to_string())),
        category: Some(Arc::from(field)),
        ..Row::default()
    };
    Results { results: questions.map(row).collect(), ..Results::default() }
}

fn training(rows: &[(String, String, usize, &str)]) -> Training {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train.jsonl");
    let line = |(question, answer, document, field): &(String, String, usize, &str)| {
        serde_json::json!({ "question": question, "expected_answer": answer, "document": document, "field": field, "category": field })
            .to_string()
            + "\n"
    };
    std::fs::write(&path, rows.iter().map(line).collect::<String>()).expect("written");
    Training { arms: vec!["tuned".into()], name: "train.jsonl".into(), set: TrainingSet::read(&path).expect("a training set") }
}

fn compared(trainings: &[Training]) -> Comparison {
    let contestants = [
        Contestant { name: "base".into(), results: results(|_, _| false) },
        // It knows what it was asked and what it was taught, not contacts.
        Contestant { name: "tuned".into(), results: results(|document, field| field != "contact" && document < 11) },
    ];
    compare_trained(&contestants, trainings, &Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn leaks_are_counted_and_results_given_without_them() {
    let mut rows = Vec::new();
    for document in 0..12 {
        rows.push((format!("que dit on de App{document}, status"), format!("status de {document}"), document, "status"));
        rows.push((format!("Pourquoi utiliser App{document} au quotidien ?"), format!("purpose de {document}"), document, "purpose"));
    }
    let comparison = compared(&[training(&rows)]);
    let [check] = comparison.training.as_slice() else { panic!("one training set") };
    assert_eq!((check.n_leaked, check.n_other_wording, check.n_never, check.n_unknown), (12, 12, 12, 0));
    assert_eq!((check.leaks.len(), check.leaks[0].id.as_deref()), (12, Some("0-status")));
    let mean = |taught: Taught| {
        let group = check.groups.iter().find(|group| group.taught == taught).expect("a group");
        assert!(group.pairs.iter().all(|pair| pair.cost.is_empty()));
        (group.n_questions, group.pairs[0].metrics[0].second_mean, group.pairs[0].metrics[0].verdict)
    };
    assert_eq!(mean(Taught::Leaked), (12, 11.0 / 12.0, Verdict::Second));
    assert_eq!(mean(Taught::WithoutLeaks), (24, 11.0 / 24.0, Verdict::Second));
    assert_eq!(mean(Taught::OtherWording), (12, 11.0 / 12.0, Verdict::Second));
    assert_eq!(mean(Taught::Never), (12, 0.0, Verdict::Tie));
    assert!(comparison.notes.iter().any(|note| note.starts_with("12 of the questions compared stand in the training set of tuned")));
    let rules: Vec<&str> = comparison.recommendations.iter().map(|one| one.rule).collect();
    assert!(rules.contains(&"leaks") && rules.contains(&"never-taught"), "{rules:?}");
    let text = markdown(&comparison);
    for part in ["## What training taught", "### 24 questions without those that training asked", "### Questions that training asked"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn without_leaks_there_is_nothing_to_leave_out() {
    let comparison = compared(&[training(&[("Où en est App3 ?".into(), "status de 3".into(), 3, "status")])]);
    let check = &comparison.training[0];
    assert_eq!((check.n_leaked, check.n_other_wording, check.n_never), (0, 1, 35));
    let with_pairs: Vec<Taught> = check.groups.iter().filter(|group| !group.pairs.is_empty()).map(|group| group.taught).collect();
    assert_eq!(with_pairs, [Taught::OtherWording, Taught::Never]);
    assert!(!comparison.notes.iter().any(|note| note.contains("training set")));
    assert!(compared(&[]).training.is_empty());
}

#[test]
fn coverage_and_freshness_follow_from_figures() {
    let [mut found, mut tuned] = [results(|_, field| field == "status"), results(|document, _| document < 6)];
    found.metadata.arm = Some(Arm::Rag);
    tuned.metadata.arm = Some(Arm::Finetuned);
    tuned.metadata.training_seconds = Some(240.0);
    for (results, answered) in [(&mut found, 0.75), (&mut tuned, 1.0)] {
        let n = results.results.len();
        for (place, row) in results.results.iter_mut().enumerate() {
            row.metrics.insert(Arc::from("answered"), f64::from(u8::from((place as f64) < answered * n as f64)));
        }
    }
    let contestants = [("found", found), ("tuned", tuned)].map(|(name, results)| Contestant { name: name.to_owned(), results });
    let comparison = compare(&contestants, &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let text = |rule: &str| comparison.recommendations.iter().find(|one| one.rule == rule).map(|one| one.text.as_str()).unwrap_or_default();
    assert!(
        text("coverage").starts_with(
            "tuned, where an answer that may be wrong is better than none; found, where it is worse: they answer 100.0 % and 75.0 %"
        ),
        "{:?}",
        comparison.recommendations
    );
    assert!(text("freshness").starts_with(
        "found, where the documents change: tuned knows them as they were when it was trained, and each change takes a new training (240 s)"
    ));
}
