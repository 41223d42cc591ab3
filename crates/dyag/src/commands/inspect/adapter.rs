//! What an adapter's folder holds: PEFT's configuration, the weights, and the manifest of the training that made it.

use std::path::Path;

use anyhow::Context as _;
use dyag_model::adapter::{AdapterConfig, TargetModules, WEIGHTS_FILE};
use dyag_model::weights::SafetensorsFile;
use dyag_train::manifest::{DatasetFacts, MANIFEST_FILE, Manifest};
use serde_json::{Value, json};

use super::facts::{self, Facts};

pub(super) fn describe(folder: &Path, json: bool) -> anyhow::Result<()> {
    let mut facts = config_facts(&AdapterConfig::read(folder)?);
    facts.extend(weight_facts(folder)?);
    let manifest = folder.join(MANIFEST_FILE).exists().then(|| Manifest::load(folder)).transpose()?;
    match &manifest {
        Some(manifest) => facts.extend(manifest_facts(manifest, json)?),
        None => facts.push(("manifest", Value::Null)),
    }
    facts::print(facts, json)
}

/// What adapter_config.json says.
fn config_facts(config: &AdapterConfig) -> Facts {
    let AdapterConfig {
        base_model,
        rank,
        alpha,
        rank_pattern,
        alpha_pattern,
        rank_stabilised,
        weight_decomposed,
        targets,
        excluded,
        layers,
        layers_pattern: _,
        dropout,
    } = config;
    let modules = |targets: &TargetModules| match targets {
        TargetModules::Names(names) => json!(names),
        TargetModules::Pattern(pattern) => json!(format!("all that match {pattern}")),
        TargetModules::AllLinear => json!("all linear modules"),
    };
    let mut facts = vec![
        ("rank", json!(rank)),
        ("alpha", json!(alpha)),
        ("rank_stabilised", json!(rank_stabilised)),
        ("weight_decomposed", json!(weight_decomposed)),
        ("targets", modules(targets)),
        ("excluded", excluded.as_ref().map_or(Value::Null, modules)),
        ("layers", layers.as_ref().map_or(json!("all"), |layers| json!(layers))),
        ("dropout", json!(f64::from(*dropout))),
        ("base_model_name", json!(base_model)),
    ];
    let pairs = |pairs: Vec<(String, Value)>| Value::Object(pairs.into_iter().collect());
    if !rank_pattern.is_empty() {
        facts.push(("other_ranks", pairs(rank_pattern.iter().map(|(key, rank)| (key.clone(), json!(rank))).collect())));
    }
    if !alpha_pattern.is_empty() {
        facts.push(("other_alphas", pairs(alpha_pattern.iter().map(|(key, alpha)| (key.clone(), json!(alpha))).collect())));
    }
    facts
}

/// What the file of weights says of itself.
fn weight_facts(folder: &Path) -> anyhow::Result<Facts> {
    let path = folder.join(WEIGHTS_FILE);
    if !path.exists() {
        return Ok(vec![("weights", json!(format!("none: {WEIGHTS_FILE} is missing")))]);
    }
    let file = SafetensorsFile::open(&path)?;
    let tensors: Vec<_> = file.names().filter_map(|name| file.tensor(name)).collect();
    let mut formats: Vec<&str> = tensors.iter().map(|tensor| tensor.dtype.name()).collect();
    formats.sort_unstable();
    formats.dedup();
    let n_bytes = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    Ok(vec![
        ("tensors", json!(tensors.len())),
        ("parameters", json!(tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum::<usize>())),
        ("formats", json!(formats)),
        ("bytes", json!(n_bytes)),
    ])
}

/// What the manifest says: for people its main points, for machines all of it.
fn manifest_facts(manifest: &Manifest, json: bool) -> anyhow::Result<Facts> {
    if json {
        return Ok(vec![("manifest", serde_json::to_value(manifest).context("cannot write the manifest as JSON")?)]);
    }
    let Manifest { format: _, dyag_version, base_model, system_message, date, dataset, config, kernel, metrics, timing: _ } = manifest;
    let DatasetFacts {
        name,
        sha256,
        n_conversations,
        n_tokens,
        n_trained_tokens,
        validation_name,
        validation_sha256: _,
        n_validation_conversations,
    } = dataset;
    let mut facts = vec![
        ("trained_by", json!(format!("dyag {dyag_version}"))),
        ("base_model", json!(base_model.path)),
        ("base_on_the_hub", json!(base_model.hub.as_ref().map(ToString::to_string))),
        ("base_family", json!(base_model.family)),
        ("base_shape", json!(base_model.shape)),
        ("base_fingerprint", json!(base_model.fingerprint)),
        ("base_quantised_to", json!(base_model.quantization)),
        ("template_hash", json!(base_model.template_hash)),
        ("dataset", json!(format!("{name}: {n_conversations} conversations, {n_tokens} tokens, {n_trained_tokens} of them learned"))),
        ("dataset_sha256", json!(sha256)),
        (
            "validation",
            match (n_validation_conversations, validation_name) {
                (0, _) => Value::Null,
                (n, Some(name)) => json!(format!("{name}: {n} conversations")),
                (n, None) => json!(format!("{n} conversations set aside")),
            },
        ),
        ("system_message", json!(system_message)),
        ("date", json!(date)),
        ("learning_rate", json!(config.learning_rate)),
        ("learning_rate_of_b", json!(config.lora_plus_ratio.map(|ratio| ratio * config.learning_rate))),
        ("neftune_alpha", json!(config.neftune_alpha)),
        ("examples_per_step", json!(config.examples_per_step())),
        ("seed", json!(config.seed)),
        ("kernel", json!(kernel)),
        ("steps", json!(metrics.steps)),
        ("epochs", json!(metrics.epochs)),
        ("train_loss", json!(metrics.train_loss)),
        ("last_epoch_loss", json!(metrics.last_epoch_loss)),
        ("token_accuracy", json!(metrics.last_epoch_token_accuracy)),
        ("validation_loss", json!(metrics.validation_loss)),
    ];
    if metrics.adapter_step != metrics.steps {
        facts.push(("adapter_of_step", json!(metrics.adapter_step)));
    }
    Ok(facts)
}
