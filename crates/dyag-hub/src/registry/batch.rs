//! How many examples a micro-batch should have with so much memory: the original program's rule.

use super::Advice;

const GIGABYTE: f64 = 1e9;

/// A batch size, and why it is that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAdvice {
    /// Examples of a micro-batch.
    pub batch_size: usize,
    /// Why, in a few words.
    pub why: String,
}

/// The batch size for a model with so many bytes of memory: 1 below its minimum; from there to what is recommended, the row's in proportion to
/// the recommended memory (rounded down, 1 at least); then the row's; and twice the row's from one and a half times the recommended memory.
pub fn batch_advice(advice: &Advice, available_bytes: u64) -> BatchAdvice {
    let Advice { memory_min_gb, memory_recommended_gb, batch_size, .. } = *advice;
    let memory = available_bytes as f64 / GIGABYTE;
    let (batch_size, relation) = if memory < memory_min_gb {
        (1, format!("below the minimum of {memory_min_gb} GB"))
    } else if memory < memory_recommended_gb {
        let share = (batch_size as f64 * memory / memory_recommended_gb).floor() as usize;
        (share.max(1), format!("between the minimum of {memory_min_gb} GB and the recommended {memory_recommended_gb} GB"))
    } else if memory < 1.5 * memory_recommended_gb {
        (batch_size, format!("at least the recommended {memory_recommended_gb} GB"))
    } else {
        (2 * batch_size, format!("at least one and a half times the recommended {memory_recommended_gb} GB"))
    };
    let there_is = if available_bytes == u64::MAX {
        "how much memory there is is not known, taken for".to_owned()
    } else {
        format!("{memory:.1} GB of memory,")
    };
    BatchAdvice { batch_size, why: format!("{there_is} {relation}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_of_the_original() {
        let row = |batch_size| Advice { memory_min_gb: 3.0, memory_recommended_gb: 6.0, batch_size, lora_rank: 16, cpu: true };
        for (gigabytes, expected) in
            [(0.0, 1), (2.99, 1), (3.0, 2), (4.4, 2), (4.5, 3), (5.99, 3), (6.0, 4), (8.99, 4), (9.0, 8), (1000.0, 8)]
        {
            let found = batch_advice(&row(4), (gigabytes * 1e9) as u64);
            assert_eq!(found.batch_size, expected, "{gigabytes} GB: {}", found.why);
        }
        assert_eq!(batch_advice(&row(1), 4_000_000_000).batch_size, 1);
        let found = batch_advice(&row(4), 4_500_000_000);
        assert_eq!(found.why, "4.5 GB of memory, between the minimum of 3 GB and the recommended 6 GB");
    }
}
