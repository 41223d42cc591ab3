//! Text: conversations and datasets of them, a model's tokenizer and chat template, and the tokens a trainer learns from.
//!
//! The way through it: [`Dataset`] reads [`Conversation`]s; [`Chat`], a [`Tokenizer`] and a [`ChatTemplate`] that belong together, turns
//! each into an [`Example`] (ids and loss mask), or a question into a prompt; [`audit`] looks at the examples before the first step.
#![forbid(unsafe_code)]

mod audit;
mod chat;
pub mod chunk;
mod conversation;
pub mod dataset;
pub mod document;
mod embedder;
mod encoder_tokenizer;
mod error;
mod example;
pub mod generate;
mod go_template;
mod hash;
mod json_lines;
mod json_objects;
pub mod language_model;
mod marks;
pub mod near_duplicates;
mod template;
mod tokenizer;
mod tokenizer_config;

pub use audit::{Audit, audit};
pub use chat::Chat;
pub use conversation::{Conversation, Message, Role, common_system};
pub use dataset::{ConversationReader, Dataset};
pub use embedder::{EachText, Embedder, Reranker, TextRole, TokenEncoder, TokenVectors};
pub use encoder_tokenizer::{EncoderTokenizer, EncoderTokens};
pub use error::{SourceLine, TextError, Unit};
pub use example::{Example, ExampleOptions, LossTokens, Truncation, common_prefix_len};
pub use go_template::go_template;
pub use hash::sha256_hex;
pub use json_lines::{JsonLines, PlacedObject};
pub use json_objects::JsonObjects;
pub use template::{ChatTemplate, Date, SpecialTokens, TemplateSource};
pub use tokenizer::{ControlWords, Encoding, StreamDecoder, Tokenizer, TokenizerSpec, WordSpan};
pub use tokenizer_config::tokenizer_config_json;
