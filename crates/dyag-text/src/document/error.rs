//! Every way a document can be refused.

use std::path::Path;

/// Why nothing could be read from a document. Messages say where, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A file or folder could not be opened or read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that is neither a file nor a folder.
    #[error("{path}: expected a file or a folder, found a device, a pipe or a socket")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// A file whose name tells no format that is read here.
    #[error("{path}: its format is not known: expected a name that ends with one of {expected}, found {found}")]
    UnknownFormat {
        /// The file.
        path: String,
        /// The endings that are known.
        expected: String,
        /// The ending that was found.
        found: String,
    },
    /// More bytes than are read into memory.
    #[error("{path}: {what} is too large: expected at most {limit} bytes, found {n_bytes}; divide the document")]
    TooLarge {
        /// The file.
        path: String,
        /// The file, or a part of it.
        what: &'static str,
        /// Its size.
        n_bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A file without a byte, or with white space only.
    #[error("{path}: the file is empty: expected text, found {found}")]
    Empty {
        /// The file.
        path: String,
        /// Nothing, or white space.
        found: &'static str,
    },
    /// A text file that is not UTF-8.
    #[error(
        "{path}: expected UTF-8 text (or UTF-16 with a byte order mark), found the byte 0x{byte:02X} at offset {offset}; \
         this looks like {likely}: give --encoding {likely}, or convert the file"
    )]
    Encoding {
        /// The file.
        path: String,
        /// The first byte that does not belong.
        byte: u8,
        /// Where it is.
        offset: usize,
        /// The encoding that the file probably has.
        likely: &'static str,
    },
    /// The name of an encoding that does not exist.
    #[error("no encoding is called \"{name}\": expected a name such as windows-1252, iso-8859-15, utf-16le, macintosh")]
    UnknownEncoding {
        /// The name.
        name: String,
    },
    /// Bytes that do not occur in the encoding that was named.
    #[error("{path}: the file is neither UTF-8 nor {name}: it holds bytes that {name} does not have; give its true --encoding")]
    NotInEncoding {
        /// The file.
        path: String,
        /// The encoding.
        name: &'static str,
    },
    /// A JSON file that does not parse.
    #[error("{path}, line {line}, column {column}: not JSON: {reason}")]
    Json {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// A JSON file that is not a catalogue.
    #[error("{path}: {key}: expected {expected}, found {found}")]
    JsonShape {
        /// The file.
        path: String,
        /// The place in it.
        key: String,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A file that is damaged, or not of the format its name says.
    #[error("{path}: not a readable {format} file: {reason}")]
    Broken {
        /// The file.
        path: String,
        /// The format its name says.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A document in which there is no text.
    #[error("{path}: no text was found: {hint}")]
    NoText {
        /// The file.
        path: String,
        /// What was looked for, and what to do.
        hint: &'static str,
    },
}

impl DocumentError {
    /// A file that could not be read.
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.display().to_string(), source }
    }

    /// A file that is damaged.
    pub(crate) fn broken(path: &str, format: &'static str, reason: impl ToString) -> Self {
        Self::Broken { path: path.to_owned(), format, reason: reason.to_string() }
    }
}
