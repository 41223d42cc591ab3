//! The tokenizer that a GGUF file carries, as plain data.

use super::file::GgufFile;
use super::value::Value;
use crate::error::ModelError;

/// What the `tokenizer.*` metadata of a GGUF file say, checked for types and lengths but not interpreted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufTokenizer {
    /// Kind (`tokenizer.ggml.model`): `gpt2` for byte-level BPE, `llama` for SentencePiece.
    pub model: String,
    /// Splitting rule (`tokenizer.ggml.pre`): `qwen2`, `llama-bpe`.
    pub pre: Option<String>,
    /// Text of each token, by id.
    pub tokens: Vec<String>,
    /// Kind of each token (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte), or empty.
    pub token_types: Vec<i32>,
    /// Score of each token (SentencePiece), or empty.
    pub scores: Vec<f32>,
    /// Merges of byte-level BPE, both halves separated by a space, or empty.
    pub merges: Vec<String>,
    /// Beginning of sequence.
    pub bos_token_id: Option<u32>,
    /// End of sequence.
    pub eos_token_id: Option<u32>,
    /// End of turn.
    pub eot_token_id: Option<u32>,
    /// End of message (Llama 3's tool calls).
    pub eom_token_id: Option<u32>,
    /// Unknown.
    pub unk_token_id: Option<u32>,
    /// Padding.
    pub pad_token_id: Option<u32>,
    /// Whether encoding adds the beginning of sequence.
    pub add_bos_token: Option<bool>,
    /// Whether encoding adds the end of sequence.
    pub add_eos_token: Option<bool>,
    /// Whether SentencePiece encoding puts a space first.
    pub add_space_prefix: Option<bool>,
    /// Whether SentencePiece encoding removes extra whitespace.
    pub remove_extra_whitespaces: Option<bool>,
    /// Chat template (Jinja).
    pub chat_template: Option<String>,
}

/// Texts of control tokens that end a turn or a text, whether or not the file names them as such: many files name one of several.
const END_TEXTS: [&str; 7] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "</s>"];

/// [`GgufTokenizer::token_types`] of a control token.
const CONTROL: i32 = 3;

impl GgufTokenizer {
    /// Takes the tokenizer out of the file's metadata (it is most of them).
    ///
    /// # Errors
    /// When a value is of another type than the format says, a list's length differs from the number of tokens, or an id is none of them.
    pub(crate) fn take(file: &mut GgufFile) -> Result<Self, ModelError> {
        let mut reader = Reader { file };
        let model = reader
            .string("model")?
            .ok_or_else(|| ModelError::MissingKey { path: reader.file.path().to_owned(), key: "tokenizer.ggml.model".to_owned() })?;
        let tokens = reader.strings("tokens")?;
        let n_tokens = tokens.len();
        let id = |reader: &mut Reader<'_>, name: &str| reader.id(name, n_tokens);
        Ok(Self {
            model,
            pre: reader.string("pre")?,
            token_types: reader.token_types(n_tokens)?,
            scores: reader.scores(n_tokens)?,
            merges: reader.strings("merges")?,
            bos_token_id: id(&mut reader, "bos_token_id")?,
            eos_token_id: id(&mut reader, "eos_token_id")?,
            eot_token_id: id(&mut reader, "eot_token_id")?,
            eom_token_id: id(&mut reader, "eom_token_id")?,
            unk_token_id: id(&mut reader, "unknown_token_id")?,
            pad_token_id: id(&mut reader, "padding_token_id")?,
            add_bos_token: reader.bool("add_bos_token")?,
            add_eos_token: reader.bool("add_eos_token")?,
            add_space_prefix: reader.bool("add_space_prefix")?,
            remove_extra_whitespaces: reader.bool("remove_extra_whitespaces")?,
            chat_template: reader.chat_template()?,
            tokens,
        })
    }

    /// Tokens that end a sequence: those the file names, then the control tokens whose text says so.
    pub(crate) fn end_token_ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        let named = [self.eos_token_id, self.eot_token_id, self.eom_token_id];
        let control = self.token_types.iter().zip(&self.tokens).enumerate();
        let by_text = control.filter(|(_, (kind, text))| **kind == CONTROL && END_TEXTS.contains(&text.as_str())).map(|(id, _)| id as u32);
        for id in named.into_iter().flatten().chain(by_text) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }
}

/// Takes values under `tokenizer.ggml.`.
struct Reader<'a> {
    file: &'a mut GgufFile,
}

impl Reader<'_> {
    fn take(&mut self, name: &str) -> Option<(String, Value)> {
        let key = format!("tokenizer.ggml.{name}");
        self.file.take_value(&key).map(|value| (key, value))
    }

    fn wrong(&self, key: &str, expected: impl Into<String>, found: &Value) -> ModelError {
        ModelError::bad_value(self.file.path(), key, expected, found)
    }

    fn string(&mut self, name: &str) -> Result<Option<String>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((key, other)) => Err(self.wrong(&key, "a string", &other)),
        }
    }

    fn bool(&mut self, name: &str) -> Result<Option<bool>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some((_, Value::Bool(value))) => Ok(Some(value)),
            Some((key, other)) => Err(self.wrong(&key, "a boolean", &other)),
        }
    }

    fn strings(&mut self, name: &str) -> Result<Vec<String>, ModelError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some((_, Value::Strings(values))) => Ok(values),
            Some((key, other)) => Err(self.wrong(&key, "an array of strings", &other)),
        }
    }

    /// An id below `n_tokens`. Some converters write -1 or 0xFFFFFFFF for "none".
    fn id(&mut self, name: &str, n_tokens: usize) -> Result<Option<u32>, ModelError> {
        match self.take(name) {
            None | Some((_, Value::Integer(-1 | 0xffff_ffff))) => Ok(None),
            Some((_, Value::Integer(id))) if (0..n_tokens as i128).contains(&id) && u32::try_from(id).is_ok() => Ok(Some(id as u32)),
            Some((key, other)) => Err(self.wrong(&key, format!("the id of one of {n_tokens} tokens"), &other)),
        }
    }

    fn token_types(&mut self, n_tokens: usize) -> Result<Vec<i32>, ModelError> {
        match self.take("token_type") {
            None => Ok(Vec::new()),
            Some((key, Value::Integers(values))) if values.len() == n_tokens => values
                .iter()
                .map(|v| i32::try_from(*v).map_err(|_| self.wrong(&key, "integers of 32 bits", &Value::Integer((*v).into()))))
                .collect(),
            Some((key, other)) => Err(self.wrong(&key, format!("an array of {n_tokens} integers, one a token"), &other)),
        }
    }

    fn scores(&mut self, n_tokens: usize) -> Result<Vec<f32>, ModelError> {
        match self.take("scores") {
            None => Ok(Vec::new()),
            Some((_, Value::Floats(values))) if values.len() == n_tokens => Ok(values.into_iter().map(|v| v as f32).collect()),
            Some((key, other)) => Err(self.wrong(&key, format!("an array of {n_tokens} numbers, one a token"), &other)),
        }
    }

    fn chat_template(&mut self) -> Result<Option<String>, ModelError> {
        match self.file.take_value("tokenizer.chat_template") {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong("tokenizer.chat_template", "a string", &other)),
        }
    }
}
