//! The data of a run: conversations read, turned into examples and looked over; and the files that go with the adapter.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use dyag_model::export::{config_json, generation_config_json};
use dyag_model::weights::Dtype;
use dyag_text::{Audit, Dataset, Date, Example, ExampleOptions, TextError, Truncation, audit, common_system};
use dyag_train::checkpoint::Checkpoint;
use dyag_train::manifest::{ConversationFacts, DatasetFacts};
use dyag_train::order::split;
use dyag_train::packing::Sequence;
use dyag_train::{Companion, TrainConfig};
use serde_json::json;

use super::arguments::DataArgs;
use crate::model_files::ModelFiles;

/// Everything that is learned from or validated on.
pub(super) struct Data {
    pub(super) train: Vec<Sequence>,
    pub(super) validation: Vec<Sequence>,
    pub(super) audit: Audit,
    pub(super) validation_audit: Option<Audit>,
    pub(super) conversation: ConversationFacts,
    pub(super) facts: DatasetFacts,
    /// What of the files is left out, in sentences.
    pub(super) left_out: Vec<String>,
}

impl Data {
    /// Makes examples of the dataset, and of the validation set when there is one.
    pub(super) fn of(sets: Sets<'_>, config: &TrainConfig, date: Option<Date>, files: &ModelFiles) -> anyhow::Result<Self> {
        let Sets { path, dataset, validation } = sets;
        let mut left_out: Vec<String> = placeholders_left_out(&dataset).into_iter().collect();
        let mut examples = make_examples(&dataset, config, date, files)?;
        let (mut validation_examples, mut validation_file) = (Vec::new(), None);
        if let Some((path, dataset)) = validation {
            left_out.extend(placeholders_left_out(&dataset));
            validation_examples = make_examples(&dataset, config, date, files)?;
            validation_file = Some((file_name(path), dataset.sha256));
        } else if let Some(share) = config.validation_split {
            let n = examples.len();
            if n < 2 || share <= 0.0 {
                bail!("--validation-split {share}: {} has {n} conversations; expected a share above 0 of at least 2", path.display());
            }
            let (train, validation) = split(n, share, config.seed);
            validation_examples = validation.iter().map(|i| examples[*i].clone()).collect();
            examples = train.iter().map(|i| examples[*i].clone()).collect();
        }
        let audited = audit(&examples, files.chat())?;
        let validation_audit = (!validation_examples.is_empty()).then(|| audit(&validation_examples, files.chat())).transpose()?;
        let (validation_name, validation_sha256) = validation_file.unzip();
        let facts = DatasetFacts {
            name: file_name(path),
            sha256: dataset.sha256.clone(),
            n_conversations: audited.n_examples as u64,
            n_tokens: audited.n_tokens as u64,
            n_trained_tokens: audited.n_trained_tokens as u64,
            validation_name,
            validation_sha256,
            n_validation_conversations: validation_examples.len() as u64,
        };
        let system_message = common_system(&dataset.conversations).map(str::to_owned);
        Ok(Self {
            train: examples.iter().map(Sequence::from).collect(),
            validation: validation_examples.iter().map(Sequence::from).collect(),
            audit: audited,
            validation_audit,
            conversation: ConversationFacts { system_message, date: date.map(|date| date.to_string()) },
            facts,
            left_out,
        })
    }
}

/// What there is to say of rows that are marked as placeholders.
fn placeholders_left_out(dataset: &Dataset) -> Option<String> {
    let (n, path) = (dataset.n_skipped_placeholders, dataset.path.display());
    let rows =
        if n == 1 { "1 row is marked as a placeholder and is".to_owned() } else { format!("{n} rows are marked as placeholders and are") };
    (n > 0).then(|| format!("{path}: {rows} not learned"))
}

fn make_examples(dataset: &Dataset, config: &TrainConfig, date: Option<Date>, files: &ModelFiles) -> anyhow::Result<Vec<Example>> {
    let options = ExampleOptions {
        loss: config.loss,
        max_tokens: Some(config.max_seq_length),
        truncation: if config.truncate { Truncation::Truncate } else { Truncation::Refuse },
        date,
    };
    files.chat().examples(&dataset.conversations, &options).map_err(|error| match error {
        error @ TextError::TooLong { .. } => {
            let unlimited = ExampleOptions { max_tokens: None, ..options };
            let lengths: Vec<usize> = files.chat().examples(&dataset.conversations, &unlimited).map_or_else(|_| Vec::new(), |all| all.iter().map(|example| example.ids.len()).collect());
            let (limit, longest) = (config.max_seq_length, lengths.iter().max().copied().unwrap_or(0));
            let n_longer = lengths.iter().filter(|length| **length > limit).count();
            anyhow::Error::new(error).context(format!(
                "{n_longer} of {} examples are longer than --max-seq-length {limit}, the longest has {longest} tokens: give --max-seq-length {longest}, or --truncate to cut such examples",
                lengths.len(),
            ))
        }
        error => error.into(),
    })
}

/// The files of conversations, read.
pub(super) struct Sets<'a> {
    path: &'a Path,
    dataset: Dataset,
    validation: Option<(&'a Path, Dataset)>,
}

impl<'a> Sets<'a> {
    /// Reads `path`, and the file of validation that `args` name.
    pub(super) fn read(path: &'a Path, args: &'a DataArgs) -> anyhow::Result<Self> {
        let validation = args.validation.as_deref().map(|path| Dataset::read(path).map(|dataset| (path, dataset))).transpose()?;
        Ok(Self { path, dataset: Dataset::read(path)?, validation })
    }
}

/// The name of a file without what leads to it: a run gives the same bytes wherever its data lie.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The date a template is told: the one asked for, that of the resumed run, or today's; none when the template does not ask.
pub(super) fn frozen_date(asked: Option<Date>, files: &ModelFiles, checkpoint: Option<&Checkpoint>) -> anyhow::Result<Option<Date>> {
    if asked.is_some() || !files.chat().template().reads_clock() {
        return Ok(asked);
    }
    if let Some(date) = checkpoint.and_then(|checkpoint| checkpoint.manifest.date.as_ref()) {
        return date.parse().map(Some).map_err(|problem: String| anyhow::anyhow!("the manifest of the checkpoint: date: {problem}"));
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).context("the system's clock is before 1970; give --date")?.as_secs();
    Ok(Date::from_unix_seconds(seconds))
}

/// Files that make the adapter's folder complete for other programs: the tokenizer and the chat template.
pub(super) fn companions(files: &ModelFiles) -> anyhow::Result<Vec<Companion>> {
    let template = files.chat().template();
    let mut companions = vec![Companion { name: "chat_template.jinja".to_owned(), content: template.source().as_bytes().to_vec() }];
    if files.model().source.tokenizer.is_some() {
        let special = template.special();
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": special.bos,
            "eos_token": special.eos,
            "unk_token": special.unk,
            "pad_token": special.pad,
            "clean_up_tokenization_spaces": false,
        });
        companions.push(Companion { name: "tokenizer.json".to_owned(), content: files.tokenizer().to_json().into_bytes() });
        let content = format!("{}\n", serde_json::to_string_pretty(&config)?).into_bytes();
        companions.push(Companion { name: "tokenizer_config.json".to_owned(), content });
        return Ok(companions);
    }
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        let path = files.path().join(name);
        if path.exists() {
            let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            companions.push(Companion { name: name.to_owned(), content });
        }
    }
    Ok(companions)
}

/// Files that make the folder of a model that was trained whole a model's: its configuration, with weights in F32.
pub(super) fn configuration(files: &ModelFiles) -> anyhow::Result<Vec<Companion>> {
    let json = |name: &str, value: &serde_json::Value| -> anyhow::Result<Companion> {
        Ok(Companion { name: name.to_owned(), content: format!("{}\n", serde_json::to_string_pretty(value)?).into_bytes() })
    };
    let read = |name: &str| -> anyhow::Result<Option<serde_json::Value>> {
        let path = files.path().join(name);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Some(serde_json::from_slice(&text).with_context(|| format!("{}: not JSON", path.display()))?))
    };
    let Some(mut config) = read("config.json")? else {
        // A GGUF file: what its metadata say, in Transformers' words.
        let config = config_json(files.config(), Dtype::F32)?;
        return Ok(vec![json("config.json", &config)?, json("generation_config.json", &generation_config_json(files.config()))?]);
    };
    // Transformers 4 and 5 name it differently.
    for key in ["torch_dtype", "dtype"] {
        if config.get(key).is_some() {
            config[key] = json!("float32");
        }
    }
    let mut companions = vec![json("config.json", &config)?];
    if let Some(generation) = read("generation_config.json")? {
        companions.push(json("generation_config.json", &generation)?);
    }
    Ok(companions)
}
