//! A comparison as one HTML page for people: to read, to search in, and to print.
//!
//! The page holds everything it needs and loads nothing; its policy (`Content-Security-Policy`) allows the one style sheet and the one script that are in it,
//! by their hashes. It is written in both languages; the style sheet hides one of them as the reader chooses, without a script. The script only filters
//! questions. What comes from files is escaped as it is written ([`page`]): nothing else can write it.
//!
//! A section is a row of [`SECTIONS`]; each is written once in each language. Questions are the bulk of a page and are written once, with
//! the few words around them in both languages.

mod advice;
mod causes;
mod charts;
mod diff;
mod filters;
mod head;
mod method;
mod numbers;
mod page;
mod pair_section;
mod question;
mod questions;
mod sentences;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod training;
mod words;

use std::io::{self, Write};

use super::matching::Matched;
use super::{Comparison, Contestant};
use page::Page;
use questions::Asked;
use words::Words;

pub use words::Language;

/// Questions of a page, unless told otherwise. With answers of a few lines, a page of so many takes some megabytes.
pub const MAX_QUESTIONS: usize = 2_000;

/// How a page is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HtmlOptions {
    /// The language that is shown first. Unless given, French where every file with rows says that its answers are French, else English.
    pub language: Option<Language>,
    /// The most questions that are shown. Those whose scores differ come first, then wrong ones, then others.
    pub max_questions: usize,
}

impl Default for HtmlOptions {
    fn default() -> Self {
        Self { language: None, max_questions: MAX_QUESTIONS }
    }
}

/// Writes a comparison of `contestants` as a page.
///
/// # Errors
/// What `out` returns.
pub fn html(comparison: &Comparison, contestants: &[Contestant], options: &HtmlOptions, out: &mut dyn Write) -> io::Result<()> {
    let HtmlOptions { language, max_questions } = options;
    let answers_in = answer_language(contestants);
    let first = language.unwrap_or(if answers_in.as_deref() == Some("fr") { Language::French } else { Language::English });
    let with_rows: Vec<&Contestant> = contestants.iter().filter(|contestant| !contestant.results.results.is_empty()).collect();
    // How many questions may be missing was decided when they were compared.
    let matched = Matched::new(&with_rows, 1.0).ok();
    let asked = Asked::new(comparison, matched.as_ref(), answers_in, *max_questions);
    let mut page = Page::new(out);
    let contexts = Language::ALL.map(|language| Context { comparison, contestants, words: language.words() });
    head::open(&mut page, &contexts, first);
    for context in &contexts {
        let code = context.words.language.code();
        page.open("div", &[("class", &code), ("lang", &code)]);
        context.write(&mut page, asked.is_some());
        page.raw("</div>\n");
    }
    if let Some(asked) = &asked {
        asked.write(&mut page, &contexts);
    }
    head::close(&mut page, &contexts);
    page.finish()
}

/// The language that every file with rows says its answers are in.
fn answer_language(contestants: &[Contestant]) -> Option<String> {
    let mut languages = contestants
        .iter()
        .filter(|contestant| !contestant.results.results.is_empty())
        .map(|contestant| contestant.results.metadata.parameters.get("language").and_then(|code| code.as_str()));
    let first = languages.next()??;
    let is_code = matches!(first.len(), 2 | 3) && first.chars().all(|c| c.is_ascii_lowercase());
    (is_code && languages.all(|language| language == Some(first))).then(|| first.to_owned())
}

/// A part of the page that is written in each language.
struct Section {
    /// Its id, before the language's code.
    id: &'static str,
    title: fn(&Words) -> &'static str,
    /// Whether there is anything to write.
    is_there: fn(&Comparison) -> bool,
    write: fn(&Context<'_>, &mut Page<'_>),
}

/// The page, from top to bottom; questions follow.
const SECTIONS: [Section; 9] = [
    Section { id: "summary", title: |words| words.summary, is_there: |_| true, write: summary::headlines },
    Section { id: "advice", title: |words| words.recommendations, is_there: |_| true, write: advice::write },
    Section { id: "arms", title: |words| words.arms, is_there: |_| true, write: summary::arms },
    Section { id: "pairs", title: |words| words.pairs, is_there: |_| true, write: pair_section::write },
    Section {
        id: "times",
        title: |words| words.times,
        is_there: |comparison| comparison.arms.iter().any(|arm| arm.cost.median_seconds.is_some()),
        write: charts::times::write,
    },
    Section { id: "causes", title: |words| words.causes, is_there: |comparison| !comparison.attribution.is_empty(), write: causes::write },
    Section {
        id: "training",
        title: |words| words.training_title,
        is_there: |comparison| !comparison.training.is_empty(),
        write: training::write,
    },
    Section {
        id: "judge",
        title: |words| words.judge_title,
        is_there: |comparison| comparison.judgement.is_some(),
        write: advice::judgement,
    },
    Section { id: "method", title: |words| words.method, is_there: |_| true, write: method::write },
];

/// What is written, and in which language.
struct Context<'a> {
    comparison: &'a Comparison,
    contestants: &'a [Contestant],
    words: &'static Words,
}

impl Context<'_> {
    /// All sections, with a list of them first.
    fn write(&self, page: &mut Page<'_>, has_questions: bool) {
        let sections = || SECTIONS.iter().filter(|section| (section.is_there)(self.comparison));
        page.open("nav", &[("aria-label", &self.words.contents)]);
        page.raw("<ul>");
        for section in sections() {
            self.link(page, &format!("#{}", self.id(section.id)), (section.title)(self.words));
        }
        if has_questions {
            self.link(page, "#questions", self.words.questions);
        }
        page.raw("</ul></nav>\n");
        for section in sections() {
            let id = self.id(section.id);
            page.open("section", &[("aria-labelledby", &id)]);
            page.element("h2", &[("id", &id)], (section.title)(self.words));
            (section.write)(self, page);
            page.raw("</section>\n");
        }
    }

    fn link(&self, page: &mut Page<'_>, target: &str, text: &str) {
        page.raw("<li>");
        page.element("a", &[("href", &target)], text);
        page.raw("</li>");
    }

    /// An id that no other language has.
    fn id(&self, name: &str) -> String {
        format!("{name}-{}", self.words.language.code())
    }

    /// A contestant's place among all, which decides its colour and its pattern.
    fn place(&self, name: &str) -> usize {
        self.comparison.arms.iter().position(|arm| arm.name == name).unwrap_or(0)
    }

    /// The confidence of intervals, in percent.
    fn confidence(&self) -> String {
        // Rounded where percent are no fractions: 94.99999999999999 is 95.
        let percent = (1e6 * self.comparison.method.confidence).round() / 1e4;
        self.words.language.number(&format!("{percent} %"))
    }
}
