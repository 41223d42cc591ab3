//! What a run will do, learn from and take, printed before its first step.

use std::path::Path;

use dyag_text::Audit;
use dyag_train::TrainConfig;
use dyag_train::config::{LoraSettings, Method};
use dyag_train::error::gigabytes;
use dyag_train::plan::{MemoryPlan, WorkPlan};

use super::batch::Batch;
use super::data::Data;
use crate::language::{Language, say};
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
    let line = |what: String, text: String| note(format!("{what:<11} {text}"));
    line(say!("base model", "modèle"), files.summary());
    match config.method {
        Method::Lora => line(say!("adapter", "adaptateur"), describe_adapter(config, *n_parameters)),
        Method::Full => line(
            say!("weights", "poids"),
            say!("all are trained: {} numbers", "tous sont entraînés : {} nombres", thousands(*n_parameters as u64)),
        ),
    }
    line(say!("data", "données"), describe_data(&data.audit));
    if let Some(audit) = &data.validation_audit {
        line(say!("validation", "validation"), describe_data(audit));
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
    line(say!("work", "travail"), describe_work(work, config));
    if config.neftune_alpha.is_some() && config.share_prefixes {
        note(say!(
            "note: beginnings that examples have in common are not shared: with noise on the embeddings each has its own",
            "note : les débuts communs des exemples ne sont pas partagés : avec du bruit sur les plongements, chacun a le sien"
        ));
    }
    if let Some(why) = &batch.why {
        line(say!("batch", "lot"), why.clone());
    }
    let MemoryPlan { max_pack_tokens, available_bytes, available_source, .. } = memory;
    let available = if *available_bytes == u64::MAX { String::new() } else { say!(" of {}", " sur {}", gigabytes(*available_bytes)) };
    let total = gigabytes(memory.total_bytes());
    line(
        say!("memory", "mémoire"),
        say!(
            "{total}{available} ({available_source}), {max_pack_tokens} tokens at a time",
            "{total}{available} ({available_source}), {max_pack_tokens} jetons à la fois"
        ),
    );
    if *verbose {
        note(memory.breakdown());
    }
    line(say!("kernels", "noyaux"), (*kernel).to_owned());
    line(say!("output", "sortie"), output.display().to_string());
}

fn describe_adapter(config: &TrainConfig, n_parameters: usize) -> String {
    let LoraSettings { rank, alpha, rslora, dora, rank_pattern, alpha_pattern, target_modules, target_text, initial_adapter } =
        &config.lora;
    let mut text = say!("rank {rank}, alpha {alpha}", "rang {rank}, alpha {alpha}");
    let others = |what: &str, n: usize| if n > 0 { format!(", {n} other {what}{}", if n > 1 { "s" } else { "" }) } else { String::new() };
    text += &others("rank", rank_pattern.len());
    text += &others("alpha", alpha_pattern.len());
    for (is_so, what) in [(*rslora, ", rank-stabilised"), (*dora, ", with magnitudes (DoRA)")] {
        text += if is_so { what } else { "" };
    }
    let on = target_text.as_ref().map_or_else(|| target_modules.join(" "), |asked| format!("{asked} ({})", target_modules.join(" ")));
    let numbers = thousands(n_parameters as u64);
    text += &say!(", on {on}; {numbers} trained numbers", ", sur {on} ; {numbers} nombres entraînés");
    if initial_adapter.is_some() {
        text += &say!(", from a trained adapter", ", à partir d'un adaptateur entraîné");
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
    let (tokens, trained, share) = (thousands(*n_tokens as u64), thousands(*n_trained_tokens as u64), 100.0 * trained_share);
    say!(
        "{n_examples} conversations, {tokens} tokens, {trained} of them learned ({share:.1} %), the longest {longest_tokens}",
        "{n_examples} conversations, {tokens} jetons, dont {trained} appris ({share:.1} %), la plus longue {longest_tokens}"
    )
}

fn describe_work(work: &WorkPlan, config: &TrainConfig) -> String {
    let WorkPlan { steps_per_epoch, total_steps, warmup_steps, n_tokens, n_trained_tokens: _, n_computed_tokens, flops_per_epoch } = *work;
    let shared =
        if n_computed_tokens < n_tokens { say!(" ({} computed)", " ({} calculés)", thousands(n_computed_tokens)) } else { String::new() };
    let (examples, tokens, work) = (config.examples_per_step(), thousands(n_tokens), flops_per_epoch / 1e12);
    say!(
        "{total_steps} steps of {examples} examples ({steps_per_epoch} an epoch), {warmup_steps} to warm up; an epoch is {tokens} tokens{shared}, \
         {work:.1} teraflop",
        "{total_steps} pas de {examples} exemples ({steps_per_epoch} par époque), {warmup_steps} d'échauffement ; une époque fait {tokens} jetons{shared}, \
         {work:.1} téraflop"
    )
}

/// `12,345,678`; `12 345 678` in French, with spaces that do not break.
fn thousands(n: u64) -> String {
    let between = if Language::spoken() == Language::French { '\u{202f}' } else { ',' };
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(between);
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
