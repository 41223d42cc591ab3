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
        for command in ["chunk", "generate-training", "index-rag", "finetune", "evaluate-rag", "evaluate-finetuned", "compare-models"] {
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
fn documents_of_ones_own_go_the_same_way() {
    let place = Place::new();
    place.model();
    for name in ["Alpha", "Beta", "Gamma", "Delta"] {
        place.write(
            &format!("notes/{name}.md"),
            format!(
                "# {name}\n\n- Status: {name} live\n- Owner: team {name}\n- Version: {}.2\n- Contact: {name}@example.org\n",
                name.len()
            ),
        );
    }
    let outcome = place.run(&["demo", "--documents", "notes", "--base-model", "model", "--count", "40", "--epochs", "1"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.contains("$ dyag chunk notes --output"), "{outcome}");
    assert!(place.read("dyag-demo/questions_train.jsonl").contains("Gamma") && !place.path("dyag-demo/catalogue.md").exists());
    let outcome = place.run(&["demo", "--documents", "notes", "--catalogue", "2"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    // One line of prose has nothing to ask for: said before anything is trained.
    place.write("prose.md", "Un mot.\n");
    let outcome = place.run(&["demo", "--documents", "prose.md", "--output", "other"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("the demonstration ends here"), "{outcome}");
    assert!(!place.path("other/adapter").exists(), "{outcome}");
    // What is emptied first holds no document, and is none.
    place.write("dyag-demo/mine.md", "# Mine\n\n- Status: live\n");
    for documents in ["dyag-demo/mine.md", ".", "nowhere"] {
        let outcome = place.run(&["demo", "--documents", documents]);
        assert_eq!(outcome.code, Some(2), "{documents}: {outcome}");
        assert!(place.path("dyag-demo/mine.md").exists() && place.path("dyag-demo/adapter/final").exists(), "{documents}");
    }
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

#[test]
fn without_a_model_the_one_in_the_program_learns_and_answers() {
    let place = Place::new();
    let outcome = place.run(&["demo", "--count", "60", "--epochs", "2"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.contains("--base-model dyag-tiny"), "{outcome}");
    // Two short passes do not teach facts, but losses fall, and what is asked with passages is answered from them here and there.
    let loss = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["loss"].as_f64().expect("a loss");
    let log = place.read("dyag-demo/adapter/log.jsonl");
    let losses: Vec<f64> = log.lines().map(loss).collect();
    assert!(losses[losses.len() - 1] < 0.8 * losses[0], "{losses:?}");
    // The model's file is made once, and made anew when it is not as it should be.
    let whole = std::fs::read(place.path("cache/dyag-tiny.gguf")).expect("the file");
    place.write("cache/dyag-tiny.gguf", "something else");
    let ask = ["query-finetuned", "Que signifie ADES ?", "--base-model", "dyag-tiny", "--temperature", "0", "--max-tokens", "4"];
    let outcome = place.run(&ask);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(std::fs::read(place.path("cache/dyag-tiny.gguf")).is_ok_and(|bytes| bytes == whole));
    // An adapter names its base, wherever the file lies.
    place.set("DYAG_CACHE_DIR", place.path("elsewhere"));
    let outcome = place.run(&["query-finetuned", "Que signifie ADES ?", "--model", "dyag-demo/adapter/final", "--max-tokens", "4"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(place.path("elsewhere/dyag-tiny.gguf").exists());
}
