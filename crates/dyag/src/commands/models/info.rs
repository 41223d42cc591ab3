//! `dyag models info NAME`: what is known about a model, here and, where it is not known here, on the hub.

use dyag_hub::{Advice, CachedModel, Entry, HubName, Source};
use serde_json::{Value, json};

use crate::download_progress::{DownloadProgress, size};
use crate::model_name::{Meaning, Models, hub_name};
use crate::terminal;

pub(super) fn run(models: &Models, name: &str, json: bool) -> anyhow::Result<()> {
    if let Some(Meaning { source: Source::Path(path), entry }) = models.meaning(name) {
        let exists = path.exists();
        let mut facts = vec![("path", json!(path)), ("here", json!(exists))];
        facts.extend(entry.as_ref().map(entry_facts).unwrap_or_default());
        return print(&facts, json);
    }
    if let Some(Meaning { source: Source::Embedded, entry }) = models.meaning(name) {
        let mut facts = vec![("model", json!(Source::Embedded)), ("here", json!(true)), ("bytes", json!(crate::embedded::MODEL.len()))];
        facts.extend(entry.as_ref().map(entry_facts).unwrap_or_default());
        return print(&facts, json);
    }
    let (hub, entry) = hub_name(models, name)?;
    let cached = models.cache.model(&hub.repo);
    let found = models.cache.find(&hub);
    let mut facts = vec![
        ("model", json!(hub.to_string())),
        ("page", json!(models.settings.page(&hub.repo))),
        ("here", json!(found.is_some())),
        ("path", json!(found.as_ref().map(|found| &found.path))),
        ("commit", json!(found.as_ref().map(|found| &found.commit))),
    ];
    facts.extend(entry.as_ref().map(entry_facts).unwrap_or_default());
    let is_cached = !cached.revisions.is_empty() || cached.bytes > 0;
    if is_cached {
        facts.extend(cached_facts(&cached, json));
    } else if entry.is_none() {
        facts.extend(asked(models, name, &hub)?);
    }
    print(&facts, json)
}

/// What the registry says.
fn entry_facts(entry: &Entry) -> Vec<(&'static str, Value)> {
    let Entry { key, source: _, parameters, advice, licence, gated, context_tokens, languages, alternative, from } = entry;
    let mut facts = vec![
        ("short_name", json!(key)),
        ("parameters", json!(parameters)),
        ("licence", json!(licence)),
        ("gated", json!(gated)),
        ("alternative_without_account", json!(alternative)),
        ("context_tokens", json!(context_tokens)),
        ("languages", json!(languages.join(" "))),
        ("from", json!(from)),
    ];
    if let Some(Advice { memory_min_gb, memory_recommended_gb, batch_size, lora_rank, cpu }) = advice {
        facts.extend([
            ("memory_min_gb", json!(memory_min_gb)),
            ("memory_recommended_gb", json!(memory_recommended_gb)),
            ("batch_size", json!(batch_size)),
            ("lora_rank", json!(lora_rank)),
            ("cpu", json!(cpu)),
        ]);
    }
    facts
}

/// What lies in the cache.
fn cached_facts(cached: &CachedModel, json: bool) -> Vec<(&'static str, Value)> {
    let CachedModel { repo: _, path, bytes, unfinished_bytes, revisions } = cached;
    let revisions = if json {
        json!(revisions)
    } else {
        let line = |revision: &dyag_hub::CachedRevision| {
            let refs = if revision.refs.is_empty() { String::new() } else { format!(" ({})", revision.refs.join(", ")) };
            format!("{}{refs}: {} files, {}", revision.commit, revision.files.len(), size(revision.bytes()))
        };
        json!(revisions.iter().map(line).collect::<Vec<_>>().join("; "))
    };
    vec![("folder", json!(path)), ("bytes", json!(bytes)), ("unfinished_bytes", json!(unfinished_bytes)), ("revisions", revisions)]
}

/// What the hub says of a model that is neither in the registry nor here.
fn asked(models: &Models, name: &str, hub: &HubName) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let progress = DownloadProgress::new();
    let about = dyag_hub::about(&models.settings, hub, &|event| progress.show(event));
    progress.end();
    let about = about.map_err(|error| models.explain(error, name, None))?;
    let bytes: u64 = about.files.iter().filter_map(|(_, size)| *size).sum();
    let names: Vec<&str> = about.files.iter().map(|(name, _)| name.as_str()).collect();
    Ok(vec![
        ("commit_on_the_hub", json!(about.commit)),
        ("licence", json!(about.licence)),
        ("gated", json!(about.gated)),
        ("bytes_to_fetch", json!(bytes)),
        ("files", json!(names.join(" "))),
    ])
}

/// As JSON, or one fact a line; what is not known is left out of the lines.
fn print(facts: &[(&'static str, Value)], json: bool) -> anyhow::Result<()> {
    if json {
        let object: serde_json::Map<String, Value> = facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        return terminal::print_json(&object);
    }
    for (name, value) in facts {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            other => other.to_string(),
        };
        terminal::print_line(format!("{:<28} {text}", name.replace('_', " ")))?;
    }
    Ok(())
}
