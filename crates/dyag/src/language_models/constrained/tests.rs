//! Answers of the tiny model, which knows nothing: whatever it says, they satisfy the schema.

use dyag_testing::fixture;
use dyag_text::{Message, Role};
use serde_json::json;

use super::*;
use crate::cli::{DeviceChoice, PrecisionChoice};
use crate::engine::EngineArgs;
use crate::loaded_model::{LoadSettings, LoadedModel, SystemChoice};

struct Tiny {
    model: LoadedModel,
    table: TokenTable,
    prompt: Vec<u32>,
}

impl Tiny {
    fn load() -> Self {
        let settings = LoadSettings {
            adapter: None,
            base_model: Some(fixture("tiny-chat/model.gguf").display().to_string()),
            quantize: None,
            system: SystemChoice::AsTrained,
            engine: EngineArgs { device: DeviceChoice::Cpu, precision: PrecisionChoice::F32, threads: Some(1) },
        };
        let model = LoadedModel::open(settings, false).expect("the tiny model");
        let table = TokenTable::new(model.files().tokenizer(), model.files().stop_ids());
        let prompt = model.prompt(&[Message::new(Role::User, "Quoi ?")]).expect("a prompt");
        Self { model, table, prompt }
    }

    fn write(&self, schema: &Value, seed: u64, temperature: f32, max_tokens: usize) -> Written {
        let shape = Shape::parse(schema).expect("a shape");
        let sampling = SamplingOptions { temperature, seed, ..SamplingOptions::GREEDY };
        let sequence = self.model.sequence(&self.prompt, max_tokens).expect("a sequence");
        let written = write(&shape, sequence, self.model.files().tokenizer(), &self.table, sampling).expect("an answer");
        let text = written.value.to_string();
        let parsed: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(parsed, written.value);
        assert!(written.n_tokens <= max_tokens, "{} of {max_tokens}", written.n_tokens);
        shape.check(&parsed).unwrap_or_else(|problem| panic!("seed {seed}, temperature {temperature}: {problem}\n{text}"));
        written
    }
}

fn pairs() -> Value {
    json!({
        "type": "object",
        "properties": {
            "pairs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "properties": {
                        "question": { "type": "string", "maxLength": 30 },
                        "answer": { "type": "string", "minLength": 1, "maxLength": 30 },
                        "kind": { "enum": ["fact", "list", "fa\"ct", "étendue"] }
                    },
                    "required": ["question", "answer", "kind"]
                }
            },
            "score": { "type": "integer", "minimum": 1, "maximum": 12 },
            "count": { "type": "integer" },
            "share": { "type": "number", "minimum": 0, "maximum": 1 },
            "sure": { "type": "boolean" }
        },
        "required": ["pairs", "score", "count", "share", "sure"]
    })
}

#[test]
fn many_seeds_satisfy_the_schema() {
    let tiny = Tiny::load();
    let mut lengths = std::collections::BTreeSet::new();
    let mut ended_by_the_model = 0;
    for seed in 0..60 {
        for temperature in [0.0, 1.0, 3.0] {
            let written = tiny.write(&pairs(), seed, temperature, 400);
            lengths.insert(written.value["pairs"].as_array().map_or(0, Vec::len));
            ended_by_the_model += usize::from(!written.cut);
            if temperature == 0.0 && seed > 0 {
                break;
            }
        }
    }
    assert!(lengths.len() > 1, "{lengths:?}");
    println!("{ended_by_the_model} answers were not cut, lists of {lengths:?}");
}

#[test]
fn the_same_seed_writes_the_same() {
    let tiny = Tiny::load();
    let of = |seed: u64| tiny.write(&pairs(), seed, 1.0, 300).value;
    assert_eq!(of(5), of(5));
    assert_ne!(of(5), of(6));
}

#[test]
fn any_number_of_tokens_gives_whole_json() {
    let tiny = Tiny::load();
    let schema = json!({
        "type": "array", "minItems": 0, "maxItems": 4,
        "items": { "type": "object", "properties": { "q": { "type": "string" }, "n": { "type": "integer", "minimum": 3, "maximum": 900 } } }
    });
    for max_tokens in 0..80 {
        let written = tiny.write(&schema, 7, 1.0, max_tokens);
        if max_tokens < 2 {
            assert!(written.cut, "{max_tokens}: {written:?}");
        }
    }
    // The model's own context ends too.
    let written = tiny.write(&json!({ "type": "string" }), 7, 1.0, 100_000);
    assert!(written.n_tokens <= tiny.model.files().config().max_positions);
}

#[test]
fn every_kind_of_value_alone() {
    let tiny = Tiny::load();
    for schema in [
        json!({ "type": "string", "minLength": 5, "maxLength": 6 }),
        json!({ "type": "integer" }),
        json!({ "type": "integer", "minimum": 5000 }),
        json!({ "type": "integer", "maximum": -5000 }),
        json!({ "type": "integer", "minimum": -3, "maximum": 3 }),
        json!({ "type": "number" }),
        json!({ "type": "number", "minimum": -0.5, "maximum": 0.25 }),
        json!({ "type": "boolean" }),
        json!({ "enum": ["a", "ab", "abc", ""] }),
        json!({ "const": "only" }),
        json!({ "type": "object", "properties": {} }),
        json!({ "type": "array", "items": { "type": "boolean" }, "maxItems": 3 }),
        json!({ "type": "array", "items": { "type": "array", "items": { "type": "integer" }, "minItems": 1, "maxItems": 2 }, "minItems": 2 }),
        json!({ "type": "array", "items": { "enum": ["x"] }, "minItems": 3, "maxItems": 3 }),
    ] {
        for seed in 0..12 {
            for temperature in [0.0, 1.0] {
                tiny.write(&schema, seed, temperature, 64);
            }
        }
    }
}

#[test]
fn choices_are_all_within_reach() {
    let tiny = Tiny::load();
    let schema = json!({ "enum": ["a", "b", "ab"] });
    let seen: std::collections::BTreeSet<String> = (0..200).map(|seed| tiny.write(&schema, seed, 3.0, 20).value.to_string()).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    let digits = json!({ "type": "integer", "minimum": 1, "maximum": 12 });
    let seen: std::collections::BTreeSet<String> = (0..400).map(|seed| tiny.write(&digits, seed, 3.0, 20).value.to_string()).collect();
    assert!(seen.len() > 6 && seen.iter().any(|n| n.len() == 2) && seen.contains("1"), "{seen:?}");
}

#[test]
fn beginnings_of_numbers() {
    for (text, whole, negative, fits) in [
        ("12", true, false, true),
        ("-", true, true, true),
        ("-4", true, false, false),
        ("007", true, false, false),
        ("0", true, false, true),
        ("1.", true, false, false),
        ("1.", false, false, true),
        ("1.5", false, false, true),
        (".5", false, false, false),
        ("1.5.2", false, false, false),
        ("1-2", false, true, false),
    ] {
        assert_eq!(is_number_beginning(text, whole, negative), fits, "{text}");
    }
}

#[test]
fn what_the_model_reads_is_what_was_written() {
    let tiny = Tiny::load();
    let tokenizer = tiny.model.files().tokenizer();
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string", "maxLength": 8 }, "b": { "type": "boolean" } } });
    let shape = Shape::parse(&schema).expect("a shape");
    for seed in 0..20 {
        let sampling = SamplingOptions { temperature: 1.0, seed, ..SamplingOptions::GREEDY };
        let mut writer = Writer {
            sequence: tiny.model.sequence(&tiny.prompt, 200).expect("a sequence"),
            tokenizer,
            table: &tiny.table,
            sampling,
            unread: String::new(),
            step: 0,
            full: false,
            cut: false,
        };
        writer.value(&shape, 0).expect("a value");
        writer.settle().expect("reads the end");
        let read = tokenizer.decode(&writer.sequence.ids()[tiny.prompt.len()..]);
        assert!(read.starts_with("{\"a\": \"") && read.contains("\", \"b\": ") && read.ends_with('}'), "{read}");
    }
}
