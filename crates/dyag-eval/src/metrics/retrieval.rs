//! Scores of a ranked list of ids against judged ids, as trec_eval 9.0 defines them; context precision as RAGAS does, from judged ids and without a judge.
//!
//! An id is relevant from a grade of 1 on; ids that nobody judged are not. Gains of nDCG are the grades themselves (negative ones are 0), its ideal is the best order of all
//! judged ids, whether they were found or not. Where nothing is relevant every score is 0.
//!
//! The order of a run is trec_eval's: by score, which it holds in single precision, and among equal scores by id, the greater bytes first. What a model was shown has an order of its own:
//! [`Ranking::in_order`].

use std::collections::{BTreeMap, HashSet};

use super::VERSION;

/// Judged ids and their grades: 1 or more for what is relevant, more for what is more relevant.
pub type Judgements = BTreeMap<String, i64>;

/// Something a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: String,
    /// How well it fits; more is better.
    pub score: f64,
}

/// What is wrong with a list of hits.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RankingError {
    /// An id stands in it more than once, so that it would be counted more than once.
    #[error("expected every id once in a ranked list, found \"{0}\" a second time")]
    Repeated(String),
    /// A score that orders nothing.
    #[error("expected a finite score of \"{id}\", found {score}")]
    NotFinite {
        /// The id.
        id: String,
        /// The score.
        score: f64,
    },
}

/// Ids, the best first, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    ids: Vec<String>,
}

impl Ranking {
    /// The ids of `hits` in trec_eval's order, whatever order they come in.
    ///
    /// # Errors
    /// An id that occurs twice; a score that is not finite.
    pub fn of_hits(hits: &[Hit]) -> Result<Self, RankingError> {
        if let Some(Hit { id, score }) = hits.iter().find(|hit| !hit.score.is_finite()) {
            return Err(RankingError::NotFinite { id: id.clone(), score: *score });
        }
        let mut sorted: Vec<&Hit> = hits.iter().collect();
        // Adding 0 makes -0 and 0 the same.
        let single = |hit: &Hit| hit.score as f32 + 0.0;
        sorted.sort_by(|a, b| single(b).total_cmp(&single(a)).then_with(|| b.id.as_bytes().cmp(a.id.as_bytes())));
        Self::new(sorted.into_iter().map(|hit| hit.id.clone()))
    }

    /// Ids in the order given, the best first; of those that occur twice only the first place counts.
    pub fn in_order<S: Into<String>>(ids: impl IntoIterator<Item = S>) -> Self {
        let mut seen = HashSet::new();
        Self { ids: ids.into_iter().map(Into::into).filter(|id| seen.insert(id.clone())).collect() }
    }

    fn new(ids: impl Iterator<Item = String>) -> Result<Self, RankingError> {
        let ids: Vec<String> = ids.collect();
        let mut seen = HashSet::new();
        match ids.iter().find(|id| !seen.insert(id.as_str())) {
            Some(id) => Err(RankingError::Repeated(id.clone())),
            None => Ok(Self { ids }),
        }
    }

    /// The ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Whether each of the first `k` is relevant.
    fn relevant<'a>(&'a self, judged: &'a Judgements, k: usize) -> impl Iterator<Item = bool> + 'a {
        self.ids.iter().take(k).map(|id| judged.get(id).is_some_and(|grade| *grade >= 1))
    }

    /// How many of the first `k` are relevant.
    fn n_found(&self, judged: &Judgements, k: usize) -> usize {
        self.relevant(judged, k).filter(|relevant| *relevant).count()
    }

    /// Share of the relevant ids that are among the first `k`, in `0..=1`.
    pub fn recall(&self, judged: &Judgements, k: usize) -> f64 {
        share(self.n_found(judged, k), n_relevant(judged))
    }

    /// Relevant ids among the first `k`, divided by `k` even where fewer were found; in `0..=1`.
    pub fn precision(&self, judged: &Judgements, k: usize) -> f64 {
        share(self.n_found(judged, k), k)
    }

    /// 1 where one of the first `k` is relevant, else 0.
    pub fn success(&self, judged: &Judgements, k: usize) -> f64 {
        f64::from(self.n_found(judged, k) > 0)
    }

    /// One divided by the rank of the first relevant id; 0 where none was found. Its mean over queries is the MRR.
    pub fn reciprocal_rank(&self, judged: &Judgements) -> f64 {
        self.reciprocal_rank_at(judged, usize::MAX)
    }

    /// The same, 0 where the first relevant id comes after rank `k`.
    pub fn reciprocal_rank_at(&self, judged: &Judgements, k: usize) -> f64 {
        self.relevant(judged, k).position(|relevant| relevant).map_or(0.0, |place| 1.0 / (place + 1) as f64)
    }

    /// The sum of the precisions at the ranks of the relevant ids, divided by the number of all relevant ids. Its mean over queries is the MAP.
    pub fn average_precision(&self, judged: &Judgements) -> f64 {
        let n_relevant = n_relevant(judged);
        if n_relevant == 0 { 0.0 } else { self.precisions(judged).iter().sum::<f64>() / n_relevant as f64 }
    }

    /// The mean of the precisions at the ranks of the relevant ids that were found; 0 where none was. Unlike average precision it does not count what was not found: it says how
    /// much of what was shown above a relevant passage, and with it, was relevant.
    pub fn context_precision(&self, judged: &Judgements) -> f64 {
        let precisions = self.precisions(judged);
        if precisions.is_empty() { 0.0 } else { precisions.iter().sum::<f64>() / precisions.len() as f64 }
    }

    /// The precision at the rank of each relevant id that was found.
    fn precisions(&self, judged: &Judgements) -> Vec<f64> {
        let ranks = self.relevant(judged, usize::MAX).enumerate().filter(|(_, relevant)| *relevant).map(|(place, _)| place + 1);
        ranks.enumerate().map(|(n_before, rank)| (n_before + 1) as f64 / rank as f64).collect()
    }

    /// Discounted cumulative gain of the first `k`, divided by that of the best possible order; in `0..=1`.
    pub fn ndcg(&self, judged: &Judgements, k: usize) -> f64 {
        let mut best: Vec<i64> = judged.values().copied().filter(|grade| *grade > 0).collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        let ideal = discounted(best.into_iter().take(k));
        let found = self.ids.iter().take(k).map(|id| judged.get(id).copied().unwrap_or(0).max(0));
        if ideal == 0.0 { 0.0 } else { discounted(found) / ideal }
    }
}

/// Grades, each divided by the binary logarithm of its rank and 1.
fn discounted(grades: impl Iterator<Item = i64>) -> f64 {
    grades.enumerate().map(|(place, grade)| grade as f64 / ((place + 2) as f64).log2()).sum()
}

fn n_relevant(judged: &Judgements) -> usize {
    judged.values().filter(|grade| **grade >= 1).count()
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A score of a ranked list. [`Self::name`] is `recall@5` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RankMetric {
    /// [`Ranking::recall`].
    Recall(usize),
    /// [`Ranking::precision`].
    Precision(usize),
    /// [`Ranking::success`].
    Success(usize),
    /// [`Ranking::reciprocal_rank`].
    ReciprocalRank,
    /// [`Ranking::reciprocal_rank_at`].
    ReciprocalRankAt(usize),
    /// [`Ranking::average_precision`].
    AveragePrecision,
    /// [`Ranking::ndcg`].
    Ndcg(usize),
    /// [`Ranking::context_precision`].
    ContextPrecision,
}

impl RankMetric {
    /// Its name over a set: a mean of reciprocal ranks is called MRR, a mean of average precisions MAP.
    pub fn name(self) -> String {
        match self {
            Self::Recall(k) => format!("recall@{k}"),
            Self::Precision(k) => format!("precision@{k}"),
            Self::Success(k) => format!("success@{k}"),
            Self::ReciprocalRank => "mrr".to_owned(),
            Self::ReciprocalRankAt(k) => format!("mrr@{k}"),
            Self::AveragePrecision => "map".to_owned(),
            Self::Ndcg(k) => format!("ndcg@{k}"),
            Self::ContextPrecision => "context_precision".to_owned(),
        }
    }

    /// Its value for one query.
    pub fn of(self, ranking: &Ranking, judged: &Judgements) -> f64 {
        match self {
            Self::Recall(k) => ranking.recall(judged, k),
            Self::Precision(k) => ranking.precision(judged, k),
            Self::Success(k) => ranking.success(judged, k),
            Self::ReciprocalRank => ranking.reciprocal_rank(judged),
            Self::ReciprocalRankAt(k) => ranking.reciprocal_rank_at(judged, k),
            Self::AveragePrecision => ranking.average_precision(judged),
            Self::Ndcg(k) => ranking.ndcg(judged, k),
            Self::ContextPrecision => ranking.context_precision(judged),
        }
    }

    /// How it is computed of a run in trec_eval's order: the same signature, the same numbers.
    pub fn signature(self) -> String {
        let how = match self {
            Self::Ndcg(_) => "|gains:linear|ideal:all-judged",
            Self::ContextPrecision => "|mean-of:precision-at-relevant-ranks",
            _ => "",
        };
        let like = match self {
            Self::ContextPrecision => "ragas-by-ids",
            _ => "trec_eval-9.0",
        };
        format!("retrieval|{}|relevant:grade>=1{how}|ties:score-then-id-descending|like:{like}|version:{VERSION}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(grades: &[(&str, i64)]) -> Judgements {
        grades.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect()
    }

    #[test]
    fn a_list_worked_out_by_hand() {
        let ranking = Ranking::in_order(["x", "a", "y", "b", "a"]);
        let grades = judged(&[("a", 2), ("b", 1), ("c", 1), ("y", 0), ("x", -1)]);
        assert_eq!(ranking.ids().len(), 4);
        assert_eq!(ranking.recall(&grades, 2), 1.0 / 3.0);
        assert_eq!(ranking.precision(&grades, 5), 2.0 / 5.0);
        assert_eq!((ranking.success(&grades, 1), ranking.success(&grades, 2)), (0.0, 1.0));
        assert_eq!((ranking.reciprocal_rank(&grades), ranking.reciprocal_rank_at(&grades, 1)), (0.5, 0.0));
        assert_eq!(ranking.average_precision(&grades), (0.5 + 0.5) / 3.0);
        assert_eq!(ranking.context_precision(&grades), 0.5);
        let ideal = 2.0 + 1.0 / 3.0_f64.log2() + 0.5;
        let found = 2.0 / 3.0_f64.log2() + 1.0 / 5.0_f64.log2();
        assert!((ranking.ndcg(&grades, 10) - found / ideal).abs() < 1e-15);
    }

    #[test]
    fn nothing_found_and_nothing_relevant_are_zero() {
        let some = judged(&[("a", 1)]);
        let none = judged(&[("a", 0)]);
        let metrics = [
            RankMetric::Recall(5),
            RankMetric::Precision(5),
            RankMetric::Success(5),
            RankMetric::ReciprocalRank,
            RankMetric::ReciprocalRankAt(5),
            RankMetric::AveragePrecision,
            RankMetric::Ndcg(5),
            RankMetric::ContextPrecision,
        ];
        for metric in metrics {
            assert_eq!(metric.of(&Ranking::default(), &some), 0.0, "{}", metric.name());
            assert_eq!(metric.of(&Ranking::in_order(["a"]), &none), 0.0, "{}", metric.name());
            let full = metric.of(&Ranking::in_order(["a"]), &some);
            assert_eq!(full, if metric == RankMetric::Precision(5) { 0.2 } else { 1.0 }, "{}", metric.name());
        }
    }

    #[test]
    fn lists_that_cannot_be_ranked_are_refused() {
        let hit = |id: &str, score| Hit { id: id.to_owned(), score };
        assert_eq!(Ranking::of_hits(&[hit("a", 1.0), hit("b", 2.0), hit("a", 3.0)]), Err(RankingError::Repeated("a".to_owned())));
        assert!(matches!(Ranking::of_hits(&[hit("a", f64::NAN)]), Err(RankingError::NotFinite { .. })));
        // Scores that single precision does not tell apart are equal; 0 and -0 are not told apart either.
        let order = Ranking::of_hits(&[hit("a", 1.0 + 1e-12), hit("b", 1.0), hit("c", 2.0)]).unwrap();
        assert_eq!(order.ids(), ["c", "b", "a"]);
        assert_eq!(Ranking::of_hits(&[hit("a", 0.0), hit("b", -0.0)]).unwrap().ids(), ["b", "a"]);
    }
}
