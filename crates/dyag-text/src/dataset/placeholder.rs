//! Texts that stand for an answer nobody has given yet.

use crate::near_duplicates::fold;

/// Answers that say only that there is none yet, as [`fold`] has them.
const WHOLE_ANSWERS: [&str; 12] =
    ["todo", "to do", "tbd", "tbc", "fixme", "xxx", "n a", "placeholder", "lorem ipsum", "a completer", "a renseigner", "a definir"];

/// Words that whoever writes a text leaves in it for later.
const REMINDERS: [&str; 4] = ["TODO", "TBD", "FIXME", "XXX"];

/// A part of an answer that stands for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// As it stands in the answer.
    pub text: String,
    /// Whether the answer is certainly none: it is nothing but a placeholder, or holds one between triple stars.
    pub is_certain: bool,
}

/// The placeholder in an answer, if there is one: `***TEMPORAIRE***` and the like, `TODO`, `N/A`, nothing but dots.
pub fn placeholder(answer: &str) -> Option<Placeholder> {
    let whole = answer.trim();
    let certain = |text: &str| Some(Placeholder { text: text.to_owned(), is_certain: true });
    let is_filler = |c: char| matches!(c, '.' | '…' | '-' | '–' | '—' | '_' | '*' | '?') || c.is_whitespace();
    if !whole.is_empty() && whole.chars().all(is_filler) {
        return certain(whole);
    }
    if let Some(starred) = starred(whole) {
        return certain(starred);
    }
    // Longer texts are not folded: they are none of these.
    if whole.len() <= 40 && WHOLE_ANSWERS.contains(&fold(whole).as_str()) {
        return certain(whole);
    }
    let mut words = whole.split(|c: char| !c.is_alphanumeric());
    words.find(|word| REMINDERS.contains(word)).map(|word| Placeholder { text: word.to_owned(), is_certain: false })
}

/// The first capitals between triple stars: `***TEMPORAIRE***`. Text that Markdown emphasises so has small letters.
fn starred(text: &str) -> Option<&str> {
    const STARS: &str = "***";
    let mut from = 0;
    while let Some(start) = text[from..].find(STARS).map(|at| from + at) {
        let inner = &text[start + STARS.len()..];
        let length = inner.find(STARS)?;
        let word = &inner[..length];
        if word.contains(char::is_uppercase) && !word.contains(char::is_lowercase) {
            return Some(&text[start..start + STARS.len() + length + STARS.len()]);
        }
        from = start + STARS.len() + length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_placeholder() {
        for (answer, found) in [
            ("***TEMPORAIRE***", Some(("***TEMPORAIRE***", true))),
            ("Le responsable est ***À COMPLÉTER***.", Some(("***À COMPLÉTER***", true))),
            ("***Important*** : ***TEMPORAIRE***", Some(("***TEMPORAIRE***", true))),
            ("***Important***", None),
            ("TODO", Some(("TODO", true))),
            (" n/a ", Some(("n/a", true))),
            ("À compléter.", Some(("À compléter.", true))),
            ("...", Some(("...", true))),
            ("- ?", Some(("- ?", true))),
            ("Le domaine (TODO) est l'eau", Some(("TODO", false))),
            ("Autodoc", None),
            ("En production", None),
            ("Na+", None),
            ("", None),
            ("*** ", Some(("***", true))),
            ("a ***", None),
        ] {
            let expected = found.map(|(text, is_certain)| Placeholder { text: text.to_owned(), is_certain });
            assert_eq!(placeholder(answer), expected, "{answer}");
        }
    }
}
