//! The date that templates may read: given once, written into the manifest, never the clock's own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A day of the Gregorian calendar, written `2024-07-26`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        2 => 28 + u8::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Date {
    /// A day of the years 1 to 9999, or none if there is no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let real = (1..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1 && day <= days_of_month(year, month);
        real.then_some(Self { year, month, day })
    }

    /// The day of a time in seconds since 1970-01-01 00:00 UTC, in UTC; none past the year 9999.
    pub fn from_unix_seconds(seconds: u64) -> Option<Self> {
        let mut days = seconds / 86_400;
        let mut year = 1970;
        while year <= 9999 && days >= 365 + u64::from(is_leap(year)) {
            days -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let mut month = 1;
        while month <= 12 && days >= u64::from(days_of_month(year, month)) {
            days -= u64::from(days_of_month(year, month));
            month += 1;
        }
        Self::new(year, month, u8::try_from(days + 1).ok()?)
    }

    /// Day of the year, from 1.
    fn ordinal(self) -> u16 {
        (1..self.month).map(|month| u16::from(days_of_month(self.year, month))).sum::<u16>() + u16::from(self.day)
    }

    /// 0 for Monday. 1 January of the year 1 was a Monday.
    fn weekday(self) -> usize {
        let past = u32::from(self.year) - 1;
        let days = past * 365 + past / 4 - past / 100 + past / 400 + u32::from(self.ordinal()) - 1;
        (days % 7) as usize
    }

    /// The date in the format of C's `strftime`, in English, at midnight. The error is the first directive that is not known.
    pub(super) fn strftime(self, format: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let directive: String = match chars.next() {
                Some('-') => format!("-{}", chars.next().map(String::from).unwrap_or_default()),
                next => next.map(String::from).unwrap_or_default(),
            };
            text.push_str(&self.directive(&directive).ok_or(format!("%{directive}"))?);
        }
        Ok(text)
    }

    fn directive(self, directive: &str) -> Option<String> {
        let month = MONTHS[usize::from(self.month) - 1];
        let weekday = DAYS[self.weekday()];
        Some(match directive {
            "d" => format!("{:02}", self.day),
            "-d" => self.day.to_string(),
            "e" => format!("{:2}", self.day),
            "m" => format!("{:02}", self.month),
            "-m" => self.month.to_string(),
            "b" | "h" => month[..3].to_owned(),
            "B" => month.to_owned(),
            "y" => format!("{:02}", self.year % 100),
            "Y" => self.year.to_string(),
            "a" => weekday[..3].to_owned(),
            "A" => weekday.to_owned(),
            "j" => format!("{:03}", self.ordinal()),
            "F" => self.to_string(),
            "H" | "M" | "S" => "00".to_owned(),
            "-H" | "-M" | "-S" => "0".to_owned(),
            "I" | "-I" => "12".to_owned(),
            "p" => "AM".to_owned(),
            "T" | "X" => "00:00:00".to_owned(),
            "R" => "00:00".to_owned(),
            "%" => "%".to_owned(),
            _ => return None,
        })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("expected a date written YYYY-MM-DD, found \"{}\"", crate::error::excerpt(text, 40));
        let mut parts = text.split('-').map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then_some(part));
        let mut part = |digits: usize| parts.next().flatten().filter(|part| part.len() == digits).and_then(|part| part.parse::<u16>().ok());
        let (year, month, day) = (part(4), part(2), part(2));
        match (year, month, day, text.len()) {
            (Some(year), Some(month), Some(day), 10) => Self::new(year, month as u8, day as u8).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written() {
        let date: Date = "2024-07-26".parse().unwrap();
        assert_eq!(date.strftime("%d %b %Y").unwrap(), "26 Jul 2024");
        assert_eq!(date.strftime("%A %-d %B %y, %j, %H:%M 100%%").unwrap(), "Friday 26 July 24, 208, 00:00 100%");
        assert_eq!(date.strftime("%Q"), Err("%Q".to_owned()));
        assert_eq!(date.strftime("%"), Err("%".to_owned()));
        assert_eq!(date.to_string(), "2024-07-26");
        for wrong in ["2024-7-26", "2023-02-29", "2024-13-01", "2024-00-10", "0000-01-01", "2024-07-26T00", "+024-07-26", "26 Jul 2024", ""]
        {
            assert!(wrong.parse::<Date>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_are_counted_from_1970() {
        let day = |seconds| Date::from_unix_seconds(seconds).unwrap().to_string();
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(86_399), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(1_721_952_000), "2024-07-26");
        assert_eq!(Date::from_unix_seconds(u64::MAX), None);
        let weekday = |text: &str| text.parse::<Date>().unwrap().strftime("%a").unwrap();
        assert_eq!(weekday("1970-01-01"), "Thu");
        assert_eq!(weekday("2000-02-29"), "Tue");
    }
}
