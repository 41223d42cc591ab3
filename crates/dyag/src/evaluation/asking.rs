//! Asking a model all questions: many at a time, kept as they are answered.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use dyag_eval::results::Row;
use dyag_model::decoder::{Generated, Likelihood, SamplingOptions, StopReason, Watch};
use dyag_text::dataset::Question;
use serde_json::{Map, Value};

use super::journal::{Answered, Journal};
use super::task::Task;
use crate::language::say;
use crate::loaded_model::LoadedModel;
use crate::progress::Progress;
use crate::retrieval::{AnsweredFrom, Choice, Written};
use crate::terminal;

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
    /// Rows of all questions, in their order. What the journal holds is not asked again; each answer is kept as soon as it is whole.
    pub(super) fn all(&self, tasks: &[Task<'_>], mut journal: Journal) -> anyhow::Result<Vec<Row>> {
        journal.add(given(tasks, &journal))?;
        let open: Vec<usize> = (0..tasks.len()).filter(|index| !journal.has(*index)).collect();
        let limit = self.model.files().config().max_positions;
        let mut asked = Vec::with_capacity(open.len());
        let mut prompts = Vec::with_capacity(open.len());
        // A prompt that cannot be made or does not fit is an error of its question alone.
        let mut failed = Vec::new();
        for index in open {
            match self.model.prompt(&tasks[index].turns) {
                Ok(prompt) if prompt.len() >= limit => {
                    failed.push(Answered::failure(
                        index,
                        format!("the prompt has {} tokens, the model takes {limit} with the answer", prompt.len()),
                    ));
                }
                Ok(prompt) => {
                    asked.push(Asked { index, from: AnsweredFrom::Passages });
                    prompts.push(prompt);
                    // A rival that cannot be asked leaves the field to the other.
                    if let Some(Ok(prompt)) = tasks[index].alone.as_ref().map(|turns| self.model.prompt(turns))
                        && prompt.len() < limit
                    {
                        asked.push(Asked { index, from: AnsweredFrom::Memory });
                        prompts.push(prompt);
                    }
                }
                Err(error) => failed.push(Answered::failure(index, format!("{error:#}"))),
            }
        }
        journal.add(failed)?;
        if !prompts.is_empty() {
            let sampling =
                SamplingOptions { temperature: self.temperature, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: self.seed };
            let mut keeper = Keeper {
                asking: self,
                tasks,
                asked: &asked,
                prompts: &prompts,
                waiting: BTreeMap::new(),
                journal: &mut journal,
                progress: Progress::new(
                    asked.iter().filter(|one| one.from == AnsweredFrom::Passages).count(),
                    say!("questions", "questions"),
                ),
                started: vec![None; prompts.len()],
                first_tokens: vec![None; prompts.len()],
                shares: vec![0.0; prompts.len()],
                last: Instant::now(),
                outcome: Ok(()),
            };
            let numbers = asked.iter().map(|one| one.index).collect();
            let scored = asked.iter().any(|one| one.from == AnsweredFrom::Memory);
            self.model.generate_watched(&prompts, (numbers, scored), &sampling, self.max_tokens, self.batch, &mut keeper)?;
            let Keeper { progress, outcome, .. } = keeper;
            progress.end();
            outcome?;
        }
        Ok(rows(tasks, journal))
    }
}

/// Rows of the questions that were answered, in their order.
pub(super) fn rows(tasks: &[Task<'_>], journal: Journal) -> Vec<Row> {
    let mut answers = journal.into_answers();
    tasks.iter().enumerate().filter_map(|(index, task)| Some(row(index, task, answers.remove(&index)?))).collect()
}

/// Rows of questions that no model was asked.
pub(super) fn unanswered(tasks: &[Task<'_>]) -> Vec<Row> {
    let row =
        |(index, task)| Row { time_seconds: None, ..row(index, task, Answered { error: None, ..Answered::failure(index, String::new()) }) };
    tasks.iter().enumerate().map(row).collect()
}

/// Answers that need no model, of those that the journal does not hold yet.
pub(super) fn given(tasks: &[Task<'_>], journal: &Journal) -> Vec<Answered> {
    let given = tasks.iter().enumerate().filter(|(index, _)| !journal.has(*index));
    given.filter_map(|(index, task)| Some(Answered::given(index, task.given.clone()?))).collect()
}

/// What a prompt asks: a question of the set, with passages if it has some, or the same from memory alone.
struct Asked {
    index: usize,
    from: AnsweredFrom,
}

/// Keeps answers as they come.
struct Keeper<'a> {
    asking: &'a Asking<'a>,
    tasks: &'a [Task<'a>],
    asked: &'a [Asked],
    prompts: &'a [Vec<u32>],
    /// The first of two answers to a question.
    waiting: BTreeMap<usize, (Answered, Likelihood)>,
    journal: &'a mut Journal,
    progress: Progress,
    /// When each prompt entered, and how long its first token took.
    started: Vec<Option<Instant>>,
    first_tokens: Vec<Option<f64>>,
    /// What each prompt took of the machine, in seconds.
    shares: Vec<f64>,
    /// When the pass before was over.
    last: Instant,
    outcome: anyhow::Result<()>,
}

impl Watch for Keeper<'_> {
    fn started(&mut self, prompt: usize) {
        self.started[prompt] = Some(Instant::now());
    }

    fn passed(&mut self, prompts: &[(usize, usize)]) {
        let now = Instant::now();
        let seconds = (now - self.last).as_secs_f64();
        self.last = now;
        let n_tokens: usize = prompts.iter().map(|(_, n)| n).sum();
        for (prompt, n) in prompts {
            self.shares[*prompt] += seconds * *n as f64 / n_tokens as f64;
        }
    }

    fn token(&mut self, prompt: usize, _: u32) -> ControlFlow<()> {
        self.progress.token();
        let since = self.started[prompt].map(|started| started.elapsed().as_secs_f64());
        self.first_tokens[prompt] = self.first_tokens[prompt].or(since);
        // Answers that cannot be kept need not be written.
        if self.outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn finished(&mut self, prompt: usize, generated: &Generated) {
        if self.outcome.is_err() {
            return;
        }
        let stopped = match generated.stop {
            StopReason::StopToken(_) => "end of turn",
            StopReason::Length => "max tokens",
            StopReason::Context => "model's context is full",
            StopReason::Cancelled => "cancelled",
        };
        let text = self.asking.model.answer_text(&generated.ids);
        let index = self.asked[prompt].index;
        if self.asking.verbose {
            terminal::note(format!("{}: {text}", index + 1));
        }
        // Answered together, each takes its part of every pass; how long somebody would have waited for it is its latency.
        let now = Instant::now();
        let latency_seconds = self.started[prompt].map(|started| (now - started).as_secs_f64());
        let answered = Answered {
            index,
            answer: Some(text),
            error: None,
            stopped: stopped.to_owned(),
            tokens_in: Some(self.prompts[prompt].len() as u64),
            tokens_out: Some(generated.ids.len() as u64),
            seconds: self.shares[prompt],
            // An empty answer's first token is the one that ends it.
            first_token_seconds: self.first_tokens[prompt].or(latency_seconds),
            latency_seconds,
            choice: None,
        };
        let has_rival = [prompt.wrapping_sub(1), prompt + 1].iter().any(|near| self.asked.get(*near).is_some_and(|one| one.index == index));
        let answered = match (generated.likelihood, has_rival) {
            (Some(likelihood), true) => match self.waiting.remove(&index) {
                None => {
                    self.waiting.insert(index, (answered, likelihood));
                    return;
                }
                Some(first) => {
                    let shown = self.tasks[index].shown();
                    match self.asked[prompt].from {
                        AnsweredFrom::Memory => surer(first, (answered, likelihood), &shown),
                        AnsweredFrom::Passages => surer((answered, likelihood), first, &shown),
                    }
                }
            },
            _ => answered,
        };
        self.outcome = self.journal.add(vec![answered]);
        self.progress.done(1);
    }
}

/// The surer answer, with what both took; it is there when both are.
fn surer(
    (from_passages, of_passages): (Answered, Likelihood),
    (from_memory, of_memory): (Answered, Likelihood),
    shown: &[&str],
) -> Answered {
    let text = |answered: &Answered| answered.answer.clone().unwrap_or_default();
    let (passages, memory) = (text(&from_passages), text(&from_memory));
    let choice =
        Choice::between(Written { text: &passages, likelihood: of_passages }, Written { text: &memory, likelihood: of_memory }, shown);
    let (given, other) = match choice.from {
        AnsweredFrom::Passages => (from_passages, from_memory),
        AnsweredFrom::Memory => (from_memory, from_passages),
    };
    let sum = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a + b);
    let latency_seconds = given.latency_seconds.zip(other.latency_seconds).map(|(a, b)| a.max(b));
    Answered {
        tokens_in: sum(given.tokens_in, other.tokens_in),
        tokens_out: sum(given.tokens_out, other.tokens_out),
        seconds: given.seconds + other.seconds,
        first_token_seconds: latency_seconds,
        latency_seconds,
        choice: Some(choice),
        ..given
    }
}

/// A row of the results.
fn row(index: usize, task: &Task<'_>, answered: Answered) -> Row {
    let Answered { index: _, answer, error, stopped, tokens_in, tokens_out, seconds, first_token_seconds, latency_seconds, choice } =
        answered;
    let Task { question: Question { turns, expected_answer, row, source: _ }, turns: _, alone: _, sources, given: _, other: more } = task;
    let text = |keys: &[&str]| {
        keys.iter().find_map(|key| match row.get(*key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        })
    };
    let mut other = Map::new();
    other.insert("stopped".to_owned(), stopped.into());
    for key in ["field", "kind", "taught"] {
        other.extend(text(&[key]).map(|value| (key.to_owned(), value.into())));
    }
    other.extend(choice.iter().flat_map(|choice| choice.to_json()).map(|(key, value)| (key.to_owned(), value)));
    other.extend(more.clone());
    Row {
        id: text(&["id"]).or_else(|| Some(format!("{}", index + 1))),
        question: turns.last().map(|turn| turn.content.clone()).unwrap_or_default(),
        expected_answer: expected_answer.clone(),
        generated_answer: answer,
        category: text(&["category", "field"]).map(Into::into),
        difficulty: text(&["difficulty"]).map(Into::into),
        document: text(&["document", "app_id", "app_name"]).map(Into::into),
        gold_chunk_ids: gold_chunk_ids(row).unwrap_or_default(),
        sources: sources.clone(),
        time_seconds: Some(seconds),
        first_token_seconds,
        latency_seconds,
        tokens_in,
        tokens_out,
        error,
        other,
        ..Row::default()
    }
}

/// The chunks that bear the answer, by a row's `gold_chunk_ids`, else its `source_chunk_ids`.
///
/// # Errors
/// A value that is no list of texts.
pub(crate) fn gold_chunk_ids(row: &Map<String, Value>) -> anyhow::Result<Vec<String>> {
    let Some((key, ids)) =
        ["gold_chunk_ids", "source_chunk_ids"].into_iter().find_map(|key| Some((key, row.get(key).filter(|ids| !ids.is_null())?)))
    else {
        return Ok(Vec::new());
    };
    let texts = |ids: &Vec<Value>| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    ids.as_array().and_then(texts).ok_or_else(|| anyhow::anyhow!("{key}: expected a list of ids of chunks, each a text, found {ids}"))
}
