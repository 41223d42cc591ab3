//! An Ollama Modelfile: where the model is, how a conversation is written, what ends an answer.

use std::path::Path;

use anyhow::{Context as _, bail};
use dyag_text::go_template;

use crate::exported::{Exported, gguf_tokenizer};

/// The Modelfile of a model that will lie at `output`.
pub(super) fn text(exported: &Exported, output: &Path) -> anyhow::Result<String> {
    let (files, date) = (&exported.files, exported.date()?);
    let tokenizer = gguf_tokenizer(files)?;
    // The program that reads the file puts BOS first where the tokenizer says so, as it does for SentencePiece unless it says no.
    let adds_bos = tokenizer.add_bos_token.unwrap_or(tokenizer.model == "llama");
    let template = go_template(files.chat().template(), adds_bos, date).context("no Modelfile can be written; leave --modelfile out")?;
    let whole = std::path::absolute(output).with_context(|| format!("cannot tell where {} is", output.display()))?;
    let mut text = format!("FROM {}\nTEMPLATE \"\"\"{template}\"\"\"\n", quoted_path(&whole)?);
    if let Some(system) = exported.manifest.as_ref().and_then(|manifest| manifest.system_message.as_deref()) {
        if system.contains("\"\"\"") {
            bail!("the adapter's system message has three quotes, which a Modelfile cannot hold; leave --modelfile out");
        }
        text += &format!("SYSTEM \"\"\"{system}\"\"\"\n");
    }
    for word in files.stop_ids().iter().filter_map(|id| tokenizer.tokens.get(*id as usize)) {
        text += &format!("PARAMETER stop {}\n", serde_json::Value::from(word.as_str()));
    }
    Ok(text)
}

/// A path as the format takes it: in one line.
fn quoted_path(path: &Path) -> anyhow::Result<String> {
    match path.to_str() {
        Some(text) if !text.contains(['\n', '\r', '"']) => Ok(text.to_owned()),
        _ => bail!("{} cannot stand in a Modelfile: expected a name in UTF-8 without quotes and line ends", path.display()),
    }
}
