//! From JSON to [`Results`]: ours, and the two kinds of files of the original program.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::Problem;
use super::fields::{Fields, describe, score};
use super::non_finite::first_non_finite;
use super::{Arm, Metadata, Results, ResultsError, Row, SCHEMA, SetMetrics, Source, TrainingFile};

/// What a file of results is, in messages.
const EXPECTED: &str = "an object with `metadata`, and `results` or `metrics`, as an evaluation writes it";
/// Scores that the original program put beside a row's texts.
const SCORES_BESIDE: [&str; 3] = ["exact_match", "is_correct", "similarity"];

impl Results {
    /// Reads a file of results.
    ///
    /// # Errors
    /// A file that cannot be read, is no JSON, holds something else than results, or holds a number that is none: with the key at fault.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        read_from(&path.display().to_string(), || File::open(path), None)
    }

    /// The same, keeping of each row only the metrics that are wanted and the keys that have a meaning: a file of a million rows with fifty
    /// metrics each needs little more memory than its texts.
    ///
    /// # Errors
    /// As [`Results::read`].
    pub fn read_wanted(path: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<Self, ResultsError> {
        read_from(&path.display().to_string(), || File::open(path), Some(is_wanted))
    }

    /// Reads results from `bytes`; `name` is what messages call them.
    ///
    /// # Errors
    /// As [`Results::read`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ResultsError> {
        read_from(name, || Ok(Cursor::new(bytes)), None)
    }
}

fn read_from<R: Read>(
    name: &str,
    open: impl Fn() -> io::Result<R>,
    is_wanted: Option<&dyn Fn(&str) -> bool>,
) -> Result<Results, ResultsError> {
    let unreadable = |source| ResultsError::Read { path: name.to_owned(), source };
    let input = || -> io::Result<BufReader<R>> {
        let mut input = BufReader::with_capacity(1 << 16, open()?);
        skip_byte_order_mark(&mut input)?;
        Ok(input)
    };
    let reader = RowReader { names: RefCell::default(), is_wanted, problem: RefCell::default() };
    let mut json = serde_json::Deserializer::from_reader(input().map_err(unreadable)?);
    let outcome = FileSeed(&reader).deserialize(&mut json).and_then(|results| json.end().map(|()| results));
    let error = match outcome {
        Ok(results) => return Ok(results),
        Err(error) => error,
    };
    if error.is_io() {
        return Err(unreadable(error.into()));
    }
    if let Some(problem) = reader.problem.take() {
        return Err(problem.in_file(name));
    }
    if let Some(found) = first_non_finite(input().map_err(unreadable)?).map_err(unreadable)? {
        return Err(ResultsError::NotFinite { path: name.to_owned(), line: found.line, key: found.key, found: found.found });
    }
    Err(ResultsError::Syntax { path: name.to_owned(), line: error.line(), reason: error.to_string() })
}

fn skip_byte_order_mark(input: &mut BufReader<impl Read>) -> io::Result<()> {
    use std::io::BufRead as _;
    if input.fill_buf()?.starts_with(b"\xEF\xBB\xBF") {
        input.consume(3);
    }
    Ok(())
}

/// Makes rows, and keeps one copy of the names that all of them share.
struct RowReader<'a> {
    names: RefCell<BTreeSet<Arc<str>>>,
    /// Which metrics are kept; all, and every other key, when none.
    is_wanted: Option<&'a dyn Fn(&str) -> bool>,
    /// What stopped the reading, when it was not the JSON itself.
    problem: RefCell<Option<Problem>>,
}

impl RowReader<'_> {
    fn shared(&self, name: &str) -> Arc<str> {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(name);
        names.insert(Arc::clone(&new));
        new
    }

    /// Keeps a problem for later and stops the parser.
    fn stop<E: serde::de::Error>(&self, problem: Problem) -> E {
        let error = E::custom(format_args!("{}: expected {}, found {}", problem.key, problem.expected, problem.found));
        *self.problem.borrow_mut() = Some(problem);
        error
    }

    fn row(&self, value: Value, index: usize) -> Result<Row, Problem> {
        let mut fields = Fields::new(value, format!("results[{index}]"))?;
        let Some(question) = fields.text(&["question"])? else {
            let found = fields.rest();
            return Err(Problem::new(format!("results[{index}].question"), "the question", describe(&Value::Object(found))));
        };
        let id = fields.name(&["id", "question_id"])?;
        let expected_answer = fields.name(&["expected_answer", "expected"])?;
        let generated_answer = fields.text(&["generated_answer", "answer"])?;
        let success = fields.flag(&["success"])?;
        let error = fields.text(&["error"])?.filter(|error| !error.trim().is_empty());
        let error = error.or_else(|| (success == Some(false)).then(|| "marked as not successful".to_owned()));
        if generated_answer.is_none() && error.is_none() {
            let key = fields.key("generated_answer");
            return Err(Problem::new(key, "the answer, or an `error` that says why there is none", "neither"));
        }
        let metrics = self.scores(&mut fields)?;
        let shared = |name: Option<String>| name.map(|name| self.shared(&name));
        Ok(Row {
            id,
            question,
            expected_answer,
            generated_answer,
            metrics,
            category: shared(fields.name(&["category"])?),
            difficulty: shared(fields.name(&["difficulty"])?),
            document: shared(fields.name(&["document", "app_id"])?),
            gold_chunk_ids: ids(&mut fields)?,
            sources: sources(&mut fields)?,
            time_seconds: fields.amount(&["time_seconds", "time"])?,
            first_token_seconds: fields.amount(&["first_token_seconds"])?,
            latency_seconds: fields.amount(&["latency_seconds"])?,
            tokens: fields.count(&["tokens"])?,
            tokens_in: fields.count(&["tokens_in"])?,
            tokens_out: fields.count(&["tokens_out"])?,
            error,
            other: self.other(fields.rest()),
        })
    }

    fn other(&self, mut other: Map<String, Value>) -> Map<String, Value> {
        if self.is_wanted.is_none() {
            return other;
        }
        other.shift_remove("field").into_iter().map(|field| ("field".to_owned(), field)).collect()
    }

    fn scores(&self, fields: &mut Fields) -> Result<BTreeMap<Arc<str>, f64>, Problem> {
        let mut scores = BTreeMap::new();
        for name in SCORES_BESIDE {
            let key = fields.key(name);
            if let Some((_, value)) = fields.any(&[name]) {
                self.add_score(&mut scores, name, score(&value, &key)?);
            }
        }
        let at = fields.key("metrics");
        for (name, value) in fields.object(&["metrics"])? {
            self.add_score(&mut scores, &name, score(&value, &format!("{at}.{name}"))?);
        }
        Ok(scores)
    }

    fn add_score(&self, scores: &mut BTreeMap<Arc<str>, f64>, name: &str, score: Option<f64>) {
        scores.extend(score.filter(|_| self.is_wanted.is_none_or(|is_wanted| is_wanted(name))).map(|score| (self.shared(name), score)));
    }
}

fn ids(fields: &mut Fields) -> Result<Vec<String>, Problem> {
    let Some((key, items)) = fields.list(&["gold_chunk_ids", "source_chunk_ids"])? else { return Ok(Vec::new()) };
    let id = |(index, item): (usize, Value)| match item {
        Value::String(id) => Ok(id),
        other => Err(Problem::new(format!("{key}[{index}]"), "a chunk's id", describe(&other))),
    };
    items.into_iter().enumerate().map(id).collect()
}

fn sources(fields: &mut Fields) -> Result<Option<Vec<Source>>, Problem> {
    let Some((key, items)) = fields.list(&["sources", "retrieved"])? else { return Ok(None) };
    let source = |(index, item): (usize, Value)| match item {
        Value::String(id) => Ok(Source { id: Some(id), ..Source::default() }),
        Value::Number(number) => Ok(Source { id: Some(number.to_string()), ..Source::default() }),
        item => {
            let mut fields = Fields::new(item, format!("{key}[{index}]"))?;
            Ok(Source {
                id: fields.name(&["id", "chunk_id"])?,
                source_id: fields.name(&["source_id"])?,
                text: fields.text(&["text", "content"])?,
                score: fields.number(&["score"])?,
                other: fields.rest(),
            })
        }
    };
    items.into_iter().enumerate().map(source).collect::<Result<_, _>>().map(Some)
}

fn training_set(fields: &mut Fields) -> Result<Option<TrainingFile>, Problem> {
    let at = fields.key("training_set");
    let Some((_, value)) = fields.any(&["training_set"]) else { return Ok(None) };
    let mut fields = Fields::new(value, at)?;
    match (fields.text(&["name"])?, fields.text(&["sha256"])?) {
        (Some(name), Some(sha256)) => Ok(Some(TrainingFile { name, sha256 })),
        (Some(_), None) => Err(Problem::new(fields.key("sha256"), "the file's SHA-256", "none")),
        (None, _) => Err(Problem::new(fields.key("name"), "the file's name", "none")),
    }
}

fn metadata(value: Value) -> Result<Metadata, Problem> {
    let mut fields = Fields::new(value, "metadata".to_owned())?;
    let named = fields.text(&["arm"])?;
    let arm =
        match named.as_deref() {
            None => None,
            Some(name) => Some(Arm::ALL.into_iter().find(|arm| arm.name() == name).ok_or_else(|| {
                Problem::new("metadata.arm", Arm::ALL.map(Arm::name).join(", "), describe(&Value::String(name.to_owned())))
            })?),
        };
    let base_model = fields.text(&["base_model"])?;
    let mut metadata = Metadata {
        arm,
        model: fields.text(&["model", "llm_model", "model_path"])?,
        base_model,
        dataset: fields.text(&["dataset"])?,
        dataset_sha256: fields.text(&["dataset_sha256"])?,
        total_questions: fields.count(&["total_questions"])?,
        started_at: fields.text(&["started_at"])?,
        evaluated_at: fields.text(&["evaluated_at", "timestamp"])?,
        duration_seconds: fields.amount(&["duration_seconds", "total_time"])?,
        training_set: training_set(&mut fields)?,
        training_seconds: fields.amount(&["training_seconds"])?,
        peak_memory_bytes: fields.count(&["peak_memory_bytes"])?,
        parameters: fields.object(&["parameters"])?,
        machine: fields.object(&["machine"])?,
        versions: fields.object(&["versions"])?,
        other: fields.rest(),
    };
    if metadata.arm.is_none() {
        // The original program did not write it down; its two kinds of files are told apart by what they name.
        let searches = ["collection_name", "collection", "n_chunks"].iter().any(|key| metadata.other.contains_key(*key));
        metadata.arm = if searches { Some(Arm::Rag) } else { metadata.base_model.is_some().then_some(Arm::Finetuned) };
    }
    Ok(metadata)
}

fn set_metrics(value: Value) -> Result<SetMetrics, Problem> {
    let mut fields = Fields::new(value, "metrics".to_owned())?;
    let mut metrics = SetMetrics::default();
    for (name, signature) in fields.object(&["signatures"])? {
        let Value::String(text) = signature else {
            return Err(Problem::new(format!("metrics.signatures.{name}"), "a string", describe(&signature)));
        };
        metrics.signatures.insert(name, text);
    }
    for (name, value) in fields.rest() {
        match &value {
            Value::Number(_) => metrics.values.extend(score(&value, &format!("metrics.{name}"))?.map(|number| (name, number))),
            Value::Null => {}
            _ => drop(metrics.other.insert(name, value)),
        }
    }
    Ok(metrics)
}

/// Reads the whole file.
struct FileSeed<'a>(&'a RowReader<'a>);

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = Results;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Results, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = Results;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Results, A::Error> {
        let reader = self.0;
        let mut results = Results::default();
        let mut keys: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(reader.stop(Problem::new(key, "the key once", "it a second time")));
            }
            let stop = |problem| reader.stop(problem);
            match key.as_str() {
                "schema" => match map.next_value::<Value>()? {
                    Value::String(schema) if schema == SCHEMA => {}
                    other => return Err(stop(Problem::new("schema", format!("\"{SCHEMA}\""), describe(&other)))),
                },
                "metadata" => results.metadata = metadata(map.next_value()?).map_err(stop)?,
                "metrics" => results.metrics = set_metrics(map.next_value()?).map_err(stop)?,
                "results" => results.results = map.next_value_seed(RowsSeed(reader))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            keys.push(key);
        }
        let has = |name: &str| keys.iter().any(|key| key == name);
        if !has("metadata") || !(has("results") || has("metrics")) {
            let found: Map<String, Value> = keys.into_iter().map(|key| (key, Value::Null)).collect();
            return Err(reader.stop(Problem::new("file", EXPECTED, describe(&Value::Object(found)))));
        }
        Ok(results)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Results, A::Error> {
        Err(self.0.stop(Problem::new("file", EXPECTED, "a list")))
    }
}

/// Reads the rows, one at a time.
struct RowsSeed<'a>(&'a RowReader<'a>);

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = Vec<Row>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Row>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = Vec<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows in `results`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Vec<Row>, A::Error> {
        let mut read = Vec::new();
        while let Some(value) = rows.next_element::<Value>()? {
            read.push(self.0.row(value, read.len()).map_err(|problem| self.0.stop::<A::Error>(problem))?);
        }
        Ok(read)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Vec<Row>, E> {
        Err(E::custom("expected a list of rows in `results`, found null"))
    }
}
