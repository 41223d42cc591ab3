//! The models that commands ask: behind a server, or in this process; and the flags that choose one.
//!
//! [`LanguageModelArgs`] are the flags; [`LanguageModelArgs::open`] makes of them an [`OpenModel`], which is a
//! [`LanguageModel`] and counts what it uses. Inside: [`remote::Remote`] asks a server in one of three protocols (`openai`, `anthropic`, `ollama`) over
//! `http`, tries again by the rules of `retry`, and stops at the limits of `budget`; [`local::Local`] runs a model of this machine and holds it to a
//! schema token by token (`constrained`); [`cache::Cached`] keeps answers on the disk.

mod anthropic;
mod arguments;
mod base_url;
mod budget;
mod cache;
mod clock;
mod constrained;
mod http;
mod local;
mod ollama;
mod openai;
mod protocol;
mod remote;
mod retry;
mod schema;
mod secret;
mod structured;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use arguments::Provider;
pub(crate) use arguments::{LanguageModelArgs, OpenModel};
