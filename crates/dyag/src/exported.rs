//! What the commands share that write models: a base with its adapter, and the tokenizer of either kind of files in the form of the other.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use dyag_model::adapter::Adapter;
use dyag_model::weights::{GgufTokenizer, SourceKind};
use dyag_text::{Date, TokenizerSpec};
use dyag_train::manifest::{MANIFEST_FILE, Manifest};

use crate::loaded_model::{base_of, check_base, read_manifest};
use crate::model_files::ModelFiles;

/// A base and what is laid over it.
pub(crate) struct Exported {
    pub(crate) files: ModelFiles,
    pub(crate) adapter: Option<Adapter>,
    pub(crate) manifest: Option<Manifest>,
}

impl Exported {
    /// Opens the base at `base`, or else the one that the manifest of the adapter in `folder` names, and the adapter; refuses a pair that does not belong together.
    pub(crate) fn open(base: Option<String>, folder: Option<&Path>) -> anyhow::Result<Self> {
        let manifest = folder.map(read_manifest).transpose()?.flatten();
        let base = match (base, &manifest, folder) {
            (Some(base), _, _) => base,
            (None, Some(manifest), _) => base_of(manifest),
            (None, None, Some(folder)) => {
                bail!("{} holds no {MANIFEST_FILE} that names the base model; say where it is", folder.display())
            }
            (None, None, None) => bail!("expected the path of a model: a Hugging Face folder or a GGUF file"),
        };
        let files = ModelFiles::open(&base).with_context(|| format!("cannot open the base model {base}"))?;
        if let (Some(manifest), Some(folder)) = (&manifest, folder) {
            check_base(manifest, folder, &files)?;
        }
        let adapter = folder.map(|folder| Adapter::load(folder, files.config())).transpose()?;
        Ok(Self { files, adapter, manifest })
    }

    /// What a template that reads the clock is told.
    pub(crate) fn date(&self) -> anyhow::Result<Option<Date>> {
        let text = self.manifest.as_ref().and_then(|manifest| manifest.date.as_deref());
        text.map(|date| date.parse::<Date>().map_err(|problem| anyhow::anyhow!("{MANIFEST_FILE} of the adapter: date: {problem}")))
            .transpose()
    }
}

/// The tokenizer in GGUF's form: the file's own, or made of a folder's tokenizer.json.
pub(crate) fn gguf_tokenizer(files: &ModelFiles) -> anyhow::Result<GgufTokenizer> {
    let source = &files.model().source;
    if let Some(tokenizer) = &source.tokenizer {
        let mut tokenizer = tokenizer.clone();
        // The template may lie beside the file.
        tokenizer.chat_template.get_or_insert_with(|| files.chat().template().source().to_owned());
        return Ok(tokenizer);
    }
    let path = source.path.join("tokenizer.json");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let chat = files.chat();
    let spec = TokenizerSpec::from_json(&bytes, chat.template().special(), &path.display().to_string())?;
    let TokenizerSpec {
        model,
        pre,
        tokens,
        token_types,
        scores,
        merges,
        bos,
        eos,
        unk,
        pad,
        add_bos,
        add_space_prefix,
        strip_after_control: _,
    } = spec;
    let eos = eos.or_else(|| files.config().eos_token_ids.first().copied());
    Ok(GgufTokenizer {
        model,
        pre,
        tokens,
        token_types,
        scores,
        merges,
        bos_token_id: bos,
        eos_token_id: eos,
        eot_token_id: chat.end_of_turn().filter(|id| Some(*id) != eos),
        eom_token_id: None,
        unk_token_id: unk,
        pad_token_id: pad,
        add_bos_token: add_bos,
        add_eos_token: None,
        add_space_prefix,
        remove_extra_whitespaces: None,
        chat_template: Some(chat.template().source().to_owned()),
    })
}

/// Refuses an output that is there already: an exported model is not replaced by chance.
pub(crate) fn refuse_existing(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => bail!("{} exists already: choose another name, or remove it first", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Whether the model lies in a folder with files of its own.
pub(crate) fn is_folder(files: &ModelFiles) -> bool {
    files.model().source.kind == SourceKind::Folder
}

/// Bytes in a few digits.
pub(crate) fn size(n_bytes: u64) -> String {
    let bytes = n_bytes as f64;
    match n_bytes {
        0..1_000 => format!("{n_bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}
