//! Which row of one file answers the question of which row of another.

use std::collections::{HashMap, HashSet, VecDeque};

use dyag_text::near_duplicates::fold;
use serde::Serialize;

use super::{ClusteredBy, ComparisonError, Contestant, Questions};
use crate::results::Row;
use crate::statistics::Clusters;

/// So many mismatches are listed; all are counted.
const MAX_LISTED: usize = 50;

/// Questions that not every file has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatches {
    /// The share of the longest file's questions that is not compared.
    pub share: f64,
    /// How many rows of any file have no counterpart in another.
    pub n: usize,
    /// The first of them.
    pub listed: Vec<Mismatch>,
}

/// A row without its counterpart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatch {
    /// In what way.
    pub kind: MismatchKind,
    /// Whose file has the row.
    pub arm: String,
    /// Whose file lacks its counterpart.
    pub other: String,
    /// The question's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The question.
    pub question: String,
}

/// In what way a row has no counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MismatchKind {
    /// The other file does not have the question.
    Missing,
    /// The other file has another question under this id.
    SameIdOtherQuestion,
    /// The other file expects another answer.
    OtherExpectedAnswer,
}

impl MismatchKind {
    /// In a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Missing => "not in the other file",
            Self::SameIdOtherQuestion => "the other file has another question under this id",
            Self::OtherExpectedAnswer => "the other file expects another answer",
        }
    }
}

/// The rows of several files, question by question.
#[derive(Debug)]
pub(super) struct Matched<'a> {
    names: Vec<&'a str>,
    /// For each question, the row of each file in the order of `names`.
    questions: Vec<Vec<&'a Row>>,
    mismatches: Mismatches,
    documents: Vec<Option<&'a str>>,
    n_documents: usize,
}

impl<'a> Matched<'a> {
    /// Matches the rows of all files to those of the first.
    pub(super) fn new(contestants: &[&'a Contestant], max_mismatch: f64) -> Result<Self, ComparisonError> {
        let names: Vec<&str> = contestants.iter().map(|contestant| contestant.name.as_str()).collect();
        let rows: Vec<&[Row]> = contestants.iter().map(|contestant| contestant.results.results.as_slice()).collect();
        let mut mismatches = Mismatches { share: 0.0, n: 0, listed: Vec::new() };
        let mut questions: Vec<Option<Vec<&Row>>> =
            rows.first().into_iter().flat_map(|rows| rows.iter().map(|row| Some(vec![row]))).collect();
        let keys: Vec<Vec<Key<'_>>> = rows.iter().map(|rows| rows.iter().map(Key::of).collect()).collect();
        for other in 1..rows.len() {
            let found = match_rows(&keys[0], &keys[other]);
            for (row, question) in questions.iter_mut().enumerate() {
                match (found.of_first[row], question.as_mut()) {
                    (Ok(counterpart), Some(question)) => question.push(&rows[other][counterpart]),
                    (Ok(_), None) => {}
                    (Err(kind), _) => {
                        mismatches.add(kind, names[0], names[other], &rows[0][row]);
                        *question = None;
                    }
                }
            }
            let missing = (0..rows[other].len()).filter(|row| !found.taken.contains(row));
            missing.for_each(|row| mismatches.add(MismatchKind::Missing, names[other], names[0], &rows[other][row]));
        }
        let questions: Vec<Vec<&Row>> = questions.into_iter().flatten().collect();
        let n_questions = rows.iter().map(|rows| rows.len()).max().unwrap_or(0);
        if n_questions > 0 {
            mismatches.share = 1.0 - questions.len() as f64 / n_questions as f64;
        }
        mismatches.check(questions.len(), n_questions, max_mismatch)?;
        let documents: Vec<Option<&str>> = questions.iter().map(|rows| rows.iter().find_map(|row| row.document.as_deref())).collect();
        let n_documents = documents.iter().flatten().collect::<HashSet<_>>().len();
        Ok(Self { names, questions, mismatches, documents, n_documents })
    }

    /// The rows of each question, in the order of the files.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[&'a Row]> {
        self.questions.iter().map(Vec::as_slice)
    }

    /// Some of the questions.
    pub(super) fn subset(&self, places: &[usize]) -> Self {
        let documents: Vec<Option<&str>> = places.iter().map(|place| self.documents[*place]).collect();
        Self {
            names: self.names.clone(),
            questions: places.iter().map(|place| self.questions[*place].clone()).collect(),
            mismatches: Mismatches { share: 0.0, n: 0, listed: Vec::new() },
            n_documents: documents.iter().flatten().collect::<HashSet<_>>().len(),
            documents,
        }
    }

    pub(super) fn n_compared(&self) -> usize {
        self.questions.len()
    }

    pub(super) fn n_documents(&self) -> usize {
        self.n_documents
    }

    pub(super) fn clustered_by(&self) -> ClusteredBy {
        if self.n_documents >= 2 { ClusteredBy::Document } else { ClusteredBy::Question }
    }

    pub(super) fn questions(&self) -> Questions {
        Questions {
            n_compared: self.n_compared(),
            n_documents: self.n_documents,
            clustered_by: self.clustered_by(),
            mismatches: self.mismatches.clone(),
        }
    }

    /// The rows of two files for each question; none when one of them has no rows.
    pub(super) fn pairs(&self, first: &str, second: &str) -> Option<impl Iterator<Item = (&'a Row, &'a Row)>> {
        let place = |name: &str| self.names.iter().position(|other| *other == name);
        let (first, second) = (place(first)?, place(second)?);
        Some(self.questions.iter().map(move |rows| (rows[first], rows[second])))
    }

    /// The clusters of some of the questions: their documents; a question whose document is not known stands alone.
    pub(super) fn clusters(&self, questions: &[usize]) -> Clusters {
        let label = |question: usize| match (self.clustered_by(), self.documents[question]) {
            (ClusteredBy::Document, Some(document)) => Ok(document),
            _ => Err(question),
        };
        Clusters::new(questions.iter().map(|question| label(*question)))
    }
}

impl Mismatches {
    fn add(&mut self, kind: MismatchKind, arm: &str, other: &str, row: &Row) {
        self.n += 1;
        if self.listed.len() < MAX_LISTED {
            let (arm, other) = (arm.to_owned(), other.to_owned());
            self.listed.push(Mismatch { kind, arm, other, id: row.id.clone(), question: row.question.clone() });
        }
    }

    fn check(&self, n_compared: usize, n_questions: usize, max_mismatch: f64) -> Result<(), ComparisonError> {
        let example = |one: &Mismatch| {
            let question: String = one.question.chars().take(60).collect();
            let cut = if question.len() < one.question.len() { "…" } else { "" };
            let id = one.id.as_ref().map(|id| format!("{id}, ")).unwrap_or_default();
            format!("{} ({id}\"{question}{cut}\"): {}", one.arm, one.kind.words())
        };
        let examples = || self.listed.iter().take(3).map(example).collect::<Vec<_>>().join("; ");
        if n_questions > 0 && n_compared == 0 {
            return Err(ComparisonError::NothingShared { examples: examples() });
        }
        // A share of exactly the limit is allowed, whatever its last digit.
        if self.share > max_mismatch + 1e-12 {
            let share = self.share;
            return Err(ComparisonError::Mismatch { n_compared, n_questions, share, max_mismatch, examples: examples() });
        }
        Ok(())
    }
}

/// By what a row is found.
#[derive(Debug)]
struct Key<'a> {
    id: Option<&'a str>,
    question: String,
    expected: Option<String>,
}

impl<'a> Key<'a> {
    fn of(row: &'a Row) -> Self {
        Self { id: row.id.as_deref(), question: fold(&row.question), expected: row.expected_answer.as_deref().map(fold) }
    }
}

/// The counterparts of rows.
struct Found {
    /// For each row of the first file, the row of the other, or why there is none.
    of_first: Vec<Result<usize, MismatchKind>>,
    taken: HashSet<usize>,
}

/// Matches by id and text; then by text and expected answer; then by text alone, the first with the first. Rows of one id whose texts differ
/// do not match, nor do rows that expect different answers: they were scored against different truths.
fn match_rows(first: &[Key<'_>], other: &[Key<'_>]) -> Found {
    let mut found = Found { of_first: vec![Err(MismatchKind::Missing); first.len()], taken: HashSet::new() };
    type Name<'k> = (Option<&'k str>, &'k str, Option<&'k str>);
    let passes: [fn(&'_ Key<'_>) -> bool; 3] = [|key| key.id.is_some(), |_| true, |_| true];
    for (pass, applies) in passes.into_iter().enumerate() {
        fn name<'k>(key: &'k Key<'_>, pass: usize) -> Name<'k> {
            match pass {
                0 => (key.id, &key.question, None),
                1 => (None, &key.question, key.expected.as_deref()),
                _ => (None, &key.question, None),
            }
        }
        let mut by_name: HashMap<Name<'_>, VecDeque<usize>> = HashMap::new();
        for (row, key) in other.iter().enumerate().filter(|(row, key)| !found.taken.contains(row) && applies(key)) {
            by_name.entry(name(key, pass)).or_default().push_back(row);
        }
        for (row, key) in first.iter().enumerate().filter(|(_, key)| applies(key)) {
            if found.of_first[row] != Err(MismatchKind::Missing) {
                continue;
            }
            let Some(counterpart) = by_name.get_mut(&name(key, pass)).and_then(VecDeque::pop_front) else { continue };
            found.taken.insert(counterpart);
            let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
            let is_same = agree(&key.expected, &other[counterpart].expected);
            found.of_first[row] = if is_same { Ok(counterpart) } else { Err(MismatchKind::OtherExpectedAnswer) };
        }
    }
    let ids: HashSet<&str> = other.iter().filter_map(|key| key.id).collect();
    for (outcome, key) in found.of_first.iter_mut().zip(first) {
        if *outcome == Err(MismatchKind::Missing) && key.id.is_some_and(|id| ids.contains(id)) {
            *outcome = Err(MismatchKind::SameIdOtherQuestion);
        }
    }
    found
}
