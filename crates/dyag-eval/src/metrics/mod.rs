//! Scores of answers against what was expected.
//!
//! Every metric is a pure function of an answer and the expected text, and has a signature that says how it is computed. `overlap.rs` has exact match, token F1 and containment over the
//! normalisations of `normalize.rs`; `rouge.rs`, `bleu.rs` and `chrf.rs` agree with their Python references; `facts` compares numbers, dates, versions and identifiers as values;
//! `behaviour.rs` looks at the answer alone; `groundedness.rs` looks for it in the passages it was given; `retrieval.rs` scores ranked ids against judged ones; `bertscore.rs` and `similarity.rs` need an encoder, and `encoder.rs` computes them over a file of results. [`score_answer`] computes all of them, [`MetricSet`] all of them over a set.
//!
//! Scores are fractions in `0..=1`, but BLEU and chrF, which are in `0..=100` as in sacrebleu, and lengths and numbers of facts, which are counts.

mod behaviour;
mod bertscore;
mod bleu;
mod chrf;
mod encoder;
mod facts;
mod groundedness;
mod normalize;
mod overlap;
mod retrieval;
mod rouge;
mod set;
mod similarity;
mod stop_words;
mod text;

pub use behaviour::{Abstention, n_characters, n_words, repetition};
pub use bertscore::{BertScore, bert_score, layer_of};
pub use bleu::{BleuStats, BleuTokenizer, bleu_signature};
pub use chrf::{Chrf, ChrfCounts, ChrfStats};
pub use encoder::{EncoderMetricNames, Encoders, Headline};
pub use facts::{Fact, FactsReport, Language, compare_facts, facts};
pub use groundedness::{Groundedness, Support, groundedness, groundedness_signature};
pub use normalize::Normalization;
pub use overlap::{contains_expected, exact_match, exact_match_normalized, token_f1};
pub use retrieval::{Hit, Judgements, RankMetric, Ranking, RankingError};
pub use rouge::{Rouge, RougeScore, RougeTokenizer, rouge};
pub use set::{AnswerScores, Direction, METRICS, Metric, MetricOptions, MetricSet, corpus_metrics, metric, score_answer, score_answer_to};
pub use similarity::cosine;

/// What computed a score, in signatures.
pub const VERSION: &str = concat!("dyag-eval-", env!("CARGO_PKG_VERSION"));

/// The sum of sufficient statistics.
fn add_all<T: Default + std::ops::AddAssign>(stats: impl Iterator<Item = T>) -> T {
    stats.fold(T::default(), |mut sum, one| {
        sum += one;
        sum
    })
}
