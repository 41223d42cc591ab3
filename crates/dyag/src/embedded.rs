//! The small model that the program holds, for a first look without a download. docs/tiny.md says how it was made.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use dyag_model::files::write_bytes_atomically;

/// Its name in the registry.
pub(crate) const NAME: &str = dyag_hub::EMBEDDED_MODEL;
/// Its GGUF file.
pub(crate) const MODEL: &[u8] = include_bytes!("../assets/dyag-tiny.gguf");

/// The file, written into the user's cache where it is not there yet, or is not as it should be.
pub(crate) fn file() -> anyhow::Result<PathBuf> {
    let folder = dyag_hub::cache_folder(&|name| std::env::var_os(name))
        .context("no folder for the model that the program holds: expected HOME, XDG_CACHE_HOME or DYAG_CACHE_DIR to name one")?;
    let path = folder.join(format!("{NAME}.gguf"));
    if fs::read(&path).is_ok_and(|bytes| bytes == MODEL) {
        return Ok(path);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write_bytes_atomically(&path, MODEL)?;
    Ok(path)
}
