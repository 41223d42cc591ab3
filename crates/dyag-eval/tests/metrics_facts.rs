//! Numbers, dates, times, versions and identifiers: what is read from a text, and when an answer agrees.

use dyag_eval::metrics::Language::{self, English, French};
use dyag_eval::metrics::{MetricOptions, compare_facts, facts, score_answer, score_answer_to};

fn read(text: &str, language: Language) -> String {
    facts(text, language).iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

fn check(language: Language, cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, read(text, language)))
        .filter(|(_, expected, found)| *expected != found)
        .map(|(text, expected, found)| format!("{text:?}: read {found:?}, expected {expected:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn numbers_are_read_as_french_writes_them() {
    check(
        French,
        &[
            ("", ""),
            ("aucun nombre, l'été", ""),
            ("1 234,5", "1234.5"),
            ("1\u{202f}234\u{a0}567,50 €", "1234567.5"),
            ("1.234.567,8", "1234567.8"),
            ("1,234.5", "1234.5"),
            ("1,234", "1.234"),
            ("1.234", "1234"),
            ("0.125 et 0,125", "0.125 | 0.125"),
            ("12,0 vaut 12", "12 | 12"),
            ("12 %, 12%, 12 pour cent, 12,5\u{a0}%.", "12 % | 12 % | 12 % | 12.5 %"),
            ("Le 1er, la 2e, le 3ème, la 1re et la 18e.", "1 | 2 | 3 | 1 | 18"),
            ("en 2020 500 agents", "2020 | 500"),
            ("12 345 agents", "12345"),
            ("1,5 million d'euros, 3 milliards, 10 k€, 2 M€, 2 Md€", "1500000 | 3000000000 | 10000 | 2000000 | 2000000000"),
            ("-5 °C, (-3), 10-15 ans, 2019–2020", "-5 | -3 | 10 | 15 | 2019 | 2020"),
            ("- 5 pommes\n- 6 poires", "5 | 6"),
            ("50 Go, 50Go, 10 km², 35h par semaine", "50 | 50 | 10 | 35"),
            ("n° 12, art. 5, p.12", "12 | 5 | 12"),
            ("1, 2, 3 et 4.", "1 | 2 | 3 | 4"),
            ("**42**", "42"),
            ("2020年", "2020"),
            ("１２３", "123"),
            ("mi-2020", "2020"),
        ],
    );
}

#[test]
fn numbers_are_read_as_english_writes_them() {
    check(
        English,
        &[
            ("1,234.5", "1234.5"),
            ("1,234", "1234"),
            ("1.234", "1.234"),
            ("$1,234,567.00", "1234567"),
            (".5, -.25 and $.75. 12", "0.5 | -0.25 | 0.75 | 12"),
            ("1 234.5", "1234.5"),
            ("12% or 12 percent or 12 per cent", "12 % | 12 % | 12 %"),
            ("the 1st, 2nd, 3rd and 21st", "1 | 2 | 3 | 21"),
            ("1.5 million, 2 billion, 3 thousand", "1500000 | 2000000000 | 3000"),
            ("It may 10 times; may 10 people", "10 | 10"),
        ],
    );
}

#[test]
fn dates_and_times_are_values() {
    for text in [
        "10/02/2020",
        "10-02-2020",
        "10.02.2020",
        "10/2/20",
        "10 février 2020",
        "10 févr. 2020",
        "2020-02-10",
        "2020/02/10",
        "10 FÉVRIER 2020",
        "10 fe\u{301}vrier 2020",
        "le 10 Feb 2020",
    ] {
        assert_eq!(read(text, French), "2020-02-10", "{text}");
    }
    for text in [
        "02/10/2020",
        "February 10, 2020",
        "Feb. 10 2020",
        "February 10th, 2020",
        "10 February 2020",
        "10th of February 2020",
        "2020-02-10",
        "10.02.2020",
        "2/10/20",
    ] {
        assert_eq!(read(text, English), "2020-02-10", "{text}");
    }
    check(
        French,
        &[
            ("1er janvier 2021", "2021-01-01"),
            ("25/12/2020 et 12/25/2020", "2020-12-25 | 2020-12-25"),
            ("février 2020, 02/2020", "2020-02 | 2020-02"),
            ("le 10 février.", "--02-10"),
            ("31/02/2020", "31/02/2020"),
            ("2020-02-10T14:30:00Z", "2020-02-10 | 14:30"),
            ("à 14h30, 14 h 30, 14:30, 9h, 9 heures", "14:30 | 14:30 | 14:30 | 09:00 | 09:00"),
            ("du 10 au 12 février 2020", "10 | 2020-02-12"),
            ("29 février 2020, 29/02/2021", "2020-02-29 | 29/02/2021"),
            ("entre mars 2020 et mai 2021", "2020-03 | 2021-05"),
        ],
    );
    check(
        English,
        &[
            ("at 2:30 pm, 2:30 p.m., 12 am", "14:30 | 14:30 | 00:00"),
            ("May 2020 and March 3", "2020-05 | --03-03"),
            ("25/12/2020", "2020-12-25"),
        ],
    );
}

#[test]
fn versions_and_identifiers_are_kept_as_written() {
    check(
        French,
        &[
            ("v2.3.1, version 2.3.1, 2.3.1", "version 2.3.1 | version 2.3.1 | version 2.3.1"),
            ("1.2.3-rc1 et v2", "version 1.2.3-rc1 | version 2"),
            ("192.168.0.1", "version 192.168.0.1"),
            ("6Tzen, AB-1234, RFC2119", "6tzen | ab-1234 | rfc2119"),
            ("01000 Bourg", "01000"),
            ("01 23 45 67 89 ou 0123456789 ou 01.23.45.67.89", "0123456789 | 0123456789 | 0123456789"),
            ("3/4, 24/7, 16:9", "3/4 | 24/7 | 16:9"),
            ("+33 1 23 45 67 89, +33 (0)1.23.45.67.89", "0123456789 | 0123456789"),
            ("1/100 000 et 7 ‰", "1/100000 | 7‰"),
            ("réf. 75-2020-03", "75-2020-03"),
            ("3-1 et 1-3", "3-1 | 1 | 3"),
        ],
    );
}

#[test]
fn only_the_same_values_agree() {
    for (answer, expected, language, agrees) in [
        ("Le 10 février 2020.", "10/02/2020", French, true),
        ("Le 10 octobre 2020.", "10/02/2020", French, false),
        ("February 10, 2020", "02/10/2020", English, true),
        ("10/02/2020", "February 10, 2020", English, false),
        ("1 234,5 euros", "1234,50", French, true),
        ("1 234,6 euros", "1234,50", French, false),
        ("12 %", "12", French, false),
        ("version 1.2", "1.2", French, true),
        ("version 1.2", "1.20", French, false),
        ("version 1.2", "v1.2.0", French, false),
        ("En production depuis 2019", "En production", French, false),
        ("En production", "En production depuis 2019", French, false),
        ("2019 ou 2020", "2020", French, false),
        ("2020, oui, 2020", "2020", French, true),
        ("1000", "01000", French, false),
        ("AB-1234", "ab-1234", French, true),
        ("AB-1235", "AB-1234", French, false),
        ("rien", "rien du tout", French, true),
    ] {
        assert_eq!(compare_facts(answer, expected, "", language).agrees(), agrees, "{answer} / {expected}");
    }
}

#[test]
fn what_is_missing_extra_or_contradicted_is_told() {
    let report = compare_facts("6Tzen : 12 agents le 11/02/2020", "10/02/2020, 12 agents", "Quand 6Tzen a-t-il ouvert ?", French);
    let names = |facts: &[dyag_eval::metrics::Fact]| facts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (names(&report.missing), names(&report.extra), names(&report.found)),
        (vec!["2020-02-10".into()], vec!["2020-02-11".into()], vec!["12".into()])
    );
    assert!(report.contradicts() && !report.agrees());
    assert_eq!((report.recall(), report.precision()), (0.5, 0.5));

    assert!(compare_facts("1.20", "1.2", "Quel est le taux ?", English).agrees());
    assert!(!compare_facts("1.20", "1.2", "Quelle version ?", English).agrees());

    // A finer date tells the year, but says more than was expected.
    let finer = compare_facts("le 10 février 2020", "2020", "", French);
    assert_eq!((finer.missing.len(), finer.extra.len(), finer.agrees(), finer.contradicts()), (0, 1, false, false));

    let options = MetricOptions::default();
    let scores = score_answer("Il y a 13 agents.", "Il y a 12 agents.", &options);
    assert_eq!((scores["facts_agree"], scores["facts_missing"], scores["facts_extra"], scores["facts_contradicted"]), (0.0, 1.0, 1.0, 1.0));
    assert_eq!(score_answer_to("Depuis 2019 ?", "Depuis 2019, oui", "Oui", &options)["facts_agree"], 1.0);
    assert_eq!(score_answer("Depuis 2019, oui", "Oui", &options)["facts_agree"], 0.0);
}
