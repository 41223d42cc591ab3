//! `dyag inspect`: what a model's files hold, or what is learned from a line of a dataset, token by token.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use dyag_model::config::DecoderConfig;
use dyag_text::{Conversation, ConversationReader, Date, Example, ExampleOptions, LossTokens};
use serde_json::{Value, json};

use crate::model_files::ModelFiles;
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model to describe: a folder or a GGUF file
    #[arg(required_unless_present = "dataset", conflicts_with = "dataset")]
    model: Option<String>,

    /// Dataset of which a line is shown as the trainer would see it
    #[arg(long, value_name = "FILE", requires = "base_model")]
    dataset: Option<PathBuf>,

    /// Model whose tokenizer and chat template show that line: a folder or a GGUF file
    #[arg(long, value_name = "PATH", requires = "dataset")]
    base_model: Option<String>,

    /// Line of the dataset, counted from 1
    #[arg(long, value_name = "N", default_value_t = 1, requires = "dataset", value_parser = clap::value_parser!(u64).range(1..))]
    line: u64,

    /// Date that a template is told which reads the clock; without it the template takes its own
    #[arg(long, value_name = "YYYY-MM-DD", requires = "dataset")]
    date: Option<Date>,

    /// Which tokens are learned
    #[arg(long, value_enum, value_name = "TOKENS", default_value_t = LossChoice::Assistant, requires = "dataset")]
    loss: LossChoice,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Which tokens are learned, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LossChoice {
    /// What the assistant says, through its end-of-turn token
    Assistant,
    /// Every token
    All,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { model, dataset, base_model, line, date, loss, json } = args;
    match (model, dataset, base_model) {
        (Some(model), _, _) => describe_model(&ModelFiles::open(&model)?, json)?,
        (None, Some(dataset), Some(base_model)) => {
            let conversation = conversation_at(&dataset, line)?;
            let files = ModelFiles::open(&base_model)?;
            let loss = match loss {
                LossChoice::Assistant => LossTokens::Assistant,
                LossChoice::All => LossTokens::All,
            };
            let example = files.chat().example(&conversation, &ExampleOptions { loss, date, ..ExampleOptions::default() })?;
            show_example(&files, &example, json)?;
        }
        (None, _, _) => bail!("expected a MODEL to describe, or --dataset FILE with --base-model PATH"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The conversation on a line of a dataset. What follows that line is not read.
fn conversation_at(path: &Path, line: u64) -> anyhow::Result<Conversation> {
    let file = File::open(path).with_context(|| format!("cannot read the dataset {}", path.display()))?;
    let mut last = None;
    for conversation in ConversationReader::new(BufReader::new(file), &Arc::from(path)) {
        let conversation = conversation?;
        let at = conversation.source.line as u64;
        if at == line {
            return Ok(conversation);
        }
        last = Some(at);
    }
    match last {
        Some(last) => bail!("{}: expected --line with a line that holds a conversation, up to {last}, found {line}", path.display()),
        None => bail!("{}: the dataset is empty: expected at least one line {{\"messages\": [...]}}", path.display()),
    }
}

fn describe_model(files: &ModelFiles, json: bool) -> anyhow::Result<()> {
    let facts = facts(files);
    if json {
        let document: serde_json::Map<String, Value> = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        return terminal::print_json(&document);
    }
    for (key, value) in facts {
        let text = match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text,
            Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        terminal::print_line(format!("{:<20} {text}", key.replace('_', " ")))?;
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
        windows,
        fused,
        qkv_bias,
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
        ("rope", json!(format!("theta {}, {} channels, scaling {}", rope.theta, rope.rotary_size, scaling_name(&rope.scaling)))),
        ("activation", json!(format!("{activation:?}").to_lowercase())),
        ("fused_projections", json!(fused)),
        ("qkv_bias", json!(qkv_bias)),
        ("tied_head", json!(tied_head)),
        ("end_of_turn", json!(stops)),
        ("template", json!(files.chat().template().origin())),
        ("template_hash", json!(base.template_hash)),
        ("vocabulary_hash", json!(base.vocabulary_hash)),
        ("fingerprint", json!(base.fingerprint)),
    ]
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

/// Prints an example token by token: what each stands for, and whether it is learned.
fn show_example(files: &ModelFiles, example: &Example, json: bool) -> anyhow::Result<()> {
    let texts = token_texts(files, &example.ids);
    if json {
        let tokens: Vec<Value> = example
            .ids
            .iter()
            .zip(&texts)
            .zip(&example.loss_mask)
            .map(
                |((id, text), learned)| json!({ "id": id, "text": text, "control": files.tokenizer().is_control(*id), "learned": learned }),
            )
            .collect();
        return terminal::print_json(&json!({
            "dataset": example.source.path.display().to_string(),
            "line": example.source.line,
            "n_tokens": example.ids.len(),
            "n_learned": example.n_trained(),
            "tokens": tokens,
        }));
    }
    terminal::print_line(format!("{}: {} tokens, {} learned", example.source, example.ids.len(), example.n_trained()))?;
    terminal::print_line(format!("{:>6} {:>8}  learned  text", "place", "id"))?;
    for (place, ((id, text), learned)) in example.ids.iter().zip(&texts).zip(&example.loss_mask).enumerate() {
        let mark = if *learned { "yes" } else { "-" };
        terminal::print_line(format!("{place:>6} {id:>8}  {mark:<7}  {}", visible(text)))?;
    }
    Ok(())
}

/// A text in one line: control characters are written as escapes.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

/// What each token adds to the text; an ellipsis where a character is not whole yet. Control tokens have their words.
fn token_texts(files: &ModelFiles, ids: &[u32]) -> Vec<String> {
    let tokenizer = files.tokenizer();
    let mut stream = tokenizer.stream();
    ids.iter()
        .map(|id| {
            if tokenizer.is_control(*id) {
                return tokenizer.token(*id).unwrap_or_default();
            }
            let text = stream.push(*id);
            if text.is_empty() { "…".to_owned() } else { text }
        })
        .collect()
}
