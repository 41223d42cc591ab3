//! A reference dump: safetensors with what Transformers and PEFT computed, and reference.json beside it with how.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use dyag_kernels::device::AttentionSpan;
use dyag_model::adapter::Adapter;
use dyag_model::config::DecoderConfig;
use dyag_model::decoder::{Pack, Part, Target};
use dyag_model::weights::SafetensorsFile;
use serde::Deserialize;

/// Label of a token that carries no loss.
const NO_LOSS: i64 = -100;

/// How the dump was computed: reference.json.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Facts {
    optimizer: String,
    dtype: String,
    /// Optimiser steps.
    pub(super) steps: usize,
    pub(super) learning_rate: f64,
    pub(super) betas: [f32; 2],
    pub(super) eps: f32,
    pub(super) weight_decay: f32,
    /// Learning rate of B and of magnitudes as a multiple of A's, as PEFT's `create_loraplus_optimizer` groups them; absent or null: one for all.
    #[serde(default)]
    pub(super) loraplus_lr_ratio: Option<f64>,
    /// Gradients of a larger norm are scaled down to it; absent or null: never.
    #[serde(default)]
    pub(super) max_grad_norm: Option<f64>,
    /// Tokens of `greedy_ids` that were given.
    pub(super) prompt_tokens: usize,
    /// How far Transformers is from the dump in bfloat16.
    #[serde(default)]
    pub(super) bf16: Option<Bf16Errors>,
}

/// Transformers' own errors in bfloat16.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Bf16Errors {
    pub(super) logits_max_relative_to_largest: f64,
    pub(super) grad_relative_l2_worst: f64,
    pub(super) grad_relative_l2_mean: f64,
}

/// A dump, checked against the model and the adapter it is said to be of.
pub(super) struct Dump {
    pub(super) path: PathBuf,
    /// reference.json.
    pub(super) facts_path: PathBuf,
    pub(super) facts: Facts,
    file: SafetensorsFile,
    /// Unmasked tokens of all rows, end to end.
    pub(super) pack: Pack,
    /// Row and column in the dump of each token of `pack`.
    pub(super) places: Vec<(usize, usize)>,
    /// B and T.
    shape: [usize; 2],
    vocab_size: usize,
}

impl Dump {
    /// Opens the dump at `path` and checks all but its floating-point values.
    pub(super) fn open(path: &Path, config: &DecoderConfig, adapter: Option<&Adapter>) -> anyhow::Result<Self> {
        let facts_path = path.with_file_name("reference.json");
        let facts = read_facts(&facts_path)?;
        let file = SafetensorsFile::open(path)?;
        let [ids, mask, labels] = ["input_ids", "attention_mask", "labels"].map(|name| integers(&file, name));
        let (ids, mask, labels) = (ids?, mask?, labels?);
        let shape = ids.1;
        for (name, other) in [("attention_mask", mask.1), ("labels", labels.1)] {
            ensure!(other == shape, "{}: `{name}` has shape {other:?}, and input_ids {shape:?}; expected the same", path.display());
        }
        let (pack, places) = lay_out(path, shape, config.vocab_size, [&ids.0, &mask.0, &labels.0])?;
        let dump = Self { path: path.to_owned(), facts_path, facts, file, pack, places, shape, vocab_size: config.vocab_size };
        let names = match adapter {
            Some(adapter) => adapter.named_tensors().map(|(name, _)| name).collect(),
            None => Part::all(config).into_iter().map(|part| part.name(config)).collect(),
        };
        dump.check_names(names)?;
        Ok(dump)
    }

    /// The values of `name`, which must have that shape.
    pub(super) fn floats(&self, name: &str, shape: &[usize]) -> anyhow::Result<Vec<f32>> {
        let tensor = self.file.tensor(name).or_else(|| self.file.tensor(&in_model(name))).with_context(|| self.missing(name))?;
        ensure!(tensor.shape == shape, "{}: tensor `{name}` has shape {:?}, expected {shape:?}", self.path.display(), tensor.shape);
        Ok(tensor.to_f32()?)
    }

    /// Logits `[B, T, V]` called `name`.
    pub(super) fn logits(&self, name: &str) -> anyhow::Result<Vec<f32>> {
        self.floats(name, &[self.shape[0], self.shape[1], self.vocab_size])
    }

    /// Where the logits of token `i` of the pack lie in [`Dump::logits`].
    pub(super) fn logits_of(&self, i: usize) -> Range<usize> {
        let (row, column) = self.places[i];
        let start = (row * self.shape[1] + column) * self.vocab_size;
        start..start + self.vocab_size
    }

    /// The prompt and the tokens that follow it.
    pub(super) fn greedy(&self) -> anyhow::Result<(Vec<u32>, Vec<u32>)> {
        let (ids, [rows, _]) = integers(&self.file, "greedy_ids")?;
        ensure!(rows == 1, "{}: `greedy_ids` has {rows} rows, expected 1", self.path.display());
        let n = self.facts.prompt_tokens;
        let path = self.facts_path.display();
        ensure!(n >= 1 && n < ids.len(), "{path}: prompt_tokens is {n}, expected 1 to {} (greedy_ids has {})", ids.len() - 1, ids.len());
        let mut prompt = ids.iter().map(|id| token(&self.path, "greedy_ids", *id, self.vocab_size)).collect::<Result<Vec<_>, _>>()?;
        let new = prompt.split_off(n);
        Ok((prompt, new))
    }

    fn missing(&self, name: &str) -> String {
        format!("{}: tensor `{name}` is missing; tools/reference/make_reference.py makes whole dumps", self.path.display())
    }

    /// Every trained tensor needs its gradient and its final values, and none may be of another adapter.
    fn check_names(&self, names: Vec<String>) -> anyhow::Result<()> {
        let expected: BTreeSet<String> = names.iter().flat_map(|name| [format!("grad.{name}"), format!("final.{name}")]).collect();
        let is_there = |name: &str| self.file.tensor(name).is_some() || self.file.tensor(&in_model(name)).is_some();
        if let Some(name) = expected.iter().find(|name| !is_there(name)) {
            bail!("{}; is this the dump of this adapter?", self.missing(name));
        }
        let known = |name: &str| expected.contains(name) || expected.contains(in_file(name));
        let foreign = |name: &&str| (name.starts_with("grad.") || name.starts_with("final.")) && !known(name);
        match self.file.names().find(foreign) {
            Some(name) => bail!("{}: tensor `{name}` is of no matrix of this adapter; is this its dump?", self.path.display()),
            None => Ok(()),
        }
    }
}

/// Magnitudes are called so in a model that PEFT made; its files leave the end out, and dumps may do either.
const IN_MODEL: &str = ".weight";
const MAGNITUDE: &str = ".lora_magnitude_vector";

fn in_model(name: &str) -> String {
    if name.ends_with(MAGNITUDE) { format!("{name}{IN_MODEL}") } else { name.to_owned() }
}

fn in_file(name: &str) -> &str {
    name.strip_suffix(IN_MODEL).filter(|name| name.ends_with(MAGNITUDE)).unwrap_or(name)
}

fn read_facts(path: &Path) -> anyhow::Result<Facts> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}, which must lie beside the reference", path.display()))?;
    let facts: Facts = serde_json::from_slice(&text).with_context(|| format!("{} is not the description of a dump", path.display()))?;
    let path = path.display();
    ensure!(facts.optimizer == "AdamW", "{path}: optimizer is {:?}, expected \"AdamW\"", facts.optimizer);
    ensure!(facts.dtype == "float32", "{path}: dtype is {:?}, expected \"float32\": dumps are made in single precision", facts.dtype);
    ensure!((1..=10_000).contains(&facts.steps), "{path}: steps is {}, expected 1 to 10000", facts.steps);
    if let Some(norm) = facts.max_grad_norm {
        ensure!(norm > 0.0, "{path}: max_grad_norm is {norm}, expected a number above 0, or null for no clipping");
    }
    if let Some(ratio) = facts.loraplus_lr_ratio {
        ensure!(ratio > 0.0, "{path}: loraplus_lr_ratio is {ratio}, expected a number above 0, or null for one learning rate");
    }
    if let Some(Bf16Errors { logits_max_relative_to_largest, grad_relative_l2_worst, grad_relative_l2_mean }) = facts.bf16 {
        let all = [logits_max_relative_to_largest, grad_relative_l2_worst, grad_relative_l2_mean];
        ensure!(all.iter().all(|error| *error > 0.0), "{path}: the errors under bf16 are {all:?}, expected numbers above 0");
    }
    Ok(facts)
}

/// A tensor of integers with two dimensions.
fn integers(file: &SafetensorsFile, name: &str) -> anyhow::Result<(Vec<i64>, [usize; 2])> {
    let path = file.path().display();
    let tensor = file.tensor(name).with_context(|| format!("{path}: tensor `{name}` is missing; is this a reference dump?"))?;
    let &[rows, columns] = tensor.shape else { bail!("{path}: tensor `{name}` has shape {:?}, expected two dimensions", tensor.shape) };
    ensure!(rows > 0 && columns > 0, "{path}: tensor `{name}` has shape {:?}: it is empty", tensor.shape);
    Ok((tensor.to_i64()?, [rows, columns]))
}

fn token(path: &Path, name: &str, id: i64, vocab_size: usize) -> anyhow::Result<u32> {
    let fitting = u32::try_from(id).ok().filter(|id| (*id as usize) < vocab_size);
    fitting.with_context(|| format!("{}: `{name}` holds {id}, expected tokens from 0 to {}", path.display(), vocab_size - 1))
}

/// Lays the unmasked tokens of all rows end to end. Positions count columns, as Transformers does.
fn lay_out(path: &Path, shape: [usize; 2], vocab_size: usize, tensors: [&[i64]; 3]) -> anyhow::Result<(Pack, Vec<(usize, usize)>)> {
    let [ids, mask, labels] = tensors;
    let (mut pack, mut places) = (Pack::default(), Vec::new());
    let display = path.display();
    for row in 0..shape[0] {
        let cells = row * shape[1]..(row + 1) * shape[1];
        let (ids, mask, labels) = (&ids[cells.clone()], &mask[cells.clone()], &labels[cells]);
        let start = mask.iter().position(|m| *m != 0).unwrap_or(0);
        let n = mask[start..].iter().take_while(|m| **m != 0).count();
        ensure!(
            mask[start + n..].iter().all(|m| *m == 0),
            "{display}: `attention_mask` has a hole in row {row}; expected one run of tokens"
        );
        let first = pack.ids.len();
        for column in start..start + n {
            if column > start && labels[column] != NO_LOSS {
                let id = token(path, "labels", labels[column], vocab_size)?;
                pack.targets.push(Target { row: pack.ids.len() - 1, id, weight: 1.0 });
            }
            pack.ids.push(token(path, "input_ids", ids[column], vocab_size)?);
            pack.positions.push(column as u32);
            places.push((row, column));
        }
        // A label needs a token before it that can predict it; that of the first column predicts nothing in Transformers either.
        let stray = (1..shape[1]).find(|column| labels[*column] != NO_LOSS && !(start + 1..start + n).contains(column));
        if let Some(column) = stray {
            bail!(
                "{display}: `labels` has {} in row {row}, column {column}, where `attention_mask` is 0 or begins; expected {NO_LOSS}",
                labels[column]
            );
        }
        if n > 0 {
            let own = first..first + n;
            pack.spans.push(AttentionSpan { queries: own.clone(), prefix: first..first, own });
        }
    }
    ensure!(!pack.ids.is_empty(), "{display}: `attention_mask` is 0 everywhere; expected at least one token");
    ensure!(!pack.targets.is_empty(), "{display}: `labels` is {NO_LOSS} everywhere; expected at least one labelled token");
    Ok((pack, places))
}
