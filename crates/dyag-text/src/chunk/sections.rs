//! Which sections of a document are cut together: small neighbours become one passage.

use std::ops::Range;

use super::atoms::Part;
use super::ruler::Ruler;
use crate::document::{Heading, Outline};

/// Divides `sections` of an outline into runs that are cut each for itself.
///
/// A section joins the ones before it while they are small together (half a passage) and have the same parent, or it lies below them. A heading
/// without text never stands alone. Runs hold at least one block; a range without any gives none.
pub(super) fn runs(
    outline: &Outline,
    paths: &[Vec<Heading>],
    sections: Range<usize>,
    limit: usize,
    ruler: &dyn Ruler,
) -> Vec<Range<usize>> {
    let mut runs: Vec<(Range<usize>, usize, bool)> = Vec::new();
    for index in sections.clone() {
        let section = &outline.sections[index];
        let heading = section.heading.as_ref().map_or(0, |heading| ruler.length(&heading.line()) + 1);
        let length = heading + section.blocks.iter().map(|block| ruler.length(&block.text) + 2).sum::<usize>();
        let has_text = !section.blocks.is_empty();
        // A heading of which only others lie below goes with those.
        let leads = !has_text && index + 1 < sections.end && paths[index + 1].starts_with(&paths[index]);
        match runs.last_mut() {
            Some((run, total, run_has_text))
                if !*run_has_text || (!leads && *total + length <= limit / 2 && belong(&paths[run.start], &paths[index])) =>
            {
                run.end = index + 1;
                *total += length;
                *run_has_text |= has_text;
            }
            _ => runs.push((index..index + 1, length, has_text)),
        }
    }
    let rest = runs.pop_if(|(_, _, has_text)| !*has_text);
    if let (Some((rest, _, _)), Some((last, _, _))) = (rest, runs.last_mut()) {
        last.end = rest.end;
    }
    runs.into_iter().map(|(run, _, _)| run).collect()
}

/// Whether a section may join a run that begins with another: it lies below that one, or below its parent.
fn belong(first: &[Heading], section: &[Heading]) -> bool {
    let parent = &first[..first.len().saturating_sub(1)];
    section.starts_with(if parent.is_empty() { first } else { parent })
}

/// The headings of a run as lines, each with its section.
pub(super) fn lines(outline: &Outline, run: Range<usize>) -> Vec<(Option<String>, usize)> {
    run.map(|index| (outline.sections[index].heading.as_ref().map(Heading::line), index)).collect()
}

/// The blocks of a run between its headings' lines.
pub(super) fn flow<'a>(outline: &'a Outline, lines: &'a [(Option<String>, usize)]) -> Vec<Part<'a>> {
    let mut flow = Vec::new();
    for (line, section) in lines {
        let part = |kind, text, page| Part { kind, text, section: *section, page, before: String::new(), after: String::new() };
        flow.extend(line.as_deref().map(|line| part(None, line, None)));
        flow.extend(outline.sections[*section].blocks.iter().map(|block| part(Some(block.kind), block.text.as_str(), block.page)));
    }
    flow
}
