//! What holds for every pair of texts.

use dyag_eval::metrics::{
    Abstention, BleuStats, BleuTokenizer, Chrf, ChrfStats, Language, METRICS, MetricOptions, MetricSet, Normalization, RougeTokenizer,
    compare_facts, corpus_metrics, facts, metric, rouge, score_answer, token_f1,
};
use proptest::prelude::*;

/// Texts with words in common, numbers, and now and then any character.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => proptest::sample::select(vec!["le ", "la ", "l'", "chat ", "noir", " ", "the ", "a ", "10/02/2020", " 1 234,5 ", "12 %", "\n", ".", "é", "v1.2 ", "14h30 ", "-5"]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[0-9.,/: a-z-]{0,6}",
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn options(english: bool) -> MetricOptions {
    MetricOptions { language: if english { Language::English } else { Language::French }, ..MetricOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn scores_are_within_bounds(answer in any_text(), expected in any_text(), english in any::<bool>()) {
        let scores = score_answer(&answer, &expected, &options(english));
        prop_assert_eq!(scores.len(), METRICS.len());
        for (name, score) in scores {
            let maximum = metric(name).unwrap().maximum;
            prop_assert!(score >= 0.0 && score <= maximum * (1.0 + 1e-12), "{} is {}", name, score);
        }
    }

    #[test]
    fn f1_and_rouge_do_not_care_which_is_which(left in any_text(), right in any_text()) {
        for normalization in Normalization::ALL {
            prop_assert_eq!(token_f1(&left, &right, normalization), token_f1(&right, &left, normalization));
        }
        for tokenizer in [RougeTokenizer::Google, RougeTokenizer::Unicode] {
            let (one, other) = (rouge(&left, &right, tokenizer), rouge(&right, &left, tokenizer));
            for (one, other) in [(one.rouge1, other.rouge1), (one.rouge2, other.rouge2), (one.rouge_l, other.rouge_l)] {
                prop_assert_eq!((one.precision, one.recall), (other.recall, other.precision));
                prop_assert!((one.f_measure - other.f_measure).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn identical_texts_are_right(text in any_text(), english in any::<bool>()) {
        let scores = score_answer(&text, &text, &options(english));
        for name in ["exact_match", "exact_match_squad", "exact_match_french_bench", "exact_match_french", "f1_french_bench", "f1_french", "contains_expected",
            "facts_agree", "facts_recall", "facts_precision"] {
            prop_assert_eq!(scores[name], 1.0, "{}", name);
        }
        prop_assert_eq!(scores["f1_squad"], f64::from(!Normalization::Squad.apply(&text).is_empty()));
        let has_words = |tokenizer: RougeTokenizer| f64::from(!tokenizer.tokens(&text).is_empty());
        prop_assert_eq!(scores["rouge1_f"], has_words(RougeTokenizer::Google));
        prop_assert_eq!(scores["rougeLsum_f"], has_words(RougeTokenizer::Google));
        prop_assert_eq!(scores["rougeL_unicode_f"], has_words(RougeTokenizer::Unicode));
        let has_characters = text.chars().any(|character| !character.is_whitespace() && !('\x1c'..='\x1f').contains(&character));
        let full = if has_characters { 100.0 } else { 0.0 };
        prop_assert!((scores["sentence_chrf2"] - full).abs() < 1e-9 && (scores["sentence_chrf++"] - full).abs() < 1e-9);
        let bleu = if BleuTokenizer::International.tokens(&text).is_empty() { 0.0 } else { 100.0 };
        prop_assert!((scores["sentence_bleu_intl"] - bleu).abs() < 1e-9);
    }

    #[test]
    fn sums_do_not_depend_on_order(texts in proptest::collection::vec((any_text(), any_text()), 0..6)) {
        let bleu = |(answer, expected): &(String, String)| BleuStats::new(answer, expected, BleuTokenizer::V13a);
        let chrf = |(answer, expected): &(String, String)| ChrfStats::new(answer, expected);
        prop_assert_eq!(texts.iter().map(bleu).sum::<BleuStats>(), texts.iter().rev().map(bleu).sum::<BleuStats>());
        let (forth, back) = (texts.iter().map(chrf).sum::<ChrfStats>(), texts.iter().rev().map(chrf).sum::<ChrfStats>());
        prop_assert_eq!(forth.score(Chrf::PlusPlus), back.score(Chrf::PlusPlus));
    }

    #[test]
    fn facts_agree_both_ways_or_not_at_all(left in any_text(), right in any_text(), english in any::<bool>()) {
        let language = options(english).language;
        prop_assert_eq!(compare_facts(&left, &right, "", language).agrees(), compare_facts(&right, &left, "", language).agrees());
        let report = compare_facts(&left, &right, "", language);
        prop_assert!(report.found.len() + report.missing.len() <= facts(&right, language).len());
    }

    #[test]
    fn a_changed_whole_number_never_agrees(number in 1u32..100_000, other in 1u32..100_000, before in "[a-zé ]{0,8}") {
        prop_assume!(number != other);
        let (expected, answer) = (format!("{before} {number} agents"), format!("{before} {other} agents"));
        for language in [Language::French, Language::English] {
            prop_assert!(!compare_facts(&answer, &expected, "", language).agrees());
            prop_assert!(compare_facts(&expected, &expected, "", language).agrees());
        }
    }
}

/// A date as a French text may write it.
fn french_date(year: u16, month: u8, day: u8, way: usize) -> String {
    const MONTHS: [&str; 12] =
        ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"];
    let name = MONTHS[usize::from(month) - 1];
    match way {
        0 => format!("{day:02}/{month:02}/{year}"),
        1 => format!("{day}/{month}/{year}"),
        2 => format!("{year}-{month:02}-{day:02}"),
        3 => format!("{day}.{month:02}.{year}"),
        4 => format!("{day} {name} {year}"),
        5 => format!("{day}\u{a0}{} {year}", name.to_uppercase()),
        _ => format!("{}{} {name} {year}", day, if day == 1 { "er" } else { "" }),
    }
}

/// Hundredths as a French or, with `english`, an English text may write them.
fn amount(hundredths: u32, way: usize, english: bool) -> String {
    let (group, point) = match (english, way) {
        (false, 0) => ("", ","),
        (false, 1) => (" ", ","),
        (false, 2) => ("\u{202f}", ","),
        (false, _) => (".", ","),
        (true, 0) => ("", "."),
        (true, 1) => (" ", "."),
        (true, _) => (",", "."),
    };
    let digits = (hundredths / 100).to_string();
    let mut whole = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            whole.push_str(group);
        }
        whole.push(digit);
    }
    match hundredths % 100 {
        0 => whole,
        cents if cents % 10 == 0 => format!("{whole}{point}{}", cents / 10),
        cents => format!("{whole}{point}{cents:02}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn dates_agree_when_they_are_the_same(
        (year, month, day) in (2019u16..2022, 1u8..=12, 1u8..=28), (other_year, other_month, other_day) in (2019u16..2022, 1u8..=12, 1u8..=28),
        same in any::<bool>(), way in 0usize..7, other_way in 0usize..7,
    ) {
        let other = if same { (year, month, day) } else { (other_year, other_month, other_day) };
        let expected = format!("Mise en service : {}.", french_date(year, month, day, way));
        let answer = format!("Le {}, je crois", french_date(other.0, other.1, other.2, other_way));
        prop_assert_eq!(compare_facts(&answer, &expected, "", Language::French).agrees(), other == (year, month, day), "{} / {}", answer, expected);
    }

    #[test]
    fn amounts_agree_when_they_are_the_same(amount_cents in 1u32..400_000_000, step in 1u32..5000, same in any::<bool>(), way in 0usize..4, other_way in 0usize..4, english in any::<bool>()) {
        let other = if same { amount_cents } else { amount_cents + step };
        let (expected, answer) = (format!("{} euros", amount(amount_cents, way, english)), format!("Total: {}", amount(other, other_way, english)));
        let language = options(english).language;
        prop_assert_eq!(compare_facts(&answer, &expected, "", language).agrees(), same, "{} / {}", answer, expected);
    }
}

#[test]
fn names_are_unique_and_signatures_tell_options_apart() {
    let mut names: Vec<&str> = METRICS.iter().chain(corpus_metrics()).map(|metric| metric.name).collect();
    names.sort_unstable();
    let n_names = names.len();
    names.dedup();
    assert_eq!(names.len(), n_names);
    let french = MetricSet::new(options(false)).signatures();
    let english = MetricSet::new(options(true)).signatures();
    assert_ne!(french["facts_agree"], english["facts_agree"]);
    assert_ne!(french["contains_expected"], english["contains_expected"]);
    let own = |phrase: &str| MetricOptions { abstention: Abstention::new([phrase]), ..MetricOptions::default() };
    let signature = |options: &MetricOptions| metric("abstained").unwrap().signature(options);
    assert_ne!(signature(&own("aucune idée")), signature(&own("mystère")));
    assert_ne!(signature(&own("aucune idée")), signature(&options(false)));
    assert_eq!(
        french["sentence_bleu_13a"],
        format!("nrefs:1|case:mixed|eff:yes|tok:13a|smooth:exp|version:{}", dyag_eval::metrics::VERSION)
    );
}
