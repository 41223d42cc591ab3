//! Scores of a whole set of answers, which are no means: corpus BLEU and chrF of two ways, with a randomisation test and a bootstrap.

use std::ops::AddAssign;

use serde::Serialize;

use super::matching::Matched;
use super::pairs::{MAX_DRAWN, MIN_DRAWS, N_EXCHANGES, N_RESAMPLES};
use super::{Options, Unit, Verdict};
use crate::metrics::{BleuStats, BleuTokenizer, Chrf, ChrfStats, MetricOptions, metric};
use crate::results::Row;
use crate::statistics::{Clusters, Interval, Randomisation, cluster_bootstrap, randomisation};

/// Those that are compared when none is asked for.
const HEADLINES: [&str; 2] = ["corpus_bleu_intl", "corpus_chrf++"];

/// A score of two whole sets of answers to the same questions. Differences are those of the second less the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorpusComparison {
    /// Its name.
    pub metric: String,
    /// How it was computed.
    pub signature: String,
    /// Questions that have an expected answer. A failed answer counts as an empty one.
    pub n_questions: usize,
    /// The first's score, from 0 to 100.
    pub first: f64,
    /// The second's.
    pub second: f64,
    /// The second less the first.
    pub difference: f64,
    /// The percentile bootstrap by document: too narrow where documents are few, so it does not decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The test that decides: the names of the two exchanged by document, and the score of each computed anew.
    pub randomisation: Randomisation,
    /// Its p-value after adjustment.
    pub p_adjusted: f64,
    /// What can be said.
    pub verdict: Verdict,
    /// The winner's name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<String>,
}

impl CorpusComparison {
    /// The difference and its interval, for people.
    pub fn difference_text(&self) -> String {
        let signed = |value| Unit::Number.signed(value);
        let interval = self.interval.map_or_else(String::new, |one| format!(" ({} to {})", signed(one.low), signed(one.high)));
        format!("{}{interval}", signed(self.difference))
    }

    /// The winner, or what can be said without one.
    pub fn outcome(&self) -> String {
        self.winner.as_ref().map_or_else(|| self.verdict.words().to_owned(), |winner| format!("{winner} better"))
    }
}

/// Whether a name is that of a score of a whole set.
pub(super) fn is_corpus_metric(name: &str) -> bool {
    crate::metrics::corpus_metrics().iter().any(|metric| metric.name == name)
}

/// The scores of a whole set that were asked for, or the headlines, over the questions with an expected answer; p-values not adjusted yet.
pub(super) fn compare(rows: &[(&Row, &Row)], matched: &Matched<'_>, options: &Options) -> Vec<CorpusComparison> {
    let is_wanted = |name: &str| {
        if options.metrics.is_empty() { HEADLINES.contains(&name) } else { options.metrics.iter().any(|metric| metric == name) }
    };
    let places: Vec<usize> = (0..rows.len()).filter(|place| expected(rows[*place]).is_some()).collect();
    let names: Vec<&str> = crate::metrics::corpus_metrics().iter().map(|metric| metric.name).filter(|name| is_wanted(name)).collect();
    if places.is_empty() || names.is_empty() {
        return Vec::new();
    }
    let clusters = matched.clusters(&places);
    let bleu = |tokenizer| move |answer: &str, expected: &str| BleuStats::new(answer, expected, tokenizer);
    let compared = |name: &str| -> CorpusComparison {
        let of = Of { name, rows, places: &places, clusters: &clusters, options };
        match name {
            "corpus_bleu_13a" => of.compared(bleu(BleuTokenizer::V13a), BleuStats::corpus_score),
            "corpus_bleu_intl" => of.compared(bleu(BleuTokenizer::International), BleuStats::corpus_score),
            "corpus_chrf2" => of.compared(ChrfStats::new, |stats| stats.score(Chrf::Chrf2)),
            _ => of.compared(ChrfStats::new, |stats| stats.score(Chrf::PlusPlus)),
        }
    };
    names.into_iter().map(compared).collect()
}

fn expected<'a>((first, second): (&'a Row, &'a Row)) -> Option<&'a str> {
    first.expected_answer.as_deref().or(second.expected_answer.as_deref())
}

/// What is compared under a name.
struct Of<'a> {
    name: &'a str,
    rows: &'a [(&'a Row, &'a Row)],
    places: &'a [usize],
    clusters: &'a Clusters,
    options: &'a Options,
}

impl Of<'_> {
    /// Counts are summed by cluster once; exchanges and resamples add those sums.
    fn compared<S>(&self, counts: impl Fn(&str, &str) -> S, score: impl Fn(&S) -> f64) -> CorpusComparison
    where
        S: Clone + Default + PartialEq + AddAssign,
    {
        let Self { name, rows, places, clusters, options } = self;
        let mut sums = vec![[S::default(), S::default()]; clusters.len()];
        let mut are_equal = true;
        for (place, cluster) in places.iter().zip(clusters.of()) {
            let (first, second) = rows[*place];
            let expected = expected(rows[*place]).unwrap_or_default();
            let [a, b] = [first, second].map(|row| counts(row.generated_answer.as_deref().unwrap_or_default(), expected));
            are_equal &= a == b;
            sums[*cluster][0] += a;
            sums[*cluster][1] += b;
        }
        let total = |chosen: &mut dyn Iterator<Item = (usize, bool)>| -> [f64; 2] {
            let mut totals = [S::default(), S::default()];
            for (cluster, is_exchanged) in chosen {
                totals[0] += sums[cluster][usize::from(is_exchanged)].clone();
                totals[1] += sums[cluster][usize::from(!is_exchanged)].clone();
            }
            totals.map(|sums| score(&sums))
        };
        let difference = |[first, second]: [f64; 2]| second - first;
        let whole = Clusters::singletons(sums.len());
        let draws = |n: usize| n.min(MAX_DRAWN / sums.len()).max(MIN_DRAWS);
        let exchanged = |exchanged: &[bool]| difference(total(&mut exchanged.iter().copied().enumerate()));
        let resampled = |clusters: &[usize]| difference(total(&mut clusters.iter().map(|cluster| (*cluster, false))));
        let randomisation = randomisation(&whole, exchanged, draws(N_EXCHANGES), options.seed);
        let has_interval = sums.len() > 1 && !are_equal;
        let interval =
            has_interval.then(|| cluster_bootstrap(&whole, resampled, draws(N_RESAMPLES), options.confidence, options.seed).interval);
        let [first, second] = total(&mut (0..sums.len()).map(|cluster| (cluster, false)));
        CorpusComparison {
            metric: (*name).to_owned(),
            signature: metric(name).map(|metric| metric.signature(&MetricOptions::default())).unwrap_or_default(),
            n_questions: places.len(),
            first,
            second,
            difference: second - first,
            interval,
            p_adjusted: randomisation.p_value,
            randomisation,
            verdict: if are_equal { Verdict::Tie } else { Verdict::NoDifferenceShown },
            winner: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Contestant, compare};
    use super::*;
    use crate::results::Results;

    const TEXTS: [&str; 6] = [
        "L'application est en production depuis mars 2021.",
        "L'application est en production.",
        "Elle est retirée",
        "",
        "Le service est assuré par la direction générale des routes",
        "direction des routes 🚧",
    ];

    /// Sixteen documents with three questions each; `shift` says which text is answered.
    fn results(shift: usize) -> Results {
        let row = |i: usize| Row {
            id: Some(i.to_string()),
            question: format!("Question {i} ?"),
            expected_answer: Some(TEXTS[i % 5 + usize::from(i % 5 == 3)].to_owned()),
            generated_answer: (!i.is_multiple_of(11)).then(|| TEXTS[(i + shift * (i % 3)) % 6].to_owned()),
            error: i.is_multiple_of(11).then(|| "failed".to_owned()),
            document: Some(Arc::from((i / 3).to_string())),
            ..Row::default()
        };
        Results { results: (0..48).map(row).collect(), ..Results::default() }
    }

    fn pair(first: Results, second: Results, metrics: &[&str]) -> super::super::Pair {
        let contestants = [("a", first), ("b", second)].map(|(name, results)| Contestant { name: name.to_owned(), results });
        let options = Options { metrics: metrics.iter().map(|name| (*name).to_owned()).collect(), ..Options::default() };
        compare(&contestants, &options).unwrap_or_else(|error| panic!("{error}")).pairs.remove(0)
    }

    #[test]
    fn sums_by_document_give_what_single_answers_give() {
        let (first, second) = (results(1), results(0));
        let compared = pair(first.clone(), second.clone(), &[]).corpus;
        assert_eq!(compared.iter().map(|one| one.metric.as_str()).collect::<Vec<_>>(), HEADLINES);
        let counts = |row: &Row| {
            let answer = row.generated_answer.as_deref().unwrap_or_default();
            BleuStats::new(answer, row.expected_answer.as_deref().unwrap_or_default(), BleuTokenizer::International)
        };
        let [a, b] = [&first, &second].map(|results| results.results.iter().map(counts).collect::<Vec<_>>());
        let score = |of: &mut dyn Iterator<Item = &BleuStats>| {
            let mut sum = BleuStats::default();
            of.for_each(|one| sum += *one);
            sum.corpus_score()
        };
        let difference = |exchanged: &[bool]| {
            let [mut x, mut y]: [Vec<&BleuStats>; 2] = Default::default();
            for ((a, b), exchanged) in a.iter().zip(&b).zip(exchanged) {
                x.push(if *exchanged { b } else { a });
                y.push(if *exchanged { a } else { b });
            }
            score(&mut y.into_iter()) - score(&mut x.into_iter())
        };
        let clusters = Clusters::new((0..48).map(|i| i / 3));
        let expected = randomisation(&clusters, difference, N_EXCHANGES, 42);
        assert_eq!((compared[0].first, compared[0].second), (score(&mut a.iter()), score(&mut b.iter())));
        assert_eq!(compared[0].randomisation, expected);
        let resampled = |rows: &[usize]| score(&mut rows.iter().map(|row| &b[*row])) - score(&mut rows.iter().map(|row| &a[*row]));
        let interval = cluster_bootstrap(&clusters, resampled, N_RESAMPLES, 0.95, 42).interval;
        assert_eq!(compared[0].interval, Some(interval));
        assert!(compared[0].p_adjusted >= compared[0].randomisation.p_value && compared[0].difference > 0.0);
    }

    #[test]
    fn equal_answers_tie_and_scores_can_be_asked_for() {
        let corpus = pair(results(1), results(1), &[]).corpus;
        assert!(corpus.iter().all(|one| one.verdict == Verdict::Tie && one.interval.is_none() && one.difference == 0.0));
        let asked = pair(results(1), results(0), &["corpus_chrf2", "corpus_bleu_13a"]);
        assert_eq!(asked.corpus.iter().map(|one| one.metric.as_str()).collect::<Vec<_>>(), ["corpus_bleu_13a", "corpus_chrf2"]);
        assert!(asked.metrics.is_empty());
        let mut without = results(1);
        without.results.iter_mut().for_each(|row| row.expected_answer = None);
        assert!(pair(without.clone(), without, &[]).corpus.is_empty());
    }
}
