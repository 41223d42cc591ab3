//! Asking a model what a task asks: likelihoods of continuations, or texts.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use dyag_eval::benchmark::{Item, Outcome, OutputType, Task, TextLikelihood};
use dyag_model::decoder::{Continuations, Generated, SamplingOptions, Watch};
use dyag_text::{ControlWords, Message, Role, SourceLine, StreamDecoder};

use crate::language::say;
use crate::loaded_model::LoadedModel;
use crate::progress::Progress;

/// The longest generated answer, where a task does not say.
const MAX_NEW_TOKENS: usize = 256;

/// A model, and how it is asked.
pub(super) struct Asking<'a> {
    pub(super) model: &'a LoadedModel,
    pub(super) as_chat: bool,
    pub(super) batch: usize,
}

impl Asking<'_> {
    /// What the model says of each item.
    pub(super) fn all(&self, task: &Task, items: &[Item]) -> anyhow::Result<Vec<Outcome>> {
        match task.file.output_type {
            OutputType::MultipleChoice | OutputType::Loglikelihood => self.likelihoods(items),
            OutputType::GenerateUntil => self.texts(task, items),
        }
    }

    fn likelihoods(&self, items: &[Item]) -> anyhow::Result<Vec<Outcome>> {
        let mut groups = Vec::new();
        // Of which item each group is. Where a continuation changes how the end of its context is cut, it has a group of its own.
        let mut of = Vec::new();
        for (place, item) in items.iter().enumerate() {
            for continuation in &item.continuations {
                let (context, ids) = self.pair(item, continuation).with_context(|| item.place.clone())?;
                match groups.last_mut() {
                    Some(Continuations { context: last, continuations }) if of.last() == Some(&place) && *last == context => {
                        continuations.push(ids)
                    }
                    _ => {
                        groups.push(Continuations { context, continuations: vec![ids] });
                        of.push(place);
                    }
                }
            }
        }
        let progress = Progress::new(groups.len(), say!("questions", "questions"));
        let mut done = 0;
        let found = self.model.log_likelihoods(&groups, &mut |n| {
            progress.done(n - done);
            progress.tell();
            done = n;
        })?;
        progress.end();
        let mut outcomes = vec![Vec::new(); items.len()];
        for (place, likelihoods) in of.into_iter().zip(found) {
            outcomes[place]
                .extend(likelihoods.into_iter().map(|one| TextLikelihood { log_likelihood: one.log_likelihood, is_greedy: one.is_greedy }));
        }
        Ok(outcomes.into_iter().map(Outcome::Likelihoods).collect())
    }

    /// Tokens of a context and of a continuation: those of both texts as one, cut where the context's own end. White space at the context's end
    /// belongs to the continuation, which tokenizers take with the word that follows.
    fn pair(&self, item: &Item, continuation: &str) -> anyhow::Result<(Vec<u32>, Vec<u32>)> {
        let limit = self.model.files().config().max_positions;
        if self.as_chat {
            let source = SourceLine::new(&Arc::from(Path::new(&item.place)), 0);
            let mut answered =
                self.model.answered(&[Message::new(Role::User, item.context.as_str())], continuation.trim_start(), &source)?;
            let ids = answered.continuations.pop().unwrap_or_default();
            return Ok((shortened(answered.context, ids.len(), limit), ids));
        }
        let context = item.context.trim_end();
        let whole = format!("{}{continuation}", item.context);
        let mut before = self.encode(context)?;
        let mut ids = self.encode(&whole)?;
        if before.is_empty() {
            before = self.opening()?;
        } else {
            let after = ids.split_off(before.len().min(ids.len()));
            before = std::mem::replace(&mut ids, after);
        }
        Ok((shortened(before, ids.len(), limit), ids))
    }

    fn encode(&self, text: &str) -> anyhow::Result<Vec<u32>> {
        Ok(self.model.files().tokenizer().encode(text, ControlWords::AsText)?.ids)
    }

    /// What stands before a text that nothing stands before.
    fn opening(&self) -> anyhow::Result<Vec<u32>> {
        let chat = self.model.files().chat();
        let id = chat.bos().or_else(|| chat.eos()).context("the context is empty, and the tokenizer has no token that opens a text")?;
        Ok(vec![id])
    }

    fn texts(&self, task: &Task, items: &[Item]) -> anyhow::Result<Vec<Outcome>> {
        let keywords = &task.file.generation_kwargs;
        let max_new_tokens = keywords.max_gen_toks.unwrap_or(MAX_NEW_TOKENS);
        let limit = self.model.files().config().max_positions;
        let prompt = |item: &Item| -> anyhow::Result<Vec<u32>> {
            let ids = if self.as_chat {
                self.model.prompt(&[Message::new(Role::User, item.context.as_str())])?
            } else {
                self.encode(&item.context)?
            };
            let ids = if ids.is_empty() { self.opening()? } else { ids };
            Ok(shortened(ids, max_new_tokens.min(limit / 2), limit))
        };
        let prompts: Vec<Vec<u32>> =
            items.iter().map(|item| prompt(item).with_context(|| item.place.clone())).collect::<anyhow::Result<_>>()?;
        let tokenizer = self.model.files().tokenizer();
        let mut reader = Reader {
            until: &keywords.until,
            streams: prompts.iter().map(|_| Some(tokenizer.stream())).collect(),
            texts: vec![String::new(); prompts.len()],
            progress: Progress::new(prompts.len(), say!("questions", "questions")),
        };
        self.model.generate_watched(&prompts, (Vec::new(), false), &SamplingOptions::GREEDY, max_new_tokens, self.batch, &mut reader)?;
        let Reader { texts, progress, .. } = reader;
        progress.end();
        Ok(texts.into_iter().map(|text| Outcome::Text(before_first(&text, &keywords.until).to_owned())).collect())
    }
}

/// The end of a context, as much as leaves room for what follows.
fn shortened(mut context: Vec<u32>, n_after: usize, limit: usize) -> Vec<u32> {
    let room = limit.saturating_sub(n_after).max(1);
    context.drain(..context.len().saturating_sub(room));
    context
}

/// Texts as they are written, each until something of `until` stands in it.
struct Reader<'a> {
    until: &'a [String],
    streams: Vec<Option<StreamDecoder<'a>>>,
    texts: Vec<String>,
    progress: Progress,
}

impl Watch for Reader<'_> {
    fn token(&mut self, prompt: usize, id: u32) -> ControlFlow<()> {
        self.progress.token();
        if let Some(stream) = &mut self.streams[prompt] {
            self.texts[prompt].push_str(&stream.push(id));
        }
        let is_over = before_first(&self.texts[prompt], self.until).len() < self.texts[prompt].len();
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finished(&mut self, prompt: usize, _: &Generated) {
        if let Some(stream) = self.streams[prompt].take() {
            self.texts[prompt].push_str(&stream.finish());
        }
        self.progress.done(1);
    }
}

/// What stands before the first of `until`.
fn before_first<'t>(text: &'t str, until: &[String]) -> &'t str {
    let end = until.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min();
    &text[..end.unwrap_or(text.len())]
}
