//! Word documents: paragraphs, headings by style, lists and tables of `word/document.xml`, and the notes.

use std::collections::HashMap;
use std::io::{Cursor, Read as _};

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use zip::ZipArchive;

use super::error::DocumentError;
use super::outline::{BlockKind, Outline, table};

/// The largest part of an archive that is unpacked.
const MAX_PART_BYTES: u64 = 64 << 20;

const FORMAT: &str = "DOCX";

/// The outline of a document.
///
/// # Errors
/// What is not a zip archive with a `word/document.xml`, parts that are too large, XML that does not parse.
pub(super) fn outline(bytes: &[u8], path: &str) -> Result<Outline, DocumentError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| DocumentError::broken(path, FORMAT, error))?;
    let Some(document) = part(&mut archive, "word/document.xml", path)? else {
        return Err(DocumentError::broken(path, FORMAT, "the archive has no word/document.xml"));
    };
    let levels = match part(&mut archive, "word/styles.xml", path)? {
        Some(styles) => heading_styles(&styles, path)?,
        None => HashMap::new(),
    };
    let mut writer = Writer { levels, ..Writer::default() };
    writer.read(&document, path)?;
    for name in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(notes) = part(&mut archive, name, path)? {
            writer.read(&notes, path)?;
        }
    }
    Ok(writer.outline)
}

/// The text of a part, if there is such a part.
fn part(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, path: &str) -> Result<Option<String>, DocumentError> {
    let Ok(file) = archive.by_name(name) else { return Ok(None) };
    let mut bytes = Vec::new();
    // What the archive says of the part's size is not believed.
    file.take(MAX_PART_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DocumentError::broken(path, FORMAT, format!("{name}: {error}")))?;
    let n_bytes = bytes.len() as u64;
    if n_bytes > MAX_PART_BYTES {
        return Err(DocumentError::TooLarge {
            path: path.to_owned(),
            what: "a part of the archive, unpacked,",
            n_bytes,
            limit: MAX_PART_BYTES,
        });
    }
    super::encoding::decode(&bytes, path, None).map(Some)
}

/// The heading level of each style that has one: by outline level, else by name, or inherited.
fn heading_styles(xml: &str, path: &str) -> Result<HashMap<String, u8>, DocumentError> {
    let mut own: HashMap<String, u8> = HashMap::new();
    let mut parents: Vec<(String, String)> = Vec::new();
    let mut id = String::new();
    for event in Events::new(xml) {
        let (name, element) = match event.map_err(|error| DocumentError::broken(path, FORMAT, format!("word/styles.xml: {error}")))? {
            Part::Start(name, element) => (name, element),
            _ => continue,
        };
        match name.as_str() {
            "style" => id = attribute(&element, "styleId").unwrap_or_default(),
            "name" => {
                if let Some(level) = attribute(&element, "val").and_then(|name| named_level(&name)) {
                    own.entry(id.clone()).or_insert(level);
                }
            }
            "basedOn" => parents.extend(attribute(&element, "val").map(|parent| (id.clone(), parent))),
            "outlineLvl" => {
                if let Some(level) = attribute(&element, "val").and_then(|level| outline_level(&level)) {
                    own.insert(id.clone(), level);
                }
            }
            _ => {}
        }
    }
    // A style's parent may stand after it; chains are short.
    for _ in 0..8 {
        for (style, parent) in &parents {
            if let (false, Some(level)) = (own.contains_key(style), own.get(parent).copied()) {
                own.insert(style.clone(), level);
            }
        }
    }
    Ok(own)
}

/// The level of a style by its name: `heading 2`, `Titre 2`, `Title`.
fn named_level(name: &str) -> Option<u8> {
    let name = name.trim().to_lowercase();
    if ["title", "titre"].contains(&name.as_str()) {
        return Some(1);
    }
    let words = ["heading", "titre", "überschrift", "encabezado", "título", "titolo"];
    let digits = words.iter().find_map(|word| name.strip_prefix(word))?.trim();
    digits.parse().ok().filter(|level| (1..=9).contains(level))
}

/// An outline level as a heading's: they are counted from 0, and 9 is ordinary text.
fn outline_level(text: &str) -> Option<u8> {
    text.parse::<u8>().ok().filter(|level| *level < 9).map(|level| level + 1)
}

#[derive(Default)]
struct Writer {
    levels: HashMap<String, u8>,
    outline: Outline,
    line: String,
    level: Option<u8>,
    /// Depth of the item that is open.
    item: Option<usize>,
    /// Items of the list that is open.
    items: String,
    rows: Vec<Vec<String>>,
    n_tables: usize,
    n_fallbacks: usize,
    in_text: bool,
    in_properties: bool,
}

impl Writer {
    fn read(&mut self, xml: &str, path: &str) -> Result<(), DocumentError> {
        for event in Events::new(xml) {
            match event.map_err(|error| DocumentError::broken(path, FORMAT, error))? {
                Part::Start(name, element) => self.start(&name, &element),
                Part::End(name) => self.end(&name),
                Part::Text(text) if self.in_text && self.n_fallbacks == 0 => self.line.push_str(&text),
                Part::Text(_) => {}
            }
        }
        self.end_list();
        Ok(())
    }

    fn start(&mut self, name: &str, element: &BytesStart<'_>) {
        let value = || attribute(element, "val");
        match name {
            // The same drawing again, for older programs.
            "Fallback" => self.n_fallbacks += 1,
            _ if self.n_fallbacks > 0 => {}
            "pPr" => self.in_properties = true,
            "pStyle" if self.in_properties => self.level = value().and_then(|style| self.level_of(&style)),
            "outlineLvl" if self.in_properties => self.level = value().and_then(|level| outline_level(&level)).or(self.level),
            "numPr" if self.in_properties => self.item = self.item.or(Some(0)),
            "ilvl" if self.in_properties => self.item = value().and_then(|depth| depth.parse().ok()).or(Some(0)),
            // A list that is numbered "0" is none.
            "numId" if self.in_properties && value().as_deref() == Some("0") => self.item = None,
            "t" => self.in_text = true,
            "tab" if !self.in_properties => self.line.push('\t'),
            "br" | "cr" => self.line.push('\n'),
            "noBreakHyphen" => self.line.push('-'),
            // A text box inside a paragraph.
            "p" if self.n_tables == 0 => self.end_paragraph(),
            "tbl" => {
                if self.n_tables == 0 {
                    self.end_paragraph();
                    self.end_list();
                }
                self.n_tables += 1;
            }
            "tr" if self.n_tables == 1 => self.rows.push(Vec::new()),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "Fallback" => self.n_fallbacks = self.n_fallbacks.saturating_sub(1),
            _ if self.n_fallbacks > 0 => {}
            "pPr" => self.in_properties = false,
            "t" => self.in_text = false,
            "p" if self.n_tables == 0 => self.end_paragraph(),
            "p" => self.line.push(' '),
            "tc" if self.n_tables == 1 => {
                let cell = std::mem::take(&mut self.line);
                if let Some(row) = self.rows.last_mut() {
                    row.push(cell.trim().to_owned());
                }
                (self.level, self.item) = (None, None);
            }
            "tbl" => {
                self.n_tables = self.n_tables.saturating_sub(1);
                if self.n_tables == 0 {
                    let rows: Vec<_> =
                        std::mem::take(&mut self.rows).into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
                    self.outline.block(BlockKind::Table, &table(&rows));
                }
            }
            _ => {}
        }
    }

    fn level_of(&self, style: &str) -> Option<u8> {
        self.levels.get(style).copied().or_else(|| named_level(style))
    }

    fn end_paragraph(&mut self) {
        let line = std::mem::take(&mut self.line);
        let (level, item) = (self.level.take(), self.item.take());
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        match (level, item) {
            // A numbered heading is a heading.
            (Some(level), _) => {
                self.end_list();
                self.outline.heading(level, line);
            }
            (None, Some(depth)) => self.items.push_str(&format!("{}- {}\n", "  ".repeat(depth.min(8)), line.replace('\n', " "))),
            (None, None) => {
                self.end_list();
                self.outline.block(BlockKind::Paragraph, line);
            }
        }
    }

    fn end_list(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.outline.block(BlockKind::List, &items);
    }
}

/// What matters of an XML document: names are without their prefixes, empty elements start and end.
enum Part<'a> {
    Start(String, BytesStart<'a>),
    End(String),
    Text(String),
}

struct Events<'a> {
    reader: Reader<&'a [u8]>,
    failed: bool,
    /// The end of an empty element that was told to start.
    ended: Option<String>,
}

impl<'a> Events<'a> {
    fn new(xml: &'a str) -> Self {
        Self { reader: Reader::from_str(xml), failed: false, ended: None }
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Part<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(name) = self.ended.take() {
            return Some(Ok(Part::End(name)));
        }
        while !self.failed {
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => {
                    self.failed = true;
                    let place = self.reader.error_position();
                    return Some(Err(format!("{error}, at byte {place} of its XML")));
                }
            };
            let name = |name: &str| name.to_owned();
            return Some(Ok(match event {
                Event::Start(element) => Part::Start(name(element.local_name().into_inner()), element),
                Event::Empty(element) => {
                    let name = name(element.local_name().into_inner());
                    self.ended = Some(name.clone());
                    Part::Start(name, element)
                }
                Event::End(element) => Part::End(name(element.local_name().into_inner())),
                Event::Text(text) => Part::Text(text.xml10_content().into_owned()),
                Event::CData(text) => Part::Text(text.xml10_content().into_owned()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(c)) => Part::Text(c.to_string()),
                    _ => Part::Text(resolve_predefined_entity(&reference.xml10_content()).unwrap_or_default().to_owned()),
                },
                Event::Eof => return None,
                _ => continue,
            }));
        }
        None
    }
}

/// The value of an attribute, whatever the prefix of its name.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.attributes().flatten().find(|attribute| attribute.key.local_name().into_inner() == name)?;
    found.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
}
