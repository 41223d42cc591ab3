//! Servers that lie: about names, sizes, hashes, ranges and where to go.

mod common;

use std::fs;

use common::{Place, noise, small_model};
use dyag_hub::HubError;
use dyag_testing::{Loopback, ScriptedReply, TestHub, TestRepo};

/// What a pull of `acme/small` says that must fail without leaving anything under a final name for `file`.
fn refused(hub: &TestHub, file: &str) -> (String, Place) {
    let place = Place::new();
    let error = place.pull(hub, "acme/small").expect_err("refused");
    let left = place.files();
    assert!(!left.iter().any(|name| name.contains("/refs/") || name.ends_with(file)), "{left:?}");
    (error.to_string(), place)
}

#[test]
fn a_wrong_hash_leaves_nothing() {
    for (repo, algorithm) in [
        (
            TestRepo::new("acme/small").file("config.json", "{}").large("model.safetensors", noise(9000, 1)).told_hash(&"a".repeat(64)),
            "SHA-256",
        ),
        (
            TestRepo::new("acme/small").file("config.json", "{}").told_hash(&"b".repeat(40)).large("model.safetensors", noise(9000, 1)),
            "git SHA-1",
        ),
    ] {
        let hub = TestHub::with(repo);
        let place = Place::new();
        let error = place.pull(&hub, "acme/small").expect_err("damaged");
        assert!(matches!(&error, HubError::WrongHash { algorithm: found, .. } if *found == algorithm), "{error}");
        let left = place.files();
        assert!(!left.iter().any(|name| name.contains(&"a".repeat(40)) || name.contains(&"b".repeat(40))), "{left:?}");
        assert!(!left.iter().any(|name| name.contains("/refs/") || name.contains("/snapshots/")), "{left:?}");
    }
}

#[test]
fn content_that_changes_on_the_way_is_found_and_fetched_anew() {
    let hub = TestHub::builder()
        .repo(small_model(50_000))
        .hook({
            let mut first = true;
            move |request, reply| {
                if request.path.starts_with("/store/") && std::mem::take(&mut first) {
                    let range = request.header("range").unwrap_or_default().trim_start_matches("bytes=").to_owned();
                    return ScriptedReply::status(206, vec![0; 50_000]).header("Content-Range", &format!("bytes {range}/50000"));
                }
                reply
            }
        })
        .start();
    let place = Place::new();
    assert!(matches!(place.pull(&hub, "acme/small"), Err(HubError::WrongHash { .. })));
    assert!(!place.files().iter().any(|name| name.contains(".dyag")), "{:?}", place.files());
    let pulled = place.pull(&hub, "acme/small").expect("pulled");
    assert!(fs::read(pulled.path.join("model.safetensors")).expect("read") == noise(50_000, 1));
}

#[test]
fn lies_about_sizes() {
    let with_size = |size| TestRepo::new("acme/small").file("config.json", "{}").large("model.safetensors", noise(9000, 1)).told_size(size);
    for size in [8999, 9001, 1] {
        let hub = TestHub::with(with_size(size));
        let (message, _) = refused(&hub, "model.safetensors");
        assert!(message.contains("cannot be trusted") && message.contains(&size.to_string()), "{message}");
        let hub = TestHub::builder().repo(with_size(size)).without_ranges().start();
        let (message, _) = refused(&hub, "model.safetensors");
        assert!(message.contains("cannot be trusted") && message.contains("9000"), "{message}");
    }
    // Larger than any disk: refused before anything is written.
    for size in [u64::MAX, 1 << 43] {
        let hub = TestHub::with(with_size(size));
        let (message, place) = refused(&hub, "model.safetensors");
        assert!(message.contains("would have") || message.contains("not enough room"), "{message}");
        assert!(!place.files().iter().any(|name| name.contains("/blobs/")), "{:?}", place.files());
    }
}

#[test]
fn a_file_that_is_listed_and_not_there() {
    let hub = TestHub::builder()
        .repo(small_model(20_000))
        .hook(|request, reply| {
            if request.path.contains("/resolve/") { ScriptedReply::status(404, "").header("X-Error-Code", "EntryNotFound") } else { reply }
        })
        .start();
    let (message, place) = refused(&hub, "model.safetensors");
    assert!(message.contains("it lists config.json and does not have it"), "{message}");
    assert!(!place.cache().exists());
}

#[test]
fn redirects_on_the_hub_itself_keep_the_token() {
    // As the public hub has it for small files: a relative address on the same server.
    let hub = TestHub::builder()
        .repo(small_model(20_000).gated("hf_0123456789abcdef"))
        .hook(|request, reply| match request.path.strip_suffix("?cached") {
            Some(_) => reply,
            None if request.path.ends_with("/tokenizer.json") => {
                ScriptedReply::status(307, "").header("Location", &format!("{}?cached", request.path))
            }
            None => reply,
        })
        .start();
    let place = Place::new();
    let pulled = place.pull_with(&place.settings_with(&hub.url(), Some("hf_0123456789abcdef")), "acme/small").expect("pulled");
    assert!(fs::read(pulled.path.join("tokenizer.json")).expect("read") == noise(3000, 7));
    assert!(hub.requests().iter().any(|request| request.path.ends_with("?cached") && request.header("authorization").is_some()));
}

#[test]
fn a_body_longer_than_promised_is_not_read_on() {
    let server = TestHub::builder()
        .repo(small_model(20_000))
        .hook(|request, reply| {
            if !request.path.starts_with("/store/") {
                return reply;
            }
            // The headers promise what was asked for, the body goes on.
            let range = request.header("range").unwrap_or_default().trim_start_matches("bytes=").to_owned();
            let body = [noise(20_000, 1), vec![7; 50_000]].concat();
            ScriptedReply::status(206, body).header("Content-Range", &format!("bytes {range}/20000"))
        })
        .start();
    let place = Place::new();
    let pulled = place.pull(&server, "acme/small").expect("pulled");
    assert!(fs::read(pulled.path.join("model.safetensors")).expect("read") == noise(20_000, 1));
}

#[test]
fn names_that_lead_elsewhere() {
    for name in
        ["../../../evil.json", "/etc/evil.json", "a/../../evil.json", "..\\evil.json", "a//evil.json", "evil\u{0}.json", "C:evil.json", "."]
    {
        let hub = TestHub::with(small_model(1000).file(name, "x"));
        let (message, place) = refused(&hub, "evil.json");
        assert!(message.contains("the name of a file"), "{name}: {message}");
        assert!(!place.cache().exists(), "{name}");
    }
}

#[test]
fn wrong_listings() {
    for (answer, fragment) in [
        ("", "JSON"),
        ("[]", "JSON"),
        ("{\"siblings\": []}", "sha"),
        ("{\"sha\": \"../../x\", \"siblings\": []}", "commit"),
        (
            "{\"sha\": \"0123456789012345678901234567890123456789\", \"siblings\": [{\"rfilename\": \"config.json\", \"size\": 1, \"blobId\": \"../x\"}]}",
            "hash",
        ),
        (
            "{\"sha\": \"0123456789012345678901234567890123456789\", \"siblings\": [{\"rfilename\": \"a\"}, {\"rfilename\": \"a\"}]}",
            "twice",
        ),
        ("{\"sha\": \"0123456789012345678901234567890123456789\", \"siblings\": []}", "holds no model"),
    ] {
        let server = Loopback::start([ScriptedReply::json(answer)]);
        let place = Place::new();
        let message = place.pull_with(&place.settings_with(&server.url(), None), "a/b").expect_err(answer).to_string();
        assert!(message.contains(fragment), "{answer}: {message}");
        assert!(!place.cache().exists(), "{answer}");
    }
    // Another commit than the one that was asked for.
    let server = Loopback::start([ScriptedReply::json("{\"sha\": \"0123456789012345678901234567890123456789\", \"siblings\": []}")]);
    let place = Place::new();
    let name = format!("a/b@{}", "f".repeat(40));
    let message = place.pull_with(&place.settings_with(&server.url(), None), &name).expect_err("another").to_string();
    assert!(message.contains("asked for the commit"), "{message}");
}

#[test]
fn redirects_that_are_not_followed() {
    for (location, fragment) in [
        ("ftp://127.0.0.1/x", "scheme"),
        ("file:///etc/passwd", "redirects to"),
        ("http://user:secret@127.0.0.1/x", "a name or a password"),
        ("/api/again", "more than 5 times"),
    ] {
        let server = Loopback::answering(move |_| ScriptedReply::status(302, "").header("Location", location));
        let place = Place::new();
        let message = place.pull_with(&place.settings_with(&server.url(), None), "a/b").expect_err(location).to_string();
        assert!(message.contains(fragment) && !message.contains("secret"), "{location}: {message}");
        assert!(server.requests().len() <= 6);
    }
}

#[test]
fn a_token_does_not_come_back_with_a_detour() {
    // The hub leads to another server, which leads back to the hub.
    let hub_url = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let of_other = std::sync::Arc::clone(&hub_url);
    let other = Loopback::answering(move |_| {
        let back = format!("{}/stolen", of_other.lock().expect("not poisoned"));
        ScriptedReply::status(302, "").header("Location", &back)
    });
    let other_url = other.url();
    let hub = Loopback::answering(move |request| {
        if request.path == "/stolen" {
            return ScriptedReply::status(404, "");
        }
        ScriptedReply::status(302, "").header("Location", &format!("{other_url}/x"))
    });
    *hub_url.lock().expect("not poisoned") = hub.url();
    let place = Place::new();
    let mut settings = place.settings_with(&hub.url(), Some("hf_0123456789abcdef"));
    settings.transfer.pace.attempts = 1;
    place.pull_with(&settings, "a/b").expect_err("nothing there");
    let last = hub.requests().pop().expect("asked");
    assert_eq!((last.path.as_str(), last.header("authorization")), ("/stolen", None));
    assert_eq!(other.requests()[0].header("authorization"), None);
}
