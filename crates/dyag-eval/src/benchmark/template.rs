//! The expressions of a task: the name of a field, a number, a list, or a template over a document's fields.

use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};
use serde_json::{Map, Value as Json};

/// Steps that a template may take on one document.
const FUEL: u64 = 200_000;

/// Evaluates expressions.
pub(super) struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        let syntax = environment.syntax().to_builder().keep_trailing_newline(true).build();
        environment.set_syntax(syntax.expect("Jinja's own delimiters are valid"));
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(method);
        Self { environment }
    }

    /// What `expression` says of a document: a field where there is one of that name; what stands between braces, where that is all of it;
    /// else the text that the template renders to.
    pub(super) fn value(&self, expression: &str, document: &Map<String, Json>) -> Result<Value, String> {
        if let Some(field) = document.get(expression) {
            return Ok(Value::from(Serde(field)));
        }
        let context = Value::from(Serde(document));
        if let Some(inner) = only_expression(expression) {
            let compiled = self.environment.compile_expression(inner).map_err(|error| problem(&error))?;
            let value = compiled.eval(context).map_err(|error| problem(&error))?;
            let is_there = !value.is_undefined();
            return is_there.then_some(value).ok_or_else(|| format!("undefined value: the document has no {}", inner.trim()));
        }
        self.environment.render_str(expression, context).map(Value::from).map_err(|error| problem(&error))
    }

    /// The same as a text.
    pub(super) fn text(&self, expression: &str, document: &Map<String, Json>) -> Result<String, String> {
        let value = self.value(expression, document)?;
        match value.kind() {
            ValueKind::String | ValueKind::Number => Ok(value.to_string()),
            kind => Err(format!("expected a text, found {kind} ({value})")),
        }
    }
}

/// The expression of a template that is nothing else.
fn only_expression(template: &str) -> Option<&str> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner)
}

/// Python's methods of texts and lists; `index` of a list besides.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if name == "index"
        && value.kind() == ValueKind::Seq
        && let [wanted] = arguments
    {
        let found = value.try_iter()?.position(|item| item == *wanted);
        return found
            .map(Value::from)
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in the list {value}")));
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}

fn problem(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
