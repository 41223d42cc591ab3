//! How long examples are in the tokens of the model that is to learn them.

use dyag_text::{Dataset, ExampleOptions};
use serde::Serialize;

use super::output::Written;
use crate::language::say;
use crate::model_files::ModelFiles;

/// Tokens of the examples of all parts.
#[derive(Debug, Serialize)]
pub(super) struct TokenCounts {
    total: usize,
    median: usize,
    p95: usize,
    max: usize,
    trained: usize,
    limit: usize,
    over_limit: usize,
}

/// Counts the tokens of written files.
pub(super) fn count(files: &ModelFiles, written: &[Written], limit: usize) -> anyhow::Result<TokenCounts> {
    let mut lengths = Vec::new();
    let mut trained = 0;
    for file in written.iter().filter(|file| file.n_rows > 0) {
        for example in files.chat().examples(&Dataset::read(&file.path)?.conversations, &ExampleOptions::default())? {
            trained += example.n_trained();
            lengths.push(example.ids.len());
        }
    }
    lengths.sort_unstable();
    let at = |share: f64| lengths.get(((lengths.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(0);
    Ok(TokenCounts {
        total: lengths.iter().sum(),
        median: at(0.5),
        p95: at(0.95),
        max: at(1.0),
        trained,
        limit,
        over_limit: lengths.iter().filter(|length| **length > limit).count(),
    })
}

impl TokenCounts {
    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { total, median, p95, max, trained, limit, over_limit } = self;
        vec![
            say!(
                "tokens: {total}, {trained} of them learned; an example has {median} (median), {p95} (95 %), {max} (longest)",
                "jetons : {total}, dont {trained} appris ; un exemple en a {median} (médiane), {p95} (95 %), {max} (le plus long)"
            ),
            say!("longer than {limit} tokens: {over_limit}", "plus longs que {limit} jetons : {over_limit}"),
        ]
    }
}
