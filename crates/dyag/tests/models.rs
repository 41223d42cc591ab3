//! `dyag models`, and models by name in other commands, against a model hub on this machine.

mod common;

use std::fs;
use std::io::Write as _;
use std::process::Command;

use common::{Place, root, tiny_repo};
use dyag_testing::{Loopback, ScriptedReply, TestHub};
use serde_json::Value;

const TOKEN: &str = "hf_0123456789abcdefghij";
/// The hub's name of `smollm2:135m`; here it holds the tiny model of the tests.
const SMOL: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn pull_list_info_and_remove() {
    let place = Place::new();
    let hub = TestHub::with(tiny_repo(SMOL));
    place.online(&hub);
    let pulled = place.run(&["models", "pull", "smollm2:135m"]);
    assert_eq!(pulled.code, Some(0), "{pulled}");
    assert!(pulled.stdout.contains("[PLACE]/hf/hub/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/"), "{pulled}");
    assert!(
        pulled.stderr.contains("fetching HuggingFaceTB/SmolLM2-135M-Instruct (commit ") && pulled.stderr.contains("5 files"),
        "{pulled}"
    );
    let again = place.run(&["models", "pull", SMOL, "--json"]);
    assert_eq!(json(&again.stdout)["fetched_bytes"], 0, "{again}");

    let list = place.run(&["models", "list"]);
    let line = list.stdout.lines().find(|line| line.starts_with("smollm2:135m")).expect("a line");
    assert!(line.ends_with("yes") && line.contains("apache-2.0"), "{line}");
    assert!(list.stdout.lines().any(|line| line.starts_with("llama3.2:1b") && line.contains("gated") && line.ends_with("no")), "{list}");
    let all = json(&place.run(&["models", "list", "--json"]).stdout);
    assert_eq!(all["registry"].as_array().map(Vec::len), Some(21));
    assert_eq!(all["cache"]["models"][0]["revisions"][0]["refs"][0], "main");

    let info = place.run(&["models", "info", "smollm2:135m", "--json"]);
    let facts = json(&info.stdout);
    assert_eq!((&facts["here"], &facts["short_name"], &facts["gated"]), (&Value::Bool(true), &"smollm2:135m".into(), &Value::Bool(false)));
    assert!(place.run(&["models", "info", "phi3"]).stdout.contains("3.8B"));
    assert_eq!(json(&place.run(&["models", "info", "dyag-tiny", "--json"]).stdout)["here"], true);
    for action in ["pull", "rm"] {
        let outcome = place.run(&["models", action, "dyag-tiny"]);
        assert!(outcome.code == Some(2) && outcome.stderr.contains("dyag-tiny is in the program"), "{outcome}");
    }

    let removed = place.run(&["models", "rm", "smollm2:135m", "--json"]);
    assert!(json(&removed.stdout)["freed_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{removed}");
    assert!(place.files("hf").iter().all(|file| file.contains(".locks/")), "{:?}", place.files("hf"));
    let twice = place.run(&["models", "rm", "smollm2:135m"]);
    assert!(twice.code == Some(2) && twice.stderr.contains("is not in the cache"), "{twice}");
}

#[test]
fn info_asks_the_hub_about_what_is_not_known_here() {
    let place = Place::new();
    let hub = TestHub::with(tiny_repo("acme/tiny"));
    place.online(&hub);
    let facts = json(&place.run(&["models", "info", "acme/tiny", "--json"]).stdout);
    assert_eq!((&facts["licence"], &facts["here"]), (&"mit".into(), &Value::Bool(false)));
    assert!(facts["bytes_to_fetch"].as_u64().is_some_and(|bytes| bytes > 100_000));
    assert!(place.files("hf").is_empty());
}

#[test]
fn a_base_model_by_name_is_fetched_trained_on_and_found_on_another_machine() {
    let hub = TestHub::with(tiny_repo(SMOL));
    let place = Place::new();
    place.online(&hub);
    place.dataset();
    let arguments =
        ["finetune", "--base-model", "smollm2:135m", "--dataset", "train.jsonl", "--output", "out", "--max-steps", "1", "--memory-limit"];
    let trained = place.run(&[&arguments[..], &["2.5GB"]].concat());
    assert_eq!(trained.code, Some(0), "{trained}");
    for fragment in [
        "smollm2:135m (HuggingFaceTB/SmolLM2-135M-Instruct) is not on this machine",
        "fetching HuggingFaceTB/SmolLM2-135M-Instruct",
        "base model  qwen2 HuggingFaceTB/SmolLM2-135M-Instruct",
        // 2.5 GB lies between 2 and 3: 4 * 2.5 / 3 examples, rounded down; 3 does not divide a step of 16.
        "batch       2 x 8 examples a step: the registry advises 3 for smollm2:135m (2.5 GB of memory, between the minimum of 2 GB",
    ] {
        assert!(trained.stderr.contains(fragment), "{fragment}: {trained}");
    }
    let manifest = json(&place.read("out/final/dyag.json"));
    assert_eq!(manifest["base_model"]["hub"]["name"], SMOL);
    let revision = manifest["base_model"]["hub"]["revision"].as_str().expect("a commit");
    assert_eq!((&manifest["config"]["batch_size"], &manifest["config"]["accumulation"]), (&2.into(), &8.into()));
    assert_eq!(json(&place.read("out/final/adapter_config.json"))["base_model_name_or_path"], SMOL);

    // The second time it is here: nobody is asked.
    place.set("HF_HUB_OFFLINE", "1");
    let ask = ["query-finetuned", "--model", "out/final", "--max-tokens", "2", "--temperature", "0", "Qui gère ADES ?"];
    let here = place.run(&ask);
    assert_eq!(here.code, Some(0), "{here}");
    let inspected = place.run(&["inspect", "smollm2:135m"]);
    assert!(inspected.code == Some(0) && inspected.stdout.contains(revision), "{inspected}");
    let shown = place.run(&["inspect", "out/final"]);
    assert!(shown.stdout.contains(&format!("{SMOL}@{revision}")), "{shown}");

    // Another machine, to which the adapter alone was copied.
    let other = Place::new();
    for file in place.files("out/final") {
        other.write(&file, fs::read(place.path(&file)).expect("read"));
    }
    fs::remove_dir_all(place.path("hf")).expect("removed");
    let offline = other.run(&ask);
    assert!(offline.code == Some(2) && offline.stderr.contains("HF_HUB_OFFLINE"), "{offline}");
    other.online(&hub);
    let there = other.run(&ask);
    assert_eq!((there.code, &there.stdout), (Some(0), &here.stdout), "{there}");
    assert!(hub.requests().iter().any(|request| request.path.contains(&format!("/revision/{revision}"))), "pinned to the commit");
}

#[test]
fn every_command_that_takes_a_model_takes_a_name() {
    let hub = TestHub::with(tiny_repo("acme/tiny"));
    let place = Place::new();
    place.online(&hub);
    place.dataset();
    place.write("config/models.toml", "[models.tiny]\nhub = \"acme/tiny\"\n[models.\"tiny:gguf\"]\nhub = \"acme/tiny:tiny.gguf\"\n");
    place.write("text.md", "# Titre\n\nUn texte.\n");
    place.write("questions.jsonl", "{\"question\": \"Qui ?\", \"expected_answer\": \"Lui\"}\n");
    for arguments in [
        &["query-finetuned", "--base-model", "tiny:gguf", "--max-tokens", "2", "Qui ?"][..],
        &["query-finetuned", "--base-model", "acme/tiny@main", "--max-tokens", "2", "Qui ?"],
        &["evaluate-finetuned", "questions.jsonl", "--base-model", "tiny", "--max-tokens", "2", "--output", "a.json"],
        &["inspect", "train.jsonl", "--base-model", "tiny", "--line", "1"],
        &["chunk", "text.md", "--output", "chunks.jsonl", "--unit", "tokens", "--base-model", "tiny"],
        &["finetune", "--base-model", "tiny:gguf", "--dataset", "train.jsonl", "--output", "out", "--max-steps", "1"],
        &["query-finetuned", "--model", "out/final", "--max-tokens", "2", "Qui ?"],
    ] {
        let outcome = place.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome}");
    }
    let manifest = json(&place.read("out/final/dyag.json"));
    assert!(manifest["base_model"]["path"].as_str().is_some_and(|path| path.ends_with("/tiny.gguf")), "{manifest}");
    assert_eq!(manifest["base_model"]["hub"]["file"], "tiny.gguf");
    // A model that the registry says nothing about is trained in batches of 4.
    assert_eq!(manifest["config"]["batch_size"], 4);
}

#[test]
fn a_gated_model_says_which_page_which_guide_and_which_other_model() {
    let hub = TestHub::with(tiny_repo("meta-llama/Llama-3.2-1B-Instruct").gated(TOKEN));
    let place = Place::new();
    place.online(&hub);
    for (token, fragment) in [(None, "there is no token"), (Some("hf_of_another_account"), "has no access")] {
        if let Some(token) = token {
            place.set("HF_TOKEN", token);
        }
        let outcome = place.run(&["models", "pull", "llama3.2:1b"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome}");
        let page = format!("{}/meta-llama/Llama-3.2-1B-Instruct", hub.url());
        for expected in [page.as_str(), "docs/llama-access.md", "docs/llama-access.fr.md", "qwen2.5:1.5b, which needs no account", fragment]
        {
            assert!(outcome.stderr.contains(expected), "{expected}: {outcome}");
        }
        assert!(!outcome.stderr.contains("another_account"), "{outcome}");
        assert!(place.files("hf").is_empty(), "{:?}", place.files("hf"));
    }
    place.set("HF_TOKEN", "");
    // As `hf auth login` saves it.
    place.write("hf/token", TOKEN);
    let outcome = place.run(&["models", "pull", "llama3.2:1b"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!format!("{outcome}").contains("0123456789"), "{outcome}");
}

#[test]
fn wrong_names_are_refused_and_leave_nothing() {
    let hub = TestHub::with(tiny_repo("Qwen/Qwen2.5-0.5B-Instruct"));
    let place = Place::new();
    place.online(&hub);
    for (name, fragments) in [
        ("qwen2.5:0.5", ["no model is called qwen2.5:0.5", "Did you mean qwen2.5:0.5b"]),
        ("Qwen/Qwen2.5-0.5B-Instrct", ["knows no model Qwen/Qwen2.5-0.5B-Instrct", "Did you mean Qwen/Qwen2.5-0.5B-Instruct"]),
        ("Qwen/Qwen2.5-0.5B-Instruct@v7", ["has no revision \"v7\"", "a branch, a tag or a whole commit"]),
        ("qwen2.5:0.5b@v7", ["has no revision \"v7\"", ""]),
        ("Qwen/Qwen2.5-0.5B-Instruct:q8.gguf", ["has no file \"q8.gguf\"", "tiny.gguf"]),
        ("../../etc", ["is no name on the model hub", ""]),
        ("a/b/c", ["is no name on the model hub", ""]),
    ] {
        for action in ["pull", "rm"] {
            let outcome = place.run(&["models", action, name]);
            assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{action} {name}: {outcome}");
            if action == "pull" {
                assert!(fragments.iter().all(|fragment| outcome.stderr.contains(fragment)), "{name}: {outcome}");
            }
        }
    }
    assert!(place.files("").is_empty(), "{:?}", place.files(""));
}

#[test]
fn a_proxy_is_asked_and_gets_no_token_over_an_open_way() {
    let proxy = Loopback::answering(|_| ScriptedReply::status(404, "").header("X-Error-Code", "RepoNotFound"));
    let place = Place::new();
    for (name, value) in [
        ("HF_HUB_OFFLINE", "0"),
        ("HF_ENDPOINT", "http://hub.invalid"),
        ("HTTP_PROXY", &proxy.url()),
        ("HF_TOKEN", TOKEN),
        ("NO_PROXY", "other.invalid"),
    ] {
        place.set(name, value);
    }
    let outcome = place.run(&["models", "pull", "acme/tiny"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("note: the access token is not sent"), "{outcome}");
    let asked = proxy.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.path.contains("hub.invalid")), "{asked:?} {outcome}");
    assert!(!format!("{asked:?}{outcome}").contains("0123456789"), "{outcome}");
    // Hosts that the proxy is not for are asked without it: nobody has this name.
    place.set("NO_PROXY", "hub.invalid");
    let outcome = place.run(&["models", "pull", "acme/tiny"]);
    assert!(outcome.code == Some(2) && !outcome.stderr.contains("again in"), "{outcome}");
    assert_eq!(proxy.requests().len(), asked.len());
}

#[test]
fn an_own_registry_with_a_mistake_says_where() {
    let place = Place::new();
    place.write("config/models.toml", "[models.tiny]\nhub = \"acme/tiny\"\nbatches = 3\n");
    let outcome = place.run(&["models", "list"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("models.toml, line 3: ") && outcome.stderr.contains("batches"), "{outcome}");
}

#[test]
fn offline_finds_what_is_here_and_says_what_to_do_about_the_rest() {
    let place = Place::new();
    place.set("HF_HUB_OFFLINE", "0");
    place.set("TRANSFORMERS_OFFLINE", "1");
    let outcome = place.run(&["models", "pull", "phi3"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    insta::assert_snapshot!(outcome.stderr, @"error: microsoft/Phi-3-mini-4k-instruct is not on this machine, and TRANSFORMERS_OFFLINE forbids to fetch it: unset TRANSFORMERS_OFFLINE, or fetch the model where the network may be used (`dyag models pull microsoft/Phi-3-mini-4k-instruct`) and copy [PLACE]/hf/hub over");
    assert_eq!(place.run(&["models", "list"]).code, Some(0));
}

/// The hub's own Python package finds what this program fetched, and this program finds what lies in the package's layout. Tried where
/// `DYAG_TEST_PYTHON` names a Python with huggingface_hub.
#[test]
fn the_hubs_own_package_reads_the_cache_and_fills_it() {
    let Some(python) = std::env::var_os("DYAG_TEST_PYTHON") else {
        let _ = writeln!(std::io::stderr(), "skipped: DYAG_TEST_PYTHON names no Python with huggingface_hub");
        return;
    };
    let script = root().join("tools/reference/check_hub_cache.py");
    let place = Place::new();
    let hub = TestHub::with(tiny_repo("acme/tiny"));
    place.online(&hub);
    let pulled = place.run(&["models", "pull", "acme/tiny"]);
    assert_eq!(pulled.code, Some(0), "{pulled}");
    let look = Command::new(&python).arg(&script).arg(place.path("hf/hub")).arg("acme/tiny").output().expect("Python starts");
    let (seen, problems) = (String::from_utf8_lossy(&look.stdout), String::from_utf8_lossy(&look.stderr));
    assert!(look.status.success() && seen.contains("refs=['main']") && seen.contains("model.safetensors"), "{seen}{problems}");

    place.set("HF_HUB_OFFLINE", "1");
    place.model();
    let made =
        Command::new(&python).arg(&script).arg("--make").arg(place.path("hf/hub")).arg("acme/other").arg(place.path("model")).output();
    assert!(made.expect("Python starts").status.success());
    let inspected = place.run(&["inspect", "acme/other"]);
    assert!(inspected.code == Some(0) && inspected.stdout.contains("acme/other"), "{inspected}");
    let removed = place.run(&["models", "rm", "acme/other"]);
    assert_eq!(removed.code, Some(0), "{removed}");
}
