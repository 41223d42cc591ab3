//! PEFT's adapter_config.json: what of it is understood, and what is refused because it would change the numbers.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::AdapterError;
use super::{MAX_RANK, Projection};

/// Name of the configuration inside an adapter's folder.
pub const CONFIG_FILE: &str = "adapter_config.json";

/// No honest configuration is longer; what is longer is not read.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Which modules an adapter acts on, as PEFT's `target_modules` says it.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetModules {
    /// A module is meant when its name is one of these, or ends with a dot and one of these.
    Names(Vec<String>),
    /// A module is meant when this regular expression matches its whole name.
    Pattern(String),
    /// Every linear module but the output head.
    AllLinear,
}

/// What adapter_config.json says, as far as it changes numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Where the base model came from (`base_model_name_or_path`); for people.
    pub base_model: Option<String>,
    /// Rank of the matrices that no pattern names (`r`).
    pub rank: usize,
    /// Numerator of the scale where no pattern names another (`lora_alpha`).
    pub alpha: f64,
    /// Ranks by regular expression, in the file's order: the first that matches decides (`rank_pattern`).
    pub rank_pattern: Vec<(String, usize)>,
    /// Alphas by regular expression, likewise (`alpha_pattern`).
    pub alpha_pattern: Vec<(String, f64)>,
    /// The scale is `alpha / sqrt(rank)` and not `alpha / rank` (`use_rslora`; Kalajdzievski 2023).
    pub rank_stabilised: bool,
    /// Each output channel has a magnitude of its own beside the pair (`use_dora`; Liu et al. 2024).
    pub weight_decomposed: bool,
    /// Modules that are adapted (`target_modules`).
    pub targets: TargetModules,
    /// Modules that are not, whatever `targets` says (`exclude_modules`).
    pub excluded: Option<TargetModules>,
    /// Layers that are adapted, of those `targets` names by suffix (`layers_to_transform`).
    pub layers: Option<Vec<usize>>,
    /// Name of the list that layers are counted in, as regular expressions (`layers_pattern`).
    pub layers_pattern: Vec<String>,
    /// Probability of dropping an input of A while training (`lora_dropout`).
    pub dropout: f32,
}

impl AdapterConfig {
    /// The configuration of a new adapter on `projections` of every layer.
    pub fn new(projections: &[Projection], rank: usize, alpha: f64) -> Self {
        let mut names: Vec<_> = projections.iter().map(|p| p.short_name().to_owned()).collect();
        names.sort();
        names.dedup();
        Self {
            base_model: None,
            rank,
            alpha,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            rank_stabilised: false,
            weight_decomposed: false,
            targets: TargetModules::Names(names),
            excluded: None,
            layers: None,
            layers_pattern: Vec::new(),
            dropout: 0.0,
        }
    }

    /// Reads `folder/adapter_config.json`.
    ///
    /// # Errors
    /// When it cannot be read, is not JSON, a key has an impossible value, or it asks for something that is not supported.
    pub fn read(folder: &Path) -> Result<Self, AdapterError> {
        let path = folder.join(CONFIG_FILE);
        let failed = |source| AdapterError::Read { path: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_CONFIG_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Self::parse(&bytes, &path)
    }

    /// Reads the content of an adapter_config.json; `path` is for messages.
    ///
    /// # Errors
    /// As [`AdapterConfig::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, AdapterError> {
        let value: Value = serde_json::from_slice(bytes).map_err(|source| AdapterError::Json { path: path.to_owned(), source })?;
        let Value::Object(map) = value else {
            return Err(key_error(path, "(the whole file)", "an object", &value));
        };
        refuse_unsupported(&map, path)?;
        let keys = Keys { map: &map, path };
        let config = Self {
            base_model: keys.string("base_model_name_or_path")?,
            rank: keys.rank("r", map.get("r").unwrap_or(&json!(8)))?,
            alpha: keys.number("lora_alpha", map.get("lora_alpha").unwrap_or(&json!(8)))?,
            rank_pattern: keys.pairs("rank_pattern", Keys::rank)?,
            alpha_pattern: keys.pairs("alpha_pattern", Keys::number)?,
            rank_stabilised: keys.flag("use_rslora")?,
            weight_decomposed: keys.flag("use_dora")?,
            targets: keys.modules("target_modules")?.ok_or_else(|| {
                key_error(path, "target_modules", "a list of module names, a regular expression or \"all-linear\"", &Value::Null)
            })?,
            excluded: keys.modules("exclude_modules")?,
            layers: keys.layers()?,
            layers_pattern: keys.strings("layers_pattern")?,
            dropout: keys.dropout()?,
        };
        let by_name = matches!(config.targets, TargetModules::Names(_));
        if !by_name && (config.layers.is_some() || !config.layers_pattern.is_empty()) {
            let found = map.get("target_modules").unwrap_or(&Value::Null);
            return Err(key_error(path, "target_modules", "a list when layers_to_transform or layers_pattern is given", found));
        }
        Ok(config)
    }

    /// The content of adapter_config.json, keys sorted, with a line end.
    pub fn to_json(&self) -> String {
        let Self {
            base_model,
            rank,
            alpha,
            rank_pattern,
            alpha_pattern,
            rank_stabilised,
            weight_decomposed,
            targets,
            excluded,
            layers,
            layers_pattern,
            dropout,
        } = self;
        // Pairs keep their order: it decides which pattern wins.
        let object = |pairs: &mut dyn Iterator<Item = (String, Value)>| Value::Object(pairs.collect());
        let mut value = json!({
            "alpha_pattern": object(&mut alpha_pattern.iter().map(|(k, v)| (k.clone(), number_value(*v)))),
            "base_model_name_or_path": base_model,
            "bias": "none",
            "exclude_modules": excluded.as_ref().map(TargetModules::to_value),
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": if layers_pattern.is_empty() { Value::Null } else { json!(layers_pattern) },
            "layers_to_transform": layers,
            "lora_alpha": number_value(*alpha),
            "lora_dropout": decimal_value(*dropout),
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": rank,
            "rank_pattern": object(&mut rank_pattern.iter().map(|(k, v)| (k.clone(), json!(v)))),
            "revision": null,
            "target_modules": targets.to_value(),
            "task_type": "CAUSAL_LM",
            "use_dora": weight_decomposed,
            "use_rslora": rank_stabilised,
        });
        if let Value::Object(map) = &mut value {
            map.sort_keys();
        }
        format!("{value:#}\n")
    }
}

impl TargetModules {
    fn to_value(&self) -> Value {
        match self {
            Self::Names(names) => json!(names),
            Self::Pattern(pattern) => json!(pattern),
            Self::AllLinear => json!("all-linear"),
        }
    }
}

/// Whole numbers without a point, as Python writes its integers (PEFT declares alpha an integer).
fn number_value(number: f64) -> Value {
    #[allow(clippy::cast_possible_truncation)]
    if number.fract() == 0.0 && number.abs() < 1e15 { json!(number as i64) } else { json!(number) }
}

/// The shortest decimal of a 32-bit number, and not the digits of its widening.
fn decimal_value(number: f32) -> Value {
    json!(number.to_string().parse::<f64>().unwrap_or(f64::from(number)))
}

fn key_error(path: &Path, key: &str, expected: &str, found: &Value) -> AdapterError {
    AdapterError::Key { path: path.to_owned(), key: key.to_owned(), expected: expected.to_owned(), found: shortened(found) }
}

/// A value as JSON, cut where a message would become unreadable.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

/// Null, false, zero and whatever is empty: a feature that is not in use.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Keys that are read by [`AdapterConfig::parse`], or that change no number once the weights are trained.
const KNOWN_KEYS: &[&str] = &[
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
];

/// Keys that, when in use, mean another computation than plain LoRA, and its name.
const UNSUPPORTED_KEYS: &[(&str, &str)] = &[
    ("modules_to_save", "training whole modules beside the adapter"),
    ("fan_in_fan_out", "weights stored as (in, out)"),
    ("layer_replication", "layer replication"),
    ("trainable_token_indices", "trainable token embeddings"),
    ("lora_bias", "a bias in B"),
    ("target_parameters", "adapting bare parameters"),
    ("alora_invocation_tokens", "activated LoRA (aLoRA)"),
    ("use_qalora", "QALoRA"),
    ("megatron_config", "Megatron's parallel layers"),
    ("arrow_config", "Arrow routing"),
    ("use_bdlora", "block-diagonal LoRA"),
    ("velora_config", "VeLoRA"),
    ("kasa_config", "KaSA"),
    ("monteclora_config", "MonteCLoRA"),
];

/// Initialisations that leave the base's own weights alone. The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) subtract something from the
/// base when PEFT loads the adapter.
const HARMLESS_INITIALISATIONS: &[&str] = &["gaussian", "eva", "orthogonal", "mica"];

fn refuse_unsupported(map: &Map<String, Value>, path: &Path) -> Result<(), AdapterError> {
    let refuse = |feature: &str, key: &str, value: &Value, advice: &str| {
        Err(AdapterError::Unsupported {
            path: path.to_owned(),
            feature: feature.to_owned(),
            key: key.to_owned(),
            value: shortened(value),
            advice: advice.to_owned(),
        })
    };
    let retrain = "merge the adapter into its base with PEFT, or train it again as plain LoRA";
    match map.get("peft_type") {
        Some(Value::String(kind)) if kind == "LORA" => {}
        Some(kind) => return refuse("an adapter that is not LoRA", "peft_type", kind, "only \"LORA\" adapters can be loaded"),
        None => return Err(key_error(path, "peft_type", "\"LORA\"", &Value::Null)),
    }
    for (key, feature) in UNSUPPORTED_KEYS {
        if let Some(value) = map.get(*key).filter(|value| !is_empty(value)) {
            return refuse(feature, key, value, retrain);
        }
    }
    if let Some(value) = map.get("bias").filter(|value| !value.is_null() && value.as_str() != Some("none")) {
        return refuse("training biases", "bias", value, retrain);
    }
    if let Some(value) = map.get("task_type").filter(|value| !value.is_null() && value.as_str() != Some("CAUSAL_LM")) {
        return refuse("a task other than text generation", "task_type", value, "only \"CAUSAL_LM\" adapters can be loaded");
    }
    match map.get("init_lora_weights") {
        None | Some(Value::Bool(_) | Value::Null) => {}
        Some(Value::String(name)) if HARMLESS_INITIALISATIONS.contains(&name.to_lowercase().as_str()) => {}
        Some(value) => {
            let advice = "convert it to plain LoRA with PEFT (save_pretrained with path_initial_model_for_weight_conversion)";
            return refuse("an initialisation that changes the base's weights", "init_lora_weights", value, advice);
        }
    }
    let unknown = map.iter().find(|(key, value)| {
        !is_empty(value) && !KNOWN_KEYS.contains(&key.as_str()) && !UNSUPPORTED_KEYS.iter().any(|(name, _)| name == key)
    });
    match unknown {
        Some((key, value)) => {
            refuse("an option this version does not know", key, value, "it may change the numbers; remove it if it does not")
        }
        None => Ok(()),
    }
}

/// Typed access to the keys of one file.
struct Keys<'a> {
    map: &'a Map<String, Value>,
    path: &'a Path,
}

impl Keys<'_> {
    /// The value of a key, unless it is absent or null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, expected: &str, found: &Value) -> AdapterError {
        key_error(self.path, key, expected, found)
    }

    fn string(&self, key: &str) -> Result<Option<String>, AdapterError> {
        self.get(key).map(|v| v.as_str().map(str::to_owned).ok_or_else(|| self.wrong(key, "a string", v))).transpose()
    }

    fn flag(&self, key: &str) -> Result<bool, AdapterError> {
        self.get(key).map_or(Ok(false), |v| v.as_bool().ok_or_else(|| self.wrong(key, "true or false", v)))
    }

    fn number(&self, key: &str, value: &Value) -> Result<f64, AdapterError> {
        value.as_f64().filter(|n| n.is_finite()).ok_or_else(|| self.wrong(key, "a number", value))
    }

    fn rank(&self, key: &str, value: &Value) -> Result<usize, AdapterError> {
        let rank = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=MAX_RANK).contains(n));
        rank.ok_or_else(|| self.wrong(key, &format!("a whole number from 1 to {MAX_RANK}"), value))
    }

    fn dropout(&self) -> Result<f32, AdapterError> {
        let Some(value) = self.get("lora_dropout") else { return Ok(0.0) };
        #[allow(clippy::cast_possible_truncation)]
        let dropout = value.as_f64().filter(|p| (0.0..1.0).contains(p)).map(|p| p as f32);
        dropout.ok_or_else(|| self.wrong("lora_dropout", "a number from 0 to below 1", value))
    }

    /// The members of an object, in the file's order.
    fn pairs<T>(&self, key: &str, read: impl Fn(&Self, &str, &Value) -> Result<T, AdapterError>) -> Result<Vec<(String, T)>, AdapterError> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Object(map)) => {
                map.iter().map(|(name, value)| Ok((name.clone(), read(self, &format!("{key}.{name}"), value)?))).collect()
            }
            Some(other) => Err(self.wrong(key, "an object", other)),
        }
    }

    /// A list of strings, or one string for a list of one.
    fn strings(&self, key: &str) -> Result<Vec<String>, AdapterError> {
        let one = |v: &Value| v.as_str().map(str::to_owned).ok_or_else(|| self.wrong(key, "a string or a list of strings", v));
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?].into_iter().filter(|text| !text.is_empty()).collect()),
        }
    }

    fn modules(&self, key: &str) -> Result<Option<TargetModules>, AdapterError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if key == "target_modules" && text.to_lowercase() == "all-linear" => {
                Ok(Some(TargetModules::AllLinear))
            }
            Some(Value::String(text)) => Ok(Some(TargetModules::Pattern(text.clone()))),
            Some(_) => {
                let names = self.strings(key)?;
                Ok((!names.is_empty()).then_some(TargetModules::Names(names)))
            }
        }
    }

    /// One layer or a list of them; an empty list means all.
    fn layers(&self) -> Result<Option<Vec<usize>>, AdapterError> {
        let key = "layers_to_transform";
        let one = |v: &Value| {
            v.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| self.wrong(key, "a layer number, or a list of them", v))
        };
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) if items.is_empty() => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items.iter().map(one).collect::<Result<_, _>>()?)),
            Some(value) => Ok(Some(vec![one(value)?])),
        }
    }
}
