//! What a run will do, learn from and take, printed before its first step.

use std::path::Path;

use dyag_text::Audit;
use dyag_train::TrainConfig;
use dyag_train::config::{LoraSettings, Method};
use dyag_train::error::gigabytes;
use dyag_train::plan::{MemoryPlan, WorkPlan};

use super::batch::Batch;
use super::data::Data;
use crate::model_files::ModelFiles;
use crate::terminal::note;

/// What there is to say.
pub(super) struct Plan<'a> {
    pub(super) files: &'a ModelFiles,
    pub(super) data: &'a Data,
    pub(super) config: &'a TrainConfig,
    pub(super) n_parameters: usize,
    pub(super) memory: &'a MemoryPlan,
    pub(super) batch: &'a Batch,
    pub(super) work: &'a WorkPlan,
    pub(super) kernel: &'a str,
    pub(super) output: &'a Path,
    pub(super) verbose: bool,
}

/// Prints it on stderr.
pub(super) fn print(plan: &Plan<'_>) {
    let Plan { files, data, config, n_parameters, memory, batch, work, kernel, output, verbose } = plan;
    let line = |what: &str, text: String| note(format!("{what:<11} {text}"));
    line("base model", files.summary());
    match config.method {
        Method::Lora => line("adapter", describe_adapter(config, *n_parameters)),
        Method::Full => line("weights", format!("all are trained: {} numbers", thousands(*n_parameters as u64))),
    }
    line("data", describe_data(&data.audit));
    if let Some(audit) = &data.validation_audit {
        line("validation", describe_data(audit));
    }
    for sentence in &data.left_out {
        note(format!("note: {sentence}"));
    }
    for warning in data.audit.warnings() {
        note(format!("warning: {warning}"));
    }
    for warning in data.validation_audit.iter().flat_map(Audit::warnings) {
        note(format!("warning: validation: {warning}"));
    }
    line("work", describe_work(work, config));
    if config.neftune_alpha.is_some() && config.share_prefixes {
        note("note: beginnings that examples have in common are not shared: with noise on the embeddings each has its own");
    }
    if let Some(why) = &batch.why {
        line("batch", why.clone());
    }
    let MemoryPlan { max_pack_tokens, available_bytes, available_source, .. } = memory;
    let available = if *available_bytes == u64::MAX { String::new() } else { format!(" of {}", gigabytes(*available_bytes)) };
    line("memory", format!("{}{available} ({available_source}), {max_pack_tokens} tokens at a time", gigabytes(memory.total_bytes())));
    if *verbose {
        note(memory.breakdown());
    }
    line("kernels", (*kernel).to_owned());
    line("output", output.display().to_string());
}

fn describe_adapter(config: &TrainConfig, n_parameters: usize) -> String {
    let LoraSettings { rank, alpha, rslora, dora, rank_pattern, alpha_pattern, target_modules, target_text, initial_adapter } =
        &config.lora;
    let mut text = format!("rank {rank}, alpha {alpha}");
    let others = |what: &str, n: usize| if n > 0 { format!(", {n} other {what}{}", if n > 1 { "s" } else { "" }) } else { String::new() };
    text += &others("rank", rank_pattern.len());
    text += &others("alpha", alpha_pattern.len());
    for (is_so, what) in [(*rslora, ", rank-stabilised"), (*dora, ", with magnitudes (DoRA)")] {
        text += if is_so { what } else { "" };
    }
    let on = target_text.as_ref().map_or_else(|| target_modules.join(" "), |asked| format!("{asked} ({})", target_modules.join(" ")));
    text += &format!(", on {on}; {} trained numbers", thousands(n_parameters as u64));
    if initial_adapter.is_some() {
        text += ", from a trained adapter";
    }
    if let Some(ratio) = config.lora_plus_ratio {
        text += &format!("; B learns {ratio} times as fast (LoRA+)");
    }
    if let Some(alpha) = config.neftune_alpha {
        text += &format!("; noise on the embeddings, alpha {alpha} (NEFTune)");
    }
    text
}

fn describe_data(audit: &Audit) -> String {
    let Audit { n_examples, n_tokens, n_trained_tokens, trained_share, longest_tokens, .. } = audit;
    format!(
        "{n_examples} conversations, {} tokens, {} of them learned ({:.1} %), the longest {longest_tokens}",
        thousands(*n_tokens as u64),
        thousands(*n_trained_tokens as u64),
        100.0 * trained_share,
    )
}

fn describe_work(work: &WorkPlan, config: &TrainConfig) -> String {
    let WorkPlan { steps_per_epoch, total_steps, warmup_steps, n_tokens, n_trained_tokens: _, n_computed_tokens, flops_per_epoch } = *work;
    let shared = if n_computed_tokens < n_tokens { format!(" ({} computed)", thousands(n_computed_tokens)) } else { String::new() };
    format!(
        "{total_steps} steps of {} examples ({steps_per_epoch} an epoch), {warmup_steps} to warm up; an epoch is {} tokens{shared}, \
         {:.1} teraflop",
        config.examples_per_step(),
        thousands(n_tokens),
        flops_per_epoch / 1e12,
    )
}

/// `12,345,678`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 12_345_678].map(thousands), ["0", "999", "1,000", "12,345,678"]);
    }
}
