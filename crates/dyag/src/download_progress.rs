//! How far a download is: a bar on a terminal, lines elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dyag_hub::Event;
use indicatif::{ProgressBar, ProgressStyle};

use crate::language::{counted, say};
use crate::terminal::{draws_bars, note};

/// Between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows what a download tells.
pub(crate) struct DownloadProgress {
    state: Mutex<State>,
}

struct State {
    bar: Option<ProgressBar>,
    done: u64,
    todo: u64,
    start: Instant,
    told: Instant,
}

impl DownloadProgress {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { state: Mutex::new(State { bar: None, done: 0, todo: 0, start: now, told: now }) }
    }

    /// Shows one event. May be called from several threads at a time.
    pub(crate) fn show(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Waiting { what } => state.note(format!("waiting for {what}")),
            Event::Start { name, commit, n_files, missing_bytes, present_bytes } => {
                let files = counted(n_files, ["file", "files"], ["fichier", "fichiers"]);
                let rest = if present_bytes > 0 {
                    say!(", {} are here already", ", {} sont déjà ici", size(present_bytes))
                } else {
                    String::new()
                };
                let (commit, missing) = (&commit[..commit.len().min(12)], size(missing_bytes));
                state.note(say!(
                    "fetching {name} (commit {commit}): {files}, {missing}{rest}",
                    "téléchargement de {name} (commit {commit}) : {files}, {missing}{rest}"
                ));
                (state.todo, state.start, state.told) = (missing_bytes, Instant::now(), Instant::now());
                state.bar = draws_bars().then(|| {
                    let style = ProgressStyle::with_template(&say!(
                        "{{bar:24}} {{decimal_bytes}}/{{decimal_total_bytes}} {{decimal_bytes_per_sec}}, {{eta}} left  {{wide_msg}}",
                        "{{bar:24}} {{decimal_bytes}}/{{decimal_total_bytes}} {{decimal_bytes_per_sec}}, encore {{eta}}  {{wide_msg}}"
                    ));
                    ProgressBar::new(missing_bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                });
            }
            Event::File { name, .. } => state.message(name),
            Event::Verifying { name } => state.message(say!("{name}: comparing with its hash", "{name} : comparaison avec son empreinte")),
            Event::Bytes(n) => {
                state.done += n;
                state.advance();
            }
            Event::Again(n) => {
                state.done = state.done.saturating_sub(n);
                state.todo = state.todo.max(state.done + n);
                state.note(say!(
                    "{} have to be fetched again: the server does not send parts of files",
                    "{} sont à télécharger de nouveau : le serveur n'envoie pas de parties de fichiers",
                    size(n)
                ));
                state.advance();
            }
            Event::Retry { problem, wait } => {
                state.note(say!("{problem}; again in {:.1} s", "{problem} ; nouvel essai dans {:.1} s", wait.as_secs_f64()));
            }
            Event::Note(text) => state.note(say!("note: {text}", "note : {text}")),
        }
    }

    /// There is nothing more to show.
    pub(crate) fn end(self) {
        if let Some(bar) = self.state.into_inner().unwrap_or_else(PoisonError::into_inner).bar {
            bar.finish_and_clear();
        }
    }
}

impl State {
    fn note(&self, text: String) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    fn message(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    fn advance(&mut self) {
        let Self { bar, done, todo, start, told } = self;
        match bar {
            Some(bar) => {
                bar.set_length(*todo);
                bar.set_position(*done);
            }
            None if told.elapsed() >= BETWEEN_LINES => {
                *told = Instant::now();
                let rate = *done as f64 / start.elapsed().as_secs_f64().max(1e-9);
                let left = todo.saturating_sub(*done) as f64 / rate.max(1.0);
                note(say!(
                    "{} of {}, {}/s, {left:.0} s left",
                    "{} sur {}, {}/s, encore {left:.0} s",
                    size(*done),
                    size(*todo),
                    size(rate as u64)
                ));
            }
            None => {}
        }
    }
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => say!("{bytes} bytes", "{bytes} octets"),
        1000..1_000_000 => say!("{:.0} KB", "{:.0} Ko", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => say!("{:.1} MB", "{:.1} Mo", bytes as f64 / 1e6),
        _ => say!("{:.2} GB", "{:.2} Go", bytes as f64 / 1e9),
    }
}
