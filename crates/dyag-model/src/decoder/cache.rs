//! Keys and values of the tokens seen so far, and passes that use them.

use std::ops::Range;

use dyag_kernels::Device;
use dyag_kernels::device::{AttentionInputs, AttentionSpan, Place};

use super::Decoder;
use super::device_adapter::DeviceAdapter;
use super::layer::{Pass, Queries};
use super::rope::Angles;

/// Keys and values `[capacity, G * D]` of every layer. Sequences own disjoint ranges of its rows.
pub(super) struct Cache<D: Device> {
    layers: Vec<[D::Buffer; 2]>,
}

/// Tokens that enter the cache in one pass: one run of a sequence, or one token of each of several.
pub(super) struct Entry {
    /// The tokens.
    pub(super) ids: Vec<u32>,
    /// Position of the first.
    pub(super) position: usize,
    /// Rows that other sequences share and all these tokens see.
    pub(super) prefix: Range<usize>,
    /// The length that decides between Phi-3's lists of divisors. It must be on the same side of the original length as it was for all keys that these tokens see.
    pub(super) rope_length: usize,
    /// The sequence's own rows: those filled before, then one for each of `ids`.
    pub(super) own: Range<usize>,
}

impl<D: Device> Cache<D> {
    /// Room for `capacity` tokens.
    pub(super) fn new(decoder: &Decoder<D>, capacity: usize) -> Self {
        let width = decoder.config.n_kv_heads * decoder.config.head_size;
        let buffer = || decoder.device.zeros(capacity * width);
        Self { layers: (0..decoder.config.n_layers).map(|_| [buffer(), buffer()]).collect() }
    }
}

impl<D: Device> Decoder<D> {
    /// Runs `entries` through the model, storing their keys and values; returns the last layer's output of all tokens `[T, C]`.
    /// `few` takes the kernels for few rows.
    pub(super) fn extend(&self, adapter: Option<&DeviceAdapter<D>>, cache: &mut Cache<D>, entries: &[Entry], few: bool) -> D::Buffer {
        self.device.run(|| self.extend_here(adapter, cache, entries, few))
    }

    fn extend_here(&self, adapter: Option<&DeviceAdapter<D>>, cache: &mut Cache<D>, entries: &[Entry], few: bool) -> D::Buffer {
        let device = &*self.device;
        let ids: Vec<u32> = entries.iter().flat_map(|entry| entry.ids.iter().copied()).collect();
        let tokens: Vec<(u32, usize)> = entries
            .iter()
            .flat_map(|entry| (entry.position..entry.position + entry.ids.len()).map(|position| (position as u32, entry.rope_length)))
            .collect();
        let mut spans = Vec::with_capacity(entries.len());
        let mut first = 0;
        for entry in entries {
            spans.push(AttentionSpan { queries: first..first + entry.ids.len(), prefix: entry.prefix.clone(), own: entry.own.clone() });
            first += entry.ids.len();
        }
        let angles = Angles::new(device, &self.config, &tokens);
        if let Some(adapter) = adapter {
            self.prepare(adapter);
        }
        let pass = Pass { device, config: &self.config, rows: ids.len(), spans: &spans, angles: &angles, adapter, dropout: None, few };
        let width = self.config.n_kv_heads * self.config.head_size;
        let mut x = self.embed(&ids);
        for (i, layer) in self.layers.iter().enumerate() {
            let Queries { q, k, v, .. } = layer.queries_keys_values(&pass, i, &x);
            for (new, stored) in [&k, &v].into_iter().zip(&mut cache.layers[i]) {
                for span in &spans {
                    let n_new = span.queries.len();
                    let (from, to) = (Place { row: span.queries.start, col: 0, width }, Place { row: span.own.end - n_new, col: 0, width });
                    device.copy_block(new, from, stored, to, n_new, width);
                }
            }
            let (mut a, mut log_sum_exp) = (device.scratch(device.len(&q)), device.scratch(ids.len() * self.config.n_heads));
            let [keys, values] = &cache.layers[i];
            let inputs = AttentionInputs { shape: pass.shape(i), spans: &spans, q: &q, k: keys, v: values };
            device.attention(&inputs, &mut a, &mut log_sum_exp);
            x = layer.after_attention(&pass, i, &x, &a);
        }
        x
    }
}
