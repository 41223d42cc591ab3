//! What the tests of the hub share: a small model in a test hub, and a cache of its own.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use dyag_hub::{Event, HubError, HubName, HubSettings, Pace, Pulled};
use dyag_testing::{TestHub, TestRepo};
use tempfile::TempDir;

/// Bytes that differ from place to place.
pub(crate) fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_769) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

/// A model with two files of the hub itself and one of its store.
pub(crate) fn small_model(weight_bytes: usize) -> TestRepo {
    TestRepo::new("acme/small")
        .file("README.md", "read me")
        .file("config.json", "{\"model_type\": \"none\"}")
        .file("tokenizer.json", noise(3000, 7))
        .large("model.safetensors", noise(weight_bytes, 1))
        .large("pytorch_model.bin", noise(500, 2))
        .file("original/params.json", "{}")
}

/// A cache in a folder that vanishes.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) events: Mutex<Vec<Event>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), events: Mutex::default() }
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Settings for a hub, with short waits and small parts.
    pub(crate) fn settings(&self, hub: &TestHub) -> HubSettings {
        self.settings_with(&hub.url(), None)
    }

    pub(crate) fn settings_with(&self, endpoint: &str, token: Option<&str>) -> HubSettings {
        let variables = |name: &str| match name {
            "HF_ENDPOINT" => Some(OsString::from(endpoint)),
            "HF_HUB_CACHE" => Some(self.cache().into()),
            "HF_HOME" => Some(self.folder.path().into()),
            "HF_TOKEN" => token.map(OsString::from),
            _ => None,
        };
        let mut settings = HubSettings::from_environment(&variables).expect("settings");
        settings.transfer.record_bytes = 4096;
        settings.transfer.pace = Pace {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(20),
            attempts: 4,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(4),
            patience: Duration::from_secs(3),
        };
        settings
    }

    pub(crate) fn pull_with(&self, settings: &HubSettings, name: &str) -> Result<Pulled, HubError> {
        let name: HubName = name.parse()?;
        dyag_hub::pull(settings, &name, &|event| self.events.lock().expect("not poisoned").push(event))
    }

    pub(crate) fn pull(&self, hub: &TestHub, name: &str) -> Result<Pulled, HubError> {
        self.pull_with(&self.settings(hub), name)
    }

    /// All files in the cache but locks, sorted; links among them.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.cache()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if fs::symlink_metadata(&path).expect("facts").is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(self.cache()).expect("below").to_string_lossy().into_owned());
                }
            }
        }
        found.retain(|name| !name.starts_with(".locks"));
        found.sort();
        found
    }

    /// Whether something lies under a final name: a whole blob, a snapshot, a reference.
    pub(crate) fn has_final_names(&self) -> bool {
        self.files()
            .iter()
            .any(|name| name.contains("/refs/") || name.contains("/snapshots/") || (name.contains("/blobs/") && !name.contains(".dyag.")))
    }

    pub(crate) fn retries(&self) -> usize {
        self.events.lock().expect("not poisoned").iter().filter(|event| matches!(event, Event::Retry { .. })).count()
    }
}
