//! `dyag compare-models`: what it prints and writes, and every way it says no.

mod common;

use std::fs;

use common::{Outcome, Place, root};
use dyag_testing::{Loopback, RecordedRequest, ScriptedReply};
use serde_json::{Value, json};

const LEGACY: [&str; 4] = ["--rag-results", "rag.json", "--finetuned-results", "ft.json"];

fn place() -> Place {
    let place = Place::new();
    for (name, from) in [
        ("rag.json", "results_rag_as_written.json"),
        ("ft.json", "results_ft_as_written.json"),
        ("set.json", "results_rag_with_metrics.json"),
    ] {
        place.write(name, fs::read(root().join("fixtures/legacy").join(from)).expect("the fixture"));
    }
    place
}

/// Results on 60 questions about ten documents; `is_right` says which are answered rightly.
fn results(arm: &str, is_right: impl Fn(usize) -> bool) -> Value {
    let row = |question: usize| {
        json!({
            "id": format!("q{question}"), "question": format!("Quelle est la valeur {question} ?"), "expected_answer": "oui", "generated_answer": "oui",
            "metrics": {"exact_match": u8::from(is_right(question)), "f1": if is_right(question) { 1.0 } else { 0.25 }},
            "document": format!("d{}", question % 10), "category": if question < 30 { "statut" } else { "contact" },
            "time_seconds": 1.0 + (question % 7) as f64 / 10.0 + if arm == "rag" { 2.0 + question as f64 / 100.0 } else { 0.0 }, "tokens": 100 + question,
        })
    };
    json!({"metadata": {"arm": arm, "training_seconds": if arm == "finetuned" { json!(600) } else { Value::Null }}, "results": (0..60).map(row).collect::<Vec<_>>()})
}

fn with_three() -> Place {
    let place = place();
    for (name, results) in [
        ("base.json", results("base", |question| question % 3 == 0)),
        ("found.json", results("rag", |question| question % 5 != 0)),
        ("tuned.json", results("finetuned", |question| question % 5 != 1)),
    ] {
        place.write(name, results.to_string());
    }
    place
}

const THREE: [&str; 6] = ["--rag-results", "found.json", "--finetuned-results", "tuned.json", "--results", "base=base.json"];

fn compare(place: &Place, files: &[&str], more: &[&str]) -> Outcome {
    place.run(&[&["compare-models"], files, more].concat())
}

fn done(place: &Place, files: &[&str], more: &[&str]) -> Outcome {
    let outcome = compare(place, files, more);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    outcome
}

fn refused(place: &Place, files: &[&str], more: &[&str], wanted: &str) {
    let before = place.files("");
    let outcome = compare(place, files, more);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome}");
    assert!(outcome.stderr.contains(wanted), "{wanted:?} is not in\n{outcome}");
    assert_eq!(place.files(""), before, "nothing is written");
}

#[test]
fn the_files_of_the_original_program() {
    let outcome = done(&place(), &LEGACY, &[]);
    insta::assert_snapshot!(outcome.stdout, @r"
    2 questions, taken for independent

      means over these questions  rag     finetuned
      exact_match                 50.0 %  50.0 %

    rag against finetuned
      metric            rag     finetuned  difference, 95 % interval    p      better on  outcome
      exact_match       50.0 %  50.0 %     0.0 (no interval) points     1.000  0 / 0      tie
      corpus_bleu_intl  0.00    0.00       0.00 (0.00 to 0.00)          1.000             no difference shown
      corpus_chrf++     82.1    91.9       +9.81 (0.00 to +38.3)        1.000             no difference shown
      time_seconds      4.00 s  1.50 s     -2.50 (no interval) seconds  1.000  0 / 2      no difference shown
      tokens            900     60.0       -840 (no interval) tokens    1.000  0 / 2      no difference shown

    where wrong answers come from
      rag: 1 of 2 wrong by is_correct: 0 passage not found, 0 passage not used, 0 failed, 1 not known

    recommendations
      - rag, where the documents change: finetuned knows them as they were when it was trained, and each change takes a new training, where a search only takes a new index; no difference in exact_match was shown [freshness]

    notes
      - no row names its document: questions are taken for independent, which makes intervals too narrow when several are about one document
      - only rag has is_correct, similarity: not compared with finetuned
    ");
    assert!(!outcome.stdout.contains("unknown") && !outcome.stdout.contains("5900"));
    let of_set = done(&place(), &["--rag-results", "set.json", "--finetuned-results", "ft.json"], &[]).stdout;
    assert!(of_set.contains("exact_match_rate") && of_set.contains("not testable") && !of_set.contains("better\n"), "{of_set}");
}

#[test]
fn identical_files_tie() {
    let place = with_three();
    let outcome = done(&place, &["--results", "one=base.json", "--results", "other=base.json"], &["--fail-if-worse", "one"]);
    assert_eq!(outcome.stdout.lines().filter(|line| line.ends_with("  tie")).count(), 6, "{outcome}");
    assert!(!outcome.stdout.contains(" better\n") && !outcome.stdout.contains("recommendations"), "{outcome}");
}

#[test]
fn a_winner_where_it_is_shown_and_files_of_both_kinds() {
    let place = with_three();
    let outcome = done(&place, &THREE, &["--output", "report", "--metric", "exact_match"]);
    insta::assert_snapshot!(outcome.stdout, @r"
    60 questions, about 10 documents

      means over these questions  rag     finetuned  base
      exact_match                 80.0 %  80.0 %     33.3 %

    rag against finetuned
      metric        rag     finetuned  difference, 95 % interval       p        better on  outcome
      exact_match   80.0 %  80.0 %     0.0 (-47.7 to +47.7) points     1.000    12 / 12    no difference shown
      time_seconds  3.58 s  1.29 s     -2.30 (-2.32 to -2.27) seconds  < 0.001  0 / 60     finetuned better
      tokens        130     130        0.00 (no interval) tokens       1.000    0 / 0      tie

    rag against base
      metric        rag     base    difference, 95 % interval       p        better on  outcome
      exact_match   80.0 %  33.3 %  -46.7 (-76.8 to -16.5) points   0.020    32 / 4     rag better
      time_seconds  3.58 s  1.29 s  -2.30 (-2.32 to -2.27) seconds  < 0.001  0 / 60     base better
      tokens        130     130     0.00 (no interval) tokens       1.000    0 / 0      tie

    finetuned against base
      metric        finetuned  base    difference, 95 % interval      p      better on  outcome
      exact_match   80.0 %     33.3 %  -46.7 (-76.8 to -16.5) points  0.020  32 / 4     finetuned better
      time_seconds  1.29 s     1.29 s  0.00 (no interval) seconds     1.000  0 / 0      tie
      tokens        130        130     0.00 (no interval) tokens      1.000  0 / 0      tie

    where wrong answers come from
      rag: 12 of 60 wrong by exact_match: 0 passage not found, 0 passage not used, 0 failed, 12 not known

    recommendations
      - take the simplest of rag, finetuned: in exact_match no difference between them is shown, and base is shown worse than another [best-of-all]
      - finetuned, if cost decides: no difference in exact_match was shown, and it takes 2.30 seconds less a question (1.29 s against 3.58 s) [cheaper-at-no-shown-loss]
      - more documents before rag and finetuned are called equal: in exact_match this set shows differences from 66.3 points on (in eight of ten sets like it); about 440 documents like these would show 10 points [larger-question-set]
      - rag, where the documents change: finetuned knows them as they were when it was trained, and each change takes a new training (600 s), where a search only takes a new index; no difference in exact_match was shown [freshness]
      - try the two together (a fine-tuned model that is shown passages): rag alone answers 12 of 60 questions better, finetuned alone 12 [try-both]
      - finetuned's training of 600 s is paid back after 262 questions, at 2.30 s saved on each [payback]
      - rag rather than base: it is better by 46.7 points in exact_match (80.0 % against 33.3 %, 95 % interval 16.5 points to 76.8 points; p 0.020 after adjustment) [better-answers]
      - finetuned rather than base: it is better by 46.7 points in exact_match (80.0 % against 33.3 %, 95 % interval 16.5 points to 76.8 points; p 0.020 after adjustment) [better-answers]
    written: report/comparison.json
    written: report/comparison.md
    written: report/comparison.html
    ");
    assert_eq!(place.files("report"), ["report/comparison.html", "report/comparison.json", "report/comparison.md"]);
    let written: Value = serde_json::from_str(&place.read("report/comparison.json")).expect("JSON");
    let printed: Value = serde_json::from_str(&done(&place, &THREE, &["--json", "--metric", "exact_match"]).stdout).expect("JSON");
    assert_eq!(written, printed);
    assert_eq!((&written["schema"], &written["pairs"][1]["metrics"][0]["winner"]), (&json!("dyag-comparison/1"), &json!("rag")));
    assert_eq!(written["pairs"][0]["metrics"][0].get("winner"), None);
    assert_eq!(written["questions"]["n_documents"], 10);
    let markdown = place.read("report/comparison.md");
    assert!(
        markdown.contains("| exact_match | 60 |") && markdown.contains("no difference shown") && markdown.contains("rag better"),
        "{markdown}"
    );

    done(&place, &THREE, &["--output", "one.md", "--format", "markdown"]);
    done(&place, &THREE, &["--output", "two.json"]);
    done(&place, &THREE, &["--output", "three", "--format", "both"]);
    done(&place, &THREE, &["--output", "four.html", "--format", "html"]);
    let files: Vec<String> =
        place.files("").into_iter().filter(|name| ["one", "two", "three", "four"].iter().any(|begin| name.starts_with(begin))).collect();
    assert_eq!(files, ["four.html", "one.md", "three/comparison.json", "three/comparison.md", "two.html", "two.json", "two.md"]);
}

#[test]
fn a_page_for_people() {
    let place = with_three();
    done(&place, &THREE, &["--output", "page.html", "--format", "html", "--language", "fr"]);
    let french = place.read("page.html");
    assert!(french.starts_with("<!DOCTYPE html>\n<html lang=\"fr\"") && french.ends_with("</html>\n"));
    for wanted in [
        "Comparaison de rag, finetuned et base",
        "finetuned better",
        "Aucune différence démontrée entre",
        "default-src &#39;none&#39;",
        "Quelle est la valeur 59 ?",
    ] {
        assert!(french.contains(wanted), "{wanted}");
    }
    assert_eq!(french.matches("<article").count(), 60);
    done(&place, &THREE, &["--output", "page.html", "--format", "html"]);
    assert!(place.read("page.html").starts_with("<!DOCTYPE html>\n<html lang=\"en\""), "no file says what its answers are in");
    refused(&place, &THREE, &["--language", "fr"], "--output");
    refused(&place, &THREE, &["--output", "x.html", "--format", "both"], "expected a name that ends as the format asked for, found .html");
    refused(&place, &THREE, &["--output", "x.md", "--format", "html"], "expected a name that ends as the format asked for, found .md");
}

#[test]
fn a_shuffled_file_gives_the_same() {
    let place = with_three();
    let mut shuffled = results("finetuned", |question| question % 5 != 1);
    shuffled["results"].as_array_mut().expect("rows").reverse();
    place.write("shuffled.json", shuffled.to_string());
    let straight = done(&place, &["--rag-results", "found.json", "--finetuned-results", "tuned.json"], &["--json"]).stdout;
    let other = done(&place, &["--rag-results", "found.json", "--finetuned-results", "shuffled.json"], &["--json"]).stdout;
    let pairs = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["pairs"].clone();
    assert_eq!(pairs(&straight), pairs(&other));
}

#[test]
fn a_gate_for_automation() {
    let place = with_three();
    let outcome = compare(&place, &THREE, &["--fail-if-worse", "base"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("base is shown worse than rag in exact_match"), "{outcome}");
    assert_eq!(done(&place, &THREE, &["--fail-if-worse", "rag"]).code, Some(0));
    refused(&place, &THREE, &["--fail-if-worse", "nobody"], "--fail-if-worse: expected one of rag, finetuned, base, found nobody");
}

#[test]
fn more_is_printed_when_asked() {
    let outcome = done(&with_three(), &THREE, &["--verbose"]);
    for wanted in ["exact_match by category", "contact", "in eight of ten times", "is paid back after"] {
        assert!(outcome.stdout.contains(wanted), "{wanted}\n{outcome}");
    }
}

#[test]
fn bad_input() {
    let place = with_three();
    let base = ["--results", "base=base.json"];
    let with = |file: &str| [base.as_slice(), &["--results", file]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let bad = |name: &str, content: &str, wanted: &str| {
        place.write(name, content);
        let files = with(&format!("other={name}"));
        refused(&place, &files.iter().map(String::as_str).collect::<Vec<_>>(), &[], wanted);
    };
    bad("empty.json", r#"{"metadata": {}, "metrics": {}, "results": []}"#, "other: expected rows in `results`, or figures in `metrics`");
    bad("nothing.json", "", "nothing.json, line 1: expected JSON");
    bad("list.json", "[]", "list.json: file: expected an object with `metadata`");
    bad(
        "nan.json",
        "{\"metadata\": {}, \"results\": [{\"question\": \"a\", \"answer\": \"b\",\n \"metrics\": {\"f1\": NaN}}]}",
        "nan.json, line 2: results[0].metrics.f1: expected a finite number, found NaN",
    );
    bad("others.json", r#"{"metadata": {}, "results": [{"question": "Autre ?", "answer": "b"}]}"#, "the files have no question in common");
    let mut part = results("base", |_| true);
    part["results"].as_array_mut().expect("rows").truncate(30);
    bad("part.json", &part.to_string(), "30 of 60 are in all of them");
    assert!(
        done(&place, &["--results", "a=base.json", "--results", "b=part.json"], &["--max-mismatch", "0.5"])
            .stdout
            .starts_with("30 questions")
    );
    refused(&place, &base, &[], "expected two files of results or more");
    refused(&place, &["--results", "base.json"], &[], "expected NAME=FILE");
    refused(&place, &["--results", "a=base.json", "--results", "a=found.json"], &[], "two files of results are called \"a\"");
    refused(&place, &["--results", "a=base.json", "--results", "b=gone.json"], &[], "gone.json: cannot be read");
    refused(&place, &THREE, &["--metric", "chrf"], "chrf: expected a metric");
    refused(&place, &THREE, &["--confidence", "95"], "the confidence: expected a share between 0 and 1, found 95");
    refused(&place, &THREE, &["--format", "json"], "--output");
    refused(&place, &THREE, &["--output", "x.md", "--format", "json"], "expected a name that ends as the format asked for");
    refused(&place, &THREE, &["--output", "base.json"], "it would overwrite the results base.json");
}

#[test]
fn missing_expected_answers_are_said() {
    let place = place();
    let rows = |right: bool| json!({"metadata": {}, "results": [{"question": "a", "generated_answer": "b", "metrics": {"exact_match": right}}, {"question": "c", "generated_answer": "d", "metrics": {"exact_match": true}}]});
    place.write("one.json", rows(true).to_string());
    place.write("two.json", rows(false).to_string());
    let outcome = done(&place, &["--results", "one=one.json", "--results", "two=two.json"], &[]);
    assert!(outcome.stdout.contains("exact_match needs expected answers, and 2 of 2 questions have none: it is not compared"), "{outcome}");
}

/// Results of a model that says what it was trained on, and that file.
fn trained(place: &Place) {
    let train = |question: usize| json!({"question": format!("quelle est la valeur {question}"), "expected_answer": "oui", "document": format!("d{}", question % 10)});
    place.write("train.jsonl", (0..12).map(|question| train(question).to_string() + "\n").collect::<String>());
    let mut tuned: Value = serde_json::from_str(&place.read("tuned.json")).expect("JSON");
    let hash = dyag_text::sha256_hex(place.read("train.jsonl").as_bytes());
    tuned["metadata"]["training_set"] = json!({"name": "train.jsonl", "sha256": hash});
    place.write("tuned.json", tuned.to_string());
}

#[test]
fn questions_of_the_training_set_are_found() {
    let place = with_three();
    trained(&place);
    let outcome = done(&place, &THREE, &["--output", "out"]);
    assert!(outcome.stdout.contains("of 60 questions, 12 were asked in training in the same or nearly the same words"), "{outcome}");
    assert!(outcome.stdout.contains("48 questions without those that training asked"), "{outcome}");
    let comparison: Value = serde_json::from_str(&place.read("out/comparison.json")).expect("JSON");
    let check = &comparison["training"][0];
    assert_eq!(
        (&check["arms"], &check["n_leaked"], &check["leaks"][0]["training_place"]),
        (&json!(["finetuned"]), &json!(12), &json!("line 1"))
    );

    // A file of that name with other bytes is not it; said, it is taken all the same, and that is told.
    place.write("train.jsonl", place.read("train.jsonl") + "\n");
    let outcome = compare(&place, &THREE, &[]);
    assert!(outcome.code == Some(0) && outcome.stderr.contains("say where it is with --training-set finetuned=FILE"), "{outcome}");
    assert!(!outcome.stdout.contains("asked in training"), "{outcome}");
    let outcome = compare(&place, &THREE, &["--training-set", "finetuned=train.jsonl"]);
    assert!(outcome.stderr.contains("is not the file that finetuned was trained on"), "{outcome}");
    assert!(outcome.stdout.contains("12 were asked in training"), "{outcome}");
    refused(
        &place,
        &THREE,
        &["--training-set", "ft=train.jsonl"],
        "--training-set: expected one of rag, finetuned, base before the =, found ft",
    );
    refused(&place, &THREE, &["--training-set", "finetuned=none.jsonl"], "the training set of finetuned");
    place.write("empty.jsonl", "");
    refused(&place, &THREE, &["--training-set", "finetuned=empty.jsonl"], "empty.jsonl");
}

#[test]
fn a_judge_is_asked_in_both_orders_and_only_once() {
    let place = with_three();
    let answers = |name: &str, answer: &dyn Fn(usize) -> String| {
        let mut results: Value = serde_json::from_str(&place.read(name)).expect("JSON");
        for (number, row) in results["results"].as_array_mut().expect("rows").iter_mut().enumerate() {
            row["generated_answer"] = answer(number).into();
        }
        place.write(name, results.to_string());
    };
    answers("found.json", &|number| if number < 20 { "oui".to_owned() } else { format!("peut-être {number}") });
    answers("tuned.json", &|number| if number < 20 { format!("non {number}") } else { "on ne sait".to_owned() });
    // It knows "oui" and else prefers what stands first.
    let server = Loopback::answering(|request: &RecordedRequest| {
        let body: Value = serde_json::from_str(&request.body).expect("a JSON body");
        let material: Value = serde_json::from_str(body["messages"][1]["content"].as_str().expect("material")).expect("JSON");
        let better = if material["b"] == "oui" { "b" } else { "a" };
        let content = json!({ "better": better }).to_string();
        ScriptedReply::json(json!({ "choices": [{ "message": { "role": "assistant", "content": content }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 90, "completion_tokens": 5 } }).to_string())
    });
    let url = server.url();
    let files = ["--rag-results", "found.json", "--finetuned-results", "tuned.json", "--output", "out"];
    let judged = ["--judge", "--llm-provider", "openai", "--llm-model", "m-1", "--llm-url", &url];
    let outcome = compare(&place, &files, &judged);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stdout.contains(
            "openai/m-1: rag better on 20, finetuned on 0, neither on 40 of 60 questions; the order alone decided 40 of 60 (66.7 %)"
        ),
        "{outcome}"
    );
    assert_eq!(server.requests().len(), 120);
    let comparison: Value = serde_json::from_str(&place.read("out/comparison.json")).expect("JSON");
    let pair = &comparison["judgement"]["pairs"][0];
    assert_eq!((&pair["wins"], &pair["preferred_by_place"]), (&json!({"first": 20, "second": 0, "ties": 40}), &json!([100, 20])));
    assert!(place.read("out/comparison.md").contains("## What a judge says"));
    let again = compare(&place, &files, &judged);
    assert_eq!((again.code, server.requests().len()), (Some(0), 120), "{again}: its words are kept");
    refused(&place, &files, &["--judge"], "--judge needs --llm-provider");
    refused(&place, &files, &["--llm-provider", "openai"], "add --judge");
}
