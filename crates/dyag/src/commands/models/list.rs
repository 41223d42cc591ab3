//! `dyag models list`: short names, and what lies in the cache.

use dyag_hub::{Advice, CachedModel, Entry, Source};
use serde_json::{Value, json};

use crate::download_progress::size;
use crate::language::say;
use crate::model_name::Models;
use crate::terminal;

pub(super) fn run(models: &Models, json: bool) -> anyhow::Result<()> {
    let cached = models.cache.models()?;
    let here = |entry: &Entry| match &entry.source {
        Source::Hub(name) => models.cache.find(name).is_some(),
        Source::Path(path) => path.exists(),
        Source::Embedded => true,
    };
    let entries = models.registry.entries();
    if json {
        let registry: Vec<Value> = entries
            .iter()
            .map(|entry| {
                let mut value = json!(entry);
                value["here"] = json!(here(entry));
                value
            })
            .collect();
        return terminal::print_json(&json!({ "registry": registry, "cache": { "path": models.cache.root(), "models": cached } }));
    }
    let rows: Vec<[String; 7]> = entries.iter().map(|entry| row(entry, here(entry))).collect();
    let header = [
        say!("NAME", "NOM"),
        say!("MODEL", "MODÈLE"),
        say!("SIZE", "TAILLE"),
        say!("MEMORY", "MÉMOIRE"),
        say!("LICENCE", "LICENCE"),
        say!("ACCESS", "ACCÈS"),
        say!("HERE", "ICI"),
    ];
    terminal::print(&table(&[vec![header], rows].concat()))?;
    terminal::print_line("")?;
    terminal::print_line(say!("in the cache {}:", "dans le cache {} :", models.cache.root().display()))?;
    if cached.is_empty() {
        return terminal::print_line(say!(
            "  nothing yet; `dyag models pull NAME` fetches a model",
            "  rien encore ; « dyag models pull NOM » télécharge un modèle"
        ));
    }
    for model in &cached {
        terminal::print_line(cached_line(model))?;
    }
    terminal::print_line(say!("  {} in all", "  {} en tout", size(cached.iter().map(|model| model.bytes).sum())))
}

fn row(entry: &Entry, is_here: bool) -> [String; 7] {
    let Entry { key, source, parameters, advice, licence, gated, context_tokens: _, languages: _, alternative: _, from } = entry;
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let memory = advice
        .as_ref()
        .map_or("-".to_owned(), |advice: &Advice| say!("{} to {} GB", "{} à {} Go", advice.memory_min_gb, advice.memory_recommended_gb));
    let own = if from.is_some() { say!(" (own)", " (à vous)") } else { String::new() };
    [
        format!("{key}{own}"),
        source.to_string(),
        or_dash(parameters),
        memory,
        or_dash(licence),
        if *gated { say!("gated", "réservé") } else { say!("free", "libre") },
        if is_here { say!("yes", "oui") } else { say!("no", "non") },
    ]
}

fn cached_line(model: &CachedModel) -> String {
    let CachedModel { repo, path: _, bytes, unfinished_bytes, revisions } = model;
    let mut parts: Vec<String> = revisions
        .iter()
        .map(|revision| {
            let refs = if revision.refs.is_empty() { String::new() } else { format!(" ({})", revision.refs.join(", ")) };
            let ggufs: Vec<&str> = revision.gguf_files().collect();
            let state = match &revision.lacks {
                _ if !ggufs.is_empty() => say!(": {}", " : {}", ggufs.join(", ")),
                Some(file) => say!(": lacks {file}", " : il manque {file}"),
                None => String::new(),
            };
            format!("{}{refs}{state}", &revision.commit[..12])
        })
        .collect();
    if *unfinished_bytes > 0 {
        parts.push(say!("{} of an unfinished download", "{} d'un téléchargement inachevé", size(*unfinished_bytes)));
    }
    if parts.is_empty() {
        parts.push(say!("nothing that can be used", "rien d'utilisable"));
    }
    format!("  {repo}  {}  {}", size(*bytes), parts.join(&say!("; ", " ; ")))
}

/// Columns as wide as their widest cell.
fn table(rows: &[[String; 7]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
