//! One date or time of day, as French and English texts write it.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Fact, Language};
use crate::metrics::text::pattern;

/// Names of months and what they are shortened to, in both languages, without full stops.
const MONTHS: [&str; 12] = [
    "janvier|janv|january|jan",
    "février|fevrier|févr|fevr|fév|february|feb",
    "mars|march|mar",
    "avril|avr|april|apr",
    "mai|may",
    "juin|june|jun",
    "juillet|juil|july|jul",
    "août|aout|august|aug",
    "septembre|september|sept|sep",
    "octobre|october|oct",
    "novembre|november|nov",
    "décembre|decembre|déc|december|dec",
];

fn with_month(template: &str) -> Regex {
    pattern(&template.replace("MONTH", &format!(r"({})\b\.?", MONTHS.join("|"))))
}

fn month_number(name: &str) -> Option<u8> {
    let name = name.to_lowercase();
    (1..).zip(MONTHS).find(|(_, names)| names.split('|').any(|other| other == name)).map(|(number, _)| number)
}

/// English verbs and nouns that are months only with a capital letter.
fn is_month_in_text(name: &str) -> bool {
    !matches!(name, "may" | "march" | "mar" | "sep" | "dec" | "jan" | "jun")
}

fn number<T: std::str::FromStr>(captures: &Captures<'_>, group: usize) -> Option<T> {
    captures.get(group)?.as_str().parse().ok()
}

/// The year: two digits are of 1969 to 2068, as in POSIX.
fn full_year(digits: &str) -> Option<u16> {
    let year: u16 = digits.parse().ok()?;
    Some(match (digits.len(), year) {
        (2, 0..69) => 2000 + year,
        (2, _) => 1900 + year,
        _ => year,
    })
}

/// A date that the calendar has.
fn date(year: Option<u16>, month: u8, day: Option<u8>) -> Option<Fact> {
    let is_leap = year.is_none_or(|year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let n_days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    let exists = day.is_none_or(|day| (1..=n_days).contains(&day)) && year != Some(0);
    exists.then_some(Fact::Date { year, month, day })
}

/// A digit that continues what was read, maybe behind a sign: then it was something else.
fn goes_on(rest: &str) -> bool {
    static MORE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[./-]?[0-9]"));
    MORE.is_match(rest)
}

/// The date that a text begins with, and its length in bytes.
pub(super) fn read_date(text: &str, language: Language) -> Option<(Fact, usize)> {
    read_year_first(text).or_else(|| read_year_last(text, language)).or_else(|| read_month_of_year(text)).or_else(|| read_with_name(text))
}

fn read_year_first(text: &str) -> Option<(Fact, usize)> {
    static YEAR_FIRST: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([0-9]{4})([-/.])([0-9]{1,2})([-/.])([0-9]{1,2})(?:[tT]|\b)"));
    let found = YEAR_FIRST.captures(text)?;
    // The `T` before a time stays: it is told from a letter of a word by what follows.
    let end = found.get(5)?.end();
    let before_time = text[end..].strip_prefix(['t', 'T']);
    if found[2] != found[4]
        || goes_on(&text[end..])
        || before_time.is_some_and(|time| !time.starts_with(|sign: char| sign.is_ascii_digit()))
    {
        return None;
    }
    let fact = date(full_year(&found[1]), number(&found, 3)?, number(&found, 5))?;
    Some((fact, end + usize::from(before_time.is_some())))
}

fn read_year_last(text: &str, language: Language) -> Option<(Fact, usize)> {
    static YEAR_LAST: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([0-9]{1,2})([-/.])([0-9]{1,2})([-/.])([0-9]{4}|[0-9]{2})\b"));
    let found = YEAR_LAST.captures(text)?;
    let end = found.get_match().end();
    // Two digits of a year behind a slash alone: `1.2.30` is a version, `12-34-56` is no date.
    if found[2] != found[4] || goes_on(&text[end..]) || (found[5].len() == 2 && &found[2] != "/") {
        return None;
    }
    let (first, second): (u8, u8) = (number(&found, 1)?, number(&found, 3)?);
    let day_first = match language {
        Language::French => second <= 12,
        Language::English => first > 12 || &found[2] == ".",
    };
    let (day, month) = if day_first { (first, second) } else { (second, first) };
    Some((date(full_year(&found[5]), month, Some(day))?, end))
}

fn read_month_of_year(text: &str) -> Option<(Fact, usize)> {
    static MONTH_YEAR: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([0-9]{1,2})/([12][0-9]{3})\b"));
    let found = MONTH_YEAR.captures(text)?;
    let end = found.get_match().end();
    if goes_on(&text[end..]) {
        return None;
    }
    Some((date(full_year(&found[2]), number(&found, 1)?, None)?, end))
}

fn read_with_name(text: &str) -> Option<(Fact, usize)> {
    static DAY_MONTH: LazyLock<Regex> =
        LazyLock::new(|| with_month(r"^(?i)([0-9]{1,2})(?:er|st|nd|rd|th)?(?: of | de |[ -])?MONTH(?:(?:,? | of | de |-)([0-9]{4})\b)?"));
    static MONTH_DAY: LazyLock<Regex> =
        LazyLock::new(|| with_month(r"^(?i)MONTH ([0-9]{1,2})(?:st|nd|rd|th)?\b(?:,? (?:of )?([0-9]{4})\b)?"));
    static MONTH_YEAR: LazyLock<Regex> = LazyLock::new(|| with_month(r"^(?i)MONTH(?:,? | of | de |-)([0-9]{4})\b"));
    if let Some(found) = DAY_MONTH.captures(text) {
        let fact = date(found.get(3).and_then(|year| full_year(year.as_str())), month_number(&found[2])?, number(&found, 1))?;
        return Some((fact, found.get_match().end()));
    }
    if let Some(found) = MONTH_YEAR.captures(text) {
        return Some((date(full_year(&found[2]), month_number(&found[1])?, None)?, found.get_match().end()));
    }
    let found = MONTH_DAY.captures(text)?;
    let end = found.get_match().end();
    // `May 10.5`, `mars 12 000`: numbers, not days.
    let is_number = found.get(3).is_none()
        && text[end..].starts_with(['.', ',', ' '])
        && text[end + 1..].starts_with(|sign: char| sign.is_ascii_digit());
    if !is_month_in_text(&found[1]) || is_number {
        return None;
    }
    Some((date(found.get(3).and_then(|year| full_year(year.as_str())), month_number(&found[1])?, number(&found, 2))?, end))
}

/// The time of day that a text begins with, and its length in bytes.
pub(super) fn read_time(text: &str) -> Option<(Fact, usize)> {
    static HALF_DAY: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^(?i)([0-9]{1,2})(?:[:.]([0-5][0-9])(?::([0-5][0-9]))?)? ?([ap])(?:m\b|\.m\.)"));
    static FRENCH: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?i)([0-9]{1,2}) ?h(?:eures?)?(?: ?([0-5][0-9])(?:min|mn)?)?\b"));
    static COLONS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))?(?:z\b|Z\b|\b)"));
    let found = HALF_DAY.captures(text).or_else(|| FRENCH.captures(text)).or_else(|| COLONS.captures(text))?;
    let end = found.get_match().end();
    if text[end..].starts_with(':') && goes_on(&text[end + 1..]) {
        return None;
    }
    let half = found.get(4).map(|half| half.as_str().to_lowercase());
    let hour = match (number::<u8>(&found, 1)?, half.as_deref()) {
        (hour @ 1..=11, Some("p")) => hour + 12,
        (12, Some("a")) => 0,
        (0 | 13.., Some(_)) => return None,
        (hour, _) => hour,
    };
    let (minute, second) = (number(&found, 2).unwrap_or(0), if found.len() > 3 { number(&found, 3).unwrap_or(0) } else { 0 });
    (hour < 24 || (hour == 24 && minute == 0 && second == 0)).then_some((Fact::Time { hour, minute, second }, end))
}
