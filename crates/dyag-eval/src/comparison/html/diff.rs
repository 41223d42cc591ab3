//! Which words of an answer are those that were expected: a longest common subsequence of words.

/// The most words of either text, without what both begin and end with, that are put side by side; the work grows with their product.
const MAX_WORDS: usize = 500;
/// Where less than this share of both texts' words agrees, an account of what was added and left out would be all there is to see.
const SIMILAR_FROM: f64 = 0.35;

/// A stretch of an answer, or of what is missing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) kind: Kind,
}

/// Which words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In both.
    Same,
    /// Only in the answer.
    Added,
    /// Only in what was expected.
    Missing,
}

/// An answer beside what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Diff<'a> {
    /// The same words and marks, whatever the spaces and the case.
    Same,
    /// Much alike: what was added, and what is missing.
    Alike(Vec<Piece<'a>>),
    /// Little alike: no missing words, and those added are as good as all.
    Unlike(Vec<Piece<'a>>),
    /// Too long to put side by side.
    TooLong,
}

/// Compares word by word. Case and spaces do not count, accents and punctuation do.
pub(super) fn diff<'a>(expected: &'a str, answer: &'a str) -> Diff<'a> {
    let (wanted, given) = (words(expected), words(answer));
    let key = |words: &[&str]| words.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>();
    let (wanted_keys, given_keys) = (key(&wanted), key(&given));
    if wanted_keys == given_keys {
        return Diff::Same;
    }
    let Some(common) = common(&wanted_keys, &given_keys) else { return Diff::TooLong };
    let is_alike = 2.0 * common.len() as f64 >= SIMILAR_FROM * (wanted.len() + given.len()) as f64;
    let mut pieces = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (at_wanted, at_given) in common.iter().copied().chain([(wanted.len(), given.len())]) {
        if is_alike {
            push(&mut pieces, expected, &wanted[i..at_wanted], Kind::Missing);
        }
        push(&mut pieces, answer, &given[j..at_given], Kind::Added);
        push(&mut pieces, answer, given.get(at_given..at_given + 1).unwrap_or_default(), Kind::Same);
        (i, j) = (at_wanted + 1, at_given + 1);
    }
    let pieces = joined(answer, pieces);
    if is_alike { Diff::Alike(pieces) } else { Diff::Unlike(pieces) }
}

/// Words, and every other character but spaces by itself.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut end = start + c.len_utf8();
        while let Some((place, next)) = chars.next_if(|(_, next)| c.is_alphanumeric() && is_inside_word(*next)) {
            end = place + next.len_utf8();
        }
        words.push(&text[start..end]);
    }
    words
}

fn is_inside_word(c: char) -> bool {
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

/// The places of the words of a longest common subsequence, first in one text, then in the other.
fn common(a: &[String], b: &[String]) -> Option<Vec<(usize, usize)>> {
    let n_before = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a_rest, b_rest) = (&a[n_before..], &b[n_before..]);
    let n_after = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a_rest, b_rest) = (&a_rest[..a_rest.len() - n_after], &b_rest[..b_rest.len() - n_after]);
    if a_rest.len() > MAX_WORDS || b_rest.len() > MAX_WORDS {
        return None;
    }
    let mut places: Vec<(usize, usize)> = (0..n_before).map(|place| (place, place)).collect();
    // lengths[i][j]: the longest of what follows place i of the one and place j of the other.
    let width = b_rest.len() + 1;
    let mut lengths = vec![0_u16; (a_rest.len() + 1) * width];
    for i in (0..a_rest.len()).rev() {
        for j in (0..b_rest.len()).rev() {
            let (here, below) = (i * width + j, (i + 1) * width + j);
            lengths[here] = if a_rest[i] == b_rest[j] { lengths[below + 1] + 1 } else { lengths[below].max(lengths[here + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a_rest.len() && j < b_rest.len() {
        if a_rest[i] == b_rest[j] {
            places.push((n_before + i, n_before + j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    places.extend((0..n_after).map(|place| (a.len() - n_after + place, b.len() - n_after + place)));
    Some(places)
}

/// The place of a part within the text it is a part of.
fn place(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// Adds a run of words as one piece, with the spaces between them.
fn push<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str, run: &[&'a str], kind: Kind) {
    if let (Some(first), Some(last)) = (run.first(), run.last()) {
        pieces.push(Piece { text: &text[place(text, first)..place(text, last) + last.len()], kind });
    }
}

/// Joins neighbours of one kind and gives the pieces of the answer the spaces between them, as pieces that are the same in both.
fn joined<'a>(answer: &'a str, pieces: Vec<Piece<'a>>) -> Vec<Piece<'a>> {
    let mut joined: Vec<Piece<'a>> = Vec::new();
    let mut written = 0;
    for piece in pieces {
        if piece.kind == Kind::Missing {
            joined.push(piece);
            continue;
        }
        let start = place(answer, piece.text);
        let end = start + piece.text.len();
        match joined.last_mut() {
            Some(last) if last.kind == piece.kind => last.text = &answer[place(answer, last.text)..end],
            _ => {
                if start > written {
                    joined.push(Piece { text: &answer[written..start], kind: Kind::Same });
                }
                joined.push(piece);
            }
        }
        written = end;
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(expected: &str, answer: &str) -> String {
        let (Diff::Alike(pieces) | Diff::Unlike(pieces)) = diff(expected, answer) else { return format!("{:?}", diff(expected, answer)) };
        let mark = |piece: &Piece<'_>| match piece.kind {
            Kind::Same => piece.text.to_owned(),
            Kind::Added => format!("+{}+", piece.text),
            Kind::Missing => format!("-{}-", piece.text),
        };
        pieces.iter().map(mark).collect()
    }

    #[test]
    fn words_that_differ() {
        assert_eq!(marked("En production", " en  production "), "Same");
        assert_eq!(marked("En production", "En production."), "En production+.+");
        assert_eq!(marked("Le statut est en production", "Le statut est retiré"), "Le statut est-en production- +retiré+");
        assert_eq!(marked("a b c d", "a c d"), "a-b- c d");
        assert_eq!(
            marked("a", "tout autre chose, avec a dedans et bien plus encore"),
            "+tout autre chose, avec+ a +dedans et bien plus encore+"
        );
        assert_eq!(marked("", "mot"), "+mot+");
        assert_eq!(marked("été", "e\u{301}te\u{301}"), "+e\u{301}te\u{301}+");
    }

    #[test]
    fn what_is_too_long_is_said() {
        let [long, other] = ["a ", "b "].map(|word| word.repeat(MAX_WORDS + 1));
        assert_eq!(diff(&long, &other), Diff::TooLong);
        assert!(matches!(diff(&long, &format!("{long} c")), Diff::Alike(_)));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(expected in "[ab é,\n]{0,12}", answer in "[ab é,\n]{0,12}") {
            if let Diff::Alike(pieces) | Diff::Unlike(pieces) = diff(&expected, &answer) {
                let given: String = pieces.iter().filter(|piece| piece.kind != Kind::Missing).map(|piece| piece.text).collect();
                prop_assert_eq!(given.trim(), answer.trim());
                let count = |kind: Kind| pieces.iter().filter(|piece| piece.kind == kind).map(|piece| words(piece.text).len()).sum::<usize>();
                prop_assert_eq!(count(Kind::Same) + count(Kind::Added), words(&answer).len());
            }
        }
    }
}
