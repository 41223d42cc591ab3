//! How far long work is.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::language::say;
use crate::terminal::{draws_bars, note};

/// How far something is: a bar on a terminal, a line every ten seconds elsewhere.
pub(crate) struct Progress {
    what: String,
    bar: Option<ProgressBar>,
    todo: usize,
    start: Instant,
    state: std::cell::Cell<(usize, usize, Instant)>,
}

impl Progress {
    /// Of so many things.
    pub(crate) fn new(todo: usize, what: String) -> Self {
        let bar = draws_bars().then(|| {
            let bar = ProgressBar::new(todo as u64);
            let style = ProgressStyle::with_template(&say!(
                "{{bar:24}} {{pos}}/{{len}} {{prefix}}{{msg}}, {{eta}} left",
                "{{bar:24}} {{pos}}/{{len}} {{prefix}}{{msg}}, encore {{eta}}"
            ));
            bar.set_prefix(what.clone());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let now = Instant::now();
        Self { what, bar, todo, start: now, state: std::cell::Cell::new((0, 0, now)) }
    }

    /// A token was written.
    pub(crate) fn token(&self) {
        let (done, tokens, told) = self.state.get();
        self.state.set((done, tokens + 1, told));
        self.tell();
    }

    /// Says how far it is: on a terminal always, elsewhere from time to time.
    pub(crate) fn tell(&self) {
        let (done, tokens, told) = self.state.get();
        let elapsed = self.start.elapsed().as_secs_f64().max(1e-9);
        let rate = if tokens > 0 { say!(", {:.0} tokens/s", ", {:.0} jetons/s", tokens as f64 / elapsed) } else { String::new() };
        match &self.bar {
            Some(bar) => bar.set_message(rate),
            None if told.elapsed().as_secs() >= 10 => {
                let left = if done > 0 {
                    say!(", {:.0} s left", ", encore {:.0} s", elapsed / done as f64 * (self.todo - done) as f64)
                } else {
                    String::new()
                };
                note(say!("{done} of {} {}{rate}{left}", "{done} sur {} {}{rate}{left}", self.todo, self.what));
                self.state.set((done, tokens, Instant::now()));
            }
            None => {}
        }
    }

    /// So many more are done.
    pub(crate) fn done(&self, n: usize) {
        let (done, tokens, told) = self.state.get();
        self.state.set((done + n, tokens, told));
        if let Some(bar) = &self.bar {
            bar.inc(n as u64);
        }
    }

    /// All is done.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
