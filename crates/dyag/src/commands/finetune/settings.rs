//! From the arguments to the trainer's settings and the adapter it starts from.

use std::path::Path;

use anyhow::{Context as _, bail};
use dyag_kernels::Precision;
use dyag_model::adapter::{Adapter, AdapterConfig, Projection, Site, TargetModules, WEIGHTS_FILE};
use dyag_model::config::DecoderConfig;
use dyag_text::{Date, LossTokens};
use dyag_train::TrainConfig;
use dyag_train::config::{CheckpointingChoice, LoraSettings, Method};
use dyag_train::folder::hash_file;
use dyag_train::schedule::ScheduleKind;

use super::arguments::{AdapterArgs, Checkpointing, DataArgs, LossChoice, MethodChoice, SavingArgs, ScheduleChoice, TrainingArgs};
use super::batch::Batch;
use crate::model_files::ModelFiles;

/// What the arguments came to.
pub(super) struct Settings {
    pub(super) config: TrainConfig,
    /// What adapter_config.json will say.
    pub(super) adapter_config: AdapterConfig,
    /// The adapter before the first step.
    pub(super) initial: Adapter,
}

const DEFAULT_RATE: f64 = 2e-4;
/// Where all weights are trained.
const DEFAULT_RATE_OF_ALL: f64 = 2e-5;
const DEFAULT_RANK: usize = 16;
const DEFAULT_ALPHA: f64 = 32.0;

impl Settings {
    /// Resolves arguments for a base model.
    pub(super) fn resolve(
        (training, batch): (TrainingArgs, &Batch),
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
            batch_size: _,
            accumulation: _,
            learning_rate,
            lora_plus_ratio,
            schedule,
            warmup_ratio,
            clip,
            weight_decay,
            neftune_alpha,
            seed,
            no_shuffle,
            no_shared_prefix,
        } = training;
        let DataArgs { max_seq_length, truncate, loss, validation: _, validation_split, date: _ } = data;
        let SavingArgs { save_steps, save_total_limit, load_best, early_stopping_patience } = saving;
        let dropout = adapter.dropout;
        let (method, default_rate) = match adapter.method {
            MethodChoice::Lora => (Method::Lora, DEFAULT_RATE),
            MethodChoice::Full => (Method::Full, DEFAULT_RATE_OF_ALL),
        };
        let learning_rate = learning_rate.unwrap_or(default_rate);
        let (adapter_config, initial, lora) = match method {
            Method::Lora => resolve_adapter(adapter, seed, files)?,
            Method::Full => no_adapter(&adapter)?,
        };
        let config = TrainConfig {
            epochs,
            max_steps,
            batch_size: batch.size,
            accumulation: batch.accumulation,
            learning_rate,
            lora_plus_ratio,
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
            neftune_alpha,
            share_prefixes: !no_shared_prefix,
            method,
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

/// What stands for the adapter where all weights are trained. Flags of an adapter are a mistake then.
fn no_adapter(args: &AdapterArgs) -> anyhow::Result<(AdapterConfig, Adapter, LoraSettings)> {
    let AdapterArgs {
        method: _,
        lora_rank,
        lora_alpha,
        use_rslora,
        use_dora,
        rank_pattern,
        alpha_pattern,
        target_modules,
        dropout,
        init_adapter,
    } = args;
    let typed = [
        ("--lora-rank", lora_rank.is_some()),
        ("--lora-alpha", lora_alpha.is_some()),
        ("--use-rslora", *use_rslora),
        ("--use-dora", *use_dora),
        ("--rank-pattern", !rank_pattern.is_empty()),
        ("--alpha-pattern", !alpha_pattern.is_empty()),
        ("--target-modules", target_modules.is_some()),
        ("--dropout", *dropout > 0.0),
        ("--init-adapter", init_adapter.is_some()),
    ];
    if let Some((flag, _)) = typed.iter().find(|(_, typed)| *typed) {
        bail!("{flag}: --method full trains all weights and no adapter; leave {flag} out");
    }
    let lora = LoraSettings {
        rank: DEFAULT_RANK,
        alpha: DEFAULT_ALPHA,
        rslora: false,
        dora: false,
        rank_pattern: Vec::new(),
        alpha_pattern: Vec::new(),
        target_modules: Vec::new(),
        target_text: None,
        initial_adapter: None,
    };
    Ok((AdapterConfig::new(&[], DEFAULT_RANK, DEFAULT_ALPHA), Adapter::default(), lora))
}

/// The adapter to start from, fresh or read, with its settings in PEFT's words and in ours.
fn resolve_adapter(args: AdapterArgs, seed: u64, files: &ModelFiles) -> anyhow::Result<(AdapterConfig, Adapter, LoraSettings)> {
    let AdapterArgs {
        method: _,
        lora_rank,
        lora_alpha,
        use_rslora,
        use_dora,
        rank_pattern,
        alpha_pattern,
        target_modules,
        dropout,
        init_adapter,
    } = args;
    let model = files.config();
    let targets = target_modules.map(|text| TargetModules::parse(&text, model)).transpose().context("--target-modules")?;
    let (mut settings, adapter, initial_adapter) = match &init_adapter {
        None => {
            let (rank, alpha) = (lora_rank.unwrap_or(DEFAULT_RANK), lora_alpha.unwrap_or(DEFAULT_ALPHA));
            let mut settings = AdapterConfig::new(Projection::all(model), rank, alpha);
            settings.rank_stabilised = use_rslora;
            settings.weight_decomposed = use_dora;
            settings.rank_pattern = distinct("--rank-pattern", rank_pattern)?;
            settings.alpha_pattern = distinct("--alpha-pattern", alpha_pattern)?;
            settings.targets = targets.unwrap_or(settings.targets);
            settings.check_patterns(model).context("--target-modules, --rank-pattern, --alpha-pattern")?;
            let adapter = Adapter::init_on(model, files.weights(), &settings, seed).context("--lora-rank, --rank-pattern")?;
            (settings, adapter, None)
        }
        Some(folder) => {
            let (settings, adapter) = read_adapter(folder, model)?;
            let asked = AdapterConfig {
                rank: lora_rank.unwrap_or(settings.rank),
                alpha: lora_alpha.unwrap_or(settings.alpha),
                rank_stabilised: use_rslora || settings.rank_stabilised,
                weight_decomposed: use_dora || settings.weight_decomposed,
                rank_pattern: if rank_pattern.is_empty() { settings.rank_pattern.clone() } else { rank_pattern },
                alpha_pattern: if alpha_pattern.is_empty() { settings.alpha_pattern.clone() } else { alpha_pattern },
                targets: targets.unwrap_or_else(|| settings.targets.clone()),
                ..settings.clone()
            };
            check_agrees(folder, &settings, &asked, model)?;
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
        dora: settings.weight_decomposed,
        rank_pattern: settings.rank_pattern.clone(),
        alpha_pattern: settings.alpha_pattern.clone(),
        target_text: target_text(&settings.targets),
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
fn check_agrees(folder: &Path, settings: &AdapterConfig, asked: &AdapterConfig, model: &DecoderConfig) -> anyhow::Result<()> {
    let differs = |flag: &str, asked: String, has: String| {
        bail!("{flag} {asked}: the adapter of --init-adapter {} has {has}; leave {flag} out", folder.display())
    };
    let sites = |config: &AdapterConfig| config.sites(model).map(|sites| sites.into_keys().collect::<Vec<Site>>());
    if asked.rank != settings.rank {
        differs("--lora-rank", asked.rank.to_string(), settings.rank.to_string())
    } else if asked.alpha != settings.alpha {
        differs("--lora-alpha", asked.alpha.to_string(), settings.alpha.to_string())
    } else if asked.rank_stabilised != settings.rank_stabilised {
        differs("--use-rslora", String::new(), "a scale of alpha / rank".to_owned())
    } else if asked.weight_decomposed != settings.weight_decomposed {
        differs("--use-dora", String::new(), "no magnitudes".to_owned())
    } else if asked.rank_pattern != settings.rank_pattern {
        differs("--rank-pattern", pairs(&asked.rank_pattern), pairs(&settings.rank_pattern))
    } else if asked.alpha_pattern != settings.alpha_pattern {
        differs("--alpha-pattern", pairs(&asked.alpha_pattern), pairs(&settings.alpha_pattern))
    } else if sites(asked).context("--target-modules")? != sites(settings)? {
        bail!("--target-modules: the adapter of --init-adapter {} acts on other matrices; leave --target-modules out", folder.display())
    } else {
        Ok(())
    }
}

/// `PATTERN=NUMBER` again, with commas between.
fn pairs<T: std::fmt::Display>(pairs: &[(String, T)]) -> String {
    let written: Vec<String> = pairs.iter().map(|(pattern, number)| format!("{pattern}={number}")).collect();
    if written.is_empty() { "none".to_owned() } else { written.join(", ") }
}

/// adapter_config.json keeps patterns as keys of an object.
fn distinct<T: std::fmt::Display>(flag: &str, given: Vec<(String, T)>) -> anyhow::Result<Vec<(String, T)>> {
    let twice = given.iter().enumerate().find(|(i, (pattern, _))| given[..*i].iter().any(|(other, _)| other == pattern));
    if let Some((_, (pattern, number))) = twice {
        bail!("{flag} {pattern}={number}: the same pattern was given before; expected each once");
    }
    Ok(given)
}

/// What was asked for, where the names of the adapted matrices do not say it.
fn target_text(targets: &TargetModules) -> Option<String> {
    match targets {
        TargetModules::AllLinear => None,
        TargetModules::Names(names) => names.iter().any(|name| name.contains('.')).then(|| names.join(",")),
        TargetModules::Pattern(pattern) => Some(pattern.clone()),
    }
}

/// Names of the adapted matrices, each once, in the order of a layer.
fn module_names<'a>(sites: impl Iterator<Item = &'a Site>) -> Vec<String> {
    let mut projections: Vec<Projection> = sites.map(|site| site.projection).collect();
    projections.sort_unstable();
    projections.dedup();
    projections.into_iter().map(|projection| projection.short_name().to_owned()).collect()
}
