//! `dyag.json`: what an adapter was made from, and with which bases it may be used.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::TrainConfig;
use crate::error::TrainError;

/// Name of the manifest in an adapter's folder.
pub const MANIFEST_FILE: &str = "dyag.json";
const FORMAT: u32 = 1;

/// What identifies a base model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseModel {
    /// The file or folder it was loaded from.
    pub path: String,
    /// Family, such as `qwen2`.
    pub family: String,
    /// Sizes that an adapter depends on, by name, in a fixed order: `layers=24 hidden=896 ...`.
    pub shape: String,
    /// Hash of its weights as they lie.
    pub fingerprint: String,
    /// Hash of its vocabulary and splitting rules.
    pub vocabulary_hash: String,
    /// Hash of its chat template.
    pub template_hash: String,
    /// What its matrices were quantised to when it was loaded, such as `nf4`; none: they are used as they lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// Where it is on the model hub, when it came from there: so that another machine finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubModel>,
}

/// A model on the hub, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubModel {
    /// `organisation/name`.
    pub name: String,
    /// The commit.
    pub revision: String,
    /// The GGUF file of it, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl std::fmt::Display for HubModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.revision)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, ":{file}"))
    }
}

/// A training set as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// File name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Conversations trained on.
    pub n_conversations: u64,
    /// Their tokens.
    pub n_tokens: u64,
    /// Their learned tokens.
    pub n_trained_tokens: u64,
    /// File that the validation set was read from, when it has its own.
    pub validation_name: Option<String>,
    /// Its SHA-256.
    pub validation_sha256: Option<String>,
    /// Conversations validated on.
    pub n_validation_conversations: u64,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Optimiser steps done.
    pub steps: u64,
    /// Passes over the data done, as a fraction.
    pub epochs: f64,
    /// Mean loss over the learned tokens of all steps, in nats.
    pub train_loss: f64,
    /// Share of them that were the likeliest token.
    pub train_token_accuracy: f64,
    /// The same over the last epoch.
    pub last_epoch_loss: f64,
    /// The same over the last epoch.
    pub last_epoch_token_accuracy: f64,
    /// Loss on the validation set after the last epoch.
    pub validation_loss: Option<f64>,
    /// Token accuracy on it.
    pub validation_token_accuracy: Option<f64>,
    /// Step of the lowest validation loss.
    pub best_step: Option<u64>,
    /// That loss.
    pub best_validation_loss: Option<f64>,
    /// Step whose adapter this is.
    pub adapter_step: u64,
    /// The run ended early for want of improvement.
    pub stopped_early: bool,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Version of dyag that wrote it.
    pub dyag_version: String,
    /// The base model.
    pub base_model: BaseModel,
    /// The system message that all training conversations opened with.
    pub system_message: Option<String>,
    /// The date that the template was told, when it reads the clock.
    pub date: Option<String>,
    /// The data.
    pub dataset: DatasetFacts,
    /// The settings.
    pub config: TrainConfig,
    /// Kernels that computed it.
    pub kernel: String,
    /// What it came to.
    pub metrics: Metrics,
    /// When and how fast; the only part that two equal runs differ in.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub timing: Map<String, Value>,
}

/// How a base model relates to the one an adapter was trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseMatch {
    /// The same weights.
    Same,
    /// The same files, quantised to something else when they were loaded.
    OtherQuantization {
        /// In the manifest.
        expected: Option<String>,
        /// Of the base given.
        found: Option<String>,
    },
    /// The same shape, vocabulary and template, other weights: another quantisation, or another model of the family.
    OtherWeights {
        /// Fingerprint in the manifest.
        expected: String,
        /// Fingerprint of the base given.
        found: String,
    },
}

impl Manifest {
    /// A manifest of this version without timing.
    pub fn new(
        base_model: BaseModel,
        conversation: ConversationFacts,
        dataset: DatasetFacts,
        config: TrainConfig,
        kernel: String,
        metrics: Metrics,
    ) -> Self {
        let ConversationFacts { system_message, date } = conversation;
        let dyag_version = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, dyag_version, base_model, system_message, date, dataset, config, kernel, metrics, timing: Map::new() }
    }

    /// Reads the manifest of an adapter's folder.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let path = folder.join(MANIFEST_FILE);
        let text = std::fs::read(&path).map_err(TrainError::io("read", &path))?;
        let not_one = |source| TrainError::Json { path: path.clone(), kind: "manifest of a dyag adapter", source };
        let Version { format } = serde_json::from_slice(&text).map_err(not_one)?;
        if format > FORMAT {
            return Err(TrainError::Format { path, found: format, supported: FORMAT });
        }
        serde_json::from_slice(&text).map_err(not_one)
    }

    /// Whether the adapter in `folder` may be used on `base`: its family, shape, vocabulary and template must be those it was trained on.
    pub fn check_base(&self, folder: &Path, base: &BaseModel) -> Result<BaseMatch, TrainError> {
        let BaseModel { path: _, family, shape, fingerprint, vocabulary_hash, template_hash, quantization, hub: _ } = &self.base_model;
        let pairs = [
            ("family", family, &base.family),
            ("shape", shape, &base.shape),
            ("vocabulary (hash)", vocabulary_hash, &base.vocabulary_hash),
            ("chat template (hash)", template_hash, &base.template_hash),
        ];
        for (what, expected, found) in pairs {
            if expected != found {
                return Err(TrainError::OtherBase {
                    manifest: folder.join(MANIFEST_FILE),
                    what,
                    expected: expected.clone(),
                    base: base.path.clone(),
                    found: found.clone(),
                });
            }
        }
        if *fingerprint != base.fingerprint {
            return Ok(BaseMatch::OtherWeights { expected: fingerprint.clone(), found: base.fingerprint.clone() });
        }
        if *quantization != base.quantization {
            return Ok(BaseMatch::OtherQuantization { expected: quantization.clone(), found: base.quantization.clone() });
        }
        Ok(BaseMatch::Same)
    }
}

/// What the training conversations have in common, for whoever asks the model later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationFacts {
    /// The system message that all of them open with.
    pub system_message: Option<String>,
    /// The date that the template was told, when it reads the clock.
    pub date: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::example;

    fn base() -> BaseModel {
        BaseModel {
            path: "model.gguf".to_owned(),
            family: "qwen2".to_owned(),
            shape: "layers=2".to_owned(),
            fingerprint: "f".to_owned(),
            vocabulary_hash: "v".to_owned(),
            template_hash: "t".to_owned(),
            quantization: None,
            hub: None,
        }
    }

    fn manifest() -> Manifest {
        let dataset = DatasetFacts {
            name: "train.jsonl".to_owned(),
            sha256: "d".to_owned(),
            n_conversations: 1,
            n_tokens: 2,
            n_trained_tokens: 1,
            validation_name: None,
            validation_sha256: None,
            n_validation_conversations: 0,
        };
        let metrics = Metrics { train_loss: 0.1 + 0.2, ..Metrics::default() };
        Manifest::new(base(), ConversationFacts::default(), dataset, example(), "cpu".to_owned(), metrics)
    }

    #[test]
    fn reads_back_what_was_written() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let text = serde_json::to_string_pretty(&manifest()).expect("serialises");
        std::fs::write(folder.path().join(MANIFEST_FILE), text).expect("written");
        assert_eq!(Manifest::load(folder.path()).expect("reads"), manifest());
    }

    #[test]
    fn where_the_base_is_on_the_hub_is_kept_and_may_be_missing() {
        let hub = HubModel { name: "a/b".to_owned(), revision: "0".repeat(40), file: Some("c.gguf".to_owned()) };
        assert_eq!(hub.to_string(), format!("a/b@{}:c.gguf", "0".repeat(40)));
        let with = BaseModel { hub: Some(hub), ..base() };
        let text = serde_json::to_string(&with).expect("serialises");
        assert_eq!(serde_json::from_str::<BaseModel>(&text).expect("reads"), with);
        // As earlier versions wrote it.
        let without = serde_json::to_string(&base()).expect("serialises");
        assert!(!without.contains("hub"), "{without}");
        assert_eq!(serde_json::from_str::<BaseModel>(&without).expect("reads"), base());
    }

    #[test]
    fn a_later_format_and_a_broken_file_are_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (text, expected) in
            [("{\"format\": 7}", "format 7"), ("{", "not a valid manifest"), ("{\"format\": 1}", "not a valid manifest")]
        {
            std::fs::write(folder.path().join(MANIFEST_FILE), text).expect("written");
            let message = Manifest::load(folder.path()).expect_err("refused").to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn other_bases_are_refused_with_both_values() {
        let manifest = manifest();
        assert_eq!(manifest.check_base(Path::new("a"), &base()).expect("the same"), BaseMatch::Same);
        let other = BaseModel { fingerprint: "g".to_owned(), ..base() };
        assert!(matches!(manifest.check_base(Path::new("a"), &other).expect("allowed"), BaseMatch::OtherWeights { .. }));
        let other = BaseModel { quantization: Some("nf4".to_owned()), ..base() };
        let expected = BaseMatch::OtherQuantization { expected: None, found: Some("nf4".to_owned()) };
        assert_eq!(manifest.check_base(Path::new("a"), &other).expect("allowed"), expected);
        let spoil: [fn(&mut BaseModel) -> &mut String; 4] =
            [|b| &mut b.family, |b| &mut b.shape, |b| &mut b.vocabulary_hash, |b| &mut b.template_hash];
        for field in spoil {
            let mut other = base();
            let expected = field(&mut other).clone();
            *field(&mut other) = "something-else".to_owned();
            let message = manifest.check_base(Path::new("a"), &other).expect_err("refused").to_string();
            assert!(message.contains(&expected) && message.contains("something-else"), "{message}");
        }
    }
}
