//! Asking a model all questions: many at a time, kept as they are answered.

use std::ops::ControlFlow;
use std::time::Instant;

use dyag_eval::results::Row;
use dyag_model::decoder::{SamplingOptions, StopReason};
use dyag_text::dataset::Question;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use super::journal::{Answered, Journal};
use crate::loaded_model::LoadedModel;
use crate::terminal;

/// Questions that are asked in one go and kept together: what a kill can lose. Fixed, so that neither the batch nor an interruption changes what is sampled.
const GROUP: usize = 64;

/// A model, and how it is asked.
pub(super) struct Asking<'a> {
    pub(super) model: &'a LoadedModel,
    pub(super) temperature: f32,
    pub(super) seed: u64,
    pub(super) max_tokens: usize,
    pub(super) batch: usize,
    pub(super) verbose: bool,
}

impl Asking<'_> {
    /// Rows of all questions, in their order. What the journal holds is not asked again.
    pub(super) fn all(&self, questions: &[Question], mut journal: Journal) -> anyhow::Result<Vec<Row>> {
        let todo = (0..questions.len()).filter(|index| !journal.has(*index)).count();
        let progress = Progress::new(todo);
        for (number, group) in questions.chunks(GROUP).enumerate() {
            let first = number * GROUP;
            let open: Vec<usize> = (first..first + group.len()).filter(|index| !journal.has(*index)).collect();
            if !open.is_empty() {
                let answers = self.group(questions, &open, self.seed.wrapping_add(number as u64), &progress)?;
                if self.verbose {
                    answers.iter().for_each(|answer| {
                        terminal::note(format!("{}: {}", answer.index + 1, answer.answer.as_deref().unwrap_or("no answer")))
                    });
                }
                journal.add(answers)?;
            }
        }
        progress.end();
        let mut answers = journal.into_answers();
        Ok(questions.iter().enumerate().filter_map(|(index, question)| Some(row(index, question, answers.remove(&index)?))).collect())
    }

    /// Answers to some questions. A prompt that cannot be made or does not fit is an error of its question alone.
    fn group(&self, questions: &[Question], open: &[usize], seed: u64, progress: &Progress) -> anyhow::Result<Vec<Answered>> {
        let start = Instant::now();
        let limit = self.model.files().config().max_positions;
        let mut prompts: Vec<(usize, Vec<u32>)> = Vec::with_capacity(open.len());
        let mut answers = Vec::with_capacity(open.len());
        for index in open {
            let failed = |error: String| Answered {
                index: *index,
                answer: None,
                error: Some(error),
                stopped: "not asked".to_owned(),
                tokens_in: 0,
                tokens_out: 0,
                seconds: 0.0,
            };
            match self.model.prompt(&questions[*index].turns) {
                Ok(prompt) if prompt.len() >= limit => {
                    answers.push(failed(format!("the prompt has {} tokens, the model takes {limit} with the answer", prompt.len())))
                }
                Ok(prompt) => prompts.push((*index, prompt)),
                Err(error) => answers.push(failed(format!("{error:#}"))),
            }
        }
        let sampling = SamplingOptions { temperature: self.temperature, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed };
        let tokens: Vec<Vec<u32>> = prompts.iter().map(|(_, prompt)| prompt.clone()).collect();
        let generated = if tokens.is_empty() {
            Vec::new()
        } else {
            self.model.generate(&tokens, &sampling, self.max_tokens, self.batch, &mut |_, _| {
                progress.token();
                ControlFlow::Continue(())
            })?
        };
        // Answered together, each has its share of the time.
        let seconds = start.elapsed().as_secs_f64() / open.len() as f64;
        for ((index, prompt), generated) in prompts.iter().zip(&generated) {
            let stopped = match generated.stop {
                StopReason::StopToken(_) => "end of turn",
                StopReason::Length => "max tokens",
                StopReason::Context => "model's context is full",
                StopReason::Cancelled => "cancelled",
            };
            answers.push(Answered {
                index: *index,
                answer: Some(self.model.files().tokenizer().decode(&generated.ids)),
                error: None,
                stopped: stopped.to_owned(),
                tokens_in: prompt.len() as u64,
                tokens_out: generated.ids.len() as u64,
                seconds,
            });
        }
        answers.sort_by_key(|answer| answer.index);
        progress.done(open.len());
        Ok(answers)
    }
}

/// A row of the results.
fn row(index: usize, question: &Question, answered: Answered) -> Row {
    let Answered { index: _, answer, error, stopped, tokens_in, tokens_out, seconds } = answered;
    let Question { turns, expected_answer, row, source: _ } = question;
    let text = |keys: &[&str]| {
        keys.iter().find_map(|key| match row.get(*key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        })
    };
    let gold = |key: &str| {
        row.get(key).and_then(Value::as_array).map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    };
    let mut other = Map::new();
    other.insert("stopped".to_owned(), stopped.into());
    Row {
        id: text(&["id"]).or_else(|| Some(format!("{}", index + 1))),
        question: turns.last().map(|turn| turn.content.clone()).unwrap_or_default(),
        expected_answer: expected_answer.clone(),
        generated_answer: answer,
        category: text(&["category", "field"]).map(Into::into),
        difficulty: text(&["difficulty"]).map(Into::into),
        document: text(&["document", "app_id", "app_name"]).map(Into::into),
        gold_chunk_ids: gold("gold_chunk_ids").or_else(|| gold("source_chunk_ids")).unwrap_or_default(),
        time_seconds: Some(seconds),
        tokens_in: Some(tokens_in),
        tokens_out: Some(tokens_out),
        error,
        other,
        ..Row::default()
    }
}

/// A bar on a terminal, a line every ten seconds elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    todo: usize,
    start: Instant,
    state: std::cell::Cell<(usize, usize, Instant)>,
}

impl Progress {
    fn new(todo: usize) -> Self {
        let bar = terminal::stderr_is_terminal().then(|| {
            let bar = ProgressBar::new(todo as u64);
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} questions, {msg}, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let now = Instant::now();
        Self { bar, todo, start: now, state: std::cell::Cell::new((0, 0, now)) }
    }

    fn token(&self) {
        let (done, tokens, told) = self.state.get();
        let tokens = tokens + 1;
        let rate = tokens as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let mut told = told;
        match &self.bar {
            Some(bar) => bar.set_message(format!("{rate:.0} tokens/s")),
            None if told.elapsed().as_secs() >= 10 => {
                told = Instant::now();
                let left = if done > 0 {
                    format!(", {:.0} s left", self.start.elapsed().as_secs_f64() / done as f64 * (self.todo - done) as f64)
                } else {
                    String::new()
                };
                terminal::note(format!("{done} of {} questions, {rate:.0} tokens/s{left}", self.todo));
            }
            None => {}
        }
        self.state.set((done, tokens, told));
    }

    fn done(&self, n: usize) {
        let (done, tokens, told) = self.state.get();
        self.state.set((done + n, tokens, told));
        if let Some(bar) = &self.bar {
            bar.inc(n as u64);
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
