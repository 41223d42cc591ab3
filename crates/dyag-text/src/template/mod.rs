//! A model's chat template: how a conversation becomes the text the model was taught to continue.
//!
//! Templates are Jinja, rendered by minijinja as Transformers sets Jinja up (`trim_blocks`, `lstrip_blocks`, loop controls,
//! `raise_exception`, `strftime_now`, Python's methods of strings). What a template cannot do here is read the clock.

mod date;
mod python;
mod source;

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, Value, context};

pub use date::Date;
pub use source::{SpecialTokens, TemplateSource};

use crate::conversation::Message;
use crate::error::TextError;
use crate::hash::sha256_hex;

/// How much a template may compute: far beyond any real one, and an end to one that loops.
const FUEL: u64 = 20_000_000;

/// The name of the template inside its engine.
const NAME: &str = "chat_template";

/// A chat template, ready to render.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    origin: String,
    special: SpecialTokens,
    reads_clock: bool,
}

impl ChatTemplate {
    /// Parses a template. `special` are the words that `bos_token` and the like stand for; `origin` names the file in messages.
    ///
    /// # Errors
    /// A template that does not parse.
    pub fn new(source: &str, special: SpecialTokens, origin: &str) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        let syntax = environment.syntax().to_builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("Jinja's own delimiters are valid"));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_unknown_method_callback(python::method);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("trim", |value: &Value, chars: Option<&str>| python::trim(value, chars));
        environment.add_filter("tojson", python::tojson);
        environment.add_function("raise_exception", |message: &str| python::raise_exception(message));
        environment.add_template_owned(NAME, source::without_generation_marks(source)).map_err(|error| TextError::Template {
            origin: origin.to_owned(),
            key: "chat_template".to_owned(),
            expected: "a Jinja template".to_owned(),
            found: describe(&error),
        })?;
        let names = environment.get_template(NAME).map(|template| template.undeclared_variables(false)).unwrap_or_default();
        let reads_clock = names.contains("strftime_now");
        Ok(Self { environment, source: source.to_owned(), origin: origin.to_owned(), special, reads_clock })
    }

    /// The template as it was read.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file the template comes from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// SHA-256 of the template as it was read.
    pub fn hash(&self) -> String {
        sha256_hex(self.source.as_bytes())
    }

    /// Whether the template asks for today's date. It must then be given one, always the same for one adapter.
    pub fn reads_clock(&self) -> bool {
        self.reads_clock
    }

    /// The words that `bos_token` and the like stand for.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The text of `messages`, with the opening of the assistant's next turn when `add_generation_prompt`.
    ///
    /// `date` is what the template finds as `date_string` and through `strftime_now`; without one it finds neither, and takes its own default.
    ///
    /// # Errors
    /// The template refuses the conversation (`raise_exception`), fails, or does not end.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool, date: Option<Date>) -> Result<String, TextError> {
        let refuse = |error: minijinja::Error| TextError::Render { origin: self.origin.clone(), reason: describe(&error) };
        let turns: Vec<Value> =
            messages.iter().map(|message| context! { role => message.role.name(), content => message.content.as_str() }).collect();
        let mut variables =
            BTreeMap::from([("messages", Value::from(turns)), ("add_generation_prompt", Value::from(add_generation_prompt))]);
        let words = [
            ("bos_token", &self.special.bos),
            ("eos_token", &self.special.eos),
            ("unk_token", &self.special.unk),
            ("pad_token", &self.special.pad),
        ];
        variables.extend(words.into_iter().filter_map(|(name, word)| word.as_deref().map(|word| (name, Value::from(word)))));
        if let Some(date) = date {
            let now = move |format: &str| {
                date.strftime(format).map_err(|directive| {
                    let message = format!("strftime_now: the directive {directive} is not known");
                    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message)
                })
            };
            variables.insert("strftime_now", Value::from_function(now));
            variables.insert("date_string", Value::from(date.strftime("%d %b %Y").unwrap_or_default()));
        }
        let variables = Value::from(variables);
        self.environment.get_template(NAME).and_then(|template| template.render(variables)).map_err(refuse)
    }
}

/// An engine's error in one line: what, and at which line of the template.
fn describe(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    error.line().map_or_else(|| what.clone(), |line| format!("{what} (line {line} of the template)"))
}

#[cfg(test)]
mod tests;
