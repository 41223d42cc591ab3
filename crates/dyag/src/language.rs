//! The language that people are spoken to in: what a command says when it runs well. Errors and the help of flags are English.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;

/// A language that this program speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// English
    #[default]
    #[value(name = "en")]
    English,
    /// French
    #[value(name = "fr")]
    French,
}

static IS_FRENCH: AtomicBool = AtomicBool::new(false);

impl Language {
    /// What the environment says, as the C library reads it: the first of LC_ALL, LC_MESSAGES and LANG that is not empty.
    pub(crate) fn of_environment(variables: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| variables(name).filter(|value| !value.is_empty()));
        let locale = locale.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let code = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
        if matches!(code, "fr" | "french" | "fra" | "fre") { Self::French } else { Self::English }
    }

    /// From now on people are spoken to in this language.
    pub(crate) fn speak(self) {
        IS_FRENCH.store(self == Self::French, Ordering::Relaxed);
    }

    /// The language that is spoken.
    pub(crate) fn spoken() -> Self {
        if IS_FRENCH.load(Ordering::Relaxed) { Self::French } else { Self::English }
    }
}

/// A text in the language that is spoken: the English and the French `format!` string side by side, which name the same values. The compiler checks both.
macro_rules! say {
    ($english:literal, $french:literal $(, $($values:tt)*)?) => {
        match $crate::language::Language::spoken() {
            $crate::language::Language::English => format!($english $(, $($values)*)?),
            $crate::language::Language::French => format!($french $(, $($values)*)?),
        }
    };
}

pub(crate) use say;

/// `1 file`, `2 files`; French counts 0 as one.
pub(crate) fn counted(n: usize, english: [&str; 2], french: [&str; 2]) -> String {
    let word = match Language::spoken() {
        Language::English => english[usize::from(n != 1)],
        Language::French => french[usize::from(n > 1)],
    };
    format!("{n} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_the_c_library_reads_it() {
        let language = |variables: &[(&str, &str)]| {
            Language::of_environment(&|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value)))
        };
        use Language::{English, French};
        for (variables, expected) in [
            ([("LANG", "fr_FR.UTF-8"), ("LC_ALL", "")], French),
            ([("LANG", "fr"), ("LC_MESSAGES", "")], French),
            ([("LANG", "fr_FR.UTF-8"), ("LC_ALL", "C.UTF-8")], English),
            ([("LANG", "en_GB.UTF-8"), ("LC_MESSAGES", "fr_CA.UTF-8")], French),
            ([("LC_MESSAGES", "fr_CA"), ("LC_ALL", "de_DE.UTF-8")], English),
            // Frisian, Friulian.
            ([("LANG", "fry_NL"), ("LC_CTYPE", "fr_FR")], English),
            ([("LANG", "fur_IT"), ("LC_CTYPE", "fr_FR")], English),
        ] {
            assert_eq!(language(&variables), expected, "{variables:?}");
        }
        assert_eq!(language(&[]), English);
    }
}
