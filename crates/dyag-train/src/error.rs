//! Everything that can stop a training run, said so that its reader knows what to do.

use std::path::{Path, PathBuf};

/// Why a training run could not start, go on or be resumed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A setting outside its range, or two that contradict each other.
    #[error("{setting}: {problem}")]
    Setting {
        /// The flag, such as `--clip`.
        setting: &'static str,
        /// What was expected and found.
        problem: String,
    },

    /// Training data that nothing can be learned from.
    #[error("{0}")]
    Data(String),

    /// Another process is training into the output folder.
    #[error("{path} is in use: another run is writing to it; wait for its end, or choose another --output")]
    OutputInUse {
        /// The output folder.
        path: PathBuf,
    },

    /// The output folder is taken.
    #[error("{path} already holds a training run ({found}): continue it with --resume, or choose another --output")]
    OutputTaken {
        /// The output folder.
        path: PathBuf,
        /// What was found in it.
        found: String,
    },

    /// `--resume` without anything to resume.
    #[error(
        "nothing to resume: {path} holds no complete checkpoint (expected a folder named checkpoint-STEP); start again without --resume"
    )]
    NothingToResume {
        /// The output folder.
        path: PathBuf,
    },

    /// A checkpoint whose files are not what was written.
    #[error("checkpoint {checkpoint} is damaged: {file}: {problem}; {}", advice(.older.as_deref()))]
    DamagedCheckpoint {
        /// The checkpoint folder.
        checkpoint: PathBuf,
        /// The file inside it.
        file: String,
        /// Expected and found.
        problem: String,
        /// The newest older checkpoint that is whole.
        older: Option<PathBuf>,
    },

    /// The run to resume was made from something else.
    #[error(
        "cannot resume from {checkpoint}: {what} was {then}, and is now {now}; give the same as then, or start a new run in another --output"
    )]
    ResumeMismatch {
        /// The checkpoint folder.
        checkpoint: PathBuf,
        /// What differs.
        what: String,
        /// Its value in the checkpoint.
        then: String,
        /// Its value now.
        now: String,
    },

    /// An adapter and a base model that do not belong together.
    #[error(
        "{manifest}: this adapter was trained on a base whose {what} is {expected}, but {base} has {found}; use the base model it was trained on"
    )]
    OtherBase {
        /// The adapter's manifest.
        manifest: PathBuf,
        /// What differs, such as `chat template (hash)`.
        what: &'static str,
        /// Value in the manifest.
        expected: String,
        /// The base model given.
        base: String,
        /// Its value.
        found: String,
    },

    /// A JSON file of ours that cannot be read as such.
    #[error("{path}: not a valid {kind}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What it should be, such as `manifest`.
        kind: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },

    /// A file written by a later version.
    #[error("{path}: format {found}, but this version of dyag reads up to {supported}; use a newer dyag")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format number.
        found: u32,
        /// The newest number known here.
        supported: u32,
    },

    /// The plan does not fit in memory.
    #[error("training does not fit in memory: it needs at least {}, and {} are available ({source_of_limit}).\n{breakdown}\nReduce {advice}, or free memory; --memory-limit overrides what was found", gigabytes(*.needed), gigabytes(*.available))]
    Memory {
        /// Bytes of the smallest plan.
        needed: u64,
        /// Bytes that may be used.
        available: u64,
        /// Where the limit was read.
        source_of_limit: String,
        /// The parts of `needed`, a line each.
        breakdown: String,
        /// The flags that help most, first first.
        advice: String,
    },

    /// The loss or a gradient is no number any more.
    #[error(
        "step {step}: the {what} is {value} (learning rate {learning_rate:e}). Training diverged or the model's weights overflow: lower --learning-rate, \
         keep --clip, or use --precision f32; a checkpoint written before is intact, and --resume starts from it"
    )]
    NotFinite {
        /// Optimiser step, from 1.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// The value.
        value: f64,
        /// Learning rate of the step.
        learning_rate: f64,
    },

    /// A file of tensors could not be read.
    #[error(transparent)]
    Model {
        /// Why.
        #[from]
        source: Box<dyag_model::error::ModelError>,
    },

    /// An adapter could not be read, made or written.
    #[error(transparent)]
    Adapter {
        /// Why.
        #[from]
        source: Box<dyag_model::adapter::AdapterError>,
    },

    /// A file could not be written; it has its old content or none.
    #[error(transparent)]
    Write(#[from] dyag_model::files::WriteError),
}

impl TrainError {
    /// For `map_err`: adds what was tried and on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn advice(older: Option<&Path>) -> String {
    match older {
        Some(older) => format!("resume from the older one with --resume-from {}", older.display()),
        None => "there is no older whole checkpoint, so start again in another --output".to_owned(),
    }
}

/// `1.25 GB`, in powers of ten.
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
