//! Numbers as each language writes them. The digits are those of [`Unit`]; marks and spaces differ.

use super::super::{MetricComparison, Unit, p_value_text};
use super::words::Language;
use crate::statistics::Interval;

/// Between digits of one number, and before `%` and `:` in French.
const NARROW: char = '\u{202F}';
/// Between a number and its unit.
const NO_BREAK: char = '\u{A0}';
const MINUS: char = '\u{2212}';

impl Language {
    /// A number that was written in English: its decimal mark, its minus sign, and no line break before what follows it.
    pub(super) fn number(self, english: &str) -> String {
        let chars: Vec<char> = english.chars().collect();
        let is_digit = |place: Option<usize>| place.and_then(|place| chars.get(place)).is_some_and(char::is_ascii_digit);
        let mut text = String::with_capacity(english.len() + 4);
        for (place, c) in chars.iter().enumerate() {
            let (before, after) = (place.checked_sub(1), Some(place + 1));
            text.push(match c {
                '.' if self == Self::French && is_digit(before) && is_digit(after) => ',',
                '-' if is_digit(after) => MINUS,
                ' ' if chars.get(place + 1) == Some(&'%') => {
                    if self == Self::French {
                        NARROW
                    } else {
                        NO_BREAK
                    }
                }
                ' ' if is_digit(before) || chars.get(place + 1).is_some_and(char::is_ascii_digit) => NO_BREAK,
                c => *c,
            });
        }
        text
    }

    /// A value of a metric.
    pub(super) fn value(self, unit: Unit, value: f64) -> String {
        self.number(&unit.value(value))
    }

    /// A difference with its sign, without its unit.
    pub(super) fn signed(self, unit: Unit, value: f64) -> String {
        self.number(&unit.signed(value))
    }

    /// What differences are counted in, with the space before it; nothing for plain numbers.
    pub(super) fn difference_unit(self, unit: Unit) -> &'static str {
        match (unit, self) {
            (Unit::Share, _) => "\u{A0}points",
            (Unit::Seconds, _) => "\u{A0}s",
            (Unit::Tokens, Self::English) => "\u{A0}tokens",
            (Unit::Tokens, Self::French) => "\u{A0}jetons",
            (Unit::Number, _) => "",
        }
    }

    /// A difference and its interval: `+12.5 points (+3.1 to +21.9)`.
    pub(super) fn difference(self, metric: &MetricComparison) -> String {
        self.with_interval(metric, self.difference_unit(metric.unit))
    }

    /// The same without a unit, where it is said elsewhere.
    pub(super) fn bare_difference(self, metric: &MetricComparison) -> String {
        self.with_interval(metric, "")
    }

    fn with_interval(self, metric: &MetricComparison, unit: &str) -> String {
        let text = self.signed_with_interval(metric.unit, metric.difference.mean, metric.difference.interval);
        if unit.is_empty() { text } else { text.replacen(' ', &format!("{unit} "), 1) }
    }

    /// A difference and its interval, without a unit.
    pub(super) fn signed_with_interval(self, unit: Unit, difference: f64, interval: Option<Interval>) -> String {
        let words = self.words();
        let signed = |value: f64| self.signed(unit, value);
        let interval = match interval {
            Some(interval) => format!("{}\u{A0}{}\u{A0}{}", signed(interval.low), words.to, signed(interval.high)),
            None => words.no_interval.to_owned(),
        };
        format!("{} ({interval})", signed(difference))
    }

    /// The size of a difference.
    pub(super) fn amount(self, unit: Unit, value: f64) -> String {
        format!("{}{}", self.signed(unit, value.abs()).trim_start_matches('+'), self.difference_unit(unit))
    }

    /// A p-value.
    pub(super) fn p_value(self, p: f64) -> String {
        self.number(&p_value_text(p))
    }

    /// A number of things, its thousands apart.
    pub(super) fn count(self, n: u64) -> String {
        let digits = n.to_string();
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            let left = digits.len() - place;
            if place > 0 && left.is_multiple_of(3) && digits.len() > 4 - usize::from(self == Self::English) {
                text.push(if self == Self::French { NARROW } else { ',' });
            }
            text.push(digit);
        }
        text
    }

    /// A number of things in memory.
    pub(super) fn len(self, n: usize) -> String {
        self.count(n as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_each_language() {
        let (english, french) = (Language::English, Language::French);
        assert_eq!((english.number("60.5 %"), french.number("60.5 %")), ("60.5\u{A0}%".to_owned(), "60,5\u{202F}%".to_owned()));
        assert_eq!(
            (english.number("-2.50 s"), french.number("-2.50 s")),
            ("\u{2212}2.50\u{A0}s".to_owned(), "\u{2212}2,50\u{A0}s".to_owned())
        );
        assert_eq!(
            (english.count(20_000), french.count(20_000), french.count(2_000)),
            ("20,000".to_owned(), "20\u{202F}000".to_owned(), "2000".to_owned())
        );
        assert_eq!((english.count(999), english.count(1_234_567)), ("999".to_owned(), "1,234,567".to_owned()));
        assert_eq!((english.p_value(0.0001), french.p_value(0.0421)), ("<\u{A0}0.001".to_owned(), "0,042".to_owned()));
        assert_eq!(french.amount(Unit::Share, -0.25), "25,0\u{A0}points");
    }
}
