//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! `OUT/checkpoint-STEP/` holds the adapter as PEFT loads it, the tokenizer's files, the manifest, the optimiser's moments, `trainer_state.json` and
//! the SHA-256 of all of them.

use std::path::{Path, PathBuf};

use dyag_kernels::device::LossSum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::folder;
use crate::log::ValidationRecord;
use crate::manifest::{BaseModel, DatasetFacts, MANIFEST_FILE, Manifest};

/// Name of the trainer's own file in a checkpoint.
pub const STATE_FILE: &str = "trainer_state.json";
const PREFIX: &str = "checkpoint-";
const SUPERSEDED: &str = "superseded-";
const FORMAT: u32 = 1;

/// Sums over learned tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of their losses, in nats.
    pub loss_sum_nats: f64,
    /// Their number.
    pub n_tokens: f64,
    /// How many were the likeliest.
    pub n_correct: f64,
}

impl Totals {
    /// Adds the sums of a step.
    pub fn add(&mut self, sum: LossSum) {
        let LossSum { loss_sum_nats, n_tokens, n_correct } = sum;
        self.loss_sum_nats += loss_sum_nats;
        self.n_tokens += n_tokens;
        self.n_correct += n_correct;
    }

    /// Mean loss; 0 of nothing.
    pub fn loss(&self) -> f64 {
        if self.n_tokens > 0.0 { self.loss_sum_nats / self.n_tokens } else { 0.0 }
    }

    /// Share of likeliest tokens; 0 of nothing.
    pub fn token_accuracy(&self) -> f64 {
        if self.n_tokens > 0.0 { self.n_correct / self.n_tokens } else { 0.0 }
    }
}

/// The validation with the lowest loss so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its step.
    pub step: u64,
    /// Its loss.
    pub loss: f64,
}

/// Where a run stands after some step. The order of examples and the dropout follow from the seed and these numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Version of this format.
    pub format: u32,
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Examples of the current epoch that were seen.
    pub position: usize,
    /// Over all steps.
    pub totals: Totals,
    /// Over the current epoch.
    pub epoch_totals: Totals,
    /// Over the last whole epoch.
    pub last_epoch_totals: Option<Totals>,
    /// The last validation.
    pub last_validation: Option<ValidationRecord>,
    /// The best one.
    pub best: Option<Best>,
    /// Validations since then.
    pub validations_without_improvement: u32,
    /// The run ended for want of improvement.
    pub stopped_early: bool,
    /// Most tokens of a pack: decides the order of sums, so a resumed run keeps it.
    pub max_pack_tokens: usize,
}

impl TrainerState {
    /// The state before the first step.
    pub fn start(max_pack_tokens: usize) -> Self {
        Self { format: FORMAT, max_pack_tokens, ..Self::default() }
    }
}

/// A checkpoint that was found whole.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its folder.
    pub folder: PathBuf,
    /// Where the run stood.
    pub state: TrainerState,
    /// What the run was made from.
    pub manifest: Manifest,
}

/// What to begin from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Nothing: the output folder must not hold a run.
    No,
    /// The newest checkpoint of the output folder.
    Newest,
    /// This checkpoint of it.
    From(PathBuf),
}

/// Looks at the output folder before anything is loaded, and opens the checkpoint to resume from. Writes nothing.
///
/// With [`Resume::Newest`] and a run that was stopped before its first checkpoint there is nothing to open, and it starts over.
pub fn open_output(output: &Path, resume: &Resume) -> Result<Option<Checkpoint>, TrainError> {
    let log = output.join(crate::run::LOG_FILE);
    match resume {
        Resume::No => {
            // A log without a line is what a run leaves that failed before its first step was done.
            let log = Some(log).filter(|log| std::fs::metadata(log).is_ok_and(|about| about.len() > 0));
            let found = log.or_else(|| Some(output.join(crate::run::FINAL_FOLDER)).filter(|path| path.exists()));
            match found.or_else(|| list(output).pop().map(|(_, folder)| folder)) {
                None => Ok(None),
                Some(found) => Err(TrainError::OutputTaken {
                    path: output.to_owned(),
                    found: found.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                }),
            }
        }
        Resume::Newest => match list(output).pop() {
            Some((_, folder)) => Checkpoint::open(&folder).map(Some),
            None if log.exists() => Ok(None),
            None => Err(TrainError::NothingToResume { path: output.to_owned() }),
        },
        Resume::From(folder) => {
            let canonical = |path: &Path| path.canonicalize().map_err(TrainError::io("find", path));
            let folder = canonical(folder)?;
            if folder.parent() != Some(&canonical(output)?) || step_of(&folder).is_none() {
                let problem = format!("expected a folder checkpoint-STEP of {}, found {}", output.display(), folder.display());
                return Err(TrainError::Setting { setting: "--resume-from", problem });
            }
            Checkpoint::open(&folder).map(Some)
        }
    }
}

impl Checkpoint {
    /// Verifies and reads a checkpoint.
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        folder::verify(folder).map_err(|folder::Damage { file, problem }| TrainError::DamagedCheckpoint {
            checkpoint: folder.to_owned(),
            file,
            problem,
            older: older_whole(folder),
        })?;
        let state: TrainerState = read_json(&folder.join(STATE_FILE), "trainer state")?;
        if state.format > FORMAT {
            return Err(TrainError::Format { path: folder.join(STATE_FILE), found: state.format, supported: FORMAT });
        }
        Ok(Self { folder: folder.to_owned(), state, manifest: Manifest::load(folder)? })
    }

    /// Refuses to go on with another base model, other data or other settings than the checkpoint's.
    pub fn check_same(&self, now: &Manifest) -> Result<(), TrainError> {
        let differs = |what: &str, then: &str, now: &str| {
            Err(TrainError::ResumeMismatch {
                checkpoint: self.folder.clone(),
                what: what.to_owned(),
                then: then.to_owned(),
                now: now.to_owned(),
            })
        };
        for ((what, then), (_, now)) in identities(&self.manifest).into_iter().zip(identities(now)) {
            if then != now {
                return differs(what, &then, &now);
            }
        }
        for ((what, then), (_, now)) in self.manifest.config.binding().into_iter().zip(now.config.binding()) {
            if then != now {
                return differs(what, &then.to_string(), &now.to_string());
            }
        }
        Ok(())
    }
}

/// What besides the settings decides a run's result.
fn identities(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let Manifest {
        format: _,
        dyag_version: _,
        base_model: BaseModel { path: _, family, shape, fingerprint, vocabulary_hash, template_hash, quantization, hub: _ },
        system_message: _,
        date,
        dataset:
            DatasetFacts {
                name: _,
                sha256,
                n_conversations,
                n_tokens,
                n_trained_tokens,
                validation_name: _,
                validation_sha256,
                n_validation_conversations,
            },
        config: _,
        kernel: _,
        metrics: _,
        timing: _,
    } = manifest;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    vec![
        ("the base model's family", family.clone()),
        ("the base model's shape", shape.clone()),
        ("the base model's fingerprint", fingerprint.clone()),
        ("the base model's vocabulary (hash)", vocabulary_hash.clone()),
        ("the base model's chat template (hash)", template_hash.clone()),
        ("the base model's quantisation (--quantize)", or_none(quantization)),
        ("the dataset (SHA-256)", sha256.clone()),
        ("the number of training conversations", n_conversations.to_string()),
        ("the number of training tokens", n_tokens.to_string()),
        ("the number of trained tokens", n_trained_tokens.to_string()),
        ("the validation file (SHA-256)", or_none(validation_sha256)),
        ("the number of validation conversations", n_validation_conversations.to_string()),
        ("the template's date (--date)", or_none(date)),
    ]
}

/// Folder of the checkpoint at `step`.
pub fn folder_of(output: &Path, step: u64) -> PathBuf {
    output.join(format!("{PREFIX}{step}"))
}

fn step_of(folder: &Path) -> Option<u64> {
    let digits = folder.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    digits.parse().ok().filter(|step: &u64| step.to_string() == digits)
}

/// Checkpoints of an output folder, oldest first. None when it cannot be read.
pub fn list(output: &Path) -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir(output).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries.filter(|path| path.is_dir()).filter_map(|path| Some((step_of(&path)?, path))).collect();
    found.sort();
    found
}

/// The newest whole checkpoint before `folder`.
fn older_whole(folder: &Path) -> Option<PathBuf> {
    let step = step_of(folder)?;
    let older = list(folder.parent()?).into_iter().rev().filter(|(s, _)| *s < step);
    older.map(|(_, path)| path).find(|path| folder::verify(path).is_ok())
}

/// Removes all but the newest `keep` checkpoints and the one at step `best`.
pub fn prune(output: &Path, keep: usize, best: Option<u64>) -> Result<(), TrainError> {
    let mut old = list(output);
    old.truncate(old.len().saturating_sub(keep));
    for (step, folder) in old {
        if Some(step) != best {
            folder::remove(&folder)?;
        }
    }
    Ok(())
}

/// Renames checkpoints later than `step`, so that a run resumed from it does not take them for its own. Gives their new names.
pub fn set_aside_later(output: &Path, step: u64) -> Result<Vec<PathBuf>, TrainError> {
    let mut renamed = Vec::new();
    for (later, folder) in list(output).into_iter().filter(|(s, _)| *s > step) {
        let target = output.join(format!("{SUPERSEDED}{PREFIX}{later}"));
        if target.exists() {
            folder::remove(&target)?;
        }
        std::fs::rename(&folder, &target).map_err(TrainError::io("rename", &folder))?;
        renamed.push(target);
    }
    Ok(renamed)
}

fn read_json<T: DeserializeOwned>(path: &Path, kind: &'static str) -> Result<T, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    serde_json::from_slice(&text).map_err(|source| TrainError::Json { path: path.to_owned(), kind, source })
}

/// Names that a companion file must not have.
pub(crate) const OWN_FILES: [&str; 7] = [
    MANIFEST_FILE,
    STATE_FILE,
    folder::SUMS_FILE,
    crate::optimizer::OPTIMIZER_FILE,
    crate::tensors::MODEL_FILE,
    dyag_model::adapter::CONFIG_FILE,
    dyag_model::adapter::WEIGHTS_FILE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(output: &Path) -> Vec<u64> {
        list(output).into_iter().map(|(step, _)| step).collect()
    }

    fn with_checkpoints(steps: &[u64]) -> tempfile::TempDir {
        let output = tempfile::tempdir().expect("temporary folder");
        for step in steps {
            std::fs::create_dir(folder_of(output.path(), *step)).expect("created");
        }
        output
    }

    #[test]
    fn only_whole_names_are_checkpoints() {
        let output = with_checkpoints(&[10, 9, 100]);
        for other in ["checkpoint-07", "checkpoint-x", "checkpoint-", "checkpoint-1.partial", "superseded-checkpoint-3"] {
            std::fs::create_dir(output.path().join(other)).expect("created");
        }
        std::fs::write(output.path().join("checkpoint-5"), "a file").expect("written");
        assert_eq!(names(output.path()), [9, 10, 100]);
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let output = with_checkpoints(&[1, 2, 3, 4, 5]);
        prune(output.path(), 2, Some(2)).expect("pruned");
        assert_eq!(names(output.path()), [2, 4, 5]);
        prune(output.path(), 9, None).expect("pruned");
        assert_eq!(names(output.path()), [2, 4, 5]);
        prune(output.path(), 1, Some(5)).expect("pruned");
        assert_eq!(names(output.path()), [5]);
    }

    #[test]
    fn later_ones_are_set_aside() {
        let output = with_checkpoints(&[1, 2, 3]);
        assert_eq!(set_aside_later(output.path(), 1).expect("renamed").len(), 2);
        assert_eq!(names(output.path()), [1]);
        std::fs::create_dir(folder_of(output.path(), 2)).expect("created");
        set_aside_later(output.path(), 1).expect("renamed over the old one");
        assert_eq!(names(output.path()), [1]);
    }

    #[test]
    fn an_output_that_holds_a_run_is_refused_and_an_empty_one_is_not_resumed() {
        let output = tempfile::tempdir().expect("temporary folder");
        let absent = output.path().join("absent");
        for folder in [output.path(), &absent] {
            assert!(open_output(folder, &Resume::No).expect("free").is_none());
            let message = open_output(folder, &Resume::Newest).expect_err("nothing there").to_string();
            assert!(message.contains("nothing to resume"), "{message}");
        }
        std::fs::write(output.path().join("log.jsonl"), "").expect("written");
        assert!(open_output(output.path(), &Resume::No).expect("no step was done").is_none());
        std::fs::write(output.path().join("log.jsonl"), "{}\n").expect("written");
        let message = open_output(output.path(), &Resume::No).expect_err("taken").to_string();
        assert!(message.contains("log.jsonl") && message.contains("--resume"), "{message}");
        assert!(open_output(output.path(), &Resume::Newest).expect("starts over").is_none());
        assert!(open_output(output.path(), &Resume::From(output.path().to_owned())).is_err());
    }
}
