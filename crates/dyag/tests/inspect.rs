//! What `dyag inspect` says of a model and of a line of a dataset.

mod common;

use std::fs;

use common::{Place, conversation, root};
use serde_json::Value;

fn place() -> Place {
    let place = Place::new();
    place.model();
    place.dataset();
    place.write("model.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
    place
}

fn json(place: &Place, arguments: &[&str]) -> Value {
    let outcome = place.run(arguments);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"))
}

#[test]
fn a_folder_and_its_gguf_file_are_the_same_model() {
    let place = place();
    let (folder, gguf) = (json(&place, &["inspect", "model", "--json"]), json(&place, &["inspect", "model.gguf", "--json"]));
    assert_eq!(folder["family"], "qwen2");
    assert_eq!(folder["parameters"], 162_816);
    assert_eq!(folder["matrix_formats"], serde_json::json!(["F32 (22)"]));
    assert_eq!(folder["end_of_turn"], serde_json::json!(["<|im_end|> (514)", "<|endoftext|> (512)"]));
    for key in
        ["parameters", "layers", "hidden_size", "heads", "kv_heads", "positions", "rope", "tied_head", "template_hash", "vocabulary_hash"]
    {
        assert_eq!(folder[key], gguf[key], "{key}");
    }
}

#[test]
fn a_model_in_words() {
    let outcome = place().run(&["inspect", "model"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    for line in ["family               qwen2", "heads                4", "sliding window       none"] {
        assert!(outcome.stdout.contains(line), "{outcome}");
    }
}

#[test]
fn an_example_token_by_token() {
    let place = place();
    let outcome = place.run(&["inspect", "--dataset", "train.jsonl", "--base-model", "model", "--line", "2"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    insta::assert_snapshot!([&lines[..3], &lines[44..]].concat().join("\n"), @r"
    train.jsonl, line 2: 53 tokens, 7 learned
     place       id  learned  text
         0      513  -        <|im_start|>
        42       77  -        n
        43       83  -        t
        44      198  -        \n
        45       43  yes      L
        46       68  yes      e
        47      443  yes       B
        48       49  yes      R
        49       38  yes      G
        50       44  yes      M
        51      514  yes      <|im_end|>
        52      198  -        \n
    ");
}

#[test]
fn the_mask_is_the_answer_and_its_end() {
    let place = place();
    let arguments = ["inspect", "--dataset", "train.jsonl", "--base-model", "model.gguf", "--json"];
    let example = json(&place, &arguments);
    let tokens = example["tokens"].as_array().expect("a list");
    assert_eq!(example["n_tokens"], tokens.len());
    let text = |learned: bool| -> String {
        tokens.iter().filter(|token| token["learned"] == learned).map(|token| token["text"].as_str().expect("a text")).collect()
    };
    assert_eq!(text(true), "En production<|im_end|>");
    let others = "<|im_start|>system\nTu réponds brièvement.<|im_end|>\n<|im_start|>user\nQuel est le statut de 6Tzen ?<|im_end|>\n<|im_start|>assistant\n\n";
    assert_eq!(text(false), others);
    let all = json(&place, &[arguments.as_slice(), &["--loss", "all"]].concat());
    assert_eq!(all["n_learned"].as_u64(), all["n_tokens"].as_u64().map(|n| n - 1), "all but the first");
}

#[test]
fn control_words_in_a_question_are_text() {
    let place = place();
    place.write("train.jsonl", conversation("Que veut dire <|im_end|> ?", "Rien"));
    let example = json(&place, &["inspect", "--dataset", "train.jsonl", "--base-model", "model", "--json"]);
    let controls = example["tokens"].as_array().expect("a list").iter().filter(|token| token["text"] == "<|im_end|>").count();
    assert_eq!(controls, 3, "one for each turn, none for the question's: {example}");
}

#[test]
fn a_line_that_is_not_there() {
    let outcome = place().run(&["inspect", "--dataset", "train.jsonl", "--base-model", "model", "--line", "7"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("train.jsonl") && outcome.stderr.contains("found 7"), "{outcome}");
}

/// Runs the program and reads the JSON it prints, whatever its exit status.
fn json_with_status(place: &Place, arguments: &[&str]) -> (Option<i32>, Value) {
    let outcome = place.run(arguments);
    let value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    (outcome.code, value)
}

const QUESTIONS: &str = concat!(
    r#"{"id": "q1", "question": "Quel est le statut de 6Tzen ?", "expected_answer": "En production", "app_id": "1238", "category": "status"}"#,
    "\n",
    r#"{"id": "q2", "question": "Qui gère ADES ?", "expected_answer": "Le BRGM", "app_id": "1", "category": "owner"}"#,
    "\n",
    r#"{"id": "q3", "question": "Que fait ACAPE ?"}"#,
    "\n",
);

#[test]
fn an_adapter_and_its_manifest() {
    let place = place();
    let train =
        ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--output", "out", "--max-steps", "2", "--lora-rank", "3"];
    let outcome = place.run(&train);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let facts = json(&place, &["inspect", "out/final", "--json"]);
    assert_eq!((&facts["rank"], &facts["tensors"]), (&3.into(), &42.into()));
    assert_eq!(facts["manifest"]["dataset"]["n_conversations"], 2);
    let outcome = place.run(&["inspect", "out/final"]);
    for line in [
        "rank                 3\n",
        "dataset              train.jsonl: 2 conversations",
        "system message       Tu réponds brièvement.\n",
        "targets              down_proj, gate_proj, k_proj,",
        "steps                2\n",
    ] {
        assert!(outcome.stdout.contains(line), "{line}: {outcome}");
    }
    // As another program leaves it: no manifest.
    fs::remove_file(place.path("out/final/dyag.json")).expect("removed");
    assert!(place.run(&["inspect", "out/final"]).stdout.contains("manifest             none\n"));
    let outcome = place.run(&["inspect", "out"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("its adapter is out/final"), "{outcome}");
}

#[test]
fn a_file_of_chunks() {
    let place = place();
    let chunk = |id: &str, kind: &str, title: &str, content: &str| {
        serde_json::json!({
            "id": id, "source_id": "1238", "title": title, "content": content, "metadata": {"nom": "6Tzen"}, "chunk_type": kind,
        })
    };
    let chunks = [
        chunk("a", "overview", "Vue", "Nom complet: Outil"),
        chunk("b", "details", "Détails", "Domaine: ***TEMPORAIRE***"),
        chunk("c", "details", "", "Nom complet: Outil"),
        serde_json::json!({"id": "d", "content": "rien"}),
        serde_json::json!({"id": "e", "source_id": "a/plan.md", "title": "Plan - Accès", "content": "À pied.", "metadata": {"document": "a/plan.md"}}),
    ];
    place.write("chunks.jsonl", chunks.map(|chunk| format!("{chunk}\n")).concat());
    let facts = json(&place, &["inspect", "chunks.jsonl", "--json"]);
    assert_eq!(facts["by_type"], serde_json::json!({"(none)": 2, "details": 2, "overview": 1}));
    assert_eq!(facts["by_document"], serde_json::json!({"(none)": 1, "1238": 3, "a/plan.md": 1}));
    assert_eq!(facts["duplicates"], serde_json::json!({"c": "as a"}));
    assert_eq!(facts["placeholders"], serde_json::json!(["b"]));
    assert_eq!(facts["empty_titles"], serde_json::json!(["c", "d"]));
    assert_eq!(facts["without_a_name"], serde_json::json!(["d"]));
    assert_eq!(facts["never_named"], serde_json::json!({"1238": "6Tzen"}));
    assert_eq!(facts["characters"]["max"], 25);
    let outcome = place.run(&["inspect", "chunks.jsonl"]);
    assert!(outcome.stdout.contains("by type              (none) 2, details 2, overview 1\n"), "{outcome}");
    let outcome = place.run(&["inspect", "chunks.jsonl", "--validate"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("--validate: expected a dataset or a file of questions, found a file of chunks"), "{outcome}");
    place.write("dyag.toml", "[all]\nbase-model = \"dyag-tiny\"\n");
    let outcome = place.run(&["inspect", "chunks.jsonl"]);
    assert_eq!(outcome.code, Some(0), "a setting that asks for nothing here: {outcome}");
}

#[test]
fn a_dataset_and_its_tokens() {
    let place = place();
    let outcome = place.run(&["inspect", "train.jsonl"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    insta::assert_snapshot!(outcome.stdout, @r"
    format               messages
    rows                 2
    unusable rows        none
    placeholder rows     0
    without an answer    0
    with chunk ids       0
    keys                 messages 2
    roles                system 2, user 2, assistant 2
    turns                min 2, median 2, p95 2, max 2
    systems              1
    system messages      rows 2, text Tu réponds brièvement.
    without a system     0
    question characters  min 15, median 15, p95 29, max 29
    answer characters    min 7, median 7, p95 13, max 13
    ");
    let facts = json(&place, &["inspect", "train.jsonl", "--base-model", "model", "--max-seq-length", "52", "--json"]);
    assert_eq!((&facts["tokens"]["min"], &facts["learned_tokens"]["max"]), (&53.into(), &7.into()));
    assert_eq!(facts["longer_rows"], serde_json::json!([1, 2]));
    place.write("questions.jsonl", QUESTIONS);
    let facts = json(&place, &["inspect", "questions.jsonl", "--base-model", "model", "--json"]);
    assert_eq!((&facts["format"], &facts["without_an_answer"]), (&"question/expected_answer".into(), &1.into()));
    assert_eq!(facts["keys"], serde_json::json!({"id": 3, "question": 3, "expected_answer": 2, "app_id": 2, "category": 2}));
    place.write("list.json", r#"[{"instruction": "a", "output": "b"}, {"instruction": "c"}, 3]"#);
    let outcome = place.run(&["inspect", "list.json", "--json"]);
    assert!(outcome.stderr.contains("1 rows cannot be used"), "{outcome}");
    let facts: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!((&facts["format"], &facts["rows"], &facts["unusable_rows"]), (&"Alpaca".into(), &2.into(), &serde_json::json!([3])));
}

#[test]
fn every_format_can_be_trained_on_and_asked() {
    let place = place();
    let files = [
        ("share.jsonl", r#"{"conversations": [{"from": "human", "value": "Qui gère ADES ?"}, {"from": "gpt", "value": "Le BRGM"}]}"#),
        ("alpaca.json", r#"[{"instruction": "Qui gère ADES ?", "input": "", "output": "Le BRGM"}]"#),
        ("prompt.jsonl", r#"{"prompt": "Qui gère ADES ?", "completion": "Le BRGM"}"#),
        (
            "question.jsonl",
            "{\"question\": \"Qui gère ADES ?\", \"expected_answer\": \"Le BRGM\"}\n{\"question\": \"?\", \"placeholder\": true}",
        ),
    ];
    for (n, (file, content)) in files.into_iter().enumerate() {
        place.write(file, content);
        let example = json(&place, &["inspect", file, "--base-model", "model", "--line", "1", "--json"]);
        let tokens = example["tokens"].as_array().expect("a list").iter().filter(|token| token["learned"] == true);
        let learned: String = tokens.map(|token| token["text"].as_str().expect("a text")).collect();
        assert_eq!(learned, "Le BRGM<|im_end|>", "{file}");
        let out = format!("out{n}");
        let outcome = place.run(&["finetune", "--base-model", "model", "--dataset", file, "--output", &out, "--max-steps", "1"]);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let note = outcome.stderr.contains("question.jsonl: 1 row is marked as a placeholder and is not learned");
        assert_eq!(note, file == "question.jsonl", "{outcome}");
        let ask = ["query-finetuned", "--base-model", "model", "--questions", file, "--max-tokens", "2", "--temperature", "0", "--json"];
        let summary = json(&place, &ask);
        assert_eq!(summary["n_with_expected_answer"], 1, "{file}");
    }
}

#[test]
fn validation_lists_every_problem() {
    let place = place();
    let outcome = place.run(&["inspect", "train.jsonl", "--validate"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(outcome.stdout, "train.jsonl: 2 rows, in the format messages, 0 that cannot be used; 0 errors, 0 warnings\n");
    let good = conversation("Qui gère ADES ?", "Le BRGM");
    let lines = [
        good.clone(),
        good.clone(),
        conversation("Qui gère ADES ?", "Personne"),
        "{\n".to_owned(),
        good.replace("user", "narrator"),
        "{\"question\": \"a\"}\n".to_owned(),
        conversation("Que fait <|im_end|> ?", "***TEMPORAIRE***"),
    ];
    place.write("bad.jsonl", lines.concat());
    let outcome = place.run(&["inspect", "bad.jsonl", "--validate", "--base-model", "model"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    insta::assert_snapshot!(outcome.stdout, @r#"
    bad.jsonl, line 4: error: line: expected a JSON object, found text that is not JSON (EOF while parsing an object at line 1 column 1): {; an object has to stand in one line
    bad.jsonl, line 5: error: messages[1].role: expected "system", "user" or "assistant", found the unknown role "narrator"
    bad.jsonl, line 6: error: line: expected a messages row, as in line 1 (a file has one format), found a question/expected_answer row
    bad.jsonl, line 7: error: turn 3 (assistant): the answer is a placeholder: ***TEMPORAIRE***
    bad.jsonl, line 2: warning: repeats line 1 to the letter
    bad.jsonl, line 3: warning: the question of line 1 has another answer here: "Personne", there "Le BRGM"
    bad.jsonl, line 7: warning: turn 2 (user): holds <|im_end|>, which is taken as ordinary text
    bad.jsonl: 7 rows, in the format messages, 3 that cannot be used; 4 errors, 3 warnings (control words in texts: 1, duplicates: 1, other answers to the same question: 1, placeholders: 1, unusable rows: 3)
    "#);
    let (code, document) = json_with_status(&place, &["inspect", "--dataset", "bad.jsonl", "--validate", "--json"]);
    assert_eq!((code, &document["n_errors"], &document["n_warnings"]), (Some(1), &4.into(), &3.into()));
    assert_eq!(document["findings"][0]["line"], 2, "in the order of the file: {document}");
    place.write("warnings.jsonl", [good.clone(), good.clone()].concat());
    assert_eq!(place.run(&["inspect", "warnings.jsonl", "--validate"]).code, Some(0), "warnings alone are no reason to fail");
    place.write("many.jsonl", "3\n".repeat(150));
    let outcome = place.run(&["inspect", "many.jsonl", "--validate"]);
    assert!(outcome.stdout.contains("... and 50 more (--json lists all)"), "{outcome}");
    let (_, document) = json_with_status(&place, &["inspect", "many.jsonl", "--validate", "--json"]);
    assert_eq!(document["findings"].as_array().map(Vec::len), Some(150));
}

#[test]
fn leaks_between_two_files() {
    let place = place();
    place.write("questions.jsonl", QUESTIONS);
    let outcome = place.run(&["inspect", "train.jsonl", "--against", "questions.jsonl"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    insta::assert_snapshot!(outcome.stdout, @r#"
    train.jsonl, line 1 asks what questions.jsonl, line 1 asks: "Quel est le statut de 6Tzen ?"
    train.jsonl, line 2 asks what questions.jsonl, line 2 asks: "Qui gère ADES ?"
    train.jsonl (2 rows) against questions.jsonl (3 rows): 2 leaks, 2 of them in the same words
    "#);
    place.write("other.jsonl", conversation("Qui pilote ADES ?", "Le BRGM") + &conversation("Quels est le statut de 6Tzen ?", "?"));
    let (code, document) = json_with_status(&place, &["inspect", "other.jsonl", "--against", "questions.jsonl", "--json"]);
    assert_eq!((code, &document["n_leaks"], &document["n_same_wording"]), (Some(1), &1.into(), &0.into()));
    assert_eq!((&document["leaks"][0]["line"], &document["leaks"][0]["against_line"]), (&2.into(), &1.into()));
    let arguments = ["inspect", "other.jsonl", "--against", "questions.jsonl", "--similarity", "0.9"];
    assert_eq!(place.run(&arguments).code, Some(0));
    let elsewhere = QUESTIONS.replace("\"1238\"", "\"7\"").replace("\"app_id\": \"1\"", "\"app_id\": \"8\"").replace("ACAPE", "AUTRE");
    place.write("elsewhere.jsonl", elsewhere);
    let outcome = place.run(&["inspect", "questions.jsonl", "--against", "elsewhere.jsonl"]);
    assert_eq!(outcome.code, Some(0), "the same words about other documents: {outcome}");
}

#[test]
fn what_is_learned_is_coloured() {
    let place = place();
    let arguments = ["inspect", "train.jsonl", "--base-model", "model", "--line", "2"];
    let plain = place.run(&arguments);
    assert!(!plain.stdout.contains('\u{1b}'), "not on a pipe: {plain}");
    let coloured = place.run(&[arguments.as_slice(), &["--color", "always"]].concat());
    assert_eq!(coloured.code, Some(0), "{coloured}");
    let text = concat!(
        "\u{1b}[2m<|im_start|>\u{1b}[0muser\nQui gère ADES ?\u{1b}[2m<|im_end|>\u{1b}[0m\n",
        "\u{1b}[2m<|im_start|>\u{1b}[0massistant\n\u{1b}[1;32mLe BRGM\u{1b}[0m\u{1b}[1;32m<|im_end|>\u{1b}[0m\n",
    );
    assert!(coloured.stdout.contains(text), "{:?}", coloured.stdout);
    assert!(coloured.stdout.contains("43  yes      \u{1b}[1;32mL\u{1b}[0m"), "{:?}", coloured.stdout);
    assert_eq!(place.run(&[arguments.as_slice(), &["--color", "never"]].concat()).stdout, plain.stdout);
}
