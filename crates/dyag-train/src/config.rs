//! The settings of a run, resolved: what the arguments came to, and what a manifest keeps.

use std::collections::BTreeMap;

use dyag_text::LossTokens;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::TrainError;
use crate::schedule::ScheduleKind;

/// What the forward pass keeps for the backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointingChoice {
    /// Each layer's input; the rest is recomputed.
    Layer,
    /// Everything the backward needs.
    None,
    /// Whichever the memory plan allows.
    Auto,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// An adapter beside frozen weights.
    #[default]
    Lora,
    /// All weights.
    Full,
}

impl Method {
    /// Whether it is the one that manifests do not name.
    fn is_lora(&self) -> bool {
        *self == Self::Lora
    }
}

/// The adapter that is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraSettings {
    /// R.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Scale by `alpha / sqrt(rank)` in place of `alpha / rank`.
    pub rslora: bool,
    /// Train a magnitude of each output channel too (DoRA).
    #[serde(default)]
    pub dora: bool,
    /// Other ranks, by regular expression, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rank_pattern: Vec<(String, usize)>,
    /// Other alphas, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpha_pattern: Vec<(String, f64)>,
    /// Names of the adapted matrices, such as `q_proj`, in the order given.
    pub target_modules: Vec<String>,
    /// What was asked for, where those names do not say it: a regular expression, or ends of names of modules with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_text: Option<String>,
    /// SHA-256 of the adapter the run starts from, when it is not a fresh one.
    pub initial_adapter: Option<String>,
}

/// Everything that decides what a run computes, and how it goes about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Passes over the data; the whole number of steps unless `max_steps` says otherwise.
    pub epochs: u32,
    /// Optimiser steps in all, however many epochs that is.
    pub max_steps: Option<u64>,
    /// Examples of a micro-batch.
    pub batch_size: usize,
    /// Micro-batches of an optimiser step.
    pub accumulation: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Learning rate of B, and of magnitudes, as a multiple of A's (LoRA+); none: all have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_plus_ratio: Option<f64>,
    /// Its course.
    pub schedule: ScheduleKind,
    /// Share of the steps that warm up.
    pub warmup_ratio: f64,
    /// Largest global gradient norm; 0 for no limit.
    pub clip: f64,
    /// AdamW's decoupled decay.
    pub weight_decay: f64,
    /// Seeds the adapter, the order and the dropout.
    pub seed: u64,
    /// Draw a new order each epoch.
    pub shuffle: bool,
    /// Which tokens are learned.
    pub loss: LossTokens,
    /// Longest example, in tokens.
    pub max_seq_length: usize,
    /// Cut longer answers in place of refusing them.
    pub truncate: bool,
    /// Share of adapter inputs that are dropped.
    pub dropout: f32,
    /// Noise on the embeddings (NEFTune): uniform in ±alpha / sqrt(T C) for an example of T tokens and a model of C channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neftune_alpha: Option<f64>,
    /// Compute tokens that examples begin with in common once.
    pub share_prefixes: bool,
    /// What is trained.
    #[serde(default, skip_serializing_if = "Method::is_lora")]
    pub method: Method,
    /// The adapter; of no meaning where all weights are trained.
    pub lora: LoraSettings,
    /// `f32` or `bf16`.
    pub precision: String,
    /// Share of the data set aside for validation.
    pub validation_split: Option<f64>,
    /// Leave the best adapter in `final/`, not the last.
    pub load_best: bool,
    /// Stop after so many validations without improvement.
    pub early_stopping_patience: Option<u32>,
    /// The date that templates are told, `YYYY-MM-DD`, when they ask.
    pub date: Option<String>,
    /// What the forward keeps; changes memory and time, not results.
    pub checkpointing: CheckpointingChoice,
    /// Also checkpoint every so many steps.
    pub save_steps: Option<u64>,
    /// Newest checkpoints kept, beside the best.
    pub save_total_limit: usize,
}

impl TrainConfig {
    /// Refuses settings outside their range and settings that contradict each other, naming the flag.
    pub fn validate(&self) -> Result<(), TrainError> {
        let bad = |setting, problem: String| Err(TrainError::Setting { setting, problem });
        let at_least_one: [(&'static str, u64); 7] = [
            ("--epochs", u64::from(self.epochs)),
            ("--max-steps", self.max_steps.unwrap_or(1)),
            ("--batch-size", self.batch_size as u64),
            ("--accumulation", self.accumulation as u64),
            ("--lora-rank", self.lora.rank as u64),
            ("--save-steps", self.save_steps.unwrap_or(1)),
            ("--save-total-limit", self.save_total_limit as u64),
        ];
        for (setting, value) in at_least_one {
            if value == 0 {
                return bad(setting, "expected at least 1, found 0".to_owned());
            }
        }
        if self.max_seq_length < 2 {
            return bad("--max-seq-length", format!("expected at least 2 tokens, found {}", self.max_seq_length));
        }
        if self.batch_size.checked_mul(self.accumulation).is_none_or(|n| n > 1 << 20) {
            let problem = format!("{} x {} examples a step; expected at most {}", self.batch_size, self.accumulation, 1 << 20);
            return bad("--batch-size x --accumulation", problem);
        }
        let ranges: [(&'static str, f64, f64, f64); 9] = [
            ("--learning-rate", self.learning_rate, 0.0, 1.0),
            ("--warmup-ratio", self.warmup_ratio, 0.0, 1.0),
            ("--clip", self.clip, 0.0, f64::MAX),
            ("--weight-decay", self.weight_decay, 0.0, 1.0),
            ("--dropout", f64::from(self.dropout), 0.0, 0.99),
            ("--lora-alpha", self.lora.alpha, f64::MIN_POSITIVE, 1e6),
            ("--lora-plus-ratio", self.lora_plus_ratio.unwrap_or(1.0), f64::MIN_POSITIVE, 1e6),
            ("--neftune-alpha", self.neftune_alpha.unwrap_or(1.0), f64::MIN_POSITIVE, 1e6),
            ("--validation-split", self.validation_split.unwrap_or(0.0), 0.0, 0.9),
        ];
        for (setting, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                let expected = match (low == f64::MIN_POSITIVE, high == f64::MAX) {
                    (true, _) => format!("a number above 0 and up to {high}"),
                    (false, true) => format!("a number from {low} on"),
                    (false, false) => format!("a number from {low} to {high}"),
                };
                return bad(setting, format!("expected {expected}, found {value}"));
            }
        }
        if self.method == Method::Full && self.lora_plus_ratio.is_some() {
            return bad("--lora-plus-ratio", "--method full trains no adapter; leave it out".to_owned());
        }
        if self.method == Method::Lora && self.lora.target_modules.is_empty() {
            return bad("--target-modules", "expected at least one module name, found none".to_owned());
        }
        Ok(())
    }

    /// Examples an optimiser step sees.
    pub fn examples_per_step(&self) -> usize {
        self.batch_size * self.accumulation
    }

    /// The settings that a resumed run must share with the one it continues, by flag. What only decides when files are written, or what is
    /// kept in memory, is left out.
    pub fn binding(&self) -> BTreeMap<&'static str, Value> {
        let Self {
            epochs,
            max_steps,
            batch_size,
            accumulation,
            learning_rate,
            lora_plus_ratio,
            schedule,
            warmup_ratio,
            clip,
            weight_decay,
            seed,
            shuffle,
            loss,
            max_seq_length,
            truncate,
            dropout,
            neftune_alpha,
            share_prefixes,
            method,
            lora: LoraSettings { rank, alpha, rslora, dora, rank_pattern, alpha_pattern, target_modules, target_text, initial_adapter },
            precision,
            validation_split,
            load_best,
            early_stopping_patience,
            date,
            checkpointing: _,
            save_steps: _,
            save_total_limit: _,
        } = self;
        BTreeMap::from([
            ("--epochs", json!(epochs)),
            ("--max-steps", json!(max_steps)),
            ("--batch-size", json!(batch_size)),
            ("--accumulation", json!(accumulation)),
            ("--learning-rate", json!(learning_rate)),
            ("--lora-plus-ratio", json!(lora_plus_ratio)),
            ("--schedule", json!(schedule)),
            ("--warmup-ratio", json!(warmup_ratio)),
            ("--clip", json!(clip)),
            ("--weight-decay", json!(weight_decay)),
            ("--seed", json!(seed)),
            ("shuffling (--no-shuffle)", json!(shuffle)),
            ("--loss", json!(loss)),
            ("--max-seq-length", json!(max_seq_length)),
            ("--truncate", json!(truncate)),
            ("--dropout", json!(dropout)),
            ("--neftune-alpha", json!(neftune_alpha)),
            ("sharing of prefixes (--no-shared-prefix)", json!(share_prefixes)),
            ("--method", json!(method)),
            ("--lora-rank", json!(rank)),
            ("--lora-alpha", json!(alpha)),
            ("--use-rslora", json!(rslora)),
            ("--use-dora", json!(dora)),
            ("--rank-pattern", json!(rank_pattern)),
            ("--alpha-pattern", json!(alpha_pattern)),
            ("--target-modules", target_text.as_ref().map_or_else(|| json!(target_modules), |text| json!(text))),
            ("the initial adapter (--init-adapter)", json!(initial_adapter)),
            ("--precision", json!(precision)),
            ("--validation-split", json!(validation_split)),
            ("--load-best", json!(load_best)),
            ("--early-stopping-patience", json!(early_stopping_patience)),
            ("--date", json!(date)),
        ])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> TrainConfig {
        TrainConfig {
            epochs: 3,
            max_steps: None,
            batch_size: 4,
            accumulation: 4,
            learning_rate: 2e-4,
            lora_plus_ratio: None,
            schedule: ScheduleKind::Cosine,
            warmup_ratio: 0.03,
            clip: 0.3,
            weight_decay: 0.0,
            seed: 42,
            shuffle: true,
            loss: LossTokens::Assistant,
            max_seq_length: 512,
            truncate: false,
            dropout: 0.0,
            neftune_alpha: None,
            share_prefixes: true,
            method: Method::Lora,
            lora: LoraSettings {
                rank: 16,
                alpha: 32.0,
                rslora: false,
                dora: false,
                rank_pattern: Vec::new(),
                alpha_pattern: Vec::new(),
                target_modules: vec!["q_proj".to_owned(), "v_proj".to_owned()],
                target_text: None,
                initial_adapter: None,
            },
            precision: "f32".to_owned(),
            validation_split: None,
            load_best: false,
            early_stopping_patience: None,
            date: None,
            checkpointing: CheckpointingChoice::Auto,
            save_steps: None,
            save_total_limit: 2,
        }
    }

    /// A flag, and how its setting is spoilt.
    type Spoilt = (&'static str, fn(&mut TrainConfig));

    #[test]
    fn refuses_what_is_out_of_range_and_names_the_flag() {
        assert!(example().validate().is_ok());
        let cases: [Spoilt; 9] = [
            ("--epochs", |c| c.epochs = 0),
            ("--batch-size", |c| c.batch_size = 0),
            ("--batch-size x --accumulation", |c| c.batch_size = usize::MAX),
            ("--learning-rate", |c| c.learning_rate = f64::NAN),
            ("--dropout", |c| c.dropout = 1.0),
            ("--max-seq-length", |c| c.max_seq_length = 1),
            ("--lora-plus-ratio", |c| c.lora_plus_ratio = Some(-1.0)),
            ("--neftune-alpha", |c| c.neftune_alpha = Some(0.0)),
            ("--target-modules", |c| c.lora.target_modules.clear()),
        ];
        for (flag, spoil) in cases {
            let mut config = example();
            spoil(&mut config);
            let message = config.validate().expect_err(flag).to_string();
            assert!(message.starts_with(flag), "{message}");
        }
    }

    #[test]
    fn survives_json_to_the_bit() {
        let lora = LoraSettings {
            dora: true,
            rank_pattern: vec![("q_proj".to_owned(), 3)],
            alpha_pattern: vec![("v_proj".to_owned(), 0.1 + 0.2)],
            target_text: Some(".*_proj".to_owned()),
            ..example().lora
        };
        let config = TrainConfig {
            learning_rate: 0.1 + 0.2,
            dropout: 0.1,
            lora_plus_ratio: Some(16.0),
            neftune_alpha: Some(5.0),
            lora,
            ..example()
        };
        let text = serde_json::to_string(&config).expect("serialises");
        assert_eq!(serde_json::from_str::<TrainConfig>(&text).expect("reads back"), config);
    }
}
