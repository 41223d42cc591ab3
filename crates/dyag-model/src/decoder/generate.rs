//! Generation: one pass for the prompts, then one token a step for every running sequence; a finished one makes room for the next prompt.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use dyag_kernels::Device;

use super::Decoder;
use super::cache::{Cache, Entry};
use super::device_adapter::DeviceAdapter;
use super::likelihood::Likelihood;
use super::sampling::SamplingOptions;

/// One prompt is read ahead for so many sequences that are answered.
const PROMPTS_AHEAD: usize = 4;

/// No further prompt enters a pass that has so many tokens: what a pass needs in memory grows with them, its speed hardly any more.
const TOKENS_A_PASS: usize = 2048;

/// A common beginning of prompts is computed once from this length on.
const SHORTEST_SHARED_PREFIX: usize = 8;

/// Where generation ends.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateLimits {
    /// Tokens a sequence gets at most.
    pub max_new_tokens: usize,
    /// Tokens that end a sequence; they are not part of the result.
    pub stop_ids: Vec<u32>,
    /// Sequences that run at the same time.
    pub batch: usize,
    /// Numbers of the prompts, from which their sampling draws; their places when empty. So a prompt's tokens are the same whichever others are left out.
    pub numbers: Vec<usize>,
    /// Whether to say how likely the model found what it generated ([`Generated::likelihood`]).
    pub scored: bool,
}

/// Whoever follows a generation.
pub trait Watch {
    /// A prompt enters: its first token is the next that it is told of.
    fn started(&mut self, prompt: usize) {
        let _ = prompt;
    }

    /// A pass is over: the prompts that were in it, and how many tokens of each. Their new tokens are told next.
    fn passed(&mut self, prompts: &[(usize, usize)]) {
        let _ = prompts;
    }

    /// A new token of a prompt, by the prompt's place; breaking ends that sequence.
    fn token(&mut self, prompt: usize, id: u32) -> ControlFlow<()>;

    /// A prompt's sequence has ended.
    fn finished(&mut self, prompt: usize, generated: &Generated);
}

/// A watcher of tokens alone.
struct Tokens<'a>(&'a mut dyn FnMut(usize, u32) -> ControlFlow<()>);

impl Watch for Tokens<'_> {
    fn token(&mut self, prompt: usize, id: u32) -> ControlFlow<()> {
        (self.0)(prompt, id)
    }

    fn finished(&mut self, _: usize, _: &Generated) {}
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It came to this stop token.
    StopToken(u32),
    /// It reached `max_new_tokens`.
    Length,
    /// It filled the positions the model was made for.
    Context,
    /// The caller asked to stop.
    Cancelled,
}

/// One generated sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new tokens, without the prompt and without the stop token.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stop: StopReason,
    /// How likely the model found its tokens and the stop token, where [`GenerateLimits::scored`] asks for it: as it computes them, whatever the sampling made of that.
    pub likelihood: Option<Likelihood>,
}

/// Why generation cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// A prompt has no tokens.
    #[error("prompt {index} is empty; a prompt needs at least one token")]
    EmptyPrompt {
        /// Number of the prompt, from 0.
        index: usize,
    },
    /// A prompt leaves no room for an answer.
    #[error("prompt {index} has {n_tokens} tokens, but the model takes {max_positions} with the answer; shorten the prompt")]
    PromptTooLong {
        /// Number of the prompt, from 0.
        index: usize,
        /// Its length.
        n_tokens: usize,
        /// The model's limit.
        max_positions: usize,
    },
    /// A token is not in the vocabulary.
    #[error("prompt {index} holds token {id}, but the model's vocabulary has {vocab_size}; is this the model's own tokenizer?")]
    UnknownToken {
        /// Number of the prompt, from 0.
        index: usize,
        /// The token.
        id: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
}

/// A sequence that is being continued.
struct Running {
    /// Place of its prompt.
    sequence: usize,
    /// The number from which its sampling draws.
    number: usize,
    /// Prompt and new tokens.
    ids: Vec<u32>,
    n_prompt: usize,
    /// Its rows of the cache.
    rows: Range<usize>,
    /// How many tokens of `ids` are in the cache, shared ones included.
    n_cached: usize,
    likelihood: Likelihood,
}

impl<D: Device> Decoder<D> {
    /// Continues every prompt. `on_token` is told each new token with its prompt's number, as it comes, and may end that sequence.
    ///
    /// A sequence's tokens do not depend on the other prompts or on `limits.batch`.
    ///
    /// # Errors
    /// [`GenerateError`], before anything is computed.
    pub fn generate(
        &self,
        adapter: Option<&DeviceAdapter<D>>,
        prompts: &[Vec<u32>],
        sampling: &SamplingOptions,
        limits: &GenerateLimits,
        on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, GenerateError> {
        self.generate_watched(adapter, prompts, sampling, limits, &mut Tokens(on_token))
    }

    /// [`Decoder::generate`], with a watcher that is told of each sequence when it ends.
    ///
    /// # Errors
    /// [`GenerateError`], before anything is computed.
    pub fn generate_watched(
        &self,
        adapter: Option<&DeviceAdapter<D>>,
        prompts: &[Vec<u32>],
        sampling: &SamplingOptions,
        limits: &GenerateLimits,
        watch: &mut dyn Watch,
    ) -> Result<Vec<Generated>, GenerateError> {
        self.check_prompts(prompts)?;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let shortest = prompts.iter().map(Vec::len).min().unwrap_or(0);
        // Sequences that are turned by different lists of divisors share no keys.
        let is_one_rope = self.config.rope.short_up_to().is_none_or(|limit| shortest > limit || longest + limits.max_new_tokens <= limit);
        let n_shared = if is_one_rope { shared_prefix(prompts) } else { 0 };
        let batch = limits.batch.clamp(1, prompts.len().max(1));
        // Prompts that are read while others are answered, several in one pass: a pass of one prompt takes most of the time that one of several does.
        let ahead = (batch / PROMPTS_AHEAD).min(prompts.len() - batch.min(prompts.len()));
        let slots = batch + ahead;
        let slot_rows = (longest - n_shared + limits.max_new_tokens).min(self.config.max_positions);
        let mut cache = Cache::new(self, n_shared + slots * slot_rows);
        if n_shared > 0 {
            let entry = Entry { ids: prompts[0][..n_shared].to_vec(), position: 0, prefix: 0..0, rope_length: shortest, own: 0..n_shared };
            self.extend(adapter, &mut cache, &[entry], false);
        }
        let mut results: Vec<Option<Generated>> = prompts.iter().map(|_| None).collect();
        let mut free: Vec<Range<usize>> = (0..slots).rev().map(|i| n_shared + i * slot_rows..n_shared + (i + 1) * slot_rows).collect();
        let (mut next, mut running): (usize, Vec<Running>) = (0, Vec::new());
        let mut ready: VecDeque<Running> = VecDeque::new();
        let mut end = |sequence: &mut Running, stop: StopReason, free: &mut Vec<Range<usize>>, watch: &mut dyn Watch| {
            let ids = sequence.ids.split_off(sequence.n_prompt);
            let generated = Generated { ids, stop, likelihood: limits.scored.then_some(sequence.likelihood) };
            watch.finished(sequence.sequence, &generated);
            results[sequence.sequence] = Some(generated);
            free.push(sequence.rows.clone());
        };
        while next < prompts.len() || !running.is_empty() || !ready.is_empty() {
            running.extend(ready.drain(..ready.len().min(batch - running.len())));
            // New sequences enter with all their tokens through the kernels for many rows: as many as find room, once one is missing.
            if running.len() < batch && next < prompts.len() {
                let (mut new, mut n_tokens) = (Vec::new(), 0);
                while next < prompts.len()
                    && n_tokens < TOKENS_A_PASS
                    && let Some(rows) = free.pop()
                {
                    let ids = prompts[next].clone();
                    n_tokens += ids.len() - n_shared;
                    let number = limits.numbers.get(next).copied().unwrap_or(next);
                    watch.started(next);
                    let likelihood = Likelihood { log_likelihood: 0.0, n_tokens: 0, is_greedy: true };
                    new.push(Running { sequence: next, number, n_prompt: ids.len(), ids, rows, n_cached: n_shared, likelihood });
                    next += 1;
                }
                let passed: Vec<(usize, usize)> = new.iter().map(|one| (one.sequence, one.ids.len() - one.n_cached)).collect();
                self.advance(adapter, &mut cache, &mut new, (n_shared, false), sampling, limits.scored);
                watch.passed(&passed);
                for mut sequence in new {
                    match self.finished(&mut sequence, limits, watch) {
                        None => ready.push_back(sequence),
                        Some(stop) => end(&mut sequence, stop, &mut free, watch),
                    }
                }
                continue;
            }
            // Running ones go on with one token each through the kernels for few, those whose keys are turned by other divisors from now on with all.
            let turned = |one: &Running| self.turns_anew(one.n_cached, one.ids.len());
            running.sort_by_key(turned);
            let n_going_on = running.partition_point(|one| !turned(one));
            let (going_on, anew) = running.split_at_mut(n_going_on);
            anew.iter_mut().for_each(|one| one.n_cached = 0);
            let passed: Vec<(usize, usize)> =
                going_on.iter().chain(&*anew).map(|one| (one.sequence, one.ids.len() - one.n_cached)).collect();
            for (group, few) in [(going_on, true), (anew, false)] {
                if !group.is_empty() {
                    self.advance(adapter, &mut cache, group, (n_shared, few), sampling, limits.scored);
                }
            }
            watch.passed(&passed);
            running.retain_mut(|sequence| match self.finished(sequence, limits, watch) {
                None => true,
                Some(stop) => {
                    end(sequence, stop, &mut free, watch);
                    false
                }
            });
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Puts the tokens that are not cached yet through the model, and appends one to each sequence. `n_shared` rows of the cache belong to all; `few`: through the
    /// kernels for few rows.
    fn advance(
        &self,
        adapter: Option<&DeviceAdapter<D>>,
        cache: &mut Cache<D>,
        group: &mut [Running],
        (n_shared, few): (usize, bool),
        sampling: &SamplingOptions,
        scored: bool,
    ) {
        let entry = |sequence: &Running| Entry {
            ids: sequence.ids[sequence.n_cached..].to_vec(),
            position: sequence.n_cached,
            prefix: 0..n_shared,
            rope_length: sequence.ids.len(),
            own: sequence.rows.start..sequence.rows.start + sequence.ids.len() - n_shared,
        };
        let entries: Vec<Entry> = group.iter().map(entry).collect();
        let x = self.extend(adapter, cache, &entries, few);
        let last_rows: Vec<usize> = entries
            .iter()
            .scan(0, |end, entry| {
                *end += entry.ids.len();
                Some(*end - 1)
            })
            .collect();
        for (group, rows) in group.chunks_mut(self.rows_a_chunk()).zip(last_rows.chunks(self.rows_a_chunk())) {
            let logits = self.head_logits(&x, rows, true);
            let chosen: Vec<u32> = if sampling.takes_largest() {
                // Logits of many sequences are as many megabytes: they stay where they are.
                self.device.largest(&logits, self.config.vocab_size)
            } else {
                let mut logits = self.device.download(&logits);
                let choose = |(sequence, logits): (&Running, &mut [f32])| {
                    sampling.choose(logits, &sequence.ids, sequence.number, sequence.ids.len() - sequence.n_prompt)
                };
                group.iter().zip(logits.chunks_exact_mut(self.config.vocab_size)).map(choose).collect()
            };
            if scored {
                for (sequence, loss) in group.iter_mut().zip(self.losses_by_row(&logits, &chosen)) {
                    sequence.likelihood.add(&loss);
                }
            }
            for (sequence, id) in group.iter_mut().zip(chosen) {
                sequence.n_cached = sequence.ids.len();
                sequence.ids.push(id);
            }
        }
    }

    /// Whether the token just appended ends the sequence; otherwise the caller is told it.
    fn finished(&self, sequence: &mut Running, limits: &GenerateLimits, watch: &mut dyn Watch) -> Option<StopReason> {
        let n_new = sequence.ids.len() - sequence.n_prompt;
        let id = *sequence.ids.last().expect("a token was just appended");
        if n_new > limits.max_new_tokens {
            sequence.ids.pop();
            return Some(StopReason::Length);
        }
        if limits.stop_ids.contains(&id) {
            sequence.ids.pop();
            return Some(StopReason::StopToken(id));
        }
        if watch.token(sequence.sequence, id).is_break() {
            return Some(StopReason::Cancelled);
        }
        if n_new == limits.max_new_tokens {
            return Some(StopReason::Length);
        }
        (sequence.ids.len() >= self.config.max_positions).then_some(StopReason::Context)
    }

    pub(super) fn check_prompts(&self, prompts: &[Vec<u32>]) -> Result<(), GenerateError> {
        let (max_positions, vocab_size) = (self.config.max_positions, self.config.vocab_size);
        for (index, prompt) in prompts.iter().enumerate() {
            if prompt.is_empty() {
                return Err(GenerateError::EmptyPrompt { index });
            }
            if prompt.len() >= max_positions {
                return Err(GenerateError::PromptTooLong { index, n_tokens: prompt.len(), max_positions });
            }
            if let Some(id) = prompt.iter().find(|id| **id as usize >= vocab_size) {
                return Err(GenerateError::UnknownToken { index, id: *id, vocab_size });
            }
        }
        Ok(())
    }

    /// Whether a sequence of `length` tokens is turned by other divisors than its first `n_cached`: their keys have to be computed again, as Transformers does.
    pub(super) fn turns_anew(&self, n_cached: usize, length: usize) -> bool {
        self.config.rope.short_up_to().is_some_and(|limit| (1..=limit).contains(&n_cached) && length > limit)
    }
}

/// Length of the beginning that all prompts share, leaving each at least one token of its own; 0 when it is not worth a pass.
pub(super) fn shared_prefix<P: AsRef<[u32]>>(prompts: &[P]) -> usize {
    let [first, rest @ ..] = prompts else { return 0 };
    if rest.is_empty() {
        return 0;
    }
    let first = first.as_ref();
    let common = rest.iter().fold(first.len(), |n, prompt| first.iter().zip(prompt.as_ref()).take(n).take_while(|(a, b)| a == b).count());
    let longest_allowed = prompts.iter().map(|prompt| prompt.as_ref().len().saturating_sub(1)).min().unwrap_or(0);
    let n = common.min(longest_allowed);
    if n < SHORTEST_SHARED_PREFIX { 0 } else { n }
}
