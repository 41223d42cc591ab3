//! Anthropic's messages. A schema is asked for as the input of a tool that the model has to use.

use dyag_text::Role;
use dyag_text::language_model::Request;
use serde_json::{Value, json};

use super::protocol::{Answer, Dialect, Home, Protocol, Unreadable, count, joined, messages};

/// The tool whose input is the answer.
const TOOL: &str = "answer";

/// The protocol.
pub(super) struct Anthropic;

impl Protocol for Anthropic {
    fn provider(&self) -> &'static str {
        "anthropic"
    }

    fn home(&self) -> Home {
        Home { url: "https://api.anthropic.com", url_variable: "ANTHROPIC_BASE_URL", key_variable: Some("ANTHROPIC_API_KEY") }
    }

    fn path(&self) -> (&'static str, &'static str) {
        ("/v1", "/messages")
    }

    fn key_header(&self) -> (&'static str, &'static str) {
        ("x-api-key", "")
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn key_advice(&self) -> &'static str {
        "Set the environment variable ANTHROPIC_API_KEY to a key that this server takes"
    }

    fn model_advice(&self) -> &'static str {
        "Check --llm-model, and --llm-url or ANTHROPIC_BASE_URL where one is given"
    }

    fn body(&self, model: &str, request: &Request, dialect: Dialect) -> Value {
        let Request { messages: turns, max_tokens, temperature, seed: _, schema } = request;
        let system: Vec<&str> = turns.iter().filter(|turn| turn.role == Role::System).map(|turn| turn.content.as_str()).collect();
        let others: Vec<_> = turns.iter().filter(|turn| turn.role != Role::System).cloned().collect();
        let in_words = schema.as_ref().filter(|_| !dialect.schema);
        let mut body = json!({ "model": model, "max_tokens": max_tokens, "messages": messages(&others, in_words) });
        if !system.is_empty() {
            body["system"] = system.join("\n\n").into();
        }
        if dialect.temperature {
            // This protocol's temperatures end at 1.
            body["temperature"] = json!(temperature.min(1.0));
        }
        if let (Some(schema), true) = (schema, dialect.schema) {
            body["tools"] = json!([{ "name": TOOL, "description": "Gives the answer.", "input_schema": schema }]);
            body["tool_choice"] = json!({ "type": "tool", "name": TOOL });
        }
        body
    }

    fn piece<'v>(&self, piece: &'v Value) -> Option<&'v str> {
        if piece["type"] == "content_block_delta" { piece.pointer("/delta/text")?.as_str() } else { None }
    }

    fn whole(&self, pieces: &[Value]) -> Value {
        let Some(stop) = pieces.iter().rev().find_map(|piece| piece.pointer("/delta/stop_reason")?.as_str()) else { return Value::Null };
        let mut usage = pieces.iter().find_map(|piece| piece.pointer("/message/usage")).cloned().unwrap_or_else(|| json!({}));
        if let Some(n) = pieces.iter().rev().find_map(|piece| piece.pointer("/usage/output_tokens")) {
            usage["output_tokens"] = n.clone();
        }
        json!({ "content": [{ "type": "text", "text": joined(self, pieces) }], "stop_reason": stop, "usage": usage })
    }

    fn tokens(&self, reply: &Value) -> [Option<usize>; 2] {
        let of = |name: &str| count(reply, &format!("/usage/{name}"));
        // Tokens of the prompt that the server had in a cache of its own are counted apart.
        let cached = [of("cache_read_input_tokens"), of("cache_creation_input_tokens")].into_iter().flatten().sum::<usize>();
        [of("input_tokens").map(|n| n + cached), of("output_tokens")]
    }

    fn read(&self, reply: &Value, structured: bool) -> Result<Answer, Unreadable> {
        let blocks = reply["content"].as_array().ok_or(Unreadable::Shape("an object with a list `content`"))?;
        let stop = reply["stop_reason"].as_str().unwrap_or_default();
        if stop == "refusal" {
            return Err(Unreadable::Declined("the model refused".to_owned()));
        }
        let cut = stop == "max_tokens";
        let of_type = |kind: &str| blocks.iter().filter(move |block| block["type"] == kind).collect::<Vec<_>>();
        if structured {
            return match of_type("tool_use").first().and_then(|block| block.get("input")) {
                Some(input) => Ok(Answer { text: input.to_string(), cut }),
                None if cut => Ok(Answer { text: String::new(), cut }),
                None => Err(Unreadable::Shape("a block tool_use in `content`")),
            };
        }
        let texts = of_type("text");
        if texts.is_empty() && !cut {
            return Err(Unreadable::Shape("a block of text in `content`"));
        }
        let text = texts.iter().filter_map(|block| block["text"].as_str()).collect();
        Ok(Answer { text, cut })
    }
}
