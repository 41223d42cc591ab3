//! Where a chat template and the words it needs are found: chat_template.jinja, tokenizer_config.json, GGUF metadata.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ChatTemplate;
use crate::error::{TextError, excerpt};

/// Words that a model gives a role of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<String>,
    /// Ends a text.
    pub eos: Option<String>,
    /// Stands for what cannot be encoded.
    pub unk: Option<String>,
    /// Fills batches.
    pub pad: Option<String>,
}

/// A template's text and the words it needs, before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSource {
    /// The template.
    pub text: String,
    /// What `bos_token` and the like stand for.
    pub special: SpecialTokens,
    /// The file, for messages.
    pub origin: String,
}

impl TemplateSource {
    /// Reads `chat_template.jinja`, or else the `chat_template` of `tokenizer_config.json`, of a model's folder.
    ///
    /// # Errors
    /// No template in either; a file that cannot be read or does not hold what it should.
    pub fn from_folder(folder: &Path) -> Result<Self, TextError> {
        let config_path = folder.join("tokenizer_config.json");
        let config = if config_path.exists() { read_config(&config_path)? } else { Value::Null };
        let special = special_tokens(&config, &config_path.display().to_string())?;
        let jinja = folder.join("chat_template.jinja");
        if jinja.exists() {
            let text = std::fs::read_to_string(&jinja).map_err(|error| TextError::read(&jinja, error))?;
            return Ok(Self { text, special, origin: jinja.display().to_string() });
        }
        let origin = config_path.display().to_string();
        match template_of(&config["chat_template"], &origin)? {
            Some(text) => Ok(Self { text, special, origin }),
            None => Err(TextError::NoTemplate { origin: folder.display().to_string() }),
        }
    }

    /// Parses the template.
    ///
    /// # Errors
    /// A template that does not parse.
    pub fn parse(&self) -> Result<ChatTemplate, TextError> {
        ChatTemplate::new(&self.text, self.special.clone(), &self.origin)
    }
}

fn read_config(path: &Path) -> Result<Value, TextError> {
    let bytes = std::fs::read(path).map_err(|error| TextError::read(path, error))?;
    let config: Value = serde_json::from_slice(&bytes).map_err(|error| {
        refuse(&path.display().to_string(), "tokenizer_config.json", "a JSON object", format!("text that is not JSON ({error})"))
    })?;
    if config.is_object() {
        Ok(config)
    } else {
        Err(refuse(&path.display().to_string(), "tokenizer_config.json", "a JSON object", found(&config)))
    }
}

/// The value of `chat_template`: a string, or a list of named ones of which `default` is taken.
fn template_of(value: &Value, origin: &str) -> Result<Option<String>, TextError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Array(items) => {
            let default = items.iter().find(|item| item["name"] == "default");
            match default.and_then(|item| item["template"].as_str()) {
                Some(text) => Ok(Some(text.to_owned())),
                None => {
                    let names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
                    let found = format!("the names {}", excerpt(&names.join(", "), 80));
                    Err(refuse(origin, "chat_template", "a template named \"default\" among several", found))
                }
            }
        }
        other => Err(refuse(origin, "chat_template", "a string, or a list of {\"name\", \"template\"}", found(other))),
    }
}

/// `bos_token` and the like: a string, or an object with the key `content`.
fn special_tokens(config: &Value, origin: &str) -> Result<SpecialTokens, TextError> {
    let word = |key: &str| match &config[key] {
        Value::Null => Ok(None),
        Value::String(word) => Ok(Some(word.clone())),
        Value::Object(object) if object.get("content").is_some_and(Value::is_string) => Ok(object["content"].as_str().map(str::to_owned)),
        other => Err(refuse(origin, key, "a string, or an object with the key content", found(other))),
    };
    Ok(SpecialTokens { bos: word("bos_token")?, eos: word("eos_token")?, unk: word("unk_token")?, pad: word("pad_token")? })
}

/// `source` with the marks `{% generation %}` and `{% endgeneration %}`, which render as nothing, replaced by a condition that holds.
pub(super) fn without_generation_marks(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        text.push_str(&rest[..start]);
        let Some(length) = rest[start..].find("%}") else { break };
        let block = &rest[start..start + length + 2];
        let inner = block[2..block.len() - 2].trim_matches(['-', '+']).trim();
        match inner {
            "generation" => text.push_str(&block.replacen("generation", "if true", 1)),
            "endgeneration" => text.push_str(&block.replacen("endgeneration", "endif", 1)),
            _ => text.push_str(block),
        }
        rest = &rest[start + length + 2..];
    }
    text + rest
}

fn found(value: &Value) -> String {
    excerpt(&value.to_string(), 60)
}

fn refuse(origin: &str, key: &str, expected: &str, found: String) -> TextError {
    TextError::Template { origin: origin.to_owned(), key: key.to_owned(), expected: expected.to_owned(), found }
}
