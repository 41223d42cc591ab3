//! A disk that fills up while a run is saved: an error, and nothing partial under a final name.
#![cfg(target_os = "linux")]

mod common;

use std::io::Write as _;
use std::process::Command;

use common::Place;
use dyag_testing::{TestHub, TestRepo};

/// Runs a shell command in namespaces of its own, where `full` is a file system of so many kilobytes. `None` where that is not permitted.
fn on_a_small_disk(place: &Place, kilobytes: usize, command: &str) -> Option<std::process::Output> {
    std::fs::create_dir_all(place.path("full")).expect("a folder");
    let inside = format!("mount -t tmpfs -o size={kilobytes}k tmpfs full || exit 77; {command}");
    let output =
        Command::new("unshare").args(["--map-root-user", "--mount", "sh", "-c", &inside]).current_dir(place.path("")).output().ok()?;
    let refused = output.status.code() == Some(77) || String::from_utf8_lossy(&output.stderr).contains("unshare:");
    (!refused).then_some(output)
}

/// Says so past the test harness, which would keep it from whoever should know.
fn skipped() {
    let _ = writeln!(std::io::stderr(), "skipped: a full disk needs the right to mount a file system (unshare --map-root-user --mount)");
}

#[test]
fn a_full_disk_leaves_nothing_partial() {
    let place = Place::new();
    place.model();
    place.dataset();
    // The adapter takes 211 KB, a checkpoint three times that. So: no room for either; for neither whole; for the adapter but not the moments.
    for kilobytes in [32, 160, 400] {
        let command = format!(
            "{} finetune --base-model model --dataset train.jsonl --output full/out --max-steps 1; \
             echo \"exit status $?\"; find full -type f; find full -name 'checkpoint-*' -o -name final",
            env!("CARGO_BIN_EXE_dyag")
        );
        let Some(output) = on_a_small_disk(&place, kilobytes, &command) else { return skipped() };
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(stdout.contains("exit status 2"), "{kilobytes} KB: {stdout}\n{stderr}");
        assert!(stderr.contains("error: ") && stderr.contains("full/out") && stderr.contains("No space left"), "{kilobytes} KB: {stderr}");
        let left: Vec<&str> = stdout.lines().skip_while(|line| !line.starts_with("exit status")).skip(1).collect();
        assert!(left.iter().all(|name| name.ends_with("log.jsonl") || name.ends_with(".lock")), "{kilobytes} KB: left {left:?}");
    }
}

#[test]
fn a_download_that_does_not_fit_is_not_begun_and_one_that_fills_the_disk_leaves_no_final_name() {
    let place = Place::new();
    let weights: Vec<u8> = (0..6_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_769) >> 24) as u8).collect();
    let repo = TestRepo::new("acme/large").file("config.json", "{}").file("tokenizer.json", "{}").large("model.safetensors", weights);
    let hub = TestHub::builder().repo(repo).paced(500_000).start();
    let pull = format!(
        "HF_HUB_OFFLINE=0 HF_HOME=full HF_HUB_CACHE=full/cache HF_ENDPOINT={} {} models pull acme/large",
        hub.url(),
        env!("CARGO_BIN_EXE_dyag")
    );
    // Too small from the start; then: large enough, until somebody else fills it.
    let small = format!("{pull}; echo \"exit status $?\"; find full -type f -o -type l");
    let filled = format!(
        "{pull} & sleep 1; head -c 40m /dev/zero > full/fill; wait $!; echo \"exit status $?\"; rm full/fill; find full -type f -o -type l; \
         {pull} > again.txt; echo \"then $?\""
    );
    for (kilobytes, command, expected) in [(4_000, small, "not enough room"), (26_000, filled, "No space left")] {
        let Some(output) = on_a_small_disk(&place, kilobytes, &command) else { return skipped() };
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(stdout.contains("exit status 2") && stderr.contains(expected), "{kilobytes} KB: {stdout}\n{stderr}");
        let left: Vec<&str> = stdout.lines().skip_while(|line| !line.starts_with("exit status")).skip(1).collect();
        assert!(!left.iter().any(|name| name.contains("/refs/") || name.contains("/snapshots/")), "{kilobytes} KB: left {left:?}");
        if expected == "No space left" {
            assert!(left.contains(&"then 0"), "with room again it goes on: {stdout}\n{stderr}");
        }
    }
}

#[test]
fn a_full_disk_leaves_no_part_of_an_exported_model() {
    let place = Place::new();
    place.model();
    let adapter = common::root().join("fixtures/golden/qwen2/adapter").display().to_string();
    // The model takes 700 KB in F32.
    for (kilobytes, arguments) in [
        (64, "export-gguf model --type F32 --output full/a.gguf".to_owned()),
        (400, "export-gguf model --type F32 --output full/a.gguf".to_owned()),
        (400, format!("merge-lora {adapter} --base-model model --dtype f32 --output full/merged")),
    ] {
        let command = format!("{} {arguments}; echo \"exit status $?\"; find full -mindepth 1", env!("CARGO_BIN_EXE_dyag"));
        let Some(output) = on_a_small_disk(&place, kilobytes, &command) else { return };
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(stdout, "exit status 2\n", "{kilobytes} KB, {arguments}: {stderr}");
        assert!(stderr.contains("error: ") && stderr.contains("No space left"), "{kilobytes} KB, {arguments}: {stderr}");
    }
}
