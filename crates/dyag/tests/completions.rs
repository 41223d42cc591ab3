//! Completions and manual pages: the shell takes them, and they know every command.

mod common;

use std::process::Command;

use common::Place;

#[test]
fn every_shell_has_completions_that_know_commands_and_flags() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let outcome = place.run(&["completions", shell]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
        for part in ["generate-training", "lora-rank", "show-config"] {
            assert!(outcome.stdout.contains(part), "{shell}: no {part}");
        }
    }
    assert_eq!(place.run(&["completions", "tcsh"]).code, Some(2));
}

#[test]
#[cfg(unix)]
fn bash_completes_a_command_a_flag_and_a_value() {
    let place = Place::new();
    place.write("dyag.bash", place.run(&["completions", "bash"]).stdout);
    for (words, expected) in [
        (vec!["dyag", "finet"], "finetune"),
        (vec!["dyag", "finetune", "--lora-ra"], "--lora-rank"),
        (vec!["dyag", "models", "pu"], "pull"),
        (vec!["dyag", "--lang", "f"], "fr"),
    ] {
        let last = words.len() - 1;
        let script = format!(
            "source dyag.bash; COMP_WORDS=({}); COMP_CWORD={last}; _dyag dyag '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words[last],
            words[last - 1]
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).current_dir(place.path("")).output().expect("bash runs");
        let found = String::from_utf8_lossy(&output.stdout);
        assert!(found.lines().any(|line| line == expected), "{words:?}: {found}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_command_has_a_manual_page_with_its_examples() {
    let place = Place::new();
    let outcome = place.run(&["man", "--output", "pages/man1"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let pages = place.files("pages");
    assert_eq!(outcome.stdout, format!("{} pages: pages/man1/dyag.1\n", pages.len()));
    for name in ["dyag.1", "dyag-finetune.1", "dyag-query-rag.1", "dyag-models-pull.1", "dyag-doctor.1", "dyag-man.1"] {
        assert!(pages.contains(&format!("pages/man1/{name}")), "{pages:?}");
    }
    assert!(!pages.iter().any(|page| page.contains("help")), "{pages:?}");
    let page = place.read("pages/man1/dyag-models-pull.1");
    assert!(page.contains(".TH dyag-models-pull 1") && page.contains("dyag models pull qwen2.5:1.5b"), "{page}");
    assert!(page.contains("\\-\\-connections"), "{page}");
    place.write("file", "");
    assert_eq!(place.run(&["man", "--output", "file/man1"]).code, Some(2));
}
