//! What the hub says about a repository at a revision: its commit and its files. Everything in it is checked before it is used.

use std::io::Read as _;

use serde::Deserialize;
use serde_json::Value;

use crate::error::HubError;
use crate::event::Listener;
use crate::files::{BlobId, Listing, RemoteFile};
use crate::http::{Address, Ask, Client, Failure, Reply, encode, with_retries};
use crate::name::{HubName, RepoId, is_commit, wrong_file};

/// The largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// The largest file that is believed in.
const MAX_FILE_BYTES: u64 = 1 << 44;
/// The most files that are believed in.
const MAX_FILES: usize = 100_000;

#[derive(Deserialize)]
struct RevisionAnswer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    gated: Value,
    #[serde(default, rename = "cardData")]
    card: Value,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

/// Questions about one repository.
pub(crate) struct Api<'a> {
    pub(crate) client: &'a Client,
    pub(crate) listener: Listener<'a>,
    pub(crate) name: &'a HubName,
}

impl Api<'_> {
    /// The commit that the name's revision is, and the files of it.
    pub(crate) fn listing(&self) -> Result<Listing, HubError> {
        let Self { client, listener, name } = self;
        let what = format!("the files of {name}");
        let path = format!("/api/models/{}/revision/{}?blobs=true", name.repo, encode(name.revision(), false));
        let address = self.address(&path)?;
        let answer = with_retries(&client.pace, *listener, || {
            let mut reply = client.get(&address, &what, Ask::Whole)?;
            if reply.status != 200 {
                return Err(self.refusal(&reply, &what, None));
            }
            let mut bytes = Vec::new();
            let server = reply.server.clone();
            let mut body = reply.body.as_reader().take(MAX_ANSWER_BYTES + 1);
            body.read_to_end(&mut bytes).map_err(|error| client.failure(error.into(), &what, &server))?;
            let hostile = |problem: String| Failure::Final(HubError::Hostile { host: server.clone(), what: what.clone(), problem });
            if bytes.len() as u64 > MAX_ANSWER_BYTES {
                return Err(hostile(format!("expected at most {MAX_ANSWER_BYTES} bytes, found more")));
            }
            serde_json::from_slice::<RevisionAnswer>(&bytes)
                .map_err(|error| hostile(format!("expected the hub's JSON with sha and siblings, found something else: {error}")))
        })?;
        self.checked(answer, &what)
    }

    fn checked(&self, answer: RevisionAnswer, what: &str) -> Result<Listing, HubError> {
        let RevisionAnswer { sha, siblings, gated, card } = answer;
        let hostile = |problem: String| HubError::Hostile { host: self.client.origin.as_str().to_owned(), what: what.to_owned(), problem };
        if !is_commit(&sha) {
            return Err(hostile(format!("expected a commit of 40 hexadecimal digits, found {:?}", short(&sha))));
        }
        if self.name.revision.as_ref().is_some_and(|revision| is_commit(revision) && *revision != sha) {
            return Err(hostile(format!("asked for the commit {}, it answers with {sha}", self.name.revision())));
        }
        if siblings.len() > MAX_FILES {
            return Err(hostile(format!("it lists {} files, more than {MAX_FILES}", siblings.len())));
        }
        let mut files = Vec::with_capacity(siblings.len());
        for Sibling { rfilename, size, blob_id, lfs } in siblings {
            if let Some(problem) = wrong_file(&rfilename) {
                return Err(hostile(problem));
            }
            let (size, blob) = match lfs {
                Some(Lfs { sha256, size: of_lfs }) => (of_lfs.or(size), sha256.map(|hash| BlobId::sha256(&hash))),
                None => (size, blob_id.map(|hash| BlobId::git_sha1(&hash))),
            };
            let blob = blob.transpose().map_err(|problem| hostile(format!("{rfilename}: {problem}")))?;
            if size.is_some_and(|size| size > MAX_FILE_BYTES) {
                return Err(hostile(format!("{rfilename} would have {} bytes", size.unwrap_or_default())));
            }
            files.push(RemoteFile { name: rfilename, facts: size.zip(blob) });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = files.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(hostile(format!("it lists {} twice", pair[0].name)));
        }
        let gated = !matches!(gated, Value::Null | Value::Bool(false));
        let licence = ["license_name", "license"].iter().find_map(|key| card.get(key)?.as_str()).map(short);
        Ok(Listing { commit: sha, files, gated, licence })
    }

    /// Whether the hub gives a file to whom the token is, and what it says about it.
    pub(crate) fn file_facts(&self, commit: &str, file: &str) -> Result<Option<(u64, BlobId)>, HubError> {
        let Self { client, listener, .. } = self;
        let what = format!("{file} of {}", self.name.repo);
        let address = self.file_address(commit, file)?;
        with_retries(&client.pace, *listener, || {
            let reply = client.get(&address, &what, Ask::Headers)?;
            if !matches!(reply.status, 200 | 301 | 302 | 303 | 307 | 308) {
                return Err(self.refusal(&reply, &what, Some(file)));
            }
            let tag =
                reply.header("x-linked-etag").or_else(|| reply.header("etag")).map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
            let blob = match tag.map(str::len) {
                Some(64) => tag.map(BlobId::sha256),
                Some(40) => tag.map(BlobId::git_sha1),
                _ => None,
            };
            let size = reply.header("x-linked-size").or_else(|| reply.header("content-length")).and_then(|size| size.parse::<u64>().ok());
            Ok(size.filter(|size| *size <= MAX_FILE_BYTES).zip(blob.and_then(Result::ok)))
        })
    }

    /// Where a file of a commit is fetched.
    pub(crate) fn file_address(&self, commit: &str, file: &str) -> Result<Address, HubError> {
        self.address(&format!("/{}/resolve/{commit}/{}", self.name.repo, encode(file, true)))
    }

    fn address(&self, path: &str) -> Result<Address, HubError> {
        let wrong = |problem| HubError::Setting { variable: "HF_ENDPOINT", problem };
        self.client.origin.join(path).map_err(wrong)
    }

    /// What an answer that is no success means. `file`: what was asked for, when it was one file.
    pub(crate) fn refusal(&self, reply: &Reply, what: &str, file: Option<&str>) -> Failure {
        let Self { client, name, .. } = self;
        let code = reply.header("x-error-code").unwrap_or_default();
        let message = client.message(reply);
        if reply.may_pass() {
            return Failure::of_status(what, reply);
        }
        if !reply.is_hub {
            // An address that the hub gave may have expired: it is asked for a new one.
            return Failure::again(what, &reply.server, format!("status {}", reply.status));
        }
        let endpoint = client.origin.as_str().to_owned();
        let unknown =
            |repo: &RepoId| HubError::UnknownRepo { repo: repo.clone(), endpoint: endpoint.clone(), has_token: client.has_token() };
        let page = format!("{endpoint}/{}", name.repo);
        let error = match (reply.status, code) {
            (401 | 403, "GatedRepo") => HubError::Gated { repo: name.repo.clone(), page, has_token: client.has_token() },
            (_, "RevisionNotFound") => HubError::UnknownRevision { repo: name.repo.clone(), revision: name.revision().to_owned(), page },
            (_, "RepoNotFound") => unknown(&name.repo),
            (401, _) if client.has_token() => HubError::BadToken { endpoint, status: 401 },
            // To those without a token the hub says the same of private repositories and of those that are not there.
            (401, _) => unknown(&name.repo),
            (403, _) => HubError::Gated { repo: name.repo.clone(), page, has_token: client.has_token() },
            (404, _) => match file {
                Some(file) => HubError::Hostile {
                    host: endpoint,
                    what: what.to_owned(),
                    problem: format!("it lists {file} and does not have it (status 404)"),
                },
                None => unknown(&name.repo),
            },
            (status, _) => HubError::Http {
                what: what.to_owned(),
                host: reply.server.clone(),
                problem: format!("status {status}{message}"),
                attempts: 1,
            },
        };
        Failure::Final(error)
    }
}

/// The beginning of what a server wrote, for people.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
