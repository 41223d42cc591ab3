//! The beginning and the end of a page: what it allows, its title, the choice of language.

use sha2::{Digest as _, Sha256};

use super::super::ClusteredBy;
use super::page::{Page, Part};
use super::words::Language;
use super::{Context, charts};
use crate::metrics::VERSION;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Everything before the sections.
pub(super) fn open(page: &mut Page<'_>, contexts: &[Context<'_>], first: Language) {
    page.raw("<!DOCTYPE html>\n");
    page.open("html", &[("lang", &first.code()), ("data-language", &first.code())]);
    page.raw("<head>\n<meta charset=\"utf-8\">\n");
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    page.open("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy)]);
    page.raw("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    page.open("meta", &[("name", &"generator"), ("content", &VERSION)]);
    page.raw("\n");
    let titles = contexts.iter().map(title).collect::<Vec<_>>();
    let attributes = [("data-en", &titles[0] as &dyn std::fmt::Display), ("data-fr", &titles[1])];
    page.element("title", &attributes, &titles[usize::from(first == Language::French)]);
    page.raw("\n<style>");
    page.raw(STYLE);
    page.raw("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#content\">");
    page.both(|words| words.skip.to_owned());
    page.raw("</a>\n");
    page.raw(charts::PATTERNS);
    page.raw("<header>\n<fieldset class=\"language\"><legend>");
    page.both(|words| words.choose_language.to_owned());
    page.raw("</legend>");
    for context in contexts {
        let words = context.words;
        let code = words.language.code();
        let id = format!("language-{code}");
        page.raw("<input type=\"radio\" name=\"language\"");
        if words.language == first {
            page.raw(" checked");
        }
        // The rest of the tag, which began above.
        page.attributes(&[("id", &id), ("value", &code)]);
        page.raw(">");
        page.element("label", &[("for", &id), ("lang", &code)], words.own_name);
    }
    page.raw("</fieldset>\n<h1>");
    for context in contexts {
        let code = context.words.language.code();
        page.open("span", &[("class", &code), ("lang", &code)]);
        page.text(title(context));
        page.raw("</span>");
    }
    page.raw("</h1>\n<p>");
    for context in contexts {
        let code = context.words.language.code();
        page.open("span", &[("class", &code), ("lang", &code)]);
        about(page, context);
        page.raw("</span>");
    }
    page.raw("</p>\n</header>\n<main id=\"content\">\n");
}

/// Everything after the questions.
pub(super) fn close(page: &mut Page<'_>, contexts: &[Context<'_>]) {
    page.raw("</main>\n<footer>");
    for context in contexts {
        let code = context.words.language.code();
        page.open("p", &[("class", &code), ("lang", &code)]);
        page.sentence(context.words.made_by, &[Part::Text(VERSION.replace("dyag-eval-", "dyag\u{A0}"))]);
        page.raw("</p>");
    }
    page.raw("</footer>\n<script>");
    page.raw(SCRIPT);
    page.raw("</script>\n</body>\n</html>\n");
}

/// "Comparison of a, b and c".
fn title(context: &Context<'_>) -> String {
    let words = context.words;
    let names: Vec<&str> = context.comparison.arms.iter().map(|arm| arm.name.as_str()).collect();
    let list = match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} {} {last}", others.join(", "), words.and),
        None => String::new(),
    };
    words.fill(words.title, &[&list])
}

fn about(page: &mut Page<'_>, context: &Context<'_>) {
    let (words, questions) = (context.words, &context.comparison.questions);
    let language = words.language;
    let template = match questions.clustered_by {
        ClusteredBy::Document => words.of_documents,
        ClusteredBy::Question => words.of_questions,
    };
    page.sentence(template, &[Part::Text(language.len(questions.n_compared)), Part::Text(language.len(questions.n_documents))]);
}

/// SHA-256 in Base64, as policies name what they allow.
fn hash(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut written = String::new();
    for bytes in Sha256::digest(text.as_bytes()).chunks(3) {
        let number = bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
        for digit in 0..4 {
            let is_there = digit <= bytes.len();
            let place = (number >> (18 - 6 * digit)) as usize & 63;
            written.push(if is_there { char::from(DIGITS[place]) } else { '=' });
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_policies_write_them() {
        // FIPS 180-4's examples, in Base64.
        assert_eq!(hash(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(hash("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn neither_file_ends_its_element() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
        assert!(
            ["http:", "https:", "url(", "@import", "innerHTML", "eval("].iter().all(|word| !STYLE.contains(word) && !SCRIPT.contains(word))
        );
    }
}
