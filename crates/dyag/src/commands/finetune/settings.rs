//! From the arguments to the trainer's settings and the adapter it starts from.

use std::path::Path;

use anyhow::{Context as _, bail};
use dyag_kernels::Precision;
use dyag_model::adapter::{Adapter, AdapterConfig, Projection, Site, WEIGHTS_FILE, parse_targets};
use dyag_model::config::DecoderConfig;
use dyag_text::{Date, LossTokens};
use dyag_train::TrainConfig;
use dyag_train::config::{CheckpointingChoice, LoraSettings};
use dyag_train::folder::hash_file;
use dyag_train::schedule::ScheduleKind;

use super::arguments::{AdapterArgs, Checkpointing, DataArgs, LossChoice, SavingArgs, ScheduleChoice, TrainingArgs};
use crate::model_files::ModelFiles;

/// What the arguments came to.
pub(super) struct Settings {
    pub(super) config: TrainConfig,
    /// What adapter_config.json will say.
    pub(super) adapter_config: AdapterConfig,
    /// The adapter before the first step.
    pub(super) initial: Adapter,
}

const DEFAULT_RANK: usize = 16;
const DEFAULT_ALPHA: f64 = 32.0;

impl Settings {
    /// Resolves arguments for a base model.
    pub(super) fn resolve(
        training: TrainingArgs,
        adapter: AdapterArgs,
        data: &DataArgs,
        saving: SavingArgs,
        (precision, checkpointing): (Precision, Checkpointing),
        date: Option<Date>,
        files: &ModelFiles,
    ) -> anyhow::Result<Self> {
        let TrainingArgs {
            epochs,
            max_steps,
            batch_size,
            accumulation,
            learning_rate,
            schedule,
            warmup_ratio,
            clip,
            weight_decay,
            seed,
            no_shuffle,
            no_shared_prefix,
        } = training;
        let DataArgs { max_seq_length, truncate, loss, validation: _, validation_split, date: _ } = data;
        let SavingArgs { save_steps, save_total_limit, load_best, early_stopping_patience } = saving;
        let dropout = adapter.dropout;
        let (adapter_config, initial, lora) = resolve_adapter(adapter, seed, files)?;
        let config = TrainConfig {
            epochs,
            max_steps,
            batch_size,
            accumulation,
            learning_rate,
            schedule: match schedule {
                ScheduleChoice::Cosine => ScheduleKind::Cosine,
                ScheduleChoice::Linear => ScheduleKind::Linear,
                ScheduleChoice::Constant => ScheduleKind::Constant,
            },
            warmup_ratio,
            clip,
            weight_decay,
            seed,
            shuffle: !no_shuffle,
            loss: match loss {
                LossChoice::Assistant => LossTokens::Assistant,
                LossChoice::All => LossTokens::All,
            },
            max_seq_length: *max_seq_length,
            truncate: *truncate,
            dropout,
            share_prefixes: !no_shared_prefix,
            lora,
            precision: match precision {
                Precision::F32 => "f32".to_owned(),
                Precision::Bf16 => "bf16".to_owned(),
            },
            validation_split: *validation_split,
            load_best,
            early_stopping_patience,
            date: date.map(|date| date.to_string()),
            checkpointing: match checkpointing {
                Checkpointing::Layer => CheckpointingChoice::Layer,
                Checkpointing::None => CheckpointingChoice::None,
                Checkpointing::Auto => CheckpointingChoice::Auto,
            },
            save_steps,
            save_total_limit,
        };
        Ok(Self { config, adapter_config, initial })
    }
}

/// The adapter to start from, fresh or read, with its settings in PEFT's words and in ours.
fn resolve_adapter(args: AdapterArgs, seed: u64, files: &ModelFiles) -> anyhow::Result<(AdapterConfig, Adapter, LoraSettings)> {
    let AdapterArgs { lora_rank, lora_alpha, rslora, target_modules, dropout, init_adapter } = args;
    let model = files.config();
    let targets = target_modules.map(|text| parse_targets(&text, model)).transpose().context("--target-modules")?;
    let (mut settings, adapter, initial_adapter) = match &init_adapter {
        None => {
            let targets = targets.unwrap_or_else(|| Projection::all(model).to_vec());
            let mut settings = AdapterConfig::new(&targets, lora_rank.unwrap_or(DEFAULT_RANK), lora_alpha.unwrap_or(DEFAULT_ALPHA));
            settings.rank_stabilised = rslora;
            let adapter = Adapter::init(model, &settings, seed).context("--lora-rank, --target-modules")?;
            (settings, adapter, None)
        }
        Some(folder) => {
            let (settings, adapter) = read_adapter(folder, model)?;
            check_agrees(folder, &settings, lora_rank, lora_alpha, rslora)?;
            if let Some(targets) = targets
                && adapter.pairs.keys().any(|site| !targets.contains(&site.projection))
            {
                bail!(
                    "--target-modules: the adapter of --init-adapter {} acts on other matrices; leave --target-modules out",
                    folder.display()
                );
            }
            let weights = folder.join(WEIGHTS_FILE);
            let sum = hash_file(&weights).with_context(|| format!("cannot read {}", weights.display()))?;
            (settings, adapter, Some(sum))
        }
    };
    settings.dropout = dropout;
    settings.base_model = Some(files.model().source.name.clone());
    let lora = LoraSettings {
        rank: settings.rank,
        alpha: settings.alpha,
        rslora: settings.rank_stabilised,
        target_modules: module_names(adapter.pairs.keys()),
        initial_adapter,
    };
    Ok((settings, adapter, lora))
}

fn read_adapter(folder: &Path, model: &DecoderConfig) -> anyhow::Result<(AdapterConfig, Adapter)> {
    let settings = AdapterConfig::read(folder).context("--init-adapter")?;
    let adapter = Adapter::load_as(folder, model, &settings).context("--init-adapter")?;
    Ok((settings, adapter))
}

/// Flags that say something else than the adapter to start from are a mistake.
fn check_agrees(
    folder: &Path,
    settings: &AdapterConfig,
    rank: Option<usize>,
    alpha: Option<f64>,
    rank_stabilised: bool,
) -> anyhow::Result<()> {
    let differs = |flag: &str, asked: String, has: String| {
        bail!("{flag} {asked}: the adapter of --init-adapter {} has {has}; leave {flag} out", folder.display())
    };
    match (rank, alpha) {
        (Some(rank), _) if rank != settings.rank => differs("--lora-rank", rank.to_string(), settings.rank.to_string()),
        (_, Some(alpha)) if alpha != settings.alpha => differs("--lora-alpha", alpha.to_string(), settings.alpha.to_string()),
        _ if rank_stabilised && !settings.rank_stabilised => differs("--rslora", String::new(), "a scale of alpha / rank".to_owned()),
        _ => Ok(()),
    }
}

/// Names of the adapted matrices, each once, in the order of a layer.
fn module_names<'a>(sites: impl Iterator<Item = &'a Site>) -> Vec<String> {
    let mut projections: Vec<Projection> = sites.map(|site| site.projection).collect();
    projections.sort_unstable();
    projections.dedup();
    projections.into_iter().map(|projection| projection.short_name().to_owned()).collect()
}
