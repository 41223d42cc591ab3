//! What the protocols of the providers have in common, and the dialects of their servers.

use dyag_text::Message;
use dyag_text::language_model::{Reply, Request};
use serde_json::{Value, json};

use super::http::excerpt;

/// Where the servers of a provider are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    /// The address when nobody names one.
    pub(super) url: &'static str,
    /// The environment variable that names another.
    pub(super) url_variable: &'static str,
    /// The one that holds the key, where a key is needed.
    pub(super) key_variable: Option<&'static str>,
}

/// How one kind of server is asked, and how its replies are read.
pub(super) trait Protocol: Send + Sync {
    /// The name of the provider, as flags have it.
    fn provider(&self) -> &'static str;

    /// Where its servers are.
    fn home(&self) -> Home;

    /// The part of the path that base addresses have or leave out, and what follows it.
    fn path(&self) -> (&'static str, &'static str);

    /// The header that holds the key, and what stands before the key in it.
    fn key_header(&self) -> (&'static str, &'static str);

    /// Headers that every request has.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// What to do when the server refuses the key, or wants one.
    fn key_advice(&self) -> &'static str;

    /// What to do when the server does not know the model.
    fn model_advice(&self) -> &'static str;

    /// The body of a request.
    fn body(&self, model: &str, request: &Request, dialect: Dialect) -> Value;

    /// The text in a piece of a streamed reply.
    fn piece<'v>(&self, piece: &'v Value) -> Option<&'v str>;

    /// A streamed reply as the server would have given it in one piece, for [`Protocol::read`] and [`Protocol::tokens`]; null where the pieces end before the answer does.
    fn whole(&self, pieces: &[Value]) -> Value;

    /// Tokens of the prompt and of the answer, where the reply says them.
    fn tokens(&self, reply: &Value) -> [Option<usize>; 2];

    /// The answer in a reply. `structured`: the request had a schema and was sent with it.
    fn read(&self, reply: &Value, structured: bool) -> Result<Answer, Unreadable>;
}

/// The texts of all pieces of a streamed reply.
pub(super) fn joined(protocol: &dyn Protocol, pieces: &[Value]) -> String {
    pieces.iter().filter_map(|piece| protocol.piece(piece)).collect()
}

/// An answer as a protocol reads it.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// The text; JSON when the request had a schema.
    pub(super) text: String,
    /// Whether it was cut at the longest length.
    pub(super) cut: bool,
}

impl Answer {
    /// As what callers are given.
    pub(super) fn into_reply(self, tokens: [Option<usize>; 2]) -> Reply {
        Reply { text: self.text, n_prompt_tokens: tokens[0], n_answer_tokens: tokens[1], cut: self.cut }
    }
}

/// Why a reply holds no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It does not look as replies do: what was expected.
    Shape(&'static str),
    /// The model or a filter would not answer: what was said.
    Declined(String),
}

/// What a server understands. Servers that call themselves compatible differ; what one refuses is left out from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// The schema is sent in the protocol's own field; otherwise it is part of the prompt.
    pub(super) schema: bool,
    /// The longest length is called `max_tokens`; otherwise `max_completion_tokens`.
    pub(super) max_tokens: bool,
    /// The temperature is sent.
    pub(super) temperature: bool,
    /// The seed is sent.
    pub(super) seed: bool,
}

impl Dialect {
    /// What is tried first.
    pub(super) const FULL: Self = Self { schema: true, max_tokens: true, temperature: true, seed: true };

    /// Another way to ask for the same, after a server refused a request with this text; none when there is nothing left to try.
    pub(super) fn after_refusal(self, text: &str, has_schema: bool) -> Option<Self> {
        let names = |word: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|other| other == word);
        if self.max_tokens && names("max_completion_tokens") {
            Some(Self { max_tokens: false, ..self })
        } else if self.temperature && names("temperature") {
            Some(Self { temperature: false, ..self })
        } else if self.seed && names("seed") {
            Some(Self { seed: false, ..self })
        } else if self.schema && has_schema {
            Some(Self { schema: false, ..self })
        } else {
            None
        }
    }
}

/// `role` and `content` of each message, the last one with the schema asked for in words when `schema` is given.
pub(super) fn messages(messages: &[Message], schema: Option<&Value>) -> Vec<Value> {
    let mut list: Vec<Value> = messages.iter().map(|message| json!({ "role": message.role.name(), "content": message.content })).collect();
    if let (Some(schema), Some(last), Some(message)) = (schema, list.last_mut(), messages.last()) {
        last["content"] = super::structured::with_schema_in_words(&message.content, schema).into();
    }
    list
}

/// A number of tokens in a reply.
pub(super) fn count(reply: &Value, pointer: &str) -> Option<usize> {
    reply.pointer(pointer)?.as_u64().and_then(|n| usize::try_from(n).ok())
}

/// What a server says of an error, in its own words and shortened.
pub(super) fn server_message(body: &str) -> String {
    let value: Option<Value> = serde_json::from_str(body).ok();
    let places = ["/error/message", "/error", "/message", "/detail"];
    let said = value.as_ref().and_then(|value| places.iter().find_map(|place| value.pointer(place)?.as_str()));
    excerpt(said.unwrap_or(body), 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_refuses_is_left_out_once() {
        let said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.";
        let second = Dialect::FULL.after_refusal(said, false).expect("another name");
        assert_eq!(second, Dialect { max_tokens: false, ..Dialect::FULL });
        assert_eq!(second.after_refusal(said, false), None);
        let said = "`temperature` does not support 0.0";
        assert_eq!(Dialect::FULL.after_refusal(said, true), Some(Dialect { temperature: false, ..Dialect::FULL }));
        assert_eq!(Dialect::FULL.after_refusal("unknown field seed", true), Some(Dialect { seed: false, ..Dialect::FULL }));
        assert_eq!(Dialect::FULL.after_refusal("limit exceeded", true), Some(Dialect { schema: false, ..Dialect::FULL }));
        assert_eq!(Dialect::FULL.after_refusal("limit exceeded", false), None);
    }

    #[test]
    fn errors_of_all_kinds_of_servers() {
        for (body, said) in [
            (r#"{"error": {"message": "No such model", "code": "model_not_found"}}"#, "No such model"),
            (r#"{"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}"#, "model: x"),
            (r#"{"error": "model 'x' not found"}"#, "model 'x' not found"),
            (r#"{"object": "error", "message": "too long"}"#, "too long"),
            (r#"{"detail": "Not Found"}"#, "Not Found"),
            ("<html>\n<b>502</b>", "<html> <b>502</b>"),
            ("", "nothing"),
        ] {
            assert_eq!(server_message(body), said);
        }
    }
}
