//! Words that nearly every French or English text has, in lower case and without accents: articles, pronouns, prepositions, conjunctions, auxiliary verbs.

use super::facts::Language;

/// Name of the lists in signatures; another number for other words.
pub(super) const NAME: &str = "fr-en-1";

/// The words of a language, in lower case and without accents.
pub(super) fn of(language: Language) -> &'static [&'static str] {
    match language {
        Language::French => FRENCH,
        Language::English => ENGLISH,
    }
}

#[rustfmt::skip]
const FRENCH: &[&str] = &[
    // Articles, elided words.
    "le", "la", "les", "l", "un", "une", "des", "du", "de", "d", "au", "aux", "c", "j", "m", "n", "s", "t", "qu", "jusqu", "lorsqu", "puisqu", "quoiqu",
    // Pronouns and determiners.
    "je", "tu", "il", "elle", "on", "nous", "vous", "ils", "elles", "me", "moi", "te", "toi", "se", "soi", "lui", "leur", "leurs", "eux", "y", "en", "ce", "cet", "cette", "ces", "ceci",
    "cela", "ca", "celui", "celle", "ceux", "celles", "mon", "ma", "mes", "ton", "ta", "tes", "son", "sa", "ses", "notre", "nos", "votre", "vos", "notres", "votres", "qui", "que", "quoi",
    "dont", "ou", "lequel", "laquelle", "lesquels", "lesquelles", "duquel", "auquel", "auxquels", "auxquelles", "quel", "quelle", "quels", "quelles", "tout", "toute", "tous", "toutes",
    "aucun", "aucune", "certain", "certains", "certaine", "certaines", "autre", "autres", "meme", "memes", "tel", "telle", "tels", "telles", "chaque", "plusieurs", "quelque", "quelques",
    // Prepositions, conjunctions, adverbs.
    "a", "dans", "par", "pour", "sur", "sous", "avec", "sans", "chez", "vers", "entre", "depuis", "pendant", "avant", "apres", "contre", "selon", "malgre", "parmi", "hors", "jusque", "et",
    "mais", "donc", "or", "ni", "car", "si", "comme", "lorsque", "quand", "puisque", "parce", "afin", "ainsi", "aussi", "alors", "puis", "ensuite", "ne", "pas", "plus", "moins", "tres",
    "bien", "peu", "trop", "encore", "deja", "toujours", "jamais", "ici", "la", "notamment", "egalement", "cependant", "toutefois",
    // être, avoir, faire, pouvoir, devoir.
    "etre", "est", "sont", "suis", "es", "sommes", "etes", "etait", "etaient", "sera", "seront", "serait", "seraient", "soit", "soient", "fut", "furent", "ete", "etant", "avoir", "ai", "as",
    "avons", "avez", "ont", "avait", "avaient", "aura", "auront", "aurait", "auraient", "ait", "aient", "eu", "ayant", "fait", "font", "faire", "peut", "peuvent", "pouvoir", "doit",
    "doivent", "devoir", "agit", "oui", "non",
];

#[rustfmt::skip]
const ENGLISH: &[&str] = &[
    // Articles, pronouns and determiners.
    "a", "an", "the", "i", "you", "he", "she", "it", "we", "they", "me", "him", "her", "us", "them", "my", "your", "his", "its", "our", "their", "mine", "yours", "hers", "ours", "theirs",
    "this", "that", "these", "those", "who", "whom", "whose", "which", "what", "where", "when", "why", "how", "all", "any", "both", "each", "every", "few", "more", "most", "much", "many",
    "other", "another", "some", "such", "same", "own", "there", "here", "one",
    // Prepositions, conjunctions, adverbs.
    "of", "in", "on", "at", "by", "for", "with", "about", "against", "between", "into", "through", "during", "before", "after", "above", "below", "to", "from", "up", "down", "out", "off",
    "over", "under", "within", "without", "and", "or", "but", "if", "because", "as", "until", "while", "than", "then", "so", "too", "very", "just", "only", "also", "not", "no", "nor",
    "yes", "again", "further", "once", "however",
    // be, have, do, modal verbs; what remains of short forms.
    "be", "is", "am", "are", "was", "were", "been", "being", "have", "has", "had", "having", "do", "does", "did", "doing", "can", "could", "may", "might", "must", "shall", "should", "will",
    "would", "s", "t", "d", "ll", "m", "re", "ve", "don", "isn", "aren", "wasn", "doesn", "didn", "won", "can", "couldn", "shouldn", "wouldn",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_folded() {
        for word in FRENCH.iter().chain(ENGLISH) {
            assert_eq!(dyag_text::near_duplicates::fold(word), *word);
        }
    }
}
