//! Writing markup so that nothing from a file can become markup: what is written raw is a constant of this program, all else is escaped.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

use super::words::{Language, Piece, Words, pieces};

/// A page as it is written. The first error of the writer stays, and nothing is written after it.
pub(super) struct Page<'w> {
    out: &'w mut dyn Write,
    error: Option<io::Error>,
}

/// An attribute of an element: its name, and what is escaped as its value.
pub(super) type Attribute<'a> = (&'static str, &'a dyn Display);

/// What fills a place of a template.
pub(super) enum Part<'a> {
    /// Somebody's name.
    Name(&'a str),
    /// A text of the page.
    Text(String),
}

impl<'w> Page<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        Self { out, error: None }
    }

    /// The first error, if there was one.
    pub(super) fn finish(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }

    fn write(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = self.out.write_all(text.as_bytes()).err();
        }
    }

    /// Markup of this program.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.write(markup);
    }

    /// Anything as text.
    pub(super) fn text(&mut self, text: impl Display) {
        // A sink that keeps its error itself does not fail.
        let _ = write!(Escaped(self), "{text}");
    }

    /// A start tag.
    pub(super) fn open(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        self.tag(name, attributes, ">");
    }

    /// An element of SVG without content.
    pub(super) fn empty(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        self.tag(name, attributes, "/>");
    }

    fn tag(&mut self, name: &'static str, attributes: &[Attribute<'_>], end: &'static str) {
        self.write("<");
        self.write(name);
        self.attributes(attributes);
        self.write(end);
    }

    /// Attributes of a tag that is being written.
    pub(super) fn attributes(&mut self, attributes: &[Attribute<'_>]) {
        for (name, value) in attributes {
            self.write(" ");
            self.write(name);
            self.write("=\"");
            self.text(value);
            self.write("\"");
        }
    }

    /// An end tag.
    pub(super) fn close(&mut self, name: &'static str) {
        self.write("</");
        self.write(name);
        self.write(">");
    }

    /// An element that holds text.
    pub(super) fn element(&mut self, name: &'static str, attributes: &[Attribute<'_>], text: impl Display) {
        self.open(name, attributes);
        self.text(text);
        self.close(name);
    }

    /// A text of somebody else, which neither changes the direction of what stands beside it nor is in the page's language.
    pub(super) fn name(&mut self, text: &str) {
        self.element("bdi", &[], text);
    }

    /// A template with its places filled.
    pub(super) fn sentence(&mut self, template: &str, parts: &[Part<'_>]) {
        for piece in pieces(template) {
            match piece {
                Piece::Text(text) => self.text(text),
                Piece::Place(place) => match parts.get(place) {
                    Some(Part::Name(name)) => self.name(name),
                    Some(Part::Text(text)) => self.text(text),
                    None => {}
                },
            }
        }
    }

    /// A text in both languages, of which the one that was not chosen is hidden. Once where they agree.
    pub(super) fn both(&mut self, text: impl Fn(&'static Words) -> String) {
        let [english, french] = Language::ALL.map(|language| text(language.words()));
        if english == french {
            self.text(english);
            return;
        }
        for (language, text) in Language::ALL.into_iter().zip([english, french]) {
            let code = language.code();
            self.element("span", &[("class", &code), ("lang", &code)], text);
        }
    }
}

/// Somebody's text as text or as an attribute's value.
struct Escaped<'p, 'w>(&'p mut Page<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (place, c) in text.char_indices() {
            let written = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&#39;",
                c if is_unseen(c) => "",
                _ => continue,
            };
            self.0.write(&text[plain..place]);
            plain = place + c.len_utf8();
            if written.is_empty() { self.0.write(&shown(c)) } else { self.0.write(written) }
        }
        self.0.write(&text[plain..]);
        Ok(())
    }
}

/// Characters that a reader does not see and that change what is seen, or that HTML does not allow.
fn is_unseen(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n'))
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
        || u32::from(c) & 0xFFFE == 0xFFFE
        || matches!(c, '\u{FDD0}'..='\u{FDEF}')
}

/// Such a character, for eyes: Unicode's pictures of control characters, and the numbers of others. Line ends stay line ends.
fn shown(c: char) -> String {
    match u32::from(c) {
        0xD => String::new(),
        0x2028 | 0x2029 => "\n".to_owned(),
        code @ 0..0x20 => char::from_u32(0x2400 + code).map(String::from).unwrap_or_default(),
        0x7F => "\u{2421}".to_owned(),
        code => format!("[U+{code:04X}]"),
    }
}

/// A place along an axis, in percent of its length.
#[derive(Clone, Copy)]
pub(super) struct Percent(pub(super) f64);

impl Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.2}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Page<'_>)) -> String {
        let mut bytes = Vec::new();
        let mut page = Page::new(&mut bytes);
        write(&mut page);
        page.finish().expect("memory");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn nothing_of_a_text_is_markup() {
        let text = "<script>alert('a & b')</script>\" \0\u{1b}\u{202e}\u{85}\r\n\t\u{fffe}";
        let escaped = "&lt;script&gt;alert(&#39;a &amp; b&#39;)&lt;/script&gt;&quot; \u{2400}\u{241b}[U+202E][U+0085]\n\t[U+FFFE]";
        assert_eq!(written(|page| page.text(text)), escaped);
        assert_eq!(written(|page| page.open("p", &[("title", &text)])), format!("<p title=\"{escaped}\">"));
        assert_eq!(written(|page| page.name(text)), format!("<bdi>{escaped}</bdi>"));
        assert_eq!(written(|page| page.text("Été, 日本, עברית, 👩‍🔬")), "Été, 日本, עברית, 👩‍🔬");
    }

    #[test]
    fn an_error_stops_the_page() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::StorageFull, "full"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut full = Full;
        let mut page = Page::new(&mut full);
        page.raw("<p>");
        page.text("a");
        assert_eq!(page.finish().expect_err("full").kind(), io::ErrorKind::StorageFull);
    }
}
