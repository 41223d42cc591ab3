//! How likely the model finds the expected answers, whatever it answers itself.

use std::collections::BTreeMap;

use dyag_eval::results::{Row, SetMetrics};
use dyag_model::decoder::Likelihood;

use super::task::Task;
use crate::language::say;
use crate::loaded_model::LoadedModel;
use crate::progress::Progress;

/// Of a row: `exp` of the mean negative log-likelihood of the expected answer's tokens. It depends on how the tokenizer cuts the answer.
pub(super) const PERPLEXITY: &str = "perplexity_expected";
/// Of a row: bits that the model needs for a byte of the expected answer in UTF-8. Models with different tokenizers can be compared.
pub(super) const BITS_PER_BYTE: &str = "bits_per_byte_expected";

/// Adds both figures to the rows whose expected answer fits the model, and gives those over the set: of all tokens, and all bytes, together.
pub(super) fn score(model: &LoadedModel, tasks: &[Task<'_>], rows: &mut [Row]) -> anyhow::Result<SetMetrics> {
    let limit = model.files().config().max_positions;
    let (mut places, mut groups) = (Vec::new(), Vec::new());
    for (place, task) in tasks.iter().enumerate() {
        let question = task.question;
        let Some(expected) = question.expected_answer.as_deref().filter(|expected| !expected.is_empty()) else { continue };
        // A question that cannot be put to the model is an error of its row already.
        let Ok(group) = model.answered(&task.turns, expected, &question.source) else { continue };
        let n_tokens = group.continuations[0].len();
        if n_tokens > 0 && group.context.len() + n_tokens <= limit {
            places.push((place, expected.len()));
            groups.push(group);
        }
    }
    let progress = Progress::new(groups.len(), say!("expected answers", "réponses attendues"));
    let mut done = 0;
    let likelihoods = model.log_likelihoods(&groups, &mut |n| {
        progress.done(n - done);
        progress.tell();
        done = n;
    })?;
    progress.end();
    let mut set = Sums::default();
    for ((place, n_bytes), likelihood) in places.into_iter().zip(likelihoods.iter().flatten()) {
        let mut row = Sums::default();
        row.add(likelihood, n_bytes);
        set.add(likelihood, n_bytes);
        rows[place].metrics.extend(row.figures().map(|(name, value)| (name.into(), value)));
    }
    let mut metrics = SetMetrics::default();
    if set.n_tokens > 0 {
        metrics.values = set.figures().map(|(name, value)| (name.to_owned(), value)).into();
        let tokens = "tokens:own|end-of-turn:no|set:pooled";
        metrics.signatures = BTreeMap::from([
            (PERPLEXITY.to_owned(), format!("perplexity|{tokens}|version:{}", dyag_eval::metrics::VERSION)),
            (BITS_PER_BYTE.to_owned(), format!("bits-per-byte|{tokens}|bytes:utf-8|version:{}", dyag_eval::metrics::VERSION)),
        ]);
    }
    Ok(metrics)
}

#[derive(Default)]
struct Sums {
    nats: f64,
    n_tokens: usize,
    n_bytes: usize,
}

impl Sums {
    fn add(&mut self, likelihood: &Likelihood, n_bytes: usize) {
        self.nats -= likelihood.log_likelihood;
        self.n_tokens += likelihood.n_tokens;
        self.n_bytes += n_bytes;
    }

    /// An answer that the model holds for impossible has a large figure, not an infinite one, which a file could not hold.
    fn figures(&self) -> [(&'static str, f64); 2] {
        let perplexity = (self.nats / self.n_tokens as f64).exp().min(f64::MAX);
        [(PERPLEXITY, perplexity), (BITS_PER_BYTE, self.nats / std::f64::consts::LN_2 / self.n_bytes as f64)]
    }
}
