//! French for the sentences that a [`Comparison`](super::super::Comparison) holds in English: notes, recommendations, rules, methods.
//!
//! A comparison is data for programs as well, and its sentences stay what they are. A pair below is an English sentence with its places and the French
//! one: `{name}` is taken over, `{n}` is a number and is written as in French. What is not here is shown in English and marked as such.

use std::borrow::Cow;

use super::words::Language;

/// English and French.
const SENTENCES: &[(&str, &str)] = &[
    // Recommendations.
    (
        "take {name}: nothing is shown better in {name}, and of {name} each is shown worse than another",
        "prendre {0}\u{202F}: rien n’est démontré meilleur pour {1}, et de {2} chacun est démontré moins bon qu’un autre",
    ),
    (
        "take the simplest of {name}: in {name} no difference between them is shown, and of {name} each is shown worse than another",
        "prendre le plus simple de {0}\u{202F}: pour {1}, aucune différence n’est démontrée entre eux, et de {2} chacun est démontré moins bon qu’un autre",
    ),
    (
        "take the simplest of {name}: in {name} no difference between them is shown, and {name} is shown worse than another",
        "prendre le plus simple de {0}\u{202F}: pour {1}, aucune différence n’est démontrée entre eux, et {2} est démontré moins bon qu’un autre",
    ),
    (
        "what you need besides right answers: sources, documents that change, time, memory",
        "ce qu’il vous faut outre des réponses justes\u{202F}: des sources, des documents qui changent, du temps, de la mémoire",
    ),
    (
        "{name} rather than {name}: it is better by {n} in {name} ({n} against {n}, {n} interval {n} to {n}; p {n} after adjustment)",
        "{0} plutôt que {1}\u{202F}: l’écart est de {2} pour {3} ({4} contre {5}\u{202F}; intervalle à {6} de {7} à {8}\u{202F}; p ajustée {9})",
    ),
    (
        "{name} rather than {name}: it is better by {n} in {name} ({n} against {n}; p {n} after adjustment)",
        "{0} plutôt que {1}\u{202F}: l’écart est de {2} pour {3} ({4} contre {5}\u{202F}; p ajustée {6})",
    ),
    (
        "questions of another kind or about other documents; {name} with other settings; answers that are right for {name} and useless to a reader, or the reverse",
        "des questions d’un autre genre ou sur d’autres documents\u{202F}; {0} réglé autrement\u{202F}; des réponses justes selon {1} et inutiles au lecteur, ou l’inverse",
    ),
    (
        "{name}, if cost decides: no difference in {name} was shown, and it takes {n} less a question ({n} against {n})",
        "{0}, si le coût décide\u{202F}: aucune différence démontrée pour {1}, et une question coûte {2} de moins ({3} contre {4})",
    ),
    (
        "a set that shows differences below {n}; another machine or other prices",
        "un jeu qui révèle des écarts inférieurs à {0}\u{202F}; une autre machine ou d’autres prix",
    ),
    (
        "a set on which the two differ; another machine or other prices",
        "un jeu sur lequel les deux diffèrent\u{202F}; une autre machine ou d’autres prix",
    ),
    (
        "more documents before {name} and {name} are called equal: in {name} this set shows differences from {n} on (in eight of ten sets like it); about {n} documents like these would show 10 points",
        "davantage de documents avant de dire {0} et {1} équivalents\u{202F}: pour {2}, ce jeu révèle les écarts à partir de {3} (huit jeux semblables sur dix)\u{202F}; environ {4} documents comme ceux-ci révéleraient 10\u{A0}points",
    ),
    (
        "more questions before {name} and {name} are called equal: in {name} this set shows differences from {n} on (in eight of ten sets like it); about {n} questions like these would show 10 points",
        "davantage de questions avant de dire {0} et {1} équivalents\u{202F}: pour {2}, ce jeu révèle les écarts à partir de {3} (huit jeux semblables sur dix)\u{202F}; environ {4} questions comme celles-ci révéleraient 10\u{A0}points",
    ),
    (
        "a difference below 10 points that matters to you: then more still",
        "un écart de moins de 10\u{A0}points qui compte pour vous\u{202F}: alors davantage encore",
    ),
    (
        "try the two together (a fine-tuned model that is shown passages): {name} alone answers {n} of {n} questions better, {name} alone {n}",
        "essayer les deux ensemble (un modèle affiné à qui l’on montre des passages)\u{202F}: {0} seul répond mieux à {1} questions sur {2}, {3} seul à {4}",
    ),
    (
        "an evaluation of the two together: this is what chance alone can do, too",
        "une évaluation des deux ensemble\u{202F}: le seul hasard peut aussi produire cela",
    ),
    (
        "{name}'s training of {n} is paid back after {n} questions, at {n} saved on each",
        "l’entraînement de {0} ({1}) est amorti au bout de {2} questions, à raison de {3} gagnées sur chacune",
    ),
    (
        "documents that change: each new training has to be paid back again; a machine on which training or answering takes another time",
        "des documents qui changent\u{202F}: chaque nouvel entraînement est à amortir de nouveau\u{202F}; une machine plus rapide ou plus lente pour l’entraînement ou les réponses",
    ),
    (
        "improve the search of {name}: for {n} of {n} wrong answers no passage that was shown holds the answer (more passages, other sizes of passages, another search)",
        "améliorer la recherche de {0}\u{202F}: pour {1} réponses fausses sur {2}, aucun passage montré ne contient la réponse (davantage de passages, des passages d’une autre taille, une autre recherche)",
    ),
    (
        "right chunks that are listed wrongly, or answers that stand in the documents in other words",
        "de bons passages mal répertoriés, ou des réponses qui figurent dans les documents en d’autres mots",
    ),
    (
        "improve how {name} answers: for {n} of {n} wrong answers a passage that was shown holds the answer (another model or instruction, fewer passages, fine-tuning)",
        "améliorer les réponses de {0}\u{202F}: pour {1} réponses fausses sur {2}, un passage montré contient la réponse (un autre modèle ou une autre consigne, moins de passages, un affinage)",
    ),
    (
        "answers that are right and that {name} calls wrong: read some of them",
        "des réponses justes que {0} dit fausses\u{202F}: il faut en lire quelques-unes",
    ),
    (
        "find out why {n} of {n} questions of {name} failed, before comparing its answers",
        "chercher pourquoi {0} questions sur {1} de {2} ont échoué, avant de comparer ses réponses",
    ),
    ("a run without failures", "une évaluation sans échec"),
    (
        "{name}, where the documents change: {name} knows them as they were when it was trained, and each change takes a new training ({n}), where a search only takes a new index; {name} is better in {name} as the documents are now",
        "{0}, si les documents changent\u{202F}: {1} les connaît tels qu’ils étaient à l’entraînement, et chaque changement demande un nouvel entraînement ({2}), quand une recherche ne demande qu’un nouvel index\u{202F}; {3} est meilleur pour {4} avec les documents d’aujourd’hui",
    ),
    (
        "{name}, where the documents change: {name} knows them as they were when it was trained, and each change takes a new training ({n}), where a search only takes a new index; {name} is better in {name} besides",
        "{0}, si les documents changent\u{202F}: {1} les connaît tels qu’ils étaient à l’entraînement, et chaque changement demande un nouvel entraînement ({2}), quand une recherche ne demande qu’un nouvel index\u{202F}; de plus, {3} est meilleur pour {4}",
    ),
    (
        "{name}, where the documents change: {name} knows them as they were when it was trained, and each change takes a new training ({n}), where a search only takes a new index; no difference in {name} was shown",
        "{0}, si les documents changent\u{202F}: {1} les connaît tels qu’ils étaient à l’entraînement, et chaque changement demande un nouvel entraînement ({2}), quand une recherche ne demande qu’un nouvel index\u{202F}; aucune différence démontrée pour {3}",
    ),
    (
        "{name}, where the documents change: {name} knows them as they were when it was trained, and each change takes a new training, where a search only takes a new index; {name} is better in {name} as the documents are now",
        "{0}, si les documents changent\u{202F}: {1} les connaît tels qu’ils étaient à l’entraînement, et chaque changement demande un nouvel entraînement, quand une recherche ne demande qu’un nouvel index\u{202F}; {2} est meilleur pour {3} avec les documents d’aujourd’hui",
    ),
    (
        "{name}, where the documents change: {name} knows them as they were when it was trained, and each change takes a new training, where a search only takes a new index; {name} is better in {name} besides",
        "{0}, si les documents changent\u{202F}: {1} les connaît tels qu’ils étaient à l’entraînement, et chaque changement demande un nouvel entraînement, quand une recherche ne demande qu’un nouvel index\u{202F}; de plus, {2} est meilleur pour {3}",
    ),
    (
        "{name}, where the documents change: {name} knows them as they were when it was trained, and each change takes a new training, where a search only takes a new index; no difference in {name} was shown",
        "{0}, si les documents changent\u{202F}: {1} les connaît tels qu’ils étaient à l’entraînement, et chaque changement demande un nouvel entraînement, quand une recherche ne demande qu’un nouvel index\u{202F}; aucune différence démontrée pour {2}",
    ),
    ("documents that stay as they are, or a shorter training", "des documents qui restent tels quels, ou un entraînement plus court"),
    (
        "{name}, where an answer that may be wrong is better than none; {name}, where it is worse: they answer {n} and {n} of the questions, and say of the others that they do not know",
        "{0}, là où une réponse peut-être fausse vaut mieux qu’aucune\u{202F}; {1}, là où elle est pire\u{202F}: ils répondent à {2} et {3} des questions, et disent ne pas savoir pour les autres",
    ),
    (
        "questions that nobody can answer from the documents: there, saying so is right",
        "des questions auxquelles les documents ne permettent pas de répondre\u{202F}: là, le dire est juste",
    ),
    (
        "judge {name} by the results without leaks: training asked {n} of {n} questions in the same or nearly the same words ({name})",
        "juger {0} sur les résultats sans fuites\u{202F}: l’entraînement a posé {1} des {2} questions dans les mêmes mots ou presque ({3})",
    ),
    (
        "questions in words that training does not use (generate-training --split makes some)",
        "des questions en des mots que l’entraînement n’emploie pas (generate-training --split en fait)",
    ),
    (
        "a search beside {name}, or a training set that covers more: {n} of {n} questions are about facts that {name} never teaches",
        "une recherche à côté de {0}, ou un jeu d’entraînement plus complet\u{202F}: {1} des {2} questions portent sur des faits que {3} n’enseigne jamais",
    ),
    ("questions about what the training set teaches", "des questions sur ce que le jeu d’entraînement enseigne"),
    // Rules.
    (
        "5 % or more of the questions were asked in the training of one",
        "au moins 5\u{202F}% des questions ont été posées à l’entraînement de l’un",
    ),
    (
        "20 % or more of the questions are about what the training of one never taught",
        "au moins 20\u{202F}% des questions portent sur ce que l’entraînement de l’un n’a jamais enseigné",
    ),
    (
        "of three or more, some are shown worse in the primary metric than another, and some are not",
        "de trois ou plus, certains sont démontrés moins bons qu’un autre pour la mesure principale, et certains ne le sont pas",
    ),
    (
        "one of two says it does not know for 10 points more of the questions, and the other reaches 5 % or more in the primary metric",
        "l’un des deux dit ne pas savoir pour 10\u{A0}points de plus des questions, et l’autre atteint au moins 5\u{202F}% pour la mesure principale",
    ),
    (
        "one of two searches the documents, and the other was trained on them and does not",
        "l’un des deux cherche dans les documents, et l’autre a été entraîné dessus et n’y cherche pas",
    ),
    ("one of two is shown better in the primary metric", "l’un des deux est démontré meilleur pour la mesure principale"),
    (
        "no difference is shown in the primary metric, and one of two, which reaches 5 % or more in it, is shown faster, or else to use fewer tokens",
        "aucune différence n’est démontrée pour la mesure principale, et l’un des deux, qui y atteint au moins 5\u{202F}%, est démontré plus rapide, ou à défaut plus économe en jetons",
    ),
    (
        "no difference is shown in the primary metric, and differences of 10 points would be missed too often",
        "aucune différence n’est démontrée pour la mesure principale, et des écarts de 10\u{A0}points passeraient trop souvent inaperçus",
    ),
    ("one of two was trained longer and is shown faster", "l’un des deux a été entraîné plus longtemps et est démontré plus rapide"),
    (
        "half or more of five or more wrong answers with a known cause had no passage that holds the answer",
        "pour la moitié ou plus d’au moins cinq réponses fausses de cause connue, aucun passage ne contenait la réponse",
    ),
    (
        "half or more of five or more wrong answers with a known cause had a passage that holds the answer",
        "pour la moitié ou plus d’au moins cinq réponses fausses de cause connue, un passage contenait la réponse",
    ),
    ("5 % or more of the questions of one failed", "au moins 5\u{202F}% des questions d’une méthode ont échoué"),
    (
        "of two, each alone answers 10 % or more of the questions better",
        "de deux, chacun répond seul mieux à au moins 10\u{202F}% des questions",
    ),
    // Methods.
    (
        "paired differences; CR2 variance by document, t with Satterthwaite degrees of freedom; corpus scores by exchanging the two names by document",
        "écarts appariés\u{202F}; variance CR2 par document, loi de Student aux degrés de liberté de Satterthwaite\u{202F}; scores d’ensemble par échange des deux noms par document",
    ),
    (
        "Holm, over all pairs and metrics of quality; scores of whole sets by themselves, and so time and tokens",
        "Holm, sur toutes les paires et mesures de qualité\u{202F}; scores d’ensemble à part, de même temps et jetons",
    ),
    // Training.
    (
        "{name}: of {n} questions, {n} were asked in training in the same or nearly the same words, {n} were taught in another wording, {n} were never taught, of {n} it cannot be told ({name})",
        "{0}\u{202F}: sur {1} questions, {2} ont été posées à l’entraînement dans les mêmes mots ou presque, {3} ont été enseignées en d’autres mots, {4} ne l’ont jamais été, pour {5} on ne peut le dire ({6})",
    ),
    (
        "{name}: of {n} questions, {n} were asked in training in the same or nearly the same words, {n} were taught in another wording, {n} were never taught ({name})",
        "{0}\u{202F}: sur {1} questions, {2} ont été posées à l’entraînement dans les mêmes mots ou presque, {3} ont été enseignées en d’autres mots, {4} ne l’ont jamais été ({5})",
    ),
    (
        "{n} of the questions compared stand in the training set of {name} in the same or nearly the same words: what is known of them may be memory of the very words; results without them are given beside",
        "{0} des questions comparées figurent dans le jeu d’entraînement de {1} dans les mêmes mots ou presque\u{202F}: ce qui en est su peut n’être que mémoire des mots mêmes\u{202F}; les résultats sans elles sont donnés à côté",
    ),
    // A judge.
    (
        "{name} better on {n}, {name} on {n}, neither on {n} of {n} questions; the order alone decided {n} of {n} ({n}), {n} questions without a usable word",
        "{0} meilleur sur {1} questions, {2} sur {3}, aucun des deux sur {4}, parmi {5}\u{202F}; l’ordre seul a décidé {6} fois sur {7} ({8}), et {9} questions sont restées sans avis utilisable",
    ),
    (
        "{name} better on {n}, {name} on {n}, neither on {n} of {n} questions; the order alone decided {n} of {n} ({n})",
        "{0} meilleur sur {1} questions, {2} sur {3}, aucun des deux sur {4}, parmi {5}\u{202F}; l’ordre seul a décidé {6} fois sur {7} ({8})",
    ),
    // Notes.
    (
        "{name} holds figures over the whole set and no rows: nothing can be compared question by question, so no difference can be shown",
        "{0} ne contient que des chiffres d’ensemble et aucune ligne\u{202F}: rien ne peut être comparé question par question, donc aucune différence ne peut être démontrée",
    ),
    (
        "the files name different question sets (dataset_sha256): only the questions they share are compared",
        "les fichiers nomment des jeux de questions différents (dataset_sha256)\u{202F}: seules leurs questions communes sont comparées",
    ),
    (
        "no row names its document: questions are taken for independent, which makes intervals too narrow when several are about one document",
        "aucune ligne ne nomme son document\u{202F}: les questions sont supposées indépendantes, ce qui rend les intervalles trop étroits quand plusieurs portent sur un même document",
    ),
    (
        "all questions are about one document: intervals speak of further questions about it, not of other documents",
        "toutes les questions portent sur un seul document\u{202F}: les intervalles valent pour d’autres questions sur celui-ci, non pour d’autres documents",
    ),
    (
        "only {n} documents: intervals are wide, and rest on few observations",
        "seulement {0} documents\u{202F}: les intervalles sont larges et reposent sur peu d’observations",
    ),
    ("only {name} has {name}: not compared with {name}", "seul {0} a {1}\u{202F}: pas de comparaison avec {2}"),
    (
        "{name} and {name} share no metric of single answers: only cost is compared",
        "{0} et {1} n’ont aucune mesure par réponse en commun\u{202F}: seul le coût est comparé",
    ),
    (
        "{name} was computed differently: {name} in {name}, {name} in {name}; the difference means little",
        "{0} a été calculée différemment\u{202F}: {1} chez {2}, {3} chez {4}\u{202F}; l’écart ne veut pas dire grand-chose",
    ),
    (
        "{name} needs expected answers, and {n} of {n} questions have none: it is not compared ({name} and {name})",
        "{0} exige des réponses attendues, et {1} questions sur {2} n’en ont pas\u{202F}: elle n’est pas comparée ({3} et {4})",
    ),
    (
        "{name} needs expected answers, and {n} of {n} questions have none: they are left out ({name} and {name})",
        "{0} exige des réponses attendues, et {1} questions sur {2} n’en ont pas\u{202F}: elles sont laissées de côté ({3} et {4})",
    ),
    (
        "{name}: no expected answer holds a number, a date or an identifier: it is not compared ({name} and {name})",
        "{0}\u{202F}: aucune réponse attendue ne contient de nombre, de date ni d’identifiant\u{202F}; elle n’est pas comparée ({1} et {2})",
    ),
    (
        "{name}: no question has it in both files: it is not compared ({name} and {name})",
        "{0}\u{202F}: aucune question ne l’a dans les deux fichiers\u{202F}; elle n’est pas comparée ({1} et {2})",
    ),
    (
        "{name}: {n} failed answers without a score count as 0 ({name} and {name})",
        "{0}\u{202F}: {1} réponses en échec et sans valeur comptent pour 0 ({2} et {3})",
    ),
    (
        "{name}: no metric says which answers are wrong, so their causes are not known",
        "{0}\u{202F}: aucune mesure ne dit quelles réponses sont fausses, leurs causes sont donc inconnues",
    ),
];

/// A sentence of a comparison in a language, and the language that it is in.
pub(super) fn sentence(language: Language, english: &str) -> (Cow<'_, str>, Language) {
    let translated = || SENTENCES.iter().find_map(|(pattern, french)| Some(filled(french, &places(pattern, english)?)));
    match language {
        Language::English => (Cow::Borrowed(english), Language::English),
        Language::French => match translated() {
            Some(french) => (Cow::Owned(french), Language::French),
            None => (Cow::Borrowed(english), Language::English),
        },
    }
}

/// What stands in the places of a pattern, numbers written as in French; none when the sentence is another one.
fn places(pattern: &str, sentence: &str) -> Option<Vec<String>> {
    let mut places = Vec::new();
    let mut pieces = pattern.split('{');
    let mut rest = sentence.strip_prefix(pieces.next()?)?;
    let mut pieces = pieces.map(|piece| piece.split_once('}').unwrap_or((piece, ""))).peekable();
    while let Some((kind, text)) = pieces.next() {
        // The last piece ends the sentence; any other is where it first occurs.
        let end = if pieces.peek().is_none() { rest.strip_suffix(text)?.len() } else { rest.find(text)? };
        let found = &rest[..end];
        places.push(match kind {
            "n" if found.chars().any(|c| c.is_ascii_digit()) => number(found),
            "n" => return None,
            _ => found.to_owned(),
        });
        rest = &rest[end + text.len()..];
    }
    (rest.is_empty() || pattern.contains('{')).then_some(places)
}

/// A number with its unit.
fn number(english: &str) -> String {
    Language::French.number(english).replace("seconds", "s").replace("tokens", "jetons")
}

fn filled(template: &str, places: &[String]) -> String {
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    Language::French.words().fill(template, &places)
}

#[cfg(test)]
mod tests {
    use super::super::super::RULES;
    use super::*;

    #[test]
    fn names_stay_and_numbers_change() {
        let (text, language) = sentence(Language::French, "exact_match: 10 failed answers without a score count as 0 (qwen2.5:1.5b and b)");
        assert_eq!(
            (text.as_ref(), language),
            ("exact_match\u{202F}: 10 réponses en échec et sans valeur comptent pour 0 (qwen2.5:1.5b et b)", Language::French)
        );
        let (text, _) = sentence(Language::French, "a set that shows differences below 16.5 points; another machine or other prices");
        assert!(text.contains("16,5\u{A0}points"), "{text}");
        let (text, _) = sentence(Language::French, "ft's training of 251 s is paid back after 590 questions, at 0.426 s saved on each");
        assert_eq!(
            text,
            "l’entraînement de ft (251\u{A0}s) est amorti au bout de 590 questions, à raison de 0,426\u{A0}s gagnées sur chacune"
        );
    }

    #[test]
    fn every_rule_has_french_and_the_unknown_stays_english() {
        assert!(RULES.iter().all(|rule| sentence(Language::French, rule.when).1 == Language::French));
        assert_eq!(
            sentence(Language::French, "a run without failures, please"),
            (Cow::Borrowed("a run without failures, please"), Language::English)
        );
        assert_eq!(sentence(Language::French, "").1, Language::English);
        assert_eq!(sentence(Language::English, RULES[0].when).0, RULES[0].when);
    }

    #[test]
    fn places_are_filled_in_their_number() {
        for (english, french) in SENTENCES {
            let n_places = english.matches('{').count();
            for place in 0..n_places {
                assert!(french.contains(&format!("{{{place}}}")), "{french} lacks {place}");
            }
            assert!(!french.contains(&format!("{{{n_places}}}")), "{french}");
        }
    }
}
