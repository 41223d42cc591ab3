//! One sequence that its caller continues: tokens of the caller's choice go in, logits come out. For answers that have to follow a form.

use dyag_kernels::Device;

use super::Decoder;
use super::cache::{Cache, Entry};
use super::device_adapter::DeviceAdapter;
use super::generate::GenerateError;

/// So many tokens at a time go through the kernels for few rows, like the tokens of [`Decoder::generate`]; more are a prompt.
const FEW_ROWS: usize = 16;

/// A sequence of tokens that the model has read, and the logits of the token after them.
///
/// Tokens pushed one by one get the logits, to the bit, from which [`Decoder::generate`] chooses.
pub struct Sequence<'a, D: Device> {
    decoder: &'a Decoder<D>,
    adapter: Option<&'a DeviceAdapter<D>>,
    cache: Cache<D>,
    capacity: usize,
    ids: Vec<u32>,
    logits: Vec<f32>,
}

impl<D: Device> Decoder<D> {
    /// Reads `prompt`, with room for `max_new_tokens` more, or as many as the model's positions allow.
    ///
    /// # Errors
    /// [`GenerateError`], before anything is computed.
    pub fn sequence<'a>(
        &'a self,
        adapter: Option<&'a DeviceAdapter<D>>,
        prompt: &[u32],
        max_new_tokens: usize,
    ) -> Result<Sequence<'a, D>, GenerateError> {
        self.check_prompts(&[prompt.to_vec()])?;
        let capacity = prompt.len().saturating_add(max_new_tokens).min(self.config.max_positions);
        let mut sequence = Sequence {
            decoder: self,
            adapter,
            cache: Cache::new(self, capacity),
            capacity,
            ids: Vec::with_capacity(capacity),
            logits: Vec::new(),
        };
        sequence.read(prompt, false);
        Ok(sequence)
    }
}

impl<D: Device> Sequence<'_, D> {
    /// All tokens so far, the prompt's first.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Logits `[V]` of the next token.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// How many more tokens there is room for.
    pub fn room(&self) -> usize {
        self.capacity - self.ids.len()
    }

    /// Appends tokens.
    ///
    /// # Panics
    /// If there is no [`Sequence::room`] for them, or one is not in the vocabulary.
    pub fn push(&mut self, ids: &[u32]) {
        assert!(ids.len() <= self.room(), "{} tokens for a room of {}", ids.len(), self.room());
        if !ids.is_empty() {
            self.read(ids, ids.len() <= FEW_ROWS);
        }
    }

    fn read(&mut self, ids: &[u32], few: bool) {
        let mut position = self.ids.len();
        self.ids.extend_from_slice(ids);
        let length = self.ids.len();
        let turned = self.decoder.turns_anew(position, length);
        if turned {
            position = 0;
        }
        let entry = Entry { ids: self.ids[position..].to_vec(), position, prefix: 0..0, rope_length: length, own: 0..length };
        let x = self.decoder.extend(self.adapter, &mut self.cache, &[entry], few && !turned);
        self.logits = self.decoder.device.download(&self.decoder.head_logits(&x, &[length - position - 1], true));
    }
}
