//! Where a text may be cut: its words, table rows and code blocks, and how good a place each gap between them is.

use std::ops::Range;

use super::ruler::Ruler;
use crate::document::BlockKind;
use crate::document::text::is_item;

/// How good a cut before an atom is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// Not here: it would part a table's header from its first row.
    Never,
    /// Only if there is no other place: it would leave a heading alone at the end.
    Poor,
    /// Between words.
    Word,
    /// Between sentences.
    Sentence,
    /// Between items or rows.
    Item,
    /// Between blocks.
    Block,
    /// Before a heading.
    Section,
}

/// What is never divided: a word, a row, a block of code.
#[derive(Clone, Debug)]
pub(super) struct Atom {
    /// The block it is of.
    pub(super) block: usize,
    /// Its bytes in the block's text.
    pub(super) bytes: Range<usize>,
    /// Its length with the gap before it.
    pub(super) length: usize,
    /// How good a cut before it is.
    pub(super) cut: Cut,
    /// Whether it is a word, so that it may be repeated as an overlap.
    pub(super) is_word: bool,
}

/// A block of the text that is cut.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    /// What it is; none for a heading.
    pub(super) kind: Option<BlockKind>,
    /// Its text.
    pub(super) text: &'a str,
    /// The section it stands in.
    pub(super) section: usize,
    /// The page it stands on.
    pub(super) page: Option<u32>,
    /// What is written before a piece that begins inside it: a table's header, the fence of code.
    pub(super) before: String,
    /// What is written after a piece that ends inside it: the fence of code.
    pub(super) after: String,
}

/// Code is cut between lines where it is more than so many times as long as a chunk.
const LONG_CODE: usize = 4;

/// Appends the atoms of a block that is number `index`, and fills in what its pieces repeat.
pub(super) fn add(atoms: &mut Vec<Atom>, part: &mut Part<'_>, index: usize, limit: usize, after_heading: bool, ruler: &dyn Ruler) {
    let text = part.text;
    let first = atoms.len();
    let whole = |atoms: &mut Vec<Atom>| {
        let length = ruler.length(text);
        atoms.push(Atom { block: index, bytes: 0..text.len(), length, cut: Cut::Block, is_word: false });
    };
    match part.kind {
        None => whole(atoms),
        Some(BlockKind::Code) if ruler.length(text) <= LONG_CODE * limit => whole(atoms),
        Some(BlockKind::Code) => {
            let (open, close) = fences(text);
            lines(atoms, text, index, ruler, |_| Cut::Item);
            let n = atoms.len();
            // The fences belong to the lines beside them.
            if !close.is_empty() && n - first > 2 {
                atoms[first + 1].cut = Cut::Never;
                atoms[n - 1].cut = Cut::Never;
                (part.before, part.after) = (format!("{open}\n"), format!("\n{close}"));
            }
        }
        Some(BlockKind::Table) => {
            let header: Vec<&str> = text.lines().take(2).collect();
            lines(atoms, text, index, ruler, |line| if line < 3 { Cut::Never } else { Cut::Item });
            part.before = format!("{}\n", header.join("\n"));
        }
        Some(BlockKind::Paragraph | BlockKind::List) => words(atoms, text, index, part.kind == Some(BlockKind::List), ruler),
    }
    if let Some(atom) = atoms.get_mut(first) {
        atom.cut = match (part.kind, after_heading) {
            (_, true) => Cut::Poor,
            (None, false) => Cut::Section,
            (Some(_), false) => Cut::Block,
        };
        // The gap between blocks.
        atom.length += 2;
    }
}

/// The lines that open and close a block of code; empty where it has none.
fn fences(text: &str) -> (&str, &str) {
    let is_fence = |line: &str| line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
    match (text.lines().next(), text.lines().last()) {
        (Some(open), Some(close)) if is_fence(open) && is_fence(close) => (open, close.trim()),
        _ => ("", ""),
    }
}

/// One atom a line.
fn lines(atoms: &mut Vec<Atom>, text: &str, block: usize, ruler: &dyn Ruler, cut: impl Fn(usize) -> Cut) {
    let mut start = 0;
    let first = atoms.len();
    for line in text.split_inclusive('\n') {
        let bytes = start..start + line.trim_end_matches(['\n', '\r']).len();
        start += line.len();
        atoms.push(Atom { block, bytes, length: 0, cut: cut(atoms.len() - first), is_word: false });
    }
    measure(&mut atoms[first..], text, ruler);
}

/// One atom a word; in writing without spaces, one a letter.
fn words(atoms: &mut Vec<Atom>, text: &str, block: usize, is_list: bool, ruler: &dyn Ruler) {
    let first = atoms.len();
    let mut start = None;
    let mut last_end = 0;
    let mut last_char = ' ';
    let mut push = |bytes: Range<usize>| {
        let cut = place(text, &atoms[first..], last_end, bytes.start, is_list);
        last_end = bytes.end;
        atoms.push(Atom { block, bytes, length: 0, cut, is_word: true });
    };
    for (at, c) in text.char_indices() {
        if let (Some(begun), true) = (start, c.is_whitespace() || (is_spaceless(last_char) && !is_closing(c))) {
            push(begun..at);
            start = None;
        }
        if !c.is_whitespace() {
            start = start.or(Some(at));
        }
        last_char = c;
    }
    if let Some(begun) = start {
        push(begun..text.len());
    }
    measure(&mut atoms[first..], text, ruler);
}

fn measure(atoms: &mut [Atom], text: &str, ruler: &dyn Ruler) {
    let mut ends: Vec<usize> = atoms.iter().map(|atom| atom.bytes.end).collect();
    if let Some(last) = ends.last_mut() {
        *last = text.len();
    }
    for (atom, length) in atoms.iter_mut().zip(ruler.lengths(text, &ends)) {
        atom.length = length;
    }
}

/// How good a cut between two words is.
fn place(text: &str, before: &[Atom], end: usize, start: usize, is_list: bool) -> Cut {
    let Some(last) = before.last() else { return Cut::Block };
    let gap = &text[end..start];
    if gap.matches('\n').count() > 1 {
        return Cut::Block;
    }
    if is_list && gap.ends_with('\n') && is_item(&text[start..]) {
        return Cut::Item;
    }
    let next = text[start..].trim_start_matches(['"', '«', '“', '(', '[', '*', '_', '\u{A0}', '\u{202F}']).chars().next();
    let begins = next.is_none_or(|c| !c.is_lowercase());
    if begins && ends_sentence(&text[last.bytes.clone()]) { Cut::Sentence } else { Cut::Word }
}

/// Words that end in a point without ending a sentence.
const ABBREVIATIONS: [&str; 16] =
    ["M.", "MM.", "Mme.", "Dr.", "Pr.", "Mr.", "Mrs.", "art.", "Art.", "cf.", "Cf.", "p.", "n.", "etc.", "ex.", "vol."];

fn ends_sentence(word: &str) -> bool {
    let bare = word.trim_end_matches(['"', '»', '”', '’', ')', ']', '*', '_']);
    match bare.chars().last() {
        Some('.') => {
            let is_initial = bare.chars().count() == 2 && bare.starts_with(char::is_uppercase);
            !is_initial && !ABBREVIATIONS.contains(&bare)
        }
        Some('!' | '?' | '…' | ';' | '。' | '！' | '？' | '．' | '；') => true,
        _ => false,
    }
}

/// Letters of writings that put no spaces between words.
fn is_spaceless(c: char) -> bool {
    matches!(c, '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{3000}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FF60}' | '\u{20000}'..='\u{3134F}')
}

/// Marks that stay with the letter before them.
fn is_closing(c: char) -> bool {
    !c.is_alphanumeric() && (is_spaceless(c) || c.is_ascii_punctuation())
        || ('\u{300}'..='\u{36F}').contains(&c)
        || ('\u{E31}'..='\u{E4E}').contains(&c)
}
