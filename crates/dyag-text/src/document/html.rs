//! HTML: the page's text as headings, paragraphs, lists, tables and code; scripts, styles and navigation are left out.
//!
//! Tokens alone are looked at, not a tree: pages that close nothing, or nest ten thousand deep, read as well as others.

use std::cell::RefCell;

use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use super::encoding::TextEncoding;
use super::outline::{BlockKind, Outline, table};

/// A page that was read.
pub(super) struct Page {
    /// What its head calls it.
    pub(super) title: Option<String>,
    /// Its text.
    pub(super) outline: Outline,
}

/// Reads a page. Any text is one.
pub(super) fn read(text: &str) -> Page {
    let tokenizer = Tokenizer::new(Sink(RefCell::new(Writer::default())), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(text));
    // A sink that never asks for a script to be run is never stopped for one.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let mut writer = tokenizer.sink.0.into_inner();
    writer.end_table();
    writer.end_block();
    let title = writer.title.split_whitespace().collect::<Vec<_>>().join(" ");
    Page { title: Some(title).filter(|title| !title.is_empty()), outline: writer.outline }
}

/// The encoding that a page names in its first bytes.
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<TextEncoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_lowercase();
    let after = head.split("charset").nth(1)?.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    TextEncoding::named(after.split(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).next()?).ok()
}

struct Sink(RefCell<Writer>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut writer = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => writer.text(&text),
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return writer.start(&tag),
            Token::TagToken(tag) => writer.end(&tag.name),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// Elements whose content is no text of the page.
const LEFT_OUT: [&str; 11] = ["script", "style", "nav", "template", "noscript", "svg", "iframe", "object", "select", "noembed", "noframes"];

/// Elements that begin a line of their own.
const BLOCKS: [&str; 27] = [
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "aside",
    "blockquote",
    "address",
    "figure",
    "figcaption",
    "dl",
    "dt",
    "dd",
    "form",
    "fieldset",
    "hr",
    "body",
    "html",
    "head",
    "details",
    "summary",
    "legend",
    "center",
    "caption",
    "title",
];

#[derive(Default)]
struct Writer {
    outline: Outline,
    title: String,
    /// Text of the block that is open.
    line: String,
    heading: Option<u8>,
    /// Element that is left out, and how often it is open.
    left_out: Option<(String, usize)>,
    in_title: bool,
    in_pre: bool,
    /// Items of the list that is open.
    items: String,
    /// The number of each open list's next item; none in lists without numbers.
    lists: Vec<Option<usize>>,
    /// Rows of the outermost open table.
    rows: Vec<Vec<String>>,
    n_tables: usize,
    in_cell: bool,
    /// Target of the link that is open, and where its text begins.
    link: Option<(String, usize)>,
}

impl Writer {
    fn text(&mut self, text: &str) {
        if self.left_out.is_some() {
        } else if self.in_title {
            self.title.push_str(text);
        } else if self.in_pre {
            self.line.push_str(text);
        } else {
            for c in text.chars() {
                // White space of any length is one space; one that must not break a line stays.
                if !c.is_ascii_whitespace() {
                    self.line.push(c);
                } else if !self.line.is_empty() && !self.line.ends_with([' ', '\n']) {
                    self.line.push(' ');
                }
            }
        }
    }

    fn start(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let raw = match name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => TokenSinkResult::RawData(RawKind::Rawtext),
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            _ => TokenSinkResult::Continue,
        };
        if let Some((open, n)) = &mut self.left_out {
            *n += usize::from(open == name && !tag.self_closing);
            return raw;
        }
        if LEFT_OUT.contains(&name) {
            if !tag.self_closing || name != "svg" {
                self.left_out = Some((name.to_owned(), 1));
            }
            return raw;
        }
        match name {
            "title" => self.in_title = true,
            "br" => self.line.push('\n'),
            "a" => {
                let target =
                    tag.attrs.iter().find(|attribute| &*attribute.name.local == "href").map(|attribute| attribute.value.to_string());
                self.link = target.filter(|target| target.starts_with("http")).map(|target| (target, self.line.len()));
            }
            "img" => {
                let text = tag.attrs.iter().find(|attribute| &*attribute.name.local == "alt").map(|attribute| attribute.value.to_string());
                self.text(&text.unwrap_or_default());
            }
            "td" | "th" => self.start_cell(),
            "tr" if self.n_tables == 1 => {
                self.end_cell();
                self.rows.push(Vec::new());
            }
            "table" => {
                if self.n_tables == 0 {
                    self.end_block();
                }
                self.n_tables += 1;
            }
            // Inside a cell there are no blocks, only text.
            _ if self.in_cell => self.text(" "),
            "ul" | "ol" => {
                self.end_line();
                self.lists.push((name == "ol").then_some(1));
            }
            "li" => self.end_line(),
            "pre" => {
                self.end_block();
                self.in_pre = true;
            }
            _ => match heading_level(name) {
                Some(level) => {
                    self.end_block();
                    self.heading = Some(level);
                }
                None if BLOCKS.contains(&name) => self.end_line(),
                None => {}
            },
        }
        raw
    }

    fn end(&mut self, name: &str) {
        if let Some((open, n)) = &mut self.left_out {
            if open == name {
                *n -= 1;
                if *n == 0 {
                    self.left_out = None;
                }
            }
            return;
        }
        match name {
            "title" => self.in_title = false,
            "a" => self.end_link(),
            "td" | "th" if self.n_tables == 1 => self.end_cell(),
            "table" => {
                self.n_tables = self.n_tables.saturating_sub(1);
                if self.n_tables == 0 {
                    self.end_table();
                }
            }
            _ if self.in_cell => self.text(" "),
            "ul" | "ol" => {
                self.end_line();
                self.lists.pop();
                if self.lists.is_empty() {
                    self.end_block();
                }
            }
            "li" => self.end_line(),
            "pre" => self.end_block(),
            _ if heading_level(name).is_some() => self.end_block(),
            _ if BLOCKS.contains(&name) => self.end_line(),
            _ => {}
        }
    }

    /// `[text](target)`, or the text alone where it is the target.
    fn end_link(&mut self) {
        let Some((target, start)) = self.link.take() else { return };
        let Some(text) = self.line.get(start..).map(str::trim) else { return };
        if !text.is_empty() && text != target && !text.contains('\n') && !self.in_pre {
            let linked = format!("[{text}]({target})");
            self.line.truncate(start);
            self.line.push_str(&linked);
        }
    }

    /// Ends a paragraph, or an item of a list.
    fn end_line(&mut self) {
        if self.lists.is_empty() || self.heading.is_some() || self.in_pre {
            return self.end_block();
        }
        self.link = None;
        let line = std::mem::take(&mut self.line);
        if line.trim().is_empty() {
            return;
        }
        let indent = "  ".repeat(self.lists.len().min(8) - 1);
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}.", *number - 1)
            }
            _ => "-".to_owned(),
        };
        self.items.push_str(&format!("{indent}{mark} {}\n", line.trim().replace('\n', " ")));
    }

    /// Ends whatever block is open.
    fn end_block(&mut self) {
        self.link = None;
        if !self.lists.is_empty() && self.heading.is_none() && !self.in_pre {
            self.end_line();
        }
        let items = std::mem::take(&mut self.items);
        self.outline.block(BlockKind::List, &items);
        let line = std::mem::take(&mut self.line);
        if let Some(level) = self.heading.take() {
            self.outline.heading(level, &line);
        } else if std::mem::take(&mut self.in_pre) {
            let code = line.trim_matches('\n').trim_end();
            if !code.is_empty() {
                self.outline.block(BlockKind::Code, &format!("```\n{code}\n```"));
            }
        } else {
            self.outline.block(BlockKind::Paragraph, &line);
        }
    }

    fn start_cell(&mut self) {
        if self.n_tables != 1 {
            return self.text(" ");
        }
        self.end_cell();
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        self.in_cell = true;
    }

    fn end_cell(&mut self) {
        if !self.in_cell {
            // A caption, or what stands in a table where it should not.
            if !self.line.trim().is_empty() {
                self.end_block();
            }
            return;
        }
        self.in_cell = false;
        self.link = None;
        let cell = std::mem::take(&mut self.line);
        if let Some(row) = self.rows.last_mut() {
            row.push(cell.trim().to_owned());
        }
    }

    /// A table of one column is layout: its cells are paragraphs.
    fn end_table(&mut self) {
        self.end_cell();
        self.n_tables = 0;
        let rows: Vec<Vec<String>> =
            std::mem::take(&mut self.rows).into_iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
        if rows.iter().any(|row| row.len() > 1) {
            self.outline.block(BlockKind::Table, &table(&rows));
        } else {
            rows.iter().flatten().for_each(|cell| self.outline.block(BlockKind::Paragraph, cell));
        }
    }
}

fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(level - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(html: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for section in read(html).outline.sections {
            lines.extend(section.heading.map(|heading| heading.line()));
            lines.extend(section.blocks.iter().map(|block| format!("{:?}: {}", block.kind, block.text.replace('\n', "/"))));
        }
        lines
    }

    #[test]
    fn a_page() {
        let html = "<!doctype html><head><title>La &amp; page</title><style>p{}</style><script>if (a<b) {'</p>'}</script></head><body>\
            <nav><a href='x'>Accueil</a></nav><h1>Titre\n<em>un</em></h1><p>Un <b>texte</b>\n  long<p>Deux<br>lignes \
            <a href='https://example.invalid/'>lien</a><ul><li>a<li>b<ol><li>c</ol></ul>\
            <table><caption>Chiffres</caption><tr><th>an<th>n<tr><td>2020<td><p>1</p></table><pre>x = 1\n  y\n</pre>fin &eacute;";
        assert_eq!(read(html).title.as_deref(), Some("La & page"));
        let expected = [
            "# Titre un",
            "Paragraph: Un texte long",
            "Paragraph: Deux/lignes [lien](https://example.invalid/)",
            "List: - a/- b/  1. c",
            "Paragraph: Chiffres",
            "Table: | an | n |/| --- | --- |/| 2020 | 1 |",
            "Code: ```/x = 1/  y/```",
            "Paragraph: fin é",
        ];
        assert_eq!(shape(html), expected);
    }

    #[test]
    fn nothing_need_be_closed() {
        assert_eq!(shape("<table><tr><td>a<td>b"), ["Table: | a | b |/| --- | --- |"]);
        assert_eq!(shape("</table></td></ul>x<li>y"), ["Paragraph: x", "Paragraph: y"]);
        let deep = "<div><ul>".repeat(20_000) + "fond";
        assert_eq!(shape(&deep).len(), 1);
    }

    #[test]
    fn a_page_names_its_encoding() {
        let page = b"<meta http-equiv='Content-Type' content='text/html; charset=iso-8859-1'>";
        assert_eq!(declared_encoding(page), TextEncoding::named("iso-8859-1").ok());
        assert_eq!(declared_encoding(b"<meta charset=\"utf-8\">"), TextEncoding::named("utf-8").ok());
        assert_eq!(declared_encoding(b"charset"), None);
    }
}
