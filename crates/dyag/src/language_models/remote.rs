//! A model behind a server: asks, tries again, gives up with reasons.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dyag_text::language_model::{LanguageModel, ModelFailure, Reply, Request};
use serde_json::Value;

use super::base_url::BaseUrl;
use super::budget::{Meter, TokenCounts};
use super::clock::Clock;
use super::http::{HttpClient, HttpProblem, HttpReply, excerpt};
use super::protocol::{Answer, Dialect, Protocol, Unreadable, server_message};
use super::retry::{RetryPolicy, retry_after};
use super::schema::Shape;
use super::secret::Secret;
use super::structured;

/// A model of one server.
pub(crate) struct Remote {
    pub(super) protocol: Box<dyn Protocol>,
    pub(super) model: String,
    pub(super) url: BaseUrl,
    pub(super) key: Option<Secret>,
    pub(super) client: HttpClient,
    pub(super) retry: RetryPolicy,
    pub(super) meter: Meter,
    pub(super) clock: Arc<dyn Clock>,
    /// What the server is known to understand.
    pub(super) dialect: Mutex<Dialect>,
    /// Whether the server has ever replied: before, a wrong address is likelier than a passing trouble.
    pub(super) reached: AtomicBool,
    /// Numbers the waits.
    pub(super) draws: AtomicU64,
}

/// Why an attempt gave no answer.
enum Trouble {
    /// No request to this server can succeed.
    Fatal(String),
    /// This request cannot succeed.
    Refused(String),
    /// It may succeed later. `fatal`: when it does not in the end, others will not either.
    Passing { problem: String, wait: Option<Duration>, fatal: bool },
    /// The reply cannot be understood.
    Unreadable(String),
    /// The reply did not come in time.
    Late(String),
    /// The server wants to be asked otherwise.
    Dialect(Dialect),
}

impl Trouble {
    fn problem(self) -> String {
        match self {
            Self::Fatal(problem) | Self::Refused(problem) | Self::Unreadable(problem) | Self::Late(problem) => problem,
            Self::Passing { problem, .. } => problem,
            Self::Dialect(_) => "the server wants to be asked otherwise".to_owned(),
        }
    }
}

/// A request as it is sent, and how its reply is read.
struct Asked<'a> {
    request: &'a Request,
    /// The schema was put into an object.
    wrapped: bool,
    /// What the JSON of the reply is checked against, where the schema is one that can be.
    shape: Option<Shape>,
}

impl LanguageModel for Remote {
    fn name(&self) -> String {
        format!("{}/{}", self.protocol.provider(), self.model)
    }

    fn answer(&self, request: &Request) -> Result<Reply, ModelFailure> {
        self.ask(request, None)
    }

    fn answer_in_pieces(&self, request: &Request, on_text: &mut dyn FnMut(&str)) -> Result<Reply, ModelFailure> {
        if request.schema.is_some() {
            // What must satisfy a schema is looked at whole.
            let reply = self.ask(request, None)?;
            on_text(&reply.text);
            return Ok(reply);
        }
        let mut given = false;
        let reply = self.ask(
            request,
            Some(&mut |text| {
                given = true;
                on_text(text);
            }),
        )?;
        if !given {
            // A server that does not stream.
            on_text(&reply.text);
        }
        Ok(reply)
    }
}

impl Remote {
    /// Asks until there is an answer, or no hope of one. With `on_text` the server is asked to stream.
    fn ask(&self, request: &Request, mut on_text: Option<&mut dyn FnMut(&str)>) -> Result<Reply, ModelFailure> {
        let mut sent = request.clone();
        let mut wrapped = false;
        if let Some(schema) = &request.schema {
            let (schema, is_wrapped) = structured::object_schema(schema);
            (sent.schema, wrapped) = (Some(schema), is_wrapped);
        }
        let shape = request.schema.as_ref().and_then(|schema| Shape::parse(schema).ok());
        let mut dialect = self.dialect();
        let (mut n_failed, mut n_unreadable, mut n_late) = (0, 0, 0);
        loop {
            self.meter.admit(&*self.clock, n_failed > 0).map_err(|problem| self.failure(problem, true))?;
            let mut given = false;
            let mut pass_on = on_text.as_deref_mut().map(|on_text| {
                |text: &str| {
                    given = true;
                    on_text(text);
                }
            });
            let pass_on = pass_on.as_mut().map(|pass_on| pass_on as &mut dyn FnMut(&str));
            let trouble = match self.attempt(&Asked { request: &sent, wrapped, shape: shape.clone() }, dialect, pass_on) {
                Ok(reply) => {
                    *self.dialect.lock().unwrap_or_else(PoisonError::into_inner) = dialect;
                    return Ok(reply);
                }
                Err(trouble) => trouble,
            };
            if given {
                // What was given cannot be taken back.
                return Err(self.failure(format!("the answer broke off: {}", trouble.problem()), false));
            }
            let (problem, wait, fatal) = match trouble {
                Trouble::Fatal(problem) => return Err(self.failure(problem, true)),
                Trouble::Refused(problem) => return Err(self.failure(problem, false)),
                Trouble::Dialect(other) => {
                    dialect = other;
                    continue;
                }
                Trouble::Passing { problem, wait, fatal } => (problem, wait, fatal),
                Trouble::Unreadable(problem) => {
                    n_unreadable += 1;
                    // The same seed would give the same answer.
                    sent.seed = sent.seed.wrapping_add(1);
                    (problem, None, false)
                }
                Trouble::Late(problem) => {
                    n_late += 1;
                    (problem, None, !self.reached.load(Ordering::Relaxed))
                }
            };
            n_failed += 1;
            let RetryPolicy { max_attempts, max_unreadable, max_timeouts, .. } = self.retry;
            if n_failed >= max_attempts || n_unreadable >= max_unreadable || n_late >= max_timeouts {
                let resume = if fatal { format!(" {}", self.meter.resume()) } else { String::new() };
                return Err(self.failure(format!("{problem} ({n_failed} requests in a row failed).{resume}"), fatal));
            }
            let draw = self.draws.fetch_add(1, Ordering::Relaxed);
            self.clock.sleep(self.retry.delay(n_failed, wait, draw));
        }
    }
}

impl Remote {
    fn dialect(&self) -> Dialect {
        *self.dialect.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A failure, without the key even where a server repeated it.
    fn failure(&self, problem: String, fatal: bool) -> ModelFailure {
        ModelFailure { model: self.name(), problem: self.redact(&problem), fatal }
    }

    fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }

    fn attempt(&self, asked: &Asked<'_>, dialect: Dialect, on_text: Option<&mut dyn FnMut(&str)>) -> Result<Reply, Trouble> {
        let (version, path) = self.protocol.path();
        let url = self.url.join(version, path);
        let mut body = self.protocol.body(&self.model, asked.request, dialect);
        if on_text.is_some() {
            body["stream"] = true.into();
        }
        let body = body.to_string();
        let key = self.key.as_ref().map(|key| {
            let (name, prefix) = self.protocol.key_header();
            (name, prefix, key)
        });
        let mut pieces = Vec::new();
        let mut read_piece = on_text.map(|on_text| {
            |line: &str| {
                let Some(piece) = piece_of(line) else { return };
                if let Some(text) = self.protocol.piece(&piece).filter(|text| !text.is_empty()) {
                    on_text(text);
                }
                pieces.push(piece);
            }
        });
        let on_line = read_piece.as_mut().map(|read| read as &mut dyn FnMut(&str));
        let reply = self.client.post(&url, self.protocol.headers(), key, body.as_bytes(), on_line);
        let mut reply = reply.map_err(|problem| self.not_replied(problem))?;
        self.reached.store(true, Ordering::Relaxed);
        if let Some(error) = pieces.iter().find(|piece| piece.get("error").is_some_and(|error| !error.is_null())) {
            let said = server_message(&self.redact(&error.to_string()));
            return Err(Trouble::Passing { problem: format!("{url} has trouble: {said}"), wait: None, fatal: false });
        }
        if !pieces.is_empty() {
            reply.body = self.protocol.whole(&pieces).to_string().into_bytes();
        }
        if reply.status != 200 {
            return Err(self.not_answered(&reply, &url, dialect, asked.request.schema.is_some()));
        }
        self.read(&reply, asked, dialect, body.len())
    }

    /// What follows from a request without a reply.
    fn not_replied(&self, problem: HttpProblem) -> Trouble {
        let text = format!("{}: {problem}", self.url.as_str());
        match problem {
            HttpProblem::NotThere(_) if !self.reached.load(Ordering::Relaxed) => {
                Trouble::Fatal(format!("{text}. Check the address (--llm-url and its environment variable), and that the server runs"))
            }
            HttpProblem::NotThere(_) => Trouble::Passing { problem: text, wait: None, fatal: true },
            HttpProblem::Timeout(_) => Trouble::Late(format!("{text}; --llm-timeout sets how long is waited")),
            // A server that has never given a whole reply is perhaps none.
            HttpProblem::Broken(_) => Trouble::Passing { problem: text, wait: None, fatal: !self.reached.load(Ordering::Relaxed) },
            HttpProblem::TooLarge(_) => Trouble::Refused(text),
            HttpProblem::Untrusted(_) | HttpProblem::Unusable(_) => Trouble::Fatal(text),
        }
    }

    /// What follows from a reply that is not a success.
    fn not_answered(&self, reply: &HttpReply, url: &str, dialect: Dialect, has_schema: bool) -> Trouble {
        // The key goes before the text is shortened: half a key at the end would not be found.
        let body = self.redact(&reply.text());
        let (status, said) = (reply.status, server_message(&body));
        match status {
            300..=399 => {
                let target = reply.header("location").map_or_else(|| "another address".to_owned(), |to| excerpt(&self.redact(to), 200));
                Trouble::Fatal(format!(
                    "{url} redirects to {target} (status {status}), which is not followed, so that keys and texts go only where you say; \
                     give the final address with --llm-url"
                ))
            }
            401 | 403 => Trouble::Fatal(format!(
                "{url} refused the key or the lack of one (status {status}): {said}. {}",
                self.protocol.key_advice()
            )),
            404 => Trouble::Fatal(format!("{url} knows no such model or page (status 404): {said}. {}", self.protocol.model_advice())),
            402 => Trouble::Fatal(format!("{url} wants to be paid (status 402): {said}. {}", self.meter.resume())),
            429 if body.contains("insufficient_quota") => {
                Trouble::Fatal(format!("the quota of the account is used up (status 429): {said}. {}", self.meter.resume()))
            }
            429 => self.passing(
                reply,
                format!("{url} asks for fewer requests (status 429): {said}; --requests-per-minute sets the rate"),
                true,
            ),
            408 | 425 | 500..=599 => self.passing(reply, format!("{url} has trouble (status {status}): {said}"), false),
            400 | 422 if dialect.after_refusal(&said, has_schema).is_some() => {
                Trouble::Dialect(dialect.after_refusal(&said, has_schema).unwrap_or(dialect))
            }
            200..=299 => Trouble::Unreadable(format!("{url} gave the status {status}; expected 200 and an answer, found {said}")),
            _ => Trouble::Refused(format!("{url} refused the request (status {status}): {said}")),
        }
    }

    fn passing(&self, reply: &HttpReply, problem: String, fatal: bool) -> Trouble {
        let wait = retry_after(reply.header("retry-after"), reply.header("retry-after-ms"), self.clock.utc());
        Trouble::Passing { problem, wait, fatal }
    }

    /// Reads a successful reply.
    fn read(&self, reply: &HttpReply, asked: &Asked<'_>, dialect: Dialect, prompt_bytes: usize) -> Result<Reply, Trouble> {
        let text = reply.text();
        let unreadable = |expected: &str, found: &str| {
            Trouble::Unreadable(format!("the reply cannot be used: expected {expected}, found {}", excerpt(&self.redact(found), 200)))
        };
        let value: Value = serde_json::from_str(&text).map_err(|_| unreadable("JSON", &text))?;
        let tokens = self.protocol.tokens(&value);
        let answer = self.protocol.read(&value, asked.request.schema.is_some() && dialect.schema);
        let answer_bytes = answer.as_ref().map_or(0, |answer| answer.text.len());
        if answer.is_ok() || tokens[0].is_some() {
            self.meter.record(TokenCounts::of(tokens[0], tokens[1], prompt_bytes, answer_bytes));
        }
        let mut answer = answer.map_err(|problem| match problem {
            Unreadable::Shape(expected) => unreadable(expected, &text),
            Unreadable::Declined(said) => Trouble::Refused(format!("the model gave no answer: {}", excerpt(&self.redact(&said), 300))),
        })?;
        if asked.request.schema.is_some() {
            answer = checked(answer, asked).map_err(|(expected, found)| unreadable(&expected, &found))?;
        }
        Ok(answer.into_reply(tokens))
    }
}

/// The JSON in a line of a stream: a line of its own, or the data of an event.
fn piece_of(line: &str) -> Option<Value> {
    let line = line.trim();
    let data = line.strip_prefix("data:").map_or(line, str::trim_start);
    if data.starts_with('{') { serde_json::from_str(data).ok() } else { None }
}

/// An answer in JSON that satisfies the schema as far as that can be checked. One that was cut is passed on: its caller is told so.
fn checked(answer: Answer, asked: &Asked<'_>) -> Result<Answer, (String, String)> {
    let Answer { text, cut } = answer;
    let Some(mut value) = structured::find_json(&text) else {
        return if cut { Ok(Answer { text, cut }) } else { Err(("an answer in JSON".to_owned(), text)) };
    };
    if asked.wrapped {
        value = structured::unwrap_object(value);
    }
    match asked.shape.as_ref().map_or(Ok(()), |shape| shape.check(&value)) {
        Err(problem) if !cut => Err((format!("an answer that satisfies the schema ({problem})"), text)),
        _ => Ok(Answer { text: value.to_string(), cut }),
    }
}
