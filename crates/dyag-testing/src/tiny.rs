//! Small random models made in memory.

use dyag_kernels::WeightMatrix;
use dyag_kernels::device::Activation;
use dyag_kernels::random::bits;
use dyag_model::config::{DecoderConfig, Rope, RopeScaling};
use dyag_model::weights::{DecoderWeights, GateUpWeights, LayerWeights, QkvWeights};

/// A decoder of two layers with random weights, the same for the same settings.
#[derive(Clone, Debug)]
pub struct TinyModel {
    /// Shape.
    pub config: DecoderConfig,
    /// Weights of that shape.
    pub weights: DecoderWeights,
}

impl TinyModel {
    /// Separate projections with biases, a tied head, full attention: Qwen2's kind.
    pub fn qwen2() -> Self {
        Self::of(DecoderConfig { qkv_bias: true, tied_head: true, ..shape("qwen2") })
    }

    /// Fused projections, a head of its own, a sliding window of six tokens: Phi-3's kind.
    pub fn phi3() -> Self {
        Self::of(DecoderConfig { fused: true, windows: vec![Some(6); 2], ..shape("phi3") })
    }

    /// Norms of heads, more channels in the heads than in the residual stream: Qwen3's kind.
    pub fn qwen3() -> Self {
        let attention_scale = 1.0 / 8f32.sqrt();
        let rope = Rope { theta: 1e6, rotary_size: 8, scaling: RopeScaling::None };
        Self::of(DecoderConfig { head_norms: true, head_size: 8, rope, attention_scale, ..shape("qwen3") })
    }

    /// Norms of heads and of outputs, two ropes, a window in one layer of two, scaled embeddings: Gemma 3's kind.
    pub fn gemma3() -> Self {
        let window_rope = Some(Rope { theta: 100.0, rotary_size: 6, scaling: RopeScaling::None });
        Self::of(DecoderConfig {
            head_norms: true,
            output_norms: true,
            window_rope,
            windows: vec![Some(5), None],
            attention_scale: 0.3,
            embedding_scale: 24f32.sqrt(),
            activation: Activation::GeluTanh,
            tied_head: true,
            ..shape("gemma3_text")
        })
    }

    /// Random weights for any shape.
    pub fn of(config: DecoderConfig) -> Self {
        let weights = Random { next: 0 }.weights(&config);
        Self { config, weights }
    }
}

fn shape(family: &str) -> DecoderConfig {
    DecoderConfig {
        family: family.to_owned(),
        hidden_size: 24,
        intermediate_size: 40,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_size: 6,
        vocab_size: 61,
        max_positions: 128,
        rms_norm_eps: 1e-6,
        rope: Rope { theta: 10_000.0, rotary_size: 6, scaling: RopeScaling::None },
        window_rope: None,
        windows: vec![None; 2],
        fused: false,
        qkv_bias: false,
        o_bias: false,
        head_norms: false,
        output_norms: false,
        attention_scale: 1.0 / 6f32.sqrt(),
        embedding_scale: 1.0,
        activation: Activation::Silu,
        tied_head: false,
        bos_token_id: None,
        eos_token_ids: vec![2],
    }
}

/// Numbers in order of use.
struct Random {
    next: u64,
}

impl Random {
    fn values(&mut self, len: usize, middle: f32, width: f32) -> Vec<f32> {
        self.next += 1;
        let unit = |i: usize| (bits(self.next, i as u64) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
        (0..len).map(|i| middle + width * unit(i)).collect()
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> WeightMatrix {
        let width = 1.5 / (cols as f32).sqrt();
        WeightMatrix::from_f32(&self.values(rows * cols, 0.0, width), rows, cols)
    }

    fn weights(&mut self, config: &DecoderConfig) -> DecoderWeights {
        let (v, c) = (config.vocab_size, config.hidden_size);
        let embedding = self.matrix(v, c);
        let layers = (0..config.n_layers).map(|_| self.layer(config)).collect();
        let head = if config.tied_head { embedding.clone() } else { self.matrix(v, c) };
        DecoderWeights { embedding, layers, final_norm: self.values(c, 1.0, 0.2), head }
    }

    fn layer(&mut self, config: &DecoderConfig) -> LayerWeights {
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) = (config.n_heads * config.head_size, config.n_kv_heads * config.head_size);
        let qkv = if config.fused {
            QkvWeights::Fused(self.matrix(queries + 2 * keys, c))
        } else {
            let [q_bias, k_bias, v_bias] = [queries, keys, keys].map(|n| self.values(if config.qkv_bias { n } else { 0 }, 0.0, 0.2));
            QkvWeights::Separate { q: self.matrix(queries, c), k: self.matrix(keys, c), v: self.matrix(keys, c), q_bias, k_bias, v_bias }
        };
        let gate_up = if config.fused {
            GateUpWeights::Fused(self.matrix(2 * f, c))
        } else {
            GateUpWeights::Separate { gate: self.matrix(f, c), up: self.matrix(f, c) }
        };
        let d = config.head_size;
        let head_norms = config.head_norms.then(|| [self.values(d, 1.0, 0.2), self.values(d, 1.0, 0.2)]);
        let output_norms = config.output_norms.then(|| [self.values(c, 1.0, 0.2), self.values(c, 1.0, 0.2)]);
        LayerWeights {
            attention_norm: self.values(c, 1.0, 0.2),
            qkv,
            head_norms,
            output_norms,
            o: self.matrix(c, queries),
            o_bias: self.values(if config.o_bias { c } else { 0 }, 0.0, 0.2),
            feed_forward_norm: self.values(c, 1.0, 0.2),
            gate_up,
            down: self.matrix(c, f),
        }
    }
}
