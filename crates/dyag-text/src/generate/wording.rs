//! Wordings: templates filled in, texts folded for comparison, and which wordings of a question are nearly the same.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::near_duplicates::{SAME_QUESTION, jaccard};

/// Share of common words from which two wordings of one question count as nearly the same.
const NEARLY_THE_SAME: f64 = 0.7;
/// Share of common words below which shingles are not compared.
const MAYBE_THE_SAME: f64 = 0.35;

pub(crate) use crate::near_duplicates::fold;

/// Lower case, without accents; everything else stays.
pub(crate) fn without_accents(text: &str) -> String {
    text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

/// Fills `{name}`s of a template in. Names that are not given stay as they are.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        text.push_str(&rest[..open]);
        let after = &rest[open + 1..];
        let found =
            after.find('}').and_then(|close| values.iter().find(|(name, _)| *name == &after[..close]).map(|(_, value)| (close, value)));
        match found {
            Some((close, value)) => {
                text.push_str(value);
                rest = &after[close + 1..];
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

/// The different words of a text.
fn words(text: &str) -> BTreeSet<String> {
    fold(text).split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether two questions are nearly the same: they share seven in ten of their words, one is the other with words before or after it, or they share three in four of their
/// shingles.
pub(crate) fn nearly_the_same(a: &str, b: &str) -> bool {
    let (words_a, words_b) = (words(a), words(b));
    let common = words_a.intersection(&words_b).count();
    let all = words_a.len() + words_b.len() - common;
    // Shingles are slower, and words that share little share few of them.
    let alike = |share: f64| common as f64 >= share * all as f64;
    common == words_a.len().min(words_b.len()) || alike(NEARLY_THE_SAME) || (alike(MAYBE_THE_SAME) && jaccard(a, b) >= SAME_QUESTION)
}

/// One representative of each group of `questions` that are nearly the same, in order; `keep` chooses among the members of a group (it is given their number).
///
/// Groups are transitive: a question that resembles two groups joins them.
pub(crate) fn representatives(questions: &[String], mut keep: impl FnMut(usize) -> usize) -> Vec<usize> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, question) in questions.iter().enumerate() {
        let (mut like, unlike): (Vec<Vec<usize>>, Vec<Vec<usize>>) =
            groups.into_iter().partition(|group| group.iter().any(|member| nearly_the_same(&questions[*member], question)));
        let mut merged: Vec<usize> = like.drain(..).flatten().collect();
        merged.push(index);
        merged.sort_unstable();
        groups = unlike;
        groups.push(merged);
    }
    groups.sort_unstable_by_key(|group| group[0]);
    groups.iter().map(|group| group[keep(group.len())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_and_filling() {
        assert_eq!(fold("  L'État : Été, Œuvre n° 3 !"), "l etat ete oeuvre n 3");
        assert_eq!(fill("{a} et {b}, {c} {", &[("a", "x"), ("b", "{a}")]), "x et {a}, {c} {");
    }

    #[test]
    fn near_wordings_are_told_from_others() {
        for (a, b) in [
            ("Quel est le statut de 6Tzen ?", "quel est le STATUT de 6tzen"),
            ("Quel est le statut de 6Tzen ?", "Peux-tu me dire quel est le statut de 6Tzen ?"),
            ("Quels sont les contacts de l'application ADES ?", "Quels sont les contacts de ADES ?"),
        ] {
            assert!(nearly_the_same(a, b), "{a} / {b}");
        }
        for (a, b) in [
            ("Quel est le statut de 6Tzen ?", "Dans quel état se trouve l'application 6Tzen ?"),
            ("Quel est le statut de Activités environnementales ?", "Quel est l'état de Activités environnementales ?"),
            ("Que fait l'application ADES ?", "À quoi sert l'application ADES ?"),
        ] {
            assert!(!nearly_the_same(a, b), "{a} / {b}");
        }
    }

    #[test]
    fn one_of_each_group() {
        let questions = ["Quel est le statut de X ?", "Dis-moi quel est le statut de X.", "X est-elle en production ?"].map(str::to_owned);
        assert_eq!(representatives(&questions, |_| 0), [0, 2]);
        assert_eq!(representatives(&questions, |n| n - 1), [1, 2]);
    }
}
