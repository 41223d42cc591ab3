//! The files that a comparison is written to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dyag_eval::comparison::{Comparison, Contestant, HtmlOptions, Language, html, markdown};
use dyag_model::files::{write_atomically, write_bytes_atomically};

/// What to write, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FormatChoice {
    /// For machines
    Json,
    /// For people, as text
    Markdown,
    /// For people, as a page
    Html,
    /// JSON and Markdown
    Both,
    /// JSON, Markdown and the page
    All,
}

/// A language of the page, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LanguageChoice {
    /// French
    Fr,
    /// English
    En,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Markdown,
    Html,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Json, Self::Markdown, Self::Html];

    const fn ending(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Markdown => "md",
            Self::Html => "html",
        }
    }

    const fn is_wanted(self, format: FormatChoice) -> bool {
        match format {
            FormatChoice::Json => matches!(self, Self::Json),
            FormatChoice::Markdown => matches!(self, Self::Markdown),
            FormatChoice::Html => matches!(self, Self::Html),
            FormatChoice::Both => !matches!(self, Self::Html),
            FormatChoice::All => true,
        }
    }
}

/// Where to write what.
#[derive(Debug)]
pub(super) struct Output {
    files: Vec<(Kind, PathBuf)>,
    page: HtmlOptions,
}

impl Output {
    /// `path` is a folder unless it ends in `.json`, `.md` or `.html`; all files then have that name, each with its ending.
    pub(super) fn new(path: &Path, format: Option<FormatChoice>, language: Option<LanguageChoice>) -> anyhow::Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        let format = format.unwrap_or(FormatChoice::All);
        let of_name = Kind::ALL.into_iter().find(|kind| kind.ending() == extension).filter(|_| !path.is_dir());
        if path.is_file() && of_name.is_none() {
            bail!("--output {}: expected a folder, or a file that ends in .json, .md or .html, found another file", path.display());
        }
        if of_name.is_some_and(|kind| !kind.is_wanted(format)) {
            bail!("--output {}: expected a name that ends as the format asked for, found .{extension}", path.display());
        }
        let file = |kind: Kind| match of_name {
            Some(_) => path.with_extension(kind.ending()),
            None => path.join(format!("comparison.{}", kind.ending())),
        };
        let files: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.is_wanted(format)).map(|kind| (kind, file(kind))).collect();
        let language = language.map(|language| match language {
            LanguageChoice::Fr => Language::French,
            LanguageChoice::En => Language::English,
        });
        Ok(Self { files, page: HtmlOptions { language, ..HtmlOptions::default() } })
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| path.as_path())
    }

    /// That no file of results would be overwritten.
    pub(super) fn check_inputs<'a>(&self, mut inputs: impl Iterator<Item = &'a Path>) -> anyhow::Result<()> {
        let same = |input: &Path| self.paths().any(|path| is_same_file(path, input));
        match inputs.find(|input| same(input)) {
            Some(input) => bail!("--output: it would overwrite the results {}", input.display()),
            None => Ok(()),
        }
    }

    pub(super) fn write(&self, comparison: &Comparison, contestants: &[Contestant]) -> anyhow::Result<()> {
        if let Some(folder) = self.paths().next().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("--output: cannot make the folder {}", folder.display()))?;
        }
        for (kind, path) in &self.files {
            match kind {
                Kind::Json => write_atomically(path, |out| {
                    serde_json::to_writer_pretty(&mut *out, comparison)?;
                    writeln!(out)
                }),
                Kind::Markdown => write_bytes_atomically(path, markdown(comparison).as_bytes()),
                Kind::Html => write_atomically(path, |out| html(comparison, contestants, &self.page, out)),
            }?;
        }
        Ok(())
    }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
