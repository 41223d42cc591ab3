//! A chat template in the language that Ollama's model files have: Go's text/template.
//!
//! Jinja is not translated. Most chat templates only write fixed texts around each turn; these are found by rendering conversations, put into Go's syntax, and
//! believed only when they give what the Jinja template gives for other conversations. A template that does more is refused.

use crate::conversation::{Message, Role};
use crate::error::{TextError, excerpt};
use crate::template::{ChatTemplate, Date};

/// The texts that a template writes around turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pieces {
    /// Before the first question, with no system message: a preamble, perhaps a system message of the template's own, the opening of a turn.
    opening: String,
    /// Before and after a system message; none where the template takes none. What comes after leads up to the first question.
    system: Option<(String, String)>,
    /// After a question.
    after_user: String,
    /// Between that and an answer.
    before_assistant: String,
    /// After an answer.
    after_assistant: String,
    /// Between that and the next question.
    before_user: String,
    /// Between the last question and what the model writes.
    prompt: String,
}

/// The Go template that writes what `template` writes, for conversations of a system message or none, then questions and answers in turn. Where
/// `without_bos`, the word that begins a text is left out of it: the program that reads the file puts it there. `date` is what a template that reads the clock
/// is given.
///
/// # Errors
/// A template that does more than put fixed texts around turns, with a conversation that shows it.
pub fn go_template(template: &ChatTemplate, without_bos: bool, date: Option<Date>) -> Result<String, TextError> {
    let jinja = Jinja { template, date };
    let mut pieces = jinja.pieces()?;
    for with_system in [false, true].into_iter().take(1 + usize::from(pieces.system.is_some())) {
        for n_turns in 1..=3 {
            let turns = turns(with_system, n_turns, "autre", false);
            let expected = jinja.render(&turns, true)?;
            let found = pieces.assemble(&turns);
            if found != expected {
                return Err(jinja.refuse(format!("\"{}\", where fixed texts give \"{}\"", excerpt(&expected, 200), excerpt(&found, 200))));
            }
        }
    }
    if let Some(bos) = template.special().bos.as_deref().filter(|_| without_bos) {
        let cut = |text: &mut String| *text = text.strip_prefix(bos).unwrap_or(text).to_owned();
        cut(&mut pieces.opening);
        if let Some((before, _)) = &mut pieces.system {
            cut(before);
        }
    }
    let text = pieces.to_go();
    if pieces.texts().any(|text| text.contains("{{") || text.contains("\"\"\"")) {
        return Err(jinja.refuse("fixed texts with {{ or three quotes, which end the text that they would stand in".to_owned()));
    }
    Ok(text)
}

/// A template that is asked.
struct Jinja<'a> {
    template: &'a ChatTemplate,
    date: Option<Date>,
}

/// A word for a turn: nothing that a template would write itself or change.
fn word(kind: &str, number: usize, salt: &str) -> String {
    format!("{kind}{number}q{salt}")
}

/// A conversation of `n_turns` questions, all but the last answered, unless that too.
fn turns(with_system: bool, n_turns: usize, salt: &str, answered: bool) -> Vec<Message> {
    let mut messages = Vec::new();
    if with_system {
        messages.push(Message::new(Role::System, word("Consigne", 0, salt)));
    }
    for number in 0..n_turns {
        messages.push(Message::new(Role::User, word("Question", number, salt)));
        if answered || number + 1 < n_turns {
            messages.push(Message::new(Role::Assistant, word("Reponse", number, salt)));
        }
    }
    messages
}

impl Jinja<'_> {
    fn render(&self, messages: &[Message], prompt: bool) -> Result<String, TextError> {
        self.template.render(messages, prompt, self.date)
    }

    fn refuse(&self, found: String) -> TextError {
        TextError::Template {
            origin: self.template.origin().to_owned(),
            key: "chat_template".to_owned(),
            expected: "a template that puts fixed texts around turns, which is what can be written for Ollama".to_owned(),
            found,
        }
    }

    /// What stands between the contents of `messages`: before the first, between each two, after the last.
    fn around(&self, messages: &[Message], prompt: bool) -> Result<Vec<String>, TextError> {
        let text = self.render(messages, prompt)?;
        let mut rest = text.as_str();
        let mut parts = Vec::with_capacity(messages.len() + 1);
        for message in messages {
            let (before, after) = rest.split_once(&message.content).ok_or_else(|| {
                self.refuse(format!("the turn \"{}\" nowhere after those before it in \"{}\"", message.content, excerpt(&text, 200)))
            })?;
            parts.push(before.to_owned());
            rest = after;
        }
        parts.push(rest.to_owned());
        Ok(parts)
    }

    /// The texts, from conversations of one and two questions. What a question is followed by, and an answer, is told apart from what leads up to the next turn
    /// by rendering without it, where the template allows that.
    fn pieces(&self) -> Result<Pieces, TextError> {
        let asked = turns(false, 1, "z", false);
        let [opening, tail] = self.array(&asked, true)?;
        let [_, to_answer, to_question, _] = self.array(&turns(false, 2, "z", false), true)?;
        let closed = self.around(&asked, false).ok().and_then(|parts| parts.last().cloned());
        let after_user = closed.filter(|text| tail.starts_with(text) && to_answer.starts_with(text));
        let after_user = after_user.unwrap_or_else(|| common_prefix(&tail, &to_answer));
        let closed = self.around(&turns(false, 1, "z", true), false).ok().and_then(|parts| parts.last().cloned());
        let after_assistant = closed.filter(|text| to_question.starts_with(text)).unwrap_or_default();
        // A template that takes no system message says so, or leaves it out.
        let system = match self.around(&turns(true, 1, "z", false), true) {
            Ok(parts) => Some((parts[0].clone(), parts[1].clone())),
            Err(TextError::Render { .. }) => None,
            Err(other) => return Err(other),
        };
        Ok(Pieces {
            opening,
            system,
            prompt: tail[after_user.len()..].to_owned(),
            before_assistant: to_answer[after_user.len()..].to_owned(),
            before_user: to_question[after_assistant.len()..].to_owned(),
            after_user,
            after_assistant,
        })
    }

    fn array<const N: usize>(&self, messages: &[Message], prompt: bool) -> Result<[String; N], TextError> {
        Ok(self.around(messages, prompt)?.try_into().expect("one part more than messages"))
    }
}

fn common_prefix(a: &str, b: &str) -> String {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

impl Pieces {
    fn texts(&self) -> impl Iterator<Item = &String> {
        let Self { opening, system, after_user, before_assistant, after_assistant, before_user, prompt } = self;
        let system = system.iter().flat_map(|(before, after)| [before, after]);
        [opening, after_user, before_assistant, after_assistant, before_user, prompt].into_iter().chain(system)
    }

    /// The text of a conversation that ends with a question.
    fn assemble(&self, messages: &[Message]) -> String {
        let mut text = String::new();
        let rest = match (messages, &self.system) {
            ([first, rest @ ..], Some((before, after))) if first.role == Role::System => {
                text.extend([before.as_str(), &first.content, after]);
                rest
            }
            _ => {
                text.push_str(&self.opening);
                messages
            }
        };
        for message in rest {
            match message.role {
                Role::User => text.extend([message.content.as_str(), &self.after_user]),
                _ => text.extend([self.before_assistant.as_str(), &message.content, &self.after_assistant, &self.before_user]),
            }
        }
        text + &self.prompt
    }

    /// In Go's syntax. Where the first question is led up to as the others are, each role has its own texts; where not (a system message that is part of
    /// the first question), what leads up to a question stands after what is before it.
    fn to_go(&self) -> String {
        let Self { opening, system, after_user, before_assistant, after_assistant, before_user, prompt } = self;
        let after_system = system.as_ref().map(|(_, after)| after);
        let ends = |text: &String| !before_user.is_empty() && text.ends_with(before_user.as_str());
        let alike = ends(opening) && after_system.is_none_or(ends);
        let without = |text: &str| if alike { text[..text.len() - before_user.len()].to_owned() } else { text.to_owned() };
        let begin = match system {
            None => without(opening),
            Some((before, after)) if without(opening).is_empty() => {
                format!("{{{{ if .System }}}}{before}{{{{ .System }}}}{}{{{{ end }}}}", without(after))
            }
            Some((before, after)) => {
                format!("{{{{ if .System }}}}{before}{{{{ .System }}}}{}{{{{ else }}}}{}{{{{ end }}}}", without(after), without(opening))
            }
        };
        let (leading, trailing) = if alike { (before_user.as_str(), "") } else { ("", before_user.as_str()) };
        format!(
            "{begin}{{{{ range .Messages }}}}{{{{ if eq .Role \"user\" }}}}{leading}{{{{ .Content }}}}{after_user}\
             {{{{ else if eq .Role \"assistant\" }}}}{before_assistant}{{{{ .Content }}}}{after_assistant}{trailing}{{{{ end }}}}{{{{ end }}}}{prompt}"
        )
    }
}

#[cfg(test)]
mod tests;
