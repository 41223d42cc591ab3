//! The flags that choose a language model, and the model they choose.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use dyag_text::language_model::{LanguageModel, ModelFailure, Reply, Request};
use serde_json::json;

use super::anthropic::Anthropic;
use super::base_url::BaseUrl;
use super::budget::{Limits, Meter, Prices, Usage};
use super::cache::Cached;
use super::clock::{Clock, SystemClock};
use super::http::{HttpClient, HttpSettings};
use super::local::Local;
use super::ollama::Ollama;
use super::openai::OpenAi;
use super::protocol::{Dialect, Home, Protocol};
use super::remote::Remote;
use super::retry::RetryPolicy;
use super::secret::Secret;
use crate::engine::EngineArgs;

/// Who runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// OpenAI, or any server with its chat completions (vLLM, llama.cpp, LM Studio, a gateway)
    #[value(name = "openai")]
    OpenAi,
    /// Anthropic
    Anthropic,
    /// An Ollama server
    Ollama,
    /// This program, with a model on this machine
    Local,
}

/// Which language model to ask, and what that may take, as typed.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Language model")]
pub(crate) struct LanguageModelArgs {
    /// Who runs the language model
    #[arg(long, value_enum, value_name = "PROVIDER")]
    pub(crate) llm_provider: Option<Provider>,

    /// The provider's name of the model; for local the path of a model, or of an adapter's folder
    #[arg(long, value_name = "NAME_OR_PATH")]
    pub(crate) llm_model: Option<String>,

    /// Address of the server, in place of OPENAI_BASE_URL, ANTHROPIC_BASE_URL or OLLAMA_HOST. Keys come from OPENAI_API_KEY and ANTHROPIC_API_KEY
    #[arg(long, value_name = "URL")]
    pub(crate) llm_url: Option<String>,

    /// Send the key also to an http address of another machine, where everybody on the way can read it
    #[arg(long)]
    pub(crate) llm_allow_http: bool,

    /// Longest wait for an answer of the server, in seconds [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) llm_timeout: Option<u32>,

    /// Folder in which answers are kept, so that a run that was interrupted does not ask again
    #[arg(long, value_name = "DIR")]
    pub(crate) llm_cache: Option<PathBuf>,

    /// Send at most so many requests a minute
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub(crate) requests_per_minute: Option<f64>,

    /// Stop after so many requests, repeated ones included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_requests: Option<u64>,

    /// Stop when prompts and answers come to so many tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_total_tokens: Option<u64>,

    /// Stop when so much is spent, in the currency of the prices
    #[arg(long, value_name = "COST", value_parser = above_zero, requires = "price_in", requires = "price_out")]
    pub(crate) max_cost: Option<f64>,

    /// Price of a million tokens of prompts
    #[arg(long, value_name = "PRICE", value_parser = zero_or_more, requires = "price_out")]
    pub(crate) price_in: Option<f64>,

    /// Price of a million tokens of answers
    #[arg(long, value_name = "PRICE", value_parser = zero_or_more, requires = "price_in")]
    pub(crate) price_out: Option<f64>,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(|| "expected a number".to_owned())
}

fn above_zero(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| if value > 0.0 { Ok(value) } else { Err("expected a number above 0".to_owned()) })
}

fn zero_or_more(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| if value >= 0.0 { Ok(value) } else { Err("expected 0 or more".to_owned()) })
}

/// The environment: what a variable holds, if it is set.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A language model that is ready to be asked.
pub(crate) struct OpenModel {
    model: Box<dyn LanguageModel + Send + Sync>,
    meter: Meter,
}

impl OpenModel {
    /// What has been used so far.
    pub(crate) fn usage(&self) -> Usage {
        self.meter.usage()
    }
}

impl LanguageModel for OpenModel {
    fn name(&self) -> String {
        self.model.name()
    }

    fn answer(&self, request: &Request) -> Result<Reply, ModelFailure> {
        self.model.answer(request)
    }

    fn answer_in_pieces(&self, request: &Request, on_text: &mut dyn FnMut(&str)) -> Result<Reply, ModelFailure> {
        self.model.answer_in_pieces(request, on_text)
    }
}

impl LanguageModelArgs {
    /// Whether a model of this machine is asked.
    pub(crate) fn is_local(&self) -> bool {
        self.llm_provider == Some(Provider::Local)
    }

    /// The model these flags choose. `engine` is where a local one computes.
    ///
    /// # Errors
    /// Flags or variables that are missing or wrong; a local model that cannot be loaded. No server is asked yet.
    pub(crate) fn open(&self, engine: EngineArgs) -> anyhow::Result<OpenModel> {
        self.open_with(engine, &|name| std::env::var(name).ok(), Arc::new(SystemClock::new()))
    }

    /// The same in another environment, by another clock.
    pub(super) fn open_with(&self, engine: EngineArgs, environment: Environment<'_>, clock: Arc<dyn Clock>) -> anyhow::Result<OpenModel> {
        let Self {
            llm_provider,
            llm_model,
            llm_url,
            llm_allow_http,
            llm_timeout,
            llm_cache,
            requests_per_minute,
            max_requests,
            max_total_tokens,
            max_cost,
            price_in,
            price_out,
        } = self;
        let Some(provider) = llm_provider else { bail!("--llm-provider is missing: expected openai, anthropic, ollama or local") };
        let model = llm_model.as_deref().map(str::trim).filter(|name| !name.is_empty()).with_context(|| {
            "--llm-model is missing: expected the provider's name of a model, or for local the path of a model".to_owned()
        })?;
        let prices = price_in.zip(*price_out).map(|(prompt, answer)| Prices { prompt, answer });
        let limits = Limits {
            requests_per_minute: *requests_per_minute,
            max_requests: *max_requests,
            max_total_tokens: *max_total_tokens,
            max_cost: *max_cost,
            prices,
        };
        let meter = Meter::new(limits, &resume(llm_cache.as_deref()));
        let protocol: Box<dyn Protocol> = match provider {
            Provider::OpenAi => Box::new(OpenAi),
            Provider::Anthropic => Box::new(Anthropic),
            Provider::Ollama => Box::new(Ollama),
            Provider::Local => {
                if llm_url.is_some() {
                    bail!("--llm-url has no meaning with --llm-provider local; leave it out, or name the server's provider");
                }
                let local = Local::open(model, engine, meter.clone(), clock)?;
                let identity = json!({ "protocol": "local", "model": local.identity() });
                return finish(local, identity, llm_cache.as_deref(), meter);
            }
        };
        let place = place_of(protocol, llm_url.as_deref(), environment)?;
        let timeout = Duration::from_secs(llm_timeout.unwrap_or(120).into());
        let remote = place.connect(model, *llm_allow_http, timeout, environment, meter.clone(), clock)?;
        let identity = json!({ "protocol": remote.protocol.provider(), "url": remote.url.as_str(), "model": model });
        finish(remote, identity, llm_cache.as_deref(), meter)
    }
}

/// How a run that stopped goes on.
fn resume(cache: Option<&Path>) -> String {
    match cache {
        Some(folder) => {
            format!(
                "To go on, run the same command again, with another limit where one is reached: the answers so far are kept in {}",
                folder.display()
            )
        }
        None => "To go on later without asking again what was answered, keep the answers with --llm-cache DIR".to_owned(),
    }
}

fn finish<M: LanguageModel + Send + Sync + 'static>(
    model: M,
    identity: serde_json::Value,
    cache: Option<&Path>,
    meter: Meter,
) -> anyhow::Result<OpenModel> {
    let model: Box<dyn LanguageModel + Send + Sync> = match cache {
        Some(folder) => Box::new(Cached::new(model, identity, folder, meter.clone())?),
        None => Box::new(model),
    };
    Ok(OpenModel { model, meter })
}

/// A server and how to talk to it.
struct Place {
    protocol: Box<dyn Protocol>,
    url: BaseUrl,
    key: Option<Secret>,
}

/// Where the server of a provider is, and the key to it.
fn place_of(protocol: Box<dyn Protocol>, flag: Option<&str>, environment: Environment<'_>) -> anyhow::Result<Place> {
    let Home { url: default_url, url_variable, key_variable } = protocol.home();
    let variable = environment(url_variable).filter(|text| !text.trim().is_empty());
    let (text, origin) = match (flag, &variable) {
        (Some(text), _) => (text, "--llm-url"),
        (None, Some(text)) => (text.as_str(), url_variable),
        (None, None) => (default_url, "the provider's address"),
    };
    let url = if key_variable.is_some() { BaseUrl::parse(text, origin)? } else { BaseUrl::parse_ollama(text, origin)? };
    let key = match key_variable {
        Some(name) => environment(name).map_or(Ok(None), |text| Secret::parse(&text, name))?,
        None => None,
    };
    if let (Some(name), None, true) = (key_variable, &key, url.as_str() == default_url) {
        bail!("{name} is not set: {default_url} answers only with a key. Set {name}, or name another server with --llm-url");
    }
    Ok(Place { protocol, url, key })
}

impl Place {
    fn connect(
        self,
        model: &str,
        allow_http: bool,
        timeout: Duration,
        environment: Environment<'_>,
        meter: Meter,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Remote> {
        let Self { protocol, url, key } = self;
        if key.is_some() && url.is_open() && !allow_http {
            bail!(
                "{}: a key would be sent over http to another machine, where everybody on the way can read it; expected https. \
                 Use an https address, unset the key's variable if this server needs none, or add --llm-allow-http",
                url.as_str()
            );
        }
        let certificates = environment("SSL_CERT_FILE").filter(|path| !path.is_empty());
        let client = HttpClient::new(HttpSettings::with_timeout(timeout), certificates.as_deref(), url.is_loopback())?;
        Ok(Remote {
            protocol,
            model: model.to_owned(),
            url,
            key,
            client,
            retry: RetryPolicy::with_seed(u64::from(std::process::id())),
            meter,
            clock,
            dialect: Mutex::new(Dialect::FULL),
            reached: AtomicBool::new(false),
            draws: AtomicU64::new(0),
        })
    }
}
