//! A decoder's shape from config.json, with the keys of Transformers 4 and 5.

use std::path::Path;

use dyag_kernels::device::Activation;
use serde_json::{Map, Value};

use super::family::{self, Family, Windows};
use super::json::{self, Keys, short};
use super::{DecoderConfig, Rope, RopeScaling, rope};
use crate::error::ModelError;

/// Most layers that are believed.
pub(super) const MAX_LAYERS: usize = 10_000;

impl DecoderConfig {
    /// Reads config.json at `path`; `generation_config`, if there is one, adds its end tokens.
    ///
    /// # Errors
    /// When a file cannot be read, a key is missing or out of range, or the model is of a kind that is not supported.
    pub fn from_json_file(path: &Path, generation_config: Option<&Path>) -> Result<Self, ModelError> {
        let object = json::read_object(path)?;
        let mut config = Self::from_json(path, &object)?;
        if let Some(path) = generation_config {
            let object = json::read_object(path)?;
            let keys = Keys { path, object: &object, prefix: "" };
            for id in keys.token_ids("eos_token_id")? {
                if !config.eos_token_ids.contains(&id) {
                    config.eos_token_ids.push(id);
                }
            }
        }
        Ok(config)
    }

    /// Reads the object of config.json; `path` is for messages.
    ///
    /// # Errors
    /// As [`DecoderConfig::from_json_file`].
    pub fn from_json(path: &Path, object: &Map<String, Value>) -> Result<Self, ModelError> {
        let keys = Keys { path, object, prefix: "" };
        let family = find_family(keys)?;
        refuse_what_is_not_done(keys, family)?;
        let hidden_size = keys.required_size("hidden_size")?;
        let n_heads = keys.required_size("num_attention_heads")?;
        let n_layers = keys.required_size("num_hidden_layers")?;
        let head_size = head_size(keys, family, hidden_size, n_heads)?;
        let max_positions = keys.size("max_position_embeddings")?.unwrap_or(family.max_positions);
        if n_layers > MAX_LAYERS {
            return Err(ModelError::bad_value(path, "num_hidden_layers", format!("at most {MAX_LAYERS}"), n_layers));
        }
        let attention_bias = family.reads_attention_bias && keys.flag("attention_bias")?;
        let config = Self {
            family: family.name.to_owned(),
            hidden_size,
            intermediate_size: keys.required_size("intermediate_size")?,
            n_layers,
            n_heads,
            n_kv_heads: n_kv_heads(keys, family, n_heads)?,
            head_size,
            vocab_size: keys.required_size("vocab_size")?,
            max_positions,
            rms_norm_eps: keys.number("rms_norm_eps")?.unwrap_or(family.rms_norm_eps) as f32,
            rope: rope::from_json(keys, family, head_size, max_positions)?,
            window_rope: rope::of_windows(keys, family, head_size)?,
            windows: windows(keys, family, n_layers)?,
            fused: family.fused,
            qkv_bias: family.qkv_bias || attention_bias,
            o_bias: attention_bias,
            head_norms: family.head_norms,
            output_norms: family.gemma,
            attention_scale: attention_scale(keys, family, head_size)?,
            embedding_scale: if family.gemma { (hidden_size as f32).sqrt() } else { 1.0 },
            activation: activation(keys, family)?,
            tied_head: if keys.get("tie_word_embeddings").is_some() { keys.flag("tie_word_embeddings")? } else { family.tied_head },
            bos_token_id: token_ids(keys, "bos_token_id", family.bos_token_id)?.first().copied(),
            eos_token_ids: token_ids(keys, "eos_token_id", family.eos_token_id)?,
        };
        config.check(path, &JSON_NAMES)?;
        Ok(config)
    }

    /// Checks what holds between numbers, whatever file they come from; `names` are their keys in that file.
    pub(super) fn check(&self, path: &Path, names: &Names) -> Result<(), ModelError> {
        let bad = |key: &str, expected: String, found: String| Err(ModelError::bad_value(path, key, expected, found));
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return bad(names.n_kv_heads, format!("a divisor of the {} query heads", self.n_heads), self.n_kv_heads.to_string());
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps >= 0.0) {
            return bad(names.rms_norm_eps, "a number from 0 up".to_owned(), self.rms_norm_eps.to_string());
        }
        [Some(&self.rope), self.window_rope.as_ref()].into_iter().flatten().try_for_each(|rope| self.check_rope(path, names, rope))
    }

    fn check_rope(&self, path: &Path, names: &Names, Rope { theta, rotary_size, scaling }: &Rope) -> Result<(), ModelError> {
        let bad = |key: &str, expected: String, found: String| Err(ModelError::bad_value(path, key, expected, found));
        if *rotary_size < 2 || rotary_size % 2 != 0 || *rotary_size > self.head_size {
            let expected = format!("an even number of rotated channels from 2 to the head's {}", self.head_size);
            return bad(names.rotary_size, expected, rotary_size.to_string());
        }
        if !(theta.is_finite() && *theta > 0.0) {
            return bad(names.theta, "a number above 0".to_owned(), theta.to_string());
        }
        let lists: &[&Vec<f32>] = match scaling {
            RopeScaling::Divisors(divisors) => &[divisors],
            RopeScaling::LongRope { short, long, .. } => &[short, long],
            _ => &[],
        };
        for list in lists {
            if list.len() != rotary_size / 2 {
                return bad(names.divisors, format!("{} divisors, one for two rotated channels", rotary_size / 2), list.len().to_string());
            }
            if let Some(divisor) = list.iter().find(|d| !(d.is_finite() && **d > 0.0)) {
                return bad(names.divisors, "divisors above 0".to_owned(), divisor.to_string());
            }
        }
        Ok(())
    }
}

/// Keys that [`DecoderConfig::check`] names.
pub(super) struct Names {
    pub(super) n_kv_heads: &'static str,
    pub(super) rotary_size: &'static str,
    pub(super) theta: &'static str,
    pub(super) rms_norm_eps: &'static str,
    pub(super) divisors: &'static str,
}

const JSON_NAMES: Names = Names {
    n_kv_heads: "num_key_value_heads",
    rotary_size: "head_dim * partial_rotary_factor",
    theta: "rope_theta",
    rms_norm_eps: "rms_norm_eps",
    divisors: "short_factor and long_factor of rope",
};

fn find_family(keys: Keys<'_>) -> Result<&'static Family, ModelError> {
    let unknown = |key: &str, found: String, known: String| ModelError::UnsupportedArchitecture {
        path: keys.path.to_owned(),
        key: key.to_owned(),
        found,
        known,
    };
    let name = keys.text("model_type")?.ok_or_else(|| keys.missing("model_type"))?;
    let family = family::family(name).ok_or_else(|| unknown("model_type", format!("{name:?}"), family::known()))?;
    let architectures = keys.texts("architectures")?.unwrap_or_default();
    if !architectures.is_empty() && !architectures.iter().any(|a| a.eq_ignore_ascii_case(family.architecture)) {
        return Err(unknown("architectures", format!("{architectures:?}"), format!("{} for {name}", family.architecture)));
    }
    Ok(family)
}

/// Refuses, by name, keys that would change the numbers and are not implemented.
fn refuse_what_is_not_done(keys: Keys<'_>, family: &Family) -> Result<(), ModelError> {
    let refuse = |key: &str, found: &Value, why: &str| Err(ModelError::unsupported(keys.path, key, short(found), why));
    if let Some(found) = keys.get("quantization_config") {
        return refuse("quantization_config", found, "weights must be F32, F16 or BF16; for a quantised base use a GGUF file");
    }
    // Only Llama's classes read it.
    if family.name == "llama" && keys.flag("mlp_bias")? {
        return refuse("mlp_bias", &Value::Bool(true), "biases in the feed-forward block have no place in this decoder");
    }
    if family.gemma {
        for (key, why) in [
            ("attn_logit_softcapping", "scores are not capped in this decoder"),
            ("final_logit_softcapping", "logits are not capped in this decoder"),
        ] {
            if let Some(found) = keys.get(key) {
                return refuse(key, found, why);
            }
        }
        if keys.flag("use_bidirectional_attention")? {
            return refuse("use_bidirectional_attention", &Value::Bool(true), "a decoder's tokens see none that come after them");
        }
    }
    Ok(())
}

fn activation(keys: Keys<'_>, family: &Family) -> Result<Activation, ModelError> {
    let (key, default) = if family.gemma { ("hidden_activation", "gelu_pytorch_tanh") } else { ("hidden_act", "silu") };
    match keys.text(key)?.unwrap_or(default) {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
        other => Err(ModelError::unsupported(keys.path, key, format!("{other:?}"), "supported: silu, gelu_pytorch_tanh")),
    }
}

/// Gemma has a key for the number whose root scores are divided by, other families divide by the root of D.
fn attention_scale(keys: Keys<'_>, family: &Family, head_size: usize) -> Result<f32, ModelError> {
    let divisor = if family.gemma { keys.positive("query_pre_attn_scalar")?.unwrap_or(256.0) } else { head_size as f64 };
    Ok((1.0 / divisor.sqrt()) as f32)
}

fn head_size(keys: Keys<'_>, family: &Family, hidden_size: usize, n_heads: usize) -> Result<usize, ModelError> {
    // `null` asks for the division even where the class has a default of its own.
    let default = if keys.present("head_dim").is_none() { family.head_size } else { None };
    match keys.size("head_dim")?.or(default) {
        Some(size) => Ok(size),
        None if hidden_size.is_multiple_of(n_heads) => Ok(hidden_size / n_heads),
        None => {
            let expected = format!("a divisor of hidden_size ({hidden_size}), as there is no head_dim");
            Err(ModelError::bad_value(keys.path, "num_attention_heads", expected, n_heads))
        }
    }
}

fn n_kv_heads(keys: Keys<'_>, family: &Family, n_heads: usize) -> Result<usize, ModelError> {
    match keys.present("num_key_value_heads") {
        None => Ok(family.n_kv_heads.unwrap_or(n_heads)),
        Some(_) => Ok(keys.size("num_key_value_heads")?.unwrap_or(n_heads)),
    }
}

/// The ids of `key`; the family's own where the key is absent, none where it is `null`.
fn token_ids(keys: Keys<'_>, key: &str, default: Option<u32>) -> Result<Vec<u32>, ModelError> {
    if keys.present(key).is_none() {
        return Ok(default.into_iter().collect());
    }
    let mut ids = keys.token_ids(key)?;
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(ids)
}

/// The window of each layer: by the family's rule, or as `layer_types` says where the family's class reads it; elsewhere that must agree with the rule.
fn windows(keys: Keys<'_>, family: &Family, n_layers: usize) -> Result<Vec<Option<usize>>, ModelError> {
    let window = match keys.present("sliding_window") {
        None => family.sliding_window,
        Some(_) => keys.size("sliding_window")?,
    };
    let window = match family.windows {
        Windows::Never => None,
        Windows::Upper if !keys.flag("use_sliding_window")? => None,
        _ => window,
    };
    let has_window: Box<dyn Fn(usize) -> bool> = match family.windows {
        Windows::Never | Windows::Always => Box::new(|_| true),
        Windows::Upper => {
            let first = first_window_layer(keys)?;
            Box::new(move |layer| layer >= first)
        }
        Windows::Pattern => {
            let pattern = keys.size("sliding_window_pattern")?.or(keys.size("_sliding_window_pattern")?).unwrap_or(6);
            Box::new(move |layer| !(layer + 1).is_multiple_of(pattern))
        }
    };
    let by_rule: Vec<_> = (0..n_layers).map(|layer| window.filter(|_| has_window(layer))).collect();
    let Some(types) = keys.texts("layer_types")? else { return Ok(by_rule) };
    if types.len() != n_layers {
        let expected = format!("{n_layers} entries, one a layer");
        return Err(ModelError::bad_value(keys.path, "layer_types", expected, types.len()));
    }
    let mut windows = Vec::with_capacity(n_layers);
    for (layer, kind) in types.iter().enumerate() {
        let key = format!("layer_types[{layer}]");
        windows.push(match (*kind, window) {
            ("full_attention", _) => None,
            ("sliding_attention", Some(window)) => Some(window),
            ("sliding_attention", None) => {
                return Err(ModelError::bad_value(keys.path, key, "full_attention, as no sliding window is set", "sliding_attention"));
            }
            (other, _) => return Err(ModelError::unsupported(keys.path, key, other, "supported: full_attention, sliding_attention")),
        });
    }
    if matches!(family.windows, Windows::Never | Windows::Always) && windows != by_rule {
        let why = format!("Transformers' {} gives every layer the same attention, whatever layer_types says", family.name);
        return Err(ModelError::unsupported(keys.path, "layer_types", "different from layer to layer", why));
    }
    Ok(windows)
}

/// `max_window_layers`: it may be 0, and is 28 where absent.
fn first_window_layer(keys: Keys<'_>) -> Result<usize, ModelError> {
    let Some(value) = keys.get("max_window_layers") else { return Ok(28) };
    value.as_u64().map(|n| n as usize).ok_or_else(|| keys.wrong("max_window_layers", "an integer from 0 up", value))
}
