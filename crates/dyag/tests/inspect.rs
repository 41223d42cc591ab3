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
