//! Where models come from: the cache, the hub, the token, and which of the registry memory allows.

use std::env;

use dyag_hub::{Advice, Entry, HubSettings, Registry, Source, batch_advice};
use serde::Serialize;

use super::Findings;
use crate::language::say;
use crate::model_name::Models;

/// What lies here.
#[derive(Debug, Serialize)]
pub(super) struct CacheFacts {
    pub(super) path: String,
    pub(super) models: usize,
    /// Those that can be used as they are.
    pub(super) whole: usize,
    pub(super) bytes: u64,
}

/// Whether the hub answers.
#[derive(Debug, Serialize)]
pub(super) struct HubFacts {
    pub(super) endpoint: String,
    pub(super) state: HubState,
    /// What was answered, or why nothing was.
    pub(super) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HubState {
    Reached,
    /// The environment forbids to ask.
    Offline,
    Unreachable,
}

/// Whether there is a token: nothing of it.
#[derive(Debug, Serialize)]
pub(super) struct TokenFacts {
    pub(super) is_set: bool,
    /// The variable or the file that it is from.
    pub(super) source: Option<String>,
}

/// A model of the registry, and whether memory allows to train it here.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trainable {
    pub(super) name: String,
    pub(super) parameters: Option<String>,
    pub(super) memory_min_gb: f64,
    pub(super) memory_recommended_gb: f64,
    pub(super) verdict: Verdict,
    /// Examples of a micro-batch that `finetune` would begin with.
    pub(super) batch_size: usize,
    /// Whether its row says that a processor is enough for it.
    pub(super) cpu: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// At least the recommended memory.
    Yes,
    /// At least the minimum.
    Tight,
    /// Below the minimum.
    No,
}

/// What `look` found.
pub(super) struct Found {
    pub(super) cache: Option<CacheFacts>,
    pub(super) hub: Option<HubFacts>,
    pub(super) token: Option<TokenFacts>,
    pub(super) entries: Vec<Entry>,
}

/// Looks at the cache, the hub and the token. Settings that are not understood are a problem, not an error.
pub(super) fn look(found: &mut Findings) -> Found {
    let models = match Models::open() {
        Ok(models) => models,
        Err(error) => {
            found.problem(
                format!("{error:#}"),
                say!(
                    "correct that variable or file: no model can be named before",
                    "corriger cette variable ou ce fichier : aucun modèle ne peut être nommé avant"
                ),
            );
            let entries = Registry::built_in().entries().to_vec();
            return Found { cache: None, hub: None, token: None, entries };
        }
    };
    let Models { registry, settings, cache } = models;
    for warning in &settings.warnings {
        found
            .note(warning.clone(), say!("models that are not gated need no token", "les modèles en accès libre n'ont pas besoin de jeton"));
    }
    let cached = cache.models().unwrap_or_else(|error| {
        let error = anyhow::Error::from(error);
        found.problem(format!("{error:#}"), say!("name another folder in HF_HUB_CACHE", "nommer un autre dossier dans HF_HUB_CACHE"));
        Vec::new()
    });
    let is_whole = |model: &dyag_hub::CachedModel| {
        model.revisions.iter().any(|revision| revision.lacks.is_none() || revision.gguf_files().next().is_some())
    };
    let whole = cached.iter().filter(|model| is_whole(model)).count();
    let facts = CacheFacts {
        path: settings.cache.display().to_string(),
        models: cached.len(),
        whole,
        bytes: cached.iter().map(|model| model.bytes).sum(),
    };
    let hub = ask(&settings, whole, found);
    let token = TokenFacts { is_set: settings.token_source().is_some(), source: settings.token_source().map(str::to_owned) };
    Found { cache: Some(facts), hub: Some(hub), token: Some(token), entries: registry.entries().to_vec() }
}

fn ask(settings: &HubSettings, n_whole: usize, found: &mut Findings) -> HubFacts {
    let endpoint = settings.endpoint().to_owned();
    if let Some(variable) = settings.offline {
        if n_whole == 0 {
            found.note(
                say!(
                    "no model lies here, and {variable} forbids to fetch one",
                    "aucun modèle n'est ici, et {variable} interdit d'en télécharger"
                ),
                say!(
                    "name models by their path, copy a cache over from a machine that has them, or unset {variable}",
                    "nommer les modèles par leur chemin, copier le cache d'une machine qui en a, ou retirer {variable}"
                ),
            );
        }
        return HubFacts { endpoint, state: HubState::Offline, detail: variable.to_owned() };
    }
    match dyag_hub::reach(settings) {
        Ok(reached) => {
            let detail = say!("status {} after {} ms", "statut {} après {} ms", reached.status, reached.elapsed_ms);
            HubFacts { endpoint, state: HubState::Reached, detail }
        }
        Err(error) => {
            let detail = format!("{:#}", anyhow::Error::from(error));
            let proxies: Vec<&str> = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"]
                .into_iter()
                .filter(|name| env::var_os(name).is_some())
                .collect();
            let through = if proxies.is_empty() { String::new() } else { say!(" ({} set)", " ({} défini)", proxies.join(", ")) };
            let said = say!(
                "the model hub {endpoint} does not answer{through}: {detail}",
                "le dépôt de modèles {endpoint} ne répond pas{through} : {detail}"
            );
            let advice = say!(
                "name a proxy in HTTPS_PROXY or a mirror in HF_ENDPOINT; without a network name models by their path, copy a cache over, or take dyag-tiny, which is in the program",
                "nommer un mandataire dans HTTPS_PROXY ou un miroir dans HF_ENDPOINT ; sans réseau, nommer les modèles par leur chemin, copier un cache, ou prendre dyag-tiny, qui est dans le programme"
            );
            // Models that are here, files and the one in the program work without it.
            found.note(said, advice);
            HubFacts { endpoint, state: HubState::Unreachable, detail }
        }
    }
}

/// The registry's models by its own rule of memory.
pub(super) fn trainable(entries: &[Entry], available_bytes: Option<u64>, found: &mut Findings) -> Vec<Trainable> {
    let bytes = available_bytes.unwrap_or(u64::MAX);
    let gigabytes = bytes as f64 / 1e9;
    let row = |entry: &Entry| {
        let advice = entry.advice?;
        let Advice { memory_min_gb, memory_recommended_gb, cpu, .. } = advice;
        let verdict = if gigabytes < memory_min_gb {
            Verdict::No
        } else if gigabytes < memory_recommended_gb {
            Verdict::Tight
        } else {
            Verdict::Yes
        };
        let batch_size = batch_advice(&advice, bytes).batch_size;
        let (name, parameters) = (entry.key.clone(), entry.parameters.clone());
        Some(Trainable { name, parameters, memory_min_gb, memory_recommended_gb, verdict, batch_size, cpu })
    };
    // The program's own is for a first look.
    let rows: Vec<Trainable> = entries.iter().filter(|entry| entry.source != Source::Embedded).filter_map(row).collect();
    let least = rows.iter().map(|row| row.memory_min_gb).fold(f64::INFINITY, f64::min);
    if !rows.iter().any(|row| row.verdict != Verdict::No) {
        found.problem(
            say!(
                "{gigabytes:.1} GB of memory are free, and the smallest model of the registry needs {least} GB",
                "{gigabytes:.1} Go de mémoire sont libres, et le plus petit modèle du registre en demande {least}"
            ),
            say!(
                "close other programs, or raise the limit of this container",
                "fermer d'autres programmes, ou relever la limite de ce conteneur"
            ),
        );
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_decides_by_the_rows_of_the_registry() {
        let registry = Registry::built_in();
        let verdicts = |bytes| {
            let mut found = Findings::default();
            let rows = trainable(registry.entries(), bytes, &mut found);
            let of = |key: &str| rows.iter().find(|row| row.name == key).map(|row| (row.verdict, row.batch_size)).expect(key);
            ((of("qwen2.5:1.5b"), of("llama3.1:8b")), found.problems.len())
        };
        // 1.5B: 3 to 6 GB, batches of 4; 8B: 12 to 16 GB, batches of 1.
        assert_eq!(verdicts(Some(4_500_000_000)), (((Verdict::Tight, 3), (Verdict::No, 1)), 0));
        assert_eq!(verdicts(Some(16_000_000_000)), (((Verdict::Yes, 8), (Verdict::Yes, 1)), 0));
        assert_eq!(verdicts(None).0.0.0, Verdict::Yes);
        assert_eq!(verdicts(Some(1_000_000_000)), (((Verdict::No, 1), (Verdict::No, 1)), 1));
    }
}
