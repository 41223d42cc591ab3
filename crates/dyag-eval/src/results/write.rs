//! From [`Results`] to JSON: keys always in one order, one row a line.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value, json};

use super::{Metadata, Results, Row, SCHEMA, SetMetrics, Source};

impl Results {
    /// Writes a file of results.
    ///
    /// # Errors
    /// A number that is not finite, with its key, before anything is written; whatever `out` says.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(key) = self.first_not_finite() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{key}: expected a finite number, found one that is not")));
        }
        let Self { metadata, metrics, results } = self;
        write!(out, "{{\n  \"schema\": {},\n  \"metadata\": ", json!(SCHEMA))?;
        out.write_all(indented(&serde_json::to_string_pretty(metadata)?).as_bytes())?;
        out.write_all(b",\n  \"metrics\": ")?;
        out.write_all(indented(&serde_json::to_string_pretty(metrics)?).as_bytes())?;
        out.write_all(b",\n  \"results\": [")?;
        for (index, row) in results.iter().enumerate() {
            out.write_all(if index == 0 { b"\n    " } else { b",\n    " })?;
            serde_json::to_writer(&mut *out, row)?;
        }
        out.write_all(if results.is_empty() { b"]\n}\n" } else { b"\n  ]\n}\n" })
    }

    /// The key of the first number that JSON cannot hold.
    pub(crate) fn first_not_finite(&self) -> Option<String> {
        let Metadata { duration_seconds, training_seconds, .. } = &self.metadata;
        let bad = |number: &Option<f64>| number.is_some_and(|number| !number.is_finite());
        if bad(duration_seconds) {
            return Some("metadata.duration_seconds".to_owned());
        }
        if bad(training_seconds) {
            return Some("metadata.training_seconds".to_owned());
        }
        let in_set = self.metrics.values.iter().find(|(_, value)| !value.is_finite()).map(|(name, _)| format!("metrics.{name}"));
        let in_row = |(index, row): (usize, &Row)| {
            let metric = row.metrics.iter().find(|(_, value)| !value.is_finite()).map(|(name, _)| format!("metrics.{name}"));
            let times = [
                ("time_seconds", row.time_seconds),
                ("first_token_seconds", row.first_token_seconds),
                ("latency_seconds", row.latency_seconds),
            ];
            let time = || times.iter().find(|(_, seconds)| bad(seconds)).map(|(name, _)| (*name).to_owned());
            let score = || row.sources.iter().flatten().position(|source| bad(&source.score)).map(|at| format!("sources[{at}].score"));
            metric.or_else(time).or_else(score).map(|key| format!("results[{index}].{key}"))
        };
        in_set.or_else(|| self.results.iter().enumerate().find_map(in_row))
    }
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

impl Serialize for SetMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { values, signatures, other } = self;
        let mut map = serializer.serialize_map(None)?;
        values.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        other.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        if !signatures.is_empty() {
            map.serialize_entry("signatures", signatures)?;
        }
        map.end()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            id,
            question,
            expected_answer,
            generated_answer,
            metrics,
            category,
            difficulty,
            document,
            gold_chunk_ids,
            sources,
            time_seconds,
            first_token_seconds,
            latency_seconds,
            tokens: _,
            tokens_in,
            tokens_out,
            error,
            other,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        macro_rules! entry_if_some {
            ($name:literal, $value:expr) => {
                if let Some(value) = $value {
                    map.serialize_entry($name, value)?;
                }
            };
        }
        entry_if_some!("id", id);
        map.serialize_entry("question", question)?;
        map.serialize_entry("expected_answer", expected_answer)?;
        map.serialize_entry("generated_answer", generated_answer)?;
        // A key of the original program's files, which programs that read those look for.
        entry_if_some!(
            "exact_match",
            metrics.get("exact_match").filter(|value| [0.0, 1.0].contains(value)).map(|value| *value == 1.0).as_ref()
        );
        map.serialize_entry(
            "metrics",
            &metrics.iter().map(|(name, value)| (name.to_string(), json!(value))).collect::<Map<String, Value>>(),
        )?;
        entry_if_some!("category", category.as_deref());
        entry_if_some!("difficulty", difficulty.as_deref());
        entry_if_some!("document", document.as_deref());
        if !gold_chunk_ids.is_empty() {
            map.serialize_entry("gold_chunk_ids", gold_chunk_ids)?;
        }
        entry_if_some!(
            "sources",
            &sources
                .as_ref()
                .map(|sources| sources.iter().map(source).collect::<Result<Vec<_>, _>>())
                .transpose()
                .map_err(serde::ser::Error::custom)?
        );
        entry_if_some!("time_seconds", time_seconds);
        entry_if_some!("first_token_seconds", first_token_seconds);
        entry_if_some!("latency_seconds", latency_seconds);
        entry_if_some!("tokens", &self.total_tokens());
        entry_if_some!("tokens_in", tokens_in);
        entry_if_some!("tokens_out", tokens_out);
        map.serialize_entry("success", &error.is_none())?;
        map.serialize_entry("error", error)?;
        other.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// A source of which only the id is known is its id.
fn source(source: &Source) -> serde_json::Result<Value> {
    match source {
        Source { id: Some(id), source_id: None, text: None, score: None, other } if other.is_empty() => Ok(Value::String(id.clone())),
        source => serde_json::to_value(source),
    }
}
