//! A cross-encoder's weights: an encoder, and the head that makes one number of a pair of texts.

use std::path::Path;

use super::encoder::{BiasedMatrix, EncoderModel, EncoderWeights, biased, is_counted_anew, open};
use crate::config::{ClassifierHead, classifier_head};
use crate::error::ModelError;

/// A cross-encoder as its files give it: Transformers' `…ForSequenceClassification` with one label.
#[derive(Clone, Debug)]
pub struct RerankerModel {
    /// The layers; its source has the tensors of the head as well.
    pub encoder: EncoderModel,
    /// What stands on top of them.
    pub head: RerankerHead,
}

/// From the first token's state to one number: `out(tanh(dense(x)))`. BERT calls the first half its pooler, RoBERTa calls both its classification head.
#[derive(Clone, Debug)]
pub struct RerankerHead {
    /// `[C, C]`.
    pub dense: BiasedMatrix,
    /// `[1, C]`.
    pub out: BiasedMatrix,
}

impl RerankerModel {
    /// Loads the cross-encoder in the folder `path`: config.json with model.safetensors or its sharded index.
    ///
    /// # Errors
    /// As [`EncoderModel::load`], and when the model has no head, more labels than one, or a head of another size.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let (config, mut table) = open(path)?;
        let head = classifier_head(&path.join("config.json"))?;
        let weights = EncoderWeights::build(&config, &mut table)?;
        let (dense, out) = match head {
            ClassifierHead::Bert => ("pooler.dense", "classifier"),
            ClassifierHead::Roberta => ("classifier.dense", "classifier.out_proj"),
        };
        let c = config.hidden_size;
        let head_weights = RerankerHead { dense: biased(&mut table, dense, c, c)?, out: biased(&mut table, out, 1, c)? };
        // RoBERTa's head does not read the pooler that some checkpoints keep.
        table.refuse_unused(|name| is_counted_anew(name) || head == ClassifierHead::Roberta && name.starts_with("pooler."))?;
        Ok(Self { encoder: EncoderModel::of_parts(path, config, weights, table), head: head_weights })
    }
}
