//! The figures of an evaluation, for people and as JSON.

use std::path::Path;

use dyag_eval::results::Results;
use serde_json::json;

use super::perplexity;
use crate::{encoder, terminal};

/// Prints the figures over the set.
pub(super) fn print(results: &Results, output: &Path, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::print_json(
            &json!({ "file": output.display().to_string(), "metadata": results.metadata, "metrics": results.metrics }),
        );
    }
    let value = |name: &str| results.metrics.values.get(name).copied();
    let with_expected = results.results.iter().filter(|row| row.expected_answer.is_some()).count();
    terminal::print_line(format!("{}: {} questions, {with_expected} with an expected answer", output.display(), results.results.len()))?;
    for (name, label) in [
        ("exact_match", "exact"),
        ("exact_match_french", "exact, normalised (French)"),
        ("exact_match_squad", "exact, normalised (English)"),
        ("f1_french", "token F1 (French)"),
        ("contains_expected", "holds the expected answer"),
        ("facts_agree", "numbers and dates agree"),
        ("rougeL_unicode_f", "ROUGE-L"),
        ("abstained", "says it does not know"),
        ("retrieval_recall@1", "search: recall@1"),
        ("retrieval_recall@5", "search: recall@5"),
        ("retrieval_mrr", "search: MRR"),
        ("retrieval_ndcg@10", "search: nDCG@10"),
        ("context_precision", "search: context precision"),
        ("retrieval_document_success@5", "search: right document in 5"),
        ("grounded_words", "answer's words in passages"),
        ("grounded_facts", "answer's facts in passages"),
    ] {
        if let Some(value) = value(name) {
            terminal::print_line(format!("  {label:<28} {:>6.1} %", 100.0 * value))?;
        }
    }
    encoder::print_headlines(&results.metrics)?;
    for (name, label) in [("corpus_bleu_intl", "BLEU"), ("corpus_chrf++", "chrF++")] {
        if let Some(value) = value(name) {
            terminal::print_line(format!("  {label:<28} {value:>6.1}"))?;
        }
    }
    if let Some(value) = value(perplexity::BITS_PER_BYTE) {
        terminal::print_line(format!("  {:<28} {value:>6.2} bits a byte", "expected answers cost"))?;
    }
    if let Some(seconds) = value("avg_time_seconds") {
        terminal::print_line(format!("  {:<28} {seconds:>6.2} s", "time a question"))?;
    }
    if let Some(seconds) = value("avg_first_token_seconds") {
        terminal::print_line(format!("  {:<28} {seconds:>6.2} s", "time to the first token"))?;
    }
    Ok(())
}
