//! Pages of made-up results: well-formed, complete, and harmless whatever stands in the files.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use serde_json::{Map, json};

use super::super::{Group, ListedLeak, Options, Taught, TrainingCheck, compare};
use super::*;
use crate::results::{Arm, Metadata, Results, Row, Source};

/// Everything that a text could do to a page.
const HOSTILE: &str =
    "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & &lt; ]]> --> \0\u{1b}\u{202e}evil\u{2066}\u{feff}";
/// What of it may not stand in a page: markup, and characters that are not seen.
const NEVER: [&str; 9] = ["<img", "<script>alert", "alert(1)</", "\0", "\u{1b}", "\u{202e}", "\u{2066}", "\u{feff}", "\" ' &"];

fn row(question: usize, is_right: bool) -> Row {
    Row {
        id: Some(format!("q{question}")),
        question: format!("Quelle est la valeur {question} ?"),
        expected_answer: Some("En production depuis 2021".into()),
        generated_answer: Some(if is_right { "En production depuis 2021" } else { "En projet depuis 2021, peut-être" }.into()),
        metrics: [("exact_match", f64::from(u8::from(is_right))), ("f1", if is_right { 1.0 } else { 0.5 }), ("sentence_chrf++", 40.0)]
            .map(|(name, value)| (Arc::from(name), value))
            .into(),
        document: Some(Arc::from(format!("d{}", question % 10))),
        category: Some(Arc::from(if question < 20 { "statut" } else { "contact" })),
        time_seconds: Some(1.0 + 0.1 * (question % 3) as f64),
        tokens: Some(100 + question as u64),
        ..Row::default()
    }
}

fn contestant(name: &str, arm: Arm, n: usize, is_right: impl Fn(usize) -> bool) -> Contestant {
    let parameters: Map<_, _> = [("language".to_owned(), json!("fr"))].into_iter().collect();
    let metadata = Metadata { arm: Some(arm), model: Some("qwen2.5:1.5b".into()), parameters, ..Metadata::default() };
    let mut results =
        Results { metadata, results: (0..n).map(|question| row(question, is_right(question))).collect(), ..Results::default() };
    if arm.retrieves() {
        let source = |row: &Row| Source {
            id: row.id.clone(),
            text: Some("En production depuis 2021.".into()),
            score: Some(0.5),
            ..Source::default()
        };
        results.results.iter_mut().for_each(|row| row.sources = Some(vec![source(row)]));
    }
    Contestant { name: name.to_owned(), results }
}

/// Three ways of which two differ, with everything that a comparison can hold.
fn three(n: usize) -> Vec<Contestant> {
    let mut base = contestant("base", Arm::Base, n, |question| question % 5 == 0);
    let mut tuned = contestant("tuned", Arm::Finetuned, n, |question| question % 5 != 1);
    tuned.results.metadata.training_seconds = Some(600.0);
    tuned.results.results.iter_mut().enumerate().for_each(|(place, row)| row.time_seconds = Some(0.5 + 0.01 * (place % 7) as f64));
    let failed = &mut base.results.results[1];
    failed.metrics.clear();
    (failed.generated_answer, failed.error) = (None, Some("timeout".into()));
    base.results.results[2].question = "Une autre question ?".into();
    vec![base, tuned, contestant("rag", Arm::Rag, n, |question| question % 2 == 0)]
}

fn written(contestants: &[Contestant], options: &HtmlOptions) -> String {
    let comparison = compare(contestants, &Options { max_mismatch: 0.2, ..Options::default() }).unwrap_or_else(|error| panic!("{error}"));
    let mut page = Vec::new();
    html(&comparison, contestants, options, &mut page).expect("memory does not fail");
    String::from_utf8(page).expect("UTF-8")
}

/// What a browser's tokenizer sees, and everything that is wrong with it.
#[derive(Default)]
struct Seen {
    open: Vec<String>,
    ids: HashSet<String>,
    references: Vec<String>,
    names: Vec<String>,
    text: String,
    problems: Vec<String>,
}

struct Sink(RefCell<Seen>);

const VOID: [&str; 3] = ["meta", "input", "br"];

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let mut seen = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return seen.start(&tag),
            Token::TagToken(tag) => seen.end(&tag, line),
            Token::CharacterTokens(text) if !seen.open.iter().any(|name| name == "script" || name == "style") => seen.text.push_str(&text),
            Token::ParseError(error) => seen.problems.push(format!("line {line}: {error}")),
            Token::CommentToken(comment) => seen.problems.push(format!("line {line}: a comment, {comment}")),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl Seen {
    fn start(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = tag.name.to_string();
        for attribute in &tag.attrs {
            let (key, value) = (attribute.name.local.to_string(), attribute.value.to_string());
            match key.as_str() {
                "id" if !self.ids.insert(value.clone()) => self.problems.push(format!("{value}: an id twice")),
                "aria-labelledby" | "for" => self.references.push(value),
                "href" if value.starts_with('#') => self.references.push(value[1..].to_owned()),
                "href" | "src" | "style" | "srcdoc" | "action" => self.problems.push(format!("{key}={value}")),
                _ if key.starts_with("on") => self.problems.push(format!("{key}={value}")),
                _ => {}
            }
        }
        self.names.push(name.clone());
        let raw = match name.as_str() {
            "script" => Some(RawKind::ScriptData),
            "style" => Some(RawKind::Rawtext),
            "title" => Some(RawKind::Rcdata),
            _ => None,
        };
        if !VOID.contains(&name.as_str()) && !tag.self_closing {
            self.open.push(name);
        }
        raw.map_or(TokenSinkResult::Continue, TokenSinkResult::RawData)
    }

    fn end(&mut self, tag: &Tag, line: u64) {
        if self.open.pop().as_deref() != Some(&*tag.name) {
            self.problems.push(format!("line {line}: </{}> ends something else", tag.name));
        }
    }

    fn n(&self, name: &str) -> usize {
        self.names.iter().filter(|other| *other == name).count()
    }
}

/// Reads a page as a browser does, and expects that nothing is wrong.
fn read(page: &str) -> Seen {
    let options = TokenizerOpts { exact_errors: true, ..TokenizerOpts::default() };
    let tokenizer = Tokenizer::new(Sink(RefCell::new(Seen::default())), options);
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(page));
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let mut seen = tokenizer.sink.0.into_inner();
    seen.problems.extend(seen.references.iter().filter(|id| !seen.ids.contains(*id)).map(|id| format!("nothing is called {id}")));
    assert_eq!((&seen.problems, &seen.open), (&Vec::new(), &Vec::new()));
    assert_eq!((seen.n("script"), seen.n("style"), seen.n("h1"), seen.n("main")), (1, 1, 1, 1));
    seen
}

#[test]
fn a_page_is_well_formed_and_whole() {
    let contestants = three(60);
    let page = written(&contestants, &HtmlOptions::default());
    let seen = read(&page);
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"fr\""), "the answers are French");
    assert_eq!(seen.n("article"), 59);
    // For each language and pair: intervals in two units, wins, categories; then times and causes.
    assert_eq!(seen.n("figure"), 2 * (3 * 4 + 2));
    assert_eq!(seen.n("caption"), seen.n("table"));
    assert!(["ins", "del", "nav", "samp", "ol"].iter().all(|name| seen.n(name) > 0));
    for wanted in [
        "tuned better",
        "tuned meilleur",
        "intervalle de confiance à 95\u{202F}%",
        "timeout",
        "absente de l’autre fichier",
        "is paid back after",
    ] {
        assert!(seen.text.contains(wanted), "{wanted}");
    }
    assert!(!page.contains("http:") && !page.contains("https:"), "nothing from elsewhere");
}

#[test]
fn the_numbers_are_those_of_the_comparison() {
    let contestants = three(60);
    let comparison = compare(&contestants, &Options { max_mismatch: 0.2, ..Options::default() }).expect("comparable");
    let text = read(&written(&contestants, &HtmlOptions::default())).text;
    for metric in comparison.pairs.iter().flat_map(|pair| pair.metrics.iter().chain(&pair.cost)) {
        for language in Language::ALL {
            let (unit, wins) = (metric.unit, &metric.wins);
            let p = language.p_value(metric.p_adjusted);
            let row = [language.value(unit, metric.first_mean), language.value(unit, metric.second_mean), language.difference(metric), p]
                .concat();
            let counts = [wins.first, wins.second].map(|n| n.to_string()).join("\u{A0}/\u{A0}");
            assert!(text.contains(&format!("{row}{counts}")), "{} in {}: {row}{counts}", metric.metric, language.code());
        }
    }
}

#[test]
fn every_sentence_of_the_page_has_french() {
    for contestants in [three(60), three(12)] {
        let page = written(&contestants, &HtmlOptions::default());
        let french = page.split("<div class=\"fr\" lang=\"fr\">").nth(1).expect("the French part");
        let sections = french.split("<section aria-labelledby=\"questions\"").next().unwrap_or("");
        let alone: Vec<&str> = sections.split("lang=\"en\">").skip(1).map(|part| part.split('<').next().unwrap_or("")).collect();
        assert!(alone.is_empty(), "{alone:?}");
    }
}

#[test]
fn nothing_from_a_file_is_markup() {
    let hostile = |name: &str, arm: Arm| {
        let mut one = contestant(&format!("{name} {HOSTILE}"), arm, 20, |question| question % 2 == usize::from(arm == Arm::Rag));
        let text = || Some(HOSTILE.to_owned());
        let metadata = &mut one.results.metadata;
        (metadata.model, metadata.base_model, metadata.dataset) = (text(), text(), text());
        metadata.parameters.insert("language".to_owned(), json!(HOSTILE));
        one.results.metrics.signatures.insert("exact_match".to_owned(), HOSTILE.to_owned());
        for (place, row) in one.results.results.iter_mut().enumerate() {
            row.id = Some(format!("{place} {HOSTILE}"));
            row.question = format!("{HOSTILE} {place}");
            row.expected_answer = Some(format!("{HOSTILE} oui"));
            row.generated_answer = Some(format!("{HOSTILE} non {HOSTILE}"));
            row.category = Some(Arc::from(format!("{} {HOSTILE}", place % 2)));
            row.document = Some(Arc::from(format!("{} {HOSTILE}", place % 5)));
            row.metrics.insert(Arc::from(HOSTILE), 0.5 * (place % 2) as f64);
            row.sources = Some(vec![Source { id: text(), text: text(), ..Source::default() }]);
            row.gold_chunk_ids = vec![HOSTILE.to_owned()];
            if place == 3 {
                row.error = text();
            }
        }
        one
    };
    let mut contestants = vec![hostile("a", Arm::Base), hostile("b", Arm::Rag)];
    contestants[1].results.results[7].question = format!("autre {HOSTILE}");
    let page = written(&contestants, &HtmlOptions::default());
    let seen = read(&page);
    assert_eq!(seen.n("article"), 19);
    for never in NEVER {
        assert!(!page.contains(never), "{never:?}");
    }
    // All of it is there to be read: names, answers, errors, passages.
    let shown = "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & &lt; ]]> --> \u{2400}\u{241b}[U+202E]evil[U+2066][U+FEFF]";
    assert!(seen.text.matches(shown).count() > 200, "{}", seen.text.matches(shown).count());
}

#[test]
fn what_training_taught_is_there() {
    let contestants = three(60);
    let mut comparison = compare(&contestants, &Options { max_mismatch: 0.2, ..Options::default() }).expect("comparable");
    let leak = ListedLeak {
        id: Some("q3".into()),
        question: format!("Quel {HOSTILE} ?"),
        training_place: "line 3".into(),
        training_question: HOSTILE.into(),
        similarity: 0.875,
    };
    comparison.training.push(TrainingCheck {
        arms: vec!["tuned".into()],
        training_set: format!("train {HOSTILE}"),
        sha256: String::new(),
        n_rows: 100,
        n_leaked: 9,
        n_other_wording: 30,
        n_never: 18,
        n_unknown: 2,
        leaks: vec![leak],
        groups: vec![Group { taught: Taught::Never, n_questions: 18, pairs: comparison.pairs.clone() }],
    });
    let mut page = Vec::new();
    html(&comparison, &contestants, &HtmlOptions::default(), &mut page).expect("memory");
    let page = String::from_utf8(page).expect("UTF-8");
    let text = read(&page).text;
    for wanted in [
        "18 questions jamais enseignées",
        "18 questions never taught",
        "0,88",
        "and 8 more",
        "sur 59 questions, 9 ont été posées",
        "Scores de l’ensemble",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
    assert!(NEVER.iter().all(|never| !page.contains(never)));
}

#[test]
fn the_language_that_is_shown_first() {
    let [mut contestants, others] = [three(20), three(20)];
    let begins = |contestants: &[Contestant], language: Option<Language>| {
        let page = written(contestants, &HtmlOptions { language, ..HtmlOptions::default() });
        page["<!DOCTYPE html>\n<html lang=\"".len()..][..2].to_owned()
    };
    assert_eq!(begins(&contestants, Some(Language::English)), "en");
    assert_eq!(begins(&contestants, None), "fr");
    contestants[0].results.metadata.parameters.clear();
    assert_eq!(begins(&contestants, None), "en", "not every file says so");
    assert_eq!(begins(&others, Some(Language::French)), "fr");
}

#[test]
fn what_differs_is_shown_first_when_not_all_can_be() {
    let contestants = [
        contestant("a", Arm::Base, 100, |question| question < 90),
        contestant("b", Arm::Finetuned, 100, |question| question < 80 || question == 95),
    ];
    let page = written(&contestants, &HtmlOptions { max_questions: 15, ..HtmlOptions::default() });
    let seen = read(&page);
    let ids: Vec<&str> = page.split("<article").skip(1).filter_map(|article| article.split("<bdi>q").nth(1)?.split('<').next()).collect();
    assert_eq!(ids.len(), 15);
    // Ten that only one answered, one that only the other did, and four of those that neither did.
    assert!((80..90).all(|question: i32| ids.contains(&question.to_string().as_str())) && ids.contains(&"95"), "{ids:?}");
    assert!(seen.text.contains("15 of 100 questions are shown") && seen.text.contains("15 questions sur 100"));
}

#[test]
fn results_without_rows_or_scores() {
    let mut figures = contestant("figures", Arm::Rag, 0, |_| true);
    figures.results.metrics.values.insert("exact_match_rate".into(), 50.0);
    let seen = read(&written(&[figures, contestant("rows", Arm::Base, 20, |_| true)], &HtmlOptions::default()));
    assert!(seen.text.contains("non testable") && seen.text.contains("cannot be tested"));
    let mut bare = contestant("bare", Arm::Base, 3, |_| true);
    for row in &mut bare.results.results {
        *row = Row { question: row.question.clone(), generated_answer: Some(String::new()), ..Row::default() };
    }
    let mut other = bare.clone();
    other.name = "other".into();
    let seen = read(&written(&[bare, other], &HtmlOptions::default()));
    assert_eq!((seen.n("article"), seen.n("figure")), (3, 0));
    assert!(seen.text.contains("an empty answer") && seen.text.contains("share no metric of single answers"));
}
