//! Ollama's own chat protocol.

use dyag_text::language_model::Request;
use serde_json::{Value, json};

use super::protocol::{Answer, Dialect, Home, Protocol, Unreadable, count, joined, messages};

/// The context that every version of Ollama gives a model at least; it cuts longer prompts without a word.
const SMALL_CONTEXT: usize = 2048;
/// The longest context that is asked for.
const LARGE_CONTEXT: usize = 131_072;

/// The protocol.
pub(super) struct Ollama;

impl Protocol for Ollama {
    fn provider(&self) -> &'static str {
        "ollama"
    }

    fn home(&self) -> Home {
        Home { url: "http://127.0.0.1:11434", url_variable: "OLLAMA_HOST", key_variable: None }
    }

    fn path(&self) -> (&'static str, &'static str) {
        ("/api", "/chat")
    }

    fn key_header(&self) -> (&'static str, &'static str) {
        ("authorization", "Bearer ")
    }

    fn key_advice(&self) -> &'static str {
        "Ollama itself asks for no key: check --llm-url or OLLAMA_HOST, and what stands before the server"
    }

    fn model_advice(&self) -> &'static str {
        "Fetch the model with `ollama pull`, or choose one that `ollama list` shows with --llm-model"
    }

    fn body(&self, model: &str, request: &Request, dialect: Dialect) -> Value {
        let Request { messages: turns, max_tokens, temperature, seed, schema } = request;
        let in_words = schema.as_ref().filter(|_| !dialect.schema);
        let mut options = json!({ "num_predict": max_tokens });
        if dialect.temperature {
            options["temperature"] = json!(temperature);
        }
        if dialect.seed {
            options["seed"] = (seed & 0x7fff_ffff).into();
        }
        let bytes: usize = turns.iter().map(|turn| turn.content.len()).sum();
        let needed = bytes.div_ceil(3) + max_tokens + 64 * turns.len();
        if needed > SMALL_CONTEXT {
            // Powers of two: the server loads the model again whenever this changes.
            options["num_ctx"] = needed.next_power_of_two().min(LARGE_CONTEXT).into();
        }
        let mut body = json!({ "model": model, "messages": messages(turns, in_words), "stream": false, "options": options });
        if let (Some(schema), true) = (schema, dialect.schema) {
            body["format"] = schema.clone();
        }
        body
    }

    fn piece<'v>(&self, piece: &'v Value) -> Option<&'v str> {
        piece.pointer("/message/content")?.as_str()
    }

    fn whole(&self, pieces: &[Value]) -> Value {
        let Some(last) = pieces.iter().rev().find(|piece| piece["done"] == true) else { return Value::Null };
        let mut reply = last.clone();
        reply["message"] = json!({ "content": joined(self, pieces) });
        reply
    }

    fn tokens(&self, reply: &Value) -> [Option<usize>; 2] {
        ["/prompt_eval_count", "/eval_count"].map(|place| count(reply, place))
    }

    fn read(&self, reply: &Value, _structured: bool) -> Result<Answer, Unreadable> {
        let text = reply.pointer("/message/content").and_then(Value::as_str);
        let text = text.ok_or(Unreadable::Shape("an object with a text message.content"))?.to_owned();
        if reply["done"] == false {
            return Err(Unreadable::Shape("a whole answer (\"done\": true)"));
        }
        Ok(Answer { text, cut: reply["done_reason"] == "length" })
    }
}
