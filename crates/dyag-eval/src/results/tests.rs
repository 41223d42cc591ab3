//! Reading and writing files of results, the original program's among them, and every way they are refused.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn legacy(name: &str) -> Results {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/legacy").join(name);
    Results::read(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn parse(text: &str) -> Result<Results, String> {
    Results::parse("r.json", text.as_bytes()).map_err(|error| error.to_string())
}

fn written(results: &Results) -> String {
    let mut out = Vec::new();
    results.write(&mut out).expect("written");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn the_files_of_the_original_program() {
    let finetuned = legacy("results_ft_as_written.json");
    assert_eq!(finetuned.metadata.arm, Some(Arm::Finetuned));
    assert_eq!((finetuned.metadata.total_questions, finetuned.metadata.duration_seconds), (Some(2), Some(3.0)));
    assert_eq!(finetuned.metadata.parameters["temperature"], 0.7);
    assert_eq!(finetuned.metrics.values["exact_match_rate"], 50.0, "percentages stay percentages");
    let row = &finetuned.results[1];
    assert_eq!((row.expected_answer.as_deref(), row.generated_answer.as_deref()), (Some("1238"), Some("1239")));
    assert_eq!((row.metrics["exact_match"], row.time_seconds, row.total_tokens()), (0.0, Some(1.5), Some(60)));
    assert_eq!(row.other["model"], "final");

    let rag = legacy("results_rag_as_written.json");
    assert_eq!((rag.metadata.arm, rag.metadata.model.as_deref()), (Some(Arm::Rag), Some("ollama/x")));
    assert_eq!((rag.metadata.duration_seconds, rag.metadata.other["accuracy_percent"].as_f64()), (Some(8.0), Some(50.0)));
    let row = &rag.results[1];
    assert_eq!((row.expected_answer.as_deref(), row.generated_answer.as_deref()), (Some("1238"), Some("Non disponible")));
    assert_eq!((row.metrics["similarity"], row.metrics["is_correct"], row.time_seconds), (0.5, 0.0, Some(4.0)));
    assert_eq!(row.sources.as_ref().expect("sources")[0].id.as_deref(), Some("555671c28432d025"));

    let set_only = legacy("results_rag_with_metrics.json");
    assert_eq!((set_only.results.len(), set_only.metrics.values["avg_tokens"], set_only.metadata.arm), (0, 900.0, Some(Arm::Rag)));
}

#[test]
fn figures_of_rows_have_the_original_names() {
    let finetuned = legacy("results_ft_as_written.json");
    assert_eq!(SetMetrics::of_rows(&finetuned.results).values, finetuned.metrics.values);
    assert_eq!(SetMetrics::of_rows(&[]), SetMetrics::default());
}

#[test]
fn what_is_written_is_read_again() {
    for name in ["results_ft_as_written.json", "results_rag_as_written.json", "results_rag_with_metrics.json"] {
        let results = legacy(name);
        let text = written(&results);
        let again = parse(&text).expect("results");
        assert_eq!(again, results, "{name}");
        assert_eq!(written(&again), text, "{name}: the order of keys is stable");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["schema"], SCHEMA);
        if let Some(row) = value["results"].as_array().and_then(|rows| rows.first()) {
            assert_eq!((&row["exact_match"], &row["success"]), (&json!(true), &json!(true)), "keys of the original program");
        }
    }
}

#[test]
fn rows_say_how_they_failed() {
    let row = |row: &str| parse(&format!("{{\"metadata\": {{}}, \"results\": [{row}]}}")).map(|mut results| results.results.remove(0));
    let failed = row(r#"{"question": "a", "answer": null, "error": "timeout", "success": false}"#).expect("a row");
    assert_eq!((failed.generated_answer, failed.error.as_deref()), (None, Some("timeout")));
    let unsaid = row(r#"{"question": "a", "answer": "", "error": null, "success": false}"#).expect("a row");
    assert!(unsaid.error.is_some());
    let parts = row(
        r#"{"id": 3, "question": "a", "answer": "b", "tokens_in": 40.0, "tokens_out": 2, "sources": [{"chunk_id": "x", "content": "t", "score": 0.5, "rank": 1}]}"#,
    );
    let parts = parts.expect("a row");
    assert_eq!((parts.id.as_deref(), parts.total_tokens()), (Some("3"), Some(42)));
    let source = &parts.sources.as_ref().expect("sources")[0];
    assert_eq!(
        (source.id.as_deref(), source.text.as_deref(), source.score, &source.other["rank"]),
        (Some("x"), Some("t"), Some(0.5), &json!(1))
    );
}

#[test]
fn what_is_refused() {
    let row = |row: &str| format!("{{\"metadata\": {{}}, \"results\": [{{\"question\": \"a\", \"answer\": \"b\"}},\n {row}]}}");
    for (text, wanted) in [
        (String::new(), "r.json, line 1: expected JSON"),
        ("[1]".into(), "r.json: file: expected an object with `metadata`"),
        ("3".into(), "expected an object with `metadata`"),
        (
            "{\"a\": 1, \"b\": {}}".into(),
            "file: expected an object with `metadata`, and `results` or `metrics`, as an evaluation writes it, found an object with the keys a, b",
        ),
        ("{\"metadata\": [], \"results\": []}".into(), "metadata: expected an object, found a list of 0"),
        ("{\"metadata\": {}, \"results\": {}}".into(), "expected a list of rows"),
        ("{\"metadata\": {}, \"results\": []} x".into(), "expected JSON"),
        ("{\"metadata\": {}, \"results\": [], \"results\": []}".into(), "results: expected the key once, found it a second time"),
        (
            "{\"metadata\": {\"arm\": \"x\"}, \"results\": []}".into(),
            "metadata.arm: expected base, finetuned, rag, hybrid, remote, found the string \"x\"",
        ),
        ("{\"schema\": \"dyag-results/9\", \"metadata\": {}, \"results\": []}".into(), "schema: expected \"dyag-results/1\", found"),
        (row("3"), "results[1]: expected an object, found the number 3"),
        (row("{\"messages\": []}"), "results[1].question: expected the question, found an object with the keys messages"),
        (row("{\"question\": \"a\"}"), "results[1].generated_answer: expected the answer, or an `error`"),
        (
            row("{\"question\": \"a\", \"answer\": \"b\", \"tokens\": \"many\"}"),
            "results[1].tokens: expected a whole number from 0 on, found the string \"many\"",
        ),
        (row("{\"question\": \"a\", \"answer\": \"b\", \"time\": -1}"), "results[1].time: expected a number from 0 on"),
        (
            row("{\"question\": \"a\", \"answer\": \"b\", \"metrics\": {\"f1\": \"x\"}}"),
            "results[1].metrics.f1: expected a number, true or false",
        ),
        (
            row("{\"question\": \"a\", \"answer\": \"b\", \"metrics\": {\"f1\": -1e308}}"),
            "results[1].metrics.f1: expected a number from -1e15 to 1e15, found -1e+308",
        ),
        (
            row("{\"question\": \"a\", \"answer\": \"b\", \"metrics\": {\"f1\": NaN}}"),
            "r.json, line 2: results[1].metrics.f1: expected a finite number, found NaN",
        ),
        (
            row("{\"question\": \"NaN, \\\"\", \"answer\": \"b\", \"time\": -Infinity}"),
            "results[1].time: expected a finite number, found -Infinity",
        ),
        (row("{\"question\": \"a\", \"answer\": \"b\", \"time\": 1e999}"), "results[1].time: expected a finite number, found 1e999"),
        ("{\"metadata\": {}, \"metrics\": {\"f1\": Infinity}}".into(), "line 1: metrics.f1: expected a finite number, found Infinity"),
    ] {
        let error = parse(&text).expect_err(&text);
        assert!(error.contains(wanted), "{text}\n{error}\n{wanted}");
    }
    let missing = Results::read(Path::new("no/such/file.json")).expect_err("is not there").to_string();
    assert!(missing.contains("no/such/file.json: cannot be read"), "{missing}");
}

#[test]
fn numbers_that_are_none_are_not_written() {
    let mut results = legacy("results_ft_as_written.json");
    results.results[1].metrics.insert("f1".into(), f64::NAN);
    let error = results.write(&mut Vec::new()).expect_err("refused").to_string();
    assert!(error.contains("results[1].metrics.f1"), "{error}");
}

fn any_row() -> impl Strategy<Value = Row> {
    let texts = (any::<String>(), proptest::option::of(any::<String>()), any::<String>());
    let metrics = proptest::collection::btree_map("[a-z]{1,6}", 0.0..1.0_f64, 0..4);
    let counts = (proptest::option::of(0..9_000_u64), proptest::option::of(0..90_u64), proptest::option::of(0.0..9.0_f64));
    let sources = proptest::option::of(proptest::collection::vec((any::<String>(), proptest::option::of(any::<String>())), 0..3));
    (texts, metrics, counts, sources, proptest::option::of("[a-z]{1,9}")).prop_map(|(texts, metrics, counts, sources, document)| Row {
        question: texts.0,
        expected_answer: texts.1,
        generated_answer: Some(texts.2),
        metrics: metrics.into_iter().map(|(name, value)| (Arc::from(name), value)).collect(),
        tokens: counts.0,
        time_seconds: counts.2,
        document: document.map(Arc::from),
        sources: sources.map(|all| all.into_iter().map(|(id, text)| Source { id: Some(id), text, ..Source::default() }).collect()),
        ..Row::default()
    })
}

proptest! {
    #[test]
    fn any_results_survive_a_file(rows in proptest::collection::vec(any_row(), 0..4)) {
        let metrics = SetMetrics::of_rows(&rows);
        let results = Results { metadata: Metadata { arm: Some(Arm::Hybrid), ..Metadata::default() }, metrics, results: rows };
        prop_assert_eq!(parse(&written(&results)), Ok(results));
    }

    #[test]
    fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0..900_usize) {
        let _ = Results::parse("r.json", &bytes);
        let mut whole = written(&legacy("results_rag_as_written.json")).into_bytes();
        whole.truncate(cut);
        whole.extend(bytes);
        let _ = Results::parse("r.json", &whole);
    }
}
