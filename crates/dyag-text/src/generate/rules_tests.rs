//! The shipped rule files, and files that are wrong.

use super::*;

#[test]
fn both_shipped_sets_parse() {
    for language in Rules::LANGUAGES {
        let rules = Rules::shipped(language).expect(language);
        assert_eq!(rules.language(), language);
        assert_eq!(rules.fields.len(), 13, "{language}");
        assert!(rules.key_value.is_some() && rules.table.is_some() && rules.section.is_some() && rules.sentences.len() >= 2);
    }
    assert!(Rules::shipped("xx").is_err_and(|error| error.to_string().contains("fr, en")));
}

#[test]
fn the_language_is_that_of_the_texts() {
    let language = |text: &str| Rules::for_texts([text].into_iter()).expect("rules").language;
    assert_eq!(language("La procédure est dans le dossier, pour les agents."), "fr");
    assert_eq!(language("The procedure is in the folder and it is for the agents."), "en");
    assert_eq!(language("12 34"), "fr");
}

#[test]
fn placeholders_are_recognised_and_words_are_not() {
    let mut rules = Rules::shipped("fr").expect("rules");
    for text in [
        "***TEMPORAIRE***",
        "temporaire",
        " TODO ",
        "N/A",
        "À compléter",
        "[à définir]",
        "?",
        "",
        "  ",
        "***à voir***",
        "TODO: demander",
        "- [TBD] qui ?",
    ] {
        assert!(rules.is_placeholder(text), "{text}");
    }
    for text in ["En production", "Transports routiers", "TODOS", "XXX-12", "TBD/2", "**Standards SINP**", "Na-tech", "5 * 3 *** 2"] {
        assert!(!rules.is_placeholder(text), "{text}");
    }
    assert!(rules.has_placeholder("a\n***TEMPORAIRE***\nb") && !rules.has_placeholder("a\nb"));
    assert!(rules.has_placeholder("a\nTODO: b") && rules.has_placeholder("TODO: a\nFIXME b"));
    let texts = ["a\nTODO b\nc", "TODO a\nsuite\n\nb\nc", "TODO a\n- b", "a\nb", "TODO a\nsuite"];
    assert_eq!(texts.map(|text| rules.without_notes(text).trim()), ["a", "b\nc", "- b", "a\nb", ""]);
    assert!(!rules.is_placeholder("bientôt"));
    rules.add_placeholders(["Bientôt"].into_iter());
    assert!(rules.is_placeholder("bientot"));
}

#[test]
fn wrong_files_say_where() {
    let good = FRENCH;
    for (from, to, fragment) in [
        ("language = \"fr\"", "langue = \"fr\"", "langue"),
        ("Quel est le statut de {name} ?", "Quel est le statut de {nom} ?", "field status: questions: expected {name}, found {nom}"),
        ("Quel est le statut de {name} ?", "Quel est le statut de {name ?", "expected a } after {"),
        ("name = \"full_info\"", "name = \"status\"", "second field"),
        ("(?P<value>https?", "(?P<valeur>https?", "(?P<value>...)"),
        ("(?P<value>https?", "(?P<value>(https?", "regular expression"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = Rules::parse(&good.replacen(from, to, 1), "mine.toml").expect_err(to).to_string();
        assert!(error.starts_with("mine.toml: ") && error.contains(fragment), "{to}: {error}");
    }
}
