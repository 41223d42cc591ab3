//! What answers take: time, tokens, memory, and the training that came before.

use serde::Serialize;

use super::{Contestant, Pair, Verdict};
use crate::results::Results;
use crate::statistics::percentile;

/// What one way of answering took, over its whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Mean time of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_seconds: Option<f64>,
    /// The time that half of the answers stay below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_seconds: Option<f64>,
    /// The time that 95 % of the answers stay below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_seconds: Option<f64>,
    /// Mean number of tokens, of prompt and answer where both were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_tokens: Option<f64>,
    /// Mean number of tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_tokens_in: Option<f64>,
    /// Mean number of tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_tokens_out: Option<f64>,
    /// The most memory in use at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// How long the model was trained before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_seconds: Option<f64>,
}

impl Cost {
    /// From the rows, and from figures over the set where there are no rows.
    pub(super) fn of(results: &Results) -> Self {
        let rows = &results.results;
        let mut times: Vec<f64> = rows.iter().filter_map(|row| row.time_seconds).collect();
        times.sort_by(f64::total_cmp);
        let time_at = |share: f64| (!times.is_empty()).then(|| percentile(&times, share));
        let count =
            |tokens: &dyn Fn(&crate::results::Row) -> Option<u64>| mean(rows.iter().filter_map(|row| tokens(row).map(|n| n as f64)));
        let figure = |name: &str| results.metrics.values.get(name).copied();
        Self {
            mean_seconds: mean(times.iter().copied()).or_else(|| figure("avg_time_seconds")),
            median_seconds: time_at(0.5),
            p95_seconds: time_at(0.95),
            mean_tokens: count(&|row| row.total_tokens()).or_else(|| figure("avg_tokens")),
            mean_tokens_in: count(&|row| row.tokens_in),
            mean_tokens_out: count(&|row| row.tokens_out),
            peak_memory_bytes: results.metadata.peak_memory_bytes,
            training_seconds: results.metadata.training_seconds,
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// After how many questions the time of training has been saved by faster answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Payback {
    /// The one that was trained.
    pub arm: String,
    /// How long.
    pub training_seconds: f64,
    /// How much faster it answers one question than the other.
    pub saved_seconds_per_question: f64,
    /// The number of questions.
    pub n_questions: f64,
}

/// The payback of the one of two that was trained longer, when it is shown to be faster.
pub(super) fn payback(pair: &Pair, contestants: &[Contestant]) -> Option<Payback> {
    let trained = |name: &str| {
        let contestant = contestants.iter().find(|contestant| contestant.name == name);
        contestant.and_then(|contestant| contestant.results.metadata.training_seconds).unwrap_or(0.0)
    };
    let extra = trained(&pair.second) - trained(&pair.first);
    let time = pair.cost.iter().find(|metric| metric.metric == "time_seconds")?;
    let (arm, training_seconds, wanted) =
        if extra > 0.0 { (&pair.second, extra, Verdict::Second) } else { (&pair.first, -extra, Verdict::First) };
    let saved_seconds_per_question = time.difference.mean.abs();
    (training_seconds > 0.0 && time.verdict == wanted && saved_seconds_per_question > 0.0).then(|| Payback {
        arm: arm.clone(),
        training_seconds,
        saved_seconds_per_question,
        n_questions: (training_seconds / saved_seconds_per_question).ceil(),
    })
}
