//! Documents: what stands in a file of any of the formats that are read, as headings and blocks, or as the entries of a catalogue.

mod csv_file;
mod docx;
mod encoding;
mod error;
mod front_matter;
mod html;
mod json;
mod markdown;
mod outline;
mod pdf;
pub(crate) mod record;
pub(crate) mod text;
mod walk;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

pub use encoding::TextEncoding;
pub use error::DocumentError;
pub use outline::{Block, BlockKind, Heading, Outline, Section};
pub use record::Record;
pub use walk::{Found, Skipped, Walk};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// The largest text that is kept of one file.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// A format of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// CommonMark with tables.
    Markdown,
    /// Paragraphs between blank lines.
    Text,
    /// A web page.
    Html,
    /// A PDF file with a text layer.
    Pdf,
    /// A Word document.
    Docx,
    /// Rows, whichever the delimiter.
    Csv,
    /// A catalogue.
    Json,
}

/// The endings of names, in small letters, and what they mean.
const ENDINGS: [(&str, Format); 12] = [
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("txt", Format::Text),
    ("text", Format::Text),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("xhtml", Format::Html),
    ("pdf", Format::Pdf),
    ("docx", Format::Docx),
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("json", Format::Json),
];

impl Format {
    /// The format that a file's name tells.
    ///
    /// # Errors
    /// An ending that is not known, or none.
    pub fn of(path: &Path) -> Result<Self, DocumentError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let known = ending.as_deref().and_then(|ending| ENDINGS.iter().find(|(name, _)| *name == ending));
        known.map(|(_, format)| *format).ok_or_else(|| DocumentError::UnknownFormat {
            path: path.display().to_string(),
            expected: Self::endings(),
            found: ending.map_or("no ending".to_owned(), |ending| format!(".{ending}")),
        })
    }

    /// The endings that are known, for messages.
    pub fn endings() -> String {
        ENDINGS.iter().map(|(name, _)| format!(".{name}")).collect::<Vec<_>>().join(" ")
    }
}

/// What a document holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Headings and blocks.
    Outline(Outline),
    /// The entries of a JSON catalogue, whose parts are chunks of their own.
    Catalogue(Vec<Record>),
    /// The rows of a CSV file; each stays whole.
    Rows(Vec<Record>),
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What its chunks are named after, unless it is a catalogue: its path below the folder that was given, with `/` between names.
    pub source_id: String,
    /// Its title where it has one, else its name without the ending.
    pub title: String,
    /// What it holds.
    pub content: Content,
    /// What its front matter says of it, beside the title.
    pub metadata: Map<String, Value>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, is of an unknown format, damaged, empty, in another encoding, or without text.
    pub fn read(path: &Path, source_id: &str, encoding: Option<TextEncoding>) -> Result<Self, DocumentError> {
        let format = Format::of(path)?;
        Self::parse(&read_bytes(path)?, format, &path.display().to_string(), source_id, encoding)
    }

    /// The document in `bytes`; `path` is its name in messages.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn parse(bytes: &[u8], format: Format, path: &str, source_id: &str, encoding: Option<TextEncoding>) -> Result<Self, DocumentError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            let found = if bytes.is_empty() { "no byte" } else { "white space only" };
            return Err(DocumentError::Empty { path: path.to_owned(), found });
        }
        let name = source_id.rsplit('/').next().unwrap_or(source_id);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
        let text = |encoding| encoding::decode(bytes, path, encoding).and_then(|text| bounded(text, path));
        let (mut title, mut metadata) = (None, Map::new());
        let content = match format {
            Format::Markdown => {
                let text = text(encoding)?;
                let (front, below) = front_matter::split(&text);
                (title, metadata) = (front.title, front.metadata);
                let summary = front.summary.map(|summary| format!("{summary}\n\n")).unwrap_or_default();
                Content::Outline(markdown::outline(&format!("{summary}{below}")))
            }
            Format::Text => Content::Outline(text::outline(&text(encoding)?)),
            Format::Html => {
                let page = html::read(&text(encoding.or_else(|| html::declared_encoding(bytes)))?);
                title = page.title;
                Content::Outline(page.outline)
            }
            Format::Pdf => Content::Outline(pdf::outline(bytes, path)?),
            Format::Docx => Content::Outline(docx::outline(bytes, path)?),
            Format::Csv => match csv_file::read(&text(encoding)?, path, source_id)? {
                csv_file::Table::Records(records) => Content::Rows(records),
                csv_file::Table::Outline(outline) => Content::Outline(outline),
            },
            Format::Json => Content::Catalogue(json::records(&text(encoding)?, path, source_id, &stem)?),
        };
        if matches!(&content, Content::Outline(outline) if outline.is_empty()) {
            return Err(DocumentError::NoText { path: path.to_owned(), hint: no_text(format) });
        }
        let title = title.or_else(|| first_title(&content)).unwrap_or(stem);
        Ok(Self { source_id: source_id.to_owned(), title, content, metadata })
    }
}

/// What to do about a document in which no text was found.
fn no_text(format: Format) -> &'static str {
    match format {
        Format::Pdf => {
            "its pages hold pictures only, or fonts without a table of characters; \
             run a text recognition (OCR) over it first, for instance with ocrmypdf"
        }
        Format::Docx => "expected at least one paragraph of text",
        _ => "expected text besides headings, comments and marks",
    }
}

/// The title of a document whose first section stands alone at its outermost level.
fn first_title(content: &Content) -> Option<String> {
    let Content::Outline(outline) = content else { return None };
    let first = outline.sections.iter().find_map(|section| section.heading.as_ref())?;
    let n_outermost = outline.sections.iter().filter_map(|section| section.heading.as_ref()).filter(|heading| heading.level <= first.level);
    (n_outermost.count() == 1).then(|| first.title.clone())
}

/// All bytes of a file, of a size that is sane.
fn read_bytes(path: &Path) -> Result<Vec<u8>, DocumentError> {
    let fail = |error| DocumentError::read(path, error);
    let facts = std::fs::metadata(path).map_err(fail)?;
    if !facts.is_file() {
        return Err(DocumentError::NotAFile { path: path.display().to_string() });
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let n_bytes = facts.len().max(bytes.len() as u64);
        return Err(DocumentError::TooLarge { path: path.display().to_string(), what: "the file", n_bytes, limit: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

/// A text of a size that is sane.
fn bounded(text: String, path: &str) -> Result<String, DocumentError> {
    let n_bytes = text.len() as u64;
    if text.len() > MAX_TEXT_BYTES {
        return Err(DocumentError::TooLarge { path: path.to_owned(), what: "its text", n_bytes, limit: MAX_TEXT_BYTES as u64 });
    }
    Ok(text)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
