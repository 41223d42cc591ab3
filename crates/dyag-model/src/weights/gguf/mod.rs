//! GGUF files: reader and writer, what their metadata say about a decoder, and their tokenizer as plain data.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3 (which differ only in byte order, and only
//! little-endian files are read).

mod cursor;
mod file;
mod tokenizer;
mod types;
mod value;
mod write;

pub use file::{GgufFile, GgufTensor};
pub use tokenizer::GgufTokenizer;
pub use value::Value;
pub(crate) use write::{Entry, Field, TensorError, write_file};
