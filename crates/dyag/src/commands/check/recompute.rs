//! Computes what a dump holds again, on a device, and measures how far the two are apart.

use std::ops::ControlFlow;

use anyhow::{Context as _, ensure};
use dyag_kernels::Device;
use dyag_kernels::device::AdamwStep;
use dyag_model::decoder::{Checkpointing, Decoder, DeviceAdapter, GenerateLimits, SamplingOptions, StepOptions};

use super::compare::{Largest, Quantity, relative_l2, relative_to_largest, widened};
use super::dump::Dump;

/// How far single precision may be from the reference. Logits, losses and norms are measured relative to the largest of their kind, matrices in L2.
const LOGITS: f64 = 1e-5;
const LOSS: f64 = 1e-5;
const GRADIENT: f64 = 1e-4;
const GRADIENT_NORM: f64 = 1e-4;
const UPDATE: f64 = 1e-3;

/// In bf16: multiples of Transformers' own errors that ours may be, and must be at least.
const BF16_AT_MOST: f64 = 1.5;
const BF16_AT_LEAST: f64 = 0.01;
const BF16_LOSS: f64 = 5e-3;

/// PyTorch's guard in `clip_grad_norm_`.
const CLIP_EPSILON: f64 = 1e-6;

/// What is compared with what.
pub(super) struct Subject<'a, D: Device> {
    pub(super) decoder: &'a Decoder<D>,
    /// What is trained, before the first step: an adapter, or all weights.
    pub(super) trained: DeviceAdapter<D>,
    pub(super) dump: &'a Dump,
    /// What every tolerance is multiplied with; a lower bound is divided by it.
    pub(super) factor: f64,
}

/// A tensor of what is trained.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// A gradient and how far it is off.
struct GradientErrors {
    worst: Largest<String>,
    mean: f64,
}

impl<D: Device> Subject<'_, D> {
    /// Everything, in single precision.
    pub(super) fn compare_f32(&self) -> anyhow::Result<Vec<Quantity>> {
        let mut quantities = Vec::new();
        if !self.trained.is_whole() {
            quantities.push(self.logits("base logits", "base_logits", None, LOGITS)?);
        }
        quantities.push(self.logits("logits", "logits", Some(&self.trained), LOGITS)?);
        let (loss, gradients) = self.gradients(&self.trained);
        let theirs = f64::from(self.dump.floats("loss", &[1])?[0]);
        quantities.push(self.quantity("loss", (loss - theirs).abs() / theirs.abs(), LOSS, String::new()));
        let errors = self.gradient_errors(&gradients)?;
        quantities.push(self.quantity("gradients", errors.worst.error, GRADIENT, errors.worst.at.unwrap_or_default()));
        quantities.extend(self.steps()?);
        quantities.push(self.greedy()?);
        Ok(quantities)
    }

    /// Logits, loss and gradients, in bf16: no further from the reference than Transformers is in bf16, and not so close that it must have been f32.
    pub(super) fn compare_bf16(&self) -> anyhow::Result<Vec<Quantity>> {
        let path = self.dump.facts_path.display();
        let bounds = self.dump.facts.bf16.with_context(|| {
            format!(
                "{path} has no \"bf16\": expected Transformers' own errors there; make the dump again without --no-bf16, or check in f32"
            )
        })?;
        let bounded = |mut quantity: Quantity, theirs: f64| {
            quantity.tolerance = BF16_AT_MOST * theirs * self.factor;
            quantity.at_least = Some(BF16_AT_LEAST * theirs / self.factor);
            quantity
        };
        let logits = self.logits("logits", "logits", Some(&self.trained), 0.0)?;
        let (loss, gradients) = self.gradients(&self.trained);
        let theirs = f64::from(self.dump.floats("loss", &[1])?[0]);
        let GradientErrors { worst, mean } = self.gradient_errors(&gradients)?;
        let worst_name = worst.at.unwrap_or_default();
        Ok(vec![
            bounded(logits, bounds.logits_max_relative_to_largest),
            self.quantity("loss (absolute)", (loss - theirs).abs(), BF16_LOSS, String::new()),
            bounded(self.quantity("gradients, worst", worst.error, 0.0, worst_name.clone()), bounds.grad_relative_l2_worst),
            bounded(self.quantity("gradients, mean", mean, 0.0, worst_name), bounds.grad_relative_l2_mean),
        ])
    }

    fn device(&self) -> &D {
        self.decoder.device()
    }

    fn quantity(&self, name: &str, error: f64, tolerance: f64, worst: String) -> Quantity {
        Quantity { name: name.to_owned(), error, tolerance: tolerance * self.factor, at_least: None, worst }
    }

    /// Logits of every unmasked token.
    fn logits(&self, name: &str, tensor: &str, adapter: Option<&DeviceAdapter<D>>, tolerance: f64) -> anyhow::Result<Quantity> {
        let theirs = self.dump.logits(tensor)?;
        let vocab_size = self.decoder.config().vocab_size;
        let rows: Vec<usize> = (0..self.dump.places.len()).collect();
        let ours = self.decoder.logits(adapter, &self.dump.pack, &rows);
        let pairs = rows.iter().flat_map(|i| widened(&ours[i * vocab_size..(i + 1) * vocab_size], &theirs[self.dump.logits_of(*i)]));
        let largest = relative_to_largest(pairs);
        let worst = largest.at.map_or_else(String::new, |at| {
            let (row, column) = self.dump.places[at / vocab_size];
            format!("row {row}, column {column}, token {}", at % vocab_size)
        });
        Ok(self.quantity(name, largest.error, tolerance, worst))
    }

    /// Mean loss, and the gradients of the summed one.
    fn gradients(&self, adapter: &DeviceAdapter<D>) -> (f64, DeviceAdapter<D>) {
        let mut gradients = DeviceAdapter::zeros_like(self.device(), adapter);
        let options = StepOptions { checkpointing: Checkpointing::Layer, dropout: None };
        let whole = adapter.is_whole().then(|| Decoder::of_whole(self.decoder.device().clone(), self.decoder.config(), adapter));
        let decoder = whole.as_ref().unwrap_or(self.decoder);
        let sum = decoder.loss_and_gradients(adapter, &self.dump.pack, &options, &mut gradients);
        (sum.loss_sum_nats / sum.n_tokens, gradients)
    }

    fn gradient_errors(&self, gradients: &DeviceAdapter<D>) -> anyhow::Result<GradientErrors> {
        let n_tokens = self.n_tokens();
        let (mut worst, mut sum, mut count) = (Largest::new(), 0.0, 0.0);
        for Tensor { name, shape, values: ours } in self.tensors(gradients) {
            let theirs = self.dump.floats(&format!("grad.{name}"), &shape)?;
            let error = relative_l2(widened(&ours, &theirs).map(|(ours, theirs)| (ours / n_tokens, theirs)));
            worst.see(error, name);
            sum += error;
            count += 1.0;
        }
        Ok(GradientErrors { worst, mean: sum / count })
    }

    fn n_tokens(&self) -> f64 {
        self.dump.pack.targets.iter().map(|target| f64::from(target.weight)).sum()
    }

    /// The optimiser's steps: losses, norms before clipping, and how far each tensor has moved at the end.
    fn steps(&self) -> anyhow::Result<[Quantity; 3]> {
        let facts = &self.dump.facts;
        let mut adapter = self.copy_of_trained();
        let mut moments = [DeviceAdapter::zeros_like(self.device(), &adapter), DeviceAdapter::zeros_like(self.device(), &adapter)];
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for t in 1..=facts.steps {
            let (loss, gradients) = self.gradients(&adapter);
            let norm = gradients.sum_of_squares(self.device()).sqrt() / self.n_tokens();
            losses.push(loss);
            norms.push(norm);
            let clip = facts.max_grad_norm.map_or(1.0, |most| (most / (norm + CLIP_EPSILON)).min(1.0));
            self.update(&mut adapter, &mut moments, &gradients, t, clip / self.n_tokens());
        }
        let n = facts.steps;
        let list = |name: &str, tensor: &str, ours: Vec<f64>, tolerance| -> anyhow::Result<Quantity> {
            let theirs = self.dump.floats(tensor, &[n])?;
            let largest = relative_to_largest(ours.into_iter().zip(theirs.into_iter().map(f64::from)));
            Ok(self.quantity(name, largest.error, tolerance, largest.at.map_or_else(String::new, |i| format!("step {}", i + 1))))
        };
        let moved = self.moved(&adapter)?;
        Ok([
            list(&format!("losses of {n} steps"), "losses", losses, LOSS)?,
            list("gradient norms", "grad_norms", norms, GRADIENT_NORM)?,
            self.quantity("total update", moved.error, UPDATE, moved.at.unwrap_or_default()),
        ])
    }

    fn update(
        &self,
        adapter: &mut DeviceAdapter<D>,
        [first, second]: &mut [DeviceAdapter<D>; 2],
        gradients: &DeviceAdapter<D>,
        t: usize,
        gradient_scale: f64,
    ) {
        let facts = &self.dump.facts;
        let step = |ratio: f64| AdamwStep {
            learning_rate: (facts.learning_rate * ratio) as f32,
            beta1: facts.betas[0],
            beta2: facts.betas[1],
            eps: facts.eps,
            weight_decay: facts.weight_decay,
            t: t as u32,
            gradient_scale: gradient_scale as f32,
        };
        // A, then B, then magnitudes.
        let ratio = facts.loraplus_lr_ratio.unwrap_or(1.0);
        let steps = [step(1.0), step(ratio), step(ratio)];
        let moments = first.whole_mut().values_mut().zip(second.whole_mut().values_mut());
        for ((parameter, gradient), (first, second)) in adapter.whole_mut().values_mut().zip(gradients.whole().values()).zip(moments) {
            self.device().adamw(steps[0], gradient, parameter, first, second);
        }
        let moments = first.pairs_mut().values_mut().zip(second.pairs_mut().values_mut());
        for ((pair, gradient), (first, second)) in adapter.pairs_mut().values_mut().zip(gradients.pairs().values()).zip(moments) {
            let tensors = pair.tensors_mut().zip(gradient.tensors()).zip(first.tensors_mut().zip(second.tensors_mut()));
            for (((parameter, gradient), (first, second)), step) in tensors.zip(steps) {
                self.device().adamw(step, gradient, parameter, first, second);
            }
        }
    }

    /// The relative error of final minus initial values, of the worst tensor.
    fn moved(&self, ours: &DeviceAdapter<D>) -> anyhow::Result<Largest<String>> {
        let mut worst = Largest::new();
        for (before, Tensor { name, shape, values: ours }) in self.tensors(&self.trained).into_iter().zip(self.tensors(ours)) {
            let theirs = self.dump.floats(&format!("final.{name}"), &shape)?;
            let pairs = widened(&ours, &theirs)
                .zip(before.values)
                .map(|((ours, theirs), start)| (ours - f64::from(start), theirs - f64::from(start)));
            worst.see(relative_l2(pairs), name);
        }
        Ok(worst)
    }

    /// The tensors of what is trained, or of its gradients, as the dump names them.
    fn tensors(&self, trained: &DeviceAdapter<D>) -> Vec<Tensor> {
        let config = self.decoder.config();
        let whole = trained.whole().iter().map(|(part, buffer)| Tensor {
            name: part.name(config),
            shape: part.shape(config),
            values: self.device().download(buffer),
        });
        let adapter = trained.download(self.device());
        let of_pairs = adapter.shaped_tensors().map(|(name, shape, values)| Tensor { name, shape, values: values.to_vec() });
        whole.chain(of_pairs).collect()
    }

    fn copy_of_trained(&self) -> DeviceAdapter<D> {
        let device = self.device();
        if self.trained.is_whole() {
            let copy = self.trained.whole().iter().map(|(part, buffer)| (*part, device.upload(&device.download(buffer))));
            return DeviceAdapter::of_whole(copy.collect());
        }
        DeviceAdapter::upload(device, &self.trained.download(device))
    }

    /// The most likely tokens after the prompt: as many must be the same as there are.
    fn greedy(&self) -> anyhow::Result<Quantity> {
        let (prompt, theirs) = self.dump.greedy()?;
        let n_prompt = prompt.len();
        let limits = GenerateLimits { max_new_tokens: theirs.len(), stop_ids: Vec::new(), batch: 1, numbers: Vec::new(), scored: false };
        let generated = self
            .decoder
            .generate(Some(&self.trained), &[prompt], &SamplingOptions::GREEDY, &limits, &mut |_, _| ControlFlow::Continue(()))?;
        let ours = &generated.first().context("one prompt gives one sequence")?.ids;
        ensure!(
            ours.len() == theirs.len(),
            "{}: `greedy_ids` holds {} tokens, more than the model's {} positions",
            self.dump.path.display(),
            n_prompt + theirs.len(),
            self.decoder.config().max_positions
        );
        let different: Vec<usize> = (0..theirs.len()).filter(|i| ours[*i] != theirs[*i]).collect();
        let worst =
            different.first().map_or_else(String::new, |i| format!("token {}: {}, expected {}", n_prompt + i, ours[*i], theirs[*i]));
        Ok(Quantity {
            name: format!("{} greedy tokens", theirs.len()),
            error: different.len() as f64,
            tolerance: 0.0,
            at_least: None,
            worst,
        })
    }
}
