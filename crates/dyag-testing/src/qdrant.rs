//! A Qdrant server in memory: the part of its REST contract that collections need, checked request by request and answered truly.
//!
//! It computes products, frequencies and filters itself, and refuses what the contract does not have: unknown fields, vectors of another size, ids that are no UUIDs, dimensions that come
//! twice, points of collections that are not there. It is no Qdrant: it has no segments, no graphs and no rounding of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use crate::{Loopback, RecordedRequest, ScriptedReply};

/// A point.
#[derive(Clone, Debug)]
struct Point {
    vectors: Map<String, Value>,
    payload: Value,
}

/// A collection.
#[derive(Clone, Debug, Default)]
struct Collection {
    /// Sizes of dense vectors.
    dense: BTreeMap<String, usize>,
    /// Whether sparse vectors are weighed by the rarity of their dimensions.
    sparse: BTreeMap<String, bool>,
    indexed: BTreeMap<String, String>,
    points: BTreeMap<String, Point>,
}

#[derive(Default)]
struct State {
    collections: BTreeMap<String, Collection>,
    aliases: BTreeMap<String, String>,
    troubles: Vec<(String, ScriptedReply)>,
}

/// Why a request is not done.
struct Refusal(u16, String);

type Done = Result<Value, Refusal>;

fn refuse<T>(status: u16, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(status, why.into()))
}

/// A running server.
pub struct TestQdrant {
    server: Loopback,
    state: Arc<Mutex<State>>,
}

impl TestQdrant {
    /// A server without collections; one with a key answers only those who send it.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub fn start(key: Option<&'static str>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let of_server = Arc::clone(&state);
        let server = Loopback::answering(move |request| {
            let mut state = lock(&of_server);
            if let Some(place) = state.troubles.iter().position(|(part, _)| format!("{} {}", request.method, request.path).contains(part)) {
                return state.troubles.remove(place).1;
            }
            if key.is_some() && request.header("api-key") != key {
                return ScriptedReply::status(401, "Must provide an API key or an Authorization bearer token");
            }
            match answer(&mut state, request) {
                Ok(result) => ScriptedReply::json(json!({ "result": result, "status": "ok", "time": 0.0 }).to_string()),
                Err(Refusal(status, why)) => {
                    let body = json!({ "status": { "error": why }, "time": 0.0 }).to_string();
                    ScriptedReply::status(status, body).header("Content-Type", "application/json")
                }
            }
        });
        Self { server, state }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.server.requests()
    }

    /// Names of the collections, in order.
    pub fn collections(&self) -> Vec<String> {
        lock(&self.state).collections.keys().cloned().collect()
    }

    /// What an alias stands for.
    pub fn alias(&self, name: &str) -> Option<String> {
        lock(&self.state).aliases.get(name).cloned()
    }

    /// The next request whose method and path contain `part` gets this reply. Called twice, two requests get theirs in turn.
    pub fn trouble(&self, part: &str, reply: ScriptedReply) {
        lock(&self.state).troubles.push((part.to_owned(), reply));
    }

    /// Removes a collection, as another client might.
    pub fn remove(&self, name: &str) {
        lock(&self.state).collections.remove(name);
    }

    /// Changes every payload of a collection, as another client might.
    pub fn change_payloads(&self, name: &str, change: impl Fn(&mut Value)) {
        if let Some(collection) = lock(&self.state).collections.get_mut(name) {
            collection.points.values_mut().for_each(|point| change(&mut point.payload));
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fields of an object, of which each must be known.
fn fields<'a>(value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, Refusal> {
    let Some(object) = value.as_object() else { return refuse(400, format!("expected an object, found {value}")) };
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(other) => refuse(400, format!("unknown field {other:?}")),
        None => Ok(object),
    }
}

fn answer(state: &mut State, request: &RecordedRequest) -> Done {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let body = match request.body.as_str() {
        "" => Value::Null,
        text => match serde_json::from_str(text) {
            Ok(body) if request.header("content-type") == Some("application/json") => body,
            _ => return refuse(400, "expected JSON"),
        },
    };
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["aliases"]) => {
            let aliases: Vec<Value> =
                state.aliases.iter().map(|(alias, name)| json!({ "alias_name": alias, "collection_name": name })).collect();
            Ok(json!({ "aliases": aliases }))
        }
        ("GET", ["collections"]) => {
            let names: Vec<Value> = state.collections.keys().map(|name| json!({ "name": name })).collect();
            Ok(json!({ "collections": names }))
        }
        ("POST", ["collections", "aliases"]) => aliases(state, &body),
        ("PUT", ["collections", name]) => create(state, name, &body),
        ("DELETE", ["collections", name]) => {
            state.aliases.retain(|_, target| target != name);
            Ok(json!(state.collections.remove(*name).is_some()))
        }
        (method, ["collections", name, rest @ ..]) => {
            let real = state.aliases.get(*name).cloned().unwrap_or_else(|| (*name).to_owned());
            let Some(collection) = state.collections.get_mut(&real) else {
                return refuse(404, format!("Not found: Collection `{name}` doesn't exist!"));
            };
            match (method, rest) {
                ("PUT", ["index"]) => index(collection, &body, query),
                ("PUT", ["points"]) => upsert(collection, &body, query),
                ("POST", ["points"]) => retrieve(collection, &body),
                ("POST", ["points", "scroll"]) => scroll(collection, &body),
                ("POST", ["points", "query"]) => search(collection, &body),
                ("POST", ["points", "count"]) => {
                    fields(&body, &["exact", "filter"])?;
                    Ok(json!({ "count": collection.points.len() }))
                }
                _ => refuse(404, "no such path"),
            }
        }
        _ => refuse(404, "no such path"),
    }
}

fn aliases(state: &mut State, body: &Value) -> Done {
    let actions = fields(body, &["actions"])?.get("actions").and_then(Value::as_array);
    let Some(actions) = actions else { return refuse(400, "expected actions") };
    let mut aliases = state.aliases.clone();
    for action in actions {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let action = fields(action, &["create_alias", "delete_alias"])?;
        if let Some(delete) = action.get("delete_alias") {
            fields(delete, &["alias_name"])?;
            let Some(name) = text(delete, "alias_name") else { return refuse(400, "expected alias_name") };
            aliases.remove(&name);
        } else if let Some(create) = action.get("create_alias") {
            fields(create, &["alias_name", "collection_name"])?;
            let (Some(alias), Some(name)) = (text(create, "alias_name"), text(create, "collection_name")) else {
                return refuse(400, "expected alias_name and collection_name");
            };
            if !state.collections.contains_key(&name) {
                return refuse(404, format!("Not found: Collection `{name}` doesn't exist!"));
            }
            if state.collections.contains_key(&alias) {
                return refuse(409, format!("Wrong input: Collection with the same name `{alias}` exists"));
            }
            aliases.insert(alias, name);
        }
    }
    state.aliases = aliases;
    Ok(json!(true))
}

fn create(state: &mut State, name: &str, body: &Value) -> Done {
    if state.collections.contains_key(name) || state.aliases.contains_key(name) {
        return refuse(409, format!("Wrong input: Collection `{name}` already exists!"));
    }
    let body = fields(body, &["vectors", "sparse_vectors"])?;
    let mut collection = Collection::default();
    for (vector, parameters) in body.get("vectors").and_then(Value::as_object).into_iter().flatten() {
        let parameters = fields(parameters, &["size", "distance"])?;
        if parameters.get("distance") != Some(&json!("Dot")) {
            return refuse(400, "this server knows Dot alone");
        }
        match parameters.get("size").and_then(Value::as_u64) {
            Some(size @ 1..=65_536) => collection.dense.insert(vector.clone(), size as usize),
            _ => return refuse(422, "vectors.size must be 1 or larger and 65536 or smaller"),
        };
    }
    for (vector, parameters) in body.get("sparse_vectors").and_then(Value::as_object).into_iter().flatten() {
        let modifier = fields(parameters, &["modifier"])?.get("modifier");
        if !matches!(modifier.and_then(Value::as_str), None | Some("idf" | "none")) {
            return refuse(400, "unknown modifier");
        }
        collection.sparse.insert(vector.clone(), modifier == Some(&json!("idf")));
    }
    state.collections.insert(name.to_owned(), collection);
    Ok(json!(true))
}

fn acknowledged(query: &str) -> Done {
    if query == "wait=true" {
        Ok(json!({ "operation_id": 1, "status": "completed" }))
    } else {
        refuse(400, "a test must wait for its writes")
    }
}

fn index(collection: &mut Collection, body: &Value, query: &str) -> Done {
    let body = fields(body, &["field_name", "field_schema"])?;
    match (body.get("field_name").and_then(Value::as_str), body.get("field_schema").and_then(Value::as_str)) {
        (Some(name), Some(schema @ ("keyword" | "integer" | "float"))) => collection.indexed.insert(name.to_owned(), schema.to_owned()),
        _ => return refuse(400, "expected field_name and a field_schema"),
    };
    acknowledged(query)
}

fn is_uuid(id: &str) -> bool {
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn upsert(collection: &mut Collection, body: &Value, query: &str) -> Done {
    let Some(points) = fields(body, &["points"])?.get("points").and_then(Value::as_array) else { return refuse(400, "expected points") };
    let mut new = Vec::new();
    for point in points {
        let point = fields(point, &["id", "vector", "payload"])?;
        let Some(id) = point.get("id").and_then(Value::as_str).filter(|id| is_uuid(id)) else {
            return refuse(400, "an id is a UUID or a number");
        };
        let Some(vectors) = point.get("vector").and_then(Value::as_object) else { return refuse(400, "expected named vectors") };
        for (name, vector) in vectors {
            if let Some(size) = collection.dense.get(name) {
                let numbers = floats(vector);
                if numbers.as_ref().map(Vec::len) != Some(*size) {
                    return refuse(
                        400,
                        format!("Wrong input: Vector dimension error: expected dim: {size}, got {}", numbers.map_or(0, |n| n.len())),
                    );
                }
            } else if collection.sparse.contains_key(name) {
                sparse(vector)?;
            } else {
                return refuse(400, format!("Wrong input: Not existing vector name error: {name}"));
            }
        }
        new.push((id.to_owned(), Point { vectors: vectors.clone(), payload: point.get("payload").cloned().unwrap_or(Value::Null) }));
    }
    collection.points.extend(new);
    acknowledged(query)
}

fn floats(value: &Value) -> Option<Vec<f32>> {
    value.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32).filter(|number| number.is_finite())).collect()
}

/// Dimensions and values of a sparse vector.
fn sparse(value: &Value) -> Result<BTreeMap<u32, f32>, Refusal> {
    let value = fields(value, &["indices", "values"])?;
    let indices: Option<Vec<u32>> =
        value.get("indices").and_then(Value::as_array).and_then(|list| list.iter().map(|n| u32::try_from(n.as_u64()?).ok()).collect());
    match (indices, value.get("values").and_then(floats)) {
        (Some(indices), Some(values)) if indices.len() == values.len() => {
            let n = indices.len();
            let map: BTreeMap<u32, f32> = indices.into_iter().zip(values).collect();
            if map.len() == n { Ok(map) } else { refuse(422, "must contain unique indices") }
        }
        _ => refuse(422, "expected as many indices as values"),
    }
}

/// A point as a reply shows it.
fn shown(id: &str, point: &Point, body: &Map<String, Value>, score: Option<f32>) -> Done {
    let mut reply = json!({ "id": id });
    match body.get("with_payload") {
        Some(Value::Array(wanted)) => {
            let wanted: Vec<&str> = wanted.iter().filter_map(Value::as_str).collect();
            let kept = point.payload.as_object().into_iter().flatten().filter(|(key, _)| wanted.contains(&key.as_str()));
            reply["payload"] = Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
        Some(Value::Bool(true)) => reply["payload"] = point.payload.clone(),
        None | Some(Value::Bool(false)) => {}
        Some(_) => return refuse(400, "with_payload"),
    }
    match body.get("with_vector") {
        Some(Value::Array(wanted)) => {
            let kept = point.vectors.iter().filter(|(name, _)| wanted.contains(&json!(name)));
            reply["vector"] = Value::Object(kept.map(|(name, vector)| (name.clone(), vector.clone())).collect());
        }
        None | Some(Value::Bool(false)) => {}
        Some(_) => return refuse(400, "this server gives named vectors alone"),
    }
    if let Some(score) = score {
        reply["score"] = json!(score);
        reply["version"] = json!(1);
    }
    Ok(reply)
}

fn retrieve(collection: &Collection, body: &Value) -> Done {
    let body = fields(body, &["ids", "with_payload", "with_vector"])?;
    let Some(ids) = body.get("ids").and_then(Value::as_array) else { return refuse(400, "expected ids") };
    let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
    // In an order of the server's own.
    let found = collection.points.iter().filter(|(id, _)| ids.contains(&id.as_str()));
    Ok(Value::Array(found.map(|(id, point)| shown(id, point, body, None)).collect::<Result<_, _>>()?))
}

fn scroll(collection: &Collection, body: &Value) -> Done {
    let fields = fields(body, &["limit", "offset", "filter", "with_payload", "with_vector"])?;
    let limit = fields.get("limit").and_then(Value::as_u64).unwrap_or(10) as usize;
    let offset = fields.get("offset").and_then(Value::as_str).unwrap_or("");
    let mut page = Vec::new();
    for (id, point) in collection.points.range(offset.to_owned()..) {
        if !passes(fields.get("filter"), &point.payload)? {
            continue;
        }
        if page.len() == limit {
            return Ok(json!({ "points": page, "next_page_offset": id }));
        }
        page.push(shown(id, point, fields, None)?);
    }
    Ok(json!({ "points": page, "next_page_offset": null }))
}

fn search(collection: &Collection, body: &Value) -> Done {
    let fields_of = fields(body, &["query", "using", "filter", "limit", "params", "with_payload", "with_vector"])?;
    if let Some(parameters) = fields_of.get("params") {
        fields(parameters, &["exact", "hnsw_ef"])?;
    }
    let using = fields_of.get("using").and_then(Value::as_str).unwrap_or("");
    let limit = fields_of.get("limit").and_then(Value::as_u64).unwrap_or(10) as usize;
    let query = fields_of.get("query").unwrap_or(&Value::Null);
    let mut scored: Vec<(f32, &String, &Point)> = Vec::new();
    let filter = fields_of.get("filter");
    if let Some(size) = collection.dense.get(using) {
        let Some(query) = floats(query).filter(|query| query.len() == *size) else {
            return refuse(400, format!("Wrong input: Vector dimension error: expected dim: {size}"));
        };
        for (id, point) in &collection.points {
            let Some(vector) = point.vectors.get(using).and_then(floats) else { continue };
            if passes(filter, &point.payload)? {
                scored.push((query.iter().zip(&vector).map(|(a, b)| a * b).sum(), id, point));
            }
        }
    } else if let Some(by_rarity) = collection.sparse.get(using) {
        let query = sparse(query)?;
        let mut vectors = Vec::new();
        for (id, point) in &collection.points {
            if let Some(vector) = point.vectors.get(using) {
                vectors.push((id, point, sparse(vector)?));
            }
        }
        let rarity = |dimension: &u32| {
            let frequency = vectors.iter().filter(|(_, _, vector)| vector.contains_key(dimension)).count() as f32;
            if *by_rarity { ((vectors.len() as f32 - frequency + 0.5) / (frequency + 0.5) + 1.0).ln() } else { 1.0 }
        };
        let weights: BTreeMap<u32, f32> = query.iter().map(|(dimension, weight)| (*dimension, weight * rarity(dimension))).collect();
        for (id, point, vector) in &vectors {
            let shared: Vec<f32> = weights.iter().filter_map(|(dimension, weight)| Some(weight * vector.get(dimension)?)).collect();
            if !shared.is_empty() && passes(filter, &point.payload)? {
                scored.push((shared.iter().sum(), id, point));
            }
        }
    } else {
        return refuse(400, format!("Wrong input: Not existing vector name error: {using}"));
    }
    // Equal scores in an order of the server's own.
    scored.sort_by(|(a, x, _), (b, y, _)| b.total_cmp(a).then_with(|| y.cmp(x)));
    let best = scored.into_iter().take(limit).map(|(score, id, point)| shown(id, point, fields_of, Some(score)));
    Ok(json!({ "points": best.collect::<Result<Vec<_>, _>>()? }))
}

/// Whether a payload passes a filter.
fn passes(filter: Option<&Value>, payload: &Value) -> Result<bool, Refusal> {
    let Some(filter) = filter else { return Ok(true) };
    let filter = fields(filter, &["must", "must_not"])?;
    for (clause, wanted) in [("must", true), ("must_not", false)] {
        for condition in filter.get(clause).and_then(Value::as_array).into_iter().flatten() {
            if holds(condition, payload)? != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn holds(condition: &Value, payload: &Value) -> Result<bool, Refusal> {
    let condition = fields(condition, &["key", "match", "range"])?;
    let key = condition.get("key").and_then(Value::as_str).unwrap_or("");
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c)) {
        return refuse(400, "this server reads simple paths alone");
    }
    let mut value = payload;
    for part in key.split('.') {
        value = value.get(part).unwrap_or(&Value::Null);
    }
    let values: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
    if let Some(wanted) = condition.get("match") {
        let wanted = fields(wanted, &["any", "value"])?;
        let any = wanted.get("any").and_then(Value::as_array);
        return Ok(values.iter().any(|value| wanted.get("value") == Some(*value) || any.is_some_and(|any| any.contains(value))));
    }
    let Some(range) = condition.get("range") else { return refuse(400, "a condition without match and range") };
    let range = fields(range, &["lt", "lte", "gt", "gte"])?;
    let within = |number: f64| {
        range.iter().all(|(sign, limit)| {
            let limit = limit.as_f64().unwrap_or(f64::NAN);
            match sign.as_str() {
                "lt" => number < limit,
                "lte" => number <= limit,
                "gt" => number > limit,
                _ => number >= limit,
            }
        })
    };
    Ok(values.iter().any(|value| value.as_f64().is_some_and(within)))
}
