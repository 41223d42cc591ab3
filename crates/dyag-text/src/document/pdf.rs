//! PDF: the text of each page in the order in which the page writes it, with lines and spaces where the glyphs' places show them.

mod font;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lopdf::content::Content;
use lopdf::{Dictionary, Document, LoadOptions, Object, ObjectId};

use super::error::DocumentError;
use super::outline::Outline;
use super::text;
use font::{Cache, Font, Fonts};

/// The largest stream that is unpacked.
const MAX_STREAM_BYTES: usize = 32 << 20;

/// The most text that is taken from a document.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// How deep forms inside forms are read.
const MAX_FORMS: usize = 5;

/// How many forms a page may show: forms that show each other would take for ever.
const MAX_FORMS_PER_PAGE: usize = 2000;

const FORMAT: &str = "PDF";

/// The outline of a document: its paragraphs, each with its page.
///
/// # Errors
/// What is no PDF file, or is encrypted. A document without text has an outline without blocks.
pub(super) fn outline(bytes: &[u8], path: &str) -> Result<Outline, DocumentError> {
    let broken = |reason: String| DocumentError::broken(path, FORMAT, reason);
    if !bytes[..bytes.len().min(1024)].windows(5).any(|window| window == b"%PDF-") {
        return Err(broken("expected %PDF- in its first 1024 bytes, found none".to_owned()));
    }
    // Damaged files are the parser's hard cases: a panic of its is an error like others.
    catch_unwind(AssertUnwindSafe(|| read(bytes)))
        .unwrap_or_else(|_| Err("its reader gave up on a damaged structure".to_owned()))
        .map_err(broken)
}

fn read(bytes: &[u8]) -> Result<Outline, String> {
    let options = LoadOptions { max_decompressed_size: Some(MAX_STREAM_BYTES), ..LoadOptions::default() };
    let document = match Document::load_mem_with_options(bytes, options) {
        Ok(document) => document,
        Err(error @ (lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_))) => {
            return Err(format!("it is encrypted ({error}); save it without a password"));
        }
        Err(error) => return Err(error.to_string()),
    };
    if document.is_encrypted() {
        return Err("it is encrypted; save it without a password".to_owned());
    }
    let mut outline = Outline::default();
    let mut n_bytes = 0;
    let cache = Cache::default();
    for (number, page) in document.get_pages() {
        let mut writer = Writer::new(&cache);
        // A page that cannot be read does not take the others with it.
        if let Ok(content) = document.get_page_content_with_limit(page, MAX_STREAM_BYTES) {
            writer.page(&document, page, &content);
        }
        n_bytes += writer.text.len();
        if n_bytes > MAX_TEXT_BYTES {
            return Err(format!("it holds more than {MAX_TEXT_BYTES} bytes of text; divide it"));
        }
        text::add(&mut outline, &plain(&writer.text), Some(number));
    }
    Ok(outline)
}

/// Two letters in one glyph, and the letters.
const LIGATURES: [(&str, &str); 5] = [("ﬁ", "fi"), ("ﬂ", "fl"), ("ﬀ", "ff"), ("ﬃ", "ffi"), ("ﬄ", "ffl")];

/// Words as people write and search them: whole where a soft hyphen divides them, and letter by letter.
fn plain(text: &str) -> String {
    let whole = text.replace("\u{AD}\n", "").replace('\u{AD}', "");
    LIGATURES.iter().fold(whole, |text, (glyph, letters)| if text.contains(glyph) { text.replace(glyph, letters) } else { text })
}

/// A transformation of the plane, as PDF writes it: [a b c d e f].
type Matrix = [f32; 6];

const IDENTITY: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

/// First `m`, then `n`.
fn product(m: &Matrix, n: &Matrix) -> Matrix {
    [
        m[0] * n[0] + m[1] * n[2],
        m[0] * n[1] + m[1] * n[3],
        m[2] * n[0] + m[3] * n[2],
        m[2] * n[1] + m[3] * n[3],
        m[4] * n[0] + m[5] * n[2] + n[4],
        m[4] * n[1] + m[5] * n[3] + n[5],
    ]
}

/// What `q` saves and `Q` brings back.
#[derive(Clone)]
struct State {
    ctm: Matrix,
    font: Option<std::rc::Rc<Font>>,
    size: f32,
    leading: f32,
    character_space: f32,
    word_space: f32,
    stretch: f32,
}

impl Default for State {
    fn default() -> Self {
        Self { ctm: IDENTITY, font: None, size: 1.0, leading: 0.0, character_space: 0.0, word_space: 0.0, stretch: 1.0 }
    }
}

struct Writer<'a> {
    cache: &'a Cache,
    text: String,
    state: State,
    saved: Vec<State>,
    text_matrix: Matrix,
    line_matrix: Matrix,
    /// Where the last glyph ended, and the size of its font, on the page.
    last: Option<(f32, f32, f32)>,
    n_forms: usize,
}

impl<'a> Writer<'a> {
    fn new(cache: &'a Cache) -> Self {
        let (state, saved) = (State::default(), Vec::new());
        Self { cache, text: String::new(), state, saved, text_matrix: IDENTITY, line_matrix: IDENTITY, last: None, n_forms: 0 }
    }

    fn page(&mut self, document: &Document, page: ObjectId, content: &[u8]) {
        let Ok((own, inherited)) = document.get_page_resources(page) else { return };
        let inherited = inherited.iter().filter_map(|id| document.get_dictionary(*id).ok());
        let resources: Vec<&Dictionary> = own.into_iter().chain(inherited).collect();
        self.run(document, &resources, content, 0);
    }

    /// Carries out the operators of a page or a form.
    fn run(&mut self, document: &Document, resources: &[&Dictionary], content: &[u8], depth: usize) {
        let Ok(content) = Content::decode(content) else { return };
        let fonts = Fonts::new(document, resources, self.cache);
        let n_saved = self.saved.len();
        for operation in &content.operations {
            let operands = &operation.operands;
            let number = |index: usize| operands.get(index).and_then(|operand| operand.as_float().ok()).unwrap_or(0.0);
            let matrix = || -> Matrix { std::array::from_fn(number) };
            match operation.operator.as_str() {
                "q" if self.saved.len() < 512 => self.saved.push(self.state.clone()),
                "Q" if self.saved.len() > n_saved => self.state = self.saved.pop().unwrap_or_default(),
                "cm" => self.state.ctm = product(&matrix(), &self.state.ctm),
                "BT" => (self.text_matrix, self.line_matrix) = (IDENTITY, IDENTITY),
                "Tf" => {
                    self.state.font = operands.first().and_then(|name| name.as_name().ok()).and_then(|name| fonts.get(name));
                    self.state.size = number(1);
                }
                "TL" => self.state.leading = number(0),
                "Tc" => self.state.character_space = number(0),
                "Tw" => self.state.word_space = number(0),
                "Tz" => self.state.stretch = number(0) / 100.0,
                "Td" => self.move_line(number(0), number(1)),
                "TD" => {
                    self.state.leading = -number(1);
                    self.move_line(number(0), number(1));
                }
                "Tm" => (self.text_matrix, self.line_matrix) = (matrix(), matrix()),
                "T*" => self.move_line(0.0, -self.state.leading),
                "Tj" => self.show(operands),
                "TJ" => {
                    if let Some(Object::Array(parts)) = operands.first() {
                        self.show(parts);
                    }
                }
                "'" => {
                    self.move_line(0.0, -self.state.leading);
                    self.show(operands);
                }
                "\"" => {
                    (self.state.word_space, self.state.character_space) = (number(0), number(1));
                    self.move_line(0.0, -self.state.leading);
                    self.show(operands.get(2..).unwrap_or_default());
                }
                "Do" if depth < MAX_FORMS && self.n_forms < MAX_FORMS_PER_PAGE => {
                    self.n_forms += 1;
                    if let Some(name) = operands.first().and_then(|name| name.as_name().ok()) {
                        self.form(document, resources, name, depth);
                    }
                }
                _ => {}
            }
            if self.text.len() > MAX_TEXT_BYTES {
                return;
            }
        }
        self.saved.truncate(n_saved);
    }

    /// Runs a form: content that pages share.
    fn form(&mut self, document: &Document, resources: &[&Dictionary], name: &[u8], depth: usize) {
        let Some(stream) = resources.iter().find_map(|resources| {
            let forms = resources.get_deref(b"XObject", document).ok()?.as_dict().ok()?;
            forms.get_deref(name, document).ok()?.as_stream().ok()
        }) else {
            return;
        };
        if !matches!(stream.dict.get(b"Subtype").and_then(Object::as_name), Ok(b"Form")) {
            return;
        }
        let Ok(content) = stream.get_plain_content_with_limit(MAX_STREAM_BYTES) else { return };
        let own = stream.dict.get_deref(b"Resources", document).and_then(Object::as_dict).ok();
        let resources: Vec<&Dictionary> = own.into_iter().chain(resources.iter().copied()).collect();
        let state = self.state.clone();
        if let Ok(Object::Array(numbers)) = stream.dict.get_deref(b"Matrix", document) {
            let matrix = std::array::from_fn(|index| numbers.get(index).and_then(|number| number.as_float().ok()).unwrap_or(0.0));
            self.state.ctm = product(&matrix, &self.state.ctm);
        }
        self.run(document, &resources, &content, depth + 1);
        self.state = state;
    }

    fn move_line(&mut self, x: f32, y: f32) {
        self.line_matrix = product(&[1.0, 0.0, 0.0, 1.0, x, y], &self.line_matrix);
        self.text_matrix = self.line_matrix;
    }

    /// Writes strings; numbers between them move the place, in thousandths of the font's size.
    fn show(&mut self, parts: &[Object]) {
        for part in parts {
            match part {
                Object::String(bytes, _) => self.string(bytes),
                other => {
                    if let Ok(number) = other.as_float() {
                        self.advance(-number / 1000.0 * self.state.size * self.state.stretch);
                    }
                }
            }
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        let Some(font) = self.state.font.clone() else { return };
        let text = font.text(bytes);
        let place = product(&self.text_matrix, &self.state.ctm);
        let size = (self.state.size * (place[0] * place[3] - place[1] * place[2]).abs().sqrt()).abs();
        if !text.trim().is_empty() {
            self.separate(place[4], place[5], size);
        }
        self.text.push_str(&text);
        let (width, n_codes, n_spaces) = font.width(bytes);
        let spaces = n_codes as f32 * self.state.character_space + n_spaces as f32 * self.state.word_space;
        self.advance((width * self.state.size + spaces) * self.state.stretch);
        let place = product(&self.text_matrix, &self.state.ctm);
        self.last = Some((place[4], place[5], size));
    }

    fn advance(&mut self, x: f32) {
        self.text_matrix = product(&[1.0, 0.0, 0.0, 1.0, x, 0.0], &self.text_matrix);
    }

    /// Writes the space, the line end or the blank line that lies between the last glyph and this place.
    fn separate(&mut self, x: f32, y: f32, size: f32) {
        let Some((last_x, last_y, last_size)) = self.last else { return };
        let larger = size.max(last_size).max(0.1);
        let (across, down) = (x - last_x, (y - last_y).abs());
        if down > 0.5 * larger {
            while self.text.ends_with(' ') {
                self.text.pop();
            }
            self.text.push('\n');
            if down > 1.9 * larger {
                self.text.push('\n');
            }
        } else if (across > 0.17 * larger || across < -larger) && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
    }
}
