//! The figures of an evaluation, for people and as JSON.

use std::path::Path;

use dyag_eval::results::Results;
use dyag_text::dataset::Questions;
use serde_json::json;

use super::perplexity;
use crate::language::say;
use crate::{encoder, terminal};

/// Says at the beginning, while there is time to stop, that results of other questions will be replaced.
pub(super) fn say_what_is_replaced(output: &Path, questions: &Questions) {
    if !output.is_file() {
        return;
    }
    let Ok(earlier) = Results::read_wanted(output, &|_| false) else { return };
    if earlier.metadata.dataset_sha256.is_some_and(|sha256| sha256 != questions.sha256) {
        let of = earlier.metadata.dataset.map(|path| format!(" ({})", terminal::printable(&path))).unwrap_or_default();
        terminal::note(say!(
            "{} holds results of other questions{of}: they are replaced when this run ends; another --output keeps them",
            "{} contient les résultats d'autres questions{of} : ils seront remplacés à la fin ; un autre --output les conserve",
            output.display()
        ));
    }
}

/// Prints the figures over the set.
pub(super) fn print(results: &Results, output: &Path, json: bool) -> anyhow::Result<()> {
    if json {
        return terminal::print_json(
            &json!({ "file": output.display().to_string(), "metadata": results.metadata, "metrics": results.metrics }),
        );
    }
    let value = |name: &str| results.metrics.values.get(name).copied();
    let deepest = results.results.iter().filter_map(|row| row.sources.as_ref()).map(Vec::len).max();
    let with_expected = results.results.iter().filter(|row| row.expected_answer.is_some()).count();
    terminal::print_line(say!(
        "{}: {} questions, {with_expected} with an expected answer",
        "{} : {} questions, dont {with_expected} à réponse attendue",
        output.display(),
        results.results.len()
    ))?;
    for (name, label) in [
        ("exact_match", say!("exact", "exact")),
        ("exact_match_french", say!("exact, normalised (French)", "exact, normalisé (français)")),
        ("exact_match_squad", say!("exact, normalised (English)", "exact, normalisé (anglais)")),
        ("f1_french", say!("token F1 (French)", "F1 des mots (français)")),
        ("contains_expected", say!("holds the expected answer", "contient la réponse attendue")),
        ("facts_agree", say!("numbers and dates agree", "nombres et dates concordent")),
        ("rougeL_unicode_f", say!("ROUGE-L", "ROUGE-L")),
        ("abstained", say!("says it does not know", "dit ne pas savoir")),
        ("retrieval_recall@1", say!("search: recall@1", "recherche : rappel@1")),
        ("retrieval_recall@5", say!("search: recall@5", "recherche : rappel@5")),
        ("retrieval_mrr", say!("search: MRR", "recherche : MRR")),
        ("retrieval_ndcg@10", say!("search: nDCG@10", "recherche : nDCG@10")),
        ("context_precision", say!("search: context precision", "recherche : précision")),
        ("retrieval_document_success@5", say!("search: right document in 5", "recherche : bon document en 5")),
        ("grounded_words", say!("answer's words in passages", "mots de la réponse trouvés")),
        ("grounded_facts", say!("answer's facts in passages", "faits de la réponse trouvés")),
    ] {
        if let Some(value) = value(name) {
            terminal::print_line(format!("  {:<28} {:>6.1} %", of_fewer(name, label, deepest), 100.0 * value))?;
        }
    }
    encoder::print_headlines(&results.metrics)?;
    for (name, label) in [("corpus_bleu_intl", "BLEU"), ("corpus_chrf++", "chrF++")] {
        if let Some(value) = value(name) {
            terminal::print_line(format!("  {label:<28} {value:>6.1}"))?;
        }
    }
    if let Some(value) = value(perplexity::BITS_PER_BYTE) {
        let label = say!("expected answers cost", "coût des réponses attendues");
        terminal::print_line(say!("  {label:<28} {value:>6.2} bits a byte", "  {label:<28} {value:>6.2} bits par octet"))?;
    }
    if let Some(seconds) = value("avg_time_seconds") {
        let label = say!("time a question", "temps par question");
        terminal::print_line(format!("  {label:<28} {seconds:>6.2} s"))?;
    }
    if let Some(seconds) = value("avg_first_token_seconds") {
        let label = say!("time to the first token", "temps du premier jeton");
        terminal::print_line(format!("  {label:<28} {seconds:>6.2} s"))?;
    }
    Ok(())
}

/// The label of a figure over the first `N` of a ranking (`recall@N`), which says so where no ranking had as many.
fn of_fewer(name: &str, label: String, deepest: Option<usize>) -> String {
    let cutoff = name.rsplit_once('@').and_then(|(_, n)| n.parse::<usize>().ok());
    match (cutoff, deepest) {
        (Some(cutoff), Some(n)) if n < cutoff => say!("{label} (of {n})", "{label} (sur {n})"),
        _ => label,
    }
}

#[cfg(test)]
mod tests {
    use super::of_fewer;

    #[test]
    fn a_figure_over_more_passages_than_there_are_says_so() {
        let label = |name: &str, deepest| of_fewer(name, "L".to_owned(), deepest);
        assert_eq!(label("retrieval_recall@5", Some(3)), "L (of 3)");
        assert_eq!(label("retrieval_recall@5", Some(5)), "L");
        assert_eq!(label("retrieval_recall@5", None), "L");
        assert_eq!(label("retrieval_mrr", Some(3)), "L");
    }
}
