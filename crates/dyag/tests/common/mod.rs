//! What the tests of the program share: running it, and a tiny real model to run it on.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dyag_testing::{TestHub, TestRepo};
use tempfile::TempDir;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// A folder of its own for a test, and the program run inside it.
pub(crate) struct Place {
    folder: TempDir,
    variables: Mutex<Vec<(String, String)>>,
}

/// Sends Ctrl-C to a run as soon as a file that it writes has so many lines, and gives what it came to.
#[cfg(unix)]
pub(crate) fn interrupted_at(mut child: Child, file: &Path, n_lines: usize) -> Outcome {
    let began = Instant::now();
    while fs::read_to_string(file).unwrap_or_default().lines().count() < n_lines {
        assert!(began.elapsed() < Duration::from_secs(120), "{} had no {n_lines} lines in two minutes", file.display());
        assert!(child.try_wait().expect("watched").is_none(), "the run ended before it could be interrupted");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
    let output = child.wait_with_output().expect("ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// What a run of the program came to.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "exit status {code}")?,
            None => writeln!(f, "ended by a signal")?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "--- {name}\n{text}")?;
            }
        }
        Ok(())
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary folder"), variables: Mutex::default() };
        // No test reaches the network, or the models of whoever runs it.
        place.set("HF_HUB_OFFLINE", "1");
        place.set("HF_HOME", place.path("hf"));
        place.set("DYAG_CONFIG_DIR", place.path("config"));
        place
    }

    /// Sets an environment variable of the program that is run from now on.
    pub(crate) fn set(&self, name: &str, value: impl AsRef<OsStr>) {
        let value = value.as_ref().to_str().expect("UTF-8").to_owned();
        self.variables.lock().expect("not poisoned").push((name.to_owned(), value));
    }

    /// The program asks this model hub from now on, and may.
    pub(crate) fn online(&self, hub: &TestHub) {
        self.set("HF_HUB_OFFLINE", "0");
        self.set("HF_ENDPOINT", hub.url());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the folder, with the folders above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, content).expect("a file");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// All files below the folder, sorted, with `/` between names.
    pub(crate) fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.path(below)];
        while let Some(folder) = open.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let relative = path.strip_prefix(self.folder.path()).expect("below");
                    found.push(relative.to_string_lossy().replace('\\', "/"));
                }
            }
        }
        found.sort();
        found
    }

    /// The tiny Qwen2 model of the fixtures with a tokenizer and a chat template, as folder `model`.
    pub(crate) fn model(&self) -> PathBuf {
        let folder = self.path("model");
        for (from, names) in [
            ("fixtures/golden/qwen2/model", ["config.json", "model.safetensors"].as_slice()),
            ("fixtures/tiny-chat", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"].as_slice()),
        ] {
            for name in names {
                let from = root().join(from).join(name);
                self.write(&format!("model/{name}"), fs::read(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display())));
            }
        }
        folder
    }

    /// A dataset of two conversations with a system message, as `train.jsonl`.
    pub(crate) fn dataset(&self) -> PathBuf {
        self.write(
            "train.jsonl",
            [conversation("Quel est le statut de 6Tzen ?", "En production"), conversation("Qui gère ADES ?", "Le BRGM")].concat(),
        )
    }

    /// Runs the program in the folder; `[PLACE]` stands for the folder's path in what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with_input(arguments, "")
    }

    /// [`Place::run`] with text on standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // The program may end before it has read everything.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the program ends");
        let text = |bytes: Vec<u8>| {
            let place = self.folder.path().to_string_lossy().into_owned();
            String::from_utf8(bytes).expect("UTF-8").replace(&place, "[PLACE]")
        };
        Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The program, to be started in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dyag"));
        command.args(arguments).current_dir(self.folder.path()).env("COLUMNS", "100").env_remove("RAYON_NUM_THREADS").env("NO_COLOR", "1");
        for name in [
            "HF_ENDPOINT",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN_PATH",
            "TRANSFORMERS_OFFLINE",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "ALL_PROXY",
            "https_proxy",
            "http_proxy",
            "all_proxy",
            "LC_ALL",
            "LC_MESSAGES",
            "LANG",
        ] {
            command.env_remove(name);
        }
        command.env("DYAG_CACHE_DIR", self.path("cache"));
        command.envs(self.variables.lock().expect("not poisoned").iter().cloned());
        command
    }
}

/// The tiny model of [`Place::model`] as a repository of a model hub.
pub(crate) fn tiny_repo(name: &str) -> TestRepo {
    let read = |folder: &str, name: &str| {
        let path = root().join(folder).join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let (model, chat) = ("fixtures/golden/qwen2/model", "fixtures/tiny-chat");
    TestRepo::new(name)
        .file("config.json", read(model, "config.json"))
        .file("generation_config.json", read(chat, "generation_config.json"))
        .file("tokenizer.json", read(chat, "tokenizer.json"))
        .file("tokenizer_config.json", read(chat, "tokenizer_config.json"))
        .large("model.safetensors", read(model, "model.safetensors"))
        .large("tiny.gguf", read(chat, "model.gguf"))
}

/// A line of a dataset.
pub(crate) fn conversation(question: &str, answer: &str) -> String {
    format!(
        concat!(
            r#"{{"messages": [{{"role": "system", "content": "Tu réponds brièvement."}}, "#,
            r#"{{"role": "user", "content": "{}"}}, {{"role": "assistant", "content": "{}"}}]}}"#,
            "\n"
        ),
        question, answer
    )
}
