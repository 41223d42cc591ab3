//! Every way beside the others: what a reader looks at first.

use super::{Comparison, Pair, Taught, Unit};

/// A figure of every way.
#[derive(Clone, Debug, PartialEq)]
pub struct SideBySide<'a> {
    /// The metric.
    pub metric: &'a str,
    /// What it is counted in.
    pub unit: Unit,
    /// How training treated the questions, and how many they are; none: all questions.
    pub taught: Option<(Taught, usize)>,
    /// Those whose training that was, where there are several trainings.
    pub trained: Option<&'a [String]>,
    /// How many of these questions have it, where not all do.
    pub n_having: Option<usize>,
    /// Its mean for each way, in the order of [`Comparison::arms`]; none where it shares the metric with no other.
    pub means: Vec<Option<f64>>,
}

impl SideBySide<'_> {
    /// The metric and its questions, for people.
    pub fn label(&self) -> String {
        let having = self.n_having.map(|n| format!(" ({n} questions)")).unwrap_or_default();
        let Some((taught, n)) = self.taught else { return format!("{}{having}", self.metric) };
        let trained = self.trained.map(|arms| format!(" ({})", arms.join(", "))).unwrap_or_default();
        format!("{}, {n} questions {}{trained}", self.metric, taught.words())
    }

    /// The mean of a way, for people.
    pub fn value(&self, arm: usize) -> String {
        self.means[arm].map_or_else(|| "-".to_owned(), |mean| self.unit.value(mean))
    }
}

impl Comparison {
    /// What every way scores in each metric that is compared: the one that recommendations are about first, over all questions and then by what training treated alike.
    pub fn side_by_side(&self) -> Vec<SideBySide<'_>> {
        let mut names: Vec<&str> = self.primary_metric.iter().map(String::as_str).collect();
        for metric in self.pairs.iter().flat_map(|pair| &pair.metrics) {
            if !names.contains(&metric.metric.as_str()) {
                names.push(&metric.metric);
            }
        }
        let Some(primary) = names.first().copied() else { return Vec::new() };
        let mut rows: Vec<SideBySide<'_>> = self.means_of(primary, &self.pairs).into_iter().collect();
        for check in &self.training {
            let trained = (self.training.len() > 1).then_some(check.arms.as_slice());
            for group in &check.groups {
                let row = self.means_of(primary, &group.pairs);
                rows.extend(row.map(|row| SideBySide { taught: Some((group.taught, group.n_questions)), trained, ..row }));
            }
        }
        rows.extend(names[1..].iter().filter_map(|name| self.means_of(name, &self.pairs)));
        rows
    }

    /// The means of a metric in these pairs. A way's is that of the pair with most of its questions.
    fn means_of<'a>(&'a self, name: &'a str, pairs: &'a [Pair]) -> Option<SideBySide<'a>> {
        let mut means: Vec<Option<(usize, f64)>> = vec![None; self.arms.len()];
        let (mut unit, mut n_having) = (None, None);
        for pair in pairs {
            let Some(metric) = pair.metrics.iter().find(|metric| metric.metric == name) else { continue };
            // One way's values may lie between 0 and 1 by chance.
            unit = if unit.is_none_or(|unit| unit == Unit::Share) { Some(metric.unit) } else { unit };
            n_having = n_having.max((metric.n_left_out > 0).then_some(metric.difference.n_observations));
            for (arm, mean) in [(&pair.first, metric.first_mean), (&pair.second, metric.second_mean)] {
                let Some(place) = self.arms.iter().position(|one| one.name == *arm) else { continue };
                let n = metric.difference.n_observations;
                if means[place].is_none_or(|(known, _)| n > known) {
                    means[place] = Some((n, mean));
                }
            }
        }
        let means = means.into_iter().map(|mean| mean.map(|(_, mean)| mean)).collect();
        Some(SideBySide { metric: name, unit: unit?, taught: None, trained: None, n_having, means })
    }
}
