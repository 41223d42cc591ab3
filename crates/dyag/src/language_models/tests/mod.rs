//! Models behind a server that says what it is told to: the protocols, and everything that can go wrong.

mod local;
mod protocols;
mod troubles;

use std::sync::Arc;

use dyag_testing::{Loopback, RecordedRequest, ScriptedReply};
use dyag_text::language_model::{LanguageModel as _, ModelFailure, Reply, Request};
use dyag_text::{Message, Role};
use serde_json::{Value, json};

use super::budget::Usage;
use super::clock::testing::FakeClock;
use super::{LanguageModelArgs, OpenModel, Provider};
use crate::cli::{DeviceChoice, PrecisionChoice};
use crate::engine::EngineArgs;

/// The key of both providers that have one.
const KEY: &str = "sk-secret-0123456789abcdefghij";

const ENGINE: EngineArgs = EngineArgs { device: DeviceChoice::Cpu, precision: PrecisionChoice::F32, threads: Some(1) };

/// A model, its server and its clock.
struct Scene {
    server: Loopback,
    model: OpenModel,
    clock: Arc<FakeClock>,
}

impl Scene {
    /// A model of `provider` whose server gives these replies.
    fn new(provider: Provider, replies: impl IntoIterator<Item = ScriptedReply>) -> Self {
        Self::with(LanguageModelArgs { llm_provider: Some(provider), ..LanguageModelArgs::default() }, Loopback::start(replies))
    }

    /// The same with other flags.
    fn with(args: LanguageModelArgs, server: Loopback) -> Self {
        let args = LanguageModelArgs { llm_url: Some(server.url()), llm_model: Some("m-1".to_owned()), ..args };
        let clock = Arc::new(FakeClock::default());
        let model = open(&args, &clock).expect("opens");
        Self { server, model, clock }
    }

    fn answer(&self) -> Result<Reply, ModelFailure> {
        self.model.answer(&request())
    }

    fn failure(&self) -> ModelFailure {
        self.answer().expect_err("fails")
    }

    fn bodies(&self) -> Vec<Value> {
        self.server.requests().iter().map(|request| serde_json::from_str(&request.body).expect("JSON")).collect()
    }

    fn only_request(&self) -> RecordedRequest {
        let mut requests = self.server.requests();
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }
}

fn environment(name: &str) -> Option<String> {
    name.ends_with("_API_KEY").then(|| format!("{KEY}\n"))
}

fn open(args: &LanguageModelArgs, clock: &Arc<FakeClock>) -> anyhow::Result<OpenModel> {
    args.open_with(ENGINE, &environment, Arc::<FakeClock>::clone(clock))
}

fn request() -> Request {
    let messages = vec![Message::new(Role::System, "Réponds."), Message::new(Role::User, "Quoi ?")];
    Request { messages, max_tokens: 50, temperature: 0.5, seed: 3, schema: None }
}

fn pair_schema() -> Value {
    json!({
        "type": "object",
        "properties": { "question": { "type": "string", "minLength": 1 }, "kind": { "enum": ["fact", "list"] } },
        "required": ["question", "kind"],
        "additionalProperties": false
    })
}

fn with_schema() -> Request {
    Request { schema: Some(pair_schema()), ..request() }
}

/// A reply of OpenAI's kind.
fn openai(text: &str) -> ScriptedReply {
    let reply = json!({
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15 }
    });
    ScriptedReply::json(reply.to_string())
}

/// An error of OpenAI's kind.
fn openai_error(status: u16, message: &str) -> ScriptedReply {
    ScriptedReply::status(status, json!({ "error": { "message": message, "code": "some_code" } }).to_string())
}
