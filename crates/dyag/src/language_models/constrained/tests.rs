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

    fn writer(&self, sampling: SamplingOptions) -> Writer<'_> {
        let sequence = self.model.sequence(&self.prompt, 200).expect("a sequence");
        Writer::new(sequence, self.model.files().tokenizer(), &self.table, sampling)
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
    // Without temperature the seed changes nothing.
    tiny.write(&pairs(), 0, 0.0, 400);
    for seed in 0..40 {
        for temperature in [1.0, 3.0] {
            tiny.write(&pairs(), seed, temperature, 400);
        }
    }
}

#[test]
fn the_model_decides_how_long_lists_and_texts_are() {
    let tiny = Tiny::load();
    let list = json!({ "type": "array", "items": { "enum": ["fact", "list"] }, "maxItems": 4 });
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let written = tiny.write(&list, seed, 2.0, 100);
        assert!(!written.cut, "{written:?}");
        lengths.insert(written.value.as_array().map_or(0, Vec::len));
    }
    assert!(lengths.len() > 2, "{lengths:?}");
    let texts: Vec<Written> = (0..60).map(|seed| tiny.write(&json!({ "type": "string" }), seed, 3.0, 100)).collect();
    let ended = texts.iter().filter(|written| !written.cut).count();
    assert!(ended > 2 && ended < 60, "{ended} of 60 texts were ended by the model");
}

#[test]
fn half_an_item_is_left_out() {
    let tiny = Tiny::load();
    // An item without its second text would break the schema; none has to be there.
    let text = json!({ "type": "string", "minLength": 1 });
    let pair = json!({ "type": "object", "properties": { "q": text, "a": text } });
    let schema = json!({ "type": "array", "items": pair, "maxItems": 50 });
    let written: Vec<Written> = (1..90).map(|max_tokens| tiny.write(&schema, 3, 3.0, max_tokens)).collect();
    assert!(written.iter().any(|written| written.cut), "none was cut");
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
        if max_tokens == 0 {
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
    let seen: std::collections::BTreeSet<String> = (0..200).map(|seed| tiny.write(&digits, seed, 3.0, 20).value.to_string()).collect();
    assert!(seen.len() > 6 && seen.iter().any(|n| n.len() == 2) && seen.contains("1"), "{seen:?}");
}

#[test]
fn what_a_token_says_of_the_next_item_is_heeded() {
    let tiny = Tiny::load();
    let goes_on = |ahead: &str, said: &str| {
        let mut writer = tiny.writer(SamplingOptions::GREEDY);
        writer.expect(ahead);
        writer.say(said);
        let goes_on = writer.goes_on(&Shape::Boolean, false).expect("a choice");
        // Where the token had said it, the model was not asked again.
        let asked = writer.sequence.ids().len() > tiny.prompt.len() || writer.step > 0;
        (goes_on, asked)
    };
    assert_eq!(goes_on("}, \n{", "}"), (true, false));
    assert_eq!(goes_on(" } ],", "}"), (false, false));
    assert_eq!(goes_on("],", ""), (false, false));
    assert!(goes_on("", "}").1 && goes_on("}", "}").1 && goes_on("],", "}").1);
}

#[test]
fn a_text_within_another_gets_no_space_before_it() {
    for name in ["gpt2", "llama2", "llama2-first", "llama2-noprefix", "llama3", "phi3", "qwen2", "smollm", "tekken"] {
        let tokenizer = Tokenizer::from_file(&fixture(format!("tokenizers/{name}.json"))).expect(name);
        let encode = |text: &str| tokenizer.encode(text, ControlWords::AsText).expect(text).ids;
        let before = encode("x");
        for text in ["{\"pairs\": [", " ?\", \"answer\": \"", "é\"}", "\"fact\"", "true"] {
            let within = tokens_within(&tokenizer, text).expect(text);
            assert_eq!(tokenizer.decode(&[before.as_slice(), &within].concat()), format!("x{text}"), "{name}");
        }
    }
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
        let mut writer = tiny.writer(sampling);
        writer.value(&shape, 0).expect("a value");
        writer.settle().expect("reads the end");
        let read = tokenizer.decode(&writer.sequence.ids()[tiny.prompt.len()..]);
        assert!(read.starts_with("{\"a\": \"") && read.contains("\", \"b\": ") && read.ends_with('}'), "{read}");
    }
}
