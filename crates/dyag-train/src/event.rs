//! What a run tells whoever watches it.

use std::path::Path;

use crate::log::StepRecord;

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The run is about to make its first step.
    Begin {
        /// Steps that were done before.
        step: u64,
        /// Steps in all.
        total_steps: u64,
        /// The checkpoint it goes on from.
        resumed_from: Option<&'a Path>,
    },
    /// A step was made and logged.
    Step {
        /// Its line of the log.
        record: &'a StepRecord,
        /// Steps in all.
        total_steps: u64,
    },
    /// The validation set is being measured.
    Validating {
        /// Steps done.
        step: u64,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Its folder.
        folder: &'a Path,
    },
    /// Something worth knowing that is no error.
    Note(String),
}
