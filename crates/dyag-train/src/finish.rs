//! What a run leaves: checkpoints, the final adapter; and how it comes back from a checkpoint.

use std::path::{Path, PathBuf};

use dyag_kernels::Device;
use dyag_model::adapter::Adapter;
use dyag_model::decoder::DeviceAdapter;
use serde_json::{Map, json};

use crate::checkpoint::{Checkpoint, OWN_FILES, STATE_FILE, TrainerState, folder_of};
use crate::config::Method;
use crate::error::TrainError;
use crate::event::Event;
use crate::folder::NewFolder;
use crate::manifest::{MANIFEST_FILE, Manifest, Metrics};
use crate::memory::peak_resident_bytes;
use crate::optimizer::{AdamW, AdamWSettings};
use crate::run::{FINAL_FOLDER, Outcome, Run, TrainInputs};
use crate::tensors::{read_model, write_model};

impl<D: Device> TrainInputs<'_, D> {
    /// The manifest of a run from these inputs.
    pub(crate) fn manifest(&self, metrics: Metrics) -> Manifest {
        let kernel = self.decoder.device().describe();
        let (base, conversation, dataset) = (self.base_model.clone(), self.conversation.clone(), self.dataset.clone());
        Manifest::new(base, conversation, dataset, self.config.clone(), kernel, metrics)
    }

    /// Writes what every folder of an adapter, or of a model that was trained whole, holds.
    fn write_trained(&self, folder: &NewFolder, trained: &DeviceAdapter<D>, manifest: &Manifest) -> Result<(), TrainError> {
        let (device, model) = (&**self.decoder.device(), self.decoder.config());
        if trained.is_whole() {
            write_model(device, model, trained, folder.path())?;
        } else {
            trained.download(device).save(folder.path(), &self.adapter_config).map_err(Box::new)?;
        }
        for companion in self.companions {
            assert!(!OWN_FILES.contains(&companion.name.as_str()), "{} would hide one of our own files", companion.name);
            folder.write(&companion.name, &companion.content)?;
        }
        folder.write_json(MANIFEST_FILE, manifest)
    }

    /// Reads what [`TrainInputs::write_trained`] wrote.
    fn read_trained(&self, folder: &Path) -> Result<DeviceAdapter<D>, TrainError> {
        let (device, model) = (&**self.decoder.device(), self.decoder.config());
        match self.config.method {
            Method::Full => read_model(device, model, folder),
            Method::Lora => Ok(DeviceAdapter::upload(device, &Adapter::load(folder, model).map_err(Box::new)?)),
        }
    }
}

impl<D: Device> Run<'_, D> {
    fn metrics(&self, adapter_step: u64) -> Metrics {
        let TrainerState {
            format: _,
            step,
            epoch: _,
            position: _,
            totals,
            epoch_totals,
            last_epoch_totals,
            last_validation,
            best,
            validations_without_improvement: _,
            stopped_early,
            max_pack_tokens: _,
        } = &self.state;
        let last_epoch = last_epoch_totals.as_ref().unwrap_or(epoch_totals);
        Metrics {
            steps: *step,
            epochs: self.epochs_done(),
            train_loss: totals.loss(),
            train_token_accuracy: totals.token_accuracy(),
            last_epoch_loss: last_epoch.loss(),
            last_epoch_token_accuracy: last_epoch.token_accuracy(),
            validation_loss: last_validation.map(|v| v.loss),
            validation_token_accuracy: last_validation.map(|v| v.token_accuracy),
            best_step: best.map(|b| b.step),
            best_validation_loss: best.map(|b| b.loss),
            adapter_step,
            stopped_early: *stopped_early,
        }
    }

    /// Writes a checkpoint of the current step.
    pub(crate) fn write_checkpoint(&self) -> Result<PathBuf, TrainError> {
        let device = &**self.inputs.decoder.device();
        let target = folder_of(self.inputs.output, self.state.step);
        let folder = NewFolder::create(&target)?;
        let manifest = self.inputs.manifest(self.metrics(self.state.step));
        self.inputs.write_trained(&folder, &self.adapter, &manifest)?;
        self.optimizer.save(device, self.inputs.decoder.config(), folder.path())?;
        folder.write_json(STATE_FILE, &self.state)?;
        folder.write_sums()?;
        folder.publish()?;
        Ok(target)
    }

    /// Ends a run that was asked to stop, with a checkpoint of the steps that are done.
    pub(crate) fn interrupted(mut self, listener: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, TrainError> {
        let step = self.state.step;
        let checkpoint = match self.saved_step {
            Some(saved) if saved == step => Some(folder_of(self.inputs.output, saved)),
            _ if step == 0 => None,
            _ => Some(self.save(listener)?),
        };
        Ok(Outcome::Interrupted { step, checkpoint })
    }

    /// Leaves the last adapter, or the best one, as the final one.
    pub(crate) fn finish(self, listener: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, TrainError> {
        let best = self.state.best.map(|best| best.step).filter(|_| self.inputs.config.load_best);
        let adapter_step = best.unwrap_or(self.state.step);
        let best = if adapter_step == self.state.step {
            None
        } else {
            let checkpoint = Checkpoint::open(&folder_of(self.inputs.output, adapter_step))?;
            listener(Event::Note(format!("the adapter of step {adapter_step}, the best on the validation set, is kept")));
            Some(self.inputs.read_trained(&checkpoint.folder)?)
        };
        let metrics = self.metrics(adapter_step);
        let mut manifest = self.inputs.manifest(metrics.clone());
        let speed = self.speed();
        manifest.timing = Map::from_iter([
            ("elapsed_s".to_owned(), json!(speed.elapsed_s)),
            ("tokens_per_s".to_owned(), json!(speed.tokens_per_s())),
            ("computed_tokens_per_s".to_owned(), json!(speed.computed_tokens_per_s())),
            ("finished_unix_s".to_owned(), json!(unix_seconds())),
            ("peak_memory_bytes".to_owned(), json!(peak_resident_bytes())),
        ]);
        let target = self.inputs.output.join(FINAL_FOLDER);
        let folder = NewFolder::create(&target)?;
        self.inputs.write_trained(&folder, best.as_ref().unwrap_or(&self.adapter), &manifest)?;
        folder.publish()?;
        Ok(Outcome::Finished { folder: target, metrics, speed })
    }
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Adapter, moments and state of a checkpoint.
pub(crate) fn restore<D: Device>(
    checkpoint: &Checkpoint,
    inputs: &TrainInputs<'_, D>,
) -> Result<(DeviceAdapter<D>, AdamW<D>, TrainerState), TrainError> {
    let device = &**inputs.decoder.device();
    let state = checkpoint.state.clone();
    let inconsistent = |problem: String| TrainError::DamagedCheckpoint {
        checkpoint: checkpoint.folder.clone(),
        file: STATE_FILE.to_owned(),
        problem,
        older: None,
    };
    if state.position >= inputs.train.len() {
        return Err(inconsistent(format!("position {} of an epoch of {} examples", state.position, inputs.train.len())));
    }
    if state.max_pack_tokens == 0 {
        return Err(inconsistent("max_pack_tokens is 0".to_owned()));
    }
    let n_updates = u32::try_from(state.step).map_err(|_| inconsistent(format!("step {} is too large", state.step)))?;
    let adapter = inputs.read_trained(&checkpoint.folder)?;
    let optimizer =
        AdamW::load(device, &adapter, inputs.decoder.config(), AdamWSettings::of(&inputs.config), n_updates, &checkpoint.folder)?;
    Ok((adapter, optimizer, state))
}

/// Other kernels round otherwise: the run goes on, but not to the same bits.
pub(crate) fn note_other_kernel(checkpoint: &Checkpoint, now: &str, listener: &mut dyn FnMut(Event<'_>)) {
    let then = &checkpoint.manifest.kernel;
    if then != now {
        let text = format!("the checkpoint was computed by `{then}` and the run goes on with `{now}`: results will differ in rounding");
        listener(Event::Note(text));
    }
}
