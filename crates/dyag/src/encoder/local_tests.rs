//! BERTScore against bert-score 0.3.13 and vectors against sentence-transformers, through tokenizer, engine and metric (made by tools/reference/make_bertscore.py and make_encoder_golden.py).
//!
//! Two tiny models are in the repository. Real ones are tried where `DYAG_TEST_ENCODERS` names the folder that holds `all-minilm-l6-v2` and `multilingual-e5-small`.

#![expect(clippy::print_stdout, reason = "how near the references the numbers are, and what was skipped")]

use std::path::PathBuf;
use std::time::Instant;

use dyag_eval::metrics::{BertScore, bert_score, cosine};
use dyag_kernels::Precision;
use dyag_kernels::cpu_device::CpuOptions;
use dyag_testing::{fixture, relative_to_largest};
use serde_json::Value;

use super::*;

fn open(folder: &Path, layer: usize, threads: usize) -> LocalEncoder {
    let options = CpuOptions { precision: Precision::F32, threads: Some(threads), level: None, int8_activations: false };
    LocalEncoder::open(folder, Some(layer), CpuDevice::new(options).unwrap()).unwrap()
}

fn json(name: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn pairs() -> Vec<(String, String)> {
    let lines = std::fs::read_to_string(fixture("bertscore/pairs.jsonl")).unwrap();
    let pair = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (text("answer"), text("expected"))
    };
    lines.lines().map(pair).collect()
}

fn all_tokens(encoder: &LocalEncoder, texts: &[&str]) -> Vec<TokenVectors> {
    let mut all = vec![TokenVectors::default(); texts.len()];
    encoder.encode_tokens(texts, &mut |text, tokens| all[text] = tokens).unwrap();
    all
}

/// The largest difference from the reference of a model.
fn check_bertscore(folder: &Path, name: &str) {
    let reference = json(format!("bertscore/{name}.json"));
    let encoder = open(folder, reference["layers"].as_u64().unwrap() as usize, 2);
    let (pairs, scores) = (pairs(), reference["scores"].as_array().unwrap());
    assert!(pairs.len() == scores.len() && pairs.len() >= 500);
    let [answers, expected] = [
        all_tokens(&encoder, &pairs.iter().map(|pair| pair.0.as_str()).collect::<Vec<_>>()),
        all_tokens(&encoder, &pairs.iter().map(|pair| pair.1.as_str()).collect::<Vec<_>>()),
    ];
    let mut largest = (0.0, 0);
    for (place, score) in scores.iter().enumerate() {
        let BertScore { precision, recall, f1 } = bert_score(&answers[place], &expected[place]);
        for (part, got) in [precision, recall, f1].into_iter().enumerate() {
            // Not a number: nothing but special tokens.
            let difference = (got - score[part].as_f64().unwrap_or(0.0)).abs();
            largest = if difference > largest.0 { (difference, place) } else { largest };
        }
    }
    println!("{name}: {:e} at most, pair {}", largest.0, largest.1);
    assert!(largest.0 <= 1e-5, "{name}: {largest:?}, {:?}", pairs[largest.1]);
}

#[test]
fn bertscore_is_that_of_bert_score() {
    for name in ["bert", "xlm-roberta"] {
        check_bertscore(&fixture(Path::new("encoder").join(name)), name);
    }
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    for name in ["bert", "xlm-roberta"] {
        let folder = fixture(Path::new("encoder").join(name));
        let encoder = open(&folder, 1, 1);
        let reference = dyag_model::weights::SafetensorsFile::open(&folder.join("reference.safetensors")).unwrap();
        let texts: Vec<String> = serde_json::from_value(json(format!("encoder/{name}/texts.json"))["texts"].clone()).unwrap();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (role, key) in [(TextRole::Plain, "plain"), (TextRole::Query, "query"), (TextRole::Document, "document")] {
            let vectors = encoder.embed(&texts, role).unwrap().concat();
            let error = relative_to_largest(&vectors, &reference.tensor(key).unwrap().to_f32().unwrap());
            assert!(error <= 1e-5, "{name}, {key}: {error}");
        }
        assert_eq!(encoder.dimension(), encoder.embed(&["a"], TextRole::Plain).unwrap()[0].len());
    }
}

/// Folders of real models, where there are any.
fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DYAG_TEST_ENCODERS").map(|root| Path::new(&root).join(name)).filter(|folder| folder.exists());
    if folder.is_none() {
        println!("skipped: DYAG_TEST_ENCODERS names no folder with {name}");
    }
    folder
}

#[test]
fn bertscore_of_real_models() {
    for name in ["all-minilm-l6-v2", "multilingual-e5-small"] {
        if let Some(folder) = real(name) {
            check_bertscore(&folder, name);
        }
    }
}

#[test]
fn vectors_of_real_models() {
    for name in ["all-minilm-l6-v2", "multilingual-e5-small"] {
        let Some(folder) = real(name) else { continue };
        let reference = json(format!("encoder/real/{name}.json"));
        let encoder = open(&folder, 1, 2);
        let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (role, key) in [(TextRole::Query, "query"), (TextRole::Document, "document")] {
            let vectors = encoder.embed(&texts, role).unwrap();
            let first: Vec<f32> = vectors.iter().flat_map(|vector| &vector[..16]).copied().collect();
            let expected: Vec<f32> = serde_json::from_value(reference[key]["first"].clone()).unwrap();
            let error = relative_to_largest(&first, &expected);
            let cosines: Vec<f64> = serde_json::from_value(reference[key]["cosines"].clone()).unwrap();
            let of_cosines = vectors
                .windows(2)
                .zip(&cosines)
                .map(|(pair, cosine_there)| (cosine(&pair[0], &pair[1]) - cosine_there).abs())
                .fold(0.0, f64::max);
            println!("{name}, {key}: {error:e} of the largest, cosines {of_cosines:e}");
            assert!(error <= 1e-5 && of_cosines <= 1e-5 && cosines.len() + 1 == texts.len(), "{name}, {key}: {error} {of_cosines}");
        }
    }
}

#[test]
fn white_space_is_pythons() {
    let encoder = open(&fixture("encoder/bert"), 1, 1);
    for (text, stripped) in [(" a b\u{1f}\n", "a b"), ("\u{a0}\u{1c}", ""), ("\u{200b}a", "\u{200b}a")] {
        assert_eq!(encoder.for_bertscore(text), stripped);
    }
}

#[test]
fn signatures_name_weights_and_choices() {
    let encoder = open(&fixture("encoder/bert"), 2, 1);
    let of_tokens = TokenEncoder::signature(&encoder);
    assert!(of_tokens.starts_with("model:bert@") && of_tokens.ends_with("|layer:2|longest:48"), "{of_tokens}");
    let of_texts = Embedder::signature(&encoder);
    assert!(of_texts.ends_with("|pool:mean|norm:l2|longest:32|prompt:\"\"|query:\"question : \"|document:\"service : \""), "{of_texts}");
}

/// Texts a second through tokenizer, layers and pooling, of the texts in the file `DYAG_BENCH_TEXTS` (a JSON string a line): what tools/bench/encoder_against_python.py compares.
#[test]
#[ignore = "a measurement: it needs DYAG_TEST_ENCODERS, DYAG_BENCH_TEXTS and a quiet machine"]
fn speed() {
    let file = std::fs::read_to_string(std::env::var("DYAG_BENCH_TEXTS").unwrap()).unwrap();
    let texts: Vec<String> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let rounds: usize = std::env::var("DYAG_BENCH_ROUNDS").map_or(3, |n| n.parse().unwrap());
    for name in ["all-minilm-l6-v2", "multilingual-e5-small"] {
        let Some(folder) = real(name) else { continue };
        let encoder = open(&folder, 1, 2);
        let tokens = encoder.tokens(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), 256).unwrap();
        let (n_tokens, flops) = tokens.iter().fold((0, 0.0), |(n, flops), tokens| {
            let (config, t) = (encoder.encoder.config(), tokens.ids.len());
            let (c, f) = (config.hidden_size, config.intermediate_size);
            let a_layer = 2.0 * t as f64 * (4 * c * c + 2 * c * f + 2 * t * c) as f64;
            (n + t, flops + config.n_layers as f64 * a_layer)
        });
        let mut times = Vec::new();
        for _ in 0..rounds {
            let start = Instant::now();
            encoder.embed(&texts, TextRole::Plain).unwrap();
            times.push(start.elapsed().as_secs_f64());
        }
        let start = Instant::now();
        encoder.tokens(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), 256).unwrap();
        let tokenizing = start.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!(
            "speed {name} {:.1} texts/s {:.0} tokens/s {:.1} GFLOP/s of products; tokenizer {:.1} % of the time",
            texts.len() as f64 / median,
            n_tokens as f64 / median,
            flops / median / 1e9,
            100.0 * tokenizing / median
        );
    }
}
