//! Models: weights from safetensors and GGUF, one decoder for all families and one encoder, LoRA adapters, forward, backward, KV cache and sampling.
#![forbid(unsafe_code)]

pub mod adapter;
pub mod config;
pub mod decoder;
pub mod encoder;
pub mod error;
pub mod export;
pub mod files;
pub mod weights;

pub use error::ModelError;
pub use weights::{Model, ModelSource, SourceKind};
