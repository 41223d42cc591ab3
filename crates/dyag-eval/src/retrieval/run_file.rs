//! Runs and judgements as TREC's tools read and write them, so that scores can be checked with other programs.
//!
//! A run has a line `QUERY Q0 DOCUMENT RANK SCORE TAG` for each hit, judgements (qrels) a line `QUERY 0 DOCUMENT GRADE` for each judged id. Fields are parted by spaces or tabs. As in
//! trec_eval the score orders a run, and the rank is not looked at, but it has to be a number: a line whose fields were mixed up is refused.
//!
//! Files are hostile: lines are bounded, every field is checked, and a repeated id is an error with both of its lines.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::Path;

use crate::metrics::{Hit, Judgements};

/// Longest line, in bytes.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Hits by query.
pub type Run = BTreeMap<String, Vec<Hit>>;
/// Judgements by query.
pub type Qrels = BTreeMap<String, Judgements>;

/// A run or judgements that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// The file could not be read, or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is none of the format's.
    #[error("{path}, line {line}: expected {expected}, found {found}")]
    Line {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// An id or a tag that would be read as two fields, or as none.
    #[error("expected {what} without white space for a TREC file, found {found:?}")]
    Field {
        /// What it is.
        what: &'static str,
        /// The text.
        found: String,
    },
    /// A score that is none.
    #[error("query {query}, {id}: expected a finite score, found {score}")]
    Score {
        /// The query.
        query: String,
        /// The id.
        id: String,
        /// The score.
        score: f64,
    },
}

/// Reads a run: hits of each query in the order of the file.
///
/// # Errors
/// A line that has other than six fields, a rank or a score that is no number, an id twice in a query, a file that cannot be read.
pub fn read_run(path: &Path) -> Result<Run, RunFileError> {
    let mut run = Run::new();
    let mut lines_of: BTreeMap<(String, String), usize> = BTreeMap::new();
    each_line(path, 6, "QUERY Q0 DOCUMENT RANK SCORE TAG", &mut |fields, line| {
        let [query, _, id, rank, score, _] = fields else { unreachable!("the number of fields was checked") };
        if rank.parse::<i64>().is_err() {
            return Err(("a whole number as the rank, the fourth field".to_owned(), format!("{rank:?}")));
        }
        let Some(score) = score.parse::<f64>().ok().filter(|score| score.is_finite()) else {
            return Err(("a finite number as the score, the fifth field".to_owned(), format!("{score:?}")));
        };
        once(&mut lines_of, query, id, line)?;
        run.entry((*query).to_owned()).or_default().push(Hit { id: (*id).to_owned(), score });
        Ok(())
    })?;
    Ok(run)
}

/// Reads judgements.
///
/// # Errors
/// A line that has other than four fields, a grade that is no whole number, an id judged twice for a query, a file that cannot be read.
pub fn read_qrels(path: &Path) -> Result<Qrels, RunFileError> {
    let mut qrels = Qrels::new();
    let mut lines_of: BTreeMap<(String, String), usize> = BTreeMap::new();
    each_line(path, 4, "QUERY 0 DOCUMENT GRADE", &mut |fields, line| {
        let [query, _, id, grade] = fields else { unreachable!("the number of fields was checked") };
        let Ok(grade) = grade.parse::<i32>() else {
            return Err(("a whole number as the grade, the fourth field".to_owned(), format!("{grade:?}")));
        };
        once(&mut lines_of, query, id, line)?;
        qrels.entry((*query).to_owned()).or_default().insert((*id).to_owned(), grade.into());
        Ok(())
    })?;
    Ok(qrels)
}

/// Writes a run in trec_eval's order: by query, then score, then id.
///
/// # Errors
/// An id, a query or a tag that is empty or has white space; a score that is not finite, before its query is written; whatever `out` says.
pub fn write_run(run: &Run, tag: &str, out: &mut dyn Write) -> Result<(), RunFileError> {
    let tag = field("a tag", tag)?;
    for (query, hits) in run {
        let query = field("a query's id", query)?;
        if let Some(Hit { id, score }) = hits.iter().find(|hit| !hit.score.is_finite()) {
            return Err(RunFileError::Score { query: query.to_owned(), id: id.clone(), score: *score });
        }
        let mut sorted: Vec<&Hit> = hits.iter().collect();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.id.cmp(&a.id)));
        for (place, Hit { id, score }) in sorted.into_iter().enumerate() {
            writeln!(out, "{query} Q0 {} {} {score} {tag}", field("an id", id)?, place + 1).map_err(unwritten)?;
        }
    }
    Ok(())
}

/// Writes judgements, by query and id.
///
/// # Errors
/// An id or a query that is empty or has white space; whatever `out` says.
pub fn write_qrels(qrels: &Qrels, out: &mut dyn Write) -> Result<(), RunFileError> {
    for (query, judged) in qrels {
        let query = field("a query's id", query)?;
        for (id, grade) in judged {
            writeln!(out, "{query} 0 {} {grade}", field("an id", id)?).map_err(unwritten)?;
        }
    }
    Ok(())
}

fn unwritten(source: io::Error) -> RunFileError {
    RunFileError::File { path: "cannot be written".to_owned(), source }
}

fn field<'a>(what: &'static str, text: &'a str) -> Result<&'a str, RunFileError> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(RunFileError::Field { what, found: text.to_owned() });
    }
    Ok(text)
}

/// What was expected, and what was found.
type Wrong = (String, String);

/// What is done with the fields of a line, and its number.
type TakeLine<'a> = &'a mut dyn FnMut(&[&str], usize) -> Result<(), Wrong>;

/// Remembers where an id of a query stands; an error where it stood before.
fn once(lines_of: &mut BTreeMap<(String, String), usize>, query: &str, id: &str, line: usize) -> Result<(), Wrong> {
    match lines_of.entry((query.to_owned(), id.to_owned())) {
        Entry::Vacant(entry) => {
            entry.insert(line);
            Ok(())
        }
        Entry::Occupied(entry) => {
            Err((format!("every document once for query {query}"), format!("{id} again, which stands in line {} already", entry.get())))
        }
    }
}

/// Calls `take` with the fields of each line that is not blank, and its number.
fn each_line(path: &Path, n_fields: usize, format: &str, take: TakeLine<'_>) -> Result<(), RunFileError> {
    let name = path.display().to_string();
    let unreadable = |source| RunFileError::File { path: name.clone(), source };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let n = reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes).map_err(unreadable)?;
        if n == 0 {
            return Ok(());
        }
        let wrong = |(expected, found): Wrong| RunFileError::Line { path: name.clone(), line, expected, found };
        if n as u64 > MAX_LINE_BYTES {
            return Err(wrong((format!("a line of at most {MAX_LINE_BYTES} bytes"), "a longer one".to_owned())));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| wrong(("text in UTF-8".to_owned(), format!("byte {} that is none", error.valid_up_to() + 1))))?;
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if fields.is_empty() {
            continue;
        }
        if fields.len() != n_fields {
            return Err(wrong((format!("{n_fields} fields, {format}"), format!("{} fields", fields.len()))));
        }
        take(&fields, line).map_err(wrong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: impl AsRef<[u8]>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.run");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn runs_and_judgements_come_back() {
        let hit = |id: &str, score| Hit { id: id.to_owned(), score };
        let run = Run::from([("q2".to_owned(), vec![hit("b", 0.1 + 0.2), hit("a", -1e-300)]), ("q1".to_owned(), vec![hit("é", 1.0)])]);
        let mut bytes = Vec::new();
        write_run(&run, "dyag", &mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes).lines().next(), Some("q1 Q0 é 1 1 dyag"));
        let (_folder, path) = written(&bytes);
        assert_eq!(read_run(&path).unwrap(), run);
        let qrels = Qrels::from([("q1".to_owned(), Judgements::from([("a".to_owned(), 2), ("b".to_owned(), -1)]))]);
        let mut bytes = Vec::new();
        write_qrels(&qrels, &mut bytes).unwrap();
        let (_folder, path) = written(&bytes);
        assert_eq!(read_qrels(&path).unwrap(), qrels);
    }

    #[test]
    fn hostile_lines_are_refused_by_line() {
        let cases: [(&[u8], &str); 7] = [
            (b"\nq Q0 a 1 2.0\n", "line 2: expected 6 fields, QUERY Q0 DOCUMENT RANK SCORE TAG, found 5 fields"),
            (b"q Q0 a 1 NaN t\n", "line 1: expected a finite number as the score, the fifth field, found \"NaN\""),
            (b"q Q0 a 1 1e999 t\n", "line 1: expected a finite number as the score, the fifth field, found \"1e999\""),
            (b"q Q0 a 2.5 1 t\n", "line 1: expected a whole number as the rank, the fourth field, found \"2.5\""),
            (
                b"q Q0 a 1 1 t\nq Q0 b 1 1 t\nq Q0 a 1 1 t",
                "line 3: expected every document once for query q, found a again, which stands in line 1 already",
            ),
            (b"q Q0 \xff 1 1 t\n", "line 1: expected text in UTF-8, found byte 6 that is none"),
            (&[b'x'; 70_000], "line 1: expected a line of at most 65536 bytes, found a longer one"),
        ];
        for (content, expected) in cases {
            let (_folder, path) = written(content);
            let message = read_run(&path).unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        }
        let (_folder, path) = written("q 0 a 1.5\n");
        let message = read_qrels(&path).unwrap_err().to_string();
        assert!(message.ends_with("line 1: expected a whole number as the grade, the fourth field, found \"1.5\""), "{message}");
        let (_folder, path) = written("q 0 a 99999999999\n");
        assert!(read_qrels(&path).is_err());
    }

    #[test]
    fn what_would_be_read_otherwise_is_not_written() {
        for (query, id, tag, score) in [("a b", "c", "t", 1.0), ("a", "", "t", 1.0), ("a", "c", "t\n", 1.0), ("a", "c", "t", f64::INFINITY)]
        {
            let run = Run::from([(query.to_owned(), vec![Hit { id: id.to_owned(), score }])]);
            assert!(write_run(&run, tag, &mut Vec::new()).is_err(), "{query:?} {id:?} {tag:?} {score}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), words in "([a-c] ?[0-9.-]{0,3}[ \\n\\t]){0,40}") {
            for content in [bytes, words.into_bytes()] {
                let (_folder, path) = written(&content);
                let _ = (read_run(&path), read_qrels(&path));
            }
        }
    }
}
