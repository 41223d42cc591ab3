//! The documents tell the truth: every command in them runs, in their order, on the tiny model; every link leads somewhere.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Place, root, tiny_repo};
use dyag_testing::TestHub;

/// What is run by whoever runs this test, or by `.ci/run`.
const RUN_ELSEWHERE: [&str; 2] = ["cargo run --release -- demo", "cargo test --workspace"];

fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].iter().map(|name| root().join(name)).collect();
    let mut guides: Vec<PathBuf> = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path()).collect();
    guides.sort();
    paths.extend(guides.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.strip_prefix(root()).expect("below the root").display().to_string(), text)
        })
        .collect()
}

/// The lines of the blocks that are fenced as `sh`.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside && !line.trim().is_empty() => lines.push(line),
            _ => {}
        }
    }
    lines
}

/// Words as a shell would split them: double quotes hold words together.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("one at least").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_documents_runs() {
    for (name, text) in documents() {
        let place = Place::new();
        // A model hub on this machine, where the smallest model of the documents is the tiny one of the tests.
        let hub = TestHub::with(tiny_repo("Qwen/Qwen2.5-0.5B-Instruct"));
        place.online(&hub);
        place.write("path/to/model.gguf", fs::read(root().join("fixtures/tiny-chat/model.gguf")).expect("the fixture"));
        for file in ["train.jsonl", "test.jsonl", "applications.md", "chunks.jsonl", "choices.toml", "choices.jsonl"] {
            place.write(&format!("examples/apps10/{file}"), fs::read(root().join("examples/apps10").join(file)).expect("the example"));
        }
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            place
                .write(&format!("path/to/encoder/{file}"), fs::read(root().join("fixtures/encoder/bert").join(file)).expect("the fixture"));
        }
        for command in commands(&text) {
            if RUN_ELSEWHERE.contains(&command) {
                continue;
            }
            let arguments = command
                .strip_prefix("cargo run --release -- ")
                .unwrap_or_else(|| panic!("{name}: nothing runs the command `{command}`; take it out of the block, or teach this test"));
            let mut words = words(arguments);
            for word in &mut words {
                if word.starts_with("fixtures/") {
                    *word = root().join(&*word).display().to_string();
                }
            }
            let talks = matches!(&*words[0], "query-finetuned" | "evaluate-finetuned" | "query-rag" | "ask" | "evaluate-rag");
            if talks && !words.iter().any(|word| word == "--passages-only") {
                // A tiny model that was never taught to stop talks until it is stopped.
                words.extend(["--max-tokens".to_owned(), "4".to_owned()]);
            }
            if words[0] == "finetune" {
                // The tiny tokenizer has 515 tokens, so texts are three times as long as for a real model.
                words.push("--truncate".to_owned());
            }
            let outcome = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(outcome.code, Some(0), "{name}: {command}\n{outcome}");
        }
    }
}

#[test]
fn the_readme_runs_the_main_job_and_the_tests() {
    let readme = documents().remove(0).1;
    let commands = commands(&readme);
    assert_eq!(commands[0], "cargo run --release -- demo");
    assert!(commands.iter().any(|command| command.starts_with("cargo run --release -- finetune ")), "{commands:?}");
    assert!(commands.iter().any(|command| command.starts_with("cargo test")), "{commands:?}");
}

#[test]
fn every_link_leads_somewhere() {
    for (name, text) in documents() {
        let folder = root().join(&name).parent().expect("a parent").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = folder.join(link.split('#').next().expect("one part at least"));
            assert!(target.exists(), "{name} links to {link}, which is not there");
        }
    }
}

#[test]
fn every_dependency_has_its_reason_in_the_architecture() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let architecture = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the architecture");
    let named: Vec<&str> =
        architecture.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).flat_map(|names| names.split(", ")).collect();
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("a section").split("\n[").next().expect("its lines");
    let dependencies: Vec<&str> =
        section.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).filter(|name| !name.starts_with("dyag")).collect();
    assert!(dependencies.len() > 10, "{dependencies:?}");
    for name in dependencies {
        assert!(named.contains(&name), "docs/ARCHITECTURE.md does not say why {name} is there");
    }
}

#[test]
fn every_rule_of_recommendations_is_listed() {
    let guide = fs::read_to_string(root().join("docs/evaluation.md")).expect("the guide");
    for rule in dyag_eval::comparison::RULES {
        assert!(guide.contains(&format!("| `{}` | {} |", rule.name, rule.when)), "docs/evaluation.md does not list {}", rule.name);
    }
}
