//! A download that is killed at random moments, again and again, ends with the right file and fetches little twice.

mod common;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::Place;
use dyag_testing::{TestHub, TestRepo};

const BYTES: usize = 96 << 20;

/// The next of a sequence of numbers below `limit` that look random.
fn draw(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % limit
}

#[test]
fn killed_ten_times_it_ends_with_the_right_file() {
    let mut state = 42;
    let content: Vec<u8> = (0..BYTES / 8).flat_map(|_| (draw(&mut state, u64::MAX) ^ state).to_le_bytes()).collect();
    let repo =
        TestRepo::new("acme/large").file("config.json", "{}").file("tokenizer.json", "{}").large("model.safetensors", content.clone());
    // Four connections: 12 MB a second, so that ten kills within 6 seconds hit the download and not what comes after it.
    let hub = TestHub::builder().repo(repo).paced(3_000_000).start();
    let place = Place::new();
    place.online(&hub);
    let mut kills = 0;
    while kills < 10 {
        let mut child = place
            .command(&["models", "pull", "acme/large"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        thread::sleep(Duration::from_millis(250 + draw(&mut state, 600)));
        assert!(child.try_wait().expect("asked").is_none(), "the download ended after {kills} kills already");
        child.kill().expect("killed");
        child.wait().expect("ended");
        kills += 1;
        let left = place.files("hf");
        assert!(!left.iter().any(|file| file.contains("/refs/") || file.ends_with("model.safetensors")), "{left:?}");
    }
    let before = hub.sent_bytes();
    assert!(before > BYTES as u64 / 10, "{before} bytes before the last run");
    let outcome = place.run(&["models", "pull", "acme/large"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let path = outcome.stdout.lines().last().expect("a path").replace("[PLACE]", &place.path("").display().to_string());
    assert!(fs::read(format!("{}/model.safetensors", path.replace("//", "/"))).expect("read") == content, "the file came otherwise");
    let (sent, share) = (hub.sent_bytes(), hub.sent_bytes() as f64 / BYTES as f64);
    assert!(share <= 1.10, "{sent} bytes sent for {BYTES}, {share:.3} times");
    assert!(!place.files("hf").iter().any(|file| file.contains(".dyag.")), "{:?}", place.files("hf"));
    // Past the test harness, for whoever wants the figure.
    let _ = writeln!(std::io::stderr(), "{sent} bytes sent for {BYTES}: {share:.4} times, {before} of them before the last run");
}
