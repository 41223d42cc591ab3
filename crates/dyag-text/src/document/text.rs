//! Plain text: paragraphs between blank lines.

use super::outline::{BlockKind, Outline};

/// The outline of a plain text.
pub(super) fn outline(text: &str) -> Outline {
    let mut outline = Outline::default();
    add(&mut outline, text, None);
    outline
}

/// Adds the paragraphs of a text to an outline.
pub(super) fn add(outline: &mut Outline, text: &str, page: Option<u32>) {
    let mut paragraph = String::new();
    // A form feed ends a page, so it ends a paragraph.
    for line in text.split(['\n', '\u{C}']).map(|line| line.trim_end_matches('\r')).chain([""]) {
        if !line.trim().is_empty() {
            paragraph.push_str(line);
            paragraph.push('\n');
        } else if !paragraph.is_empty() {
            outline.block_on_page(kind(&paragraph), &paragraph, page);
            paragraph.clear();
        }
    }
}

/// A list where most lines begin as items do.
fn kind(paragraph: &str) -> BlockKind {
    let n_items = paragraph.lines().filter(|line| is_item(line.trim_start())).count();
    if 2 * n_items > paragraph.lines().count() { BlockKind::List } else { BlockKind::Paragraph }
}

/// Whether a line begins as an item of a list: a mark or a number, and a space.
pub(crate) fn is_item(line: &str) -> bool {
    let after = match line.chars().next() {
        Some('-' | '*' | '+' | '•' | '–' | '◦' | '▪' | '·') => line.chars().nth(1),
        Some('0'..='9') => {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            match rest.chars().next() {
                Some('.' | ')') if line.len() - rest.len() <= 3 => rest.chars().nth(1),
                _ => return false,
            }
        }
        _ => return false,
    };
    matches!(after, Some(' ' | '\t' | '\u{A0}'))
}
