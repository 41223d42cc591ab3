//! Goes through a text from one word to the next and asks of each whether a value begins there.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::number::{self, Reading};
use super::{Fact, Language, date};
use crate::metrics::text::pattern;

/// One sign for each kind: composed letters, ASCII digits for full-width ones, `'`, `-`, plain spaces (lines stay apart), nothing for what has no width.
fn prepare(text: &str) -> String {
    text.nfc()
        .filter(|character| !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}'))
        .map(|character| match character {
            '\n' | '\r' => '\n',
            '\u{ff10}'..='\u{ff19}' => char::from(b'0' + (u32::from(character) - 0xff10) as u8),
            '\u{2010}'..='\u{2014}' | '\u{2212}' => '-',
            other if super::super::text::is_apostrophe(other) => '\'',
            other if other.is_whitespace() => ' ',
            other => other,
        })
        .collect()
}

/// A letter or digit of a script that puts spaces between its words: `2020年` is a number with a word behind it.
fn is_word(character: char) -> bool {
    let is_unspaced =
        matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    character.is_alphanumeric() && !is_unspaced
}

fn starts_word(text: &str) -> bool {
    text.chars().next().is_some_and(is_word)
}

fn starts_digit(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_digit())
}

/// The values of a text, in its order, those that stand there twice twice.
pub fn facts(text: &str, language: Language) -> Vec<Fact> {
    let text = prepare(text);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        let before = &text[..at];
        let begins = is_word(character) && !before.chars().next_back().is_some_and(|last| is_word(last) && !ends_date_before_time(before));
        let read = if begins { read_one(&text[at..], before, language) } else { None };
        match read {
            Some((fact, length)) => {
                found.push(fact);
                at += length;
            }
            None if begins => at += word_length(&text[at..]),
            None => at += character.len_utf8(),
        }
    }
    found
}

/// `2020-02-10T`: the time behind it begins a value.
fn ends_date_before_time(before: &str) -> bool {
    static STAMP: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}[tT]$"));
    before.ends_with(['t', 'T']) && STAMP.is_match(before)
}

fn word_length(text: &str) -> usize {
    text.find(|character| !is_word(character)).unwrap_or(text.len())
}

/// The value that a word begins, and its length in bytes.
fn read_one(text: &str, before: &str, language: Language) -> Option<(Fact, usize)> {
    let boundary = |read: &(Fact, usize)| !starts_word(&text[read.1..]) || ends_date_before_time(&text[..read.1]);
    date::read_date(text, language)
        .filter(boundary)
        .or_else(|| read_telephone(text, before).filter(boundary))
        .or_else(|| read_version(text).filter(boundary))
        .or_else(|| date::read_time(text).filter(boundary))
        .or_else(|| read_number(text, before, language))
        .or_else(|| read_identifier(text))
}

fn read_version(text: &str) -> Option<(Fact, usize)> {
    static CALLED: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^(?i)(?:versions?|release|ver\.?|v\.?) ?([0-9]+(?:\.[0-9]+)*(?:[-.]?(?:rc|alpha|beta)[.-]?[0-9]*)?)\b"));
    static BARE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?i)([0-9]+(?:\.[0-9]+){2,}(?:[-.]?(?:rc|alpha|beta)[.-]?[0-9]*)?)\b"));
    static THOUSANDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[1-9][0-9]{0,2}(?:\.[0-9]{3})+$"));
    static GOES_ON: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[-/,:_][\p{L}0-9]"));
    let found = CALLED.captures(text).or_else(|| BARE.captures(text).filter(|found| !THOUSANDS.is_match(&found[1])))?;
    let end = found.get_match().end();
    (!GOES_ON.is_match(&text[end..])).then(|| (Fact::Version(found[1].to_lowercase()), end))
}

/// French telephone numbers: five pairs of digits, the first with a zero, for which `+33` may stand.
fn read_telephone(text: &str, before: &str) -> Option<(Fact, usize)> {
    static NATIONAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^0([0-9](?:[ .-]?[0-9]{2}){4})\b"));
    static ABROAD: LazyLock<Regex> = LazyLock::new(|| pattern(r"^33 ?(?:\(0\) ?)?([1-9](?:[ .-]?[0-9]{2}){4})\b"));
    let abroad = if before.ends_with('+') { ABROAD.captures(text) } else { None };
    let found = NATIONAL.captures(text).or(abroad)?;
    let digits: String = found[1].chars().filter(char::is_ascii_digit).collect();
    Some((Fact::Identifier(format!("0{digits}")), found.get_match().end()))
}

fn read_number(text: &str, before: &str, language: Language) -> Option<(Fact, usize)> {
    if !starts_digit(text) {
        return None;
    }
    let as_written = |length: usize| Some((Fact::Identifier(text[..length].replace(' ', "").to_lowercase()), length));
    let (mut value, mut written, length) = match number::read(text, language) {
        Reading::Number { value, written, length } => (value, written, length),
        Reading::Other { length } => return if starts_word(&text[length..]) { None } else { as_written(length) },
    };
    let rest = &text[length..];
    let is_whole = written.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(joined) = joined_digits(text, length) {
        // A range is its two numbers, of which the second is read in its turn.
        let is_range = is_whole && is_range(&text[..joined]);
        return if is_range { Some((Fact::Number { value, written, is_percent: false }, length)) } else { as_written(joined) };
    }
    if let Some(rest) = rest.strip_prefix(" ‰").or_else(|| rest.strip_prefix('‰')) {
        return as_written(text.len() - rest.len());
    }
    let before = before.strip_suffix('.').filter(|before| is_whole && ends_open(before)).map_or(before, |before| {
        (value, written) = (number::fraction(&written), format!("0.{written}"));
        before
    });
    if is_whole && written.len() > 2 && written.starts_with('0') && !written.contains('.') && !starts_word(rest) && !joins_letters(rest) {
        return as_written(length);
    }
    if before.strip_suffix('-').is_some_and(ends_open) && value != "0" {
        value.insert(0, '-');
        written.insert(0, '-');
    }
    let (fact, length) = number::with_suffix(text, value, written, length, language);
    (!starts_word(&text[length..]) && !joins_letters(&text[length..])).then_some((fact, length))
}

/// Nothing that a sign could belong to stands right before it: the minus is no hyphen, the full stop ends no sentence.
fn ends_open(before: &str) -> bool {
    before.chars().next_back().is_none_or(|last| last.is_whitespace() || "([{:=<>~±-$€£\"«".contains(last))
}

fn joins_letters(rest: &str) -> bool {
    rest.strip_prefix(['-', '_']).is_some_and(|rest| rest.starts_with(is_word) && !starts_digit(rest))
}

/// Where digits end that stand behind `/`, `-`, `:` or `_`.
fn joined_digits(text: &str, length: usize) -> Option<usize> {
    static JOINED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?:/[1-9][0-9]{0,2}(?: [0-9]{3})+\b|(?:[-/:_][\p{L}0-9]+)+)"));
    let rest = &text[length..];
    if !rest.starts_with(['-', '/', ':', '_']) || !starts_digit(&rest[1..]) {
        return None;
    }
    JOINED.find(rest).map(|joined| length + joined.end())
}

/// `10-15`, `2019/2020`: two whole numbers, the second one larger; a slash stands between years alone.
fn is_range(text: &str) -> bool {
    let Some((first, second)) = text.split_once(['-', '/']) else { return false };
    let is_years = first.len() == 4 && second.len() == 4;
    let (Ok(low), Ok(high)) = (first.parse::<u64>(), second.parse::<u64>()) else { return false };
    low < high && (is_years || text.contains('-')) && !first.starts_with('0') && !second.starts_with('0')
}

/// A word with letters and digits, its parts joined by signs.
fn read_identifier(text: &str) -> Option<(Fact, usize)> {
    static WORDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[\p{L}\p{M}\p{N}]+(?:[-_/.][\p{L}\p{M}\p{N}]+)*"));
    static BEFORE_YEAR: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?i)(?:mi|fin|début|pré|pre|post|mid|late|early)-[0-9]{4}$"));
    let mut whole = WORDS.find(text)?.as_str();
    // A full stop joins only what has had a digit before it: `art.5` is two words, `A12.3` is one.
    if let Some(stop) = whole.find('.').filter(|&stop| !whole[..stop].contains(|character: char| character.is_ascii_digit())) {
        whole = &whole[..stop];
    }
    let has_digit = whole.contains(|character: char| character.is_ascii_digit());
    let has_letter = whole.contains(char::is_alphabetic);
    (has_digit && has_letter && !BEFORE_YEAR.is_match(whole)).then(|| (Fact::Identifier(whole.to_lowercase()), whole.len()))
}
