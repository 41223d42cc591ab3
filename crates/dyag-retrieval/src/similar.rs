//! Which words of a collection a word that it does not have may mean: the rule that every store follows.

/// Corrections of a word.
const MAX_CORRECTIONS: usize = 3;

/// In how many letters a correction may differ: none for words of three letters and fewer, one from four, two from eight. Two letters that changed places count as one.
pub(crate) fn furthest(word: &str) -> u8 {
    match word.chars().count() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

/// Whether `text` is another word, and not another number: other digits are no misspelling.
pub(crate) fn may_mean(text: &str, word: &str) -> bool {
    text != word
        && text.chars().all(char::is_alphanumeric)
        && text.chars().filter(char::is_ascii_digit).eq(word.chars().filter(char::is_ascii_digit))
}

/// The likeliest of words that are equally far: those that stand in more passages, then by their letters.
pub(crate) fn likeliest(mut found: Vec<(u64, String)>) -> Vec<String> {
    found.sort_by(|(n, a), (m, b)| m.cmp(n).then_with(|| a.cmp(b)));
    found.into_iter().take(MAX_CORRECTIONS).map(|(_, text)| text).collect()
}

/// The corrections of `word` among words with the number of their passages: the nearest, then the likeliest of these.
pub(crate) fn among(word: &str, words: impl Iterator<Item = (u64, String)>) -> Vec<String> {
    let furthest = usize::from(furthest(word));
    let mut by_distance: Vec<Vec<(u64, String)>> = vec![Vec::new(); furthest + 1];
    for (n, text) in words.filter(|(_, text)| may_mean(text, word)) {
        let distance = strsim::osa_distance(word, &text);
        if (1..=furthest).contains(&distance) {
            by_distance[distance].push((n, text));
        }
    }
    by_distance.into_iter().find(|found| !found.is_empty()).map_or_else(Vec::new, likeliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_of_these_the_more_frequent() {
        let words =
            || ["gidaf", "gidat", "gidaff", "adgif", "gida2", "gi-af", "other"].iter().map(|text| (text.len() as u64, (*text).to_owned()));
        assert_eq!(among("gidax", words()), ["gidaf", "gidat"]);
        assert_eq!(among("igdaf", words()), ["gidaf"], "two letters that changed places");
        assert_eq!(among("gidafff", words()), ["gidaff"], "seven letters: one may differ");
        assert_eq!(among("gid", words()), Vec::<String>::new());
        let near = (0..5).map(|n| (n, format!("abcdefg{}", char::from(b'u' + n as u8))));
        assert_eq!(among("abcdefgh", near), ["abcdefgy", "abcdefgx", "abcdefgw"]);
    }
}
