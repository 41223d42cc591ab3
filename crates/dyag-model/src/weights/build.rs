//! A decoder's weights put together from a table of tensors: which tensor is which, in both naming schemes.

mod list;

use dyag_kernels::WeightMatrix;

pub(crate) use list::{Content, NamedTensor, Scheme};

use super::table::TensorTable;
use super::{DecoderWeights, GateUpWeights, LayerWeights, QkvWeights};
use crate::config::{DecoderConfig, family};
use crate::error::ModelError;

/// Names of a decoder's tensors. Those of a layer come after `layer` and its number, and before `.weight` or `.bias`.
pub(super) struct Naming {
    embedding: &'static str,
    final_norm: &'static str,
    head: &'static str,
    layer: &'static str,
    attention_norm: &'static str,
    q: &'static str,
    k: &'static str,
    v: &'static str,
    qkv: &'static str,
    o: &'static str,
    q_norm: &'static str,
    k_norm: &'static str,
    attention_output_norm: &'static str,
    feed_forward_norm: &'static str,
    /// The norm before the feed-forward block where [`Naming::attention_output_norm`] has its usual name.
    gemma_feed_forward_norm: &'static str,
    feed_forward_output_norm: &'static str,
    gate: &'static str,
    up: &'static str,
    gate_up: &'static str,
    down: &'static str,
    /// Rows of q and k are interleaved within each head in Llama's files.
    llama_interleaves: bool,
    /// Gains lie in Gemma's files as differences from 1.
    gemma_gains_from_one: bool,
    /// Tensors that a model may have and that say nothing new.
    harmless: fn(&str) -> bool,
}

/// Transformers' names.
pub(super) const FOLDER: Naming = Naming {
    embedding: "model.embed_tokens",
    final_norm: "model.norm",
    head: "lm_head",
    layer: "model.layers",
    attention_norm: "input_layernorm",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    qkv: "self_attn.qkv_proj",
    o: "self_attn.o_proj",
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    attention_output_norm: "post_attention_layernorm",
    feed_forward_norm: "post_attention_layernorm",
    gemma_feed_forward_norm: "pre_feedforward_layernorm",
    feed_forward_output_norm: "post_feedforward_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    gate_up: "mlp.gate_up_proj",
    down: "mlp.down_proj",
    llama_interleaves: false,
    gemma_gains_from_one: true,
    // Old Llama files keep the rope's frequencies; a tied head may be written out although Transformers does not read it.
    harmless: |name| name.ends_with(".rotary_emb.inv_freq") || name == "lm_head.weight",
};

/// llama.cpp's names. Its `ffn_up` holds gate and up where the family fuses them.
pub(super) const GGUF: Naming = Naming {
    embedding: "token_embd",
    final_norm: "output_norm",
    head: "output",
    layer: "blk",
    attention_norm: "attn_norm",
    q: "attn_q",
    k: "attn_k",
    v: "attn_v",
    qkv: "attn_qkv",
    o: "attn_output",
    q_norm: "attn_q_norm",
    k_norm: "attn_k_norm",
    attention_output_norm: "post_attention_norm",
    feed_forward_norm: "ffn_norm",
    gemma_feed_forward_norm: "ffn_norm",
    feed_forward_output_norm: "post_ffw_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    gate_up: "ffn_up",
    down: "ffn_down",
    llama_interleaves: true,
    gemma_gains_from_one: false,
    // The configuration has read these.
    harmless: |name| matches!(name, "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight"),
};

impl DecoderWeights {
    /// Takes each tensor that `config` asks for, checks its shape, and refuses tensors that are left over.
    pub(super) fn build(config: &DecoderConfig, table: &mut TensorTable, naming: &Naming) -> Result<Self, ModelError> {
        let (c, v) = (config.hidden_size, config.vocab_size);
        let embedding = table.matrix(&weight(naming.embedding), v, c)?;
        let layers = (0..config.n_layers).map(|layer| build_layer(config, table, naming, layer)).collect::<Result<_, _>>()?;
        let final_norm = gain(config, table, naming, &weight(naming.final_norm), c)?;
        let head = if config.tied_head { embedding.clone() } else { table.matrix(&weight(naming.head), v, c)? };
        table.refuse_unused(naming.harmless)?;
        Ok(Self { embedding, layers, final_norm, head })
    }
}

fn weight(name: &str) -> String {
    format!("{name}.weight")
}

/// A norm's gain, whatever it lies as.
fn gain(config: &DecoderConfig, table: &mut TensorTable, naming: &Naming, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
    let mut gain = table.vector(name, len)?;
    if naming.gemma_gains_from_one && family(&config.family).is_some_and(|family| family.gemma) {
        gain.iter_mut().for_each(|gain| *gain += 1.0);
    }
    Ok(gain)
}

fn build_layer(config: &DecoderConfig, table: &mut TensorTable, naming: &Naming, layer: usize) -> Result<LayerWeights, ModelError> {
    let (c, f) = (config.hidden_size, config.intermediate_size);
    let name = |part: &str| format!("{}.{layer}.{part}.weight", naming.layer);
    let gate_up = if config.fused {
        GateUpWeights::Fused(table.matrix(&name(naming.gate_up), 2 * f, c)?)
    } else {
        GateUpWeights::Separate { gate: table.matrix(&name(naming.gate), f, c)?, up: table.matrix(&name(naming.up), f, c)? }
    };
    let (qkv, d) = (build_qkv(config, table, naming, layer)?, config.head_size);
    let o_bias = if config.o_bias { table.vector(&format!("{}.{layer}.{}.bias", naming.layer, naming.o), c)? } else { Vec::new() };
    let mut gain = |part: &str, len| gain(config, table, naming, &name(part), len);
    let head_norms = config.head_norms.then(|| Ok::<_, ModelError>([gain(naming.q_norm, d)?, gain(naming.k_norm, d)?])).transpose()?;
    let output_norms = config
        .output_norms
        .then(|| Ok::<_, ModelError>([gain(naming.attention_output_norm, c)?, gain(naming.feed_forward_output_norm, c)?]))
        .transpose()?;
    let feed_forward_norm = if config.output_norms { naming.gemma_feed_forward_norm } else { naming.feed_forward_norm };
    Ok(LayerWeights {
        attention_norm: gain(naming.attention_norm, c)?,
        feed_forward_norm: gain(feed_forward_norm, c)?,
        qkv,
        head_norms,
        o: table.matrix(&name(naming.o), c, config.n_heads * config.head_size)?,
        o_bias,
        output_norms,
        gate_up,
        down: table.matrix(&name(naming.down), c, f)?,
    })
}

fn build_qkv(config: &DecoderConfig, table: &mut TensorTable, naming: &Naming, layer: usize) -> Result<QkvWeights, ModelError> {
    let (c, d) = (config.hidden_size, config.head_size);
    let (q_rows, kv_rows) = (config.n_heads * d, config.n_kv_heads * d);
    let name = |part: &str, kind: &str| format!("{}.{layer}.{part}.{kind}", naming.layer);
    if config.fused {
        return Ok(QkvWeights::Fused(table.matrix(&name(naming.qkv, "weight"), q_rows + 2 * kv_rows, c)?));
    }
    let interleaved = naming.llama_interleaves && config.family == "llama";
    let mut matrix = |part: &str, rows: usize, interleaved: bool| {
        let matrix = table.matrix(&name(part, "weight"), rows, c)?;
        Ok::<WeightMatrix, ModelError>(if interleaved { matrix.with_interleaved_heads(d).expect("heads of even size") } else { matrix })
    };
    let (q, k, v) = (matrix(naming.q, q_rows, interleaved)?, matrix(naming.k, kv_rows, interleaved)?, matrix(naming.v, kv_rows, false)?);
    let mut bias = |part: &str, rows: usize, interleaved: bool| {
        if !config.qkv_bias {
            return Ok(Vec::new());
        }
        let bias = table.vector(&name(part, "bias"), rows)?;
        Ok::<Vec<f32>, ModelError>(if interleaved { deinterleave(&bias, d) } else { bias })
    };
    let (q_bias, k_bias) = (bias(naming.q, q_rows, interleaved)?, bias(naming.k, kv_rows, interleaved)?);
    let v_bias = bias(naming.v, kv_rows, false)?;
    Ok(QkvWeights::Separate { q, k, v, q_bias, k_bias, v_bias })
}

/// The inverse of llama.cpp's permutation: within each head, the first half comes from the even places and the second from the odd.
fn deinterleave(values: &[f32], head_size: usize) -> Vec<f32> {
    let head = |head: &[f32]| {
        let (even, odd) = (head.iter().step_by(2), head.iter().skip(1).step_by(2));
        even.chain(odd).copied().collect::<Vec<_>>()
    };
    values.chunks(head_size).flat_map(head).collect()
}
