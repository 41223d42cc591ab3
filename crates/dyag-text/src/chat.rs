//! A tokenizer and a chat template that belong together: the one way from messages to tokens, for training and for questions.

use crate::conversation::{Message, Role, turn_order};
use crate::error::{TextError, excerpt};
use crate::marks::{Marker, strip_python};
use crate::template::{ChatTemplate, Date};
use crate::tokenizer::{Encoding, Tokenizer, WordSpan};

/// A model's tokenizer and chat template.
#[derive(Debug)]
pub struct Chat {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    end_of_turn: Option<u32>,
    answer_lead: String,
}

/// A conversation as text, with what is known about the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// The text, byte for byte the template's.
    pub(crate) text: String,
    /// Where in the text the control words are that the template wrote. Those in messages are not among them.
    pub(crate) controls: Vec<WordSpan>,
    /// Where in the text the contents of messages are, without white space around them, from left to right; none when the template
    /// rewrites contents, so that they cannot be followed.
    pub(crate) contents: Option<Vec<std::ops::Range<usize>>>,
}

impl Chat {
    /// Brings a tokenizer and a template together, and finds out which control token ends the assistant's turns.
    pub fn new(tokenizer: Tokenizer, template: ChatTemplate) -> Self {
        let mut chat = Self { tokenizer, template, end_of_turn: None, answer_lead: String::new() };
        chat.end_of_turn = chat.probe_end_of_turn().or_else(|| chat.eos());
        chat.answer_lead = chat.probe_answer_lead().unwrap_or_default();
        chat
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template.
    pub fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// The token that ends the assistant's turns: the first control token that the template writes after an answer, or else EOS.
    pub fn end_of_turn(&self) -> Option<u32> {
        self.end_of_turn
    }

    /// White space that the template writes between the prompt and an answer, so that a model writes it before each answer; it is no part of the answer. Mostly none.
    pub fn answer_lead(&self) -> &str {
        &self.answer_lead
    }

    /// The token of the template's `eos_token`.
    pub fn eos(&self) -> Option<u32> {
        self.template.special().eos.as_deref().and_then(|word| self.tokenizer.id_of(word))
    }

    /// The token of the template's `bos_token`.
    pub fn bos(&self) -> Option<u32> {
        self.template.special().bos.as_deref().and_then(|word| self.tokenizer.id_of(word))
    }

    /// Tokens that end an answer: the end of a turn, and EOS. (A model's configuration may name more.)
    pub fn stop_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.end_of_turn.into_iter().chain(self.eos()).collect();
        ids.dedup();
        ids
    }

    /// Tokens of `messages` and of the opening of the assistant's answer. `date` is what a template that reads the clock is given.
    ///
    /// # Errors
    /// Messages that are not a system message or none, then user and assistant in turns, the user last; a template that refuses them.
    pub fn prompt_ids(&self, messages: &[Message], date: Option<Date>) -> Result<Vec<u32>, TextError> {
        if let Err((index, expected)) = turn_order(messages) {
            return Err(TextError::Order { index, expected, found: format!("\"{}\"", messages[index].role) });
        }
        match messages.last() {
            Some(last) if last.role == Role::User => {}
            other => {
                let found = other.map_or_else(|| "no message".to_owned(), |message| format!("\"{}\"", message.role));
                return Err(TextError::Order { index: messages.len().saturating_sub(1), expected: "\"user\" last", found });
            }
        }
        let rendered = self.render(messages, true, date)?;
        Ok(self.encode(&rendered)?.ids)
    }

    /// Tokens of a rendered conversation.
    pub(crate) fn encode(&self, rendered: &Rendered) -> Result<Encoding, TextError> {
        self.tokenizer.encode_with(&rendered.text, &rendered.controls)
    }

    /// Renders `messages` and tells the template's control words from those in messages.
    pub(crate) fn render(&self, messages: &[Message], add_generation_prompt: bool, date: Option<Date>) -> Result<Rendered, TextError> {
        let text = self.template.render(messages, add_generation_prompt, date)?;
        let words = self.tokenizer.control_words(&text);
        let marker = Marker::absent_from(messages.iter().map(|message| message.content.as_str()).chain([self.template.source()]));
        let marked: Vec<Message> = messages.iter().map(|message| Message::new(message.role, marker.around(&message.content))).collect();
        // A template may refuse or rewrite what is marked; then its marked text is not that of the conversation.
        let contents = self.template.render(&marked, add_generation_prompt, date).ok().and_then(|marked| marker.ranges(&marked, &text));
        if let Some(contents) = contents {
            let touches = |word: &WordSpan| contents.iter().any(|range| word.start < range.end && range.start < word.end);
            let controls = words.into_iter().filter(|word| !touches(word)).collect();
            return Ok(Rendered { text, controls, contents: Some(contents) });
        }
        let controls = self.controls_by_inner_marks(&text, words, &marker, messages, add_generation_prompt, date)?;
        Ok(Rendered { text, controls, contents: None })
    }

    /// The same where contents cannot be followed as a whole: marks only the control words in messages, from inside.
    fn controls_by_inner_marks(
        &self,
        text: &str,
        words: Vec<WordSpan>,
        marker: &Marker,
        messages: &[Message],
        add_generation_prompt: bool,
        date: Option<Date>,
    ) -> Result<Vec<WordSpan>, TextError> {
        let mut first = None;
        let mut marked = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let inside = self.tokenizer.control_words(&message.content);
            if let Some(word) = inside.first() {
                first.get_or_insert_with(|| (index, message.content[word.start..word.end].to_owned()));
            }
            marked.push(Message::new(message.role, marker.inside(&message.content, inside.iter().map(|word| word.start))));
        }
        let Some((index, word)) = first else { return Ok(words) };
        let marked = self.template.render(&marked, add_generation_prompt, date).ok();
        match marked.and_then(|marked| marker.points(&marked, text)) {
            Some(points) => {
                let holds = |word: &WordSpan| points.iter().any(|point| word.start < *point && *point < word.end);
                Ok(words.into_iter().filter(|word| !holds(word)).collect())
            }
            None => Err(TextError::ControlWord { index, word, origin: self.template.origin().to_owned() }),
        }
    }

    /// The first control token after an answer in a conversation of one question and one answer.
    fn probe_end_of_turn(&self) -> Option<u32> {
        let (rendered, _, answer) = self.probe()?;
        rendered.controls.iter().find(|word| word.start >= answer.end).map(|word| word.id)
    }

    /// What stands between the prompt and the answer in such a conversation, where that is white space.
    fn probe_answer_lead(&self) -> Option<String> {
        let (rendered, messages, answer) = self.probe()?;
        let start = self.answer_start(&rendered.text, &messages, messages.len() - 1, probe_date()).ok()?;
        let lead = rendered.text.get(start..answer.start)?;
        lead.trim().is_empty().then(|| lead.to_owned())
    }

    /// A conversation of one question and one answer, rendered, and where the answer's text lies.
    fn probe(&self) -> Option<(Rendered, Vec<Message>, std::ops::Range<usize>)> {
        let exchange = [Message::new(Role::System, "s"), Message::new(Role::User, "q"), Message::new(Role::Assistant, "Zwölf Boxkämpfer")];
        let render = |messages: &[Message]| Some((self.render(messages, false, probe_date()).ok()?, messages.to_vec()));
        let (rendered, messages) = render(&exchange[1..]).or_else(|| render(&exchange))?;
        let answer = &exchange[2].content;
        let start = rendered.text.rfind(answer.as_str())?;
        Some((rendered, messages, start..start + answer.len()))
    }

    /// Where the answer `messages[index]` lies in the rendered conversation: from the end of the prompt that asks for it through its
    /// end-of-turn token. The flag says whether that token is there; where it is not, the end is that of the content.
    pub(crate) fn answer_span(
        &self,
        rendered: &Rendered,
        messages: &[Message],
        index: usize,
        date: Option<Date>,
    ) -> Result<(std::ops::Range<usize>, bool), TextError> {
        let start = self.answer_start(&rendered.text, messages, index, date)?;
        let content = strip_python(&messages[index].content);
        let missing = || TextError::AnswerMissing { origin: self.template.origin().to_owned(), index };
        let (content_end, next_content) = match &rendered.contents {
            Some(contents) => {
                let place = contents.iter().position(|range| range.end > start).ok_or_else(missing)?;
                if &rendered.text[contents[place].clone()] != content {
                    return Err(missing());
                }
                (contents[place].end, contents.get(place + 1).map(|range| range.start))
            }
            None => {
                // White space that the prompt shares with the content may lie before `start`.
                let from = rendered.text[..start].trim_end().len();
                let found = rendered.text[from..].find(content).ok_or_else(missing)?;
                (from + found + content.len(), None)
            }
        };
        let limit = next_content.unwrap_or(rendered.text.len());
        let is_end = |word: &&WordSpan| Some(word.id) == self.end_of_turn && word.start >= content_end && word.end <= limit;
        match rendered.controls.iter().find(is_end) {
            Some(word) => Ok((start..word.end, true)),
            None => Ok((start..content_end, false)),
        }
    }

    /// The byte of the conversation's `text` where the prompt that asks for `messages[index]` ends.
    fn answer_start(&self, text: &str, messages: &[Message], index: usize, date: Option<Date>) -> Result<usize, TextError> {
        let prompt = self.template.render(&messages[..index], true, date)?;
        let common = text.chars().zip(prompt.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>();
        if prompt[common..].trim().is_empty() {
            return Ok(common);
        }
        let tail = text[..common].chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect();
        Err(TextError::PromptDiffers {
            origin: self.template.origin().to_owned(),
            index,
            common: tail,
            prompt: excerpt(&prompt[common..], 40),
            conversation: excerpt(&text[common..], 40),
        })
    }
}

/// The date of conversations that are only rendered to see what the template writes.
fn probe_date() -> Option<Date> {
    Date::new(2024, 7, 26)
}

#[cfg(test)]
#[path = "chat_tests.rs"]
pub(crate) mod tests;
