//! Wrong files and wrong flags: each is refused with exit status 2, says where and what, and leaves nothing behind.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, conversation};

/// Runs a command that must be refused: exit status 2, nothing on stdout, an error on stderr that holds every fragment, and no file changed.
fn refused(place: &Place, arguments: &[&str], fragments: &[&str]) {
    let before = contents(place);
    let outcome = place.run(arguments);
    assert_eq!(outcome.code, Some(2), "{arguments:?} was not refused:\n{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
    assert!(outcome.stderr.contains("error: "), "{outcome}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    for fragment in fragments {
        assert!(outcome.stderr.contains(fragment), "the message of {arguments:?} does not say {fragment:?}:\n{outcome}");
    }
    assert!(contents(place) == before, "{arguments:?} wrote: {:?}", place.files(""));
}

fn contents(place: &Place) -> Vec<(String, Vec<u8>)> {
    place.files("").into_iter().map(|name| (name.clone(), fs::read(place.path(&name)).unwrap_or_default())).collect()
}

const FINETUNE: [&str; 9] = ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--output", "out", "--max-steps", "1"];

/// A place with the tiny model and a dataset of these lines.
fn with_dataset(lines: &[&str]) -> Place {
    let place = Place::new();
    place.model();
    place.write("train.jsonl", lines.concat());
    place
}

#[test]
fn missing_files() {
    let place = Place::new();
    place.dataset();
    refused(&place, &FINETUNE, &["model", "No such file"]);
    place.model();
    fs::remove_file(place.path("train.jsonl")).expect("removed");
    refused(&place, &FINETUNE, &["train.jsonl", "No such file"]);
    place.dataset();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        place.model();
        fs::remove_file(place.path("model").join(name)).expect("removed");
        refused(&place, &FINETUNE, &[name]);
    }
}

#[test]
fn a_short_name_that_cannot_be_fetched() {
    let place = Place::new();
    place.dataset();
    let arguments = ["finetune", "--base-model", "qwen2.5:1.5b", "--dataset", "train.jsonl", "--output", "out"];
    refused(&place, &arguments, &["Qwen/Qwen2.5-1.5B-Instruct is not on this machine", "HF_HUB_OFFLINE", "dyag models pull"]);
    let mistyped = ["finetune", "--base-model", "qwen2.5:1.5", "--dataset", "train.jsonl", "--output", "out"];
    refused(&place, &mistyped, &["no model at qwen2.5:1.5", "Did you mean qwen2.5:1.5b"]);
    // A name whose first part is a folder here is a mistyped path.
    place.write("models/other/config.json", "{}");
    let mistyped = ["finetune", "--base-model", "models/othr", "--dataset", "train.jsonl", "--output", "out"];
    refused(&place, &mistyped, &["No such file or folder in models"]);
}

#[test]
fn an_empty_dataset() {
    refused(&with_dataset(&[]), &FINETUNE, &["train.jsonl", "empty"]);
    refused(&with_dataset(&["\n \n"]), &FINETUNE, &["train.jsonl"]);
}

#[test]
fn a_line_that_is_not_json() {
    let good = conversation("a", "b");
    refused(&with_dataset(&[&good, "{\"messages\": [\n", &good]), &FINETUNE, &["train.jsonl", "line 2"]);
}

#[test]
fn an_unknown_role() {
    let bad = conversation("a", "b").replace("\"user\"", "\"narrator\"");
    refused(&with_dataset(&[&conversation("a", "b"), &bad]), &FINETUNE, &["train.jsonl", "line 2", "narrator", "assistant"]);
}

#[test]
fn datasets_in_no_format_or_in_two() {
    let good = conversation("a", "b");
    refused(&with_dataset(&["{\"text\": \"a\"}\n"]), &FINETUNE, &["line 1", "messages; conversations (ShareGPT)", "only the keys text"]);
    refused(
        &with_dataset(&[&good, "{\"prompt\": \"a\", \"completion\": \"b\"}\n"]),
        &FINETUNE,
        &["line 2", "a messages row, as in line 1"],
    );
    refused(&with_dataset(&["[{\"prompt\": \"a\", \"completion\": \"b\"}, {\"prompt\": \"a\"}]"]), &FINETUNE, &["item 2", "completion"]);
    refused(&with_dataset(&["[{\"prompt\": \"a\", \"completion\": \"b\"}"]), &FINETUNE, &["item 2", "end of the list"]);
    refused(&with_dataset(&["{\"question\": \"a\"}\n"]), &FINETUNE, &["line 1", "expected_answer"]);
    let placeholder = "{\"question\": \"a\", \"expected_answer\": \"TODO\", \"placeholder\": true}\n";
    refused(&with_dataset(&[placeholder, placeholder]), &FINETUNE, &["nothing to train on", "all 2 rows"]);
}

#[test]
fn what_cannot_be_inspected() {
    let place = with_dataset(&[&conversation("a", "b")]);
    place.write("notes.txt", "Bonjour");
    place.write("empty.jsonl", " \n");
    refused(&place, &["inspect", "notes.txt"], &["notes.txt", "expected a model", "a dataset", "Bonjour"]);
    refused(&place, &["inspect", "empty.jsonl"], &["empty.jsonl", "empty"]);
    refused(&place, &["inspect", "empty.jsonl", "--validate"], &["empty.jsonl", "empty"]);
    refused(&place, &["inspect", "absent.jsonl"], &["absent.jsonl", "No such file"]);
    refused(&place, &["inspect", "absent"], &["absent", "No such file"]);
    refused(&place, &["inspect", "model/model.safetensors"], &["model.safetensors", "folder"]);
    refused(&place, &["inspect", "model", "--validate"], &["--validate", "a dataset", "a model"]);
    refused(&place, &["inspect", "train.jsonl", "--against", "empty.jsonl"], &["empty.jsonl", "empty"]);
    refused(&place, &["inspect", "train.jsonl", "--line", "1"], &["--base-model"]);
    refused(&place, &["inspect", "train.jsonl", "--validate", "--similarity", "0"], &["--similarity", "above 0"]);
    place.write("bad.jsonl", "{\"prompt\": \"a\"}\n{\n");
    refused(&place, &["inspect", "train.jsonl", "--against", "bad.jsonl"], &["bad.jsonl", "line 2"]);
    place.write("nothing.jsonl", "{\"text\": 1}\n");
    refused(&place, &["inspect", "nothing.jsonl"], &["nothing.jsonl, line 1", "only the keys text"]);
}

#[test]
fn a_conversation_without_an_assistant_turn() {
    let bad = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n";
    refused(&with_dataset(&[bad]), &FINETUNE, &["train.jsonl", "line 1", "assistant"]);
}

#[test]
fn an_answer_longer_than_the_limit() {
    let long = conversation("Combien ?", &"mille et un ".repeat(60));
    let place = with_dataset(&[&conversation("a", "b"), &long]);
    let arguments = [FINETUNE.as_slice(), &["--max-seq-length", "64"]].concat();
    refused(&place, &arguments, &["train.jsonl", "line 2", "64", "--truncate", "--max-seq-length"]);
}

#[test]
fn a_truncated_gguf() {
    let place = Place::new();
    place.dataset();
    let whole = fs::read(common::root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture");
    // Inside the magic, the header, the metadata, the tensor table, the data; and one byte short.
    for length in [0, 2, 12, 1000, 12_000, 200_000, whole.len() - 1] {
        place.write("model.gguf", &whole[..length]);
        let arguments = ["finetune", "--base-model", "model.gguf", "--dataset", "train.jsonl", "--output", "out"];
        refused(&place, &arguments, &["model.gguf"]);
    }
}

#[test]
fn a_safetensors_header_that_claims_more_than_the_file() {
    let place = with_dataset(&[&conversation("a", "b")]);
    let mut bytes = fs::read(place.path("model/model.safetensors")).expect("weights");
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    place.write("model/model.safetensors", &bytes);
    refused(&place, &FINETUNE, &["model.safetensors", "header"]);
    bytes[..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    place.write("model/model.safetensors", &bytes);
    refused(&place, &FINETUNE, &["model.safetensors", "header"]);
}

#[test]
fn safetensors_data_that_are_cut_short() {
    let place = with_dataset(&[&conversation("a", "b")]);
    let bytes = fs::read(place.path("model/model.safetensors")).expect("weights");
    place.write("model/model.safetensors", &bytes[..bytes.len() - 1000]);
    refused(&place, &FINETUNE, &["model.safetensors"]);
}

#[test]
fn a_configuration_without_a_needed_key() {
    for key in ["hidden_size", "num_hidden_layers", "vocab_size", "model_type"] {
        let place = with_dataset(&[&conversation("a", "b")]);
        let config = place.read("model/config.json");
        let mut value: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        value.as_object_mut().expect("an object").remove(key).expect("the key is there");
        place.write("model/config.json", value.to_string());
        refused(&place, &FINETUNE, &["config.json", key]);
    }
}

#[test]
fn an_unsupported_architecture() {
    let place = with_dataset(&[&conversation("a", "b")]);
    let config = place.read("model/config.json").replace("\"model_type\": \"qwen2\"", "\"model_type\": \"mamba\"");
    place.write("model/config.json", config.replace("Qwen2ForCausalLM", "MambaForCausalLM"));
    refused(&place, &FINETUNE, &["config.json", "mamba", "qwen2"]);
}

#[test]
fn a_vocabulary_larger_than_the_embedding() {
    let place = with_dataset(&[&conversation("a", "b")]);
    let mut tokenizer: serde_json::Value = serde_json::from_str(&place.read("model/tokenizer.json")).expect("JSON");
    let added = tokenizer["added_tokens"].as_array_mut().expect("a list");
    let mut extra = added[0].clone();
    extra["id"] = 515.into();
    extra["content"] = "<|extra|>".into();
    added.push(extra);
    place.write("model/tokenizer.json", tokenizer.to_string());
    refused(&place, &FINETUNE, &["516", "515"]);
}

#[test]
fn a_model_without_a_chat_template() {
    let place = with_dataset(&[&conversation("a", "b")]);
    place.write("model/tokenizer_config.json", "{\"eos_token\": \"<|im_end|>\"}");
    refused(&place, &FINETUNE, &["chat template", "model"]);
}

#[test]
fn cuda_says_what_is_missing() {
    let place = with_dataset(&[&conversation("a", "b")]);
    let arguments = [FINETUNE.as_slice(), &["--device", "cuda"]].concat();
    refused(&place, &arguments, &["cuda"]);
}

#[test]
fn an_output_that_cannot_be_written() {
    let place = with_dataset(&[&conversation("a", "b")]);
    place.write("out", "a file where a folder should be");
    refused(&place, &FINETUNE, &["out"]);
}

#[test]
fn resuming_nothing() {
    let place = with_dataset(&[&conversation("a", "b")]);
    let arguments = [FINETUNE.as_slice(), &["--resume"]].concat();
    refused(&place, &arguments, &["out", "checkpoint"]);
}

#[test]
fn resuming_a_damaged_checkpoint() {
    let place = with_dataset(&[&conversation("a", "b"), &conversation("c", "d")]);
    let arguments = [
        ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--output", "out", "--max-steps"].as_slice(),
        &["4", "--save-steps", "2", "--batch-size", "1", "--accumulation", "1"],
    ]
    .concat();
    let outcome = place.run(&arguments);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let newest = place.files("out/checkpoint-4");
    assert!(newest.len() >= 4, "{newest:?}");
    let resume = [arguments.as_slice(), &["--resume"]].concat();
    for name in newest {
        let whole = fs::read(place.path(&name)).expect("a file of the checkpoint");
        // Folders of a model hold small text files too; half of each is damage enough.
        place.write(&name, &whole[..whole.len() / 2]);
        let file = Path::new(&name).file_name().expect("a name").to_string_lossy().into_owned();
        refused(&place, &resume, &["checkpoint-4", &file]);
        place.write(&name, &whole);
    }
}

#[test]
fn an_adapter_for_another_base() {
    let place = with_dataset(&[&conversation("a", "b")]);
    let outcome = place.run(&FINETUNE);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let ask = ["query-finetuned", "a", "--model", "out/final", "--max-tokens", "2", "--temperature", "0"];
    assert_eq!(place.run(&ask).code, Some(0));

    let template = place.read("model/tokenizer_config.json");
    place.write("model/tokenizer_config.json", template.replace("<|im_start|>assistant\\\\n", "<|im_start|>assistant:\\\\n"));
    refused(&place, &ask, &["template", "dyag.json"]);
    place.write("model/tokenizer_config.json", &template);
    assert_eq!(place.run(&ask).code, Some(0));

    let tokenizer = place.read("model/tokenizer.json");
    place.write("model/tokenizer.json", tokenizer.replace("<|endoftext|>", "<|endofdocument|>"));
    refused(&place, &ask, &["vocabulary", "dyag.json"]);
    place.write("model/tokenizer.json", &tokenizer);

    // Other weights of the same shape may be another quantisation: that is said, not refused.
    let weights = fs::read(place.path("model/model.safetensors")).expect("weights");
    let mut other = weights.clone();
    let last = other.len() - 2;
    other[last] ^= 1;
    place.write("model/model.safetensors", &other);
    let outcome = place.run(&ask);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("other weights"), "{outcome}");
    place.write("model/model.safetensors", &weights);

    // A base of another shape.
    let ragged = common::root().join("fixtures/golden/qwen2-ragged/model");
    for name in ["config.json", "model.safetensors"] {
        place.write(&format!("model/{name}"), fs::read(ragged.join(name)).expect("the fixture"));
    }
    refused(&place, &ask, &["dyag.json", "model"]);
}

#[test]
fn questions_that_cannot_be_read() {
    let place = Place::new();
    place.model();
    let ask = ["query-finetuned", "--base-model", "model", "--questions", "questions.jsonl", "--output", "answers.jsonl"];
    refused(&place, &ask, &["questions.jsonl", "No such file"]);
    place.write("questions.jsonl", "");
    refused(&place, &ask, &["questions.jsonl", "empty"]);
    place.write("questions.jsonl", "{\"question\": \"a\"}\n{\"q\": \"b\"}\n");
    refused(&place, &ask, &["questions.jsonl", "line 2", "question", "messages"]);
    place.write("questions.jsonl", "{\"question\": 4}\n");
    refused(&place, &ask, &["questions.jsonl", "line 1", "question", "a string", "the number 4"]);
    place.write("questions.jsonl", "{\"question\": \"a\"}\n{\"prompt\": \"b\"}\n");
    refused(&place, &ask, &["questions.jsonl", "line 2", "prompt/completion", "question/expected_answer", "line 1"]);
    place.write("questions.jsonl", "{\"question\": \"a\", \"messages\": []}\n");
    refused(&place, &ask, &["questions.jsonl", "line 1", "both messages", "question"]);
    place.write("questions.jsonl", "{\"question\": \"a\"}\n");
    let elsewhere = ["query-finetuned", "--base-model", "model", "--questions", "questions.jsonl", "--output", "absent/answers.jsonl"];
    refused(&place, &elsewhere, &["absent/answers.jsonl"]);
}

#[test]
fn settings_out_of_range() {
    let place = Place::new();
    place.model();
    for (flag, value) in
        [("--temperature", "-1"), ("--temperature", "NaN"), ("--top-p", "0"), ("--max-tokens", "0"), ("--repetition-penalty", "0")]
    {
        refused(&place, &["query-finetuned", "a", "--base-model", "model", flag, value], &[flag, value]);
    }
    refused(&place, &["query-finetuned", "a"], &["--model", "--base-model"]);
}

#[test]
fn what_was_meant_is_said() {
    let place = with_dataset(&[&conversation("A ?", "B")]);
    // A dataset is looked at before a model is looked for.
    refused(&place, &["finetune", "--base-model", "qwen2.5:1.5b", "--dataset", "nope.jsonl", "--output", "out"], &["nope.jsonl"]);
    refused(&place, &["query-finetuned", "A ?", "--model", "dyag-tiny"], &["found a model; give it with --base-model dyag-tiny"]);
    assert_eq!(place.run(&FINETUNE).code, Some(0));
    refused(&place, &["query-finetuned", "A ?", "--model", "out"], &["out is the output of a training; its adapter is out/final"]);
    place.write("two.jsonl", [conversation("A ?", "B"), conversation(&"long ".repeat(60), "B")].concat());
    let arguments = ["finetune", "--base-model", "model", "--dataset", "two.jsonl", "--output", "other", "--max-seq-length", "100"];
    refused(&place, &arguments, &["1 of 2 examples are longer than --max-seq-length 100, the longest has "]);
}
