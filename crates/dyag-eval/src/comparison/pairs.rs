//! Two ways at a time: paired differences of every metric that both have.

use std::collections::{BTreeMap, BTreeSet};

use super::corpus::{self, is_corpus_metric};
use super::matching::Matched;
use super::units::{Unit, higher_is_better, is_headline, needs_expected_answer};
use super::{
    CategoryWins, Comparison, ComparisonError, Contestant, CorpusComparison, MetricComparison, Options, Pair, SetFigure, Verdict, Wins,
    cost, summary,
};
use crate::metrics::Language::French;
use crate::metrics::facts;
use crate::results::Row;
use crate::statistics::{McNemar, MeanDifference, cluster_bootstrap_of_mean, holm, sign_flips};

/// Exchanges of a randomisation test, and resampled sets of a bootstrap, where there are not too many clusters for that.
pub(super) const N_EXCHANGES: usize = 9_999;
pub(super) const N_RESAMPLES: usize = 2_000;
/// The most clusters that are drawn over all exchanges or resamples, so that a million questions take seconds.
pub(super) const MAX_DRAWN: usize = 20_000_000;
/// The fewest of each.
pub(super) const MIN_DRAWS: usize = 199;

/// All pairs, with p-values adjusted over all of them.
pub(super) fn pairs(
    contestants: &[Contestant],
    matched: &Matched<'_>,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Vec<Pair>, ComparisonError> {
    check_metrics(contestants, options)?;
    let mut pairs = Vec::new();
    for (index, first) in contestants.iter().enumerate() {
        for second in &contestants[index + 1..] {
            pairs.push(pair(first, second, matched, options, notes));
        }
    }
    let quality = pairs.iter_mut().flat_map(|pair| {
        let names = (&pair.first, &pair.second);
        pair.metrics.iter_mut().map(move |metric| Judged::of(names, metric))
    });
    adjust(quality, options.confidence);
    let corpus = pairs.iter_mut().flat_map(|pair| {
        let names = (&pair.first, &pair.second);
        pair.corpus.iter_mut().map(move |corpus| Judged::of_corpus(names, corpus))
    });
    adjust(corpus, options.confidence);
    let cost = pairs.iter_mut().flat_map(|pair| {
        let names = (&pair.first, &pair.second);
        pair.cost.iter_mut().map(move |metric| Judged::of(names, metric))
    });
    adjust(cost, options.confidence);
    for pair in &mut pairs {
        pair.payback = cost::payback(pair, contestants);
    }
    Ok(pairs)
}

/// The metrics of a file's rows.
fn metrics_of(rows: &[Row]) -> BTreeSet<&str> {
    // Most rows have the names of the row before.
    let mut names = BTreeSet::new();
    for row in rows {
        if !row.metrics.keys().all(|name| names.contains(&**name)) {
            names.extend(row.metrics.keys().map(|name| &**name));
        }
    }
    names
}

fn check_metrics(contestants: &[Contestant], options: &Options) -> Result<(), ComparisonError> {
    let names: Vec<(&str, BTreeSet<&str>)> = contestants.iter().map(|one| (one.name.as_str(), metrics_of(&one.results.results))).collect();
    for metric in options.metrics.iter().filter(|metric| !is_corpus_metric(metric)) {
        if names.iter().filter(|(_, names)| names.contains(metric.as_str())).count() < 2 {
            let list = |names: &BTreeSet<&str>| {
                if names.is_empty() { "none".to_owned() } else { names.iter().copied().collect::<Vec<_>>().join(", ") }
            };
            let found = names.iter().map(|(name, names)| format!("in {name} {}", list(names))).collect::<Vec<_>>().join("; ");
            return Err(ComparisonError::UnknownMetric { metric: metric.clone(), found });
        }
    }
    Ok(())
}

fn pair(first: &Contestant, second: &Contestant, matched: &Matched<'_>, options: &Options, notes: &mut Vec<String>) -> Pair {
    let mut pair = Pair {
        first: first.name.clone(),
        second: second.name.clone(),
        metrics: Vec::new(),
        corpus: Vec::new(),
        cost: Vec::new(),
        set_figures: Vec::new(),
        payback: None,
    };
    let Some(rows) = matched.pairs(&first.name, &second.name) else {
        pair.set_figures = set_figures(first, second);
        return pair;
    };
    let rows: Vec<(&Row, &Row)> = rows.collect();
    let (firsts, seconds) = (metrics_of(&first.results.results), metrics_of(&second.results.results));
    for (only, names) in [(first, firsts.difference(&seconds)), (second, seconds.difference(&firsts))] {
        let other = if std::ptr::eq(only, first) { second } else { first };
        let names: Vec<&str> = names.copied().filter(|name| is_headline(name, None)).collect();
        if !names.is_empty() && options.metrics.is_empty() {
            notes.push(format!("only {} has {}: not compared with {}", only.name, names.join(", "), other.name));
        }
    }
    let shared: Vec<&str> = if options.metrics.is_empty() {
        let language = |one: &Contestant| one.results.metadata.parameters.get("language").and_then(|code| code.as_str()).map(str::to_owned);
        let language = language(first).filter(|code| language(second).as_ref() == Some(code));
        firsts.intersection(&seconds).copied().filter(|name| is_headline(name, language.as_deref())).collect()
    } else {
        let is_shared = |name: &&str| firsts.contains(name) && seconds.contains(name);
        options.metrics.iter().map(String::as_str).filter(is_shared).collect()
    };
    if shared.is_empty() && !options.metrics.iter().any(|name| is_corpus_metric(name)) {
        notes.push(format!("{} and {} share no metric of single answers: only cost is compared", first.name, second.name));
    }
    for name in shared {
        let quality = Quality::of(name, &rows);
        quality.note(name, first, second, notes);
        let signature = |one: &Contestant| one.results.metrics.signatures.get(name).cloned();
        let (of_first, of_second) = (signature(first), signature(second));
        if let (Some(a), Some(b)) = (&of_first, &of_second)
            && a != b
        {
            notes.push(format!(
                "{name} was computed differently: {a} in {}, {b} in {}; the difference means little",
                first.name, second.name
            ));
        }
        let unit = Unit::of(quality.values.iter().flat_map(|(_, a, b)| [*a, *b]));
        if let Some(mut compared) = compared(name, unit, &quality.values, &rows, matched, options) {
            compared.signature = of_first.filter(|signature| of_second.as_ref() == Some(signature));
            pair.metrics.push(tested(compared, &quality.values, matched, options));
        }
    }
    pair.corpus = corpus::compare(&rows, matched, options);
    let time = |row: &Row| row.time_seconds;
    let tokens = |row: &Row| row.total_tokens().map(|tokens| tokens as f64);
    // Waiting times of answers that were made together are those of the batch, not of single questions: they are described, not compared.
    let costs: [(&str, Unit, OfRow<'_>); 2] = [("time_seconds", Unit::Seconds, &time), ("tokens", Unit::Tokens, &tokens)];
    for (name, unit, value) in costs {
        let values = both(&rows, |row| value(row));
        pair.cost.extend(compared(name, unit, &values, &rows, matched, options));
    }
    pair
}

/// A figure of a row.
type OfRow<'a> = &'a dyn Fn(&Row) -> Option<f64>;

/// A question's place, and the values of the two.
type Values = Vec<(usize, f64, f64)>;

fn both(rows: &[(&Row, &Row)], value: impl Fn(&Row) -> Option<f64>) -> Values {
    rows.iter().enumerate().filter_map(|(question, (a, b))| Some((question, value(a)?, value(b)?))).collect()
}

/// The values of a metric of quality, and what is special about them.
struct Quality {
    values: Values,
    n_without_expected: usize,
    n_failures_as_zero: usize,
    n_rows: usize,
    /// There are scores, and all for agreeing where nothing is said.
    nothing_to_agree: bool,
}

/// Whether an expected answer holds a number, a date, a version or an identifier. Where it holds none, whatever holds none agrees, and says nothing by it. (All of them have a digit.)
fn expects_facts(row: &Row) -> bool {
    row.expected_answer.as_deref().is_none_or(|text| text.contains(char::is_numeric) && !facts(text, French).is_empty())
}

impl Quality {
    /// A failed question without a score counts as 0 where more is better, or whoever fails at hard questions would win.
    fn of(name: &str, rows: &[(&Row, &Row)]) -> Self {
        let is_score = higher_is_better(name);
        let lacks_expected = |(a, b): &(&Row, &Row)| a.expected_answer.is_none() && b.expected_answer.is_none();
        let needs_expected = needs_expected_answer(name);
        let value = |row: &Row| row.metrics.get(name).copied().or_else(|| (is_score && row.error.is_some()).then_some(0.0));
        let has_failed = |row: &Row| row.error.is_some() && !row.metrics.contains_key(name);
        let mut values = both(rows, value);
        let before = values.len();
        if needs_expected {
            values.retain(|(question, ..)| !lacks_expected(&rows[*question]));
        }
        let n_without_expected = before - values.len();
        let has_values = !values.is_empty();
        if name == "facts_agree" {
            values.retain(|(question, ..)| expects_facts(rows[*question].0));
        }
        let nothing_to_agree = has_values && values.is_empty();
        // Where both failed, neither answered.
        let n_failures_as_zero = values
            .iter()
            .map(|(question, ..)| usize::from(has_failed(rows[*question].0)) + usize::from(has_failed(rows[*question].1)))
            .sum();
        Self { values, n_without_expected, n_failures_as_zero, n_rows: rows.len(), nothing_to_agree }
    }

    fn note(&self, name: &str, first: &Contestant, second: &Contestant, notes: &mut Vec<String>) {
        let between = format!("{} and {}", first.name, second.name);
        if self.n_without_expected > 0 {
            notes.push(format!(
                "{name} needs expected answers, and {} of {} questions have none: {} ({between})",
                self.n_without_expected,
                self.n_rows,
                if self.values.is_empty() { "it is not compared" } else { "they are left out" }
            ));
        }
        if self.nothing_to_agree {
            notes.push(format!("{name}: no expected answer holds a number, a date or an identifier: it is not compared ({between})"));
        } else if self.values.is_empty() && self.n_without_expected == 0 {
            notes.push(format!("{name}: no question has it in both files: it is not compared ({between})"));
        }
        if self.n_failures_as_zero > 0 {
            notes.push(format!("{name}: {} failed answers without a score count as 0 ({between})", self.n_failures_as_zero));
        }
    }
}

/// The comparison of `values` before adjustment; none without values.
fn compared(
    name: &str,
    unit: Unit,
    values: &Values,
    rows: &[(&Row, &Row)],
    matched: &Matched<'_>,
    options: &Options,
) -> Option<MetricComparison> {
    if values.is_empty() {
        return None;
    }
    let higher_is_better = higher_is_better(name);
    let questions: Vec<usize> = values.iter().map(|(question, ..)| *question).collect();
    let differences: Vec<f64> = values.iter().map(|(_, first, second)| second - first).collect();
    let difference = MeanDifference::new(&differences, &matched.clusters(&questions), options.confidence);
    let mut by_category: BTreeMap<&str, Values> = BTreeMap::new();
    for one in values {
        let (first, second) = rows[one.0];
        if let Some(category) = first.category.as_deref().or(second.category.as_deref()) {
            by_category.entry(category).or_default().push(*one);
        }
    }
    let categories = by_category.into_iter().map(|(category, values)| {
        let (first_mean, second_mean) = means(&values);
        CategoryWins { category: category.to_owned(), first_mean, second_mean, wins: wins(&values, higher_is_better) }
    });
    let (first_mean, second_mean) = means(values);
    Some(MetricComparison {
        metric: name.to_owned(),
        signature: None,
        unit,
        higher_is_better,
        n_left_out: rows.len() - values.len(),
        first_mean,
        second_mean,
        p_adjusted: difference.p_value,
        difference,
        verdict: Verdict::NoDifferenceShown,
        winner: None,
        wins: wins(values, higher_is_better),
        categories: categories.collect(),
        mcnemar: None,
        randomisation: None,
        bootstrap: None,
    })
}

/// Adds the tests that stand beside the interval.
fn tested(mut compared: MetricComparison, values: &Values, matched: &Matched<'_>, options: &Options) -> MetricComparison {
    let questions: Vec<usize> = values.iter().map(|(question, ..)| *question).collect();
    let differences: Vec<f64> = values.iter().map(|(_, first, second)| second - first).collect();
    let clusters = matched.clusters(&questions);
    let draws = |n: usize| n.min(MAX_DRAWN / clusters.len()).max(MIN_DRAWS);
    compared.mcnemar = McNemar::of_pairs(values.iter().map(|(_, first, second)| (*first, *second)));
    // The seed is the same for every metric, so that the same questions are drawn.
    compared.randomisation = Some(sign_flips(&differences, &clusters, draws(N_EXCHANGES), options.seed));
    // Where nothing varies, resampling says nothing either.
    let has_interval = compared.difference.interval.is_some();
    compared.bootstrap =
        has_interval.then(|| cluster_bootstrap_of_mean(&differences, &clusters, draws(N_RESAMPLES), options.confidence, options.seed));
    compared
}

fn means(values: &Values) -> (f64, f64) {
    let n = values.len() as f64;
    (values.iter().map(|(_, first, _)| first).sum::<f64>() / n, values.iter().map(|(_, _, second)| second).sum::<f64>() / n)
}

fn wins(values: &Values, higher_is_better: bool) -> Wins {
    let mut wins = Wins::default();
    for (_, first, second) in values {
        if first == second {
            wins.ties += 1;
        } else if (first > second) == higher_is_better {
            wins.first += 1;
        } else {
            wins.second += 1;
        }
    }
    wins
}

/// A difference whose p-value is one of a family.
struct Judged<'a> {
    names: (&'a String, &'a String),
    p_value: f64,
    is_tie: bool,
    is_second_better: bool,
    p_adjusted: &'a mut f64,
    verdict: &'a mut Verdict,
    winner: &'a mut Option<String>,
}

impl<'a> Judged<'a> {
    fn of(names: (&'a String, &'a String), metric: &'a mut MetricComparison) -> Self {
        Self {
            names,
            p_value: metric.difference.p_value,
            is_tie: metric.wins.first + metric.wins.second == 0,
            is_second_better: (metric.difference.mean > 0.0) == metric.higher_is_better,
            p_adjusted: &mut metric.p_adjusted,
            verdict: &mut metric.verdict,
            winner: &mut metric.winner,
        }
    }

    fn of_corpus(names: (&'a String, &'a String), corpus: &'a mut CorpusComparison) -> Self {
        Self {
            names,
            p_value: corpus.randomisation.p_value,
            is_tie: corpus.verdict == Verdict::Tie,
            is_second_better: corpus.difference > 0.0,
            p_adjusted: &mut corpus.p_adjusted,
            verdict: &mut corpus.verdict,
            winner: &mut corpus.winner,
        }
    }
}

/// Adjusts p-values over a family and says what each difference comes to.
fn adjust<'a>(family: impl Iterator<Item = Judged<'a>>, confidence: f64) {
    let family: Vec<Judged<'a>> = family.collect();
    let adjusted = holm(&family.iter().map(|judged| judged.p_value).collect::<Vec<_>>());
    for (judged, p_adjusted) in family.into_iter().zip(adjusted) {
        *judged.p_adjusted = p_adjusted;
        *judged.verdict = if judged.is_tie {
            Verdict::Tie
        } else if p_adjusted >= 1.0 - confidence {
            Verdict::NoDifferenceShown
        } else if judged.is_second_better {
            Verdict::Second
        } else {
            Verdict::First
        };
        *judged.winner = match judged.verdict {
            Verdict::First => Some(judged.names.0.clone()),
            Verdict::Second => Some(judged.names.1.clone()),
            _ => None,
        };
    }
}

fn set_figures(first: &Contestant, second: &Contestant) -> Vec<SetFigure> {
    let (firsts, seconds) = (summary(first).metrics, summary(second).metrics);
    let figure = |(name, value): (&String, &f64)| {
        let other = *seconds.get(name)?;
        let verdict = if *value == other { Verdict::Tie } else { Verdict::NotTestable };
        Some(SetFigure { metric: name.clone(), first: *value, second: other, verdict })
    };
    firsts.iter().filter_map(figure).collect()
}

impl Comparison {
    /// The comparison of the primary metric in a pair.
    pub(super) fn primary<'a>(&self, pair: &'a Pair) -> Option<&'a MetricComparison> {
        let name = self.primary_metric.as_deref()?;
        pair.metrics.iter().find(|metric| metric.metric == name)
    }
}
