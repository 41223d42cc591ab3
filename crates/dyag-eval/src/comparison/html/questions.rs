//! Which questions are shown, who answered each of them better, and what can be filtered by.

use std::collections::BTreeSet;

use super::super::Comparison;
use super::super::matching::Matched;
use super::super::units::{Unit, higher_is_better};
use super::page::{Page, Part};
use super::{Context, filters, question};
use crate::results::Row;

/// From it on an answer is right, as where causes of wrong answers are told.
const RIGHT_FROM: f64 = 0.5;
/// The most bytes of texts that all questions of a page may have, however few those are.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// With more questions, a browser lays out only what is near the window.
const MAX_LAID_OUT: usize = 300;
/// Metrics beside the primary one whose values stand with each answer.
const MAX_OTHER_METRICS: usize = 3;

/// The questions of a page.
pub(super) struct Asked<'a> {
    /// The ways that have rows, and their places among all that are compared.
    pub(super) arms: Vec<(&'a str, usize)>,
    pub(super) judge: Option<Judge<'a>>,
    /// Metrics whose values are shown, the judge's first.
    pub(super) metrics: Vec<(&'a str, Unit)>,
    pub(super) questions: Vec<Question<'a>>,
    /// How many were compared.
    n_compared: usize,
    pub(super) categories: Vec<&'a str>,
    pub(super) documents: Vec<&'a str>,
    /// The language that all answers are in, where that is known.
    pub(super) language: Option<String>,
}

/// The metric that says which answer is better.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) metric: &'a str,
    higher_is_better: bool,
    /// Whether it says what is right, too.
    pub(super) tells_right: bool,
}

impl Judge<'_> {
    /// A row's score; a question that failed has 0 where more is better, as in comparisons.
    pub(super) fn score(&self, row: &Row) -> Option<f64> {
        row.metrics.get(self.metric).copied().or_else(|| (self.higher_is_better && row.error.is_some()).then_some(0.0))
    }

    /// Whether an answer is right, where that is known.
    pub(super) fn is_right(&self, row: &Row) -> Option<bool> {
        self.score(row).filter(|_| self.tells_right).map(|score| score >= RIGHT_FROM)
    }

    pub(super) fn is_better(&self, a: f64, b: f64) -> bool {
        if self.higher_is_better { a > b } else { a < b }
    }
}

/// A question and the row of each way.
pub(super) struct Question<'a> {
    /// Its place among those compared.
    pub(super) place: usize,
    pub(super) rows: &'a [&'a Row],
    pub(super) outcome: Outcome,
}

/// Who answered better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Some are better than others: the best, by place.
    Best(Vec<usize>),
    AllRight,
    AllWrong,
    /// Equal, and not known to be right or wrong.
    Equal,
    NotJudged,
}

impl Outcome {
    fn of(judge: Option<Judge<'_>>, rows: &[&Row]) -> Self {
        let Some(judge) = judge else { return Self::NotJudged };
        let Some(scores) = rows.iter().map(|row| judge.score(row)).collect::<Option<Vec<f64>>>() else { return Self::NotJudged };
        let is_best = |score: f64| !scores.iter().any(|other| judge.is_better(*other, score));
        let best: Vec<usize> = (0..scores.len()).filter(|place| is_best(scores[*place])).collect();
        if best.len() < scores.len() {
            Self::Best(best)
        } else if !judge.tells_right {
            Self::Equal
        } else if scores[0] >= RIGHT_FROM {
            Self::AllRight
        } else {
            Self::AllWrong
        }
    }

    /// Which come first where not all can be shown.
    fn rank(&self) -> u8 {
        match self {
            Self::Best(_) => 0,
            Self::AllWrong => 1,
            Self::Equal | Self::NotJudged => 2,
            Self::AllRight => 3,
        }
    }
}

impl<'a> Asked<'a> {
    /// The questions to show, in the order of the first file; none where no two files share any.
    pub(super) fn new(comparison: &'a Comparison, matched: Option<&'a Matched<'_>>, language: Option<String>, most: usize) -> Option<Self> {
        let matched = matched.filter(|matched| matched.n_compared() > 0)?;
        let place = |name: &str| comparison.arms.iter().position(|arm| arm.name == name).unwrap_or(0);
        let arms: Vec<(&str, usize)> = matched.names().iter().map(|name| (*name, place(name))).collect();
        let compared = || comparison.pairs.iter().flat_map(|pair| &pair.metrics);
        let judge = comparison.primary_metric.as_deref().map(|metric| {
            let higher_is_better = higher_is_better(metric);
            let is_share = compared().filter(|one| one.metric == metric).all(|one| one.unit == Unit::Share);
            Judge { metric, higher_is_better, tells_right: higher_is_better && is_share }
        });
        let mut metrics: Vec<(&str, Unit)> = Vec::new();
        let is_first = |name: &str| judge.is_some_and(|judge| judge.metric == name);
        for metric in compared().filter(|one| is_first(&one.metric)).chain(compared()) {
            if metrics.len() <= MAX_OTHER_METRICS && !metrics.iter().any(|(name, _)| *name == metric.metric) {
                metrics.push((&metric.metric, metric.unit));
            }
        }
        let questions = chosen(judge, matched.rows(), most);
        let of = |value: fn(&'a Row) -> Option<&'a str>| -> Vec<&'a str> {
            let values: BTreeSet<&str> = questions.iter().filter_map(|question| question.first(value)).collect();
            values.into_iter().collect()
        };
        let (categories, documents) = (of(|row| row.category.as_deref()), of(|row| row.document.as_deref()));
        Some(Self { arms, judge, metrics, questions, n_compared: matched.n_compared(), categories, documents, language })
    }

    /// The section: what is shown, filters, questions.
    pub(super) fn write(&self, page: &mut Page<'_>, contexts: &[Context<'_>]) {
        let class = if self.questions.len() > MAX_LAID_OUT { "questions many" } else { "questions" };
        page.open("section", &[("aria-labelledby", &"questions"), ("class", &class)]);
        page.raw("\n<h2 id=\"questions\">");
        page.both(|words| words.questions.to_owned());
        page.raw("</h2>\n");
        for context in contexts {
            let code = context.words.language.code();
            page.open("div", &[("class", &code), ("lang", &code)]);
            self.introduction(page, context);
            page.raw("</div>\n");
        }
        filters::write(self, page);
        for question in &self.questions {
            question::write(self, page, question);
        }
        page.raw("</section>\n");
    }

    fn introduction(&self, page: &mut Page<'_>, context: &Context<'_>) {
        let (words, language) = (context.words, context.words.language);
        page.raw("<p>");
        match self.judge.filter(|judge| judge.tells_right) {
            Some(judge) => {
                let from = language.number(&format!("{} %", 100.0 * RIGHT_FROM));
                page.sentence(words.questions_intro, &[Part::Text(words.metric_label(judge.metric).to_owned()), Part::Text(from)]);
            }
            None => page.text(words.questions_unjudged),
        }
        if self.questions.len() < self.n_compared {
            page.raw(" <strong>");
            page.sentence(words.questions_bounded, &[self.questions.len(), self.n_compared].map(|n| Part::Text(language.len(n))));
            page.raw("</strong>");
        }
        page.raw("</p>\n<p class=\"diff-legend\">");
        page.text(words.legend);
        page.raw(" <del>");
        page.text(words.legend_missing);
        page.raw("</del> <ins>");
        page.text(words.legend_added);
        page.raw("</ins> <mark>");
        page.text(words.legend_common);
        page.raw("</mark></p>\n");
    }
}

impl<'a> Question<'a> {
    /// What the first row that says it says.
    pub(super) fn first(&self, value: impl Fn(&'a Row) -> Option<&'a str>) -> Option<&'a str> {
        self.rows.iter().find_map(|row| value(row))
    }
}

/// At most so many questions, and no more than a page's worth of text: first those that differ.
fn chosen<'a>(judge: Option<Judge<'_>>, rows: impl Iterator<Item = &'a [&'a Row]>, most: usize) -> Vec<Question<'a>> {
    let mut all: Vec<Question<'_>> =
        rows.enumerate().map(|(place, rows)| Question { place, rows, outcome: Outcome::of(judge, rows) }).collect();
    all.sort_by_key(|question| question.outcome.rank());
    let mut n_bytes = 0;
    let mut fits = |question: &Question<'_>| {
        n_bytes += question.rows.iter().map(|row| question::text_bytes(row)).sum::<usize>();
        n_bytes <= MAX_TEXT_BYTES
    };
    let n_shown = all.iter().take(most).take_while(|question| fits(question)).count();
    all.truncate(n_shown);
    all.sort_by_key(|question| question.place);
    all
}
