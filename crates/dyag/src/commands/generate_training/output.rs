//! The files of a training set: their names, writing them, and reading them back to check.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use dyag_model::files::write_atomically;
use dyag_text::Dataset;
use dyag_text::chunk::Chunk;
use dyag_text::generate::{Part, Rules, Split, TrainingItem, TrainingSet};

/// A file that was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) n_rows: usize,
}

/// `OUT.jsonl`, or `OUT_train.jsonl` and so on.
fn name_of(output: &Path, part: Option<Part>) -> PathBuf {
    let Some(part) = part else { return output.to_owned() };
    let mut name = output.file_stem().unwrap_or_default().to_owned();
    name.push(format!("_{}.", part.name()));
    name.push(output.extension().unwrap_or(OsStr::new("jsonl")));
    output.with_file_name(name)
}

/// The parts of a set that have a file each: one without a part where it is not split.
const fn parts(split: bool) -> &'static [Option<Part>] {
    if split { &[Some(Part::Train), Some(Part::Val), Some(Part::Test)] } else { &[None] }
}

/// Names of the files of a set.
pub(super) fn names(output: &Path, split: bool) -> impl Iterator<Item = PathBuf> {
    parts(split).iter().map(move |part| name_of(output, *part))
}

/// Writes the files of a set.
pub(super) fn write(output: &Path, set: &TrainingSet, split: bool, system: Option<&str>, cite: bool) -> anyhow::Result<Vec<Written>> {
    let mut written = Vec::new();
    for part in parts(split) {
        let items: Vec<&TrainingItem> = set.items.iter().filter(|item| part.is_none_or(|part| item.part == part)).collect();
        let path = name_of(output, *part);
        write_atomically(&path, |out| {
            items.iter().try_for_each(|item| {
                serde_json::to_writer(&mut *out, &item.to_row(system, cite))?;
                writeln!(out)
            })
        })?;
        written.push(Written { path, n_rows: items.len() });
    }
    Ok(written)
}

/// What is wrong with the written files: they are read as a trainer reads them, and the set is checked against its chunks.
pub(super) fn validate(
    written: &[Written],
    set: &TrainingSet,
    chunks: &[Chunk],
    rules: &Rules,
    split: Option<Split>,
) -> anyhow::Result<Vec<String>> {
    let mut problems = set.problems(chunks, rules, split);
    for file in written.iter().filter(|file| file.n_rows > 0) {
        let found = Dataset::read(&file.path)?.conversations.len();
        if found != file.n_rows {
            problems.push(format!("{}: {} examples were written, {found} are read back", file.path.display(), file.n_rows));
        }
    }
    Ok(problems)
}
