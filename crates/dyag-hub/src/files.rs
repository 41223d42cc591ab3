//! Which files of a repository are needed, and by which hash each is known.

use std::fmt;

use crate::error::HubError;
use crate::name::{HubName, is_gguf, is_lower_hex};

/// A file's hash, which is also the name of its content in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BlobId {
    /// SHA-256 of the content: files in large file storage.
    Sha256(String),
    /// SHA-1 of git's blob: `blob SIZE`, a zero byte and the content.
    GitSha1(String),
}

impl BlobId {
    pub(crate) fn sha256(hash: &str) -> Result<Self, String> {
        Self::checked(hash, 64).map(Self::Sha256)
    }

    pub(crate) fn git_sha1(hash: &str) -> Result<Self, String> {
        Self::checked(hash, 40).map(Self::GitSha1)
    }

    fn checked(hash: &str, length: usize) -> Result<String, String> {
        let hash = hash.to_ascii_lowercase();
        if hash.len() != length || !is_lower_hex(&hash) {
            return Err(format!("expected a hash of {length} hexadecimal digits, found another text"));
        }
        Ok(hash)
    }

    /// The hash in hexadecimal.
    pub(crate) fn hash(&self) -> &str {
        match self {
            Self::Sha256(hash) | Self::GitSha1(hash) => hash,
        }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::GitSha1(_) => "git SHA-1",
        }
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash())
    }
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Its name, checked to lead nowhere else.
    pub(crate) name: String,
    /// Size in bytes and hash; none where the listing leaves them out.
    pub(crate) facts: Option<(u64, BlobId)>,
}

/// A repository at a commit.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    /// Sorted by name.
    pub(crate) files: Vec<RemoteFile>,
    pub(crate) gated: bool,
    pub(crate) licence: Option<String>,
}

/// Files that are taken where they are there: configuration, tokenizer, chat template; what an encoder says of its pooling.
const SMALL_FILES: [&str; 15] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// The files that a model needs: no second copy of the weights in another format, no folder `original`.
pub(crate) fn needed(name: &HubName, listing: &Listing) -> Result<Vec<RemoteFile>, HubError> {
    let files = &listing.files;
    let ggufs = || files.iter().filter(|file| is_gguf(&file.name)).map(|file| file.name.clone()).collect::<Vec<_>>();
    if let Some(wanted) = &name.file {
        let unknown = || HubError::UnknownFile { repo: name.repo.clone(), file: wanted.clone(), known: ggufs() };
        return Ok(vec![files.iter().find(|file| file.name == *wanted).ok_or_else(unknown)?.clone()]);
    }
    let has = |wanted: &str| files.iter().any(|file| file.name == wanted);
    let problem = |problem: String| HubError::NoModel { repo: name.repo.clone(), problem };
    let weights: Vec<&RemoteFile> = if has(WEIGHTS) {
        files.iter().filter(|file| file.name == WEIGHTS).collect()
    } else if has(WEIGHTS_INDEX) {
        files.iter().filter(|file| file.name == WEIGHTS_INDEX || is_shard(&file.name)).collect()
    } else {
        Vec::new()
    };
    if weights.is_empty() {
        let ggufs = ggufs();
        return Err(problem(match ggufs.first() {
            Some(first) => {
                let some: Vec<&str> = ggufs.iter().take(20).map(String::as_str).collect();
                format!("it has GGUF files; name one, as in {}:{first}. There are {}", name.repo, some.join(", "))
            }
            None => {
                format!("expected {WEIGHTS} or {WEIGHTS_INDEX}, found neither, and no GGUF file (weights in .bin or .pth are not read)")
            }
        }));
    }
    if !has("config.json") {
        return Err(problem("expected a config.json beside the weights, found none".to_owned()));
    }
    Ok(files.iter().filter(|file| SMALL_FILES.contains(&file.name.as_str()) || weights.contains(file)).cloned().collect())
}

/// Whether it is a part of divided weights: `model-00001-of-00002.safetensors`.
pub(crate) fn is_shard(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|numbers| numbers.split_once("-of-")).is_some_and(|(number, of)| is_number(number) && is_number(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, files: &[&str]) -> Result<Vec<String>, String> {
        let files = files.iter().map(|name| RemoteFile { name: (*name).to_owned(), facts: None }).collect();
        let listing = Listing { commit: "0".repeat(40), files, gated: false, licence: None };
        let name: HubName = name.parse().expect("a name");
        needed(&name, &listing).map(|files| files.into_iter().map(|file| file.name).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_model_needs_and_no_more() {
        let mistral = [
            ".gitattributes",
            "README.md",
            "chat_template.jinja",
            "config.json",
            "consolidated.safetensors",
            "generation_config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "original/consolidated.00.pth",
            "original/tokenizer.model",
            "params.json",
            "pytorch_model.bin",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer.model.v3",
        ];
        assert_eq!(
            chosen("a/b", &mistral).expect("a model"),
            [
                "chat_template.jinja",
                "config.json",
                "generation_config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "tokenizer.json",
                "tokenizer.model",
            ]
        );
        let both = ["config.json", "model-00001-of-00001.safetensors", "model.safetensors", "model.safetensors.index.json"];
        assert_eq!(chosen("a/b", &both).expect("a model"), ["config.json", "model.safetensors"]);
    }

    #[test]
    fn one_gguf_file_when_it_is_named() {
        let files = ["config.json", "m-Q4_K_M.gguf", "m-Q8_0.gguf"];
        assert_eq!(chosen("a/b:m-Q8_0.gguf", &files).expect("a file"), ["m-Q8_0.gguf"]);
        let message = chosen("a/b:m.gguf", &files).expect_err("not there");
        assert!(message.contains("m-Q4_K_M.gguf, m-Q8_0.gguf"), "{message}");
        let message = chosen("a/b", &files).expect_err("which one");
        assert!(message.contains("a/b:m-Q4_K_M.gguf"), "{message}");
        let message = chosen("a/b", &["config.json", "pytorch_model.bin"]).expect_err("no weights");
        assert!(message.contains(".bin"), "{message}");
        assert!(chosen("a/b", &["model.safetensors"]).is_err());
    }

    #[test]
    fn hashes_are_hexadecimal() {
        assert!(BlobId::sha256(&"aB".repeat(32)).is_ok_and(|id| id.hash() == "ab".repeat(32)));
        for wrong in ["", "../../etc/passwd", &"g".repeat(64), &"a".repeat(40)] {
            assert!(BlobId::sha256(wrong).is_err(), "{wrong}");
        }
    }
}
