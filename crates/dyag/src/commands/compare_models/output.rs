//! The files that a comparison is written to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dyag_eval::comparison::{Comparison, markdown};
use dyag_model::files::{write_atomically, write_bytes_atomically};

/// What to write, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FormatChoice {
    /// For machines
    Json,
    /// For people
    Markdown,
    /// Both
    Both,
}

/// Where to write what.
#[derive(Debug)]
pub(super) struct Output {
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

impl Output {
    /// `path` is a folder unless it ends in `.json` or `.md`; both files then have that name, each with its ending.
    pub(super) fn new(path: &Path, format: Option<FormatChoice>) -> anyhow::Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        let format = format.unwrap_or(FormatChoice::Both);
        let is_file = !path.is_dir() && matches!(extension, "json" | "md");
        if path.is_file() && !is_file {
            bail!("--output {}: expected a folder, or a file that ends in .json or .md, found another file", path.display());
        }
        let (json, markdown) = if is_file {
            (path.with_extension("json"), path.with_extension("md"))
        } else {
            (path.join("comparison.json"), path.join("comparison.md"))
        };
        match (format, extension) {
            (FormatChoice::Json, "md") | (FormatChoice::Markdown, "json") if is_file => {
                bail!("--output {}: expected a name that ends as the format asked for, found .{extension}", path.display())
            }
            _ => {}
        }
        Ok(Self { json: (format != FormatChoice::Markdown).then_some(json), markdown: (format != FormatChoice::Json).then_some(markdown) })
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.json.iter().chain(&self.markdown).map(PathBuf::as_path)
    }

    /// That no file of results would be overwritten.
    pub(super) fn check_inputs<'a>(&self, mut inputs: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
        let same = |input: &Path| self.paths().any(|path| is_same_file(path, input));
        match inputs.find(|input| same(input)) {
            Some(input) => bail!("--output: it would overwrite the results {}", input.display()),
            None => Ok(()),
        }
    }

    pub(super) fn write(&self, comparison: &Comparison) -> anyhow::Result<()> {
        if let Some(folder) = self.paths().next().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("--output: cannot make the folder {}", folder.display()))?;
        }
        if let Some(path) = &self.json {
            write_atomically(path, |out| {
                serde_json::to_writer_pretty(&mut *out, comparison)?;
                writeln!(out)
            })?;
        }
        if let Some(path) = &self.markdown {
            write_bytes_atomically(path, markdown(comparison).as_bytes())?;
        }
        Ok(())
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
