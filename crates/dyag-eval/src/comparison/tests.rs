//! Comparisons of made-up results, of the original program's files, and of files that do not belong together.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::results::{Metadata, Row, Source};

/// Ten documents with a few questions each, and how many.
const SIZES: [usize; 10] = [3, 4, 5, 6, 7, 8, 8, 9, 12, 17];

/// Results of which `is_right` says what is answered rightly, by document and question.
fn results(is_right: impl Fn(usize, usize) -> bool) -> Results {
    let rows = SIZES.iter().enumerate().flat_map(|(document, size)| (0..*size).map(move |question| (document, question)));
    let row = |(document, question): (usize, usize)| Row {
        id: Some(format!("q{document}-{question}")),
        question: format!("Quelle est la valeur {question} du document {document} ?"),
        expected_answer: Some("En production".into()),
        generated_answer: Some("oui".into()),
        metrics: [(Arc::from("exact_match"), f64::from(u8::from(is_right(document, question))))].into(),
        document: Some(Arc::from(document.to_string())),
        category: Some(Arc::from(if question % 2 == 0 { "statut" } else { "contact" })),
        time_seconds: Some(1.0 + 0.1 * (question % 3) as f64),
        tokens: Some(100 + question as u64),
        ..Row::default()
    };
    Results { results: rows.map(row).collect(), ..Results::default() }
}

fn named(name: &str, results: Results) -> Contestant {
    Contestant { name: name.to_owned(), results }
}

fn pair_of(first: Results, second: Results) -> [Contestant; 2] {
    [named("a", first), named("b", second)]
}

fn compared(contestants: &[Contestant]) -> Comparison {
    compare(contestants, &Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(contestants: &[Contestant], options: &Options) -> String {
    compare(contestants, options).map(|_| "nothing").expect_err("refused").to_string()
}

fn legacy(name: &str) -> Results {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/legacy").join(name);
    Results::read(&path).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn identical_files_tie_everywhere() {
    let one = results(|document, question| (document + question) % 3 == 0);
    let comparison = compared(&pair_of(one.clone(), one));
    let pair = &comparison.pairs[0];
    assert_eq!((pair.metrics.len(), pair.cost.len()), (1, 2));
    assert!(pair.metrics.iter().chain(&pair.cost).all(|metric| metric.verdict == Verdict::Tie && metric.winner.is_none()));
    assert_eq!((comparison.questions.n_compared, comparison.questions.n_documents, comparison.questions.mismatches.n), (79, 10, 0));
    assert!(comparison.shown_worse("a").is_empty() && comparison.notes.is_empty(), "{:?}", comparison.notes);
}

#[test]
fn a_difference_that_is_there_is_shown() {
    let weak = results(|document, question| (document + question) % 2 == 0);
    let strong = results(|document, question| (document + question) % 2 == 0 || question % 4 != 3);
    let comparison = compared(&pair_of(weak, strong));
    let metric = &comparison.pairs[0].metrics[0];
    assert_eq!((metric.verdict, metric.winner.as_deref()), (Verdict::Second, Some("b")), "{metric:?}");
    assert!(metric.difference.mean > 0.2 && metric.p_adjusted < 0.05 && metric.wins.first == 0);
    assert!(metric.mcnemar.expect("yes and no").p_value < 0.05 && metric.randomisation.expect("a test").p_value < 0.05);
    assert_eq!(comparison.shown_worse("a"), [("exact_match", "b")]);
    assert!(comparison.shown_worse("b").is_empty());
    let categories: usize = metric.categories.iter().map(|one| one.wins.first + one.wins.second + one.wins.ties).sum();
    assert_eq!((metric.categories.len(), categories), (2, 79));
    assert_eq!(comparison.recommendations[0].rule, "better-answers");
    assert!(comparison.recommendations[0].text.starts_with("b rather than a: it is better by"));
    let text = markdown(&comparison);
    assert!(text.contains("| b better |") && text.contains("## Recommendations"), "{text}");
}

#[test]
fn figures_stand_side_by_side_first() {
    let mut arms = pair_of(results(|_, question| question % 2 == 0), results(|_, _| true)).to_vec();
    for row in &mut arms[0].results.results {
        row.metrics.insert("chrf".into(), 20.0);
    }
    arms.push(named("c", arms[0].results.clone()));
    let comparison = compared(&arms);
    let figures = comparison.side_by_side();
    let cells: Vec<Vec<String>> =
        figures.iter().map(|row| std::iter::once(row.label()).chain((0..3).map(|arm| row.value(arm))).collect()).collect();
    assert_eq!(cells, [["exact_match", "53.2 %", "100.0 %", "53.2 %"], ["chrf", "20.0", "-", "20.0"]]);
    let text = markdown(&comparison);
    let table = text.find("|  | a | b | c |\n|---|---:|---:|---:|\n| exact_match | 53.2 % | 100.0 % | 53.2 % |").expect("the table");
    assert!(table < text.find("| kind |").expect("the ways"), "{text}");
}

#[test]
fn what_answers_nothing_is_not_recommended_for_its_cost() {
    let cheaper = |slow: usize, quick: usize| {
        let right = |share: usize| move |document: usize, question: usize| document == 9 && question < share;
        let (slow, mut quick) = (results(right(slow)), results(right(quick)));
        for row in &mut quick.results {
            row.time_seconds = row.time_seconds.map(|seconds| seconds / 4.0);
        }
        compared(&pair_of(slow, quick)).recommendations.iter().any(|one| one.rule == "cheaper-at-no-shown-loss")
    };
    assert_eq!([0, 3, 4].map(|share| cheaper(share, share)), [false, false, true], "from 4 of 79 questions on");
    assert_eq!((cheaper(4, 0), cheaper(0, 4)), (false, true), "the cheaper one has to answer something");
}

#[test]
fn of_several_those_that_nobody_beats_come_first() {
    let (weak, strong) = (results(|_, question| question % 3 == 0), results(|_, question| question % 3 != 2));
    let first = |arms: &[Contestant]| compared(arms).recommendations.first().map(|one| (one.rule, one.text.clone()));
    let mut arms = pair_of(weak, strong).to_vec();
    assert_eq!(first(&arms).expect("a winner").0, "better-answers", "of two there is nothing more to say");
    arms.push(named("c", arms[0].results.clone()));
    let text = "take b: nothing is shown better in exact_match, and of a, c each is shown worse than another";
    assert_eq!(first(&arms), Some(("best-of-all", text.to_owned())));
    arms.push(named("d", arms[1].results.clone()));
    assert!(first(&arms).expect("two").1.starts_with("take the simplest of b, d: in exact_match no difference"));
    let equal: Vec<Contestant> = ["a", "b", "c"].map(|name| named(name, arms[0].results.clone())).into();
    assert!(compared(&equal).recommendations.iter().all(|one| one.rule != "best-of-all"));
}

#[test]
fn numbers_agree_only_where_some_are_expected() {
    let mut arms = pair_of(results(|_, _| true), results(|_, question| question % 2 == 0));
    for (place, row) in arms.iter_mut().flat_map(|arm| arm.results.results.iter_mut().enumerate()) {
        row.metrics = [(Arc::from("facts_agree"), 1.0)].into();
        if place < 4 {
            row.expected_answer = Some("depuis 2019".into());
        }
    }
    let metric = &compared(&arms).pairs[0].metrics[0];
    assert_eq!((metric.difference.n_observations, metric.n_left_out), (4, 75));
}

#[test]
fn a_few_lucky_answers_show_nothing() {
    let one = results(|_, question| question % 2 == 0);
    let other = results(|document, question| question % 2 == 0 || (document == 9 && question < 6));
    let comparison = compared(&pair_of(one, other));
    let metric = &comparison.pairs[0].metrics[0];
    assert_eq!((metric.verdict, metric.wins.second), (Verdict::NoDifferenceShown, 3), "one document proves little");
    assert!(!comparison.recommendations.iter().any(|one| one.rule == "better-answers"));
}

#[test]
fn an_adjustment_for_many_tests() {
    let weak = results(|document, question| (document + question) % 2 == 0);
    let strong = results(|document, question| (document + question) % 2 == 0 || (question == 1 && document < 7));
    let alone = compared(&pair_of(weak.clone(), strong.clone())).pairs[0].metrics[0].clone();
    let mut arms = pair_of(weak, strong).to_vec();
    arms.extend(["c", "d"].map(|name| named(name, arms[0].results.clone())));
    let among_six = compared(&arms);
    assert_eq!((among_six.pairs.len(), among_six.method.n_tests), (6, 6));
    let metric = &among_six.pairs[0].metrics[0];
    assert_eq!(metric.difference, alone.difference);
    assert!((metric.p_adjusted - (6.0 * alone.p_adjusted).min(1.0)).abs() < 1e-12, "{} {}", metric.p_adjusted, alone.p_adjusted);
}

#[test]
fn a_shuffled_file_is_matched() {
    let one = results(|document, question| (document + question) % 2 == 0);
    let mut other = results(|document, question| (document * question) % 3 == 0);
    let straight = compared(&pair_of(one.clone(), other.clone()));
    other.results.reverse();
    other.results.rotate_left(13);
    assert_eq!(compared(&pair_of(one.clone(), other.clone())).pairs, straight.pairs);
    for row in &mut other.results {
        row.id = None;
        row.question = row.question.to_uppercase().replace('?', "");
    }
    assert_eq!(compared(&pair_of(one, other)).pairs, straight.pairs, "by text, whatever its case and punctuation");
}

#[test]
fn the_files_of_the_original_program() {
    let arms = [named("rag", legacy("results_rag_as_written.json")), named("finetuned", legacy("results_ft_as_written.json"))];
    let comparison = compared(&arms);
    let pair = &comparison.pairs[0];
    assert_eq!(pair.metrics.len(), 1, "{pair:?}");
    let metric = &pair.metrics[0];
    assert_eq!((metric.metric.as_str(), metric.first_mean, metric.second_mean, metric.verdict), ("exact_match", 0.5, 0.5, Verdict::Tie));
    let tokens = pair.cost.iter().find(|metric| metric.metric == "tokens").expect("tokens");
    assert_eq!((tokens.first_mean, tokens.second_mean, tokens.difference.mean), (900.0, 60.0, -840.0));
    assert_eq!(tokens.verdict, Verdict::NoDifferenceShown, "two questions show nothing");
    assert!(comparison.notes.iter().any(|note| note.contains("only rag has is_correct, similarity")), "{:?}", comparison.notes);
    let attribution = &comparison.attribution[0];
    assert_eq!((attribution.arm.as_str(), attribution.n_wrong, attribution.unknown.n), ("rag", 1, 1));

    let arms = [named("rag", legacy("results_rag_with_metrics.json")), named("finetuned", legacy("results_ft_as_written.json"))];
    let comparison = compared(&arms);
    let pair = &comparison.pairs[0];
    assert!(pair.metrics.is_empty() && pair.cost.is_empty());
    let verdict = |name: &str| pair.set_figures.iter().find(|figure| figure.metric == name).expect("a figure").verdict;
    assert_eq!((verdict("exact_match_rate"), verdict("avg_tokens")), (Verdict::Tie, Verdict::NotTestable));
    assert!(comparison.notes[0].contains("no difference can be shown"), "{:?}", comparison.notes);
    assert!(!markdown(&comparison).contains("better |"));
}

#[test]
fn files_about_different_questions() {
    let one = results(|_, _| true);
    let mut other = one.clone();
    other.results.iter_mut().for_each(|row| row.question = format!("Autre : {}", row.question));
    let error = refused(&pair_of(one.clone(), other), &Options::default());
    assert!(error.contains("no question in common") && error.contains("another question under this id"), "{error}");

    let mut shorter = one.clone();
    shorter.results.truncate(20);
    let arms = pair_of(one.clone(), shorter);
    let error = refused(&arms, &Options::default());
    assert!(error.contains("20 of 79 are in all of them, so 74.7 % are not, and at most 5.0 %"), "{error}");
    let comparison = compare(&arms, &Options { max_mismatch: 0.8, ..Options::default() }).expect("allowed");
    assert_eq!((comparison.questions.n_compared, comparison.questions.mismatches.n), (20, 59));
    assert_eq!(comparison.questions.mismatches.listed.len(), 50);

    let mut other = one.clone();
    other.results[3].expected_answer = Some("Retiré".into());
    other.results[4].question = "Une autre question ?".into();
    let comparison = compared(&pair_of(one, other));
    let kinds: Vec<MismatchKind> = comparison.questions.mismatches.listed.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [MismatchKind::OtherExpectedAnswer, MismatchKind::SameIdOtherQuestion, MismatchKind::Missing]);
    assert_eq!(comparison.questions.n_compared, 77);
    assert!(markdown(&comparison).contains("the other file expects another answer"));
}

#[test]
fn questions_asked_twice_are_matched_in_turn() {
    let mut one = results(|_, question| question == 0);
    one.results.iter_mut().for_each(|row| row.id = None);
    let repeated = one.results[0].question.clone();
    one.results[1].question = repeated;
    let comparison = compared(&pair_of(one.clone(), one));
    assert_eq!((comparison.questions.n_compared, comparison.pairs[0].metrics[0].verdict), (79, Verdict::Tie));
}

#[test]
fn answers_without_anything_to_compare_with() {
    let mut one = results(|_, question| question % 2 == 0);
    one.results.iter_mut().for_each(|row| row.expected_answer = None);
    let mut other = results(|_, _| true);
    other.results.iter_mut().for_each(|row| row.expected_answer = None);
    let comparison = compared(&pair_of(one, other));
    assert!(comparison.pairs[0].metrics.is_empty());
    assert_eq!(comparison.notes, ["exact_match needs expected answers, and 79 of 79 questions have none: it is not compared (a and b)"]);
}

#[test]
fn failing_is_no_way_to_win() {
    let one = results(|_, question| question % 2 == 0);
    let mut failing = results(|_, _| true);
    for row in failing.results.iter_mut().filter(|row| row.id.as_deref().is_some_and(|id| id.ends_with("-1"))) {
        row.metrics.clear();
        row.error = Some("timeout".into());
    }
    let comparison = compared(&pair_of(one, failing));
    let metric = &comparison.pairs[0].metrics[0];
    assert_eq!((metric.difference.n_observations, metric.n_left_out), (79, 0));
    assert_eq!(metric.second_mean, 69.0 / 79.0);
    assert!(comparison.notes.iter().any(|note| note.contains("10 failed answers without a score count as 0")), "{:?}", comparison.notes);
    assert!(comparison.recommendations.iter().any(|one| one.rule == "failures"));
}

#[test]
fn what_is_refused() {
    let one = results(|_, _| true);
    let arms = pair_of(one.clone(), one.clone());
    let default = Options::default();
    assert!(refused(&arms[..1], &default).contains("two ways of answering or more, found 1"));
    assert!(refused(&[arms[0].clone(), arms[0].clone()], &default).contains("are called \"a\""));
    assert!(refused(&pair_of(one.clone(), Results::default()), &default).starts_with("b: expected rows"));
    let asked = Options { metrics: vec!["chrf".into()], ..Options::default() };
    assert_eq!(refused(&arms, &asked), "chrf: expected a metric that the rows of two files have, found in a exact_match; in b exact_match");
    for confidence in [0.0, 1.0, f64::NAN] {
        assert!(refused(&arms, &Options { confidence, ..Options::default() }).contains("the confidence: expected a share"));
    }
    let mut bad = one.clone();
    bad.results[2].metrics.insert("f1".into(), f64::NAN);
    assert!(refused(&pair_of(one, bad), &default).contains("b: results[2].metrics.f1: expected a finite number"));
}

#[test]
fn where_wrong_answers_come_from_and_when_training_is_paid_back() {
    let mut rag = results(|_, question| question % 2 == 0);
    rag.metadata = Metadata { arm: Some(Arm::Rag), ..Metadata::default() };
    for (index, row) in rag.results.iter_mut().enumerate() {
        let text = if index % 3 == 0 { "L'application est en production." } else { "L'application est retirée." };
        row.sources = Some(vec![Source { id: Some("c".into()), text: Some(text.into()), ..Source::default() }]);
        row.time_seconds = row.time_seconds.map(|time| time + 3.0 + 0.01 * index as f64);
    }
    rag.results[1].error = Some("timeout".into());
    let mut tuned = results(|document, question| document < 5 || question % 2 == 1);
    tuned.metadata = Metadata { arm: Some(Arm::Finetuned), training_seconds: Some(600.0), ..Metadata::default() };
    let comparison = compared(&[named("rag", rag), named("finetuned", tuned)]);
    let found = &comparison.attribution[0];
    assert_eq!((comparison.attribution.len(), found.arm.as_str(), found.judged_by.as_str()), (1, "rag", "exact_match"));
    assert_eq!(found.n_wrong, found.retrieval.n + found.generation.n + found.failed.n);
    assert!(found.retrieval.n > found.generation.n && found.generation.n > 0 && found.failed.n == 1, "{found:?}");
    let payback = comparison.pairs[0].payback.as_ref().expect("it is faster");
    assert_eq!(payback.n_questions, (600.0 / payback.saved_seconds_per_question).ceil());
    let rules: Vec<&str> = comparison.recommendations.iter().map(|one| one.rule).collect();
    assert!(["payback", "search", "try-both"].iter().all(|rule| rules.contains(rule)), "{rules:?}");
    assert!(rules.iter().all(|rule| RULES.iter().any(|one| one.name == *rule)));
    assert!(comparison.recommendations.iter().all(|one| !one.figures.is_empty() && !one.would_change.is_empty()));
}

#[test]
fn a_metric_computed_in_two_ways_is_named() {
    let mut one = results(|_, _| true);
    let mut other = one.clone();
    one.metrics.signatures.insert("exact_match".into(), "case:lower".into());
    other.metrics.signatures.insert("exact_match".into(), "case:mixed".into());
    let comparison = compared(&pair_of(one.clone(), other));
    assert!(comparison.notes[0].contains("computed differently: case:lower in a, case:mixed in b"));
    assert_eq!(comparison.pairs[0].metrics[0].signature, None);
    assert_eq!(compared(&pair_of(one.clone(), one)).pairs[0].metrics[0].signature.as_deref(), Some("case:lower"));
}

#[test]
fn names_are_no_markup() {
    let mut one = results(|_, _| true);
    let mut other = one.clone();
    one.results[0].question = "a | b\n# `c` <script>".into();
    other.results[0].question = "z".into();
    let comparison = compared(&[named("a|b", one), named("c", other)]);
    let text = markdown(&comparison);
    assert!(text.contains(r"# a\|b and c") && text.contains(r"a \| b \# \`c\` \<script\>"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn exchanging_two_exchanges_the_outcome(right in proptest::collection::vec(any::<(bool, bool)>(), 79)) {
        let at = |document: usize, question: usize| SIZES[..document].iter().sum::<usize>() + question;
        let (one, other) = (results(|d, q| right[at(d, q)].0), results(|d, q| right[at(d, q)].1));
        let forth = compared(&pair_of(one.clone(), other.clone())).pairs[0].metrics[0].clone();
        let back = compared(&[named("b", other), named("a", one)]).pairs[0].metrics[0].clone();
        prop_assert!((forth.difference.mean + back.difference.mean).abs() < 1e-12);
        prop_assert!((forth.p_adjusted - back.p_adjusted).abs() < 1e-9);
        prop_assert_eq!(forth.winner, back.winner);
        prop_assert_eq!((forth.wins.first, forth.wins.second), (back.wins.second, back.wins.first));
    }
}
