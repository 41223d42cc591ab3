//! One number, with the separators of two languages.

use std::sync::LazyLock;

use regex::Regex;

use super::{Fact, Language};
use crate::metrics::text::pattern;

/// What begins with digits.
pub(super) enum Reading {
    /// A number: its value in plain decimal notation, what was read, its length in bytes.
    Number { value: String, written: String, length: usize },
    /// Digits and signs that are not one number: compared as they are written.
    Other { length: usize },
}

/// Digit groups, and the sign before each but the first.
struct Groups<'a> {
    digits: Vec<&'a str>,
    signs: Vec<char>,
    length: usize,
}

fn digit_run(text: &str) -> &str {
    &text[..text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len()]
}

/// May begin a number whose thousands are apart: one to three digits, not zero.
fn is_leading_group(digits: &str) -> bool {
    digits.len() <= 3 && !digits.starts_with('0')
}

/// The digits and the signs between them, as far as they can be one number. A space or an apostrophe belongs to it only before three digits that end there.
fn groups(text: &str) -> Groups<'_> {
    let first = digit_run(text);
    let mut groups = Groups { digits: vec![first], signs: Vec::new(), length: first.len() };
    while let Some(sign) = text[groups.length..].chars().next() {
        let digits = digit_run(&text[groups.length + sign.len_utf8()..]);
        let belongs = match sign {
            _ if digits.is_empty() => false,
            ' ' | '\'' => {
                let none_else = groups.signs.iter().all(|&other| other == sign);
                digits.len() == 3 && is_leading_group(first) && none_else
            }
            '.' | ',' => true,
            _ => false,
        };
        if !belongs {
            break;
        }
        groups.digits.push(digits);
        groups.signs.push(sign);
        groups.length += sign.len_utf8() + digits.len();
    }
    groups
}

/// Reads what begins with a digit. Which sign is the decimal one is told by the signs themselves where both stand there, else by the language.
pub(super) fn read(text: &str, language: Language) -> Reading {
    let Groups { digits, signs, length } = groups(text);
    let spaced = signs.iter().take_while(|sign| matches!(sign, ' ' | '\'')).count();
    let marks = &signs[spaced..];
    let decimal_at = match marks {
        [] => None,
        [mark] => {
            let after = digits[spaced + 1];
            let thousands = match language {
                Language::French => '.',
                Language::English => ',',
            };
            let is_thousands = *mark == thousands && spaced == 0 && after.len() == 3 && is_leading_group(digits[0]);
            (!is_thousands).then_some(spaced + 1)
        }
        [rest @ .., last] => {
            let (first, last_at) = (rest[0], signs.len());
            let same_before = rest.iter().all(|&mark| mark == first);
            if spaced > 0 || !same_before || !is_leading_group(digits[0]) {
                return Reading::Other { length };
            }
            let n_thousands = if *last == first { last_at + 1 } else { last_at };
            if digits[1..n_thousands].iter().any(|group| group.len() != 3) {
                return Reading::Other { length };
            }
            (*last != first).then_some(last_at)
        }
    };
    let n_whole = decimal_at.unwrap_or(digits.len());
    let value = canonical(&digits[..n_whole].concat(), decimal_at.map_or("", |at| digits[at]), 0);
    let written = text[..length].replace([' ', '\''], "");
    Reading::Number { value, written, length }
}

/// Plain decimal notation of `whole.fraction` times ten to the `power`.
fn canonical(whole: &str, fraction: &str, power: usize) -> String {
    let mut digits = format!("{whole}{fraction}");
    let mut n_fraction = fraction.len();
    let moved = power.min(n_fraction);
    n_fraction -= moved;
    digits.extend(std::iter::repeat_n('0', power - moved));
    let (whole, fraction) = digits.split_at(digits.len() - n_fraction);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// The value of digits behind a decimal point that nothing stands before.
pub(super) fn fraction(digits: &str) -> String {
    canonical("", digits, 0)
}

/// The value times ten to the `power`.
fn scaled(value: &str, power: usize) -> String {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    canonical(whole, fraction, power)
}

/// What may follow a number and belongs to it.
static SCALES: LazyLock<Vec<(Regex, usize)>> = LazyLock::new(|| {
    [
        (r"(?i)^ ?(?:milliers?|mille|thousand)\b", 3),
        (r"(?i)^ ?millions?\b", 6),
        (r"(?i)^ ?milliards?\b", 9),
        (r"^ ?[kK]€", 3),
        (r"^ ?M€", 6),
        (r"^ ?M[dr]d?s?€", 9),
    ]
    .into_iter()
    .map(|(text, power)| (pattern(text), power))
    .collect()
});
static BILLION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^ ?billions?\b"));
static PERCENT: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^ ?(?:%|(?:pour ?cent|per ?cent)\b)"));
static ORDINAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^(?:ers?|[èe]res?|res?|[èé]mes?|emes?|es?|n?de?s?|nd|st|rd|th)\b"));
static UNIT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:h|j|min|mn|s|ms|km|m|cm|mm|kg|g|mg|t|l|L|ml|ha|o|Ko|ko|Mo|Go|To|Po|KB|kB|MB|GB|TB|PB|KiB|MiB|GiB|TiB|bits?|",
        r"Hz|kHz|MHz|GHz|W|kW|MW|GW|kWh|MWh|V|kV|A|px|dpi|ans?|mois|jours?|hours?|days?|years?|x)(?:[²³])?\b"
    ))
});

/// The number with what belongs to it behind (thousands in words, percent, an ordinal's ending, a unit), and the length of all that in bytes.
pub(super) fn with_suffix(text: &str, value: String, written: String, length: usize, language: Language) -> (Fact, usize) {
    let rest = &text[length..];
    let billion = (language == Language::English).then(|| BILLION.find(rest)).flatten().map(|found| (found.end(), 9));
    let scale = SCALES.iter().find_map(|(scale, power)| scale.find(rest).map(|found| (found.end(), *power))).or(billion);
    let (value, written, length) = match scale {
        Some((more, power)) => {
            let value = scaled(&value, power);
            (value.clone(), value, length + more)
        }
        None => (value, written, length),
    };
    let rest = &text[length..];
    if let Some(percent) = PERCENT.find(rest) {
        return (Fact::Number { value, written, is_percent: true }, length + percent.end());
    }
    let more = ORDINAL.find(rest).or_else(|| UNIT.find(rest)).map_or(0, |found| found.end());
    (Fact::Number { value, written, is_percent: false }, length + more)
}
