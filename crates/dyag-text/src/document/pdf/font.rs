//! Fonts of a PDF page: which text a string of codes stands for, and how wide it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use lopdf::{Dictionary, Document, Encoding, Object};

use super::MAX_STREAM_BYTES;

/// The width of a glyph that the font says nothing of, in parts of the font's size.
const USUAL_WIDTH: f32 = 0.5;

/// The fonts of a document that were read, by the place of their dictionaries in memory: pages share them.
pub(super) type Cache = RefCell<HashMap<usize, Rc<Font>>>;

/// The fonts that some resources name; each is read when it is first used.
pub(super) struct Fonts<'a> {
    document: &'a Document,
    resources: &'a [&'a Dictionary],
    cache: &'a Cache,
}

impl<'a> Fonts<'a> {
    pub(super) fn new(document: &'a Document, resources: &'a [&'a Dictionary], cache: &'a Cache) -> Self {
        Self { document, resources, cache }
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<Rc<Font>> {
        let dictionary = self.resources.iter().find_map(|resources| {
            let fonts = resources.get_deref(b"Font", self.document).ok()?.as_dict().ok()?;
            fonts.get_deref(name, self.document).ok()?.as_dict().ok()
        })?;
        let place = std::ptr::from_ref(dictionary) as usize;
        Some(Rc::clone(self.cache.borrow_mut().entry(place).or_insert_with(|| Rc::new(Font::new(dictionary, self.document)))))
    }
}

/// Texts and widths of codes.
pub(super) struct Font {
    /// The text of each code that was met; codes of one byte are all here.
    texts: HashMap<u16, String>,
    widths: HashMap<u16, f32>,
    default_width: f32,
    two_bytes: bool,
}

impl Font {
    fn new(dictionary: &Dictionary, document: &Document) -> Self {
        let two_bytes = matches!(dictionary.get(b"Subtype").and_then(Object::as_name), Ok(b"Type0"));
        let mut font = Self { texts: HashMap::new(), widths: HashMap::new(), default_width: USUAL_WIDTH, two_bytes };
        if two_bytes {
            font.default_width = 1.0;
            font.composite_widths(dictionary, document);
        } else {
            font.simple_widths(dictionary, document);
        }
        if let Ok(encoding) = dictionary.get_font_encoding_with_limit(document, MAX_STREAM_BYTES) {
            font.decode_all(&encoding);
        }
        font
    }

    /// Asks the encoding for the text of every code once.
    fn decode_all(&mut self, encoding: &Encoding<'_>) {
        let last = if self.two_bytes { u16::MAX } else { 255 };
        for code in 0..=last {
            let bytes = code.to_be_bytes();
            let bytes = if self.two_bytes { &bytes[..] } else { &bytes[1..] };
            if let Ok(text) = encoding.bytes_to_string(bytes) {
                // A code without a character is told as U+FFFD; control characters are no text.
                let text: String = text.chars().filter(|c| *c != char::REPLACEMENT_CHARACTER && !c.is_control()).collect();
                if !text.is_empty() {
                    self.texts.insert(code, text);
                }
            }
        }
    }

    fn simple_widths(&mut self, dictionary: &Dictionary, document: &Document) {
        let first = dictionary.get_deref(b"FirstChar", document).and_then(Object::as_i64).unwrap_or(0);
        let Ok(Object::Array(widths)) = dictionary.get_deref(b"Widths", document) else { return };
        for (index, width) in widths.iter().take(256).enumerate() {
            let code = u16::try_from(first.saturating_add(index as i64)).unwrap_or(u16::MAX);
            self.insert_width(code, width, document);
        }
    }

    /// Widths of a composite font: `code [w w w]` and `first last w`.
    fn composite_widths(&mut self, dictionary: &Dictionary, document: &Document) {
        let Ok(Object::Array(descendants)) = dictionary.get_deref(b"DescendantFonts", document) else { return };
        let Some(descendant) = descendants.first().and_then(|font| resolve(font, document).as_dict().ok()) else { return };
        if let Ok(width) = descendant.get_deref(b"DW", document).and_then(Object::as_float) {
            self.default_width = width / 1000.0;
        }
        let Ok(Object::Array(entries)) = descendant.get_deref(b"W", document) else { return };
        let code = |object: &Object| resolve(object, document).as_i64().ok().and_then(|code| u16::try_from(code).ok());
        let mut rest = entries.as_slice();
        while let [first, second, after @ ..] = rest {
            let Some(first) = code(first) else { return };
            if let Object::Array(widths) = resolve(second, document) {
                for (index, width) in widths.iter().take(1 << 16).enumerate() {
                    self.insert_width(first.saturating_add(index as u16), width, document);
                }
                rest = after;
            } else {
                let (Some(last), [width, after @ ..]) = (code(second), after) else { return };
                (first..=last).for_each(|code| self.insert_width(code, width, document));
                rest = after;
            }
        }
    }

    fn insert_width(&mut self, code: u16, width: &Object, document: &Document) {
        if let Ok(width) = resolve(width, document).as_float() {
            self.widths.insert(code, width / 1000.0);
        }
    }

    fn codes<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = u16> + use<'a> {
        let n_bytes = if self.two_bytes { 2 } else { 1 };
        bytes.chunks(n_bytes).map(|code| code.iter().fold(0, |code, byte| code << 8 | u16::from(*byte)))
    }

    /// The text of a string.
    pub(super) fn text(&self, bytes: &[u8]) -> String {
        self.codes(bytes).filter_map(|code| self.texts.get(&code)).map(String::as_str).collect()
    }

    /// Width of a string in parts of the font's size, number of its codes, number of spaces of one byte.
    pub(super) fn width(&self, bytes: &[u8]) -> (f32, usize, usize) {
        let width = self.codes(bytes).map(|code| self.widths.get(&code).copied().unwrap_or(self.default_width)).sum();
        let n_spaces = if self.two_bytes { 0 } else { bytes.iter().filter(|byte| **byte == b' ').count() };
        (width, self.codes(bytes).count(), n_spaces)
    }
}

/// The object itself, or the one it points to.
fn resolve<'a>(object: &'a Object, document: &'a Document) -> &'a Object {
    document.dereference(object).map_or(object, |(_, object)| object)
}
