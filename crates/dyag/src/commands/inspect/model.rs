//! What a model's files hold.

use dyag_model::config::DecoderConfig;
use serde_json::{Value, json};

use super::facts;
use crate::model_files::ModelFiles;

pub(super) fn describe(name: &str, json: bool) -> anyhow::Result<()> {
    facts::print(facts(&ModelFiles::open(name)?), json)
}

/// What there is to say about a model, in the order in which it is said.
fn facts(files: &ModelFiles) -> Vec<(&'static str, Value)> {
    let DecoderConfig {
        family,
        hidden_size,
        intermediate_size,
        n_layers,
        n_heads,
        n_kv_heads,
        head_size,
        vocab_size,
        max_positions,
        rms_norm_eps: _,
        rope,
        window_rope,
        windows,
        fused,
        qkv_bias,
        o_bias,
        head_norms,
        output_norms,
        attention_scale: _,
        embedding_scale: _,
        activation,
        tied_head,
        bos_token_id: _,
        eos_token_ids: _,
    } = files.config();
    let source = &files.model().source;
    let formats: Vec<String> = source.formats.iter().map(|(name, count)| format!("{name} ({count})")).collect();
    let word = |id: &u32| format!("{} ({id})", files.tokenizer().token(*id).unwrap_or_default());
    let stops: Vec<String> = files.stop_ids().iter().map(word).collect();
    let base = files.base_model();
    vec![
        ("path", json!(base.path)),
        ("name", json!(source.name)),
        ("family", json!(family)),
        ("parameters", json!(source.n_parameters)),
        ("bytes", json!(source.n_bytes)),
        ("matrix_formats", json!(formats)),
        ("layers", json!(n_layers)),
        ("hidden_size", json!(hidden_size)),
        ("feed_forward_size", json!(intermediate_size)),
        ("heads", json!(n_heads)),
        ("kv_heads", json!(n_kv_heads)),
        ("head_size", json!(head_size)),
        ("embedding_rows", json!(vocab_size)),
        ("tokenizer_ids", json!(files.tokenizer().id_limit())),
        ("positions", json!(max_positions)),
        ("sliding_window", json!(windows.iter().flatten().min())),
        ("rope", json!(rope_text(rope))),
        ("rope_of_windows", json!(window_rope.as_ref().map(rope_text))),
        ("activation", json!(format!("{activation:?}").to_lowercase())),
        ("fused_projections", json!(fused)),
        ("qkv_bias", json!(qkv_bias)),
        ("o_bias", json!(o_bias)),
        ("head_norms", json!(head_norms)),
        ("output_norms", json!(output_norms)),
        ("tied_head", json!(tied_head)),
        ("end_of_turn", json!(stops)),
        ("template", json!(files.chat().template().origin())),
        ("template_hash", json!(base.template_hash)),
        ("vocabulary_hash", json!(base.vocabulary_hash)),
        ("fingerprint", json!(base.fingerprint)),
    ]
}

fn rope_text(rope: &dyag_model::config::Rope) -> String {
    format!("theta {}, {} channels, scaling {}", rope.theta, rope.rotary_size, scaling_name(&rope.scaling))
}

fn scaling_name(scaling: &dyag_model::config::RopeScaling) -> &'static str {
    use dyag_model::config::RopeScaling;
    match scaling {
        RopeScaling::None => "none",
        RopeScaling::Linear { .. } => "linear",
        RopeScaling::Llama3 { .. } => "llama3",
        RopeScaling::Divisors(_) => "divisors from the file",
        RopeScaling::LongRope { .. } => "longrope",
    }
}
