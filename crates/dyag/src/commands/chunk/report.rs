//! What `dyag chunk` says of its work.

use std::collections::BTreeMap;
use std::path::Path;

use dyag_text::chunk::{Repeated, Ruler};
use serde::Serialize;

use super::Work;
use crate::language::{self, say};

/// The result, for machines and for people.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    output: Option<String>,
    documents: usize,
    chunks: usize,
    chunk_types: BTreeMap<String, usize>,
    unit: &'static str,
    sizes: Option<Sizes>,
    skipped: Vec<SkippedFile>,
    notes: Vec<String>,
}

/// Lengths of the chunks' contents.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sizes {
    min: usize,
    median: usize,
    max: usize,
}

#[derive(Debug, Serialize)]
struct SkippedFile {
    path: String,
    reason: String,
}

impl Report {
    pub(super) fn new(work: &Work, ruler: &dyn Ruler, output: Option<&Path>) -> Self {
        let mut lengths: Vec<usize> = work.chunks.iter().map(|chunk| ruler.length(&chunk.content)).collect();
        lengths.sort_unstable();
        let sizes = match lengths.as_slice() {
            [min, .., max] => Some(Sizes { min: *min, median: lengths[lengths.len() / 2], max: *max }),
            [only] => Some(Sizes { min: *only, median: *only, max: *only }),
            [] => None,
        };
        let mut chunk_types = BTreeMap::new();
        for chunk in &work.chunks {
            *chunk_types.entry(chunk.chunk_type.clone()).or_insert(0) += 1;
        }
        let skipped =
            work.skipped.iter().map(|file| SkippedFile { path: file.path.display().to_string(), reason: file.reason.to_string() });
        Self {
            output: output.map(|path| path.display().to_string()),
            documents: work.n_documents,
            chunks: work.chunks.len(),
            chunk_types,
            unit: ruler.unit(),
            sizes,
            skipped: skipped.collect(),
            notes: work.notes.clone(),
        }
    }

    /// The result in a sentence.
    pub(super) fn sentence(&self) -> String {
        let unit = match self.unit {
            "characters" => say!("characters", "caractères"),
            "tokens" => say!("tokens", "jetons"),
            other => other.to_owned(),
        };
        let sizes = self.sizes.map_or(String::new(), |Sizes { min, median, max }| {
            say!(" of {min} to {max} {unit} (median {median})", " de {min} à {max} {unit} (médiane {median})")
        });
        let output = self.output.as_deref().map_or(String::new(), |path| say!(", written to {path}", ", écrits dans {path}"));
        let n_skipped = language::counted(self.skipped.len(), ["file", "files"], ["fichier", "fichiers"]);
        let skipped = if self.skipped.is_empty() { String::new() } else { say!("; {n_skipped} left unread", " ; {n_skipped} non lus") };
        let documents = language::counted(self.documents, ["document", "documents"], ["document", "documents"]);
        let chunks = language::counted(self.chunks, ["chunk", "chunks"], ["passage", "passages"]);
        say!("{documents}: {chunks}{sizes}{output}{skipped}", "{documents} : {chunks}{sizes}{output}{skipped}")
    }
}

/// `1 file`, `2 files`.
pub(super) fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// One note about ids that were met more than once.
pub(super) fn repeated(repeated: &[Repeated]) -> Option<String> {
    let Repeated { id, first, again } = repeated.first()?;
    let place = if first == again { format!("twice in {first}") } else { format!("in {first} and in {again}") };
    let what = match repeated.len() {
        1 => format!("the id {id} occurs {place}"),
        n => format!("{n} ids occur more than once, such as {id}, {place}"),
    };
    Some(format!("{what}; their chunks are numbered on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_note_for_all_repeated_ids() {
        let one = Repeated { id: "7".to_owned(), first: "a.md".to_owned(), again: "b.md".to_owned() };
        assert_eq!(repeated(&[]), None);
        assert_eq!(
            repeated(std::slice::from_ref(&one)).as_deref(),
            Some("the id 7 occurs in a.md and in b.md; their chunks are numbered on")
        );
        let two = [Repeated { again: "a.md".to_owned(), ..one.clone() }, one];
        assert_eq!(repeated(&two).as_deref(), Some("2 ids occur more than once, such as 7, twice in a.md; their chunks are numbered on"));
    }
}
