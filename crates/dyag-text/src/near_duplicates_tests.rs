//! What is folded, what similarities mean, and that the index finds what comparing all pairs finds.

use proptest::prelude::*;

use super::*;

#[test]
fn folding_keeps_the_words() {
    for (text, folded) in [
        ("  Quel est l'ÉTAT de « 6Tzen » ?\n", "quel est l etat de 6tzen"),
        ("l’état", "l etat"),
        ("E\u{301}tat", "etat"),
        ("Cœur, Straße, ﬁn, Łódź", "coeur strasse fin lodz"),
        ("2,5 %", "2 5"),
        ("ΟΔΟΣ", "οδοσ"),
        ("हिन्दी", "हिन्दी"),
        ("", ""),
        (" ?! ", "?!"),
    ] {
        assert_eq!(fold(text), folded, "{text}");
    }
}

#[test]
fn similarities_of_short_questions() {
    let status = "Quel est le statut de 6Tzen ?";
    for (other, least, most) in [
        ("quel est le STATUT de 6tzen", 1.0, 1.0),
        ("Quel est le statut de « 6Tzen » ?", 1.0, 1.0),
        ("Quels est le statut de 6Tzen ?", SAME_QUESTION, 0.99),
        ("Quel est le statut actuel de 6Tzen ?", 0.65, SAME_QUESTION),
        // One phrase more, and another application: no threshold tells the one from the other.
        ("Quel est le statut de l'application 6Tzen ?", 0.55, 0.7),
        ("Quel est le statut de ADES ?", 0.6, 0.75),
        ("L'application 6Tzen est-elle en production ?", 0.0, 0.3),
        ("Qui gère ADES ?", 0.0, 0.1),
    ] {
        let similarity = jaccard(status, other);
        assert!((least..=most).contains(&similarity), "{other}: {similarity}");
    }
    // The longer the common wording, the less a name weighs.
    let long = jaccard("Quelle est la date de mise en production de ADES ?", "Quelle est la date de mise en production de ADAU ?");
    assert!(long > 0.85, "{long}");
}

#[test]
fn names_and_numbers_tell_questions_apart() {
    for (a, b, differ) in [
        ("Quel est le statut de 6Tzen ?", "Quel est le statut de ADES ?", true),
        ("Quel est le statut de 6Tzen ?", "Quel est le statut de l'application ADES ?", true),
        ("Quel est le statut de 6Tzen ?", "Quel est le statut de l'application 6Tzen ?", false),
        ("Quel est le statut de 6Tzen ?", "quel est le statut de 6 tzen ?", false),
        ("Combien en 2023 ?", "Combien en 2024 ?", true),
        ("Que fait Éole ?", "Que fait Iris ?", true),
        ("Qui gère ADES ?", "Qui pilote ADES ?", false),
        ("Où est la base ?", "Quelle est la base ?", false),
        ("Bonjour. Quelle est la base ?", "Bonjour. Où est la base ?", false),
        ("QUI GERE LA BASE", "QUI TIENT LA BASE", false),
        ("QUI GERE LA BASE 1", "QUI GERE LA BASE 2", true),
        ("Que fait ADES ?", "Que fait ADES Eaux ?", true),
    ] {
        assert_eq!(differ_by_name(a, b), differ, "{a} | {b}");
        assert_eq!(differ_by_name(b, a), differ, "{b} | {a}");
    }
}

#[test]
fn the_first_of_each_is_stored() {
    let mut index = NearDuplicates::new(SAME_QUESTION);
    assert!(index.is_empty());
    assert_eq!(index.find_or_insert("Quel est le statut de 6Tzen ?"), None);
    assert_eq!(index.find_or_insert("Qui gère ADES ?"), None);
    assert_eq!(index.find_or_insert("Quels est le statut de 6Tzen ?"), Some(0));
    assert_eq!(index.find_or_insert("QUI GERE ADES"), Some(1));
    assert_eq!(index.len(), 2);
    assert_eq!(index.insert("Qui gère ADES ?"), 2);
    let similar = index.similar("qui gere ades");
    assert_eq!(similar, [Similar { index: 1, similarity: 1.0 }, Similar { index: 2, similarity: 1.0 }]);
    assert_eq!(index.find_or_insert("qui gère ades"), Some(1), "the earliest of several");
}

/// Questions in the manner of a generated dataset, some of them alike.
fn corpus() -> Vec<String> {
    let starts = ["Quel est", "Quelle est", "Donne-moi", "Peux-tu me dire", "Je cherche"];
    let fields = ["le statut", "la date de création", "le domaine métier", "le responsable de la maîtrise d'ouvrage"];
    let links = ["de", "de l'application", "pour", "du système", "de l'outil nommé"];
    let mut texts = Vec::new();
    for n in 0..400_usize {
        let name = format!("{}{}", ["Ades", "Carto", "Gidaf", "Rivage", "Topo", "Éole"][n % 6], mix(n as u64) % 50);
        texts.push(format!("{} {} {} {name} ?", starts[n % 5], fields[(n / 3) % 4], links[(n / 7) % 5]));
    }
    texts
}

#[test]
fn the_index_finds_what_comparing_all_pairs_finds() {
    let texts = corpus();
    for threshold in [0.3, 0.5, 0.7, 0.8, 0.9, 1.0] {
        let mut index = NearDuplicates::new(threshold);
        let (mut expected, mut missed) = (0, 0);
        for (n, text) in texts.iter().enumerate() {
            let found: Vec<usize> = index.similar(text).iter().map(|similar| similar.index).collect();
            let all: Vec<usize> = (0..n).filter(|m| jaccard(&texts[*m], text) >= threshold).collect();
            assert!(found.iter().all(|m| all.contains(m)), "only what is similar");
            expected += all.len();
            missed += all.len() - found.len();
            assert_eq!(index.insert(text), n);
        }
        assert!(expected > 0, "{threshold}");
        assert!(missed * 2000 <= expected, "{threshold}: {missed} of {expected} missed");
    }
}

#[test]
fn results_are_the_same_on_every_machine() {
    let keys = NearDuplicates::new(0.8).band_keys(&shingles("Quel est le statut de 6Tzen ?"));
    assert_eq!(keys.len(), 25);
    assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF, "the first number of SplitMix64 from seed 0");
}

#[test]
#[should_panic(expected = "found 1.5")]
fn a_threshold_is_a_share() {
    NearDuplicates::new(1.5);
}

proptest! {
    #[test]
    fn folding_twice_changes_nothing(text in any::<String>()) {
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded.clone());
        prop_assert_eq!(folded.trim(), &folded);
    }

    #[test]
    fn similarity_is_a_symmetric_share(a in "[a-dA-D é'?]{0,30}", b in "[a-dA-D é'?]{0,30}") {
        let similarity = jaccard(&a, &b);
        prop_assert!((0.0..=1.0).contains(&similarity));
        prop_assert_eq!(similarity, jaccard(&b, &a));
        prop_assert_eq!(jaccard(&a, &a), 1.0);
        prop_assert_eq!(fold(&a) == fold(&b) && similarity < 1.0, false);
        prop_assert_eq!(differ_by_name(&a, &b), differ_by_name(&b, &a));
    }

    #[test]
    fn equal_texts_are_always_found(text in any::<String>(), threshold in 0.01..=1.0_f64) {
        let mut index = NearDuplicates::new(threshold);
        prop_assert_eq!(index.find_or_insert(&text), None);
        prop_assert_eq!(index.find_or_insert(&text), Some(0));
    }
}
