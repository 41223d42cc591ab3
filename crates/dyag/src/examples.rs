//! Examples in the help of each command. A test reads every one with the program's own parser.

use std::fmt::Write as _;

use crate::language::Language;

/// Each command with lines that it is called by.
const EXAMPLES: [(&str, &[&str]); 30] = [
    ("demo", &["dyag demo", "dyag demo --documents notes/ --base-model qwen2.5:0.5b --output first-look"]),
    (
        "chunk",
        &["dyag chunk documents/ --output chunks.jsonl", "dyag chunk notes.md report.pdf --by size --size 800 --output chunks.jsonl"],
    ),
    (
        "generate-training",
        &[
            "dyag generate-training chunks.jsonl --output set.jsonl --count 200 --split --validate",
            "dyag generate-training chunks.jsonl --output set.jsonl --method augmented --with-context",
        ],
    ),
    ("generate-questions", &["dyag generate-questions catalogue.md --output questions.jsonl"]),
    ("rules", &["dyag rules fr"]),
    (
        "finetune",
        &[
            "dyag finetune --base-model qwen2.5:1.5b --dataset set_train.jsonl --output models/mine",
            "dyag finetune --base-model base.gguf --dataset set_train.jsonl --output models/mine --epochs 5 --resume",
        ],
    ),
    (
        "query-finetuned",
        &[
            "dyag query-finetuned \"Who runs the archive?\" --model models/mine/final --temperature 0",
            "dyag query-finetuned --model models/mine/final --questions questions.jsonl --output answers.jsonl",
        ],
    ),
    (
        "index-rag",
        &["dyag index-rag chunks.jsonl --collection mine", "dyag index-rag chunks.jsonl --collection mine --embedding-model encoder/"],
    ),
    ("rag-stats", &["dyag rag-stats --collection mine --verify", "dyag rag-stats --all"]),
    (
        "query-rag",
        &[
            "dyag query-rag \"Who runs the archive?\" --collection mine --passages-only",
            "dyag query-rag \"Who runs the archive?\" --collection mine --base-model qwen2.5:1.5b --n-chunks 3",
        ],
    ),
    ("ask", &["dyag ask \"Who runs the archive?\" --mode hybrid --model models/mine/final --collection mine"]),
    ("add-passages", &["dyag add-passages set_train.jsonl --collection mine --output set_with_passages.jsonl"]),
    ("create-eval-set", &["dyag create-eval-set --collection mine --output questions.jsonl --count 50"]),
    (
        "evaluate-rag",
        &[
            "dyag evaluate-rag questions.jsonl --collection mine --base-model qwen2.5:1.5b --output rag.json",
            "dyag evaluate-rag questions.jsonl --collection mine --passages-only --run-file mine.run",
        ],
    ),
    ("evaluate-finetuned", &["dyag evaluate-finetuned questions.jsonl --model models/mine/final --output finetuned.json"]),
    (
        "compare-models",
        &["dyag compare-models --results base=base.json --results finetuned=finetuned.json --output comparison --fail-if-worse finetuned"],
    ),
    ("benchmark", &["dyag benchmark tasks/choices.toml --base-model qwen2.5:1.5b --limit 100 --output benchmark.json"]),
    ("merge-lora", &["dyag merge-lora models/mine/final --output models/mine-merged"]),
    ("export-gguf", &["dyag export-gguf --adapter models/mine/final --type Q4_K_M --output mine.gguf --modelfile Modelfile"]),
    ("check", &["dyag check --model model/ --adapter adapter/ --reference reference.safetensors"]),
    (
        "inspect",
        &[
            "dyag inspect set_train.jsonl --validate",
            "dyag inspect set_test.jsonl --against set_train.jsonl",
            "dyag inspect models/mine/final",
        ],
    ),
    ("models", &["dyag models list", "dyag models pull qwen2.5:1.5b"]),
    ("models list", &["dyag models list --json"]),
    ("models pull", &["dyag models pull qwen2.5:1.5b", "dyag models pull Qwen/Qwen2.5-0.5B-Instruct@main --connections 8"]),
    ("models info", &["dyag models info qwen2.5:1.5b"]),
    ("models rm", &["dyag models rm qwen2.5:1.5b"]),
    ("bench", &["dyag bench --base-model qwen2.5:0.5b --dataset set_train.jsonl"]),
    ("doctor", &["dyag doctor", "dyag doctor --no-measure --json"]),
    ("completions", &["dyag completions bash"]),
    ("man", &["dyag man --output ~/.local/share/man/man1"]),
];

/// The command line with the examples in its help.
pub(crate) fn add(command: clap::Command, language: Language) -> clap::Command {
    below(command, "", language)
}

fn below(command: clap::Command, path: &str, language: Language) -> clap::Command {
    command.mut_subcommands(|command| {
        let path = format!("{path} {}", command.get_name());
        let command = below(command, &path, language);
        match EXAMPLES.iter().find(|(name, _)| *name == path.trim_start()) {
            Some((_, lines)) => with(command, lines, language),
            None => command,
        }
    })
}

fn with(command: clap::Command, lines: &[&str], language: Language) -> clap::Command {
    let mut text = match language {
        Language::English if lines.len() == 1 => "Example:\n".to_owned(),
        Language::English => "Examples:\n".to_owned(),
        Language::French if lines.len() == 1 => "Exemple :\n".to_owned(),
        Language::French => "Exemples :\n".to_owned(),
    };
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(after) = command.get_after_help() {
        let _ = write!(text, "\n{after}");
    }
    command.after_help(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// Words as a shell splits them: double quotes hold words together.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for c in line.chars() {
            match c {
                '"' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                c => words.last_mut().expect("one at least").push(c),
            }
        }
        words
    }

    #[test]
    fn every_example_is_a_command_line_of_this_program() {
        for (path, lines) in &EXAMPLES {
            for line in *lines {
                assert!(line.starts_with(&format!("dyag {path}")), "{line:?} is no example of {path}");
                if let Err(error) = crate::cli::Cli::try_parse_from(words(line)) {
                    panic!("{line}\n{error}");
                }
            }
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for below in command.get_subcommands() {
                let path = format!("{path} {}", below.get_name());
                let after = below.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(after.contains(&format!("\n  {path}")), "{path} has no example:\n{after}");
                check(below, &path);
            }
        }
        check(&crate::cli::command(Language::English), "dyag");
    }
}
