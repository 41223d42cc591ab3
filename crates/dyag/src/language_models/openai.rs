//! OpenAI's chat completions, which many other servers speak too (vLLM, llama.cpp, LM Studio, gateways).

use dyag_text::language_model::Request;
use serde_json::{Value, json};

use super::protocol::{Answer, Dialect, Home, Protocol, Unreadable, count, joined, messages};

/// The protocol.
pub(super) struct OpenAi;

impl Protocol for OpenAi {
    fn provider(&self) -> &'static str {
        "openai"
    }

    fn home(&self) -> Home {
        Home { url: "https://api.openai.com/v1", url_variable: "OPENAI_BASE_URL", key_variable: Some("OPENAI_API_KEY") }
    }

    fn path(&self) -> (&'static str, &'static str) {
        ("", "/chat/completions")
    }

    fn key_header(&self) -> (&'static str, &'static str) {
        ("authorization", "Bearer ")
    }

    fn key_advice(&self) -> &'static str {
        "Set the environment variable OPENAI_API_KEY to a key that this server takes"
    }

    fn model_advice(&self) -> &'static str {
        "Check --llm-model, and that --llm-url or OPENAI_BASE_URL ends as the server's own guide says (most often in /v1)"
    }

    fn body(&self, model: &str, request: &Request, dialect: Dialect) -> Value {
        let Request { messages: turns, max_tokens, temperature, seed, schema } = request;
        let in_words = schema.as_ref().filter(|_| !dialect.schema);
        let mut body = json!({ "model": model, "messages": messages(turns, in_words), "stream": false });
        let length = if dialect.max_tokens { "max_tokens" } else { "max_completion_tokens" };
        body[length] = (*max_tokens).into();
        if dialect.temperature {
            body["temperature"] = json!(temperature);
        }
        if dialect.seed {
            // Some servers keep it in 32 bits, others in signed 64.
            body["seed"] = (seed & 0x7fff_ffff).into();
        }
        if let (Some(schema), true) = (schema, dialect.schema) {
            body["response_format"] =
                json!({ "type": "json_schema", "json_schema": { "name": "answer", "strict": true, "schema": schema } });
        }
        body
    }

    fn piece<'v>(&self, piece: &'v Value) -> Option<&'v str> {
        piece.pointer("/choices/0/delta/content")?.as_str()
    }

    fn whole(&self, pieces: &[Value]) -> Value {
        let finish = pieces.iter().rev().find_map(|piece| piece.pointer("/choices/0/finish_reason")?.as_str());
        let usage = pieces.iter().rev().find_map(|piece| piece.get("usage").filter(|usage| usage.is_object()));
        let refusal: String = pieces.iter().filter_map(|piece| piece.pointer("/choices/0/delta/refusal")?.as_str()).collect();
        let Some(finish) = finish else { return Value::Null };
        let mut message = json!({ "content": joined(self, pieces) });
        if !refusal.is_empty() {
            message["refusal"] = refusal.into();
        }
        json!({ "choices": [{ "message": message, "finish_reason": finish }], "usage": usage })
    }

    fn tokens(&self, reply: &Value) -> [Option<usize>; 2] {
        ["/usage/prompt_tokens", "/usage/completion_tokens"].map(|place| count(reply, place))
    }

    fn read(&self, reply: &Value, _structured: bool) -> Result<Answer, Unreadable> {
        let choice = reply.pointer("/choices/0").ok_or(Unreadable::Shape("an object with choices[0].message.content"))?;
        let finish = choice["finish_reason"].as_str().unwrap_or_default();
        if let Some(refusal) = choice.pointer("/message/refusal").and_then(Value::as_str) {
            return Err(Unreadable::Declined(refusal.to_owned()));
        }
        if finish == "content_filter" {
            return Err(Unreadable::Declined("the server's content filter stopped the answer".to_owned()));
        }
        let cut = finish == "length";
        match choice.pointer("/message/content") {
            Some(Value::String(text)) => Ok(Answer { text: text.clone(), cut }),
            // A model that thinks may have thought until the end of its tokens.
            None | Some(Value::Null) if cut => Ok(Answer { text: String::new(), cut }),
            _ => Err(Unreadable::Shape("a text as choices[0].message.content")),
        }
    }
}
