//! The search and the groundedness of every row of an evaluation, and of its set.
//!
//! A row is judged by chunks where its question names the chunks that bear the answer, and by documents where it names the document and its passages say whose they are; the two have names of
//! their own, since finding the right document is easier. The order is the one in which the passages were shown. Rows without judged ids, such as questions that the documents do not
//! answer, have no scores, and a mean is over the rows that have one: the report says how many.

use std::collections::BTreeMap;

use crate::metrics::{Judgements, Language, RankMetric, Ranking, VERSION, groundedness, groundedness_signature};
use crate::results::{Results, Row};

/// What is computed of each ranked list.
pub const RETRIEVAL_METRICS: [RankMetric; 8] = [
    RankMetric::Recall(1),
    RankMetric::Recall(5),
    RankMetric::Recall(10),
    RankMetric::Success(1),
    RankMetric::Success(5),
    RankMetric::Precision(5),
    RankMetric::ReciprocalRank,
    RankMetric::Ndcg(10),
];

/// What [`Results::add_retrieval_metrics`] and [`Results::add_groundedness`] added: means by name, each with the number of rows it is over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetrievalReport {
    /// Mean and number of rows, by metric.
    pub means: BTreeMap<String, (f64, usize)>,
}

/// Scores of a row by name, with how each is computed.
type Scores = Vec<(String, f64, String)>;

impl Results {
    /// Adds `retrieval_recall@5` and so on to every row whose passages and whose right chunks are known, `retrieval_document_recall@5` and so on where the right document is, and
    /// `context_precision`; and the means and signatures to the figures of the set.
    pub fn add_retrieval_metrics(&mut self) -> RetrievalReport {
        self.add_scores(&|row| {
            let mut scores = Scores::new();
            let Some(shown) = &row.sources else { return scores };
            if !row.gold_chunk_ids.is_empty() && shown.iter().all(|source| source.id.is_some()) {
                let ranking = Ranking::in_order(shown.iter().filter_map(|source| source.id.clone()));
                let judged = row.gold_chunk_ids.iter().map(|id| (id.clone(), 1)).collect();
                add_ranked(&mut scores, "retrieval_", &ranking, &judged);
                let precision = RankMetric::ContextPrecision;
                scores.push((precision.name(), precision.of(&ranking, &judged), signature(precision, "chunks")));
            }
            if let (Some(document), true) = (&row.document, shown.iter().all(|source| source.source_id.is_some())) {
                let ranking = Ranking::in_order(shown.iter().filter_map(|source| source.source_id.clone()));
                add_ranked(&mut scores, "retrieval_document_", &ranking, &Judgements::from([(document.to_string(), 1)]));
            }
            scores
        })
    }

    /// Adds `grounded_words`, `grounded_facts` and `grounded_sentences` to every row that has an answer and the texts of its passages; and the means and signatures to the figures of
    /// the set. `abstains` says whether an answer says that it does not know: such answers are not taken from passages, and have no such scores.
    pub fn add_groundedness(&mut self, language: Language, abstains: &dyn Fn(&str) -> bool) -> RetrievalReport {
        self.add_scores(&|row| {
            let texts: Option<Vec<&str>> =
                row.shown_sources().map(|shown| shown.iter().filter_map(|source| source.text.as_deref()).collect());
            let (Some(answer), Some(texts)) = (&row.generated_answer, texts) else { return Scores::new() };
            let n_shown = row.shown_sources().map_or(0, |shown| shown.len());
            if texts.is_empty() || texts.len() < n_shown || abstains(answer) {
                return Scores::new();
            }
            let grounded = groundedness(&row.question, answer, &texts, language);
            let shares =
                [("words", grounded.answer.words()), ("facts", grounded.answer.facts()), ("sentences", grounded.sentences_share())];
            let of =
                |(part, share): (&str, Option<f64>)| Some((format!("grounded_{part}"), share?, groundedness_signature(part, language)));
            shares.into_iter().filter_map(of).collect()
        })
    }

    /// Adds what `of` says of each row to it, and means and signatures to the set.
    fn add_scores(&mut self, of: &dyn Fn(&Row) -> Scores) -> RetrievalReport {
        let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for row in &mut self.results {
            for (name, score, signature) in of(row) {
                row.metrics.insert(name.as_str().into(), score);
                self.metrics.signatures.insert(name.clone(), signature);
                let (sum, n) = sums.entry(name).or_default();
                *sum += score;
                *n += 1;
            }
        }
        let means: BTreeMap<String, (f64, usize)> = sums.into_iter().map(|(name, (sum, n))| (name, (sum / n as f64, n))).collect();
        for (name, (mean, _)) in &means {
            self.metrics.values.insert(name.clone(), *mean);
            self.metrics.values.insert(format!("avg_{name}"), *mean);
        }
        RetrievalReport { means }
    }
}

fn add_ranked(scores: &mut Scores, prefix: &str, ranking: &Ranking, judged: &Judgements) {
    let ids = if prefix.contains("document") { "documents" } else { "chunks" };
    scores.extend(
        RETRIEVAL_METRICS.iter().map(|metric| (format!("{prefix}{}", metric.name()), metric.of(ranking, judged), signature(*metric, ids))),
    );
}

/// A row's list is ranked as it was shown, and not by scores.
fn signature(metric: RankMetric, ids: &str) -> String {
    format!("retrieval|{}|ids:{ids}|order:as-shown|relevant:gold|version:{VERSION}", metric.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Source;

    fn row(gold: &[&str], shown: &[(&str, &str)]) -> Row {
        let source = |(id, source_id): &(&str, &str)| Source {
            id: Some((*id).to_owned()),
            source_id: Some((*source_id).to_owned()),
            text: Some(format!("Le port de {source_id} est 8080.")),
            ..Source::default()
        };
        Row {
            question: "Quel port ?".to_owned(),
            generated_answer: Some("Le port est 8081, selon toto.".to_owned()),
            gold_chunk_ids: gold.iter().map(|id| (*id).to_owned()).collect(),
            document: Some("d1".into()),
            sources: Some(shown.iter().map(source).collect()),
            ..Row::default()
        }
    }

    #[test]
    fn rows_and_set_get_scores_where_the_right_chunks_are_known() {
        let mut results = Results {
            results: vec![
                row(&["c2", "c9"], &[("c1", "d2"), ("c2", "d1"), ("c3", "d1")]),
                row(&[], &[("c1", "d1")]),
                Row { sources: None, ..row(&["c1"], &[]) },
                row(&["c1"], &[]),
            ],
            ..Results::default()
        };
        let report = results.add_retrieval_metrics();
        let of = |row: usize, name: &str| results.results[row].metrics.get(name).copied();
        assert_eq!((of(0, "retrieval_recall@5"), of(0, "retrieval_mrr"), of(0, "context_precision")), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!((of(0, "retrieval_document_recall@1"), of(0, "retrieval_document_mrr")), (Some(0.0), Some(0.5)));
        assert_eq!((of(1, "retrieval_recall@5"), of(1, "retrieval_document_success@1")), (None, Some(1.0)));
        assert_eq!((of(2, "retrieval_mrr"), of(3, "retrieval_mrr")), (None, Some(0.0)));
        assert_eq!(report.means["retrieval_mrr"], (0.25, 2));
        assert_eq!(results.metrics.values["avg_retrieval_recall@5"], 0.25);
        for name in report.means.keys() {
            assert!(results.metrics.signatures.contains_key(name), "{name}");
            assert!(crate::metrics::metric(name).is_some(), "{name} is not in the table of metrics");
        }
    }

    #[test]
    fn answers_are_grounded_in_what_was_shown() {
        let mut results = Results {
            results: vec![
                row(&[], &[("c1", "d1")]),
                Row { generated_answer: Some("Je ne sais pas.".to_owned()), ..row(&[], &[("c1", "d1")]) },
                row(&[], &[]),
            ],
            ..Results::default()
        };
        let report = results.add_groundedness(Language::French, &|answer| answer.contains("ne sais pas"));
        assert_eq!(report.means["grounded_words"], (0.0, 1));
        assert_eq!(report.means["grounded_facts"], (0.0, 1));
        for name in report.means.keys() {
            assert!(crate::metrics::metric(name).is_some(), "{name} is not in the table of metrics");
        }
    }
}
