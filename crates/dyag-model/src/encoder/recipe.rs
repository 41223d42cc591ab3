//! What a folder says of how its model's vectors are made: sentence-transformers' files.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Pooling;
use crate::config::json::{self, Keys};
use crate::error::ModelError;

/// How a text becomes a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingRecipe {
    /// Kinds of vectors, laid end to end; at least one.
    pub pooling: Vec<Pooling>,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Longest text, in tokens, special ones included; what is longer is cut.
    pub max_tokens: usize,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
    /// Put before a text that asks.
    pub query_prompt: String,
    /// Put before a text that is searched.
    pub document_prompt: String,
    /// Put before a text that is compared with others of its kind.
    pub plain_prompt: String,
    /// Where all this comes from.
    pub origin: RecipeOrigin,
}

/// Where a recipe comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipeOrigin {
    /// The folder's modules.json and the files it names.
    Files,
    /// The folder has no modules.json, and its name says that it is an E5 model: the mean, scaled to length 1, after `query: ` or `passage: ` (Wang et al. 2022), as its authors ask.
    NamedE5,
    /// The folder has no modules.json: the mean, scaled to length 1, which is also what sentence-transformers makes of such a folder.
    Assumed,
}

impl fmt::Display for RecipeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "from modules.json",
            Self::NamedE5 => "no modules.json; chosen as for E5 models, by the folder's name: mean of the tokens, length 1, \"query: \" or \"passage: \" before the text",
            Self::Assumed => "no modules.json; assumed: mean of the tokens, length 1, nothing before the text",
        })
    }
}

impl EmbeddingRecipe {
    /// Reads what the folder at `path` says about its model, whose states have `width` channels and which reads texts up to `longest` tokens.
    ///
    /// # Errors
    /// A file that cannot be read, is not what it should be, or asks for what is not done here.
    pub fn read(path: &Path, width: usize, longest: usize) -> Result<Self, ModelError> {
        let mut recipe = Self {
            pooling: vec![Pooling::Mean],
            normalize: true,
            max_tokens: longest,
            lower_case: false,
            query_prompt: String::new(),
            document_prompt: String::new(),
            plain_prompt: String::new(),
            origin: RecipeOrigin::Assumed,
        };
        let modules = path.join("modules.json");
        if modules.exists() {
            recipe.origin = RecipeOrigin::Files;
            recipe.read_modules(path, &modules, width)?;
        } else if is_e5(path) {
            recipe.origin = RecipeOrigin::NamedE5;
            recipe.query_prompt = "query: ".to_owned();
            recipe.document_prompt = "passage: ".to_owned();
            recipe.plain_prompt = "query: ".to_owned();
        }
        recipe.read_lengths(path)?;
        recipe.read_prompts(&path.join("config_sentence_transformers.json"))?;
        Ok(recipe)
    }

    /// The steps from tokens to the vector.
    fn read_modules(&mut self, folder: &Path, modules: &Path, width: usize) -> Result<(), ModelError> {
        let list = json::read(modules)?;
        let Value::Array(list) = list else {
            return Err(ModelError::malformed(modules, "the file", "a list of modules", json::short(&list)));
        };
        self.pooling.clear();
        self.normalize = false;
        for (place, module) in list.iter().enumerate() {
            let prefix = format!("[{place}].");
            let Value::Object(object) = module else {
                return Err(ModelError::malformed(modules, format!("module {place}"), "an object", json::short(module)));
            };
            let keys = Keys { path: modules, object, prefix: &prefix };
            let kind = keys.text("type")?.ok_or_else(|| keys.missing("type"))?;
            let unsupported = |why: &str| Err(ModelError::unsupported(modules, keys.name("type"), format!("{kind:?}"), why));
            match kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" if place == 0 && keys.text("path")?.unwrap_or_default().is_empty() => {}
                "Transformer" => return unsupported("supported: one Transformer, the first module, in the folder itself"),
                "Pooling" if self.pooling.is_empty() && !self.normalize => self.read_pooling(&inside(folder, keys)?, width)?,
                "Normalize" if !self.pooling.is_empty() => self.normalize = true,
                _ => return unsupported("supported: Transformer, then Pooling, then Normalize or nothing"),
            }
        }
        match self.pooling.is_empty() {
            true => Err(ModelError::malformed(modules, "the list of modules", "a module of type Pooling", "none")),
            false => Ok(()),
        }
    }

    fn read_pooling(&mut self, folder: &Path, width: usize) -> Result<(), ModelError> {
        let path = folder.join("config.json");
        let object = json::read_object(&path)?;
        let keys = Keys { path: &path, object: &object, prefix: "" };
        for key in ["word_embedding_dimension", "embedding_dimension"] {
            if let Some(size) = keys.size(key)?.filter(|size| *size != width) {
                let expected = format!("{width}, the model's hidden_size");
                return Err(ModelError::bad_value(&path, key, expected, size));
            }
        }
        if keys.get("include_prompt").is_some() && !keys.flag("include_prompt")? {
            return Err(ModelError::unsupported(&path, "include_prompt", false, "the prompt's tokens count as the others do"));
        }
        let names = match keys.get("pooling_mode") {
            None => Vec::new(),
            Some(Value::String(name)) => vec![name.as_str()],
            Some(_) => keys.texts("pooling_mode")?.unwrap_or_default(),
        };
        for name in names {
            let known = || Pooling::ALL.map(Pooling::name).join(", ");
            let kind = Pooling::ALL.into_iter().find(|kind| kind.name() == name);
            self.pooling.push(kind.ok_or_else(|| ModelError::bad_value(&path, "pooling_mode", known(), format!("{name:?}")))?);
        }
        if self.pooling.is_empty() {
            for kind in Pooling::ALL {
                if keys.flag(kind.flag())? {
                    self.pooling.push(kind);
                }
            }
        }
        if self.pooling.is_empty() {
            self.pooling.push(Pooling::Mean);
        }
        Ok(())
    }

    /// The longest text and lower-casing: sentence_bert_config.json, then tokenizer_config.json where that is silent.
    fn read_lengths(&mut self, folder: &Path) -> Result<(), ModelError> {
        let path = folder.join("sentence_bert_config.json");
        let mut longest = None;
        if path.exists() {
            let object = json::read_object(&path)?;
            let keys = Keys { path: &path, object: &object, prefix: "" };
            longest = keys.size("max_seq_length")?;
            self.lower_case = keys.flag("do_lower_case")?;
        }
        let longest = longest.or(model_max_length(folder)?);
        self.max_tokens = longest.map_or(self.max_tokens, |longest| longest.min(self.max_tokens));
        Ok(())
    }

    fn read_prompts(&mut self, path: &Path) -> Result<(), ModelError> {
        if !path.exists() {
            return Ok(());
        }
        let object = json::read_object(path)?;
        let keys = Keys { path, object: &object, prefix: "" };
        let prompts = match keys.get("prompts") {
            None => return Ok(()),
            Some(Value::Object(prompts)) => prompts,
            Some(other) => return Err(keys.wrong("prompts", "an object of names and texts", other)),
        };
        let prompts = Keys { path, object: prompts, prefix: "prompts." };
        if let Some(prompt) = prompts.text("query")? {
            self.query_prompt = prompt.to_owned();
        }
        for name in ["document", "passage", "corpus"] {
            if let Some(prompt) = prompts.text(name)? {
                self.document_prompt = prompt.to_owned();
                break;
            }
        }
        if let Some(name) = keys.text("default_prompt_name")? {
            let prompt = prompts
                .text(name)?
                .ok_or_else(|| ModelError::bad_value(path, "default_prompt_name", "the name of one of the prompts", format!("{name:?}")))?;
            self.plain_prompt = prompt.to_owned();
        }
        Ok(())
    }
}

/// `model_max_length` of a folder's tokenizer_config.json; the absurdly large number that stands for "not said" is none.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn model_max_length(folder: &Path) -> Result<Option<usize>, ModelError> {
    let path = folder.join("tokenizer_config.json");
    if !path.exists() {
        return Ok(None);
    }
    let object = json::read_object(&path)?;
    let longest = object.get("model_max_length").and_then(Value::as_f64).filter(|n| (1.0..1e9).contains(n));
    Ok(longest.map(|n| n as usize))
}

/// Whether the folder's name says that it holds an E5 model: `e5` between other things than letters and digits.
fn is_e5(folder: &Path) -> bool {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|part| part == "e5")
}

/// The folder of a module: beside the list, whatever its name tries.
fn inside(folder: &Path, keys: Keys<'_>) -> Result<PathBuf, ModelError> {
    let name = keys.text("path")?.unwrap_or_default();
    let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
    if name.is_empty() || is_plain {
        return Ok(folder.join(name));
    }
    Err(ModelError::bad_value(keys.path, keys.name("path"), "the name of a folder beside the list", format!("{name:?}")))
}
