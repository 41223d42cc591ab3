//! Two or more ways of answering, side by side: which is better, where that can be shown, what each costs, and where wrong answers come from.
//!
//! [`compare`] matches the questions of several files ([`matching`](Mismatches)), forms paired differences of each metric that two of them
//! share, and adjusts their p-values by Holm over all pairs and metrics. A way wins only where its adjusted p-value is below one minus the
//! confidence; otherwise no difference was shown. [`markdown`] and [`html`](html()) write the outcome for people; as JSON it is [`Comparison`] itself.

mod attribution;
mod corpus;
mod cost;
mod error;
mod html;
mod judge;
mod markdown;
mod matching;
mod pairs;
mod recommend;
mod side_by_side;
#[cfg(test)]
mod tests;
mod training;
#[cfg(test)]
mod training_tests;
mod units;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::results::{Arm, Results, SetMetrics};
use crate::statistics::{Bootstrap, McNemar, MeanDifference, Randomisation};

pub use attribution::Attribution;
pub use corpus::CorpusComparison;
pub use cost::{Cost, Payback};
pub use error::ComparisonError;
pub use html::{HtmlOptions, Language, MAX_QUESTIONS, html};
pub use judge::{JUDGE_PROMPT, JudgedOutcome, JudgedPair, JudgedQuestion, Judgement, judge};
pub use markdown::markdown;
pub use matching::{Mismatch, MismatchKind, Mismatches};
pub use recommend::{RULES, Recommendation, Rule};
pub use side_by_side::SideBySide;
pub use training::{Group, ListedLeak, Taught, Training, TrainingCheck};
pub use units::{Unit, p_value_text};

use matching::Matched;

/// What `schema` says in a comparison.
pub const SCHEMA: &str = "dyag-comparison/1";

/// How to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Metrics to compare, the most important one first; all that are shared when empty.
    pub metrics: Vec<String>,
    /// The largest share of questions that may be missing from one of the files.
    pub max_mismatch: f64,
    /// The chance with which an interval holds the true difference. One minus it is the chance of calling any difference falsely.
    pub confidence: f64,
    /// The seed of everything that is drawn.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { metrics: Vec::new(), max_mismatch: 0.05, confidence: 0.95, seed: 42 }
    }
}

/// A way of answering, and what it is called here.
#[derive(Clone, Debug, PartialEq)]
pub struct Contestant {
    /// Its name, different from the others'.
    pub name: String,
    /// Its results.
    pub results: Results,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Who was compared.
    pub arms: Vec<ArmSummary>,
    /// Which questions.
    pub questions: Questions,
    /// How.
    pub method: Method,
    /// The metric that recommendations are about: the first that was asked for, or the one that says most plainly what is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_metric: Option<String>,
    /// Every two of them.
    pub pairs: Vec<Pair>,
    /// Where wrong answers come from, for ways that search first.
    pub attribution: Vec<Attribution>,
    /// What was taught of the questions, for ways whose training set is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<TrainingCheck>,
    /// What a language model says, where one was asked; nothing follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// What follows, and from which figures.
    pub recommendations: Vec<Recommendation>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

/// One of those compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmSummary {
    /// Its name here.
    pub name: String,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// The model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Rows in its file.
    pub n_rows: usize,
    /// Questions without an answer, because of an error.
    pub n_failed: usize,
    /// Figures over its whole file: those of its rows, and whatever else the file gives.
    pub metrics: BTreeMap<String, f64>,
    /// What it took.
    pub cost: Cost,
}

/// The questions that were compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Questions {
    /// Those that every file has.
    pub n_compared: usize,
    /// The documents they are about, where that is known.
    pub n_documents: usize,
    /// What is taken for independent.
    pub clustered_by: ClusteredBy,
    /// Those that some file lacks or words otherwise.
    pub mismatches: Mismatches,
}

/// What is taken for independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusteredBy {
    /// Documents: questions about one document belong together.
    Document,
    /// Questions, since fewer than two documents are known.
    Question,
}

/// How differences were judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    /// How intervals and p-values were formed.
    pub interval: &'static str,
    /// How p-values were adjusted.
    pub adjustment: &'static str,
    /// Tests of quality that were adjusted together.
    pub n_tests: usize,
    /// The confidence of intervals.
    pub confidence: f64,
    /// The seed.
    pub seed: u64,
}

/// Two ways, and everything that differs. Differences are those of the second less the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The first's name.
    pub first: String,
    /// The second's name.
    pub second: String,
    /// Quality.
    pub metrics: Vec<MetricComparison>,
    /// Scores of the whole sets of answers that are no means of single answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corpus: Vec<CorpusComparison>,
    /// Time and tokens of each question.
    pub cost: Vec<MetricComparison>,
    /// Figures over whole sets, where a file holds no rows to pair.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_figures: Vec<SetFigure>,
    /// When training is paid back by faster answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payback: Option<Payback>,
}

/// What can be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first is better, after adjustment.
    First,
    /// The second is better, after adjustment.
    Second,
    /// Equal, on every question where there are questions.
    Tie,
    /// They differ, by no more than chance does.
    NoDifferenceShown,
    /// Only figures over a set are known, which cannot be tested.
    NotTestable,
}

/// A metric of two ways, question by question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricComparison {
    /// Its name.
    pub metric: String,
    /// How it was computed, where both files say the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// What it is counted in.
    pub unit: Unit,
    /// Which direction is good.
    pub higher_is_better: bool,
    /// Compared questions that lack it in one of the files, or for which it says nothing (numbers that agree where none is expected).
    pub n_left_out: usize,
    /// The first's mean over the questions compared.
    pub first_mean: f64,
    /// The second's.
    pub second_mean: f64,
    /// The second less the first.
    pub difference: MeanDifference,
    /// The p-value after adjustment.
    pub p_adjusted: f64,
    /// What can be said.
    pub verdict: Verdict,
    /// The winner's name, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<String>,
    /// Questions that one answers better than the other.
    pub wins: Wins,
    /// The same by category, where questions have one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryWins>,
    /// For metrics that are yes or no: McNemar's test, which takes questions for independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcnemar: Option<McNemar>,
    /// A test without assumptions about distributions: the two names exchanged by document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub randomisation: Option<Randomisation>,
    /// The percentile bootstrap by document, for comparison: too narrow where documents are few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
}

/// How many questions each answers better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wins {
    /// The first.
    pub first: usize,
    /// The second.
    pub second: usize,
    /// Neither.
    pub ties: usize,
}

/// Wins within one category. They describe; nothing is tested.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CategoryWins {
    /// The category.
    pub category: String,
    /// The first's mean.
    pub first_mean: f64,
    /// The second's.
    pub second_mean: f64,
    /// Wins.
    pub wins: Wins,
}

/// A figure over two whole sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetFigure {
    /// Its name.
    pub metric: String,
    /// The first's.
    pub first: f64,
    /// The second's.
    pub second: f64,
    /// [`Verdict::Tie`] or [`Verdict::NotTestable`].
    pub verdict: Verdict,
}

impl Comparison {
    /// Where `name` is shown to answer worse than another: the metric and the other's name.
    pub fn shown_worse(&self, name: &str) -> Vec<(&str, &str)> {
        let worse = |pair: &Pair, verdict: Verdict| {
            (verdict == Verdict::First && pair.second == name) || (verdict == Verdict::Second && pair.first == name)
        };
        let outcomes = self.pairs.iter().flat_map(|pair| {
            let metrics = pair.metrics.iter().map(|one| (one.verdict, one.metric.as_str(), &one.winner));
            let corpus = pair.corpus.iter().map(|one| (one.verdict, one.metric.as_str(), &one.winner));
            metrics.chain(corpus).map(move |outcome| (pair, outcome))
        });
        outcomes
            .filter(|(pair, (verdict, ..))| worse(pair, *verdict))
            .filter_map(|(_, (_, metric, winner))| Some((metric, winner.as_deref()?)))
            .collect()
    }
}

/// Compares two or more ways of answering.
///
/// # Errors
/// Fewer than two, or two of one name; a file without rows and figures; options that are no shares; a number that is none; questions that
/// the files do not share, beyond the share allowed; a metric asked for that no two files have.
pub fn compare(contestants: &[Contestant], options: &Options) -> Result<Comparison, ComparisonError> {
    compare_trained(contestants, &[], options)
}

/// The same, with the training sets of those that learned from some: questions that training asked are counted, and results are given
/// without them, and by what was taught.
///
/// # Errors
/// As [`compare`].
pub fn compare_trained(contestants: &[Contestant], trainings: &[Training], options: &Options) -> Result<Comparison, ComparisonError> {
    check(contestants, options)?;
    let with_rows: Vec<&Contestant> = contestants.iter().filter(|contestant| !contestant.results.results.is_empty()).collect();
    let matched = Matched::new(&with_rows, options.max_mismatch)?;
    let mut notes = notes(contestants, &matched);
    let judged = pairs::pairs(contestants, &matched, options, &mut notes)?;
    let attribution = with_rows.iter().filter_map(|contestant| attribution::attribute(contestant, &mut notes)).collect::<Vec<_>>();
    let training =
        trainings.iter().map(|training| training::check(training, contestants, &matched, options)).collect::<Result<Vec<_>, _>>()?;
    notes.extend(training.iter().filter(|check| check.n_leaked > 0).map(|check| {
        format!(
            "{} of the questions compared stand in the training set of {} in the same or nearly the same words: what is known of them may be memory of the very words; results without them are given beside",
            check.n_leaked,
            check.arms.join(" and ")
        )
    }));
    let mut comparison = Comparison {
        schema: SCHEMA,
        arms: contestants.iter().map(summary).collect(),
        questions: matched.questions(),
        method: Method {
            interval: "paired differences; CR2 variance by document, t with Satterthwaite degrees of freedom; corpus scores by exchanging the two names by document",
            adjustment: "Holm, over all pairs and metrics of quality; scores of whole sets by themselves, and so time and tokens",
            n_tests: judged.iter().map(|pair| pair.metrics.len()).sum(),
            confidence: options.confidence,
            seed: options.seed,
        },
        primary_metric: primary_metric(&judged, options),
        pairs: judged,
        attribution,
        training,
        judgement: None,
        recommendations: Vec::new(),
        notes,
    };
    comparison.recommendations = recommend::recommend(&comparison);
    Ok(comparison)
}

/// Whether a metric of rows is compared under these options. What a reader need not keep is what no options ask for.
pub fn is_compared(metric: &str, options: &Options) -> bool {
    if options.metrics.is_empty() { units::is_headline(metric, None) } else { options.metrics.iter().any(|wanted| wanted == metric) }
}

fn check(contestants: &[Contestant], options: &Options) -> Result<(), ComparisonError> {
    let Options { metrics: _, max_mismatch, confidence, seed: _ } = options;
    if !(0.0..=1.0).contains(max_mismatch) {
        return Err(ComparisonError::Share { name: "the share of mismatches", value: *max_mismatch });
    }
    if !(*confidence > 0.0 && *confidence < 1.0) {
        return Err(ComparisonError::Share { name: "the confidence", value: *confidence });
    }
    if contestants.len() < 2 {
        return Err(ComparisonError::TooFew { n: contestants.len() });
    }
    for (index, contestant) in contestants.iter().enumerate() {
        let Contestant { name, results } = contestant;
        if contestants[..index].iter().any(|other| other.name == *name) {
            return Err(ComparisonError::SameName { name: name.clone() });
        }
        if results.results.is_empty() && results.metrics.values.is_empty() {
            return Err(ComparisonError::Empty { name: name.clone() });
        }
        if let Some(key) = results.first_not_finite() {
            return Err(ComparisonError::NotFinite { name: name.clone(), key });
        }
    }
    Ok(())
}

fn summary(contestant: &Contestant) -> ArmSummary {
    let Contestant { name, results } = contestant;
    let mut metrics = results.metrics.values.clone();
    metrics.extend(SetMetrics::of_rows(&results.results).values);
    ArmSummary {
        name: name.clone(),
        arm: results.metadata.arm,
        model: results.metadata.model.clone(),
        base_model: results.metadata.base_model.clone(),
        n_rows: results.results.len(),
        n_failed: results.results.iter().filter(|row| row.error.is_some()).count(),
        metrics,
        cost: Cost::of(results),
    }
}

/// What holds for the comparison as a whole.
fn notes(contestants: &[Contestant], matched: &Matched<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    for contestant in contestants.iter().filter(|contestant| contestant.results.results.is_empty()) {
        notes.push(format!(
            "{} holds figures over the whole set and no rows: nothing can be compared question by question, so no difference can be shown",
            contestant.name
        ));
    }
    let hashes: Vec<&str> = contestants.iter().filter_map(|contestant| contestant.results.metadata.dataset_sha256.as_deref()).collect();
    if hashes.windows(2).any(|pair| pair[0] != pair[1]) {
        notes.push("the files name different question sets (dataset_sha256): only the questions they share are compared".to_owned());
    }
    if matched.n_compared() > 0 && matched.clustered_by() == ClusteredBy::Question {
        notes.push(match matched.n_documents() {
            0 => "no row names its document: questions are taken for independent, which makes intervals too narrow when several are about one document",
            _ => "all questions are about one document: intervals speak of further questions about it, not of other documents",
        }.to_owned());
    } else if (2..5).contains(&matched.n_documents()) {
        notes.push(format!("only {} documents: intervals are wide, and rest on few observations", matched.n_documents()));
    }
    notes
}

/// Metrics that say most plainly whether an answer is right, in this order.
const PLAIN: [&str; 7] = ["correct", "is_correct", "exact_match", "contains", "token_f1", "f1", "rouge_l"];

/// The metric that recommendations are about.
fn primary_metric(pairs: &[Pair], options: &Options) -> Option<String> {
    let known = |name: &str| pairs.iter().any(|pair| pair.metrics.iter().any(|metric| metric.metric == name));
    let asked = options.metrics.iter().map(String::as_str).find(|name| known(name));
    let mut names = pairs.iter().flat_map(|pair| &pair.metrics).map(|metric| metric.metric.as_str());
    let first = || names.find(|name| !units::is_about_passages(name));
    asked.or_else(|| PLAIN.into_iter().find(|name| known(name))).or_else(first).map(str::to_owned)
}
