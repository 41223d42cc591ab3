//! What a run came to, printed on stdout.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use dyag_train::error::gigabytes;
use dyag_train::manifest::Metrics;
use dyag_train::memory::peak_resident_bytes;
use dyag_train::{Outcome, Speed};
use serde_json::json;

use super::progress::duration;
use crate::terminal;

/// Exit status of a run that was interrupted: what a shell gives for Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// Prints the outcome and gives the exit status.
pub(super) fn print(outcome: &Outcome, output: &Path, json: bool) -> anyhow::Result<ExitCode> {
    match outcome {
        Outcome::Finished { folder, metrics, speed } => {
            if json {
                let folder = folder.display().to_string();
                let timing = json!({
                    "elapsed_s": speed.elapsed_s,
                    "tokens_per_s": speed.tokens_per_s(),
                    "computed_tokens_per_s": speed.computed_tokens_per_s(),
                    "peak_memory_bytes": peak_resident_bytes(),
                });
                terminal::print_json(&json!({ "status": "finished", "adapter": folder, "metrics": metrics, "timing": timing }))?;
            } else {
                print_metrics(folder, metrics, speed)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted { step, checkpoint } => {
            match checkpoint {
                Some(folder) => terminal::note(format!(
                    "interrupted after step {step}; saved in {}. Go on with the same arguments and --resume",
                    folder.display()
                )),
                None => terminal::note(format!(
                    "interrupted before the first step was done; nothing was saved. Start again with --resume, or remove {}",
                    output.display()
                )),
            }
            if json {
                let checkpoint = checkpoint.as_ref().map(|folder| folder.display().to_string());
                terminal::print_json(&json!({ "status": "interrupted", "step": step, "checkpoint": checkpoint }))?;
            }
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn print_metrics(folder: &Path, metrics: &Metrics, speed: &Speed) -> anyhow::Result<()> {
    let Metrics {
        steps,
        epochs,
        train_loss,
        train_token_accuracy,
        last_epoch_loss,
        last_epoch_token_accuracy,
        validation_loss,
        validation_token_accuracy,
        best_step,
        best_validation_loss,
        adapter_step,
        stopped_early,
    } = metrics;
    let line = |what: &str, text: String| terminal::print_line(format!("{what:<15} {text}"));
    line("adapter", folder.display().to_string())?;
    let early = if *stopped_early { ", stopped early" } else { "" };
    let elapsed = duration(Duration::from_secs_f64(speed.elapsed_s.clamp(0.0, 1e15)));
    line("steps", format!("{steps} ({epochs:.2} epochs{early}) in {elapsed}"))?;
    let mut rate = format!("{:.1} tokens/s", speed.tokens_per_s());
    if speed.n_computed_tokens < speed.n_sequence_tokens {
        rate.push_str(&format!(" of the data ({:.1} computed)", speed.computed_tokens_per_s()));
    }
    if let Some(bytes) = peak_resident_bytes() {
        rate.push_str(&format!(", {} at most", gigabytes(bytes)));
    }
    line("speed, memory", rate)?;
    line("train loss", format!("{train_loss:.4} over all steps, {last_epoch_loss:.4} in the last epoch"))?;
    line("token accuracy", format!("{train_token_accuracy:.4} over all steps, {last_epoch_token_accuracy:.4} in the last epoch"))?;
    if let (Some(loss), Some(accuracy)) = (validation_loss, validation_token_accuracy) {
        line("validation", format!("loss {loss:.4}, token accuracy {accuracy:.4} at the end"))?;
    }
    if let (Some(step), Some(loss)) = (best_step, best_validation_loss) {
        line("best", format!("loss {loss:.4} at step {step}"))?;
    }
    if adapter_step != steps {
        line("kept", format!("the adapter of step {adapter_step}"))?;
    }
    Ok(())
}
