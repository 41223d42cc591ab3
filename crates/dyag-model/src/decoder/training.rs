//! Loss and gradients of a pack: a pure function of weights and tokens.

use dyag_kernels::Device;
use dyag_kernels::device::LossSum;

use super::Decoder;
use super::device_adapter::DeviceAdapter;
use super::layer::{Activations, Layer, Pass};
use super::pack::Pack;
use super::rope::Angles;
use super::whole::Part;

/// What of the forward pass is kept for the backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpointing {
    /// Each layer's input; the rest is computed a second time (Chen et al. 2016).
    Layer,
    /// All that the backward needs.
    None,
}

/// Dropout on the adapters' inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that an element is dropped, below 1.
    pub p: f32,
    /// Decides which; a new one for every pack.
    pub seed: u64,
}

impl Dropout {
    /// The same dropout with a seed of its own for one matrix.
    pub(super) fn at_site(self, layer: usize, projection: usize) -> Self {
        Self { p: self.p, seed: dyag_kernels::random::bits(self.seed, (layer * 16 + projection) as u64) }
    }

    pub(super) fn apply<D: Device>(self, device: &D, x: &D::Buffer) -> D::Buffer {
        let mut out = device.scratch(device.len(x));
        device.dropout(self.p, self.seed, x, &mut out);
        out
    }
}

/// How a training pass is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    /// What is kept between forward and backward.
    pub checkpointing: Checkpointing,
    /// Dropout of the adapters' inputs.
    pub dropout: Option<Dropout>,
}

/// A layer's share of what is kept, beside its [`Tail`].
enum Kept<D: Device> {
    Input(D::Buffer),
    All(Activations<D>),
}

impl<D: Device> Decoder<D> {
    /// Loss of `pack`, and the gradients of the sum of its terms, added to `gradients` (which has the adapter's shape).
    ///
    /// # Panics
    /// When the pack's rows, ids and spans do not fit each other and the model, or the shapes of adapter and gradients differ.
    pub fn loss_and_gradients(
        &self,
        adapter: &DeviceAdapter<D>,
        pack: &Pack,
        options: &StepOptions,
        gradients: &mut DeviceAdapter<D>,
    ) -> LossSum {
        assert!(adapter.pairs().keys().eq(gradients.pairs().keys()), "gradients have the adapter's sites");
        assert!(adapter.whole().keys().eq(gradients.whole().keys()), "gradients have the weights' places");
        self.device.run(|| self.loss_and_gradients_here(adapter, pack, options, gradients))
    }

    fn loss_and_gradients_here(
        &self,
        adapter: &DeviceAdapter<D>,
        pack: &Pack,
        options: &StepOptions,
        gradients: &mut DeviceAdapter<D>,
    ) -> LossSum {
        let angles = self.angles(pack);
        let pass = self.pass(pack, &angles, Some(adapter), options.dropout);
        let lowest = adapter.lowest_layer().unwrap_or(self.layers.len());
        let mut kept = Vec::with_capacity(self.layers.len());
        let mut x = self.embed(&pack.ids);
        if !pack.noise.is_empty() {
            let mut noise = vec![0.0; self.device.len(&x)];
            let channels = self.config.hidden_size;
            for one in &pack.noise {
                let rows = &mut noise[one.rows.start * channels..one.rows.end * channels];
                rows.iter_mut().zip(one.values(channels)).for_each(|(to, value)| *to = value);
            }
            self.device.add(&mut x, &self.device.upload(&noise));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let (y, activations, tail) = layer.forward(&pass, i, x);
            kept.push(match options.checkpointing {
                _ if i < lowest => None,
                Checkpointing::None => Some((Kept::All(Layer::compacted(&*self.device, activations)), tail.compacted(&*self.device))),
                Checkpointing::Layer => Some((Kept::Input(activations.x), tail.compacted(&*self.device))),
            });
            x = y;
        }
        let mut d_x = self.device.zeros(pack.ids.len() * self.config.hidden_size);
        let sum = self.head_loss(&x, &pack.targets, Some((&mut d_x, &mut *gradients)));
        drop(x);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let Some((kept, tail)) = kept.pop().flatten() else { break };
            let activations = match kept {
                Kept::All(activations) => activations,
                // Rounded as if it had been kept, so that what is kept does not show in the results.
                Kept::Input(x) => Layer::compacted(&*self.device, layer.activations(&pass, i, x)),
            };
            layer.backward(&pass, i, (activations, tail), gradients, &mut d_x);
        }
        if let Some(d_embedding) = gradients.whole_mut().get_mut(&Part::Embedding) {
            if self.config.embedding_scale != 1.0 {
                self.device.scale(self.config.embedding_scale, &mut d_x);
            }
            let rows: Vec<usize> = pack.ids.iter().map(|id| *id as usize).collect();
            self.device.scatter_add_rows(&d_x, &rows, self.config.hidden_size, d_embedding);
        }
        sum
    }

    /// Loss of `pack` with an adapter or without.
    ///
    /// # Panics
    /// As [`Decoder::loss_and_gradients`].
    pub fn loss(&self, adapter: Option<&DeviceAdapter<D>>, pack: &Pack) -> LossSum {
        self.device.run(|| self.head_loss(&self.hidden(adapter, pack), &pack.targets, None))
    }

    /// Logits `[rows, V]` of some rows of `pack`, with an adapter or without.
    ///
    /// # Panics
    /// As [`Decoder::loss_and_gradients`].
    pub fn logits(&self, adapter: Option<&DeviceAdapter<D>>, pack: &Pack, rows: &[usize]) -> Vec<f32> {
        self.device.run(|| {
            let x = self.hidden(adapter, pack);
            rows.chunks(self.rows_a_chunk()).flat_map(|rows| self.device.download(&self.head_logits(&x, rows, false))).collect()
        })
    }

    /// The last layer's output `[T, C]`.
    pub(super) fn hidden(&self, adapter: Option<&DeviceAdapter<D>>, pack: &Pack) -> D::Buffer {
        let angles = self.angles(pack);
        let pass = self.pass(pack, &angles, adapter, None);
        self.layers.iter().enumerate().fold(self.embed(&pack.ids), |x, (i, layer)| layer.forward(&pass, i, x).0)
    }

    fn angles(&self, pack: &Pack) -> Angles<D> {
        assert_eq!(pack.positions.len(), pack.ids.len());
        let longest = pack.positions.iter().max().map_or(0, |last| *last as usize + 1).max(pack.rope_length);
        let tokens: Vec<(u32, usize)> = pack.positions.iter().map(|position| (*position, longest)).collect();
        Angles::new(&*self.device, &self.config, &tokens)
    }

    fn pass<'a>(
        &'a self,
        pack: &'a Pack,
        angles: &'a Angles<D>,
        adapter: Option<&'a DeviceAdapter<D>>,
        dropout: Option<Dropout>,
    ) -> Pass<'a, D> {
        let rows = pack.ids.len();
        if let Some(adapter) = adapter {
            self.prepare(adapter);
        }
        assert_eq!(pack.spans.iter().map(|span| span.queries.len()).sum::<usize>(), rows, "every row is a query of one span");
        Pass { device: &self.device, config: &self.config, rows, spans: &pack.spans, angles, adapter, dropout, few: false }
    }
}
