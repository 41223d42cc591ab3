//! Both ways of loading against the ids of Transformers (made by tools/reference/make_tokenizer_fixtures.py), and what is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::excerpt;
use crate::template::SpecialTokens;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../fixtures/tokenizers/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn spec(name: &str) -> TokenizerSpec {
    serde_json::from_slice(&fixture(&format!("{name}.spec.json"))).unwrap()
}

fn from_file(name: &str) -> Tokenizer {
    Tokenizer::from_json(&fixture(&format!("{name}.json")), name).unwrap()
}

/// Compares every case of a fixture. Returns how many there are.
fn compare(name: &str, way: &str, tokenizer: &Tokenizer) -> usize {
    let file: Value = serde_json::from_slice(&fixture(&format!("{name}.ids.json"))).unwrap();
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let text = case["text"].as_str().unwrap().repeat(case["times"].as_u64().unwrap() as usize);
        let controls = if case["controls"] == true { ControlWords::Recognised } else { ControlWords::AsText };
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let encoding = tokenizer.encode(&text, controls).unwrap();
        let shown = excerpt(&text, 80);
        assert_eq!(encoding.ids, expected, "{name} by its {way}: {shown:?}, control words {controls:?}");
        assert_eq!(encoding.bytes.len(), expected.len());
        assert!(
            encoding.bytes.iter().all(|range| text.is_char_boundary(range.start) && text.is_char_boundary(range.end)),
            "{name}: {shown:?}"
        );
        if let Some(decoded) = case["decoded"].as_str() {
            assert_eq!(tokenizer.decode(&expected), decoded, "{name} by its {way}: {shown:?}");
        }
    }
    cases.len()
}

#[test]
fn ids_are_those_of_transformers() {
    let names = ["qwen2", "llama3", "smollm", "gpt2", "tekken", "llama2", "llama2-noprefix", "phi3"];
    for name in names {
        let (file, spec) = (from_file(name), Tokenizer::from_spec(&spec(name), name).unwrap());
        assert!(compare(name, "tokenizer.json", &file) > 50);
        compare(name, "GGUF metadata", &spec);
        assert_eq!(file.vocabulary_hash(), spec.vocabulary_hash(), "{name}");
        assert_eq!(file.id_limit(), spec.id_limit(), "{name}");
        assert_eq!(serde_json::from_str::<Value>(&file.to_json()).unwrap()["version"], "1.0", "without it others refuse the file");
        compare(name, "tokenizer.json, written again", &Tokenizer::from_json(file.to_json().as_bytes(), name).unwrap());
        compare(name, "GGUF metadata, written as a tokenizer.json", &Tokenizer::from_json(spec.to_json().as_bytes(), name).unwrap());
    }
    compare("llama2-first", "tokenizer.json", &from_file("llama2-first"));
}

#[test]
fn a_tokenizer_json_becomes_the_metadata_that_converters_write() {
    for name in ["qwen2", "llama3", "smollm", "gpt2", "tekken", "llama2", "llama2-noprefix", "phi3"] {
        let expected = spec(name);
        let word = |id: Option<u32>| id.map(|id| expected.tokens[id as usize].clone());
        let special = SpecialTokens { bos: word(expected.bos), eos: word(expected.eos), unk: word(expected.unk), pad: word(expected.pad) };
        let found = TokenizerSpec::from_json(&fixture(&format!("{name}.json")), &special, name).unwrap();
        let rebuilt = Tokenizer::from_spec(&found, name).unwrap();
        compare(name, "tokenizer.json, made metadata", &rebuilt);
        assert_eq!(rebuilt.vocabulary_hash(), from_file(name).vocabulary_hash(), "{name}");
        // Converters fill up to the rows of an embedding that is not known here.
        let n = found.tokens.len();
        let fill: Vec<i32> = vec![5; expected.tokens.len() - n];
        assert!(found.model == expected.model && found.tokens == expected.tokens[..n], "{name}");
        assert!(found.token_types == expected.token_types[..n] && expected.token_types[n..] == fill, "{name}");
        assert!(found.merges == expected.merges, "{name}");
        assert_eq!((found.bos, found.eos, found.pad), (expected.bos, expected.eos, expected.pad), "{name}");
        if found.model == "gpt2" {
            assert_eq!(found.pre, expected.pre, "{name}");
        } else {
            assert_eq!(found.add_space_prefix.unwrap_or(true), expected.add_space_prefix.unwrap_or(true), "{name}");
            assert_eq!(found.scores.len(), found.tokens.len());
        }
    }
}

#[test]
fn a_splitting_rule_without_a_name_is_refused_by_what_it_is() {
    let mut file: Value = serde_json::from_slice(&fixture("qwen2.json")).unwrap();
    file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!(r"\p{L}+|\p{N}{1,7}");
    let message = TokenizerSpec::from_json(file.to_string().as_bytes(), &SpecialTokens::default(), "t.json").unwrap_err().to_string();
    assert!(message.contains("t.json") && message.contains(r"{1,7}") && message.contains("llama-bpe"), "{message}");
}

#[test]
fn the_vocabulary_hash_sees_one_changed_token() {
    let mut changed = spec("qwen2");
    let hash = Tokenizer::from_spec(&changed, "test").unwrap().vocabulary_hash();
    assert_eq!(hash.len(), 64);
    let last = changed.tokens.iter().position(|token| token == "</tool_call>").unwrap();
    changed.tokens[last] = "</tool_kall>".into();
    assert_ne!(Tokenizer::from_spec(&changed, "test").unwrap().vocabulary_hash(), hash);
}

#[test]
fn control_words_have_their_own_bytes() {
    let tokenizer = from_file("phi3");
    let text = "<|user|>\n  été<|end|>\n";
    let encoding = tokenizer.encode(text, ControlWords::Recognised).unwrap();
    let spans: Vec<&str> = encoding.bytes.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!((spans[0], *spans.last().unwrap()), ("<|user|>", "<|end|>"), "{spans:?}");
    assert_eq!(tokenizer.control_words(text).len(), 2);
    assert!(tokenizer.is_control(encoding.ids[0]) && !tokenizer.is_control(encoding.ids[1]));
    assert_eq!(tokenizer.id_of("<|user|>"), Some(encoding.ids[0]));
    assert_eq!(tokenizer.token(encoding.ids[0]).as_deref(), Some("<|user|>"));
}

#[test]
fn a_character_comes_when_its_last_byte_does() {
    let tokenizer = Tokenizer::from_spec(&spec("llama2"), "test").unwrap();
    let byte = |byte: u8| tokenizer.id_of(&format!("<0x{byte:02X}>")).unwrap();
    let mut stream = tokenizer.stream();
    let pieces: Vec<String> = [0xF0, 0x9F, 0x99, 0x82, b'a', 0xC3].map(|b| stream.push(byte(b))).into();
    assert_eq!(pieces, ["", "", "", "🙂", "a", ""]);
    assert_eq!(stream.push(byte(b'!')), "\u{FFFD}!", "a byte that nothing completed");
    assert_eq!(stream.push(u32::MAX), "", "an id that is not in the vocabulary");
    stream.push(byte(0xE2));
    assert_eq!(stream.finish(), "\u{FFFD}");
}

#[test]
fn specs_that_contradict_themselves_are_refused() {
    let refuse = |change: &dyn Fn(&mut TokenizerSpec), name: &str, wanted: &str| {
        let mut changed = spec(name);
        change(&mut changed);
        let message = Tokenizer::from_spec(&changed, "m.gguf").unwrap_err().to_string();
        assert!(message.starts_with("m.gguf: ") && message.contains(wanted), "{message}");
    };
    refuse(&|spec| spec.pre = Some("qwen9".into()), "qwen2", "tokenizer.ggml.pre: expected one of qwen2, deepseek-r1-qwen, llama-bpe");
    refuse(&|spec| spec.pre = None, "qwen2", "tokenizer.ggml.pre");
    refuse(&|spec| spec.model = "bert".into(), "qwen2", "tokenizer.ggml.model: expected \"gpt2\"");
    refuse(&|spec| spec.tokens.clear(), "qwen2", "tokenizer.ggml.tokens");
    refuse(&|spec| spec.token_types.truncate(3), "qwen2", "types, one a token, found 3");
    refuse(&|spec| spec.eos = Some(u32::MAX), "qwen2", "tokenizer.ggml.eos_token_id");
    refuse(&|spec| spec.tokens[1] = spec.tokens[0].clone(), "qwen2", "tokenizer.ggml.tokens[1]: expected a text of its own");
    refuse(&|spec| spec.merges.push("x".into()), "qwen2", "expected two pieces");
    refuse(&|spec| spec.merges.push("nowhere found".into()), "qwen2", "expected two pieces of the vocabulary that make a third");
    refuse(&|spec| spec.token_types[200] = 5, "qwen2", "a token for each of the 256 bytes");
    refuse(&|spec| spec.scores.truncate(3), "llama2", "scores, one a token, found 3");
    refuse(&|spec| spec.scores[5] = f32::NAN, "llama2", "tokenizer.ggml.scores[5]");
}

#[test]
fn tokenizer_files_of_other_kinds_are_refused() {
    let refuse = |bytes: &[u8], wanted: &str| {
        let message = Tokenizer::from_json(bytes, "tokenizer.json").unwrap_err().to_string();
        assert!(message.starts_with("tokenizer.json: ") && message.contains(wanted), "{message}");
    };
    refuse(b"", "EOF");
    refuse(b"[]", "invalid");
    refuse(b"{}", "model: expected a model of type BPE, found no such key");
    refuse(br#"{"model": {"type": "Unigram"}}"#, "model.type: expected BPE");
    refuse(br#"{"model": {"vocab": {}}}"#, "missing field `merges`");
    let changed = |path: &str, value: Value| {
        let mut file: Value = serde_json::from_slice(&fixture("qwen2.json")).unwrap();
        *file.pointer_mut(path).unwrap() = value;
        file.to_string().into_bytes()
    };
    refuse(&changed("/model/dropout", json!(0.1)), "model.dropout");
    refuse(&changed("/model/end_of_word_suffix", json!("</w>")), "model.end_of_word_suffix");
    refuse(&changed("/normalizer", json!({"type": "Unheard"})), "normalizer");
    refuse(&changed("/pre_tokenizer", json!({"type": "BertPreTokenizer"})), "pre_tokenizer.type");
    refuse(&changed("/pre_tokenizer/pretokenizers/0/pattern", json!({"Regex": "("})), "pre_tokenizer: expected a pattern");
    refuse(&changed("/decoder", json!({"type": "WordPiece", "prefix": "##", "cleanup": true})), "decoder");
    refuse(&changed("/decoder", Value::Null), "decoder");
    refuse(&changed("/added_tokens/0/content", json!("")), "added_tokens");
    refuse(&changed("/model/unk_token", json!("nowhere")), "model.unk_token");
    refuse(
        &changed("/added_tokens/0/id", json!(1601)),
        "added_tokens: expected an id of its own for each token, found the id 1601 for both",
    );
    refuse(&changed("/model/vocab/a", json!(65)), "model.vocab: expected an id of its own for each token, found the id 65 for both");
    refuse(&changed("/added_tokens/0/content", json!("a")), "added_tokens: expected one id for each token, found \"a\" with the id 1600");
    let missing = Tokenizer::from_file(Path::new("nowhere/tokenizer.json")).unwrap_err().to_string();
    assert!(missing.starts_with("nowhere/tokenizer.json: cannot be read"), "{missing}");
}

#[test]
fn a_splitting_rule_that_gives_up_is_an_error() {
    let tokenizer = from_file("qwen2");
    let message = tokenizer.encode(&" ".repeat(1_100_000), ControlWords::AsText).unwrap_err().to_string();
    assert!(message.starts_with("a text of 1100000 bytes cannot be encoded: "), "{message}");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~\\n\\té<|>▁]{0,60}",
        proptest::collection::vec("(<s>|</s>|<unk>|<\\|eot_id\\|>|[a-z ]{1,4}|\\PC)", 0..12).prop_map(|pieces| pieces.concat())
    ]
}

proptest! {
    #[test]
    fn text_survives_and_never_controls(text in any_text()) {
        for name in ["llama3", "gpt2", "tekken", "llama2", "llama2-noprefix", "phi3"] {
            CACHE.with(|cache| {
                let tokenizer = &cache.iter().find(|(other, _)| *other == name).unwrap().1;
                // SentencePiece writes spaces as `▁`, so it gives that very character back as a space.
                let text = if name.starts_with("llama2") || name == "phi3" { text.replace('▁', " ") } else { text.clone() };
                let encoding = tokenizer.encode(&text, ControlWords::AsText).unwrap();
                prop_assert!(encoding.ids.iter().all(|id| !tokenizer.is_control(*id)), "{}: {:?}", name, encoding.ids);
                prop_assert_eq!(&tokenizer.decode(&encoding.ids), &text, "{}", name);
                let mut stream = tokenizer.stream();
                let mut streamed: String = encoding.ids.iter().map(|id| stream.push(*id)).collect();
                streamed.push_str(&stream.finish());
                prop_assert_eq!(&streamed, &text, "{}", name);
                Ok(())
            })?;
        }
    }

    #[test]
    fn qwen2_gives_the_composed_text(text in any_text()) {
        CACHE.with(|cache| {
            let tokenizer = &cache.last().unwrap().1;
            let encoding = tokenizer.encode(&text, ControlWords::AsText).unwrap();
            let mut composed = NormalizedString::from(text.as_str());
            tokenizers::normalizers::NFC.normalize(&mut composed).unwrap();
            prop_assert_eq!(tokenizer.decode(&encoding.ids), composed.get());
            Ok(())
        })?;
    }
}

thread_local! {
    static CACHE: Vec<(&'static str, Tokenizer)> =
        ["llama3", "gpt2", "tekken", "llama2", "llama2-noprefix", "phi3", "qwen2"].map(|name| (name, from_file(name))).into();
}
