//! Exact match, token F1, and whether an answer contains what was expected.

use super::normalize::Normalization;
use super::text::{count, overlap};

/// 1 when the two texts are the same, byte by byte.
pub fn exact_match(answer: &str, expected: &str) -> f64 {
    f64::from(answer == expected)
}

/// 1 when the two texts are the same once normalised.
pub fn exact_match_normalized(answer: &str, expected: &str, normalization: Normalization) -> f64 {
    f64::from(normalization.apply(answer) == normalization.apply(expected))
}

/// F1 of the multiset of the answer's words against the expected one's (SQuAD's `f1_score`), in `0..=1`.
///
/// Where nothing is left of either text, SQuAD v1.1 gives 0, even to two equal texts; the French benchmark gives 1 to two empty ones (as SQuAD 2.0), and so does ours.
pub fn token_f1(answer: &str, expected: &str, normalization: Normalization) -> f64 {
    let (answer, expected) = (normalization.tokens(answer), normalization.tokens(expected));
    if normalization != Normalization::Squad && (answer.is_empty() || expected.is_empty()) {
        return f64::from(answer.is_empty() && expected.is_empty());
    }
    let n_same = overlap(&count(answer.iter()), &count(expected.iter()));
    if n_same == 0 {
        return 0.0;
    }
    let precision = n_same as f64 / answer.len() as f64;
    let recall = n_same as f64 / expected.len() as f64;
    (2.0 * precision * recall) / (precision + recall)
}

/// 1 when the expected words stand in the answer, whole, in their order and without others between them.
///
/// Both texts are composed and lower-cased, articles do not count, elided words are written out in [`Normalization::French`]. Punctuation parts words, except between digits: `1.2` is not
/// found in `1.2.3`. Nothing (or nothing but punctuation and articles) is found only in nothing.
pub fn contains_expected(answer: &str, expected: &str, normalization: Normalization) -> f64 {
    let (answer, expected) = (normalization.words_to_search(answer), normalization.words_to_search(expected));
    if expected.is_empty() {
        return f64::from(answer.is_empty());
    }
    f64::from(answer.windows(expected.len()).any(|window| window == expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Normalization::{French, FrenchBench, Squad};

    #[test]
    fn elided_words_are_seen_with_either_apostrophe() {
        assert_eq!(French.apply("L’état d'avancement, jusqu’à aujourd'hui !"), "état de avancement jusque à aujourdhui");
        assert_eq!(French.apply("Qu'est-ce qu’une « GED » ?"), "que estce que ged");
        assert_eq!(exact_match_normalized("l’application", "L'application.", French), 1.0);
        assert_eq!(exact_match_normalized("l’application", "L'application.", FrenchBench), 0.0);
        assert_eq!(French.apply("e\u{301}tat"), French.apply("état"));
    }

    #[test]
    fn nothing_left_is_zero_in_squad_and_one_elsewhere() {
        assert_eq!(token_f1("the", "a", Squad), 0.0);
        assert_eq!(exact_match_normalized("the", "a", Squad), 1.0);
        assert_eq!(token_f1("le", "la", FrenchBench), 1.0);
        assert_eq!(token_f1("le", "x", French), 0.0);
    }

    #[test]
    fn whole_words_are_found() {
        for (answer, expected, found) in [
            ("Statut:En production.", "en production", true),
            ("Elle n'est pas en productions", "en production", false),
            ("La version 1.2.3 est sortie", "1.2", false),
            ("La version 1.2 est sortie", "1.2", true),
            ("Le statut de l’application", "statut de l'application", true),
            ("le 10/02/2020", "10/02/2020", true),
            ("le 110/02/2020", "10/02/2020", false),
            ("rien", "", false),
            ("...", "", true),
        ] {
            assert_eq!(contains_expected(answer, expected, French), f64::from(found), "{answer} / {expected}");
        }
    }
}
