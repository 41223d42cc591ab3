//! The golden models as GGUF files, made the way llama.cpp's converter makes them.

use dyag_model::config::{DecoderConfig, RopeScaling};
use dyag_model::weights::SafetensorsFile;

use crate::{GgufBuilder, golden};

/// Parts of a layer in both naming schemes.
const PARTS: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The norms of Gemma's layers, two of which bear names that mean something else in other families.
const GEMMA_NORMS: [(&str, &str); 3] = [
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// The model of a golden case as a GGUF file in f32: Llama and Mistral with their q and k rows permuted, Llama 3's scaling worked out in `rope_freqs`.
///
/// # Panics
/// If the case is not there or cannot be read.
pub fn golden_gguf(case: &str) -> GgufBuilder {
    let folder = golden(case).join("model");
    let config = DecoderConfig::from_json_file(&folder.join("config.json"), None).expect("a golden configuration");
    let file = SafetensorsFile::open(&folder.join("model.safetensors")).expect("golden weights");
    let architecture = match config.family.as_str() {
        // Mistral's files say "llama".
        "mistral" => "llama",
        "gemma3_text" => "gemma3",
        family => family,
    };
    let mut builder = metadata(&config, architecture);
    for name in file.names() {
        let view = file.tensor(name).expect("a listed tensor");
        let mut values = view.to_f32().expect("f32 weights");
        let cols = if view.shape.len() > 1 { view.shape[1] } else { 1 };
        if architecture == "llama" && (name.contains("q_proj") || name.contains("k_proj")) {
            values = permute(&values, cols, config.head_size);
        }
        if architecture == "gemma3" && name.ends_with("norm.weight") {
            values.iter_mut().for_each(|gain| *gain += 1.0);
        }
        builder = builder.tensor_f32(&gguf_name(name, architecture), view.shape, &values);
    }
    if let Some(divisors) = rope_divisors(&config) {
        builder = builder.tensor_f32("rope_freqs.weight", &[divisors.len()], &divisors);
    }
    if let RopeScaling::LongRope { short, long, original_max_positions, attention_factor } = &config.rope.scaling {
        builder = builder
            .tensor_f32("rope_factors_long.weight", &[long.len()], long)
            .tensor_f32("rope_factors_short.weight", &[short.len()], short)
            .u32(&format!("{architecture}.rope.scaling.original_context_length"), *original_max_positions as u32)
            .f32(&format!("{architecture}.rope.scaling.attn_factor"), *attention_factor as f32);
    }
    if let RopeScaling::Linear { factor } = config.rope.scaling {
        builder = builder
            .text(&format!("{architecture}.rope.scaling.type"), "linear")
            .f32(&format!("{architecture}.rope.scaling.factor"), factor as f32);
    }
    builder
}

fn metadata(config: &DecoderConfig, architecture: &str) -> GgufBuilder {
    let key = |name: &str| format!("{architecture}.{name}");
    let tokens: Vec<_> = (0..config.vocab_size).map(|id| format!("token{id}")).collect();
    let mut builder = GgufBuilder::default()
        .text("general.architecture", architecture)
        .text("general.name", "Golden")
        .u32(&key("block_count"), config.n_layers as u32)
        .u32(&key("context_length"), config.max_positions as u32)
        .u32(&key("embedding_length"), config.hidden_size as u32)
        .u32(&key("feed_forward_length"), config.intermediate_size as u32)
        .u32(&key("attention.head_count"), config.n_heads as u32)
        .u32(&key("attention.head_count_kv"), config.n_kv_heads as u32)
        .u32(&key("rope.dimension_count"), config.rope.rotary_size as u32)
        .f32(&key("rope.freq_base"), config.rope.theta as f32)
        .f32(&key("attention.layer_norm_rms_epsilon"), config.rms_norm_eps)
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "qwen2")
        .texts("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &vec![1; tokens.len()])
        .texts("tokenizer.ggml.merges", &["a b", "c d"]);
    if config.head_size * config.n_heads != config.hidden_size {
        builder =
            builder.u32(&key("attention.key_length"), config.head_size as u32).u32(&key("attention.value_length"), config.head_size as u32);
    }
    if let Some(rope) = &config.window_rope {
        let has_window: Vec<bool> = config.windows.iter().map(Option::is_some).collect();
        builder = builder
            .f32(&key("rope.freq_base_swa"), rope.theta as f32)
            .f32(&key("attention.scale"), config.attention_scale)
            .bools(&key("attention.sliding_window_pattern"), &has_window);
    }
    if let Some(window) = config.windows[0] {
        builder = builder.u32(&key("attention.sliding_window"), window as u32);
    }
    if let Some(id) = config.bos_token_id {
        builder = builder.u32("tokenizer.ggml.bos_token_id", id);
    }
    if let Some(id) = config.eos_token_ids.first().filter(|id| (**id as usize) < config.vocab_size) {
        builder = builder.u32("tokenizer.ggml.eos_token_id", *id);
    }
    builder
}

/// `model.layers.3.mlp.up_proj.weight` as `blk.3.ffn_up.weight`.
fn gguf_name(name: &str, architecture: &str) -> String {
    let (stem, kind) = name.rsplit_once('.').expect("a name that ends in .weight or .bias");
    match stem {
        "model.embed_tokens" => return format!("token_embd.{kind}"),
        "model.norm" => return format!("output_norm.{kind}"),
        "lm_head" => return format!("output.{kind}"),
        _ => {}
    }
    let (layer, part) = stem.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')).expect("a layer's tensor");
    let own = if architecture == "gemma3" { &GEMMA_NORMS[..] } else { &[] };
    let (_, gguf) = own.iter().chain(&PARTS).find(|(folder, _)| *folder == part).expect("a known part");
    format!("blk.{layer}.{gguf}.{kind}")
}

/// llama.cpp's permutation of the rows of q and k: `[2, D/2]` of each head becomes `[D/2, 2]`.
fn permute(values: &[f32], cols: usize, head_size: usize) -> Vec<f32> {
    let row = |r: usize| &values[r * cols..(r + 1) * cols];
    let mut out = Vec::with_capacity(values.len());
    for head in 0..values.len() / cols / head_size {
        for i in 0..head_size / 2 {
            for half in 0..2 {
                out.extend_from_slice(row(head * head_size + half * head_size / 2 + i));
            }
        }
    }
    out
}

/// Llama 3's scaling as divisors of the frequencies.
fn rope_divisors(config: &DecoderConfig) -> Option<Vec<f32>> {
    let RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } = config.rope.scaling else {
        return None;
    };
    let divisor = |i: usize| {
        let wavelength = std::f64::consts::TAU * config.rope.theta.powf(2.0 * i as f64 / config.rope.rotary_size as f64);
        let turns = original_max_positions as f64 / wavelength;
        if turns > high_freq_factor {
            1.0
        } else if turns < low_freq_factor {
            factor as f32
        } else {
            let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
            (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
        }
    };
    Some((0..config.rope.rotary_size / 2).map(divisor).collect())
}
