//! The program without a command, with a wrong one, and its help.

mod common;

use common::Place;

#[test]
fn a_wrong_command_is_a_usage_error() {
    let outcome = Place::new().run(&["finetoon"]);
    assert_eq!(outcome.code, Some(2));
    assert_eq!(outcome.stdout, "");
    insta::assert_snapshot!(outcome.stderr, @r"
    error: unrecognized subcommand 'finetoon'

      tip: a similar subcommand exists: 'finetune'

    Usage: dyag [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn without_a_command_it_prints_its_help() {
    let outcome = Place::new().run(&[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("Usage: dyag [OPTIONS] <COMMAND>"), "{outcome}");
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = Place::new().run(&["--help"]);
    insta::assert_snapshot!(help, @r#"
    exit status 0
    --- stdout
    Fine-tune a small language model on private documents, offline, and ask it questions.

    Exit status: 0 done, 1 a legitimate "no" (a check failed), 2 an error.

    Usage: dyag [OPTIONS] <COMMAND>

    Commands:
      demo                Show the whole way on invented documents, or on your own: passages, questions,
                          index, training, answers, comparison
      chunk               Cut documents into passages: the raw material of datasets and searches
      generate-training   Make a training set from chunks of documents
      generate-questions  Make a question set from a catalogue
      rules               Print the rules by which facts are found and asked for, to be copied and
                          changed
      finetune            Train an adapter for a model, or all its weights, on a file of conversations
      query-finetuned     Ask a fine-tuned model a question, or hold a conversation with it
      index-rag           Make a collection of chunks that can be searched, by words and by vectors
      rag-stats           Show what a collection holds
      query-rag           Ask a question that is answered from passages of a collection
      ask                 Ask a question of the base model, with passages, of the fine-tuned model, or
                          of both together
      add-passages        Give the examples of a training set the passages that a search finds for them
      create-eval-set     Make questions about a collection, each with the chunks that bear its answer
      evaluate-rag        Ask a model the questions of a set with passages found for each, and score
                          answers and search
      evaluate-finetuned  Ask a model the questions of a set, and score its answers
      compare-models      Compare evaluations of the same questions: what is better, where that can be
                          shown
      benchmark           Ask a model the questions of standard tasks: the likeliest of several choices,
                          or a text
      merge-lora          Merge an adapter into its base: a model of its own, as a Hugging Face folder
      export-gguf         Write a model, merged with an adapter or not, or an adapter alone as a GGUF
                          file for llama.cpp and Ollama
      check               Recompute a reference dump (logits, loss, gradients, steps, tokens) and
                          compare
      inspect             Show what a model, an adapter, chunks or a dataset hold; check a dataset
      models              List, fetch, describe and remove models by name
      bench               Measure the machine, and a model's products, training and generation on it
      doctor              Look at this machine: what dyag can do here, how fast, and what stands in its
                          way
      completions         Print the completions of a shell
      man                 Write manual pages, one for each command
      help                Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Options of every command:
      -q, --quiet
              Print no progress and no notes; errors, and why the answer is no, stay

          --lang <LANGUAGE>
              Language of what is printed for people; that of LC_ALL, LC_MESSAGES or LANG when absent

              Possible values:
              - en: English
              - fr: French

          --settings <FILE>
              File with settings, in place of dyag.toml of the working folder

          --show-config
              Print the values that the command would use and where each is from, and do nothing
    "#);
    let version = Place::new().run(&["--version"]);
    assert_eq!((version.code, version.stdout), (Some(0), format!("dyag {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_command_has_help_that_names_its_flags() {
    for (command, flags) in [
        ("chunk", ["--output", "--by", "--size", "--overlap", "--unit", "--encoding", "--json"].as_slice()),
        ("generate-training", ["--output", "--split", "--with-context", "--passages", "--context-free", "--max-passage-chars"].as_slice()),
        ("merge-lora", ["--base-model", "--output", "--dtype", "--shard-size", "--text", "--json"].as_slice()),
        ("export-gguf", ["--adapter", "--type", "--adapter-only", "--output", "--modelfile", "--json"].as_slice()),
        ("finetune", ["--dataset", "--output", "--base-model", "--epochs", "--resume"].as_slice()),
        ("query-finetuned", ["--model", "--base-model", "--temperature", "--max-tokens", "--questions"].as_slice()),
        ("index-rag", ["--collection", "--store", "--embedding-model", "--add", "--rebuild", "--json"].as_slice()),
        ("rag-stats", ["--collection", "--all", "--verify"].as_slice()),
        ("query-rag", ["--n-chunks", "--collection", "--rerank", "--filter", "--explain", "--model", "--llm-provider"].as_slice()),
        ("ask", ["--mode", "--n-chunks", "--search", "--no-rewrite"].as_slice()),
        ("demo", ["--base-model", "--catalogue", "--output", "--count", "--epochs"].as_slice()),
        ("add-passages", ["--output", "--context-free", "--n-chunks", "--collection", "--max-passage-chars"].as_slice()),
        ("create-eval-set", ["--collection", "--output", "--count"].as_slice()),
        ("evaluate-rag", ["--n-chunks", "--max-questions", "--output", "--collection", "--passages-only", "--run-file"].as_slice()),
        ("evaluate-finetuned", ["--model", "--base-model", "--output", "--temperature", "--max-tokens", "--device", "--limit"].as_slice()),
        (
            "compare-models",
            ["--rag-results", "--finetuned-results", "--results", "--format", "--language", "--metric", "--fail-if-worse"].as_slice(),
        ),
        ("benchmark", ["--model", "--base-model", "--num-fewshot", "--limit", "--output", "--require"].as_slice()),
        ("check", ["--model", "--adapter", "--reference"].as_slice()),
        ("inspect", ["--dataset", "--base-model", "--line"].as_slice()),
        ("models", ["list", "pull", "info", "rm"].as_slice()),
        ("bench", ["--base-model", "--dataset", "--runs", "--json", "--quiet", "--show-config"].as_slice()),
        ("doctor", ["--no-measure", "--json"].as_slice()),
        ("completions", ["bash", "zsh", "fish", "powershell", "elvish"].as_slice()),
        ("man", ["--output"].as_slice()),
    ] {
        let help = Place::new().run(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{help}");
        for flag in flags {
            assert!(help.stdout.contains(flag), "{command} --help does not name {flag}:\n{help}");
        }
    }
}
