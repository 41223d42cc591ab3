//! How likely given continuations are: for perplexity, and for tasks whose answers are chosen by likelihood.

use std::ops::Range;

use dyag_kernels::Device;
use dyag_kernels::device::LossSum;

use super::Decoder;
use super::cache::{Cache, Entry};
use super::device_adapter::DeviceAdapter;
use super::generate::{GenerateError, shared_prefix};

/// So many tokens enter a pass, unless one context with its continuations has more.
const TOKENS_A_PASS: usize = 1024;

/// A beginning, and what may follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Continuations {
    /// Tokens that are given; at least one.
    pub context: Vec<u32>,
    /// Each is scored by itself, right after the context.
    pub continuations: Vec<Vec<u32>>,
}

/// How likely a continuation is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// Sum of the log-probabilities of its tokens, in nats.
    pub log_likelihood: f64,
    /// Its tokens.
    pub n_tokens: usize,
    /// Whether each of its tokens was the likeliest one.
    pub is_greedy: bool,
}

impl Likelihood {
    /// Geometric mean of its tokens' probabilities, from 0 to 1; 1 without tokens.
    pub fn mean_probability(&self) -> f64 {
        if self.n_tokens == 0 { 1.0 } else { (self.log_likelihood / self.n_tokens as f64).exp() }
    }

    /// One more token, with its loss.
    pub(super) fn add(&mut self, loss: &LossSum) {
        self.log_likelihood -= loss.loss_sum_nats;
        self.is_greedy &= loss.n_correct > 0.0;
        self.n_tokens += 1;
    }
}

/// A row of a pass whose logits are compared with a token, and whose sum that belongs to.
struct Scored {
    row: usize,
    id: u32,
    /// Group and continuation.
    of: [usize; 2],
}

impl<D: Device> Decoder<D> {
    /// The likelihood of every continuation, in the order given. A context is computed once for all its continuations; where each context has one, what all
    /// contexts begin with is computed once for all. `on_group` is told how many groups are done.
    ///
    /// # Errors
    /// [`GenerateError`], with the group's number as that of the prompt, before anything is computed.
    pub fn log_likelihoods(
        &self,
        adapter: Option<&DeviceAdapter<D>>,
        groups: &[Continuations],
        on_group: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<Likelihood>>, GenerateError> {
        self.check_groups(groups)?;
        let longest = |group: &Continuations| group.context.len() + group.continuations.iter().map(Vec::len).max().unwrap_or(0);
        // One list of Phi-3's divisors for a whole call, that of its longest text: contexts are shared.
        let rope_length = groups.iter().map(longest).max().unwrap_or(0);
        let are_single = groups.iter().all(|group| group.continuations.len() == 1);
        let contexts: Vec<&[u32]> = groups.iter().map(|group| group.context.as_slice()).collect();
        let n_shared = if are_single { shared_prefix(&contexts) } else { 0 };
        let passes = passes(groups, n_shared);
        let capacity = passes.iter().map(|pass| groups[pass.clone()].iter().map(|group| n_rows(group, n_shared)).sum()).max().unwrap_or(0);
        let mut cache = Cache::new(self, n_shared + capacity);
        if n_shared > 0 {
            let entry = Entry { ids: contexts[0][..n_shared].to_vec(), position: 0, prefix: 0..0, rope_length, own: 0..n_shared };
            self.extend(adapter, &mut cache, &[entry], false);
        }
        let mut results: Vec<Vec<Likelihood>> = groups
            .iter()
            .map(|group| {
                let start = Likelihood { log_likelihood: 0.0, n_tokens: 0, is_greedy: true };
                vec![start; group.continuations.len()]
            })
            .collect();
        for pass in passes {
            let (entries, scored) = lay_out(groups, pass.clone(), (n_shared, rope_length));
            let x = self.extend(adapter, &mut cache, &entries, false);
            for chunk in scored.chunks(self.rows_a_chunk()) {
                let rows: Vec<usize> = chunk.iter().map(|scored| scored.row).collect();
                let ids: Vec<u32> = chunk.iter().map(|scored| scored.id).collect();
                let losses = self.device.run(|| self.losses_by_row(&self.head_logits(&x, &rows, false), &ids));
                for (scored, loss) in chunk.iter().zip(&losses) {
                    results[scored.of[0]][scored.of[1]].add(loss);
                }
            }
            on_group(pass.end);
        }
        Ok(results)
    }

    /// The loss of each row of `logits` `[rows, vocabulary]` by itself, for the token of that row.
    pub(super) fn losses_by_row(&self, logits: &D::Buffer, ids: &[u32]) -> Vec<LossSum> {
        let (device, width) = (&*self.device, self.config.vocab_size);
        device.run(|| {
            let mut one = device.scratch(width);
            let loss = |(row, id): (usize, &u32)| {
                device.gather_rows(logits, &[row], width, &mut one);
                let mut sum = LossSum::default();
                device.cross_entropy(&mut one, &[*id], &[1.0], &mut sum);
                sum
            };
            ids.iter().enumerate().map(loss).collect()
        })
    }

    fn check_groups(&self, groups: &[Continuations]) -> Result<(), GenerateError> {
        let (max_positions, vocab_size) = (self.config.max_positions, self.config.vocab_size);
        for (index, group) in groups.iter().enumerate() {
            let Continuations { context, continuations } = group;
            if context.is_empty() {
                return Err(GenerateError::EmptyPrompt { index });
            }
            let n_tokens = context.len() + continuations.iter().map(Vec::len).max().unwrap_or(0);
            if n_tokens > max_positions {
                return Err(GenerateError::PromptTooLong { index, n_tokens, max_positions });
            }
            if let Some(id) = context.iter().chain(continuations.iter().flatten()).find(|id| **id as usize >= vocab_size) {
                return Err(GenerateError::UnknownToken { index, id: *id, vocab_size });
            }
        }
        Ok(())
    }
}

/// Rows of a pass that a group takes.
fn n_rows(group: &Continuations, n_shared: usize) -> usize {
    group.context.len() - n_shared + group.continuations.iter().map(Vec::len).sum::<usize>()
}

/// Groups of one pass after the other.
fn passes(groups: &[Continuations], n_shared: usize) -> Vec<Range<usize>> {
    let mut passes: Vec<Range<usize>> = Vec::new();
    let mut rows = 0;
    for (index, group) in groups.iter().enumerate() {
        rows += n_rows(group, n_shared);
        match passes.last_mut() {
            Some(pass) if rows <= TOKENS_A_PASS => pass.end = index + 1,
            _ => {
                passes.push(index..index + 1);
                rows = n_rows(group, n_shared);
            }
        }
    }
    passes
}

/// The entries of a pass, and the rows that are scored. The cache's rows before `n_shared` are shared; those after are the pass's own.
fn lay_out(groups: &[Continuations], pass: Range<usize>, (n_shared, rope_length): (usize, usize)) -> (Vec<Entry>, Vec<Scored>) {
    let (mut entries, mut scored) = (Vec::new(), Vec::new());
    let mut next = n_shared;
    let mut enter = |ids: &[u32], position: usize, prefix: Range<usize>| {
        let own = next..next + ids.len();
        next = own.end;
        entries.push(Entry { ids: ids.to_vec(), position, prefix, rope_length, own: own.clone() });
        own
    };
    for number in pass {
        let Continuations { context, continuations } = &groups[number];
        // The last token of a continuation predicts nothing that is asked, yet enters: one row is less than a special case.
        if let [continuation] = continuations.as_slice() {
            let own = enter(&[&context[n_shared..], continuation].concat(), n_shared, 0..n_shared);
            let first = own.end - n_shared - continuation.len() - 1;
            scored.extend(continuation.iter().enumerate().map(|(i, id)| Scored { row: first + i, id: *id, of: [number, 0] }));
            continue;
        }
        let before = enter(context, 0, 0..0);
        for (place, continuation) in continuations.iter().enumerate().filter(|(_, continuation)| !continuation.is_empty()) {
            let own = enter(continuation, context.len(), before.clone());
            let rows = std::iter::once(before.end - 1).chain(own).map(|row| row - n_shared);
            scored.extend(rows.zip(continuation).map(|(row, id)| Scored { row, id: *id, of: [number, place] }));
        }
    }
    (entries, scored)
}
