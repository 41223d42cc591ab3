//! The program without a command, with a wrong one, and its help.

mod common;

use common::Place;

#[test]
fn a_wrong_command_is_a_usage_error() {
    let outcome = Place::new().run(&["finetoon"]);
    assert_eq!(outcome.code, Some(2));
    assert_eq!(outcome.stdout, "");
    insta::assert_snapshot!(outcome.stderr, @"");
}

#[test]
fn without_a_command_it_prints_its_help() {
    let outcome = Place::new().run(&[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("Usage: dyag <COMMAND>"), "{outcome}");
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = Place::new().run(&["--help"]);
    insta::assert_snapshot!(help, @"");
    let version = Place::new().run(&["--version"]);
    assert_eq!((version.code, version.stdout), (Some(0), format!("dyag {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_command_has_help_that_names_its_flags() {
    for (command, flags) in [
        ("finetune", ["--dataset", "--output", "--base-model", "--epochs", "--resume"].as_slice()),
        ("query-finetuned", ["--model", "--base-model", "--temperature", "--max-tokens", "--questions"].as_slice()),
        ("check", ["--model", "--adapter", "--reference"].as_slice()),
        ("inspect", ["--dataset", "--base-model", "--line"].as_slice()),
    ] {
        let help = Place::new().run(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{help}");
        for flag in flags {
            assert!(help.stdout.contains(flag), "{command} --help does not name {flag}:\n{help}");
        }
    }
}
