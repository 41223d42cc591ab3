//! Where the hub is, where its cache lies, and who asks: what the environment says, in the variables that the hub's own programs read.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::http::{Origin, Pace};
use crate::token::Token;

/// Reads an environment variable.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// How files are fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransferSettings {
    /// Connections at a time.
    pub connections: usize,
    /// The most that one request asks for, in bytes.
    pub piece_bytes: u64,
    /// After so many bytes it is written down that they are there: the most that a kill loses for each connection.
    pub record_bytes: usize,
    /// Timeouts, attempts and waits.
    pub pace: Pace,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self { connections: 4, piece_bytes: 32 << 20, record_bytes: 64 << 10, pace: Pace::default() }
    }
}

/// Everything a request to the hub depends on.
#[derive(Clone, Debug)]
pub struct HubSettings {
    pub(crate) endpoint: Origin,
    /// The cache folder.
    pub cache: PathBuf,
    pub(crate) token: Option<Token>,
    /// Where the token is from: the name of a variable, or the file of a saved login.
    pub(crate) token_source: Option<String>,
    /// The variable that forbids to use the network, if one does.
    pub offline: Option<&'static str>,
    /// File with the certificates to trust in place of the built-in ones.
    pub(crate) certificates: Option<PathBuf>,
    /// How files are fetched.
    pub transfer: TransferSettings,
    /// What the person should know about these settings.
    pub warnings: Vec<String>,
}

/// Variables that say something that is not understood.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable with a wrong value.
    #[error("{variable}: {problem}")]
    Variable {
        /// Its name, or the file that it names.
        variable: String,
        /// What was expected and found.
        problem: String,
    },
    /// Neither a cache folder nor a home to put one in.
    #[error("there is no home folder to keep models in (HOME is not set): name the folder of the cache in HF_HUB_CACHE")]
    NoHome,
}

/// The public hub.
const ENDPOINT: &str = "https://huggingface.co";

fn text(variables: Variables<'_>, name: &str) -> Result<Option<String>, SettingsError> {
    let not_text = |_| SettingsError::Variable { variable: name.to_owned(), problem: "expected text in UTF-8".to_owned() };
    let value = variables(name).map(OsString::into_string).transpose().map_err(not_text)?;
    Ok(value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
}

fn path(variables: Variables<'_>, name: &str) -> Option<PathBuf> {
    variables(name).filter(|value| !value.is_empty()).map(|value| from_home(PathBuf::from(value), variables))
}

/// `~/a` below the home folder.
fn from_home(path: PathBuf, variables: Variables<'_>) -> PathBuf {
    match (path.strip_prefix("~"), home(variables)) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn home(variables: Variables<'_>) -> Option<PathBuf> {
    ["HOME", "USERPROFILE"].iter().find_map(|name| variables(name).filter(|value| !value.is_empty())).map(PathBuf::from)
}

/// The folder of the hub's programs: `HF_HOME`, else `huggingface` in the user's cache.
fn hub_home(variables: Variables<'_>) -> Option<PathBuf> {
    path(variables, "HF_HOME").or_else(|| Some(user_cache(variables)?.join("huggingface")))
}

/// The folder of what dyag can make again: `DYAG_CACHE_DIR`, else `dyag` in `XDG_CACHE_HOME` or in `~/.cache`.
pub fn cache_folder(variables: Variables<'_>) -> Option<PathBuf> {
    path(variables, "DYAG_CACHE_DIR").or_else(|| Some(user_cache(variables)?.join("dyag")))
}

/// The folder of the user's caches.
fn user_cache(variables: Variables<'_>) -> Option<PathBuf> {
    path(variables, "XDG_CACHE_HOME").or_else(|| Some(home(variables)?.join(".cache")))
}

/// The folder of dyag's own settings: `DYAG_CONFIG_DIR`, else `dyag` in `XDG_CONFIG_HOME` or in `~/.config`.
pub fn config_folder(variables: Variables<'_>) -> Option<PathBuf> {
    path(variables, "DYAG_CONFIG_DIR").or_else(|| {
        let configs = path(variables, "XDG_CONFIG_HOME").or_else(|| Some(home(variables)?.join(".config")));
        Some(configs?.join("dyag"))
    })
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}

impl HubSettings {
    /// What the environment says: `HF_ENDPOINT`; `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`; `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, else the
    /// login that is saved in `HF_TOKEN_PATH` or `HF_HOME/token`; `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`; `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// A value that is not understood, and no place for a cache.
    pub fn from_environment(variables: Variables<'_>) -> Result<Self, SettingsError> {
        let endpoint = text(variables, "HF_ENDPOINT")?;
        let wrong = |problem| SettingsError::Variable { variable: "HF_ENDPOINT".to_owned(), problem };
        let endpoint = Origin::parse(endpoint.as_deref().unwrap_or(ENDPOINT)).map_err(wrong)?;
        let home = hub_home(variables);
        let cache = path(variables, "HF_HUB_CACHE")
            .or_else(|| path(variables, "HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or(SettingsError::NoHome)?;
        // Links, manifests and messages say where things are from any folder.
        let cache = std::path::absolute(&cache).unwrap_or(cache);
        let mut warnings = Vec::new();
        let (mut token, token_source) = token(variables, home.as_deref())?.unzip();
        if token.is_some() && endpoint.is_open() {
            warnings.push(format!(
                "the access token is not sent: anybody on the way to {} could read it; expected an https address in HF_ENDPOINT",
                endpoint.as_str()
            ));
            token = None;
        }
        let mut offline = None;
        for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            if offline.is_none() && text(variables, name)?.is_some_and(|value| is_true(&value)) {
                offline = Some(name);
            }
        }
        let certificates = path(variables, "SSL_CERT_FILE");
        Ok(Self { endpoint, cache, token, token_source, offline, certificates, transfer: TransferSettings::default(), warnings })
    }

    /// The page of a repository, for people.
    pub fn page(&self, repo: &crate::RepoId) -> String {
        format!("{}/{repo}", self.endpoint.as_str())
    }

    /// The address of the hub.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    /// Where the access token is from, when there is one: the name of a variable, or the file of a saved login. One that is not sent
    /// (see `warnings`) has a source nevertheless.
    pub fn token_source(&self) -> Option<&str> {
        self.token_source.as_deref()
    }

    /// Whether there is an access token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }
}

/// The token, and where it is from.
fn token(variables: Variables<'_>, home: Option<&Path>) -> Result<Option<(Token, String)>, SettingsError> {
    let parse = |value: &str, from: &str| {
        Token::parse(value).map_err(|problem| SettingsError::Variable { variable: from.to_owned(), problem: problem.to_owned() })
    };
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(value) = variables(name) {
            // Bytes that are no text are refused as other characters are, without being shown.
            if let Some(token) = parse(&value.to_string_lossy(), name)? {
                return Ok(Some((token, name.to_owned())));
            }
        }
    }
    let Some(file) = path(variables, "HF_TOKEN_PATH").or_else(|| Some(home?.join("token"))) else { return Ok(None) };
    let from = file.display().to_string();
    match fs::metadata(&file) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Ok(facts) if facts.len() > 4096 => {
            let problem = format!("expected a saved token, found a file of {} bytes", facts.len());
            return Err(SettingsError::Variable { variable: from, problem });
        }
        _ => {}
    }
    match fs::read(&file) {
        Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes), &from)?.map(|token| (token, from))),
        Err(error) => Err(SettingsError::Variable { variable: from, problem: format!("the saved token cannot be read: {error}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<HubSettings, SettingsError> {
        HubSettings::from_environment(&|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_cache_is_where_the_hubs_programs_look() {
        for (variables, expected) in [
            ([("HOME", "/h"), ("", "")], "/h/.cache/huggingface/hub"),
            ([("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            ([("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/hf")], "/hf/hub"),
            ([("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")], "/c"),
            ([("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/c")], "/c"),
            ([("HOME", "/h"), ("HF_HUB_CACHE", "~/c")], "/h/c"),
            ([("HOME", "/h"), ("HF_HOME", "")], "/h/.cache/huggingface/hub"),
        ] {
            assert_eq!(settings(&variables).expect("settings").cache, Path::new(expected), "{variables:?}");
        }
        assert!(matches!(settings(&[]), Err(SettingsError::NoHome)));
    }

    #[test]
    fn the_token_comes_from_a_variable_or_from_the_saved_login() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().to_str().expect("text");
        assert!(!settings(&[("HF_HOME", home)]).expect("settings").has_token());
        fs::write(folder.path().join("token"), "hf_saved_0123456789\n").expect("written");
        let saved = settings(&[("HF_HOME", home)]).expect("settings");
        assert_eq!(saved.token.as_ref().map(Token::expose), Some("hf_saved_0123456789"));
        let given = settings(&[("HF_HOME", home), ("HF_TOKEN", " hf_given ")]).expect("settings");
        assert_eq!(given.token.as_ref().map(Token::expose), Some("hf_given"));
        let given = settings(&[("HF_HOME", home), ("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", "hf_old")]).expect("settings");
        assert_eq!(given.token.as_ref().map(Token::expose), Some("hf_old"));
        assert_eq!((saved.token_source(), given.token_source()), (folder.path().join("token").to_str(), Some("HUGGING_FACE_HUB_TOKEN")));
        assert!(!format!("{saved:?}{given:?}").contains("hf_"));
        let error = settings(&[("HOME", "/h"), ("HF_TOKEN", "hf_sécret")]).expect_err("not ASCII").to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("hf_"), "{error}");
    }

    #[test]
    fn a_token_is_not_sent_where_others_can_read_it() {
        let open = settings(&[("HOME", "/h"), ("HF_TOKEN", "hf_x"), ("HF_ENDPOINT", "http://mirror.example.org")]).expect("settings");
        assert!(!open.has_token() && open.warnings[0].contains("not sent"), "{:?}", open.warnings);
        let here = settings(&[("HOME", "/h"), ("HF_TOKEN", "hf_x"), ("HF_ENDPOINT", "http://127.0.0.1:8080/")]).expect("settings");
        assert!(here.has_token() && here.warnings.is_empty());
    }

    #[test]
    fn offline_modes_and_wrong_addresses() {
        for (name, value, offline) in [
            ("HF_HUB_OFFLINE", "1", true),
            ("HF_HUB_OFFLINE", "true", true),
            ("TRANSFORMERS_OFFLINE", "YES", true),
            ("HF_HUB_OFFLINE", "0", false),
            ("HF_HUB_OFFLINE", "", false),
        ] {
            assert_eq!(settings(&[("HOME", "/h"), (name, value)]).expect("settings").offline.is_some(), offline, "{name}={value}");
        }
        for wrong in ["huggingface.co", "ftp://a", "https://", "https://me:geheim@host", "https://a?b"] {
            let error = settings(&[("HOME", "/h"), ("HF_ENDPOINT", wrong)]).expect_err(wrong).to_string();
            assert!(error.contains("HF_ENDPOINT") && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn the_folder_of_dyags_settings() {
        let folder = |variables: &[(&str, &str)]| {
            config_folder(&|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value)))
        };
        assert_eq!(folder(&[("HOME", "/h")]), Some("/h/.config/dyag".into()));
        assert_eq!(folder(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), Some("/x/dyag".into()));
        assert_eq!(folder(&[("XDG_CONFIG_HOME", "/x"), ("DYAG_CONFIG_DIR", "/d")]), Some("/d".into()));
        assert_eq!(folder(&[]), None);
    }
}
