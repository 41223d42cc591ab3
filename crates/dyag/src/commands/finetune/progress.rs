//! How a run shows where it is: a bar on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use dyag_train::Event;
use dyag_train::error::gigabytes;
use dyag_train::log::StepRecord;
use dyag_train::memory::peak_resident_bytes;
use indicatif::{ProgressBar, ProgressStyle};

use crate::language::say;
use crate::terminal;

/// Without a bar a run prints about so many lines, the first and the last step among them.
const LINES: u64 = 100;

/// The display of one run.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    verbose: bool,
    start: Option<(Instant, u64)>,
}

impl Progress {
    /// A bar when stderr is a terminal.
    pub(super) fn new(verbose: bool) -> Self {
        let bar = terminal::draws_bars().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, verbose, start: None }
    }

    /// Shows an event.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Begin { step, total_steps, resumed_from } => {
                self.start = Some((Instant::now(), *step));
                if let Some(folder) = resumed_from {
                    self.say(say!(
                        "resuming from {}: step {step} of {total_steps}",
                        "reprise de {} : pas {step} sur {total_steps}",
                        folder.display()
                    ));
                }
                if let Some(bar) = &self.bar {
                    bar.set_length(*total_steps);
                    bar.set_position(*step);
                    bar.enable_steady_tick(Duration::from_millis(500));
                }
            }
            Event::Step { record, total_steps } => self.step(record, *total_steps),
            Event::Validating { .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(say!("measuring the validation set", "mesure du jeu de validation"));
                }
            }
            Event::Checkpoint { folder } => {
                if self.verbose {
                    self.say(format!("checkpoint {}", folder.display()));
                }
            }
            Event::Note(text) => self.say(format!("note: {text}")),
        }
    }

    /// Leaves the bar as it is.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    fn step(&self, record: &StepRecord, total_steps: u64) {
        let left = self.start.map(|(began, from)| {
            let done = (record.step - from).max(1);
            began.elapsed().mul_f64((total_steps - record.step) as f64 / done as f64)
        });
        let line = describe(record, left);
        if let Some(bar) = &self.bar {
            bar.set_position(record.step);
            bar.set_message(line.clone());
        }
        let every = total_steps.div_ceil(LINES);
        let notable = record.step.is_multiple_of(every) || record.step == 1 || record.step == total_steps;
        if self.verbose || (self.bar.is_none() && notable) || record.validation.is_some() {
            self.say(say!(
                "step {}/{total_steps}  epoch {:.2}  {line}",
                "pas {}/{total_steps}  époque {:.2}  {line}",
                record.step,
                record.epoch
            ));
        }
    }

    fn say(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.suspend(|| terminal::note(line)),
            None => terminal::note(line),
        }
    }
}

fn describe(record: &StepRecord, left: Option<Duration>) -> String {
    let StepRecord { loss, learning_rate, grad_norm, validation, timing, n_sequence_tokens, n_computed_tokens, .. } = record;
    let mut line = say!(
        "loss {loss:.4}  rate {learning_rate:.2e}  norm {grad_norm:.3}  {:.0} tokens/s",
        "perte {loss:.4}  taux {learning_rate:.2e}  norme {grad_norm:.3}  {:.0} jetons/s",
        timing.tokens_per_s
    );
    if n_computed_tokens < n_sequence_tokens {
        line.push_str(&say!(" ({:.0} computed)", " ({:.0} calculés)", timing.computed_tokens_per_s));
    }
    if let Some(bytes) = peak_resident_bytes() {
        line.push_str(&say!("  {} at most", "  {} au plus", gigabytes(bytes)));
    }
    if let Some(left) = left {
        line.push_str(&say!("  {} left", "  encore {}", duration(left)));
    }
    if let Some(validation) = validation {
        line.push_str(&say!(
            "  validation loss {:.4} accuracy {:.3}",
            "  validation : perte {:.4}, jetons justes {:.3}",
            validation.loss,
            validation.token_accuracy
        ));
    }
    line
}

/// `42 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_easily() {
        let texts = [0, 59, 60, 3599, 3600, 90_000].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(texts, ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "25 h 0 min"]);
    }
}
