//! A question that leans on those before it, as one that can be searched for.

use dyag_text::passages::Language;
use dyag_text::{Message, Role};

use crate::answerer::{Answerer, Writing};
use crate::loaded_model::SystemChoice;

/// Exchanges that are shown to the model that rewrites.
const EXCHANGES: usize = 3;
/// Characters of an answer that it is shown.
const ANSWER_CHARS: usize = 300;
/// Longest question that is believed, in characters beyond the one that was asked.
const MUCH_LONGER: usize = 200;

/// Has the model write `question` so that it can be understood without `before`. What is no question of one line falls back to the question with the one before it.
pub(crate) fn rewrite(answerer: &Answerer, before: &[Message], question: &str, language: Language) -> anyhow::Result<String> {
    let (person, assistant, task, label) = match language {
        Language::French => (
            "Question",
            "Réponse",
            "Réécris la dernière question pour qu'elle se comprenne seule, en nommant ce dont elle parle. Si elle se comprend déjà seule, recopie-la. N'y réponds pas : écris seulement la question.",
            "Dernière question",
        ),
        Language::English => (
            "Question",
            "Answer",
            "Rewrite the last question so that it can be understood alone, naming what it is about. If it can be understood alone already, copy it. Do not answer it: write the question only.",
            "Last question",
        ),
    };
    let shown = &before[before.len().saturating_sub(2 * EXCHANGES)..];
    let mut prompt = String::new();
    for turn in shown {
        let who = if turn.role == Role::User { person } else { assistant };
        let said: String = turn.content.chars().take(ANSWER_CHARS).collect();
        prompt.push_str(&format!("{who} : {}\n", said.replace('\n', " ")));
    }
    prompt.push_str(&format!("{label} : {question}\n\n{task}"));
    let writing = Writing { temperature: 0.0, seed: 0, max_tokens: 80, system: SystemChoice::None };
    let given = answerer.answer(&[Message::new(Role::User, prompt)], &writing, &mut |_| Ok(()))?;
    let last = before.iter().rev().find(|turn| turn.role == Role::User).map_or("", |turn| turn.content.as_str());
    Ok(sound(&given.text, question).unwrap_or_else(|| format!("{last} {question}")))
}

/// What a model wrote, where it is one question and not much longer than the one that was asked.
fn sound(written: &str, question: &str) -> Option<String> {
    let written = written.trim().trim_matches('"').trim();
    let written = ["Question :", "Question:", "Dernière question :", "Last question:"]
        .iter()
        .fold(written, |text, label| text.strip_prefix(label).unwrap_or(text).trim());
    let is_question = written.ends_with('?') || !question.trim_end().ends_with('?');
    let fits = !written.is_empty() && !written.contains('\n') && written.chars().count() <= question.chars().count() + MUCH_LONGER;
    (is_question && fits).then(|| written.to_owned())
}

#[cfg(test)]
mod tests {
    use super::sound;

    #[test]
    fn only_one_question_is_believed() {
        assert_eq!(sound("\"Quel est le contact de GIDAF ?\"", "Et son contact ?").as_deref(), Some("Quel est le contact de GIDAF ?"));
        assert_eq!(sound("Question : Quel est le statut ?", "Et le statut ?").as_deref(), Some("Quel est le statut ?"));
        for wrong in ["", "Le contact est x@y.fr.", "Une ?\nDeux ?", &"long ".repeat(100)] {
            assert_eq!(sound(wrong, "Et son contact ?"), None, "{wrong}");
        }
    }
}
