//! The demonstration, with the tiny model: every step is made, can be made again, and touches nothing of others.

mod common;

use common::Place;
use serde_json::Value;

#[test]
fn the_whole_way_is_gone_and_can_be_gone_again() {
    let place = Place::new();
    place.model();
    let arguments = [
        "demo",
        "--base-model",
        "model",
        "--output",
        "here",
        "--count",
        "40",
        "--epochs",
        "1",
        "--catalogue",
        "2",
        "--n-chunks",
        "1",
        "--max-passage-chars",
        "200",
    ];
    for round in 0..2 {
        let outcome = place.run(&arguments);
        assert_eq!(outcome.code, Some(0), "{round}: {outcome}");
        for command in
            ["chunk", "generate-training", "index-rag", "add-passages", "finetune", "evaluate-rag", "evaluate-finetuned", "compare-models"]
        {
            assert!(outcome.stdout.contains(&format!("$ dyag {command} ")), "{command}: {outcome}");
        }
        let n_questions = place.read("here/questions_test.jsonl").lines().count();
        assert!(n_questions >= 4, "{n_questions}");
        for arm in ["base", "rag", "finetuned", "hybrid"] {
            let results: Value = serde_json::from_str(&place.read(&format!("here/{arm}.json"))).expect("JSON");
            assert_eq!(results["results"].as_array().map(Vec::len), Some(n_questions), "{arm}");
            assert_eq!(results["metadata"]["arm"], arm);
        }
        assert!(place.read("here/comparison/comparison.html").contains("hybrid"));
    }
    // The commands it shows are those that it runs: the last but one can be typed.
    let outcome = place.run(&[
        "ask",
        "Quel est le statut ?",
        "--mode",
        "hybrid",
        "--model",
        "here/adapter/final",
        "--store",
        "here/index",
        "--collection",
        "demo",
        "--max-tokens",
        "2",
    ]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn a_folder_of_others_and_a_step_that_fails_end_it() {
    let place = Place::new();
    place.write("mine/letter.txt", "dear");
    let outcome = place.run(&["demo", "--base-model", "model", "--output", "mine"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("expected an empty folder"), "{outcome}");
    assert_eq!(place.read("mine/letter.txt"), "dear");
    let outcome = place.run(&["demo", "--base-model", "nowhere", "--count", "20"]);
    assert!(
        outcome.code == Some(2) && outcome.stderr.contains("the demonstration ends here: `dyag finetune --base-model nowhere"),
        "{outcome}"
    );
}
