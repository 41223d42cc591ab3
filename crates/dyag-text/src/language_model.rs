//! What a judge, a dataset generator or a search needs of a model, whichever engine or server runs it.

use crate::conversation::Message;

/// A text to be written by a model.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Request {
    /// A system message or none, then user and assistant in turns, the user last.
    pub messages: Vec<Message>,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
    /// Spread of the sampling; 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Seed of the sampling, where the model takes one.
    pub seed: u64,
    /// JSON Schema that the answer must satisfy; none for free text.
    pub schema: Option<serde_json::Value>,
}

/// A model's answer, and what it took.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Reply {
    /// The text; JSON when the request had a schema (the caller still checks it).
    pub text: String,
    /// Tokens of the prompt, where the model tells.
    pub n_prompt_tokens: Option<usize>,
    /// Tokens of the answer, where the model tells.
    pub n_answer_tokens: Option<usize>,
    /// Whether the answer was cut at `max_tokens`.
    pub cut: bool,
}

/// Why a model gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{model}: {problem}")]
pub struct ModelFailure {
    /// [`LanguageModel::name`].
    pub model: String,
    /// What was expected, what was found, what to do. Never a secret.
    pub problem: String,
    /// Whether further requests are useless: a refused key, a limit that is reached, a server that is not there.
    pub fatal: bool,
}

/// A model that answers, in this process or behind a server.
pub trait LanguageModel {
    /// What results and messages call it, such as `openai/gpt-4o-mini` or a path.
    fn name(&self) -> String;

    /// Answers one request.
    ///
    /// # Errors
    /// See [`ModelFailure`].
    fn answer(&self, request: &Request) -> Result<Reply, ModelFailure>;

    /// The same; `on_text` is given the answer piece by piece as it comes, or whole by a model that cannot. An answer of which a piece was given is not begun again.
    ///
    /// # Errors
    /// See [`ModelFailure`]; an answer that broke off.
    fn answer_in_pieces(&self, request: &Request, on_text: &mut dyn FnMut(&str)) -> Result<Reply, ModelFailure> {
        let reply = self.answer(request)?;
        on_text(&reply.text);
        Ok(reply)
    }
}
