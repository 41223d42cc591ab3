//! `log.jsonl`: one line for each optimiser step.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dyag_model::files::write_bytes_atomically;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// What the validation set came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Mean negative log-likelihood of its learned tokens, in nats.
    pub loss: f64,
    /// Share of its learned tokens that are the likeliest.
    pub token_accuracy: f64,
    /// Its learned tokens.
    pub n_tokens: u64,
}

/// What a step measured of itself; the only part of the log that two equal runs differ in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepTiming {
    /// Tokens of the data set a second, in this step.
    pub tokens_per_s: f64,
    /// Tokens that went through the decoder a second (fewer when beginnings are shared).
    pub computed_tokens_per_s: f64,
    /// Seconds of training so far, over all resumed parts.
    pub elapsed_s: f64,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimiser steps done, from 1.
    pub step: u64,
    /// Passes over the data done, as a fraction.
    pub epoch: f64,
    /// Mean negative log-likelihood of the step's learned tokens before its update, in nats.
    pub loss: f64,
    /// Share of the step's learned tokens that were the likeliest.
    pub token_accuracy: f64,
    /// Learning rate of its update.
    pub learning_rate: f64,
    /// Global norm of its mean gradient, before clipping.
    pub grad_norm: f64,
    /// Learned tokens.
    pub n_tokens: u64,
    /// All tokens of its examples.
    pub n_sequence_tokens: u64,
    /// Tokens that went through the decoder.
    pub n_computed_tokens: u64,
    /// The validation that followed it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationRecord>,
    /// How long it took.
    pub timing: StepTiming,
}

/// The log, open at its end.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: File,
}

impl RunLog {
    /// Starts an empty log; `path` must not exist.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(TrainError::io("create", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Cuts the log back to the lines of steps up to `step` and opens it at its end. Gives the records that remain.
    ///
    /// A line that was being written when the run was killed is dropped with everything after it.
    pub fn resume(path: &Path, step: u64) -> Result<(Self, Vec<StepRecord>), TrainError> {
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TrainError::Io { action: "read", path: path.to_owned(), source }),
        };
        let mut records = Vec::new();
        let mut kept = 0;
        for line in content.split_inclusive(|b| *b == b'\n').take_while(|l| l.ends_with(b"\n")) {
            match serde_json::from_slice::<StepRecord>(line) {
                Ok(record) if record.step <= step => records.push(record),
                _ => break,
            }
            kept += line.len();
        }
        if kept < content.len() || content.is_empty() {
            write_bytes_atomically(path, &content[..kept])?;
        }
        let file = OpenOptions::new().append(true).open(path).map_err(TrainError::io("open", path))?;
        Ok((Self { path: path.to_owned(), file }, records))
    }

    /// Adds a line.
    pub fn append(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let mut line =
            serde_json::to_vec(record).map_err(|source| TrainError::Json { path: self.path.clone(), kind: "log line", source })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(TrainError::io("write to", &self.path))
    }

    /// Brings all lines to the disk, before a checkpoint relies on them.
    pub fn sync(&self) -> Result<(), TrainError> {
        self.file.sync_all().map_err(TrainError::io("bring to the disk", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64) -> StepRecord {
        StepRecord {
            step,
            epoch: step as f64 / 7.0,
            loss: 1.0 / step as f64,
            token_accuracy: 0.1,
            learning_rate: 2e-4,
            grad_norm: 0.7,
            n_tokens: 10,
            n_sequence_tokens: 20,
            n_computed_tokens: 15,
            validation: step.is_multiple_of(2).then_some(ValidationRecord { loss: 0.3, token_accuracy: 0.9, n_tokens: 5 }),
            timing: StepTiming::default(),
        }
    }

    #[test]
    fn is_cut_back_to_the_resumed_step() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log.jsonl");
        let mut log = RunLog::create(&path).expect("created");
        for step in 1..=5 {
            log.append(&record(step)).expect("written");
        }
        drop(log);
        let whole = std::fs::read(&path).expect("there");
        // The last line is torn, as by a kill.
        std::fs::write(&path, &whole[..whole.len() - 9]).expect("written");
        let (mut log, records) = RunLog::resume(&path, 3).expect("resumed");
        assert_eq!(records, [record(1), record(2), record(3)]);
        log.append(&record(4)).expect("written");
        log.append(&record(5)).expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), whole);
    }

    #[test]
    fn a_torn_line_is_dropped() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log.jsonl");
        let mut line = serde_json::to_vec(&record(1)).expect("serialises");
        line.extend_from_slice(b"\n{\"step\":2,");
        std::fs::write(&path, &line).expect("written");
        assert_eq!(RunLog::resume(&path, 9).expect("resumed").1, [record(1)]);
        assert!(RunLog::create(&path).is_err());
    }
}
