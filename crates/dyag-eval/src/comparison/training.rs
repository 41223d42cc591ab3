//! What a training set taught of the questions that are compared: leaks, and results by what was taught.

use dyag_text::dataset::{AskedQuestion, Teaching, TrainingSet};
use serde::Serialize;

use super::matching::Matched;
use super::{ComparisonError, Contestant, Options, Pair, pairs};
use crate::results::Row;

/// So many leaks are listed; all are counted.
const MAX_LISTED: usize = 50;

/// The training set of one or several of the ways compared.
#[derive(Debug)]
pub struct Training {
    /// The names of those that learned from it.
    pub arms: Vec<String>,
    /// The file, as people know it.
    pub name: String,
    /// Its questions and facts.
    pub set: TrainingSet,
}

/// What a training set taught of the questions compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingCheck {
    /// The names of those that learned from it.
    pub arms: Vec<String>,
    /// The file.
    pub training_set: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its rows.
    pub n_rows: usize,
    /// Questions that training asked in the same or nearly the same words, about the same document and field.
    pub n_leaked: usize,
    /// Questions whose fact was taught in another wording.
    pub n_other_wording: usize,
    /// Questions whose fact was never taught.
    pub n_never: usize,
    /// Questions that say neither what they are about nor what the answer should be.
    pub n_unknown: usize,
    /// The first of the leaks.
    pub leaks: Vec<ListedLeak>,
    /// Results of some of the questions, adjusted within each group.
    pub groups: Vec<Group>,
}

/// A question that training asked too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedLeak {
    /// The question's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The question.
    pub question: String,
    /// Where training asks it, such as `line 3`.
    pub training_place: String,
    /// As it is asked there.
    pub training_question: String,
    /// How similar the wordings are, up to 1.
    pub similarity: f64,
}

/// Questions that training treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taught {
    /// Asked in the same or nearly the same words.
    Leaked,
    /// All but those.
    WithoutLeaks,
    /// The fact was taught in another wording.
    OtherWording,
    /// The fact was never taught.
    Never,
}

impl Taught {
    /// In a heading.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Leaked => "asked as training asked them",
            Self::WithoutLeaks => "without those that training asked",
            Self::OtherWording => "taught in another wording",
            Self::Never => "never taught",
        }
    }
}

/// Results of some of the questions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Which.
    pub taught: Taught,
    /// How many.
    pub n_questions: usize,
    /// Quality, two ways at a time. Empty when the group is none or all of the questions.
    pub pairs: Vec<Pair>,
}

/// Looks at one training set.
pub(super) fn check(
    training: &Training,
    contestants: &[Contestant],
    matched: &Matched<'_>,
    options: &Options,
) -> Result<TrainingCheck, ComparisonError> {
    let teachings: Vec<Teaching> = matched.rows().map(|rows| training.set.teaching(&asked(rows))).collect();
    let places = |is_in: &dyn Fn(&Teaching) -> bool| -> Vec<usize> {
        teachings.iter().enumerate().filter(|(_, teaching)| is_in(teaching)).map(|(place, _)| place).collect()
    };
    let leaked = places(&|teaching| matches!(teaching, Teaching::Leaked { .. }));
    let other_wording = places(&|teaching| matches!(teaching, Teaching::OtherWording { .. }));
    let never = places(&|teaching| matches!(teaching, Teaching::Never));
    let without = places(&|teaching| !matches!(teaching, Teaching::Leaked { .. }));
    let (n_leaked, n_other_wording, n_never) = (leaked.len(), other_wording.len(), never.len());
    let listed = matched.rows().zip(&teachings).filter_map(|(rows, teaching)| match teaching {
        Teaching::Leaked { source, question, similarity } => Some(ListedLeak {
            id: rows[0].id.clone(),
            question: rows[0].question.clone(),
            training_place: source.place(),
            training_question: question.clone(),
            similarity: *similarity,
        }),
        _ => None,
    });
    let groups = [(Taught::Leaked, leaked), (Taught::WithoutLeaks, without), (Taught::OtherWording, other_wording), (Taught::Never, never)];
    let group = |(taught, places): (Taught, Vec<usize>)| {
        let is_part = !places.is_empty() && places.len() < teachings.len();
        let pairs = if is_part { quality(contestants, &matched.subset(&places), options)? } else { Vec::new() };
        Ok(Group { taught, n_questions: places.len(), pairs })
    };
    Ok(TrainingCheck {
        arms: training.arms.clone(),
        training_set: training.name.clone(),
        sha256: training.set.sha256.clone(),
        n_rows: training.set.n_rows,
        n_leaked,
        n_other_wording,
        n_never,
        n_unknown: teachings.len() - n_leaked - n_other_wording - n_never,
        leaks: listed.take(MAX_LISTED).collect(),
        groups: groups.into_iter().map(group).collect::<Result<_, _>>()?,
    })
}

/// Metrics of quality over some of the questions; time and tokens do not depend on what was taught.
fn quality(contestants: &[Contestant], matched: &Matched<'_>, options: &Options) -> Result<Vec<Pair>, ComparisonError> {
    let mut pairs = pairs::pairs(contestants, matched, options, &mut Vec::new())?;
    for pair in &mut pairs {
        pair.cost.clear();
        pair.set_figures.clear();
        pair.payback = None;
    }
    pairs.retain(|pair| !pair.metrics.is_empty() || !pair.corpus.is_empty());
    Ok(pairs)
}

/// What the rows of a question say of it; a file may say less than another.
fn asked<'a>(rows: &[&'a Row]) -> AskedQuestion<'a> {
    AskedQuestion {
        question: &rows[0].question,
        expected_answer: rows.iter().find_map(|row| row.expected_answer.as_deref()),
        document: rows.iter().find_map(|row| row.document.as_deref()),
        field: rows.iter().find_map(|row| row.other.get("field")?.as_str()),
        category: rows.iter().find_map(|row| row.category.as_deref()),
    }
}

impl TrainingCheck {
    /// The questions that were looked at.
    pub fn n_questions(&self) -> usize {
        self.n_leaked + self.n_other_wording + self.n_never + self.n_unknown
    }

    /// What the check found, in a sentence.
    pub fn sentence(&self) -> String {
        let n = self.n_questions();
        let unknown = if self.n_unknown > 0 { format!(", of {} it cannot be told", self.n_unknown) } else { String::new() };
        format!(
            "{}: of {n} questions, {} were asked in training in the same or nearly the same words, {} were taught in another wording, {} were never taught{unknown} ({})",
            self.arms.join(" and "),
            self.n_leaked,
            self.n_other_wording,
            self.n_never,
            self.training_set,
        )
    }
}
