//! What goes wrong on the way and at the hub: what is tried again, what is said, and that nothing false gets a final name.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Place, noise, small_model};
use dyag_hub::{Event, HubError};
use dyag_testing::{Loopback, ScriptedReply, TestHub};
use proptest::prelude::*;

const TOKEN: &str = "hf_0123456789abcdef";

/// A hub whose replies to requests that hold `path` fail so often, by `spoil`.
fn failing(path: &'static str, times: usize, spoil: impl Fn(ScriptedReply) -> ScriptedReply + Send + 'static) -> TestHub {
    let count = AtomicUsize::new(0);
    TestHub::builder()
        .repo(small_model(100_000))
        .hook(move |request, reply| {
            let fails = request.path.contains(path) && request.method == "GET" && count.fetch_add(1, Ordering::SeqCst) < times;
            if fails { spoil(reply) } else { reply }
        })
        .start()
}

#[test]
fn what_may_pass_is_tried_again() {
    for (path, spoil) in [
        ("/api/", (|_| ScriptedReply::status(503, "busy")) as fn(ScriptedReply) -> ScriptedReply),
        ("/api/", |_| ScriptedReply::closed()),
        ("/api/", ScriptedReply::half),
        ("/resolve/", |_| ScriptedReply::status(500, "")),
        ("/store/", |_| ScriptedReply::status(502, "")),
        ("/store/", |_| ScriptedReply::closed()),
        ("/store/", ScriptedReply::half),
        // The address of the store expired: the hub gives another.
        ("/store/", |_| ScriptedReply::status(403, "expired")),
        ("/store/", |_| ScriptedReply::status(429, "").header("Retry-After", "0")),
    ] {
        let hub = failing(path, 2, spoil);
        let place = Place::new();
        let pulled = place.pull(&hub, "acme/small").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(fs::read(pulled.path.join("model.safetensors")).expect("read") == noise(100_000, 1), "{path}");
        assert!(place.retries() >= 2, "{path}: {:?}", place.events);
    }
}

#[test]
fn waiting_as_long_as_the_server_asks_and_no_longer_than_is_sensible() {
    let hub = failing("/api/", 1, |_| ScriptedReply::status(429, "").header("Retry-After", "1"));
    let place = Place::new();
    let start = std::time::Instant::now();
    place.pull(&hub, "acme/small").expect("pulled");
    assert!(start.elapsed().as_millis() >= 1000, "{:?}", start.elapsed());

    let hub = failing("/api/", 1, |_| ScriptedReply::status(429, "").header("Retry-After", "3600"));
    let place = Place::new();
    let error = place.pull(&hub, "acme/small").expect_err("too long");
    assert!(matches!(error, HubError::TooManyRequests { seconds: 3600, .. }), "{error}");
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn enough_is_enough() {
    for path in ["/api/", "/store/"] {
        let hub = failing(path, usize::MAX, |_| ScriptedReply::status(503, ""));
        let place = Place::new();
        let error = place.pull(&hub, "acme/small").expect_err("always busy");
        assert!(matches!(error, HubError::Http { attempts: 4, .. }), "{error}");
        assert!(!place.files().iter().any(|file| file.contains("/refs/")), "{:?}", place.files());
    }
}

#[test]
fn what_the_hub_does_not_know_or_give() {
    let gated = TestHub::with(small_model(1000).gated(TOKEN));
    let hub = TestHub::with(small_model(1000));
    for (hub, name, token, fragments) in [
        (&hub, "acme/absent", None, ["knows no model acme/absent", "HF_TOKEN"]),
        (&hub, "acme/absent", Some(TOKEN), ["knows no model acme/absent", "account of this token"]),
        (&hub, "acme/small@v9", None, ["acme/small has no revision", "\"v9\""]),
        (&hub, "acme/small:x.gguf", None, ["has no file \"x.gguf\"", "no GGUF file at all"]),
        (&gated, "acme/small", None, ["acme/small is gated", "there is no token"]),
        (&gated, "acme/small", Some("hf_another_account_0"), ["acme/small is gated", "has no access"]),
    ] {
        let place = Place::new();
        let settings = place.settings_with(&hub.url(), token);
        let error = place.pull_with(&settings, name).expect_err(name);
        let message = format!("{error} {error:?}");
        assert!(fragments.iter().all(|fragment| message.contains(fragment)), "{name}: {message}");
        assert!(!message.contains("0123456789") && !message.contains("another_account"), "{message}");
        assert!(!place.cache().exists(), "{name}: {:?}", place.files());
        assert_eq!(place.retries(), 0, "{name}");
    }
}

#[test]
fn a_token_that_is_not_known_is_said_and_not_shown() {
    let server = Loopback::start([ScriptedReply::status(401, "no").header("X-Error-Message", "Invalid credentials: hf_0123456789abcdef")]);
    let place = Place::new();
    let error = place.pull_with(&place.settings_with(&server.url(), Some(TOKEN)), "a/b").expect_err("refused");
    assert!(matches!(error, HubError::BadToken { status: 401, .. }), "{error}");
    let server = Loopback::start([ScriptedReply::status(418, "").header("X-Error-Message", "who is hf_0123456789abcdef?")]);
    let error = place.pull_with(&place.settings_with(&server.url(), Some(TOKEN)), "a/b").expect_err("refused");
    let message = format!("{error} {error:?}");
    assert!(message.contains("418") && !message.contains("456789"), "{message}");
}

#[test]
fn nobody_there() {
    let closed = Loopback::start([]).url();
    let place = Place::new();
    let error = place.pull_with(&place.settings_with(&closed, None), "a/b").expect_err("nobody");
    assert!(matches!(error, HubError::Http { attempts: 1, .. }), "{error}");
    assert!(!place.cache().exists());
}

#[test]
fn offline_asks_nobody() {
    let hub = TestHub::with(small_model(1000));
    let place = Place::new();
    let mut settings = place.settings(&hub);
    settings.offline = Some("HF_HUB_OFFLINE");
    let error = place.pull_with(&settings, "acme/small").expect_err("offline").to_string();
    assert!(error.contains("HF_HUB_OFFLINE") && error.contains("dyag models pull acme/small"), "{error}");
    assert_eq!(hub.requests().len(), 0);
}

#[test]
fn two_pulls_at_a_time_fetch_once() {
    let hub = TestHub::builder().repo(small_model(400_000)).paced(1_000_000).start();
    let place = Place::new();
    let settings = place.settings(&hub);
    let both = std::thread::scope(|scope| {
        let one = scope.spawn(|| place.pull_with(&settings, "acme/small"));
        let other = scope.spawn(|| place.pull_with(&settings, "acme/small"));
        [one.join().expect("no panic").expect("pulled"), other.join().expect("no panic").expect("pulled")]
    });
    assert!(fs::read(both[0].path.join("model.safetensors")).expect("read") == noise(400_000, 1));
    let mut fetched = both.map(|pulled| pulled.fetched_bytes);
    fetched.sort_unstable();
    assert_eq!(fetched[0], 0, "the second one waits and finds everything");
    assert!(place.events.lock().expect("not poisoned").iter().any(|event| matches!(event, Event::Waiting { .. })));
    assert!(hub.sent_bytes() < 450_000, "{}", hub.sent_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Connections that end after any number of bytes, several times: the file comes out right, and little comes twice.
    #[test]
    fn connections_cut_at_any_byte(cuts in prop::collection::vec(0_usize..120_000, 1..4), size in 1_usize..300_000, without_ranges: bool) {
        let counter = Arc::new(AtomicUsize::new(0));
        let of_hook = Arc::clone(&counter);
        let n_cuts = cuts.len();
        let mut builder = TestHub::builder().repo(small_model(size)).hook(move |request, reply| {
            if !request.path.starts_with("/store/") {
                return reply;
            }
            match cuts.get(of_hook.fetch_add(1, Ordering::SeqCst)) {
                Some(cut) => reply.cut(*cut),
                None => reply,
            }
        });
        if without_ranges {
            builder = builder.without_ranges();
        }
        let hub = builder.start();
        let place = Place::new();
        let pulled = place.pull(&hub, "acme/small").expect("pulled");
        prop_assert!(fs::read(pulled.path.join("model.safetensors")).expect("read") == noise(size, 1));
        prop_assert!(!place.files().iter().any(|file| file.contains(".dyag")));
        prop_assert!(counter.load(Ordering::SeqCst) >= 1 && n_cuts >= 1);
        if !without_ranges {
            // What came before a cut is kept to the byte; the listing and small files take the rest.
            prop_assert!(hub.sent_bytes() <= size as u64 + 3000 + 3000, "{} of {size}", hub.sent_bytes());
        }
    }

    /// The same over several runs of the program: what an interrupted one left is gone on with.
    #[test]
    fn interrupted_pulls_go_on(cut in 0_usize..90_000, size in 100_000_usize..200_000) {
        let place = Place::new();
        let repo = small_model(size);
        let broken = TestHub::builder()
            .repo(repo.clone())
            .hook(move |request, reply| if request.path.starts_with("/store/") { reply.cut(cut.min(40_000)) } else { reply })
            .start();
        let mut settings = place.settings(&broken);
        settings.transfer.pace.attempts = 1;
        settings.transfer.connections = 1;
        let error = place.pull_with(&settings, "acme/small").expect_err("cut");
        prop_assert!(error.to_string().contains("the connection broke"), "{}", error);
        prop_assert!(!place.files().iter().any(|file| file.contains("/refs/")));
        let hub = TestHub::with(repo);
        let pulled = place.pull(&hub, "acme/small").expect("pulled");
        prop_assert!(fs::read(pulled.path.join("model.safetensors")).expect("read") == noise(size, 1));
        prop_assert_eq!(pulled.fetched_bytes, (size - cut.min(40_000)) as u64);
    }
}
