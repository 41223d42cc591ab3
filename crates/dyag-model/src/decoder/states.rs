//! The states of texts' tokens after the last norm: what vectors of texts are made of.

use std::ops::ControlFlow;

use dyag_kernels::Device;
use dyag_kernels::device::AttentionSpan;

use super::{Decoder, Pack};

/// So many tokens enter a pass, unless one text has more.
const TOKENS_A_PASS: usize = 1024;

/// Which of a text's states are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedStates {
    /// Those of all tokens.
    All,
    /// That of the last token.
    Last,
}

impl<D: Device> Decoder<D> {
    /// Gives the states `[T, C]` (`[1, C]` where only the last is wanted) of each text's tokens to `each`, with the text's place, the longest texts first; breaking ends it. A text without
    /// tokens has no states. A text's states have the same bits whatever else is computed with it.
    ///
    /// # Panics
    /// If an id is not below the vocabulary's size.
    pub fn visit_states(&self, texts: &[&[u32]], wanted: WantedStates, each: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>) {
        let width = self.config.hidden_size;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|text| (std::cmp::Reverse(texts[*text].len()), *text));
        let mut rest = &order[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(self.texts_a_pass(rest, texts));
            let batch: Vec<&[u32]> = some.iter().map(|text| texts[*text]).collect();
            let states = self.device.run(|| self.states_of(&batch, wanted));
            let mut states = &states[..];
            for (text, ids) in some.iter().zip(&batch) {
                let n_rows = if wanted == WantedStates::Last { ids.len().min(1) } else { ids.len() };
                let (of_text, of_others) = states.split_at(n_rows * width);
                if each(*text, of_text).is_break() {
                    return;
                }
                states = of_others;
            }
            rest = others;
        }
    }

    /// How many of the first texts go through the layers together. Where a rope's divisors depend on the longest text of a pass, each goes by itself.
    fn texts_a_pass(&self, order: &[usize], texts: &[&[u32]]) -> usize {
        if [Some(&self.config.rope), self.config.window_rope.as_ref()].into_iter().flatten().any(|rope| rope.short_up_to().is_some()) {
            return 1;
        }
        let mut n_tokens = 0;
        let fits = |text: &&usize| {
            n_tokens += texts[**text].len();
            n_tokens <= TOKENS_A_PASS
        };
        order.iter().take_while(fits).count().max(1)
    }

    fn states_of(&self, texts: &[&[u32]], wanted: WantedStates) -> Vec<f32> {
        let mut pack = Pack::default();
        let mut rows = Vec::new();
        for ids in texts.iter().filter(|ids| !ids.is_empty()) {
            let own = pack.ids.len()..pack.ids.len() + ids.len();
            pack.ids.extend_from_slice(ids);
            pack.positions.extend(0..ids.len() as u32);
            rows.extend(if wanted == WantedStates::Last { own.end - 1..own.end } else { own.clone() });
            pack.spans.push(AttentionSpan { queries: own.clone(), prefix: 0..0, own });
        }
        if rows.is_empty() {
            return Vec::new();
        }
        let x = self.hidden(None, &pack);
        let [_, normed, _] = self.final_norm(&x, &rows, self.device.scratch(rows.len() * self.config.hidden_size));
        self.device.download(&normed)
    }
}
