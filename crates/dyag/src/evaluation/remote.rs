//! Asking a model behind a server all questions, several at a time, kept as they are answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::anyhow;
use dyag_eval::results::Row;
use dyag_text::language_model::{LanguageModel as _, ModelFailure, Reply, Request};
use dyag_text::{Message, Role};

use super::asking::{given, rows};
use super::journal::{Answered, Journal};
use super::task::Task;
use crate::language::say;
use crate::language_models::OpenModel;
use crate::loaded_model::SystemChoice;
use crate::progress::Progress;
use crate::terminal;

/// A model, and how it is asked.
pub(super) struct RemoteAsking<'a> {
    pub(super) model: &'a OpenModel,
    pub(super) system: &'a SystemChoice,
    pub(super) temperature: f32,
    pub(super) seed: u64,
    pub(super) max_tokens: usize,
    /// Requests that are open at the same time.
    pub(super) at_once: usize,
    pub(super) verbose: bool,
}

impl RemoteAsking<'_> {
    /// Rows of all questions, in their order. What the journal holds is not asked again. A question that the model refuses is an error of its row; a model that is not
    /// there ends the work.
    pub(super) fn all(&self, tasks: &[Task<'_>], mut journal: Journal) -> anyhow::Result<Vec<Row>> {
        journal.add(given(tasks, &journal))?;
        let open: Vec<usize> = (0..tasks.len()).filter(|index| !journal.has(*index)).collect();
        let progress = Progress::new(open.len(), say!("questions", "questions"));
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let mut outcome = Ok(());
        thread::scope(|scope| {
            let (send, receive) = mpsc::channel();
            for _ in 0..self.at_once.clamp(1, open.len().max(1)) {
                let (send, open, next, stop) = (send.clone(), &open, &next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed)
                        && let Some(index) = open.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                    {
                        let start = Instant::now();
                        let said = self.model.answer(&self.request(&tasks[index].turns));
                        if send.send((index, said, start.elapsed().as_secs_f64())).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            for (index, said, seconds) in receive {
                let kept = self.answered(index, said, seconds).and_then(|answered| journal.add(vec![answered]));
                // The first problem is the one that is told; answers that are under way are still kept.
                if let (Err(error), Ok(())) = (kept, &outcome) {
                    stop.store(true, Ordering::Relaxed);
                    outcome = Err(error);
                }
                progress.done(1);
                progress.tell();
            }
        });
        progress.end();
        outcome?;
        Ok(rows(tasks, journal))
    }

    fn request(&self, turns: &[Message]) -> Request {
        let own = turns.first().is_some_and(|turn| turn.role == Role::System);
        let replaces = !matches!(self.system, SystemChoice::AsTrained);
        let mut messages = Vec::with_capacity(turns.len() + 1);
        if let SystemChoice::Text(text) = self.system {
            messages.push(Message::new(Role::System, text.as_str()));
        }
        messages.extend_from_slice(if own && replaces { &turns[1..] } else { turns });
        Request { messages, max_tokens: self.max_tokens, temperature: self.temperature, seed: self.seed, schema: None }
    }

    fn answered(&self, index: usize, said: Result<Reply, ModelFailure>, seconds: f64) -> anyhow::Result<Answered> {
        match said {
            Ok(Reply { text, n_prompt_tokens, n_answer_tokens, cut }) => {
                if self.verbose {
                    terminal::note(format!("{}: {text}", index + 1));
                }
                Ok(Answered {
                    index,
                    answer: Some(text),
                    error: None,
                    stopped: if cut { "max tokens" } else { "end of turn" }.to_owned(),
                    tokens_in: n_prompt_tokens.map(|n| n as u64),
                    tokens_out: n_answer_tokens.map(|n| n as u64),
                    seconds,
                    first_token_seconds: None,
                    latency_seconds: Some(seconds),
                    choice: None,
                })
            }
            Err(failure) if failure.fatal => Err(anyhow!("{failure}")),
            Err(failure) => Ok(Answered::failure(index, failure.to_string())),
        }
    }
}
