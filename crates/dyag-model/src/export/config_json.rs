//! config.json and generation_config.json of a model whose files had none: of a GGUF file.

use serde_json::{Map, Value, json};

use super::ExportError;
use super::metadata::Llama3;
use crate::config::{DecoderConfig, Rope, RopeScaling, family_architecture};
use crate::weights::Dtype;

/// What config.json says of a model of that shape, in weights of type `dtype`.
///
/// # Errors
/// When a rope of worked-out divisors follows from none of the rules that config.json can name.
pub fn config_json(config: &DecoderConfig, dtype: Dtype) -> Result<Value, ExportError> {
    // A Llama's file with a window is one of Mistral's.
    let windowed = config.windows.iter().any(Option::is_some);
    let family = if windowed && config.family == "llama" { "mistral" } else { config.family.as_str() };
    let architecture = family_architecture(family)
        .ok_or_else(|| ExportError::no_place(format!("a model of the family {family}"), "its class in Transformers is not known here"))?;
    let mut object = Map::new();
    let mut add = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    add("architectures", json!([architecture]));
    add("model_type", json!(family));
    add("vocab_size", json!(config.vocab_size));
    add("hidden_size", json!(config.hidden_size));
    add("intermediate_size", json!(config.intermediate_size));
    add("num_hidden_layers", json!(config.n_layers));
    add("num_attention_heads", json!(config.n_heads));
    add("num_key_value_heads", json!(config.n_kv_heads));
    // Classes without the key would not read it, and Phi-3's heads always share the width.
    if !matches!(family, "qwen2" | "phi3") {
        add("head_dim", json!(config.head_size));
    }
    add("max_position_embeddings", json!(config.max_positions));
    add("rms_norm_eps", short_number(config.rms_norm_eps));
    add(if family.starts_with("gemma") { "hidden_activation" } else { "hidden_act" }, json!(activation(config)));
    add("tie_word_embeddings", json!(config.tied_head));
    if config.o_bias {
        add("attention_bias", json!(true));
    }
    if family.starts_with("gemma") {
        // The number whose root scores are divided by: a whole one in every published file.
        let divisor = 1.0 / f64::from(config.attention_scale).powi(2);
        let whole = divisor.round();
        add("query_pre_attn_scalar", if (divisor - whole).abs() < 1e-4 * whole { json!(whole as u64) } else { json!(divisor) });
        add("rope_local_base_freq", config.window_rope.as_ref().map_or(Value::Null, |rope| json!(rope.theta)));
    }
    windows(config, &mut add);
    rope(config, &mut add)?;
    if let Some(id) = config.bos_token_id {
        add("bos_token_id", json!(id));
    }
    // The tokens that end a turn are generation_config.json's; Phi-3's class would put its own where there is none.
    add("eos_token_id", config.eos_token_ids.first().map_or(Value::Null, |id| json!(id)));
    if family == "phi3" {
        add("pad_token_id", config.eos_token_ids.first().map_or(Value::Null, |id| json!(id)));
    }
    add("torch_dtype", json!(torch_name(dtype)));
    add("use_cache", json!(true));
    Ok(Value::Object(object))
}

/// The tokens that begin a text and end a turn, for generation.
pub fn generation_config_json(config: &DecoderConfig) -> Value {
    json!({"bos_token_id": config.bos_token_id, "eos_token_id": config.eos_token_ids, "do_sample": false})
}

/// PyTorch's name of a type of weights.
pub(super) fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::Bf16 => "bfloat16",
        _ => "float32",
    }
}

/// A number of 32 bits with no more digits than tell it from its neighbours.
fn short_number(number: f32) -> Value {
    json!(number.to_string().parse::<f64>().unwrap_or(f64::from(number)))
}

fn activation(config: &DecoderConfig) -> &'static str {
    match config.activation {
        dyag_kernels::device::Activation::GeluTanh => "gelu_pytorch_tanh",
        _ => "silu",
    }
}

fn windows(config: &DecoderConfig, add: &mut impl FnMut(&str, Value)) {
    let window = config.windows.iter().copied().flatten().next();
    let kinds = config.windows.iter().map(|window| if window.is_some() { "sliding_attention" } else { "full_attention" });
    match config.family.as_str() {
        // Llama's class has no window.
        "llama" if window.is_none() => {}
        "qwen2" | "qwen3" => {
            add("use_sliding_window", json!(window.is_some()));
            add("sliding_window", json!(window));
            add("max_window_layers", json!(config.windows.iter().take_while(|window| window.is_none()).count()));
        }
        family if family.starts_with("gemma") => {
            add("sliding_window", json!(window));
            add("layer_types", kinds.collect());
        }
        _ => add("sliding_window", json!(window)),
    }
}

fn rope(config: &DecoderConfig, add: &mut impl FnMut(&str, Value)) -> Result<(), ExportError> {
    let Rope { theta, rotary_size, scaling } = &config.rope;
    add("rope_theta", json!(theta));
    if *rotary_size != config.head_size {
        add("partial_rotary_factor", json!(*rotary_size as f64 / config.head_size as f64));
    }
    let value = match scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
            llama3(*factor, *low_freq_factor, *high_freq_factor, *original_max_positions)
        }
        RopeScaling::Divisors(divisors) => {
            let (factor, original) = known_rule(divisors, *theta, *rotary_size).ok_or_else(|| {
                let why = "its rope_freqs.weight follows from Llama 3's rule with none of the parameters that are in use, and config.json has no place for a list";
                ExportError::no_place("the rotary embedding", why)
            })?;
            llama3(factor, LOW, HIGH, original)
        }
        RopeScaling::LongRope { short, long, original_max_positions, attention_factor } => {
            add("original_max_position_embeddings", json!(original_max_positions));
            let usual =
                crate::config::long_rope_scale(config.max_positions as f64 / *original_max_positions as f64, *original_max_positions);
            let digits = |list: &[f32]| list.iter().map(|n| short_number(*n)).collect::<Vec<_>>();
            let mut value = json!({"type": "longrope", "short_factor": digits(short), "long_factor": digits(long)});
            if (attention_factor - usual).abs() > 1e-6 * usual {
                value["attention_factor"] = json!(attention_factor);
            }
            value
        }
    };
    add("rope_scaling", value);
    Ok(())
}

/// What all published models of Llama 3.1 to 3.3 have in common.
const LOW: f64 = 1.0;
const HIGH: f64 = 4.0;

fn llama3(factor: f64, low: f64, high: f64, original: usize) -> Value {
    json!({
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original
    })
}

/// The factor and the original length, a power of two, with which Llama 3's rule gives these divisors, its other parameters as published.
fn known_rule(divisors: &[f32], theta: f64, rotary_size: usize) -> Option<(f64, usize)> {
    let factor = f64::from(divisors.iter().copied().fold(1.0, f32::max));
    let same = |(found, expected): (&f32, f32)| (found - expected).abs() <= 1e-4 * expected;
    let gives = |original: &usize| {
        let rule = Llama3 { factor, low: LOW, high: HIGH, original: *original as f64 };
        divisors.iter().zip(rule.divisors(theta, rotary_size)).all(same)
    };
    (5..=20).map(|power| 1usize << power).find(gives).map(|original| (factor, original))
}
