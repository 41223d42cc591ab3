//! The metadata of a GGUF file: one function for what all families share, and what each says differently.

use crate::config::{DecoderConfig, RopeScaling};
use crate::export::ExportError;
use crate::weights::gguf::{Field, GgufTokenizer};

/// Pairs of key and value.
pub(super) type Metadata = Vec<(String, Field)>;

/// Token types.
const NORMAL: i32 = 1;
const UNUSED: i32 = 5;

/// The score of a row of the embedding that no text reaches.
const UNUSED_SCORE: f32 = -1000.0;

/// llama.cpp's name of a family.
pub(super) fn architecture(config: &DecoderConfig) -> Result<&'static str, ExportError> {
    match config.family.as_str() {
        // Mistral's files say so: its layers are Llama's.
        "llama" | "mistral" => Ok("llama"),
        "phi3" => Ok("phi3"),
        "qwen2" => Ok("qwen2"),
        "qwen3" => Ok("qwen3"),
        "gemma3" | "gemma3_text" => Ok("gemma3"),
        other => Err(ExportError::no_place(format!("a model of the family {other}"), "GGUF's name of that architecture is not known here")),
    }
}

/// What kind of file this is.
pub(super) fn general(name: &str, config: &DecoderConfig, kind: &str) -> Result<Metadata, ExportError> {
    let text = |key: &str, value: &str| (format!("general.{key}"), Field::Text(value.to_owned()));
    Ok(vec![text("architecture", architecture(config)?), text("type", kind), text("name", name)])
}

/// The shape under the architecture's name.
pub(super) fn shape(config: &DecoderConfig) -> Result<Metadata, ExportError> {
    let architecture = architecture(config)?;
    let mut keys = Keys { architecture, metadata: Metadata::new() };
    keys.size("context_length", config.max_positions)?;
    keys.size("embedding_length", config.hidden_size)?;
    keys.size("block_count", config.n_layers)?;
    keys.size("feed_forward_length", config.intermediate_size)?;
    keys.size("attention.head_count", config.n_heads)?;
    keys.size("attention.head_count_kv", config.n_kv_heads)?;
    keys.add("attention.layer_norm_rms_epsilon", Field::F32(config.rms_norm_eps));
    keys.size("vocab_size", config.vocab_size)?;
    if config.head_size * config.n_heads != config.hidden_size || matches!(architecture, "qwen3" | "gemma3") {
        keys.size("attention.key_length", config.head_size)?;
        keys.size("attention.value_length", config.head_size)?;
    }
    windows(config, &mut keys)?;
    rope(config, &mut keys)?;
    scales(config, &mut keys)?;
    Ok(keys.metadata)
}

/// Keys under an architecture's name.
struct Keys {
    architecture: &'static str,
    metadata: Metadata,
}

impl Keys {
    fn add(&mut self, key: &str, field: Field) {
        self.metadata.push((format!("{}.{key}", self.architecture), field));
    }

    fn size(&mut self, key: &str, size: usize) -> Result<(), ExportError> {
        let size = u32::try_from(size).map_err(|_| ExportError::no_place(format!("{key} = {size}"), "GGUF's sizes have 32 bits"))?;
        self.add(key, Field::U32(size));
        Ok(())
    }
}

/// Every so many-th layer of a Gemma 3 sees everything: what readers suppose where no key says.
const GEMMA_PATTERN: usize = 6;

fn windows(config: &DecoderConfig, keys: &mut Keys) -> Result<(), ExportError> {
    let window = config.windows.iter().copied().flatten().next();
    let Some(size) = window else {
        // Phi-4, which has Phi-3's architecture, is told apart by the key's absence.
        return if keys.architecture == "phi3" {
            keys.add("attention.sliding_window", Field::U32(0));
            Ok(())
        } else {
            Ok(())
        };
    };
    let all = config.windows.iter().all(|other| *other == window);
    match keys.architecture {
        "llama" | "phi3" if all => keys.size("attention.sliding_window", size),
        "gemma3" => {
            let has: Vec<bool> = config.windows.iter().map(Option::is_some).collect();
            if has.iter().enumerate().any(|(layer, has)| *has == (layer + 1).is_multiple_of(GEMMA_PATTERN)) {
                keys.add("attention.sliding_window_pattern", Field::Bools(has));
            }
            keys.size("attention.sliding_window", size)
        }
        _ => {
            let what = format!("a sliding window of {size} tokens in some layers of a {}", config.family);
            Err(ExportError::no_place(what, "no GGUF key says which layers have it, and a reader would give all layers full attention"))
        }
    }
}

/// Layers of the one Gemma 3 whose scores readers divide by the root of another size, told by their number.
const GEMMA_27B_LAYERS: usize = 62;

/// What scores and embeddings are multiplied with, where readers suppose another number.
fn scales(config: &DecoderConfig, keys: &mut Keys) -> Result<(), ExportError> {
    let gemma = keys.architecture == "gemma3";
    let divisor = if gemma && config.n_layers == GEMMA_27B_LAYERS { config.hidden_size / config.n_heads } else { config.head_size };
    let supposed = (1.0 / (divisor as f64).sqrt()) as f32;
    if (config.attention_scale - supposed).abs() > 1e-6 * supposed {
        keys.add("attention.scale", Field::F32(config.attention_scale));
    }
    let supposed = if gemma { (config.hidden_size as f32).sqrt() } else { 1.0 };
    if (config.embedding_scale - supposed).abs() > 1e-6 * supposed {
        let what = format!("embeddings that are multiplied with {}", config.embedding_scale);
        return Err(ExportError::no_place(what, format!("readers of {} files multiply them with {supposed}", keys.architecture)));
    }
    Ok(())
}

fn rope(config: &DecoderConfig, keys: &mut Keys) -> Result<(), ExportError> {
    keys.size("rope.dimension_count", config.rope.rotary_size)?;
    keys.add("rope.freq_base", Field::F32(config.rope.theta as f32));
    if let Some(windowed) = &config.window_rope {
        keys.add("rope.freq_base_swa", Field::F32(windowed.theta as f32));
    }
    match &config.rope.scaling {
        // Llama 3's rule goes out worked out, as a tensor.
        RopeScaling::None | RopeScaling::Llama3 { .. } | RopeScaling::Divisors(_) => Ok(()),
        RopeScaling::Linear { factor } => {
            keys.add("rope.scaling.type", Field::Text("linear".to_owned()));
            keys.add("rope.scaling.factor", Field::F32(*factor as f32));
            Ok(())
        }
        RopeScaling::LongRope { original_max_positions, attention_factor, .. } => {
            keys.add("rope.scaling.type", Field::Text("longrope".to_owned()));
            keys.add("rope.scaling.attn_factor", Field::F32(*attention_factor as f32));
            keys.size("rope.scaling.original_context_length", *original_max_positions)
        }
    }
}

/// Tensors that say how rope's wavelengths are stretched, by name.
pub(super) fn rope_tensors(config: &DecoderConfig) -> Vec<(&'static str, Vec<f32>)> {
    match &config.rope.scaling {
        RopeScaling::None | RopeScaling::Linear { .. } => Vec::new(),
        RopeScaling::Divisors(divisors) => vec![("rope_freqs.weight", divisors.clone())],
        RopeScaling::LongRope { short, long, .. } => {
            vec![("rope_factors_long.weight", long.clone()), ("rope_factors_short.weight", short.clone())]
        }
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
            let rule = Llama3 { factor: *factor, low: *low_freq_factor, high: *high_freq_factor, original: *original_max_positions as f64 };
            vec![("rope_freqs.weight", rule.divisors(config.rope.theta, config.rope.rotary_size))]
        }
    }
}

/// Llama 3's rule by wavelength.
pub(super) struct Llama3 {
    pub(super) factor: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Positions the model was first trained for.
    pub(super) original: f64,
}

impl Llama3 {
    /// What each frequency is divided by: 1 for short wavelengths, `factor` for long ones, between them by a ramp in how often the wave fits the original
    /// context.
    pub(super) fn divisors(&self, theta: f64, rotary_size: usize) -> Vec<f32> {
        let divisor = |pair: usize| {
            let frequency = theta.powf(-(2.0 * pair as f64) / rotary_size as f64);
            let fits = self.original * frequency / std::f64::consts::TAU;
            let ramp = ((fits - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - ramp) / self.factor + ramp)) as f32
        };
        (0..rotary_size / 2).map(divisor).collect()
    }
}

/// The tokenizer, filled up to `n_rows` tokens: readers take the number of rows of the embedding from it.
pub(super) fn tokenizer(tokenizer: &GgufTokenizer, n_rows: usize) -> Metadata {
    let GgufTokenizer {
        model,
        pre,
        tokens,
        token_types,
        scores,
        merges,
        bos_token_id,
        eos_token_id,
        eot_token_id,
        eom_token_id,
        unk_token_id,
        pad_token_id,
        add_bos_token,
        add_eos_token,
        add_space_prefix,
        remove_extra_whitespaces,
        chat_template,
    } = tokenizer;
    let mut metadata = Metadata::new();
    let mut add = |key: &str, field: Option<Field>| {
        metadata.extend(field.map(|field| (format!("tokenizer.ggml.{key}"), field)));
    };
    let mut texts = tokens.clone();
    texts.extend((tokens.len()..n_rows).map(|id| format!("[PAD{id}]")));
    let mut types = if token_types.is_empty() { vec![NORMAL; tokens.len()] } else { token_types.clone() };
    types.resize(texts.len(), UNUSED);
    let mut all_scores = scores.clone();
    all_scores.resize(texts.len(), UNUSED_SCORE);
    add("model", Some(Field::Text(model.clone())));
    add("pre", pre.clone().map(Field::Text));
    add("tokens", Some(Field::Texts(texts)));
    add("token_type", Some(Field::I32s(types)));
    add("scores", (!scores.is_empty()).then_some(Field::F32s(all_scores)));
    add("merges", (!merges.is_empty()).then(|| Field::Texts(merges.clone())));
    let ids = [
        ("bos", bos_token_id),
        ("eos", eos_token_id),
        ("eot", eot_token_id),
        ("eom", eom_token_id),
        ("unknown", unk_token_id),
        ("padding", pad_token_id),
    ];
    for (name, id) in ids {
        add(&format!("{name}_token_id"), id.map(Field::U32));
    }
    let flags = [
        ("add_bos_token", add_bos_token),
        ("add_eos_token", add_eos_token),
        ("add_space_prefix", add_space_prefix),
        ("remove_extra_whitespaces", remove_extra_whitespaces),
    ];
    for (name, flag) in flags {
        add(name, flag.map(Field::Bool));
    }
    metadata.extend(chat_template.clone().map(|text| ("tokenizer.chat_template".to_owned(), Field::Text(text))));
    metadata
}
