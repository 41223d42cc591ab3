//! Cutting a run of blocks into pieces that are no longer than a limit.

use super::atoms::{self, Atom, Cut, Part};
use super::ruler::Ruler;
use crate::document::Heading;

/// How pieces are made.
pub(super) struct Rules<'a> {
    /// The longest piece, heads and overlaps counted.
    pub(super) limit: usize,
    /// The longest text that a piece repeats of the one before.
    pub(super) overlap: usize,
    /// Pieces of about the same length, rather than full ones and a rest.
    pub(super) even: bool,
    /// Whether blocks are written without blank lines between them.
    pub(super) tight: bool,
    /// Whether an overlap may be of another section.
    pub(super) overlap_sections: bool,
    /// The headings above each section, its own last.
    pub(super) paths: &'a [Vec<Heading>],
    /// How long a text is.
    pub(super) ruler: &'a dyn Ruler,
}

/// A passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The text: the headings above it, and what was cut.
    pub(super) content: String,
    /// The sections of its first and last block that is not a heading.
    pub(super) sections: (usize, usize),
    /// The pages of its first and last block, where they are known.
    pub(super) pages: Option<(u32, u32)>,
}

/// Atoms `overlap..start` repeated, `start..end` new.
#[derive(Clone, Copy, Debug)]
struct Span {
    overlap: usize,
    start: usize,
    end: usize,
}

/// Cuts blocks, at least one of which is not a heading.
pub(super) fn cut(mut parts: Vec<Part<'_>>, rules: &Rules<'_>) -> Vec<Piece> {
    let mut atoms = Vec::new();
    let mut after_heading = false;
    for (index, part) in parts.iter_mut().enumerate() {
        atoms::add(&mut atoms, part, index, rules.limit, after_heading, rules.ruler);
        after_heading = part.kind.is_none();
    }
    let mut cutter = Cutter { parts: &parts, atoms: &atoms, rules, heads: std::collections::HashMap::new() };
    let mut limit = rules.limit;
    let mut pieces = Vec::new();
    // Tokens of a text are not quite the tokens of its words: what came out too long is cut again, shorter.
    for _ in 0..6 {
        let spans = cutter.spans(limit);
        pieces = spans.iter().map(|span| cutter.piece(*span)).collect();
        let excess = spans.iter().zip(&pieces).filter(|(span, _)| span.end > span.start + 1 && !cutter.is_one_unit(**span));
        let longest = excess.map(|(_, piece)| rules.ruler.length(&piece.content)).max().unwrap_or(0);
        if longest <= rules.limit {
            break;
        }
        limit = limit.saturating_sub((longest - rules.limit).max(limit / 32)).max(1);
    }
    pieces
}

struct Cutter<'a> {
    parts: &'a [Part<'a>],
    atoms: &'a [Atom],
    rules: &'a Rules<'a>,
    /// Heads and their lengths, by section and whether its own title is in it.
    heads: std::collections::HashMap<(usize, bool), (String, usize)>,
}

impl Cutter<'_> {
    fn spans(&mut self, limit: usize) -> Vec<Span> {
        let spans = self.spans_within(limit);
        if !self.rules.even || spans.len() < 2 || spans.len() > 64 {
            return spans;
        }
        // The smallest limit that does not take more pieces.
        let (mut low, mut high, mut best) = (limit / 2, limit, spans);
        while high - low > 1 + limit / 64 {
            let middle = low + (high - low) / 2;
            let spans = self.spans_within(middle);
            if spans.len() > best.len() {
                low = middle;
            } else {
                (high, best) = (middle, spans);
            }
        }
        best
    }

    fn spans_within(&mut self, limit: usize) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut start = 0;
        while start < self.atoms.len() {
            let previous = spans.last().map_or(0, |span| span.start);
            let span = self.next(previous, start, limit);
            start = span.end;
            spans.push(span);
        }
        spans
    }

    /// The piece that begins at `start`, where the one before began at `previous`.
    fn next(&mut self, previous: usize, start: usize, limit: usize) -> Span {
        let overlap = self.overlap(previous, start, limit);
        let first = &self.atoms[overlap];
        let part = &self.parts[first.block];
        let head = self.head(first).1;
        let before = if self.is_inside(overlap) { self.rules.ruler.length(&part.before) } else { 0 };
        let repeated: usize = self.atoms[overlap..start].iter().map(|atom| atom.length).sum();
        let fixed = head + before + repeated;
        let mut used = fixed;
        let mut end = start;
        while let Some(atom) = self.atoms.get(end) {
            let after = if self.is_inside(end + 1) { self.rules.ruler.length(&self.parts[atom.block].after) } else { 0 };
            if end > start && used + atom.length + after > limit {
                break;
            }
            used += atom.length;
            end += 1;
        }
        if end < self.atoms.len() {
            end = self.best_cut(start, end, limit.saturating_sub(fixed) / 2);
        }
        Span { overlap, start, end }
    }

    /// The best place for a cut at `most` or before, with `least` of length before it if that can be.
    fn best_cut(&self, start: usize, most: usize, least: usize) -> usize {
        let mut length: usize = self.atoms[start..most].iter().map(|atom| atom.length).sum();
        let mut best: Option<(bool, Cut, usize)> = None;
        for at in (start + 1..=most).rev() {
            let cut = self.atoms[at].cut;
            let candidate = (length >= least && cut > Cut::Poor, cut, at);
            if cut > Cut::Never && best.is_none_or(|best| candidate > best) {
                best = Some(candidate);
            }
            length -= self.atoms[at - 1].length;
        }
        best.map_or_else(
            || (most + 1..self.atoms.len()).find(|at| self.atoms[*at].cut > Cut::Never).unwrap_or(self.atoms.len()),
            |(_, _, at)| at,
        )
    }

    /// Where the text that a piece repeats begins: words only, and not more than the piece before holds.
    fn overlap(&self, previous: usize, start: usize, limit: usize) -> usize {
        let section = |atom: &Atom| self.parts[atom.block].section;
        let most = self.rules.overlap.min(limit / 3);
        let mut begin = start;
        let mut length = 0;
        while begin > previous {
            let before = &self.atoms[begin - 1];
            let here = &self.atoms[start];
            length += before.length;
            let stays = self.rules.overlap_sections || section(before) == section(here);
            if !before.is_word || !stays || length > most {
                break;
            }
            begin -= 1;
        }
        begin
    }

    /// Whether a cut before an atom is inside a block.
    fn is_inside(&self, at: usize) -> bool {
        at > 0 && self.atoms.get(at).is_some_and(|atom| atom.block == self.atoms[at - 1].block)
    }

    /// Whether a piece cannot be made shorter: it has no place for a cut.
    fn is_one_unit(&self, span: Span) -> bool {
        span.overlap == span.start && self.atoms[span.start + 1..span.end].iter().all(|atom| atom.cut <= Cut::Poor)
    }

    /// The headings above an atom, and their length. Outer ones are left out where they would take half a piece.
    fn head(&mut self, atom: &Atom) -> (String, usize) {
        let part = &self.parts[atom.block];
        let own = part.kind.is_some();
        let rules = self.rules;
        let build = || {
            let path = rules.paths.get(part.section).map_or(&[][..], Vec::as_slice);
            let mut path = if own { path } else { &path[..path.len().saturating_sub(1)] };
            loop {
                let head: String = path.iter().map(|heading| heading.line() + "\n").collect();
                let length = rules.ruler.length(&head);
                match path {
                    [_, inner @ ..] if length > rules.limit / 2 => path = inner,
                    _ => return (head, length),
                }
            }
        };
        self.heads.entry((part.section, own)).or_insert_with(build).clone()
    }

    fn piece(&mut self, span: Span) -> Piece {
        let Span { overlap, end, .. } = span;
        let first = &self.atoms[overlap];
        let mut content = self.head(first).0;
        if self.is_inside(overlap) {
            content.push_str(&self.parts[first.block].before);
        }
        for at in overlap..end {
            let atom = &self.atoms[at];
            let part = &self.parts[atom.block];
            if at > overlap {
                let last = &self.atoms[at - 1];
                if last.block == atom.block {
                    content.push_str(&part.text[last.bytes.end..atom.bytes.start]);
                } else {
                    let near = self.rules.tight || self.parts[last.block].kind.is_none();
                    content.push_str(if near { "\n" } else { "\n\n" });
                }
            } else if !self.is_inside(at) {
                // The indentation of a list's first item.
                content.push_str(&part.text[..atom.bytes.start]);
            }
            content.push_str(&part.text[atom.bytes.clone()]);
        }
        if self.is_inside(end) {
            content.push_str(&self.parts[self.atoms[end - 1].block].after);
        }
        // Headings without text of their own do not say where the piece stands.
        let parts = || self.atoms[span.start..end].iter().map(|atom| &self.parts[atom.block]);
        let first_text = parts().find(|part| part.kind.is_some()).or_else(|| parts().next());
        let last_text = parts().rev().find(|part| part.kind.is_some()).or_else(|| parts().next_back());
        let (Some(from), Some(to)) = (first_text, last_text) else { unreachable!("a piece has at least one atom") };
        Piece { content, sections: (from.section, to.section), pages: from.page.zip(to.page) }
    }
}
