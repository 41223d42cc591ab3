//! What every readable document becomes: headings, and blocks of text below them.

/// A document as headings and blocks, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The parts. The first may have no heading: what stands before the first one.
    pub sections: Vec<Section>,
}

/// A heading and the blocks up to the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The heading; none before the first.
    pub heading: Option<Heading>,
    /// What stands below it, up to the next heading of any depth.
    pub blocks: Vec<Block>,
}

/// A title and its depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// 1 for the outermost.
    pub level: u8,
    /// Its text in one line.
    pub title: String,
}

impl Heading {
    /// The heading as a line of Markdown.
    pub fn line(&self) -> String {
        format!("{} {}", "#".repeat(usize::from(self.level.clamp(1, 6))), self.title)
    }
}

/// How a block may be divided when it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Between sentences, else between words.
    Paragraph,
    /// Between items, else as a paragraph.
    List,
    /// Between rows; each part repeats the header, which is the first two lines.
    Table,
    /// Not at all; or, where it is very long, between lines.
    Code,
}

/// A piece of text between blank lines, as Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its text, never blank.
    pub text: String,
    /// The page it stands on, where the document has pages.
    pub page: Option<u32>,
}

impl Outline {
    /// Whether there is no block at all.
    pub fn is_empty(&self) -> bool {
        self.sections.iter().all(|section| section.blocks.is_empty())
    }

    /// Begins a section.
    pub fn heading(&mut self, level: u8, title: &str) {
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        if !title.is_empty() {
            self.sections.push(Section { heading: Some(Heading { level, title }), blocks: Vec::new() });
        }
    }

    /// Adds a block to the last section, unless it is blank.
    pub fn block(&mut self, kind: BlockKind, text: &str) {
        self.block_on_page(kind, text, None);
    }

    /// Adds a block of a page.
    pub fn block_on_page(&mut self, kind: BlockKind, text: &str, page: Option<u32>) {
        let text = text.trim_end();
        // The first line's indentation belongs to a list or a table as much as the others'.
        let text = text.trim_start_matches(['\n', '\r']);
        let text = if kind == BlockKind::Paragraph { text.trim_start() } else { text };
        if text.trim().is_empty() {
            return;
        }
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        if let Some(section) = self.sections.last_mut() {
            section.blocks.push(Block { kind, text: text.to_owned(), page });
        }
    }

    /// Each section's headings from the outermost to its own.
    pub fn paths(&self) -> Vec<Vec<Heading>> {
        let mut open: Vec<Heading> = Vec::new();
        self.sections
            .iter()
            .map(|section| {
                if let Some(heading) = &section.heading {
                    open.retain(|above| above.level < heading.level);
                    open.push(heading.clone());
                }
                open.clone()
            })
            .collect()
    }
}

/// A table as Markdown; the first row is the header. Empty for no rows.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = (0..n_columns).map(|column| row.get(column).map_or(String::new(), |cell| cell_text(cell)));
        text.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        if index == 0 {
            text.push_str(&format!("|{}\n", " --- |".repeat(n_columns)));
        }
    }
    text
}

/// A cell in one line.
fn cell_text(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
