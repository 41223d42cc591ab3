//! The report on a training set: coverage, what was left out and why, what is missing and why.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::candidates::Unit;
use super::document::Document;
use super::parts::Part;
use super::quality::Drops;
use super::training::{Kind, Method, TrainingItem, TrainingOptions, documents_of};

/// Wordings of a fact that training is advised to have,
const ADVISED_WORDINGS: usize = 3;
/// and without which nothing is advised.
const FEWEST_ADVISED: f64 = 1.5;
/// Documents named in a report that no item covers.
const MAX_NAMED: usize = 20;

/// What was found, left out and covered.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How the set was made.
    pub method: Method,
    /// Items asked for.
    pub requested: usize,
    /// Items made.
    pub made: usize,
    /// Items by part.
    pub parts: BTreeMap<&'static str, usize>,
    /// Items by what they ask for.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Items by what their passages are to the question; empty where examples show no passages.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<&'static str, usize>,
    /// Items by category.
    pub categories: BTreeMap<String, usize>,
    /// Documents, and how items are spread over them.
    pub documents: Coverage,
    /// Facts that were found.
    pub facts: usize,
    /// Of these, the facts to learn.
    pub taught: Taught,
    /// Wordings that items could be drawn from.
    pub wordings: usize,
    /// What was left out, by reason and category.
    pub dropped: Drops,
    /// Why there are fewer items than asked for, in sentences; empty when there are not.
    pub shortfall: Vec<String>,
}

/// The facts to learn, and in how many wordings each is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Taught {
    /// Facts with at least one item to learn whose passages, where it shows some, do not leave them out.
    pub facts: usize,
    /// Wordings of all of them.
    pub wordings: usize,
    /// Facts that one wording alone asks for.
    pub in_one_wording: usize,
    /// What to ask for instead; none where most facts have several wordings already, or there are hardly more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

/// A number of items that gives every fact that was found several wordings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Items to ask for.
    pub count: usize,
    /// Wordings that a fact then has, in the mean and about.
    pub wordings: f64,
}

impl Taught {
    fn of(items: &[TrainingItem], requested: usize, [found, available]: [usize; 2]) -> Self {
        let mut of_fact: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for item in items.iter().filter(|item| item.part == Part::Train && item.kind != Kind::Unanswerable && !item.is_withheld()) {
            for field in item.fields.iter().collect::<BTreeSet<_>>() {
                *of_fact.entry((item.document.as_str(), field.as_str())).or_default() += 1;
            }
        }
        let (facts, wordings) = (of_fact.len(), of_fact.values().sum::<usize>());
        let in_one_wording = of_fact.values().filter(|n| **n == 1).count();
        // A fact gets a second wording when every fact has one: all that were found count, and what is no fact keeps its share. Never more than there are.
        let wanted = (requested * ADVISED_WORDINGS * found.max(facts)).div_ceil(wordings.max(1));
        let count = wanted.min(available);
        let advice = Advice { count, wordings: ADVISED_WORDINGS as f64 * count as f64 / wanted.max(1) as f64 };
        let has_more = count > requested && items.len() >= requested && advice.wordings >= FEWEST_ADVISED;
        Self { facts, wordings, in_one_wording, advice: (2 * in_one_wording > facts && has_more).then_some(advice) }
    }

    /// Wordings of a fact in the mean.
    pub fn mean_wordings(&self) -> f64 {
        self.wordings as f64 / self.facts.max(1) as f64
    }
}

/// How items are spread over documents.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// Documents there are.
    pub total: usize,
    /// Documents with at least one item.
    pub covered: usize,
    /// Documents with at least one item to learn.
    pub taught: usize,
    /// Items of the document with the fewest, among those covered.
    pub fewest: usize,
    /// Items of the document with the most.
    pub most: usize,
    /// Names of documents without an item; the first twenty.
    pub uncovered: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        documents: &[Document<'_>],
        facts: usize,
        units: &[Unit],
        items: &[TrainingItem],
        dropped: Drops,
        options: &TrainingOptions,
    ) -> Self {
        let mut parts = BTreeMap::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for item in items {
            *parts.entry(item.part.name()).or_default() += 1;
            *counts.entry(item.document.as_str()).or_default() += 1;
        }
        let wordings = units.iter().map(|unit| unit.wordings.len()).sum();
        let uncovered =
            documents.iter().filter(|document| !counts.contains_key(document.key.as_str())).map(|document| document.name.clone());
        let coverage = Coverage {
            total: documents.len(),
            covered: counts.len(),
            taught: documents_of(items.iter().filter(|item| item.part == Part::Train)).len(),
            fewest: counts.values().copied().min().unwrap_or(0),
            most: counts.values().copied().max().unwrap_or(0),
            uncovered: uncovered.take(MAX_NAMED).collect(),
        };
        let mut shortfall = shortfall(&coverage, facts, wordings, items.len(), units, &dropped, options);
        if options.split.is_some() && !items.is_empty() && !parts.contains_key(Part::Test.name()) {
            shortfall.push("none is left to test with: a tenth of --count is, where documents give as many".to_owned());
        }
        let mut report = Self {
            method: options.method,
            requested: options.count,
            made: items.len(),
            parts,
            kinds: BTreeMap::new(),
            contexts: BTreeMap::new(),
            categories: BTreeMap::new(),
            documents: coverage,
            facts,
            taught: Taught::default(),
            wordings,
            dropped,
            shortfall,
        };
        report.recount(items);
        report
    }

    /// Counts items by kind, category and context, and facts to learn, anew.
    pub(super) fn recount(&mut self, items: &[TrainingItem]) {
        self.taught = Taught::of(items, self.requested, [self.facts, self.wordings]);
        self.kinds.clear();
        self.categories.clear();
        self.contexts.clear();
        for item in items {
            let kind = match item.kind {
                Kind::Fact => "fact",
                Kind::Combined => "combined",
                Kind::Unanswerable => "unanswerable",
            };
            *self.kinds.entry(kind).or_default() += 1;
            *self.categories.entry(item.category.clone()).or_default() += 1;
            if let Some(context) = &item.context {
                *self.contexts.entry(context.kind.name()).or_default() += 1;
            }
        }
    }

    /// The report for people.
    pub fn lines(&self) -> Vec<String> {
        let counts =
            |counts: &BTreeMap<&'static str, usize>| counts.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ");
        let Coverage { total, covered, taught, fewest, most, uncovered } = &self.documents;
        let mut lines = vec![format!("{} of {} examples: {}", self.made, self.requested, counts(&self.parts))];
        lines.push(format!("from {} facts in {} wordings: {}", self.facts, self.wordings, counts(&self.kinds)));
        lines.push(format!("documents: {covered} of {total} covered, {taught} of them taught, {fewest} to {most} examples each"));
        let Taught { facts, wordings: _, in_one_wording, advice } = self.taught;
        lines.push(format!(
            "taught: {facts} facts in {:.1} wordings on average, {in_one_wording} of them in one alone",
            self.taught.mean_wordings()
        ));
        if let Some(Advice { count, wordings }) = advice {
            lines.push(format!(
                "to be known by heart a fact needs several wordings: --count {count} would give each about {wordings:.1}; fewer documents need fewer"
            ));
        }
        if !self.contexts.is_empty() {
            lines.push(format!("passages: {}", counts(&self.contexts)));
        }
        if !uncovered.is_empty() {
            let more = (total - covered).saturating_sub(uncovered.len());
            lines.push(format!(
                "without an example: {}{}",
                uncovered.join(", "),
                if more > 0 { format!(" and {more} more") } else { String::new() }
            ));
        }
        let width = self.categories.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        lines.push("categories:".to_owned());
        lines.extend(self.categories.iter().map(|(name, n)| format!("  {name:<width$} {n:>6}")));
        let dropped: Vec<String> = self.dropped.totals().map(|(reason, n)| format!("  {n:>6} {}", reason.words())).collect();
        if !dropped.is_empty() {
            lines.push("left out:".to_owned());
            lines.extend(dropped);
        }
        lines.extend(self.shortfall.iter().map(|sentence| format!("fewer than asked for: {sentence}")));
        lines
    }
}

fn shortfall(
    coverage: &Coverage,
    facts: usize,
    wordings: usize,
    made: usize,
    units: &[Unit],
    dropped: &Drops,
    options: &TrainingOptions,
) -> Vec<String> {
    let mut sentences = Vec::new();
    if made >= options.count {
        return sentences;
    }
    sentences
        .push(format!("{facts} facts in {} documents have {wordings} different wordings, of which {made} could be used", coverage.total));
    if options.split.is_some() {
        let testable = units.iter().filter(|unit| unit.wordings.len() > 1).count();
        sentences.push(format!("{testable} of {} can be asked in a second wording, which a test by wording needs", units.len()));
    }
    let n_dropped: usize = dropped.totals().map(|(_, n)| n).sum();
    if n_dropped > 0 {
        sentences.push(format!("{n_dropped} were left out, for the reasons above"));
    }
    sentences.push("more documents, more wordings in the rule file, or --method augmented would give more".to_owned());
    sentences
}
