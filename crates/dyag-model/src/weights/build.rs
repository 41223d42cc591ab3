//! A decoder's weights put together from a table of tensors: which tensor is which, in both naming schemes.

use dyag_kernels::WeightMatrix;

use super::table::TensorTable;
use super::{DecoderWeights, GateUpWeights, LayerWeights, QkvWeights};
use crate::config::DecoderConfig;
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
    feed_forward_norm: &'static str,
    gate: &'static str,
    up: &'static str,
    gate_up: &'static str,
    down: &'static str,
    /// Rows of q and k are interleaved within each head in Llama's files.
    llama_interleaves: bool,
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
    feed_forward_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    gate_up: "mlp.gate_up_proj",
    down: "mlp.down_proj",
    llama_interleaves: false,
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
    feed_forward_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    gate_up: "ffn_up",
    down: "ffn_down",
    llama_interleaves: true,
    // The configuration has read these.
    harmless: |name| matches!(name, "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight"),
};

impl DecoderWeights {
    /// Takes each tensor that `config` asks for, checks its shape, and refuses tensors that are left over.
    pub(super) fn build(config: &DecoderConfig, table: &mut TensorTable, naming: &Naming) -> Result<Self, ModelError> {
        let (c, v) = (config.hidden_size, config.vocab_size);
        let embedding = table.matrix(&weight(naming.embedding), v, c)?;
        let layers = (0..config.n_layers).map(|layer| build_layer(config, table, naming, layer)).collect::<Result<_, _>>()?;
        let final_norm = table.vector(&weight(naming.final_norm), c)?;
        let head = if config.tied_head { embedding.clone() } else { table.matrix(&weight(naming.head), v, c)? };
        table.refuse_unused(naming.harmless)?;
        Ok(Self { embedding, layers, final_norm, head })
    }
}

fn weight(name: &str) -> String {
    format!("{name}.weight")
}

fn build_layer(config: &DecoderConfig, table: &mut TensorTable, naming: &Naming, layer: usize) -> Result<LayerWeights, ModelError> {
    let (c, f) = (config.hidden_size, config.intermediate_size);
    let name = |part: &str| format!("{}.{layer}.{part}.weight", naming.layer);
    let gate_up = if config.fused {
        GateUpWeights::Fused(table.matrix(&name(naming.gate_up), 2 * f, c)?)
    } else {
        GateUpWeights::Separate { gate: table.matrix(&name(naming.gate), f, c)?, up: table.matrix(&name(naming.up), f, c)? }
    };
    Ok(LayerWeights {
        attention_norm: table.vector(&name(naming.attention_norm), c)?,
        qkv: build_qkv(config, table, naming, layer)?,
        o: table.matrix(&name(naming.o), c, config.n_heads * config.head_size)?,
        feed_forward_norm: table.vector(&name(naming.feed_forward_norm), c)?,
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
