//! Answers on the disk: what was asked once is not asked again, so that a run that was interrupted goes on where it stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use dyag_model::files::write_atomically;
use dyag_text::language_model::{LanguageModel, ModelFailure, Reply, Request};
use dyag_text::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::budget::Meter;

/// Changes whenever old entries may not be used any more.
const VERSION: u32 = 1;

/// A model whose successful answers are kept in a folder, one file for each request.
pub(crate) struct Cached<M> {
    inner: M,
    /// What, besides the request, an answer depends on: protocol, address, name of the model.
    identity: Value,
    folder: PathBuf,
    meter: Meter,
    /// One writer at a time: two of the same request would meet in one temporary file.
    writing: Mutex<()>,
}

/// One file.
#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    /// The file's own name, so that a file that was renamed or mixed up is not believed.
    request_sha256: String,
    /// For people who look into the folder.
    model: String,
    reply: Reply,
}

impl<M: LanguageModel> Cached<M> {
    /// A cache in `folder`, which is made when it is not there.
    pub(super) fn new(inner: M, identity: Value, folder: &Path, meter: Meter) -> anyhow::Result<Self> {
        if folder.exists() && !folder.is_dir() {
            bail!("--llm-cache {}: expected a folder, found a file; name another folder", folder.display());
        }
        fs::create_dir_all(folder).with_context(|| format!("--llm-cache {}: cannot make the folder", folder.display()))?;
        Ok(Self { inner, identity, folder: folder.to_owned(), meter, writing: Mutex::new(()) })
    }

    /// SHA-256 of everything that the answer depends on.
    fn digest(&self, request: &Request) -> String {
        // Keys keep their order: a model that is held to a schema writes its properties in that of the schema.
        sha256_hex(json!({ "version": VERSION, "model": self.identity, "request": request }).to_string().as_bytes())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.json"))
    }

    /// The answer that is kept; none also where its file is damaged.
    fn find(&self, digest: &str) -> Option<Reply> {
        let bytes = fs::read(self.path(digest)).ok()?;
        let entry: Entry = serde_json::from_slice(&bytes).ok()?;
        (entry.version == VERSION && entry.request_sha256 == digest).then_some(entry.reply)
    }

    fn keep(&self, digest: String, reply: &Reply) -> Result<(), ModelFailure> {
        let path = self.path(&digest);
        let entry = Entry { version: VERSION, request_sha256: digest, model: self.inner.name(), reply: reply.clone() };
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = write_atomically(&path, |out| {
            serde_json::to_writer(&mut *out, &entry)?;
            writeln!(out)
        });
        written
            .or_else(|error| {
                // Another process with the same folder may have kept the same answer at the same moment.
                if self.find(&entry.request_sha256).is_some() { Ok(()) } else { Err(error) }
            })
            .map_err(|error| ModelFailure {
                model: self.inner.name(),
                problem: format!("the answer cannot be kept in --llm-cache: {error}. Make room, or choose another folder"),
                fatal: true,
            })
    }
}

impl<M: LanguageModel> LanguageModel for Cached<M> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn answer(&self, request: &Request) -> Result<Reply, ModelFailure> {
        let digest = self.digest(request);
        let found = self.find(&digest);
        self.meter.record_look(found.is_some());
        if let Some(reply) = found {
            return Ok(reply);
        }
        let reply = self.inner.answer(request)?;
        self.keep(digest, &reply)?;
        Ok(reply)
    }

    fn answer_in_pieces(&self, request: &Request, on_text: &mut dyn FnMut(&str)) -> Result<Reply, ModelFailure> {
        let digest = self.digest(request);
        let found = self.find(&digest);
        self.meter.record_look(found.is_some());
        if let Some(reply) = found {
            on_text(&reply.text);
            return Ok(reply);
        }
        let reply = self.inner.answer_in_pieces(request, on_text)?;
        self.keep(digest, &reply)?;
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use dyag_text::{Message, Role};

    use super::super::budget::Limits;
    use super::*;

    /// A model that counts what it is asked, and fails when the question says so.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl LanguageModel for &Counting {
        fn name(&self) -> String {
            "test/counting".to_owned()
        }

        fn answer(&self, request: &Request) -> Result<Reply, ModelFailure> {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            let question = &request.messages[0].content;
            if question == "fail" {
                return Err(ModelFailure { model: self.name(), problem: "asked to".to_owned(), fatal: false });
            }
            Ok(Reply { text: format!("{question} {n}"), n_answer_tokens: Some(2), ..Reply::default() })
        }
    }

    fn request(text: &str) -> Request {
        Request { messages: vec![Message::new(Role::User, text)], max_tokens: 5, temperature: 0.5, seed: 1, schema: None }
    }

    fn cached<'m>(model: &'m Counting, folder: &Path, identity: &str) -> Cached<&'m Counting> {
        Cached::new(model, json!(identity), folder, Meter::new(Limits::default(), "")).expect("a cache")
    }

    #[test]
    fn what_was_asked_is_not_asked_again() {
        let (folder, model) = (tempfile::tempdir().expect("a folder"), Counting::default());
        let folder = folder.path().join("a/b");
        let first = cached(&model, &folder, "m").answer(&request("q")).expect("an answer");
        // Another process.
        let later = cached(&model, &folder, "m");
        assert_eq!(later.answer(&request("q")).expect("an answer"), first);
        assert_eq!((later.meter.usage().n_cache_hits, later.meter.usage().n_cache_misses), (1, 0));
        // Everything that an answer depends on makes a request another.
        for other in [
            request("r"),
            Request { max_tokens: 6, ..request("q") },
            Request { temperature: 0.6, ..request("q") },
            Request { seed: 2, ..request("q") },
            Request { schema: Some(json!({ "type": "string" })), ..request("q") },
        ] {
            assert_ne!(later.answer(&other).expect("an answer"), first, "{other:?}");
        }
        assert_ne!(cached(&model, &folder, "n").answer(&request("q")).expect("an answer"), first);
        assert_eq!(later.meter.usage().n_cache_misses, 5);
    }

    #[test]
    fn damaged_entries_are_asked_for_again_and_rewritten() {
        let (folder, model) = (tempfile::tempdir().expect("a folder"), Counting::default());
        let cache = cached(&model, folder.path(), "m");
        let first = cache.answer(&request("q")).expect("an answer");
        cache.answer(&request("other")).expect("an answer");
        let path = cache.path(&cache.digest(&request("q")));
        let whole = fs::read_to_string(&path).expect("the entry");
        let other = fs::read_to_string(cache.path(&cache.digest(&request("other")))).expect("the entry");
        for damaged in
            ["", "{", &whole[..whole.len() / 2], "[]", "{\"version\": 1}", &whole.replace("\"version\":1", "\"version\":9"), &other]
        {
            fs::write(&path, damaged).expect("write");
            let asked = cache.answer(&request("q")).expect("an answer");
            assert_ne!(asked, first, "{damaged} was believed");
            assert_eq!(cache.answer(&request("q")).expect("an answer"), asked);
        }
    }

    #[test]
    fn failures_are_not_kept() {
        let (folder, model) = (tempfile::tempdir().expect("a folder"), Counting::default());
        let cache = cached(&model, folder.path(), "m");
        for _ in 0..2 {
            cache.answer(&request("fail")).expect_err("fails");
        }
        assert_eq!(model.0.load(Ordering::Relaxed), 2);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let model = Counting::default();
        let made = Cached::new(&model, json!("m"), file.path(), Meter::new(Limits::default(), ""));
        assert!(made.err().expect("refused").to_string().contains("found a file"));
    }
}
