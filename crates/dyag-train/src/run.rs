//! The training loop: steps, validations, checkpoints, and what is left at the end.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use dyag_kernels::Device;
use dyag_model::adapter::{Adapter, AdapterConfig};
use dyag_model::config::DecoderConfig;
use dyag_model::decoder::{Decoder, DeviceAdapter, Pack};
use dyag_model::weights::DecoderWeights;

use crate::checkpoint::{self, Best, Checkpoint, TrainerState};
use crate::config::TrainConfig;
use crate::error::TrainError;
use crate::event::Event;
use crate::finish::{note_other_kernel, restore};
use crate::folder;
use crate::log::{RunLog, StepRecord, StepTiming, ValidationRecord};
use crate::manifest::{BaseModel, ConversationFacts, DatasetFacts, Metrics};
use crate::noise::{NoiseOptions, add_noise};
use crate::optimizer::{AdamW, AdamWSettings};
use crate::order::epoch_order;
use crate::packing::{Sequence, pack};
use crate::plan::{MemoryPlan, count_steps, pack_options};
use crate::schedule::Schedule;
use crate::step::{GradientOptions, norm_and_scale, summed_gradients, summed_loss};

/// Name of the log in the output folder.
pub const LOG_FILE: &str = "log.jsonl";
/// Name of the folder that the trained adapter is left in.
pub const FINAL_FOLDER: &str = "final";

/// A file that goes with the adapter into every folder: the tokenizer's, the template's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Everything a run is made from.
pub struct TrainInputs<'a, D: Device> {
    /// The base model on its device.
    pub decoder: &'a Decoder<D>,
    /// The base model's weights, where all are trained.
    pub weights: Option<&'a DecoderWeights>,
    /// The adapter to start from; a resumed run reads its own.
    pub adapter: Adapter,
    /// What adapter_config.json will say.
    pub adapter_config: AdapterConfig,
    /// What is learned.
    pub train: &'a [Sequence],
    /// What is only measured; may be empty.
    pub validation: &'a [Sequence],
    /// What identifies the base model.
    pub base_model: BaseModel,
    /// What the conversations have in common.
    pub conversation: ConversationFacts,
    /// Where the data come from.
    pub dataset: DatasetFacts,
    /// Files that go with the adapter.
    pub companions: &'a [Companion],
    /// The settings.
    pub config: TrainConfig,
    /// The memory plan.
    pub memory: &'a MemoryPlan,
    /// The output folder.
    pub output: &'a Path,
    /// The checkpoint to go on from, as [`checkpoint::open_output`] gave it.
    pub resume: Option<Checkpoint>,
}

/// How fast a run was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Seconds in all: steps, validations, checkpoints.
    pub elapsed_s: f64,
    /// Seconds in steps.
    pub steps_s: f64,
    /// Tokens of the data set that the steps saw.
    pub n_sequence_tokens: u64,
    /// Tokens that went through the decoder in the steps.
    pub n_computed_tokens: u64,
}

impl Speed {
    /// Tokens of the data set a second of steps.
    pub fn tokens_per_s(&self) -> f64 {
        self.n_sequence_tokens as f64 / self.steps_s.max(f64::MIN_POSITIVE)
    }

    /// Computed tokens a second of steps.
    pub fn computed_tokens_per_s(&self) -> f64 {
        self.n_computed_tokens as f64 / self.steps_s.max(f64::MIN_POSITIVE)
    }

    fn add(&mut self, record: &StepRecord) {
        self.elapsed_s = record.timing.elapsed_s;
        self.n_sequence_tokens += record.n_sequence_tokens;
        self.n_computed_tokens += record.n_computed_tokens;
        if record.timing.tokens_per_s > 0.0 {
            self.steps_s += record.n_sequence_tokens as f64 / record.timing.tokens_per_s;
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps are done, or it stopped early.
    Finished {
        /// The trained adapter's folder.
        folder: PathBuf,
        /// What it came to.
        metrics: Metrics,
        /// How long it took, over all resumed parts.
        speed: Speed,
    },
    /// It was asked to stop.
    Interrupted {
        /// Steps done.
        step: u64,
        /// The checkpoint it goes on from; none before the first step.
        checkpoint: Option<PathBuf>,
    },
}

/// Trains. `stop` is looked at between packs: once it is raised, the steps that are done are saved and the run ends.
///
/// # Errors
/// See [`TrainError`]. Whatever it is, no file or folder is left partial under its final name.
pub fn train<D: Device>(inputs: TrainInputs<'_, D>, listener: &mut dyn FnMut(Event<'_>), stop: &AtomicBool) -> Result<Outcome, TrainError> {
    let mut run = Run::open(inputs, listener)?;
    while !run.is_done() {
        if run.step(listener, stop)?.is_none() {
            return run.interrupted(listener);
        }
    }
    run.finish(listener)
}

/// Refuses inputs that no training can come of.
fn check<D: Device>(inputs: &TrainInputs<'_, D>) -> Result<(), TrainError> {
    inputs.config.validate()?;
    let DecoderConfig { vocab_size, max_positions, .. } = *inputs.decoder.config();
    for (what, sequences) in [("training", inputs.train), ("validation", inputs.validation)] {
        for (index, sequence) in sequences.iter().enumerate() {
            if let Some(id) = sequence.ids().iter().find(|id| **id as usize >= vocab_size) {
                return Err(TrainError::Data(format!(
                    "{what} example {}: token id {id}, but the model's embedding has {vocab_size} rows; the tokenizer is not this model's",
                    index + 1
                )));
            }
            if sequence.n_tokens() > max_positions {
                let (n, n_tokens) = (index + 1, sequence.n_tokens());
                return Err(TrainError::Data(format!(
                    "{what} example {n} has {n_tokens} tokens, but the model was made for at most {max_positions}; lower --max-seq-length"
                )));
            }
            if sequence.n_trained() == 0 {
                return Err(TrainError::Data(format!("{what} example {}: no token is learned", index + 1)));
            }
        }
    }
    if inputs.train.is_empty() {
        return Err(TrainError::Data("the dataset is empty: expected at least one example to train on".to_owned()));
    }
    let TrainConfig { load_best, early_stopping_patience, .. } = inputs.config;
    for (setting, wanted) in [("--load-best", load_best), ("--early-stopping-patience", early_stopping_patience.is_some())] {
        if wanted && inputs.validation.is_empty() {
            let problem = "needs a validation set; give --validation FILE or --validation-split SHARE".to_owned();
            return Err(TrainError::Setting { setting, problem });
        }
    }
    Ok(())
}

/// A run under way.
pub(crate) struct Run<'a, D: Device> {
    pub(crate) inputs: TrainInputs<'a, D>,
    pub(crate) adapter: DeviceAdapter<D>,
    pub(crate) optimizer: AdamW<D>,
    pub(crate) state: TrainerState,
    gradients: DeviceAdapter<D>,
    /// The decoder of the weights as they are now, where those are trained.
    own: Option<Decoder<D>>,
    validation_packs: Vec<Pack>,
    schedule: Schedule,
    total_steps: u64,
    /// The order of an epoch, and which.
    order: (u64, Vec<usize>),
    log: RunLog,
    pub(crate) saved_step: Option<u64>,
    speed: Speed,
    elapsed_before_s: f64,
    started: Instant,
    /// Held as long as the run writes to its output folder.
    _lock: File,
}

/// Makes sure that no other process writes to the output folder. The system lets go of the lock when the process ends, however it ends.
fn lock(output: &Path) -> Result<File, TrainError> {
    let path = output.join(".lock");
    let file = File::create(&path).map_err(TrainError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::OutputInUse { path: output.to_owned() }),
        Err(TryLockError::Error(error)) => Err(TrainError::io("lock", &path)(error)),
    }
}

impl<'a, D: Device> Run<'a, D> {
    fn open(inputs: TrainInputs<'a, D>, listener: &mut dyn FnMut(Event<'_>)) -> Result<Self, TrainError> {
        check(&inputs)?;
        let device = &**inputs.decoder.device();
        let TrainConfig { learning_rate, schedule, warmup_ratio, save_total_limit, .. } = inputs.config;
        let (_, total_steps) = count_steps(inputs.train.len(), &inputs.config);
        let (adapter, optimizer, state) = match &inputs.resume {
            Some(checkpoint) => {
                checkpoint.check_same(&inputs.manifest(Metrics::default()))?;
                note_other_kernel(checkpoint, &device.describe(), listener);
                restore(checkpoint, &inputs)?
            }
            None => {
                let adapter = match inputs.weights {
                    Some(weights) => DeviceAdapter::of_weights(device, inputs.decoder.config(), weights),
                    None => DeviceAdapter::upload(device, &inputs.adapter),
                };
                let optimizer = AdamW::new(device, &adapter, AdamWSettings::of(&inputs.config));
                (adapter, optimizer, TrainerState::start(inputs.memory.max_pack_tokens))
            }
        };
        let gradients = DeviceAdapter::zeros_like(device, &adapter);
        let options = pack_options(&inputs.config, inputs.train, state.max_pack_tokens);
        let validation_packs = pack(&inputs.validation.iter().collect::<Vec<_>>(), options);

        std::fs::create_dir_all(inputs.output).map_err(TrainError::io("create the folder", inputs.output))?;
        let lock = lock(inputs.output)?;
        folder::clear_leftovers(inputs.output)?;
        for later in checkpoint::set_aside_later(inputs.output, state.step)? {
            listener(Event::Note(format!("a later checkpoint was set aside as {}", later.display())));
        }
        checkpoint::prune(inputs.output, save_total_limit, state.best.map(|best| best.step))?;
        let (log, records) = RunLog::resume(&inputs.output.join(LOG_FILE), state.step)?;
        let mut speed = Speed::default();
        records.iter().for_each(|record| speed.add(record));
        listener(Event::Begin { step: state.step, total_steps, resumed_from: inputs.resume.as_ref().map(|c| c.folder.as_path()) });
        let mut run = Self {
            adapter,
            optimizer,
            gradients,
            own: None,
            validation_packs,
            schedule: Schedule::new(schedule, learning_rate, warmup_ratio, total_steps),
            total_steps,
            order: (u64::MAX, Vec::new()),
            log,
            saved_step: inputs.resume.as_ref().map(|_| state.step),
            elapsed_before_s: speed.elapsed_s,
            speed,
            started: Instant::now(),
            state,
            inputs,
            _lock: lock,
        };
        run.renew_decoder();
        Ok(run)
    }

    /// The decoder that computes now.
    fn decoder(&self) -> &Decoder<D> {
        self.own.as_ref().unwrap_or(self.inputs.decoder)
    }

    /// Makes the decoder of weights that were changed.
    fn renew_decoder(&mut self) {
        if !self.adapter.is_whole() {
            return;
        }
        // The old one goes first: there is room for one.
        self.own = None;
        let base = self.inputs.decoder;
        let made = base.device().run(|| Decoder::of_whole(base.device().clone(), base.config(), &self.adapter));
        self.own = Some(made.with_logits_bytes(self.inputs.memory.logits_bytes));
    }

    fn is_done(&self) -> bool {
        self.state.step >= self.total_steps || self.state.stopped_early
    }

    fn elapsed_s(&self) -> f64 {
        self.elapsed_before_s + self.started.elapsed().as_secs_f64()
    }

    pub(crate) fn speed(&self) -> Speed {
        Speed { elapsed_s: self.elapsed_s(), ..self.speed }
    }

    /// Passes over the data done, as a fraction.
    pub(crate) fn epochs_done(&self) -> f64 {
        self.state.epoch as f64 + self.state.position as f64 / self.inputs.train.len() as f64
    }

    /// The examples of the next step, by number.
    fn next_batch(&mut self) -> Vec<usize> {
        let TrainConfig { seed, shuffle, .. } = self.inputs.config;
        let n = self.inputs.train.len();
        if self.order.0 != self.state.epoch {
            self.order = (self.state.epoch, epoch_order(n, seed, self.state.epoch, shuffle));
        }
        let end = (self.state.position + self.inputs.config.examples_per_step()).min(n);
        self.order.1[self.state.position..end].to_vec()
    }

    /// One optimiser step and what follows it. `None` when it was given up because of `stop`.
    fn step(&mut self, listener: &mut dyn FnMut(Event<'_>), stop: &AtomicBool) -> Result<Option<()>, TrainError> {
        let started = Instant::now();
        let numbers = self.next_batch();
        let batch: Vec<&Sequence> = numbers.iter().map(|i| &self.inputs.train[*i]).collect();
        let mut packs = pack(&batch, pack_options(&self.inputs.config, self.inputs.train, self.state.max_pack_tokens));
        if let Some(alpha) = self.inputs.config.neftune_alpha {
            let channels = self.inputs.decoder.config().hidden_size;
            add_noise(&mut packs, &batch, &numbers, NoiseOptions { alpha, channels, seed: self.inputs.config.seed, step: self.state.step });
        }
        let options = GradientOptions {
            checkpointing: self.inputs.memory.checkpointing(),
            dropout: self.inputs.config.dropout,
            seed: self.inputs.config.seed,
            step: self.state.step,
        };
        let decoder = self.own.as_ref().unwrap_or(self.inputs.decoder);
        let Some(sum) = summed_gradients(decoder, &self.adapter, &packs, options, &mut self.gradients, stop) else {
            return Ok(None);
        };
        let device = &**self.inputs.decoder.device();
        let learning_rate = self.schedule.learning_rate(self.state.step);
        let (grad_norm, scale) = norm_and_scale(self.gradients.sum_of_squares(device), sum.n_tokens, self.inputs.config.clip);
        for (what, value) in [("loss", sum.loss_sum_nats), ("gradient norm", grad_norm)] {
            if !value.is_finite() {
                return Err(TrainError::NotFinite { step: self.state.step + 1, what, value, learning_rate });
            }
        }
        self.optimizer.step(device, &mut self.adapter, &self.gradients, learning_rate, scale as f32);
        self.renew_decoder();
        let step_s = started.elapsed().as_secs_f64();

        let mut state = self.state.clone();
        state.step += 1;
        state.totals.add(sum);
        state.epoch_totals.add(sum);
        state.position += batch.len();
        let epoch_ended = state.position >= self.inputs.train.len();
        if epoch_ended {
            state.epoch += 1;
            state.position = 0;
            state.last_epoch_totals = Some(std::mem::take(&mut state.epoch_totals));
        }
        self.state = state;
        let n_sequence_tokens = batch.iter().map(|s| s.n_tokens() as u64).sum();
        let n_computed_tokens = packs.iter().map(|p| p.ids.len() as u64).sum();
        let mut record = StepRecord {
            step: self.state.step,
            epoch: self.epochs_done(),
            loss: sum.loss_sum_nats / sum.n_tokens,
            token_accuracy: sum.n_correct / sum.n_tokens,
            learning_rate,
            grad_norm,
            n_tokens: sum.n_tokens as u64,
            n_sequence_tokens,
            n_computed_tokens,
            validation: None,
            timing: StepTiming {
                tokens_per_s: n_sequence_tokens as f64 / step_s,
                computed_tokens_per_s: n_computed_tokens as f64 / step_s,
                elapsed_s: self.elapsed_s(),
            },
        };
        let milestone = epoch_ended || self.state.step >= self.total_steps;
        if milestone && !self.validation_packs.is_empty() {
            listener(Event::Validating { step: self.state.step });
            // Not interrupted: a step can only be saved with what its validation found.
            record.validation = Some(self.validate());
        }
        self.log.append(&record)?;
        self.speed.add(&record);
        listener(Event::Step { record: &record, total_steps: self.total_steps });
        let due = self.inputs.config.save_steps.is_some_and(|every| self.state.step.is_multiple_of(every));
        if milestone || due {
            self.save(listener)?;
        }
        Ok(Some(()))
    }

    /// Measures the validation set and keeps account of the best.
    fn validate(&mut self) -> ValidationRecord {
        let sum = summed_loss(self.decoder(), &self.adapter, &self.validation_packs);
        let loss = sum.loss_sum_nats / sum.n_tokens;
        let record = ValidationRecord { loss, token_accuracy: sum.n_correct / sum.n_tokens, n_tokens: sum.n_tokens as u64 };
        let state = &mut self.state;
        state.last_validation = Some(record);
        // A loss that is not finite is never an improvement.
        if loss.is_finite() && state.best.is_none_or(|best| loss < best.loss) {
            state.best = Some(Best { step: state.step, loss });
            state.validations_without_improvement = 0;
        } else {
            state.validations_without_improvement += 1;
        }
        let patience = self.inputs.config.early_stopping_patience;
        let exhausted = patience.is_some_and(|patience| state.validations_without_improvement >= patience);
        state.stopped_early = exhausted && state.step < self.total_steps;
        record
    }

    /// Brings the log to the disk and writes a checkpoint of the current step.
    pub(crate) fn save(&mut self, listener: &mut dyn FnMut(Event<'_>)) -> Result<PathBuf, TrainError> {
        self.inputs.decoder.device().release_unused();
        self.log.sync()?;
        let folder = self.write_checkpoint()?;
        self.saved_step = Some(self.state.step);
        checkpoint::prune(self.inputs.output, self.inputs.config.save_total_limit, self.state.best.map(|best| best.step))?;
        listener(Event::Checkpoint { folder: &folder });
        Ok(folder)
    }
}
