//! How an optimiser step is divided into micro-batches: as typed, as the run that is resumed has it, or as the registry advises for the memory
//! there is. The advice never changes how many examples a step has, so that the same command learns the same on every machine.

use dyag_hub::{Advice, batch_advice};
use dyag_train::checkpoint::Checkpoint;
use dyag_train::memory;

use crate::model_files::ModelFiles;

/// The original program's defaults: a step of 16 examples.
const DEFAULT_BATCH_SIZE: usize = 4;
const DEFAULT_ACCUMULATION: usize = 4;

/// A division, and why, where there is something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) size: usize,
    pub(super) accumulation: usize,
    pub(super) why: Option<String>,
}

/// Decides. `size` and `accumulation` are what was typed.
pub(super) fn choose(
    size: Option<usize>,
    accumulation: Option<usize>,
    checkpoint: Option<&Checkpoint>,
    files: &ModelFiles,
    memory_limit: Option<u64>,
) -> Batch {
    if let Some(config) = checkpoint.map(|checkpoint| &checkpoint.manifest.config) {
        let (size, accumulation) = (size.unwrap_or(config.batch_size), accumulation.unwrap_or(config.accumulation));
        return Batch { size, accumulation, why: None };
    }
    match (size, files.advice()) {
        (None, Some((key, advice))) => {
            let available = memory_limit.or_else(|| memory::available().map(|available| available.bytes)).unwrap_or(u64::MAX);
            advised(key, advice, accumulation.unwrap_or(DEFAULT_ACCUMULATION), available)
        }
        _ => Batch { size: size.unwrap_or(DEFAULT_BATCH_SIZE), accumulation: accumulation.unwrap_or(DEFAULT_ACCUMULATION), why: None },
    }
}

/// The largest micro-batch up to what is advised that divides a step of so many examples as without advice.
fn advised(key: &str, advice: &Advice, accumulation: usize, available: u64) -> Batch {
    let step = DEFAULT_BATCH_SIZE.saturating_mul(accumulation);
    let dyag_hub::BatchAdvice { batch_size, why } = batch_advice(advice, available);
    let size = (1..=batch_size.min(step.max(1))).rev().find(|size| step.is_multiple_of(*size)).unwrap_or(1);
    let accumulation = step / size;
    let why = format!(
        "{size} x {accumulation} examples a step: the registry advises {batch_size} for {key} ({why}); a step has {step} on every machine \
         (--batch-size and --accumulation change that)"
    );
    Batch { size, accumulation, why: Some(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_divides_a_step_and_does_not_change_it() {
        let advice = Advice { memory_min_gb: 3.0, memory_recommended_gb: 6.0, batch_size: 4, lora_rank: 16, cpu: true };
        for (gigabytes, accumulation, expected) in [
            (1, 4, (1, 16)),
            (4, 4, (2, 8)),
            (5, 4, (2, 8)),
            (6, 4, (4, 4)),
            (9, 4, (8, 2)),
            (9, 1, (4, 1)),
            (9, 3, (6, 2)),
            (5, 3, (3, 4)),
        ] {
            let batch = advised("a", &advice, accumulation, gigabytes * 1_000_000_000);
            assert_eq!((batch.size, batch.accumulation), expected, "{gigabytes} GB: {batch:?}");
            assert_eq!(batch.size * batch.accumulation, 4 * accumulation);
        }
        // A wrong flag is refused later, by name.
        assert_eq!(advised("a", &advice, 0, 1).accumulation, 0);
    }
}
