//! Names on the model hub, and what may stand in them: they become parts of addresses and of paths.

use std::fmt;
use std::str::FromStr;

/// The longest part of a name, as on the hub.
const LONGEST_PART: usize = 96;

/// A model's repository: `organisation/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId {
    organisation: String,
    name: String,
}

/// A model on the hub: a repository, perhaps at a revision, perhaps one GGUF file of it.
///
/// Written `organisation/name`, `organisation/name@revision`, `organisation/name:file.gguf` or `organisation/name@revision:file.gguf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    /// The repository.
    pub repo: RepoId,
    /// A branch, a tag or a commit; none: the branch `main`.
    pub revision: Option<String>,
    /// A GGUF file of the repository; none: the safetensors files.
    pub file: Option<String>,
}

/// A text that is no name on the hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name on the model hub: {problem}; expected organisation/name, perhaps with @revision, perhaps with :file.gguf")]
pub struct NameError {
    /// What was found.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RepoId {
    /// Checks both parts.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn new(organisation: &str, name: &str) -> Result<Self, NameError> {
        for part in [organisation, name] {
            if let Some(problem) = wrong_part(part) {
                return Err(NameError { text: format!("{organisation}/{name}"), problem });
            }
        }
        Ok(Self { organisation: organisation.to_owned(), name: name.to_owned() })
    }

    /// The folder of this repository in a cache: `models--organisation--name`.
    pub fn folder_name(&self) -> String {
        format!("models--{}--{}", self.organisation, self.name)
    }

    /// The repository whose folder in a cache has this name, if it is one of a model.
    pub fn from_folder_name(folder: &str) -> Option<Self> {
        let (organisation, name) = folder.strip_prefix("models--")?.split_once("--")?;
        Self::new(organisation, name).ok()
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.name)
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repo)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.file {
            Some(file) => write!(f, ":{file}"),
            None => Ok(()),
        }
    }
}

impl FromStr for HubName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |problem: String| NameError { text: text.to_owned(), problem };
        let (rest, file) = match text.split_once(':') {
            Some((rest, file)) => (rest, Some(file)),
            None => (text, None),
        };
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (rest, None),
        };
        let (organisation, name) = repo.split_once('/').ok_or_else(|| wrong("there is no / in it".to_owned()))?;
        let repo = RepoId::new(organisation, name).map_err(|error| wrong(error.problem))?;
        if let Some(problem) = revision.and_then(wrong_revision) {
            return Err(wrong(problem));
        }
        if let Some(file) = file {
            if let Some(problem) = wrong_file(file) {
                return Err(wrong(problem));
            }
            if !is_gguf(file) {
                return Err(wrong(format!("after the : stands {file:?}, which does not end with .gguf")));
            }
        }
        Ok(Self { repo, revision: revision.map(str::to_owned), file: file.map(str::to_owned) })
    }
}

impl HubName {
    /// The revision to ask for.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

/// Whether a file's name says that it is GGUF.
pub(crate) fn is_gguf(file: &str) -> bool {
    file.to_ascii_lowercase().ends_with(".gguf")
}

/// Whether a revision is a whole commit: 40 hexadecimal digits.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && is_lower_hex(revision)
}

/// Whether a text is of `0` to `9` and `a` to `f` alone.
pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn wrong_part(part: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let at_edge = |byte: Option<u8>| matches!(byte, Some(b'-' | b'.'));
    if part.is_empty() {
        return Some("a part of it is empty".to_owned());
    }
    if part.len() > LONGEST_PART {
        return Some(format!("a part of it has {} characters, more than {LONGEST_PART}", part.len()));
    }
    if let Some(other) = part.chars().find(|c| !c.is_ascii() || !is_allowed(*c as u8)) {
        return Some(format!("{other:?} stands in it; parts are of letters, digits, -, _ and ."));
    }
    if part.contains("--") || part.contains("..") || at_edge(part.bytes().next()) || at_edge(part.bytes().last()) {
        return Some(format!("{part:?} has -- or .. in it, or begins or ends with - or ."));
    }
    None
}

/// Why a text cannot be a revision; none where it can.
pub(crate) fn wrong_revision(revision: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    let parts_are_fine = revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.'));
    if revision.len() > 200 || !revision.chars().all(is_allowed) || !parts_are_fine || revision.contains("..") {
        return Some(format!("{revision:?} is no revision (a branch, a tag or a commit)"));
    }
    None
}

/// Why a text cannot be the name of a file inside a repository; none where it can. Such a name never leads out of the folder it is put below.
pub(crate) fn wrong_file(file: &str) -> Option<String> {
    let is_refused = |c: char| c.is_control() || matches!(c, '\\' | ':' | '"' | '<' | '>' | '|' | '*' | '?');
    if file.is_empty() || file.len() > 1000 {
        return Some(format!("the name of a file has {} bytes", file.len()));
    }
    if file.contains(is_refused) {
        return Some(format!("the name of a file has a character that no file may have: {file:?}"));
    }
    let wrong = |part: &str| part.is_empty() || part == "." || part == ".." || part.len() > 255 || part.ends_with(['.', ' ']);
    if file.split('/').any(wrong) {
        return Some(format!("the name of a file leads elsewhere: {file:?}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for text in [
            "Qwen/Qwen2.5-1.5B-Instruct",
            "Qwen/Qwen2.5-1.5B-Instruct@main",
            "a/b@refs/pr/1",
            "a/b:sub/model-Q4_K_M.gguf",
            "TinyLlama/TinyLlama-1.1B-Chat-v1.0@fe8a4ea1ffedaf415f4da2f062534de366a451e6:m.GGUF",
        ] {
            assert_eq!(text.parse::<HubName>().expect(text).to_string(), text);
        }
        let name: HubName = "a/b@v1:c.gguf".parse().expect("a name");
        assert_eq!((name.revision(), name.file.as_deref()), ("v1", Some("c.gguf")));
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_name() {
        for text in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "a--b/c",
            "a/b--c",
            "a b/c",
            "é/b",
            "a/.b",
            "a/b@",
            "a/b@../x",
            "a/b@x//y",
            "a/b@/x",
            "a/b@x/.y",
            "a/b:",
            "a/b:c.bin",
            "a/b:../c.gguf",
            "a/b:/c.gguf",
            "a/b:c/./d.gguf",
            "a/b:c\\d.gguf",
            "a/b@x y",
            "a/b:c\n.gguf",
            "a/b?c",
        ] {
            let error = text.parse::<HubName>().expect_err(text).to_string();
            assert!(error.contains("organisation/name"), "{error}");
        }
    }

    #[test]
    fn folders_of_a_cache_and_back() {
        let repo = RepoId::new("Qwen", "Qwen2.5-0.5B").expect("a name");
        assert_eq!(repo.folder_name(), "models--Qwen--Qwen2.5-0.5B");
        assert_eq!(RepoId::from_folder_name(&repo.folder_name()), Some(repo));
        for other in ["datasets--a--b", "models--a", "models--..--b", "models--a--..", "models--a--b--c"] {
            assert_eq!(RepoId::from_folder_name(other), None, "{other}");
        }
    }
}
