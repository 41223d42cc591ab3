//! How an answer behaves, whatever was expected: whether it answers at all, repeats itself, how long it is.

use std::collections::HashSet;

use super::text::{compose, is_apostrophe, split_spaces, unicode_words};

/// Words by which answers say that they do not know. Editable: a list of phrases, in any language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abstention {
    phrases: Vec<String>,
}

const FRENCH_PHRASES: &[&str] = &[
    "je ne sais pas",
    "je ne connais pas la réponse",
    "je n'ai pas la réponse",
    "je n'ai pas cette information",
    "je n'ai pas l'information",
    "je n'ai pas d'information",
    "je n'ai pas d'informations",
    "je ne dispose pas de",
    "je ne dispose d'aucune",
    "je n'ai aucune information",
    "je n'ai trouvé aucune",
    "je ne trouve pas",
    "je ne peux pas répondre",
    "je suis incapable de répondre",
    "je ne suis pas en mesure de répondre",
    "impossible de répondre",
    "aucune information disponible",
    "aucune information n'est disponible",
    "aucune information sur",
    "aucune information concernant",
    "cette information n'est pas disponible",
    "l'information n'est pas disponible",
    "information non disponible",
    "information non renseignée",
    "n'est pas précisé",
    "n'est pas précisée",
    "n'est pas mentionné",
    "n'est pas mentionnée",
    "n'est pas indiqué",
    "n'est pas indiquée",
    "n'est pas renseigné",
    "n'est pas renseignée",
    "ne permettent pas de répondre",
    "ne permet pas de répondre",
    "ne contiennent pas cette information",
    "ne contient pas cette information",
    "ne figure pas dans les documents",
    "ne donnent pas cette information",
    "cette information n'est pas dans les documents",
    "les documents ne le précisent pas",
];

const ENGLISH_PHRASES: &[&str] = &[
    "i don't know",
    "i do not know",
    "i am not sure",
    "i'm not sure",
    "i don't have this information",
    "i don't have that information",
    "i don't have any information",
    "i don't have information",
    "i do not have information",
    "i do not have any information",
    "i don't have enough information",
    "i do not have enough information",
    "i cannot answer",
    "i can't answer",
    "i am unable to answer",
    "i'm unable to answer",
    "unable to answer",
    "cannot be answered",
    "no information available",
    "no information is available",
    "there is no information",
    "not enough information",
    "information is not available",
    "is not specified",
    "is not mentioned",
    "is not provided",
    "is not stated",
    "not found in the documents",
    "does not contain this information",
    "do not contain this information",
    "do not give this information",
    "this information is not in the documents",
    "the documents do not say",
];

impl Default for Abstention {
    /// The French and English phrases.
    fn default() -> Self {
        Self::new(FRENCH_PHRASES.iter().chain(ENGLISH_PHRASES))
    }
}

impl Abstention {
    /// A list of one's own. Case, spaces and the kind of apostrophe do not matter; empty phrases are left out.
    pub fn new<S: AsRef<str>>(phrases: impl IntoIterator<Item = S>) -> Self {
        let mut list = Self { phrases: Vec::new() };
        for phrase in phrases {
            list.add(phrase.as_ref());
        }
        list
    }

    /// One more phrase.
    pub fn add(&mut self, phrase: &str) {
        let phrase = fold(phrase);
        if !phrase.is_empty() && !self.phrases.contains(&phrase) {
            self.phrases.push(phrase);
        }
    }

    /// The phrases, lower-cased.
    pub fn phrases(&self) -> &[String] {
        &self.phrases
    }

    /// The first phrase of the list that stands in an answer, as whole words.
    pub fn found_in(&self, answer: &str) -> Option<&str> {
        let answer = fold(answer);
        let is_edge = |character: Option<char>| character.is_none_or(|character| !character.is_alphanumeric());
        let stands = |phrase: &&String| {
            answer
                .match_indices(phrase.as_str())
                .any(|(start, _)| is_edge(answer[..start].chars().next_back()) && is_edge(answer[start + phrase.len()..].chars().next()))
        };
        self.phrases.iter().find(stands).map(String::as_str)
    }

    /// Whether an answer says that it does not know. An empty one says nothing.
    pub fn abstains(&self, answer: &str) -> bool {
        self.found_in(answer).is_some()
    }

    /// Whether an answer answers: it has a letter or a digit or a sign, and does not abstain.
    pub fn answers(&self, answer: &str) -> bool {
        split_spaces(answer).next().is_some() && !self.abstains(answer)
    }
}

/// Composed, lower-cased, straight apostrophes, single spaces.
fn fold(text: &str) -> String {
    let text: String = compose(text).to_lowercase().chars().map(|sign| if is_apostrophe(sign) { '\'' } else { sign }).collect();
    split_spaces(&text).collect::<Vec<_>>().join(" ")
}

/// Share of an answer's 4-grams of words that stood in it before, in `0..1`: one less the distinct ones among all. 0 with fewer than four words.
pub fn repetition(answer: &str) -> f64 {
    let words = unicode_words(answer);
    let n_total = words.windows(4).len();
    if n_total == 0 {
        return 0.0;
    }
    let distinct: HashSet<&[String]> = words.windows(4).collect();
    (n_total - distinct.len()) as f64 / n_total as f64
}

/// Words of an answer: runs of letters, marks and digits.
pub fn n_words(answer: &str) -> usize {
    unicode_words(answer).len()
}

/// Characters of an answer: Unicode scalar values.
pub fn n_characters(answer: &str) -> usize {
    answer.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abstentions_are_seen_in_both_languages() {
        let list = Abstention::default();
        for answer in ["Je ne sais pas.", "Désolé, je n’ai  pas cette\ninformation.", "I DON'T KNOW", "This is not specified in the text."]
        {
            assert!(list.abstains(answer) && !list.answers(answer), "{answer}");
        }
        for answer in ["En production", "Il ne sait pas", "12", "je ne sais pasteuriser"] {
            assert!(!list.abstains(answer) && list.answers(answer), "{answer}");
        }
        assert!(!list.abstains(" \n") && !list.answers(" \n"));
        let mut own = Abstention::new(["", " Aucune  Idée "]);
        own.add("weiß ich nicht");
        assert_eq!(own.phrases(), ["aucune idée", "weiß ich nicht"]);
        assert_eq!(own.found_in("Aucune idée !"), Some("aucune idée"));
    }

    #[test]
    fn answers_that_are_taught_for_what_documents_do_not_say_abstain() {
        for language in [dyag_text::passages::Language::French, dyag_text::passages::Language::English] {
            assert!(Abstention::default().abstains(dyag_text::passages::abstention(language)));
            let rules = dyag_text::generate::Rules::shipped(language.code()).expect("shipped rules");
            assert!(rules.unknown_answers().iter().all(|answer| Abstention::default().abstains(answer)));
        }
    }

    #[test]
    fn repeated_four_grams_are_counted() {
        assert_eq!(repetition("un deux trois"), 0.0);
        assert_eq!(repetition("un deux trois quatre cinq"), 0.0);
        // Nine 4-grams, four of them distinct.
        assert_eq!(repetition(&"a b c d ".repeat(3)), 5.0 / 9.0);
        assert_eq!((n_words("L’été, 10 %"), n_characters("é🎉")), (3, 2));
    }
}
