//! Reading datasets row by row, and what holds of the file as a whole: all rows have one format.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use super::format::Format;
use super::row::{Purpose, Row, parse_row};
use crate::conversation::Conversation;
use crate::error::{SourceLine, TextError};
use crate::json_lines::line_error;
use crate::json_objects::JsonObjects;

/// Rows of a stream of JSON Lines or of one JSON list, one at a time, good or bad.
#[derive(Debug)]
pub struct RowReader<R> {
    objects: JsonObjects<R>,
    purpose: Purpose,
    first: Option<(Format, SourceLine)>,
}

/// A row that was read, and what is wrong with it.
#[derive(Debug)]
pub struct ReadRow {
    /// Where it was read.
    pub source: SourceLine,
    /// The row, when it can be used.
    pub row: Option<Row>,
    /// Everything that is wrong with it; empty when there is a row.
    pub problems: Vec<TextError>,
}

impl ReadRow {
    /// The row, or the first thing that is wrong with it.
    ///
    /// # Errors
    /// The first of the problems.
    pub fn strict(self) -> Result<Row, TextError> {
        let Self { source, row, problems } = self;
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => row.ok_or_else(|| line_error(&source, source.unit.name(), "a row", "none")),
        }
    }
}

impl RowReader<BufReader<File>> {
    /// Reads the rows of a file.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path, purpose: Purpose) -> Result<Self, TextError> {
        let file = File::open(path).map_err(|error| TextError::read(path, error))?;
        Ok(Self::new(BufReader::new(file), &Arc::from(path), purpose))
    }
}

impl<R: BufRead> RowReader<R> {
    /// Reads `input`; `path` is the name it has in messages.
    pub fn new(input: R, path: &Arc<Path>, purpose: Purpose) -> Self {
        Self { objects: JsonObjects::new(input, path), purpose, first: None }
    }

    /// The format of the rows: that of the first whose keys tell one.
    pub fn format(&self) -> Option<Format> {
        self.first.as_ref().map(|(format, _)| *format)
    }

    /// What the rows were read from.
    pub fn into_inner(self) -> R {
        self.objects.into_inner()
    }

    /// The next row, or none at the end. After a bad row, reading goes on with the next.
    ///
    /// # Errors
    /// An input that cannot be read any further.
    pub fn next_row(&mut self) -> Result<Option<ReadRow>, TextError> {
        let bad = |source, problem| Ok(Some(ReadRow { source, row: None, problems: vec![problem] }));
        let (object, at) = match self.objects.next_object() {
            Ok(None) => return Ok(None),
            Ok(Some(next)) => next,
            Err(TextError::Line { at, key, expected, found }) => {
                return bad(at.clone(), TextError::Line { at, key, expected, found });
            }
            Err(error) => return Err(error),
        };
        let format = match Format::of(&object, &at) {
            Ok(format) => format,
            Err(problem) => return bad(at, problem),
        };
        let (first, first_at) = self.first.get_or_insert_with(|| (format, at.clone()));
        if *first != format {
            let expected = format!("a {} row, as in {} (a file has one format)", first.name(), first_at.place());
            return bad(at.clone(), line_error(&at, at.unit.name(), expected, format!("a {} row", format.name())));
        }
        let (row, problems) = parse_row(format, object, &at, self.purpose);
        Ok(Some(ReadRow { source: at, row, problems }))
    }
}

/// Conversations to learn from, of a stream of JSON Lines or of one JSON list, one at a time. A byte order mark, CRLF line ends and blank
/// lines are accepted. Rows marked `"placeholder": true` are passed over.
///
/// After an error the iterator ends.
#[derive(Debug)]
pub struct ConversationReader<R> {
    rows: RowReader<R>,
    n_skipped_placeholders: usize,
    failed: bool,
}

impl<R: BufRead> ConversationReader<R> {
    /// Reads `input`; `path` is the name it has in messages.
    pub fn new(input: R, path: &Arc<Path>) -> Self {
        Self { rows: RowReader::new(input, path, Purpose::Training), n_skipped_placeholders: 0, failed: false }
    }

    /// Rows that have been passed over because they are marked as placeholders.
    pub fn n_skipped_placeholders(&self) -> usize {
        self.n_skipped_placeholders
    }

    /// The format of the rows, once one has been read.
    pub fn format(&self) -> Option<Format> {
        self.rows.format()
    }

    /// What the conversations were read from.
    pub fn into_inner(self) -> R {
        self.rows.into_inner()
    }

    fn next_conversation(&mut self) -> Result<Option<Conversation>, TextError> {
        while let Some(read) = self.rows.next_row()? {
            let Row { messages, source_chunk_ids, source, is_placeholder, .. } = read.strict()?;
            if !is_placeholder {
                return Ok(Some(Conversation { messages, source_chunk_ids, source }));
            }
            self.n_skipped_placeholders += 1;
        }
        Ok(None)
    }
}

impl<R: BufRead> Iterator for ConversationReader<R> {
    type Item = Result<Conversation, TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_conversation().transpose();
        self.failed = matches!(next, Some(Err(_)) | None);
        next
    }
}
