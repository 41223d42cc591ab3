//! Marks that travel through a template with the contents of messages, so that contents can be found in the rendered text.

use std::ops::Range;

/// Three characters that occur in none of the texts at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    open: char,
    close: char,
    inner: char,
}

/// `text` without white space around it, as Python's `str.strip` sees it.
pub(crate) fn strip_python(text: &str) -> &str {
    text.trim_matches(is_python_space)
}

/// White space as Python's `str.strip` has it: Unicode's, and the four separators U+001C to U+001F.
pub(crate) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}

impl Marker {
    /// Noncharacters, which no text should hold; where one does, private-use characters that it does not hold.
    pub(crate) fn absent_from<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let candidates = ('\u{FDD0}'..='\u{FDEF}').chain('\u{F0000}'..='\u{10FFFD}');
        let mut free = candidates.filter(|c| !texts.clone().any(|text| text.contains(*c)));
        let mut next = || free.next().expect("no text holds all of the 131072 private-use characters");
        Self { open: next(), close: next(), inner: next() }
    }

    /// `content` with marks around all but its outer white space. White space only is left alone.
    pub(crate) fn around(&self, content: &str) -> String {
        let body = strip_python(content);
        if body.is_empty() {
            return content.to_owned();
        }
        let start = content.len() - content.trim_start_matches(is_python_space).len();
        format!("{}{}{body}{}{}", &content[..start], self.open, self.close, &content[start + body.len()..])
    }

    /// `content` with a mark after the character at each of `starts`.
    pub(crate) fn inside(&self, content: &str, starts: impl Iterator<Item = usize>) -> String {
        let mut marked = String::with_capacity(content.len());
        let mut done = 0;
        for start in starts {
            let after = start + content[start..].chars().next().map_or(0, char::len_utf8);
            marked.push_str(&content[done..after]);
            marked.push(self.inner);
            done = after;
        }
        marked + &content[done..]
    }

    /// The ranges between marks in `marked`, as ranges of `text`; none unless `marked` is `text` with well-ordered marks.
    pub(crate) fn ranges(&self, marked: &str, text: &str) -> Option<Vec<Range<usize>>> {
        let mut ranges = Vec::new();
        let mut open: Option<usize> = None;
        for (c, at) in self.unmarked(marked, text)? {
            match (c == self.open, open) {
                (true, None) => open = Some(at),
                (false, Some(start)) if c == self.close => {
                    ranges.push(start..at);
                    open = None;
                }
                _ => return None,
            }
        }
        open.is_none().then_some(ranges)
    }

    /// The places of inner marks in `marked`, as places of `text`; none unless `marked` is `text` with marks.
    pub(crate) fn points(&self, marked: &str, text: &str) -> Option<Vec<usize>> {
        Some(self.unmarked(marked, text)?.into_iter().map(|(_, at)| at).collect())
    }

    /// Marks and their places in `text`, if `marked` without its marks is `text`.
    fn unmarked(&self, marked: &str, text: &str) -> Option<Vec<(char, usize)>> {
        let mut marks = Vec::new();
        let mut at = 0;
        for part in marked.split_inclusive([self.open, self.close, self.inner]) {
            let mark = part.chars().next_back().filter(|c| [self.open, self.close, self.inner].contains(c));
            let plain = &part[..part.len() - mark.map_or(0, char::len_utf8)];
            if !text.get(at..)?.starts_with(plain) {
                return None;
            }
            at += plain.len();
            marks.extend(mark.map(|mark| (mark, at)));
        }
        (at == text.len()).then_some(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_again() {
        let marker = Marker::absent_from(["a", "b\u{FDD0}"].into_iter());
        assert_eq!(marker, Marker { open: '\u{FDD1}', close: '\u{FDD2}', inner: '\u{FDD3}' });
        let marked = format!("<{}>{}", marker.around(" é\u{1c}\n"), marker.around("a"));
        assert_eq!(marker.ranges(&marked, "< é\u{1c}\n>a"), Some(vec![2..4, 7..8]));
        assert_eq!(marker.ranges(&marked, "< e\u{1c}\n>a"), None, "another text");
        assert_eq!(marker.ranges("x\u{FDD1}y", "xy"), None, "never closed");
        assert_eq!(marker.ranges("x\u{FDD2}y", "xy"), None, "never opened");
        let marked = marker.inside("é<s>a", [2].into_iter());
        assert_eq!(marked, "é<\u{FDD3}s>a");
        assert_eq!(marker.points(&marked, "é<s>a"), Some(vec![3]));
        assert_eq!(marker.around(" \n"), " \n");
    }
}
