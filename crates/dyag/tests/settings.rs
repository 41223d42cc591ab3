//! Settings from `dyag.toml`: who wins over whom, what is refused, and that `--show-config` tells the truth.

mod common;

use common::{Place, root};

/// A document that is long enough to be cut in several ways.
fn place_with_document() -> Place {
    let place = Place::new();
    let paragraphs: Vec<String> = (0..40).map(|n| format!("Paragraph {n} says that the archive has {n} rooms and a door.")).collect();
    place.write("notes.md", format!("# Notes\n\n{}\n", paragraphs.join("\n\n")));
    place
}

fn shown(place: &Place, arguments: &[&str]) -> String {
    let outcome = place.run(&[arguments, &["--show-config"]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome.stdout
}

/// The line of a key.
fn line<'a>(shown: &'a str, key: &str) -> &'a str {
    let is_it = |line: &&str| line.trim_start_matches("# ").split([' ', '=']).next() == Some(key);
    shown.lines().find(is_it).unwrap_or_else(|| panic!("no {key} in\n{shown}"))
}

#[test]
fn a_file_does_what_the_flags_do() {
    let place = place_with_document();
    let flags = place.run(&["chunk", "notes.md", "--output", "flags.jsonl", "--by", "size", "--size", "200", "--overlap", "20"]);
    assert_eq!(flags.code, Some(0), "{flags}");
    place.write("dyag.toml", "[chunk]\nby = \"size\"\nsize = 200\noverlap = 20\noutput = \"file.jsonl\"\n");
    let file = place.run(&["chunk", "notes.md"]);
    assert_eq!(file.code, Some(0), "{file}");
    assert_eq!(file.stderr, "settings of dyag.toml: by = \"size\", size = 200, overlap = 20, output = \"file.jsonl\"\n");
    assert_eq!(place.read("file.jsonl"), place.read("flags.jsonl"));
    let other = place.run(&["chunk", "notes.md", "--size", "900", "--output", "other.jsonl"]);
    assert_eq!(other.code, Some(0), "{other}");
    assert_ne!(place.read("other.jsonl"), place.read("flags.jsonl"), "the command line wins");
}

#[test]
fn the_command_line_wins_over_the_near_file_and_that_over_the_far_one() {
    let place = Place::new();
    place.write("config/dyag.toml", "[all]\nseed = 1\nthreads = 1\n\n[finetune]\nepochs = 7\nlora-rank = 4\nbatch-size = 3\n");
    place.write("dyag.toml", "[finetune]\nepochs = 5\nlora-rank = 8\n[all]\nseed = 2\n");
    let text = shown(&place, &["finetune", "--lora-rank", "32"]);
    assert!(line(&text, "lora-rank").ends_with("# command line") && line(&text, "lora-rank").starts_with("lora-rank = 32 "), "{text}");
    for (key, value, origin) in [
        ("epochs", "epochs = 5 ", "# dyag.toml:2"),
        ("seed", "seed = 2 ", "# dyag.toml:5"),
        ("batch-size", "batch-size = 3 ", "# [PLACE]/config/dyag.toml:8"),
        ("threads", "threads = 1 ", "# [PLACE]/config/dyag.toml:3"),
        ("max-seq-length", "max-seq-length = 512 ", "# default"),
        ("dataset", "# dataset", "# not set"),
    ] {
        let line = line(&text, key);
        assert!(line.starts_with(value) && line.ends_with(origin), "{line}\n{text}");
    }
    // Another file in place of the near one; the far one still holds.
    place.write("other.toml", "[finetune]\nepochs = 9\n");
    let text = shown(&place, &["--settings", "other.toml", "finetune"]);
    assert!(line(&text, "epochs").ends_with("# other.toml:2") && line(&text, "seed").ends_with("config/dyag.toml:2"), "{text}");
    // For scripts: no file but the one that is named.
    place.set("DYAG_SETTINGS", "none");
    let text = shown(&place, &["finetune"]);
    assert!(line(&text, "epochs").ends_with("# default") && line(&text, "seed").ends_with("# default"), "{text}");
    let text = shown(&place, &["--settings", "other.toml", "finetune"]);
    assert!(line(&text, "epochs").ends_with("# other.toml:2") && line(&text, "seed").ends_with("# default"), "{text}");
    place.set("DYAG_SETTINGS", "");
    let missing = place.run(&["finetune", "--show-config", "--settings", "none.toml"]);
    assert_eq!(missing.code, Some(2), "{missing}");
    assert!(missing.stderr.contains("cannot read the settings in none.toml"), "{missing}");
}

#[test]
fn a_flag_of_the_file_gives_way_to_one_that_it_cannot_stand_beside() {
    let place = Place::new();
    place.write("dyag.toml", "[evaluate-rag]\nbase-model = \"m.gguf\"\nalways-answer = true\n");
    let text = shown(&place, &["evaluate-rag", "q.jsonl", "--passages-only"]);
    assert!(line(&text, "base-model").ends_with("# not set"), "{text}");
    assert!(line(&text, "always-answer").starts_with("always-answer = false"), "{text}");
    // A question on the command line, and a file of questions in the settings.
    place.write("dyag.toml", "[query-finetuned]\nquestions = \"q.jsonl\"\nmodel = \"m\"\n");
    let text = shown(&place, &["query-finetuned", "Who?"]);
    assert!(line(&text, "questions").ends_with("# not set") && line(&text, "model").ends_with("# dyag.toml:3"), "{text}");
}

#[test]
fn what_is_shown_is_a_file_of_settings_for_every_command() {
    let help = Place::new().run(&["--help"]).stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !matches!(*name, "help" | "models"))
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    for path in commands.iter().map(|command| vec![*command]).chain([vec!["models", "pull"]]) {
        let place = Place::new();
        let first = shown(&place, &path);
        // The same values, now all from the file.
        place.write("dyag.toml", &first);
        let second = shown(&place, &path);
        let values =
            |text: &str| text.lines().map(|line| line.split("  # ").next().unwrap_or_default().trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(values(&first), values(&second), "{path:?}");
        let set = |text: &str, origin: &str| text.lines().filter(|line| !line.starts_with('#') && line.contains(origin)).count();
        let off = first.lines().filter(|line| line.contains(" = false ")).count();
        assert_eq!(set(&second, "# dyag.toml:"), set(&first, "# default") - off, "{path:?}\n{second}");
    }
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_its_line() {
    for (text, expected) in [
        ("[finetune]\nepoch = 5\n", "dyag.toml:2: finetune has no flag --epoch; did you mean epochs?"),
        ("[finetune]\nlora_rank = 5\n", "dyag.toml:2: finetune has no flag --lora_rank; did you mean lora-rank?"),
        ("\n[finetoon]\n", "dyag.toml:2: there is no command finetoon; expected the name of a command or [all]; did you mean finetune?"),
        ("[models.pul]\nconnections = 2\n", "dyag.toml:1: models has no flag --pul"),
        ("[models.pull]\nconnection = 2\n", "dyag.toml:2: models pull has no flag --connection; did you mean connections?"),
        ("[all]\nepoch = 1\n", "dyag.toml:2: no command has flag --epoch; did you mean epochs?"),
        ("seed = 1\n", "dyag.toml:1: seed stands in no table"),
        ("[all]\nllm-url = \"https://x.example\"\n", "dyag.toml:2: llm-url says where keys and passwords are sent"),
        ("[query-rag]\nstore = \"qdrant+https://x.example\"\n", "dyag.toml:2: store says where keys and passwords are sent"),
        ("[all]\nsettings = \"a\"\n", "dyag.toml:2: no command has flag --settings"),
        ("[finetune]\nepochs = \n", "dyag.toml:2: expected TOML"),
        ("[finetune]\nepochs = [1, 2]\n", "dyag.toml:2: epochs has one value: expected a text or a number, found a list"),
        ("[finetune]\nuse-dora = 1\n", "dyag.toml:2: use-dora is on or off: expected true or false, found 1"),
        (
            "[finetune]\ndevice = true\n",
            "dyag.toml:2: device has a value: expected a text or a number (one of auto, cpu, cuda), found true",
        ),
        ("[finetune]\nepochs = { a = 1 }\n", "dyag.toml:2: epochs: expected a text, a number"),
    ] {
        let place = Place::new();
        place.write("dyag.toml", text);
        let outcome = place.run(&["finetune", "--dataset", "d.jsonl", "--base-model", "m", "--output", "o"]);
        assert_eq!(outcome.code, Some(2), "{text}\n{outcome}");
        assert!(outcome.stderr.contains(expected), "{text}\n{outcome}");
        assert!(outcome.stdout.is_empty(), "{outcome}");
        // Help is there nevertheless.
        assert_eq!(place.run(&["finetune", "--help"]).code, Some(0));
    }
}

#[test]
fn a_value_that_the_command_refuses_is_traced_to_its_file() {
    let place = Place::new();
    place.write("dyag.toml", "# mine\n[finetune]\nbatch-size = \"many\"\n");
    let outcome = place.run(&["finetune", "--dataset", "d.jsonl", "--base-model", "m", "--output", "o"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("invalid value 'many' for '--batch-size"), "{outcome}");
    assert!(outcome.stderr.ends_with("note: --batch-size is from dyag.toml:3\n"), "{outcome}");
}

#[test]
fn secrets_do_not_stand_in_files_and_are_not_shown() {
    for text in [
        "[all]\nhf-token = \"hf_geheim0123456789\"\n",
        "hf_token = \"hf_geheim0123456789\"\n",
        "[query-rag]\nllm-api-key = \"sk-geheim0123456789\"\n",
        "[query-rag]\nllm-model = \"sk-geheim0123456789\"\n",
        "[query-rag]\nstore = \"postgres://me:geheim@db.example/x\"\n",
    ] {
        let place = Place::new();
        place.write("dyag.toml", text);
        let outcome = place.run(&["query-rag", "Who?", "--passages-only"]);
        assert_eq!(outcome.code, Some(2), "{outcome}");
        assert!(outcome.stderr.contains("looks like a secret") && outcome.stderr.contains("dyag.toml:"), "{outcome}");
        assert!(!outcome.to_string().contains("geheim"), "{outcome}");
    }
    let text = shown(&Place::new(), &["query-rag", "Who?", "--store", "postgres://me:geheim@db.example/x"]);
    assert!(line(&text, "store").starts_with("store = \"postgres://me:***@db.example/x\""), "{text}");
}

#[test]
fn flags_of_every_command_and_words_after_two_dashes_stay_where_they_are() {
    let place = Place::new();
    place.write("dyag.toml", "[all]\nquiet = true\n[query-rag]\nn-chunks = 2\n");
    let chunks = root().join("examples/apps10/chunks.jsonl").display().to_string();
    let made = place.run(&["index-rag", &chunks, "--collection", "c"]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{made}");
    let found = place.run(&["--lang", "en", "query-rag", "--collection", "c", "--passages-only", "--json", "--", "statut"]);
    assert_eq!(found.code, Some(0), "{found}");
    let document: serde_json::Value = serde_json::from_str(&found.stdout).expect("JSON");
    assert_eq!(document["passages"].as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!(document["question"], "statut");
}

#[test]
fn the_example_of_the_guide_is_a_file_of_settings() {
    let guide = std::fs::read_to_string(root().join("docs/terminal.md")).expect("the guide");
    let example = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let place = Place::new();
    place.write("dyag.toml", example);
    let text = shown(&place, &["finetune"]);
    assert!(line(&text, "epochs").starts_with("epochs = 5 ") && line(&text, "use-rslora").starts_with("use-rslora = true "), "{text}");
    assert!(line(&text, "base-model").ends_with("# dyag.toml:2"), "{text}");
    let text = shown(&place, &["query-rag", "Who?"]);
    assert!(line(&text, "filter").starts_with("filter = [\"state=open\", \"year=2024\"]"), "{text}");
    assert!(line(&shown(&place, &["models", "pull", "x"]), "connections").starts_with("connections = 8 "));
}
