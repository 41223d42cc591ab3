//! A model hub on this machine: repositories in memory behind the real addresses, large files on a second server, as the public hub has it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::loopback::{Loopback, RecordedRequest, ScriptedReply};

/// A repository of the test hub, at one commit.
#[derive(Clone, Debug)]
pub struct TestRepo {
    name: String,
    commit: String,
    files: Vec<TestFile>,
    gate: Option<String>,
}

#[derive(Clone, Debug)]
struct TestFile {
    name: String,
    content: Arc<Vec<u8>>,
    hash: String,
    is_large: bool,
    /// What the listing says in place of the truth.
    told_size: Option<u64>,
    told_hash: Option<String>,
}

impl TestRepo {
    /// An empty repository `organisation/name`, whose commit is made of its name.
    pub fn new(name: &str) -> Self {
        let commit = hex(&Sha1::digest(name.as_bytes()));
        Self { name: name.to_owned(), commit, files: Vec::new(), gate: None }
    }

    /// With a small file, which the hub serves itself.
    pub fn file(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.add(name, content.into(), false)
    }

    /// With a large file, which a second server serves.
    pub fn large(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.add(name, content.into(), true)
    }

    /// The last file is listed with this size.
    pub fn told_size(mut self, size: u64) -> Self {
        self.files.last_mut().expect("a file").told_size = Some(size);
        self
    }

    /// The last file is listed with this hash.
    pub fn told_hash(mut self, hash: &str) -> Self {
        self.files.last_mut().expect("a file").told_hash = Some(hash.to_owned());
        self
    }

    /// Given only to those who send this token.
    pub fn gated(mut self, token: &str) -> Self {
        self.gate = Some(token.to_owned());
        self
    }

    /// Its commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Sum of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.content.len() as u64).sum()
    }

    fn add(mut self, name: &str, content: Vec<u8>, is_large: bool) -> Self {
        let hash = hash(&content, is_large);
        let content = Arc::new(content);
        self.files.push(TestFile { name: name.to_owned(), content, hash, is_large, told_size: None, told_hash: None });
        self
    }
}

impl TestFile {
    fn listed(&self) -> Value {
        let size = self.told_size.unwrap_or(self.content.len() as u64);
        let hash = self.told_hash.clone().unwrap_or_else(|| self.hash.clone());
        if self.is_large {
            json!({ "rfilename": self.name, "size": size, "blobId": "0".repeat(40),
                "lfs": { "sha256": hash, "size": size, "pointerSize": 134 } })
        } else {
            json!({ "rfilename": self.name, "size": size, "blobId": hash })
        }
    }
}

/// SHA-256, or the SHA-1 of git's blob.
fn hash(content: &[u8], is_large: bool) -> String {
    if is_large {
        return hex(&Sha256::digest(content));
    }
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Hook = Box<dyn FnMut(&RecordedRequest, ScriptedReply) -> ScriptedReply + Send>;

/// How a test hub behaves.
#[derive(Default)]
pub struct TestHubBuilder {
    repos: Vec<TestRepo>,
    bytes_per_second: Option<u64>,
    without_ranges: bool,
    without_blobs: bool,
    hook: Option<Hook>,
}

/// A running hub. It ends when it is dropped.
pub struct TestHub {
    hub: Loopback,
    store: Arc<Loopback>,
}

impl TestHubBuilder {
    /// With a repository.
    pub fn repo(mut self, repo: TestRepo) -> Self {
        self.repos.push(repo);
        self
    }

    /// Content is sent no faster than that on each connection.
    pub fn paced(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second);
        self
    }

    /// Sends files whole, whatever range is asked for.
    pub fn without_ranges(mut self) -> Self {
        self.without_ranges = true;
        self
    }

    /// Lists names of files alone, as some mirrors do.
    pub fn without_blobs(mut self) -> Self {
        self.without_blobs = true;
        self
    }

    /// Every reply goes through this, of both servers; paths of the second one begin with `/store/`.
    pub fn hook(mut self, hook: impl FnMut(&RecordedRequest, ScriptedReply) -> ScriptedReply + Send + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Starts both servers.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub fn start(self) -> TestHub {
        let Self { repos, bytes_per_second, without_ranges, without_blobs, hook } = self;
        let hook = Arc::new(Mutex::new(hook));
        let repos = Arc::new(repos);
        let with_hook = |hook: &Arc<Mutex<Option<Hook>>>| {
            let hook = Arc::clone(hook);
            move |request: &RecordedRequest, reply: ScriptedReply| match hook.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                Some(hook) => hook(request, reply),
                None => reply,
            }
        };
        let serve = move |request: &RecordedRequest, content: &[u8]| {
            let reply = content_reply(request, content, without_ranges);
            bytes_per_second.map_or(reply.clone(), |rate| reply.paced(rate))
        };
        let (of_store, hooked) = (Arc::clone(&repos), with_hook(&hook));
        let store = Arc::new(Loopback::answering(move |request| {
            let hash = request.path.trim_start_matches("/store/").split('?').next().unwrap_or_default().to_owned();
            let file = of_store.iter().flat_map(|repo| &repo.files).find(|file| file.is_large && file.hash == hash);
            let reply = match file {
                Some(file) => serve(request, &file.content),
                None => ScriptedReply::status(404, "no such object"),
            };
            hooked(request, reply)
        }));
        let (store_url, hooked) = (store.url(), with_hook(&hook));
        let hub = Loopback::answering(move |request| {
            let reply = answer(&repos, request, &store_url, without_blobs, &serve);
            hooked(request, reply)
        });
        TestHub { hub, store }
    }
}

impl TestHub {
    /// A hub to be filled.
    pub fn builder() -> TestHubBuilder {
        TestHubBuilder::default()
    }

    /// A hub with one repository.
    pub fn with(repo: TestRepo) -> Self {
        Self::builder().repo(repo).start()
    }

    /// What `HF_ENDPOINT` is to be.
    pub fn url(&self) -> String {
        self.hub.url()
    }

    /// What the hub itself was asked.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.hub.requests()
    }

    /// What the second server was asked.
    pub fn store_requests(&self) -> Vec<RecordedRequest> {
        self.store.requests()
    }

    /// So many bytes of bodies both servers sent.
    pub fn sent_bytes(&self) -> u64 {
        self.hub.sent_body_bytes() + self.store.sent_body_bytes()
    }
}

fn refusal(status: u16, code: &str) -> ScriptedReply {
    ScriptedReply::status(status, format!("{{\"error\": \"{code}\"}}"))
        .header("X-Error-Code", code)
        .header("X-Error-Message", "the hub's own words")
}

fn answer(
    repos: &[TestRepo],
    request: &RecordedRequest,
    store_url: &str,
    without_blobs: bool,
    serve: &dyn Fn(&RecordedRequest, &[u8]) -> ScriptedReply,
) -> ScriptedReply {
    let path = request.path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let find = |organisation: &str, name: &str| repos.iter().find(|repo| repo.name == format!("{organisation}/{name}"));
    match parts.as_slice() {
        ["api", "models", organisation, name, "revision", revision] => {
            // The hub tells those without a token nothing about what is not there.
            let Some(repo) = find(organisation, name) else {
                return refusal(if request.header("authorization").is_some() { 404 } else { 401 }, "RepoNotFound");
            };
            if *revision != "main" && *revision != repo.commit {
                return refusal(404, "RevisionNotFound");
            }
            let gated = if repo.gate.is_some() { json!("manual") } else { json!(false) };
            let listed = |file: &TestFile| if without_blobs { json!({ "rfilename": file.name }) } else { file.listed() };
            let siblings: Vec<Value> = repo.files.iter().map(listed).collect();
            let answer =
                json!({ "id": repo.name, "sha": repo.commit, "gated": gated, "siblings": siblings, "cardData": { "license": "mit" } });
            ScriptedReply::json(answer.to_string())
        }
        [organisation, name, "resolve", revision, rest @ ..] => {
            let Some(repo) = find(organisation, name) else { return refusal(404, "RepoNotFound") };
            if let Some(gate) = &repo.gate {
                match request.header("authorization") {
                    None => return refusal(401, "GatedRepo"),
                    Some(sent) if sent != format!("Bearer {gate}") => return refusal(403, "GatedRepo"),
                    Some(_) => {}
                }
            }
            if *revision != repo.commit {
                return refusal(404, "RevisionNotFound");
            }
            let Some(file) = repo.files.iter().find(|file| file.name == rest.join("/")) else { return refusal(404, "EntryNotFound") };
            let hash = &file.hash;
            if file.is_large {
                return ScriptedReply::status(302, "")
                    .header("Location", &format!("{store_url}/store/{hash}?signature=of-a-moment"))
                    .header("X-Linked-ETag", &format!("\"{hash}\""))
                    .header("X-Linked-Size", &file.content.len().to_string())
                    .header("X-Repo-Commit", &repo.commit);
            }
            serve(request, &file.content).header("ETag", &format!("\"{hash}\"")).header("X-Repo-Commit", &repo.commit)
        }
        _ => ScriptedReply::status(404, "not here"),
    }
}

/// A file's content, or the range of it that is asked for.
fn content_reply(request: &RecordedRequest, content: &[u8], without_ranges: bool) -> ScriptedReply {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-')).filter(|_| !without_ranges);
    let Some((first, last)) = range else { return ScriptedReply::status(200, content) };
    let first: usize = first.parse().expect("a number");
    let end = last.parse::<usize>().map_or(content.len(), |last| content.len().min(last + 1));
    if first >= content.len() {
        return ScriptedReply::status(416, "").header("Content-Range", &format!("bytes */{}", content.len()));
    }
    let range = format!("bytes {first}-{}/{}", end - 1, content.len());
    ScriptedReply::status(206, &content[first..end]).header("Content-Range", &range)
}
