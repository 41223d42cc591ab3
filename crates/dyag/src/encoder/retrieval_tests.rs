//! Vectors and scores against sentence-transformers, from texts to numbers (made by tools/reference/make_retrieval_golden.py), and folders whose parts do not belong together.

#![expect(clippy::print_stdout, reason = "how near the references the numbers are")]

use dyag_kernels::Precision;
use dyag_kernels::cpu_device::CpuOptions;
use dyag_model::decoder::Likelihood;
use dyag_testing::fixture;
use dyag_text::{Message, Role, SourceLine, TextRole, Unit};
use serde_json::Value;

use super::*;
use crate::loaded_model::{LoadSettings, LoadedModel, SystemChoice};

fn folder(name: &str) -> PathBuf {
    fixture(Path::new("retrieval").join(name))
}

fn device() -> CpuDevice {
    CpuDevice::new(CpuOptions { precision: Precision::F32, threads: Some(2), level: None, int8_activations: false }).unwrap()
}

fn engine() -> EngineArgs {
    EngineArgs { device: crate::cli::DeviceChoice::Cpu, precision: PrecisionChoice::Auto, threads: Some(2) }
}

fn reference<T: serde::de::DeserializeOwned>(name: &str, key: &str) -> T {
    let file: Value = serde_json::from_slice(&std::fs::read(folder(name).join("reference.json")).unwrap()).unwrap();
    serde_json::from_value(file[key].clone()).unwrap()
}

fn largest_difference(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.len() == b.len()));
    found.concat().iter().zip(expected.concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    for (name, dimension) in [("e5", 20), ("bge-m3", 20), ("qwen3-embedding", 32)] {
        let embedder = open_embedder(&folder(name), device()).unwrap();
        assert_eq!((embedder.dimension(), embedder.name()), (dimension, name.to_owned()));
        let texts: Vec<String> = reference(name, "texts");
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut of_roles = Vec::new();
        for (role, key) in [(TextRole::Query, "query"), (TextRole::Document, "document"), (TextRole::Plain, "plain")] {
            let vectors = embedder.embed(&texts, role).unwrap();
            let error = largest_difference(&vectors, &reference::<Vec<Vec<f32>>>(name, key));
            println!("{name}, {key}: {error:e}");
            assert!(error <= 2e-6 && vectors.len() == 20, "{name}, {key}: {error}");
            of_roles.push(vectors);
        }
        assert_eq!(of_roles[0] == of_roles[2], name == "bge-m3", "prompts are put before texts where the folder has some");
        assert!(embedder.embed(&[], TextRole::Query).unwrap().is_empty());
    }
}

#[test]
fn scores_are_those_of_sentence_transformers() {
    for name in ["bert-reranker", "xlm-roberta-reranker", "camembert-reranker"] {
        let reranker = open_reranker(&folder(name), engine()).unwrap();
        let (queries, passages): (Vec<String>, Vec<String>) = (reference(name, "queries"), reference(name, "passages"));
        let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
        let scores: Vec<Vec<f32>> = queries.iter().map(|query| reranker.score(query, &passages).unwrap()).collect();
        let error = largest_difference(&scores, &reference::<Vec<Vec<f32>>>(name, "scores"));
        println!("{name}: {error:e}");
        assert!(error <= 2e-6 && scores.concat().len() == 80, "{name}: {error}");
        // A passage's score is its own.
        assert_eq!(reranker.score(&queries[1], &passages[6..7]).unwrap(), scores[1][6..7]);
        assert!(reranker.score("", &[]).unwrap().is_empty());
    }
}

#[test]
fn a_reranking_language_model_scores_by_its_yes_and_no() {
    // A reranker's name says that it is one.
    let guard = tempfile::tempdir().unwrap();
    let path = guard.path().join("Tiny-Reranker.gguf");
    std::fs::copy(fixture("tiny-chat/model.gguf"), &path).unwrap();
    let reranker = open_reranker(&path, engine()).unwrap();
    assert!(reranker.signature().contains("|score:yes-no|longest:"), "{}", reranker.signature());
    assert!(reranker.score("q", &[]).unwrap().is_empty());
    let long = "mot ".repeat(30_000);
    let passages = ["Le statut est en production.", "", &long];
    let scores = reranker.score("Quel est le statut ?", &passages).unwrap();
    for (score, passage) in scores.iter().zip(passages) {
        assert!((0.0..=1.0).contains(score), "{score}");
        // A passage's score is its own.
        assert_eq!(reranker.score("Quel est le statut ?", &[passage]).unwrap(), [*score]);
    }
    let model = language_model(&path);
    let turns = [
        Message::new(
            Role::System,
            "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \"yes\" or \"no\".",
        ),
        Message::new(
            Role::User,
            format!(
                "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n<Query>: Quel est le statut ?\n<Document>: {}",
                passages[0]
            ),
        ),
    ];
    let [yes, no] = ["yes", "no"].map(|answer| likelihood(&model, &turns, answer).log_likelihood);
    let expected = yes.exp() / (yes.exp() + no.exp());
    assert!((f64::from(scores[0]) - expected).abs() < 1e-5, "{} {expected}", scores[0]);
}

#[test]
fn another_language_model_scores_by_the_likelihood_of_the_question() {
    let path = fixture("tiny-chat/model.gguf");
    let reranker = open_reranker(&path, engine()).unwrap();
    assert!(reranker.signature().contains("|score:question|longest:"), "{}", reranker.signature());
    let long = "mot ".repeat(30_000);
    let passages = ["Le statut est en production.", "", &long, "Le domaine est la mer."];
    let endless = "quel ".repeat(5_000);
    let questions = ["Quel est le statut ?", "Quel domaine ?", "", &endless, "Quel est le statut ?"];
    let asked: Vec<(&str, Vec<&str>)> =
        questions.iter().enumerate().map(|(n, question)| (*question, passages.iter().copied().cycle().skip(n).take(4).collect())).collect();
    let mut told = Vec::new();
    let together = reranker.score_all(&asked, &mut |n| told.push(n)).unwrap();
    assert!(told.is_sorted() && told.last() == Some(&20), "{told:?}");
    for ((question, passages), scores) in asked.iter().zip(&together) {
        assert!(scores.iter().all(|score| *score <= 0.0), "{scores:?}");
        // A pair's score is its own, whatever it is computed with: the sums are in another order.
        let near = |alone: &[f32], scores: &[f32]| alone.iter().zip(scores).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(near(&reranker.score(question, passages).unwrap(), scores));
        for (passage, score) in passages.iter().zip(scores) {
            assert!(near(&reranker.score(question, &[passage]).unwrap(), &[*score]));
        }
    }
    // Passages differ, also those that had to be cut, and a blank question has nothing to be likely.
    let differ = |scores: &[f32]| (0..4).all(|a| (a + 1..4).all(|b| (scores[a] - scores[b]).abs() > 1e-4));
    assert!(differ(&together[0]) && differ(&together[3]) && together[2] == [0.0; 4], "{together:?}");
    let turns = [Message::new(Role::User, format!("{}\n\nWrite a question that this passage answers, in its language.", passages[0]))];
    let expected = likelihood(&language_model(&path), &turns, questions[0]);
    let expected = expected.log_likelihood / expected.n_tokens as f64;
    assert!(expected < 0.0 && (f64::from(together[0][0]) - expected).abs() < 1e-5, "{} {expected}", together[0][0]);
}

fn language_model(path: &Path) -> LoadedModel {
    let base_model = Some(path.display().to_string());
    let settings = LoadSettings { adapter: None, base_model, quantize: None, system: SystemChoice::AsTrained, engine: engine() };
    LoadedModel::open(settings, false).unwrap()
}

fn likelihood(model: &LoadedModel, turns: &[Message], answer: &str) -> Likelihood {
    let source = SourceLine { path: Path::new("x").into(), line: 1, unit: Unit::Item };
    let group = model.answered(turns, answer, &source).unwrap();
    model.log_likelihoods(&[group], &mut |_| {}).unwrap()[0][0]
}

#[test]
fn signatures_say_what_scores_depend_on() {
    let reranker = open_reranker(&folder("xlm-roberta-reranker"), engine()).unwrap();
    let signature = reranker.signature();
    assert!(signature.starts_with("model:xlm-roberta-reranker@") && signature.ends_with("|score:sigmoid|longest:58"), "{signature}");
    let embedder = open_embedder(&folder("qwen3-embedding"), device()).unwrap();
    let signature = embedder.signature();
    let end =
        "|pool:lasttoken|norm:l2|longest:96|prompt:\"\"|query:\"Instruct: trouver les passages qui répondent\\nQuery:\"|document:\"\"";
    assert!(signature.starts_with("model:qwen3-embedding@") && signature.ends_with(end), "{signature}");
}

/// The message about a copy of a folder that was changed.
fn refused(name: &str, change: impl FnOnce(&Path)) -> String {
    let guard = tempfile::tempdir().unwrap();
    let copy = guard.path().join(name);
    for from in [folder(name), folder(name).join("1_Pooling")].iter().filter(|from| from.exists()) {
        let to = copy.join(from.strip_prefix(folder(name)).unwrap());
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    change(&copy);
    let opened = if name.ends_with("reranker") { open_reranker(&copy, engine()).err() } else { open_embedder(&copy, device()).err() };
    opened.expect("refused").to_string()
}

#[test]
fn tokenizers_that_do_not_belong_to_the_model_are_refused() {
    let widen = |path: &Path| {
        let file = path.join("tokenizer.json");
        let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let mut added = tokenizer["added_tokens"][0].clone();
        added["id"] = 5000.into();
        added["content"] = "<far>".into();
        // Ids of added tokens follow the vocabulary: many of them reach beyond the embedding.
        let many = (0..400).map(|i| {
            let mut one = added.clone();
            one["content"] = format!("<far{i}>").into();
            one
        });
        tokenizer["added_tokens"].as_array_mut().unwrap().extend(many);
        std::fs::write(&file, tokenizer.to_string()).unwrap();
    };
    for name in ["bert-reranker", "xlm-roberta-reranker", "e5", "qwen3-embedding"] {
        let message = refused(name, widen);
        assert!(message.contains("tokenizer.json") && message.contains("do not belong together"), "{name}: {message}");
    }
}

#[test]
fn folders_without_what_is_needed_are_refused() {
    let without = |name, file: &'static str| refused(name, |path| std::fs::remove_file(path.join(file)).unwrap());
    assert!(without("qwen3-embedding", "modules.json").contains("expected modules.json"));
    assert!(without("e5", "tokenizer.json").contains("tokenizer.json"));
    assert!(without("bert-reranker", "model.safetensors").contains("model.safetensors"));
    assert!(without("bge-m3", "config.json").contains("config.json"));
    assert!(open_reranker(&folder("bge-m3"), engine()).err().unwrap().to_string().contains("XLMRobertaForSequenceClassification"));
    assert!(open_reranker(&folder("qwen3-embedding"), engine()).err().unwrap().to_string().contains("qwen3"));
}

/// How far vectors of real models are from those in the file `DYAG_TEST_VECTORS` that tools/reference/real_vectors.py wrote, where it is given.
#[test]
fn vectors_of_many_texts() {
    let (Some(models), Some(file)) = (std::env::var_os("DYAG_TEST_ENCODERS"), std::env::var_os("DYAG_TEST_VECTORS")) else {
        println!("skipped: DYAG_TEST_ENCODERS and DYAG_TEST_VECTORS name no models and no vectors");
        return;
    };
    let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(file["texts"].clone()).unwrap();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (name, of_roles) in file["models"].as_object().unwrap() {
        let embedder = open_embedder(&Path::new(&models).join(name), device()).unwrap();
        for (role, key) in [(TextRole::Query, "query"), (TextRole::Document, "document")] {
            let expected: Vec<Vec<f32>> = serde_json::from_value(of_roles[key].clone()).unwrap();
            let error = largest_difference(&embedder.embed(&texts, role).unwrap(), &expected);
            println!("{name}, {key}: {error:e} at most, {} texts", texts.len());
            assert!(error <= 1e-5, "{name}, {key}: {error}");
        }
    }
}
