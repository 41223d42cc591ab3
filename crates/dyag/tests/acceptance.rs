//! The scripts of tools/acceptance, on the tiny model: runs that are killed and resumed, one thread and two, peak memory.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::{Place, root};

/// Runs a script with arguments for `finetune` after it, and gives what it printed on stdout.
fn script(place: &Place, name: &str, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = Command::new(root().join("tools/acceptance").join(name))
        .arg(env!("CARGO_BIN_EXE_dyag"))
        .args(["--base-model", "model", "--dataset", "train.jsonl", "--batch-size", "1", "--accumulation", "2"])
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(place.path(""))
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

fn place() -> Place {
    let place = Place::new();
    place.model();
    place.dataset();
    place
}

#[test]
fn a_run_that_is_killed_and_resumed_ends_with_the_same_bytes() {
    let place = place();
    let work = place.path("work").display().to_string();
    // Dropout and a moving schedule make every step depend on the state that a checkpoint has to carry.
    let arguments = ["--max-steps", "60", "--dropout", "0.1", "--learning-rate", "1e-3", "--validation-split", "0.5"];
    let said = script(&place, "kill_resume.sh", &[("KILLS", "3"), ("LEAST", "1"), ("WORK", &work)], &arguments);
    assert!(said.contains("same bytes"), "{said}");
}

#[test]
fn one_thread_and_two_give_the_same_bytes() {
    let said = script(&place(), "threads.sh", &[], &["--max-steps", "3"]);
    assert!(said.contains("same bytes"), "{said}");
}

#[test]
fn peak_memory_is_measured_and_limited() {
    let said = script(&place(), "memory.sh", &[("LIMIT_GB", "4")], &["--max-steps", "3"]);
    assert!(said.starts_with("peak resident memory: 0."), "{said}");
}

#[test]
fn runs_that_differ_are_told_apart() {
    let place = place();
    for (output, rate) in [("a", "1e-3"), ("b", "2e-3")] {
        let arguments = ["finetune", "--base-model", "model", "--dataset", "train.jsonl", "--max-steps", "2", "--output", output];
        let outcome = place.run(&[arguments.as_slice(), &["--learning-rate", rate]].concat());
        assert_eq!(outcome.code, Some(0), "{outcome}");
    }
    let compare = |one: &str, other: &str| {
        let script = root().join("tools/acceptance/compare_runs.sh");
        Command::new(script).args([one, other]).current_dir(place.path("")).output().expect("the script runs")
    };
    assert_eq!(compare("a", "a").status.code(), Some(0));
    let different = compare("a", "b");
    assert_eq!(different.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&different.stderr).contains("final/adapter_model.safetensors"));
}
