//! Fetching from a hub that behaves: what lands where, what is asked of whom, what is not asked again.

mod common;

use std::fs;

use common::{Place, noise, small_model};
use dyag_hub::{Cache, Event, HubError, HubName};
use dyag_testing::{TestHub, TestRepo};

fn name(text: &str) -> HubName {
    text.parse().expect("a name")
}

#[test]
fn a_model_lands_in_the_layout_that_others_read() {
    let repo = small_model(300_000);
    let commit = repo.commit().to_owned();
    let hub = TestHub::with(repo);
    let place = Place::new();
    let pulled = place.pull(&hub, "acme/small").expect("pulled");
    let snapshot = place.cache().join("models--acme--small/snapshots").join(&commit);
    assert_eq!((pulled.path.as_path(), pulled.commit.as_str(), pulled.fetched_bytes), (snapshot.as_path(), commit.as_str(), pulled.bytes));
    let below: Vec<String> = place.files().into_iter().filter(|file| file.contains("/snapshots/")).collect();
    // Neither a second copy of the weights nor what people read.
    assert_eq!(below.len(), 3, "{below:?}");
    for (file, content) in [("model.safetensors", noise(300_000, 1)), ("tokenizer.json", noise(3000, 7))] {
        let path = snapshot.join(file);
        assert!(fs::read(&path).expect("read") == content, "{file} came otherwise");
        #[cfg(unix)]
        {
            let target = fs::read_link(&path).expect("a link");
            assert!(
                target.starts_with("../../blobs") && target.file_name().is_some_and(|hash| hash.len() == 64 || hash.len() == 40),
                "{target:?}"
            );
        }
    }
    assert_eq!(fs::read_to_string(place.cache().join("models--acme--small/refs/main")).expect("a reference"), commit);
    let cache = Cache::new(place.cache());
    assert_eq!(cache.find(&name("acme/small")).map(|found| found.path), Some(snapshot.clone()));
    assert_eq!(cache.find(&name(&format!("acme/small@{commit}"))).map(|found| found.path), Some(snapshot));
    assert_eq!(cache.find(&name("acme/other")), None);
    assert!(!place.files().iter().any(|file| file.contains(".dyag")), "{:?}", place.files());
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let hub = TestHub::with(small_model(50_000));
    let place = Place::new();
    place.pull(&hub, "acme/small").expect("pulled");
    let (sent, asked) = (hub.sent_bytes(), hub.requests().len());
    let again = place.pull(&hub, "acme/small").expect("pulled");
    assert_eq!(again.fetched_bytes, 0);
    assert_eq!(hub.requests().len(), asked + 1, "the commit of main alone is asked for");
    assert!(hub.sent_bytes() - sent < 5000);
    // A file that lost its content is fetched alone.
    let weights = fs::canonicalize(again.path.join("model.safetensors")).expect("a file");
    fs::remove_file(weights).expect("removed");
    assert_eq!(place.pull(&hub, "acme/small").expect("pulled").fetched_bytes, 50_000);
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let hub = TestHub::with(small_model(200_000).gated("hf_0123456789abcdef"));
    let place = Place::new();
    let settings = place.settings_with(&hub.url(), Some("hf_0123456789abcdef"));
    place.pull_with(&settings, "acme/small").expect("pulled");
    assert!(hub.requests().iter().all(|request| request.header("authorization") == Some("Bearer hf_0123456789abcdef")));
    let elsewhere = hub.store_requests();
    assert!(!elsewhere.is_empty());
    for request in elsewhere {
        assert!(request.headers.iter().all(|(_, value)| !value.contains("hf_")), "{request:?}");
        assert!(!request.path.contains("hf_"), "{request:?}");
    }
    // Without a token none is sent.
    let free = TestHub::with(small_model(1000));
    Place::new().pull(&free, "acme/small").expect("pulled");
    assert!(free.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn large_files_come_in_parallel_ranges() {
    let hub = TestHub::with(small_model(4 << 20));
    let place = Place::new();
    place.pull(&hub, "acme/small").expect("pulled");
    let ranges: Vec<String> = hub.store_requests().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    let told: u64 = place.events.lock().expect("not poisoned").iter().map(|event| if let Event::Bytes(n) = event { *n } else { 0 }).sum();
    assert_eq!(told, (4 << 20) + 3000 + 22);
}

#[test]
fn one_gguf_file_and_revisions() {
    let repo = TestRepo::new("acme/gguf").large("a-Q4_K_M.gguf", noise(9000, 3)).large("sub/b.gguf", noise(100, 4)).file("README.md", "");
    let commit = repo.commit().to_owned();
    let hub = TestHub::with(repo);
    let place = Place::new();
    let pulled = place.pull(&hub, "acme/gguf:sub/b.gguf").expect("pulled");
    assert!(pulled.path.ends_with(format!("snapshots/{commit}/sub/b.gguf")), "{pulled:?}");
    assert!(fs::read(&pulled.path).expect("read") == noise(100, 4));
    let cache = Cache::new(place.cache());
    assert!(cache.find(&name("acme/gguf:sub/b.gguf")).is_some() && cache.find(&name("acme/gguf:a-Q4_K_M.gguf")).is_none());
    // A commit needs no reference.
    let other = Place::new();
    other.pull(&hub, &format!("acme/gguf@{commit}:a-Q4_K_M.gguf")).expect("pulled");
    assert!(!other.files().iter().any(|file| file.contains("/refs/")), "{:?}", other.files());
}

#[test]
fn a_mirror_that_lists_names_alone_is_asked_for_each_file() {
    let hub = TestHub::builder().repo(small_model(20_000)).without_blobs().start();
    let place = Place::new();
    let pulled = place.pull(&hub, "acme/small").expect("pulled");
    assert!(fs::read(pulled.path.join("model.safetensors")).expect("read") == noise(20_000, 1));
    assert!(hub.requests().iter().any(|request| request.method == "HEAD"));
}

#[test]
fn a_hub_that_knows_no_ranges_sends_files_whole() {
    let hub = TestHub::builder().repo(small_model(400_000)).without_ranges().start();
    let place = Place::new();
    let pulled = place.pull(&hub, "acme/small").expect("pulled");
    assert!(fs::read(pulled.path.join("model.safetensors")).expect("read") == noise(400_000, 1));
    assert_eq!(hub.store_requests().len(), 1);
}

#[test]
fn removing_frees_what_nobody_else_needs() {
    let hub = TestHub::with(small_model(70_000));
    let place = Place::new();
    let pulled = place.pull(&hub, "acme/small").expect("pulled");
    let cache = Cache::new(place.cache());
    let models = cache.models().expect("read");
    assert_eq!((models.len(), models[0].repo.as_str(), models[0].revisions.len()), (1, "acme/small", 1));
    assert_eq!((models[0].revisions[0].refs.as_slice(), &models[0].revisions[0].lacks), (["main".to_owned()].as_slice(), &None));
    assert_eq!(models[0].revisions[0].bytes(), pulled.bytes);
    // A second snapshot that shares the weights.
    let other = pulled.path.with_file_name("f".repeat(40));
    fs::create_dir(&other).expect("a folder");
    #[cfg(unix)]
    std::os::unix::fs::symlink(fs::read_link(pulled.path.join("model.safetensors")).expect("a link"), other.join("model.safetensors"))
        .expect("linked");
    let removed = cache.remove(&name(&format!("acme/small@{}", pulled.commit)), &|_| {}).expect("removed");
    assert!(removed.freed_bytes > 3000 && removed.freed_bytes < 70_000, "{removed:?}");
    assert!(!pulled.path.exists() && other.join("model.safetensors").is_file());
    let removed = cache.remove(&name("acme/small"), &|_| {}).expect("removed");
    assert!(removed.freed_bytes >= 70_000, "{removed:?}");
    assert_eq!(place.files(), Vec::<String>::new());
    assert!(matches!(cache.remove(&name("acme/small"), &|_| {}), Err(HubError::NotCached { .. })));
}

#[test]
#[cfg(unix)]
fn removing_never_leaves_the_cache() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    fs::create_dir_all(outside.join("blobs")).expect("folders");
    fs::write(outside.join("blobs/precious"), "x").expect("written");
    fs::create_dir_all(place.cache()).expect("a folder");
    std::os::unix::fs::symlink(&outside, place.cache().join("models--acme--small")).expect("linked");
    let error = Cache::new(place.cache()).remove(&name("acme/small"), &|_| {}).expect_err("refused").to_string();
    assert!(error.contains("nothing was removed"), "{error}");
    assert!(outside.join("blobs/precious").exists());
}
