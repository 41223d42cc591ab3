//! Numbers, dates, times, versions and identifiers of an answer, compared as values: a wrong date is wrong, however alike the words are.
//!
//! A definition of our own. [`facts`] reads them out of a text (`scan.rs` goes through it, `number.rs` and `date.rs` read one value each), [`compare_facts`] says which expected ones are
//! missing and which the answer has beyond them. Where a text can be read in two ways the language decides: `10/02/2020` is the tenth of February in French and October in English,
//! `1,234` is a decimal in French and a thousand in English. What could still be read in two ways is compared as it is written, so that doubt never makes a wrong value right.
//!
//! Not read: numbers in words, Roman numerals, dates in words other than French and English months. Units other than percent are not compared.

mod date;
mod number;
mod scan;

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

pub use scan::facts;

use super::text::pattern;

/// The language by which ambiguous numbers and dates are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// The day first; a decimal comma; a full stop before three digits parts thousands.
    #[default]
    French,
    /// The month first; a decimal point; a comma before three digits parts thousands.
    English,
}

impl Language {
    /// The name in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::French => "fr",
            Self::English => "en",
        }
    }
}

/// A value that stands in a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A number, an ordinal (`1er`, `2nd`) or an amount (`1,5 million` is 1500000).
    Number {
        /// Plain decimal notation without needless zeros: `-1234.5`.
        value: String,
        /// As it was written, without spaces: what a version may equal.
        written: String,
        /// Followed by a percent sign or its name.
        is_percent: bool,
    },
    /// A date, a month of a year or a day of any year. A year alone is a number.
    Date {
        /// Year, in four digits.
        year: Option<u16>,
        /// Month, from 1.
        month: u8,
        /// Day of the month, from 1.
        day: Option<u8>,
    },
    /// A time of day.
    Time {
        /// 0 to 24.
        hour: u8,
        /// 0 to 59.
        minute: u8,
        /// 0 to 59.
        second: u8,
    },
    /// A version: `1.2.3`, or any number that is called one.
    Version(String),
    /// What has letters and digits (`AB-1234`), leading zeros (`01000`), or signs that make it no number (`3/4`); lower-cased.
    Identifier(String),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { value, is_percent, .. } => write!(f, "{value}{}", if *is_percent { " %" } else { "" }),
            Self::Date { year, month, day } => {
                match year {
                    Some(year) => write!(f, "{year:04}-{month:02}")?,
                    None => write!(f, "--{month:02}")?,
                }
                day.map_or(Ok(()), |day| write!(f, "-{day:02}"))
            }
            Self::Time { hour, minute, second: 0 } => write!(f, "{hour:02}:{minute:02}"),
            Self::Time { hour, minute, second } => write!(f, "{hour:02}:{minute:02}:{second:02}"),
            Self::Version(version) => write!(f, "version {version}"),
            Self::Identifier(identifier) => f.write_str(identifier),
        }
    }
}

impl Fact {
    /// Whether both are the same value. A number is the same as a version when it is written alike.
    pub fn is_same(&self, other: &Fact) -> bool {
        match (self, other) {
            (Self::Number { value, is_percent, .. }, Self::Number { value: other, is_percent: other_percent, .. }) => {
                value == other && is_percent == other_percent
            }
            (Self::Number { written, is_percent: false, .. }, Self::Version(version))
            | (Self::Version(version), Self::Number { written, is_percent: false, .. }) => written == version,
            _ => self == other,
        }
    }

    /// Whether knowing `self` is knowing `coarser`: a date tells its year and its month, a day of a year tells the day.
    fn tells(&self, coarser: &Fact) -> bool {
        if self.is_same(coarser) {
            return true;
        }
        let Self::Date { year, month, day } = self else { return false };
        match coarser {
            Self::Number { value, written, is_percent: false } => written.len() == 4 && year.is_some_and(|year| *value == year.to_string()),
            Self::Date { year: coarser_year, month: coarser_month, day: coarser_day } => {
                month == coarser_month && (coarser_year.is_none() || coarser_year == year) && (coarser_day.is_none() || coarser_day == day)
            }
            _ => false,
        }
    }

    /// A number with a point, read as a version; anything else as it is.
    fn into_version(self) -> Self {
        match self {
            Self::Number { written, is_percent: false, .. } if written.contains('.') && !written.contains([',', '-']) => {
                Self::Version(written)
            }
            other => other,
        }
    }

    /// Facts of one kind can contradict each other.
    fn is_same_kind(&self, other: &Fact) -> bool {
        match (self, other) {
            (Self::Number { is_percent, .. }, Self::Number { is_percent: other, .. }) => is_percent == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// How the facts of an answer agree with the expected ones. Each value counts once, however often it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactsReport {
    /// Expected values that the answer has, or that one of its dates tells.
    pub found: Vec<Fact>,
    /// Expected values that it has not.
    pub missing: Vec<Fact>,
    /// Values of the answer that were neither expected nor given with the question.
    pub extra: Vec<Fact>,
    /// Values of the answer that were expected.
    pub n_supported: usize,
}

impl FactsReport {
    /// Nothing is missing and nothing is beyond what was expected: the only case in which an answer's numbers and dates are right.
    pub fn agrees(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    /// A value is missing while the answer gives another one of its kind.
    pub fn contradicts(&self) -> bool {
        self.missing.iter().any(|missing| self.extra.iter().any(|extra| extra.is_same_kind(missing)))
    }

    /// Share of the expected values that the answer has, in `0..=1`; 1 where none was expected.
    pub fn recall(&self) -> f64 {
        share(self.found.len(), self.missing.len())
    }

    /// Share of the answer's values that were expected, in `0..=1`, those given with the question aside; 1 where there are none.
    pub fn precision(&self) -> f64 {
        share(self.n_supported, self.extra.len())
    }
}

fn share(part: usize, rest: usize) -> f64 {
    if part + rest == 0 { 1.0 } else { part as f64 / (part + rest) as f64 }
}

/// Compares the facts of an answer with those of the expected text. Those of `given` (the question) may be repeated without being extra; where it asks for a version, numbers with a
/// point are versions: `1.2` is not `1.20`.
pub fn compare_facts(answer: &str, expected: &str, given: &str, language: Language) -> FactsReport {
    static ASKS_VERSION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\bversions?\b"));
    let asks_version = ASKS_VERSION.is_match(given);
    let read = |text: &str| -> Vec<Fact> {
        let facts = facts(text, language).into_iter();
        facts.map(|fact| if asks_version { fact.into_version() } else { fact }).collect()
    };
    let (answer, expected, given) = (distinct(read(answer)), distinct(read(expected)), read(given));
    let (found, missing) = expected.iter().cloned().partition(|wanted: &Fact| answer.iter().any(|fact| fact.tells(wanted)));
    let (supported, others): (Vec<Fact>, Vec<Fact>) =
        answer.into_iter().partition(|fact| expected.iter().any(|wanted| fact.is_same(wanted)));
    let extra = others.into_iter().filter(|fact| !given.iter().any(|known| fact.is_same(known))).collect();
    FactsReport { found, missing, extra, n_supported: supported.len() }
}

fn distinct(facts: Vec<Fact>) -> Vec<Fact> {
    let mut kept: Vec<Fact> = Vec::with_capacity(facts.len());
    for fact in facts {
        if !kept.iter().any(|other| other.is_same(&fact)) {
            kept.push(fact);
        }
    }
    kept
}
