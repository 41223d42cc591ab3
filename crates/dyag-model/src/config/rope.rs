//! The rotary embedding of config.json: `rope_theta` and `rope_scaling` of Transformers 4, `rope_parameters` of 5.

use serde_json::{Map, Value};

use super::family::Family;
use super::json::{Keys, short};
use super::{Rope, RopeScaling};
use crate::error::ModelError;

/// `rope_local_base_freq` of Gemma where nothing says.
const WINDOW_THETA: f64 = 10_000.0;

/// Keys of Gemma's two ropes.
const FULL: &str = "full_attention";
const WINDOWED: &str = "sliding_attention";

/// `original_max_position_embeddings` of a Phi-3 that does not say.
const PHI3_ORIGINAL_POSITIONS: usize = 4096;

/// Reads the rotary embedding. A non-empty `rope_scaling` goes before `rope_parameters`, and what either says before the keys beside it, as in
/// Transformers.
pub(super) fn from_json(keys: Keys<'_>, family: &Family, head_size: usize, max_positions: usize) -> Result<Rope, ModelError> {
    let empty = Map::new();
    let (prefix, object) = match (object(keys, "rope_scaling")?, object(keys, "rope_parameters")?) {
        (Some(object), _) => ("rope_scaling.", object),
        (None, Some(object)) => ("rope_parameters.", object),
        (None, None) => ("", &empty),
    };
    let of_kind = Keys { path: keys.path, object, prefix };
    let name;
    let rope = match of_kind.get(FULL).filter(|_| family.gemma) {
        None => of_kind,
        Some(Value::Object(object)) => {
            name = format!("{prefix}{FULL}.");
            Keys { path: keys.path, object, prefix: &name }
        }
        Some(other) => return Err(of_kind.wrong(FULL, "an object", other)),
    };
    if let Some((key, value)) = rope.object.iter().find(|(key, value)| value.is_object() && !(family.gemma && *key == WINDOWED)) {
        let why = "a rotary embedding for each kind of layer is not implemented";
        return Err(ModelError::unsupported(keys.path, rope.name(key), short(value), why));
    }
    let theta = match rope.positive("rope_theta")? {
        Some(theta) => theta,
        None => keys.positive("rope_theta")?.unwrap_or(family.rope_theta),
    };
    let partial = match rope.positive("partial_rotary_factor")? {
        Some(factor) => factor,
        None => keys.positive("partial_rotary_factor")?.unwrap_or(1.0),
    };
    if partial != 1.0 && !family.phi_rope {
        let why = format!("a {} rotates whole heads", family.name);
        return Err(ModelError::unsupported(keys.path, "partial_rotary_factor", partial, why));
    }
    // Truncated, as Transformers does; `check` refuses what is odd or too large.
    let rotary_size = (head_size as f64 * partial) as usize;
    Ok(Rope { theta, rotary_size, scaling: scaling(keys, rope, family, max_positions)? })
}

/// The rope of layers with a sliding window, where it is another: Gemma's, which is not scaled.
pub(super) fn of_windows(keys: Keys<'_>, family: &Family, head_size: usize) -> Result<Option<Rope>, ModelError> {
    if !family.gemma {
        return Ok(None);
    }
    let nested = object(keys, "rope_parameters")?.and_then(|object| object.get(WINDOWED)).and_then(Value::as_object);
    let theta = match nested {
        None => keys.positive("rope_local_base_freq")?.unwrap_or(WINDOW_THETA),
        Some(object) => {
            let rope = Keys { path: keys.path, object, prefix: "rope_parameters.sliding_attention." };
            if let Some(kind @ ("linear" | "llama3" | "longrope" | "dynamic" | "yarn")) = rope.text("rope_type")? {
                return Err(ModelError::unsupported(keys.path, rope.name("rope_type"), format!("{kind:?}"), "supported there: default"));
            }
            match rope.positive("rope_theta")? {
                Some(theta) => theta,
                None => keys.positive("rope_local_base_freq")?.unwrap_or(WINDOW_THETA),
            }
        }
    };
    Ok(Some(Rope { theta, rotary_size: head_size, scaling: RopeScaling::None }))
}

/// The object `key`, unless absent, `null` or empty.
fn object<'a>(keys: Keys<'a>, key: &str) -> Result<Option<&'a Map<String, Value>>, ModelError> {
    match keys.get(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object).filter(|object| !object.is_empty())),
        Some(other) => Err(keys.wrong(key, "an object", other)),
    }
}

fn scaling(keys: Keys<'_>, rope: Keys<'_>, family: &Family, max_positions: usize) -> Result<RopeScaling, ModelError> {
    let key = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
    let kind = match rope.text(key)?.unwrap_or("default") {
        // Early Phi-3 files call it so.
        "su" | "yarn" if family.phi_rope => "longrope",
        other => other,
    };
    match (kind, family.phi_rope) {
        ("default", _) => Ok(RopeScaling::None),
        ("linear", false) => Ok(RopeScaling::Linear { factor: rope.required_positive("factor")? }),
        ("llama3", false) => llama3(keys, rope, max_positions),
        ("longrope", _) => long_rope(keys, rope, family, max_positions),
        (other, phi) => {
            let known = if phi { "default, longrope" } else { "default, linear, llama3, longrope" };
            Err(ModelError::unsupported(keys.path, rope.name(key), format!("{other:?}"), format!("for {}: {known}", family.name)))
        }
    }
}

fn llama3(keys: Keys<'_>, rope: Keys<'_>, max_positions: usize) -> Result<RopeScaling, ModelError> {
    let factor = rope.required_positive("factor")?;
    let low_freq_factor = rope.required_positive("low_freq_factor")?;
    let high_freq_factor = rope.required_positive("high_freq_factor")?;
    if high_freq_factor <= low_freq_factor {
        let expected = format!("a number above low_freq_factor ({low_freq_factor})");
        return Err(ModelError::bad_value(keys.path, rope.name("high_freq_factor"), expected, high_freq_factor));
    }
    let original_max_positions = original_positions(keys, rope, max_positions)?;
    Ok(RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions })
}

/// Positions the model was first trained for: a key beside the rope's object goes before one in it.
fn original_positions(keys: Keys<'_>, rope: Keys<'_>, default: usize) -> Result<usize, ModelError> {
    const KEY: &str = "original_max_position_embeddings";
    match keys.size(KEY)? {
        Some(positions) => Ok(positions),
        None => Ok(rope.size(KEY)?.unwrap_or(default)),
    }
}

/// LongRoPE (Ding et al. 2024). The scale of cos and sin is `attention_factor`, or follows from how far the context was stretched.
fn long_rope(keys: Keys<'_>, rope: Keys<'_>, family: &Family, max_positions: usize) -> Result<RopeScaling, ModelError> {
    let original_max_positions = match family.phi_rope {
        // Phi-3's class has the key with a default of its own, which hides the rope object's.
        true => keys.size("original_max_position_embeddings")?.unwrap_or(PHI3_ORIGINAL_POSITIONS),
        false => original_positions(keys, rope, max_positions)?,
    };
    let attention_factor = match rope.positive("attention_factor")? {
        Some(factor) => factor,
        None => {
            let stretched = match rope.positive("factor")? {
                Some(factor) => factor,
                None => max_positions as f64 / original_max_positions as f64,
            };
            long_rope_scale(stretched, original_max_positions)
        }
    };
    let (short, long) = (divisors(rope, "short_factor")?, divisors(rope, "long_factor")?);
    Ok(RopeScaling::LongRope { short, long, original_max_positions, attention_factor })
}

/// `sqrt(1 + ln(stretched) / ln(original))`, 1 for a context that was not stretched.
pub(crate) fn long_rope_scale(stretched: f64, original_max_positions: usize) -> f64 {
    if stretched <= 1.0 || original_max_positions < 2 { 1.0 } else { (1.0 + stretched.ln() / (original_max_positions as f64).ln()).sqrt() }
}

fn divisors(rope: Keys<'_>, key: &str) -> Result<Vec<f32>, ModelError> {
    let value = rope.get(key).ok_or_else(|| rope.missing(key))?;
    let list = value.as_array().and_then(|list| list.iter().map(|n| n.as_f64().map(|n| n as f32)).collect::<Option<Vec<_>>>());
    list.ok_or_else(|| rope.wrong(key, "a list of numbers", value))
}
