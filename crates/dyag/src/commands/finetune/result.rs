//! What a run came to, printed on stdout.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use dyag_train::Outcome;
use dyag_train::manifest::Metrics;
use serde_json::json;

use super::progress::duration;
use crate::terminal;

/// Exit status of a run that was interrupted: what a shell gives for Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// Prints the outcome and gives the exit status.
pub(super) fn print(outcome: &Outcome, output: &Path, json: bool) -> anyhow::Result<ExitCode> {
    match outcome {
        Outcome::Finished { folder, metrics, elapsed_s } => {
            if json {
                let folder = folder.display().to_string();
                terminal::print_json(
                    &json!({ "status": "finished", "adapter": folder, "metrics": metrics, "timing": { "elapsed_s": elapsed_s } }),
                )?;
            } else {
                print_metrics(folder, metrics, *elapsed_s)?;
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

fn print_metrics(folder: &Path, metrics: &Metrics, elapsed_s: f64) -> anyhow::Result<()> {
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
    line("steps", format!("{steps} ({epochs:.2} epochs{early}) in {}", duration(Duration::from_secs_f64(elapsed_s.clamp(0.0, 1e15)))))?;
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
