//! Which passages may be found: conditions on their metadata.

use std::fmt;
use std::str::FromStr;

use dyag_text::chunk::Chunk;
use serde_json::Value;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// One of several values.
    OneOf,
    /// None of several values, or no value at all.
    NoneOf,
    /// A number below.
    Less,
    /// A number at most.
    AtMost,
    /// A number above.
    Greater,
    /// A number at least.
    AtLeast,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Key of the metadata, or `source_id` or `chunk_type`.
    pub key: String,
    /// How.
    pub comparison: Comparison,
    /// The values of [`Comparison::OneOf`] and [`Comparison::NoneOf`], the number of the others.
    pub values: Vec<String>,
}

/// Conditions that all must hold; none lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// A condition that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter: expected KEY=VALUE, KEY=VALUE|VALUE, KEY!=VALUE or KEY with <, <=, > or >= and a number, found {found:?}")]
pub struct FilterError {
    found: String,
}

impl FromStr for Condition {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let error = || FilterError { found: text.to_owned() };
        let signs = [
            ("!=", Comparison::NoneOf),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("=", Comparison::OneOf),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        // The first sign counts, the longer of two that begin at one place: values may hold others.
        let (at, sign, comparison) = signs
            .iter()
            .filter_map(|(sign, comparison)| Some((text.find(sign)?, *sign, *comparison)))
            .min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()))
            .ok_or_else(error)?;
        let (key, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let values: Vec<String> = match comparison {
            Comparison::OneOf | Comparison::NoneOf => value.split('|').map(|value| value.trim().to_owned()).collect(),
            _ => vec![value.to_owned()],
        };
        let is_number = |value: &String| value.parse::<f64>().is_ok_and(f64::is_finite);
        let is_sound = !key.is_empty()
            && match comparison {
                Comparison::OneOf | Comparison::NoneOf => values.iter().all(|value| !value.is_empty()),
                _ => values.iter().all(is_number),
            };
        if is_sound { Ok(Self { key: key.to_owned(), comparison, values }) } else { Err(error()) }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::OneOf => "=",
            Comparison::NoneOf => "!=",
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Greater => ">",
            Comparison::AtLeast => ">=",
        };
        write!(f, "{}{sign}{}", self.key, self.values.join("|"))
    }
}

impl Condition {
    /// Whether one of the values that a passage has for the key satisfies a positive comparison.
    pub(crate) fn accepts(&self, value: &str) -> bool {
        let number = || Some((value.trim().parse::<f64>().ok()?, self.values.first()?.parse::<f64>().ok()?));
        match self.comparison {
            Comparison::OneOf | Comparison::NoneOf => self.values.iter().any(|wanted| wanted == value),
            Comparison::Less => number().is_some_and(|(found, limit)| found < limit),
            Comparison::AtMost => number().is_some_and(|(found, limit)| found <= limit),
            Comparison::Greater => number().is_some_and(|(found, limit)| found > limit),
            Comparison::AtLeast => number().is_some_and(|(found, limit)| found >= limit),
        }
    }
}

impl Filter {
    /// Conditions as typed.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub fn parse<T: AsRef<str>>(conditions: &[T]) -> Result<Self, FilterError> {
        Ok(Self { conditions: conditions.iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>()? })
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether a passage passes: the specification of what every store does.
    pub fn passes(&self, chunk: &Chunk) -> bool {
        self.conditions.iter().all(|condition| {
            let found = properties(chunk).into_iter().any(|(key, value)| key == condition.key && condition.accepts(&value));
            found != (condition.comparison == Comparison::NoneOf)
        })
    }
}

/// What can be filtered by: keys and values of the metadata, texts of lists each, and the chunk's own `source_id` and `chunk_type`.
pub(crate) fn properties(chunk: &Chunk) -> Vec<(String, String)> {
    let mut found = vec![("source_id".to_owned(), chunk.source_id.clone()), ("chunk_type".to_owned(), chunk.chunk_type.clone())];
    for (key, value) in &chunk.metadata {
        match value {
            Value::Array(list) => found.extend(list.iter().filter_map(text_of).map(|text| (key.clone(), text))),
            value => found.extend(text_of(value).map(|text| (key.clone(), text))),
        }
    }
    found
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Chunk {
        let metadata = serde_json::json!({ "statut": "En production", "annee": 2021, "tags": ["a", "b"], "x=y": "1" });
        let Value::Object(metadata) = metadata else { unreachable!() };
        Chunk { id: "1".into(), source_id: "383".into(), title: String::new(), content: "c".into(), metadata, chunk_type: "main".into() }
    }

    #[test]
    fn conditions_say_what_passes() {
        for (conditions, expected) in [
            (vec![], true),
            (vec!["statut=En production"], true),
            (vec!["statut=Arrêté|En production"], true),
            (vec!["statut!=En production"], false),
            (vec!["statut!=Arrêté"], true),
            (vec!["absent!=x"], true),
            (vec!["absent=x"], false),
            (vec!["annee>=2021", "annee<2022"], true),
            (vec!["annee>2021"], false),
            (vec!["statut<3"], false),
            (vec!["tags=b"], true),
            (vec!["tags!=b"], false),
            (vec!["source_id=383", "chunk_type=main"], true),
            (vec!["source_id=383", "chunk_type=details"], false),
        ] {
            let filter = Filter::parse(&conditions).unwrap_or_else(|error| panic!("{conditions:?}: {error}"));
            assert_eq!(filter.passes(&chunk()), expected, "{conditions:?}");
        }
    }

    #[test]
    fn conditions_that_say_nothing_are_refused() {
        for text in ["", "statut", "=x", "a=", "a<x", "a>=", "a=x||y", "a<nan"] {
            assert!(Filter::parse(&[text]).is_err(), "{text:?}");
        }
        let condition: Condition = "a<=3".parse().expect("a condition");
        assert_eq!(condition.to_string(), "a<=3");
    }
}
