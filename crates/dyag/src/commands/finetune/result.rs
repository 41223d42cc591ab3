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
use crate::interruption::INTERRUPTED;
use crate::language::say;
use crate::terminal;

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
                Some(folder) => terminal::complain(say!(
                    "interrupted after step {step}; saved in {}. Go on with the same arguments and --resume",
                    "interrompu après le pas {step} ; enregistré dans {}. Reprendre avec les mêmes arguments et --resume",
                    folder.display()
                )),
                None => terminal::complain(say!(
                    "interrupted before the first step was done; nothing was saved. Start again with --resume, or remove {}",
                    "interrompu avant la fin du premier pas ; rien n'est enregistré. Recommencer avec --resume, ou supprimer {}",
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
    let line = |what: String, text: String| terminal::print_line(format!("{what:<15} {text}"));
    line(say!("adapter", "adaptateur"), folder.display().to_string())?;
    let early = if *stopped_early { say!(", stopped early", ", arrêt anticipé") } else { String::new() };
    let elapsed = duration(Duration::from_secs_f64(speed.elapsed_s.clamp(0.0, 1e15)));
    line(
        say!("steps", "pas"),
        say!("{steps} ({epochs:.2} epochs{early}) in {elapsed}", "{steps} ({epochs:.2} époques{early}) en {elapsed}"),
    )?;
    let mut rate = say!("{:.1} tokens/s", "{:.1} jetons/s", speed.tokens_per_s());
    if speed.n_computed_tokens < speed.n_sequence_tokens {
        rate.push_str(&say!(" of the data ({:.1} computed)", " des données ({:.1} calculés)", speed.computed_tokens_per_s()));
    }
    if let Some(bytes) = peak_resident_bytes() {
        rate.push_str(&say!(", {} at most", ", {} au plus", gigabytes(bytes)));
    }
    line(say!("speed, memory", "vitesse, mémoire"), rate)?;
    line(
        say!("train loss", "perte"),
        say!(
            "{train_loss:.4} over all steps, {last_epoch_loss:.4} in the last epoch",
            "{train_loss:.4} sur tous les pas, {last_epoch_loss:.4} dans la dernière époque"
        ),
    )?;
    line(
        say!("token accuracy", "jetons justes"),
        say!(
            "{train_token_accuracy:.4} over all steps, {last_epoch_token_accuracy:.4} in the last epoch",
            "{train_token_accuracy:.4} sur tous les pas, {last_epoch_token_accuracy:.4} dans la dernière époque"
        ),
    )?;
    if let (Some(loss), Some(accuracy)) = (validation_loss, validation_token_accuracy) {
        line(
            say!("validation", "validation"),
            say!("loss {loss:.4}, token accuracy {accuracy:.4} at the end", "perte {loss:.4}, jetons justes {accuracy:.4} à la fin"),
        )?;
    }
    if let (Some(step), Some(loss)) = (best_step, best_validation_loss) {
        line(say!("best", "meilleur"), say!("loss {loss:.4} at step {step}", "perte {loss:.4} au pas {step}"))?;
    }
    if adapter_step != steps {
        line(say!("kept", "gardé"), say!("the adapter of step {adapter_step}", "l'adaptateur du pas {adapter_step}"))?;
    }
    Ok(())
}
