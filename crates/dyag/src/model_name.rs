//! From a model's name, as typed, to its files on this machine: a path, a short name of the registry, or a name on the model hub.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use dyag_hub::{Advice, Cache, Entry, HubError, HubName, HubSettings, Registry, Source};
use dyag_train::manifest::HubModel;

use crate::download_progress::DownloadProgress;
use crate::embedded;
use crate::language::say;
use crate::terminal::note;

/// Where a model's files lie, and what is known about it.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The folder or the GGUF file.
    pub(crate) path: PathBuf,
    /// Where it is on the model hub, when it came from there.
    pub(crate) hub: Option<HubModel>,
    /// What the registry advises for it, with its short name.
    pub(crate) advice: Option<(String, Advice)>,
    /// Whether it is the one that the program holds.
    pub(crate) is_embedded: bool,
}

/// What a name means.
#[derive(Debug)]
pub(crate) struct Meaning {
    pub(crate) source: Source,
    /// Its row of the registry.
    pub(crate) entry: Option<Entry>,
}

/// The registry, the cache and the hub, as the environment has them.
pub(crate) struct Models {
    pub(crate) registry: Registry,
    pub(crate) settings: HubSettings,
    pub(crate) cache: Cache,
}

/// Whether the registry has a model of this name.
pub(crate) fn is_known(name: &str) -> bool {
    Models::open().ok().and_then(|models| models.meaning(name)).is_some_and(|meaning| meaning.entry.is_some())
}

/// Finds the files of a model; those of one on the hub that is not here are fetched.
pub(crate) fn resolve(name: &str) -> anyhow::Result<Resolved> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(Resolved { path: path.to_owned(), hub: None, advice: None, is_embedded: false });
    }
    let models = Models::open()?;
    let Some(Meaning { source, entry }) = models.meaning(name) else { return Err(models.unknown(name)) };
    let hub = match source {
        Source::Path(path) => {
            if !path.exists() {
                let file = entry.as_ref().and_then(|entry| entry.from.as_deref()).map(|file| format!(" of {}", file.display()));
                bail!("no model at {}, which the entry {name}{} names: No such file or folder", path.display(), file.unwrap_or_default());
            }
            return Ok(Resolved { path, hub: None, advice: advice(entry), is_embedded: false });
        }
        Source::Embedded => return Ok(Resolved { path: embedded::file()?, hub: None, advice: advice(entry), is_embedded: true }),
        Source::Hub(hub) => hub,
    };
    let found = match models.cache.find(&hub) {
        Some(found) => found,
        None => models.fetch_for(name, &hub, entry.as_ref())?,
    };
    let origin = HubModel { name: hub.repo.to_string(), revision: found.commit, file: hub.file };
    Ok(Resolved { path: found.path, hub: Some(origin), advice: advice(entry), is_embedded: false })
}

fn advice(entry: Option<Entry>) -> Option<(String, Advice)> {
    entry.and_then(|entry| Some((entry.key, entry.advice?)))
}

impl Models {
    /// Reads the environment and the user's own registry.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let variables = |name: &str| env::var_os(name);
        let registry = Registry::with_users(dyag_hub::config_folder(&variables).as_deref())?;
        let settings = HubSettings::from_environment(&variables)?;
        let cache = Cache::new(&settings.cache);
        Ok(Self { registry, settings, cache })
    }

    /// What a name that is no path means: a short name (perhaps with `@revision`), or a name on the hub. None where it is neither.
    pub(crate) fn meaning(&self, name: &str) -> Option<Meaning> {
        if let Some(entry) = self.registry.by_key(name) {
            return Some(Meaning { source: entry.source.clone(), entry: Some(entry.clone()) });
        }
        if let Some((key, revision)) = name.split_once('@')
            && let Some(entry) = self.registry.by_key(key)
            && let Source::Hub(hub) = &entry.source
            && let Ok(hub) =
                format!("{}@{revision}{}", hub.repo, hub.file.as_ref().map(|file| format!(":{file}")).unwrap_or_default()).parse()
        {
            return Some(Meaning { source: Source::Hub(hub), entry: Some(entry.clone()) });
        }
        let hub: HubName = name.parse().ok()?;
        let entry = self.registry.by_repo(&hub.repo).cloned();
        Some(Meaning { source: Source::Hub(hub), entry })
    }

    /// What to say of a name that is neither a path, a short name nor a name on the hub.
    pub(crate) fn unknown(&self, name: &str) -> anyhow::Error {
        let suggestions = self.suggestions(name);
        anyhow!(
            "no model at {name}: No such file or folder, and no model of that name; expected a Hugging Face folder, a GGUF file, a short name \
             (`dyag models list` shows them), or a name on the model hub such as Qwen/Qwen2.5-1.5B-Instruct{suggestions}"
        )
    }

    /// `. Did you mean A or B?`, or nothing.
    fn suggestions(&self, name: &str) -> String {
        let cached: Vec<String> = self.cache.models().unwrap_or_default().into_iter().map(|model| model.repo).collect();
        let near = self.registry.suggestions(name, &cached);
        if near.is_empty() { String::new() } else { format!(". Did you mean {}?", near.join(" or ")) }
    }

    /// Fetches what a command needs and is not here. A name whose first part is a folder here is taken for a mistyped path.
    fn fetch_for(&self, name: &str, hub: &HubName, entry: Option<&Entry>) -> anyhow::Result<dyag_hub::Found> {
        if let Some((folder, _)) = name.split_once('/')
            && entry.is_none()
            && Path::new(folder).is_dir()
        {
            bail!(
                "no model at {name}: No such file or folder in {folder}; when the model of that name on the hub is meant, \
                 fetch it first: dyag models pull {name}{}",
                self.suggestions(name)
            );
        }
        if self.settings.offline.is_none() {
            let why =
                self.cache.lacks(hub).map(|file| say!(" in whole (it lacks {file})", " en entier (il manque {file})")).unwrap_or_default();
            let called = if name == hub.to_string() { String::new() } else { format!(" ({hub})") };
            note(say!(
                "{name}{called} is not on this machine{why}: it is fetched into {}",
                "{name}{called} n'est pas sur cette machine{why} : téléchargement dans {}",
                self.cache.root().display()
            ));
        }
        let pulled = self.fetch(name, hub, entry)?;
        Ok(dyag_hub::Found { path: pulled.path, commit: pulled.commit })
    }

    /// Fetches a model, with progress on stderr. `name` is what was typed.
    pub(crate) fn fetch(&self, name: &str, hub: &HubName, entry: Option<&Entry>) -> anyhow::Result<dyag_hub::Pulled> {
        let progress = DownloadProgress::new();
        let pulled = dyag_hub::pull(&self.settings, hub, &|event| progress.show(event));
        progress.end();
        pulled.map_err(|error| self.explain(error, name, entry))
    }

    /// An error of the hub with what this program knows beside it: another model, a guide, a likelier name.
    pub(crate) fn explain(&self, error: HubError, name: &str, entry: Option<&Entry>) -> anyhow::Error {
        let advice = match &error {
            HubError::Gated { .. } => {
                let other = entry.and_then(|entry| entry.alternative.as_deref());
                let other = other.map(|other| format!(", or use {other}, which needs no account")).unwrap_or_default();
                format!(". docs/llama-access.md says how, step by step (docs/llama-access.fr.md in French){other}")
            }
            HubError::UnknownRepo { .. } => self.suggestions(name),
            _ => return error.into(),
        };
        anyhow!("{error}{advice}")
    }
}

/// The name on the hub that something typed means, with its row of the registry.
pub(crate) fn hub_name(models: &Models, name: &str) -> anyhow::Result<(HubName, Option<Entry>)> {
    match models.meaning(name) {
        Some(Meaning { source: Source::Hub(hub), entry }) => Ok((hub, entry)),
        Some(Meaning { source: Source::Path(path), .. }) => {
            bail!("{name} is a model of this machine ({}), expected one of the model hub", path.display())
        }
        Some(Meaning { source: Source::Embedded, .. }) => {
            bail!("{name} is in the program: there is nothing to fetch and nothing to remove")
        }
        None if name.contains('/') => {
            let problem = name.parse::<HubName>().err();
            Err(problem.map_or_else(|| models.unknown(name), anyhow::Error::from))
                .with_context(|| format!("{name}: expected a model's name"))
        }
        None => bail!(
            "no model is called {name}; expected a short name (`dyag models list` shows them) or a name on the model hub such as \
             Qwen/Qwen2.5-1.5B-Instruct{}",
            models.suggestions(name)
        ),
    }
}
