//! A decoder's shape from GGUF metadata.

use std::path::Path;

use dyag_kernels::device::Activation;
use dyag_kernels::{Format, quant};

use super::family::{self, Family};
use super::folder::{MAX_LAYERS, Names};
use super::{DecoderConfig, Rope, RopeScaling, rope};
use crate::error::ModelError;
use crate::weights::gguf::{GgufFile, GgufTensor, GgufTokenizer, Value};

/// Architectures by `general.architecture`, and the family each is. `llama` is also what Mistral's files say.
const ARCHITECTURES: [(&str, &str); 5] =
    [("gemma3", "gemma3_text"), ("llama", "llama"), ("phi3", "phi3"), ("qwen2", "qwen2"), ("qwen3", "qwen3")];

/// Every so many-th layer of a Gemma 3 sees everything; its files do not say so.
const GEMMA_PATTERN: usize = 6;

/// The base of the rope in its other layers, which older files do not say either.
const GEMMA_WINDOW_THETA: f64 = 10_000.0;

/// Keys whose presence (with another value than the one here) changes the numbers in a way that is not implemented.
const REFUSED: [(&str, f64); 10] = [
    ("expert_count", 0.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("final_logit_softcapping", 0.0),
    ("logit_scale", 0.0),
    ("residual_scale", 0.0),
    ("embedding_scale", 0.0),
    ("use_parallel_residual", 0.0),
    ("attention.causal", 1.0),
];

const NAMES: Names = Names {
    n_kv_heads: "attention.head_count_kv",
    rotary_size: "rope.dimension_count",
    theta: "rope.freq_base",
    rms_norm_eps: "attention.layer_norm_rms_epsilon",
    divisors: "rope factors' tensor",
};

/// Largest size (of anything) that is believed.
const MAX_SIZE: i128 = i32::MAX as i128;

impl DecoderConfig {
    /// Reads the shape from a GGUF file's metadata and the shapes of its tensors; `tokenizer` names the tokens that begin and end a sequence.
    ///
    /// # Errors
    /// When a key is missing or out of range, or the model is of a kind that is not supported.
    pub fn from_gguf(file: &GgufFile, tokenizer: &GgufTokenizer) -> Result<Self, ModelError> {
        let architecture = match file.value("general.architecture") {
            Some(Value::String(name)) => name.as_str(),
            Some(other) => return Err(ModelError::bad_value(file.path(), "general.architecture", "a string", other)),
            None => return Err(missing(file.path(), "general.architecture")),
        };
        let named = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
        let family = named.and_then(|(_, family)| family::family(family)).ok_or_else(|| ModelError::UnsupportedArchitecture {
            path: file.path().to_owned(),
            key: "general.architecture".to_owned(),
            found: format!("{architecture:?}"),
            known: ARCHITECTURES.map(|(name, _)| name).join(", "),
        })?;
        if let Some(parts @ Value::Integer(2..)) = file.value("split.count") {
            let why = "merge the parts into one file first (llama-gguf-split --merge)";
            return Err(ModelError::unsupported(file.path(), "split.count", parts, why));
        }
        let keys = Keys { file, architecture, family };
        keys.refuse_what_is_not_done()?;
        let hidden_size = keys.required_size("embedding_length")?;
        let n_heads = keys.required_size("attention.head_count")?;
        let n_layers = keys.required_size("block_count")?;
        let max_positions = keys.required_size("context_length")?;
        let head_size = keys.head_size(hidden_size, n_heads)?;
        if n_layers > MAX_LAYERS {
            return Err(ModelError::bad_value(file.path(), keys.name("block_count"), format!("at most {MAX_LAYERS}"), n_layers));
        }
        let embedding = file.tensor("token_embd.weight").ok_or_else(|| ModelError::MissingTensor {
            path: file.path().to_owned(),
            name: "token_embd.weight".to_owned(),
            family: architecture.to_owned(),
        })?;
        let config = Self {
            family: family.name.to_owned(),
            hidden_size,
            intermediate_size: keys.required_size("feed_forward_length")?,
            n_layers,
            n_heads,
            n_kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(n_heads),
            head_size,
            vocab_size: embedding.shape[0],
            max_positions,
            rms_norm_eps: keys.required_number("attention.layer_norm_rms_epsilon")? as f32,
            rope: keys.rope(head_size, max_positions)?,
            window_rope: keys.window_rope(head_size)?,
            windows: keys.windows(n_layers)?,
            fused: family.fused,
            qkv_bias: file.tensor("blk.0.attn_q.bias").is_some(),
            o_bias: file.tensor("blk.0.attn_output.bias").is_some(),
            head_norms: family.head_norms,
            output_norms: family.gemma,
            attention_scale: keys.attention_scale(head_size, n_layers, hidden_size, n_heads)?,
            embedding_scale: if family.gemma { (hidden_size as f32).sqrt() } else { 1.0 },
            activation: if family.gemma { Activation::GeluTanh } else { Activation::Silu },
            tied_head: file.tensor("output.weight").is_none(),
            bos_token_id: tokenizer.bos_token_id,
            eos_token_ids: tokenizer.end_token_ids(),
        };
        config.check(file.path(), &NAMES)?;
        if tokenizer.tokens.len() > config.vocab_size {
            let expected = format!("at most {} tokens, the rows of token_embd.weight", config.vocab_size);
            return Err(ModelError::bad_value(file.path(), "tokenizer.ggml.tokens", expected, tokenizer.tokens.len()));
        }
        Ok(config)
    }
}

fn missing(path: &Path, key: impl Into<String>) -> ModelError {
    ModelError::MissingKey { path: path.to_owned(), key: key.into() }
}

/// Metadata under the architecture's name.
struct Keys<'a> {
    file: &'a GgufFile,
    architecture: &'a str,
    family: &'static Family,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.file.value(&self.name(key))
    }

    fn wrong(&self, key: &str, expected: impl Into<String>, found: &Value) -> ModelError {
        ModelError::bad_value(self.file.path(), self.name(key), expected, found)
    }

    fn unsupported(&self, key: &str, found: &Value, why: impl Into<String>) -> ModelError {
        ModelError::unsupported(self.file.path(), self.name(key), found, why)
    }

    /// A number of things, at least one. A list of equal numbers, one a layer, counts as that number.
    fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = match value {
            Value::Integer(n) => *n,
            Value::Integers(list) => match list.split_first() {
                Some((first, rest)) if rest.iter().all(|n| n == first) => i128::from(*first),
                _ => return Err(self.unsupported(key, value, "layers of different sizes are not implemented")),
            },
            _ => 0,
        };
        if (1..=MAX_SIZE).contains(&number) {
            Ok(Some(number as usize))
        } else {
            Err(self.wrong(key, format!("an integer from 1 to {MAX_SIZE}"), value))
        }
    }

    fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?.ok_or_else(|| missing(self.file.path(), self.name(key)))
    }

    /// A finite number.
    fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(n)) if n.is_finite() => Ok(Some(*n)),
            Some(Value::Integer(n)) => Ok(Some(*n as f64)),
            Some(other) => Err(self.wrong(key, "a number", other)),
        }
    }

    fn required_number(&self, key: &str) -> Result<f64, ModelError> {
        self.number(key)?.ok_or_else(|| missing(self.file.path(), self.name(key)))
    }

    /// A finite number above zero.
    fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.number(key)? {
            Some(n) if n <= 0.0 => Err(ModelError::bad_value(self.file.path(), self.name(key), "a number above 0", n)),
            other => Ok(other),
        }
    }

    fn refuse_what_is_not_done(&self) -> Result<(), ModelError> {
        for (key, harmless) in REFUSED {
            let Some(value) = self.value(key) else { continue };
            let number = match value {
                Value::Integer(n) => *n as f64,
                Value::Float(n) => *n,
                Value::Bool(b) => f64::from(u8::from(*b)),
                _ => f64::NAN,
            };
            if number != harmless {
                return Err(self.unsupported(key, value, format!("only {harmless} is implemented")));
            }
        }
        Ok(())
    }

    /// D, of keys and values alike.
    fn head_size(&self, hidden_size: usize, n_heads: usize) -> Result<usize, ModelError> {
        let default = hidden_size.is_multiple_of(n_heads).then_some(hidden_size / n_heads);
        let key = self.size("attention.key_length")?.or(default).ok_or_else(|| {
            let expected = format!("a divisor of embedding_length ({hidden_size}), as there is no attention.key_length");
            ModelError::bad_value(self.file.path(), self.name("attention.head_count"), expected, n_heads)
        })?;
        match self.size("attention.value_length")?.or(default) {
            Some(value) if value != key => {
                let expected = format!("as many as attention.key_length ({key})");
                Err(ModelError::bad_value(self.file.path(), self.name("attention.value_length"), expected, value))
            }
            _ => Ok(key),
        }
    }

    /// The sliding window of each layer; 0 means none. Qwen's windows differ by layer, which these keys cannot say; Gemma 3's follow a pattern.
    fn windows(&self, n_layers: usize) -> Result<Vec<Option<usize>>, ModelError> {
        let key = "attention.sliding_window";
        let window = match self.value(key) {
            None | Some(Value::Integer(0)) => None,
            Some(value) if self.architecture.starts_with("qwen") => {
                return Err(self.unsupported(key, value, "which layers of a Qwen it concerns is not said"));
            }
            Some(_) => self.size(key)?,
        };
        if !self.family.gemma {
            return Ok(vec![window; n_layers]);
        }
        let pattern = match self.value("attention.sliding_window_pattern") {
            None => None,
            Some(Value::Bools(layers)) if layers.len() == n_layers => {
                return Ok(layers.iter().map(|has| window.filter(|_| *has)).collect());
            }
            Some(Value::Integer(_)) => self.size("attention.sliding_window_pattern")?,
            Some(other) => {
                let expected = format!("a number, or true or false for each of the {n_layers} layers");
                return Err(self.wrong("attention.sliding_window_pattern", expected, other));
            }
        };
        let pattern = pattern.unwrap_or(GEMMA_PATTERN);
        Ok((1..=n_layers).map(|layer| window.filter(|_| !layer.is_multiple_of(pattern))).collect())
    }

    /// What scores are multiplied with. The one Gemma 3 that does not divide by the root of the head's size is the largest, which llama.cpp knows by its layers.
    fn attention_scale(&self, head_size: usize, n_layers: usize, hidden_size: usize, n_heads: usize) -> Result<f32, ModelError> {
        // 0 stands for none.
        if self.number("attention.scale")?.is_some_and(|scale| scale != 0.0) {
            return Ok(self.positive("attention.scale")?.expect("it is there") as f32);
        }
        let divisor = if self.family.gemma && n_layers == 62 { hidden_size / n_heads } else { head_size };
        Ok((1.0 / (divisor as f64).sqrt()) as f32)
    }

    fn window_rope(&self, head_size: usize) -> Result<Option<Rope>, ModelError> {
        if !self.family.gemma {
            return Ok(None);
        }
        let theta = self.positive("rope.freq_base_swa")?.unwrap_or(GEMMA_WINDOW_THETA);
        Ok(Some(Rope { theta, rotary_size: head_size, scaling: RopeScaling::None }))
    }

    fn rope(&self, head_size: usize, max_positions: usize) -> Result<Rope, ModelError> {
        let theta = self.positive("rope.freq_base")?.unwrap_or(self.family.rope_theta);
        let rotary_size = self.size("rope.dimension_count")?.unwrap_or(head_size);
        if self.architecture != "phi3" && rotary_size != head_size {
            let expected = format!("{head_size}, whole heads");
            return Err(ModelError::bad_value(self.file.path(), self.name("rope.dimension_count"), expected, rotary_size));
        }
        Ok(Rope { theta, rotary_size, scaling: self.scaling(max_positions)? })
    }

    fn scaling(&self, max_positions: usize) -> Result<RopeScaling, ModelError> {
        let key = "rope.scaling.type";
        let kind = match self.value(key) {
            None => None,
            Some(Value::String(kind)) => Some(kind.as_str()),
            Some(other) => return Err(self.wrong(key, "a string", other)),
        };
        let freqs = self.vector("rope_freqs.weight")?;
        let long_short = (self.vector("rope_factors_long.weight")?, self.vector("rope_factors_short.weight")?);
        let factor = match self.positive("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.positive("rope.scale_linear")?,
        };
        match (kind, freqs, long_short) {
            (None | Some("none" | "longrope"), None, (Some(long), Some(short))) => self.long_rope(short, long, max_positions),
            (_, None, (Some(_), None) | (None, Some(_))) => Err(ModelError::MissingTensor {
                path: self.file.path().to_owned(),
                name: "rope_factors_long.weight and rope_factors_short.weight, both or none of them,".to_owned(),
                family: self.architecture.to_owned(),
            }),
            // Llama 3's rule comes worked out; converters leave its scaling type out or say "none".
            (None | Some("none"), Some(divisors), (None, None)) => Ok(RopeScaling::Divisors(divisors)),
            (None, None, (None, None)) => {
                Ok(factor.filter(|f| *f != 1.0).map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor }))
            }
            (Some("none"), None, (None, None)) => Ok(RopeScaling::None),
            (Some("linear"), None, (None, None)) => {
                let factor = factor.ok_or_else(|| missing(self.file.path(), self.name("rope.scaling.factor")))?;
                Ok(RopeScaling::Linear { factor })
            }
            (kind, freqs, _) => {
                let tensors = if freqs.is_some() { "with rope_freqs.weight" } else { "with its tensors" };
                let found = format!("{} {tensors}", kind.map_or_else(|| "absent".to_owned(), |kind| format!("{kind:?}")));
                let why = "supported: none, linear, rope_freqs.weight alone, rope_factors_long.weight and rope_factors_short.weight alone";
                Err(ModelError::unsupported(self.file.path(), self.name(key), found, why))
            }
        }
    }

    fn long_rope(&self, short: Vec<f32>, long: Vec<f32>, max_positions: usize) -> Result<RopeScaling, ModelError> {
        let original_max_positions = self.size("rope.scaling.original_context_length")?.unwrap_or(max_positions);
        let attention_factor = match self.positive("rope.scaling.attn_factor")? {
            Some(factor) => factor,
            None => rope::long_rope_scale(max_positions as f64 / original_max_positions as f64, original_max_positions),
        };
        Ok(RopeScaling::LongRope { short, long, original_max_positions, attention_factor })
    }

    /// A tensor of few f32 values.
    fn vector(&self, name: &str) -> Result<Option<Vec<f32>>, ModelError> {
        let Some(tensor) = self.file.tensor(name) else { return Ok(None) };
        let GgufTensor { format, shape, .. } = tensor;
        match (format, shape.as_slice()) {
            (Format::F32, [len]) => {
                let mut out = vec![0.0; *len];
                quant::widen(Format::F32, self.file.bytes(tensor).as_slice(), &mut out);
                Ok(Some(out))
            }
            _ => {
                let found = format!("{} of shape {shape:?}", format.name());
                Err(ModelError::malformed(self.file.path(), format!("the tensor `{name}`"), "a vector of F32", found))
            }
        }
    }
}
