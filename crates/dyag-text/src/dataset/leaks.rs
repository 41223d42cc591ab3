//! Leaks: questions of one file that another file asks as well, so that a test would measure memory.

use super::asked::{Asked, AskedIndex};
use super::row::Row;
use crate::error::SourceLine;

/// A question that two files share.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// Where it is in the one file.
    pub source: SourceLine,
    /// As it is asked there.
    pub question: String,
    /// Where it is in the other.
    pub other_source: SourceLine,
    /// As it is asked there.
    pub other_question: String,
    /// How similar the wordings are ([`crate::near_duplicates::jaccard`]); 1 when they are the same but for case, accents, spaces and
    /// punctuation.
    pub similarity: f64,
}

impl Leak {
    /// Whether the wordings are the same but for case, accents, spaces and punctuation.
    pub fn is_same_wording(&self) -> bool {
        self.similarity >= 1.0
    }
}

/// The questions of `rows` that `others` ask in the same words, or in words of at least that `similarity`
/// ([`crate::near_duplicates::SAME_QUESTION`] suits).
///
/// A leak is the same question about the same thing. Where both rows say what they are about (`document` and `field`, or `app_id` and
/// `category`), they must agree; where they do not say it, similar questions that differ in a name or a number
/// ([`crate::near_duplicates::differ_by_name`]) are two questions. The first question of a conversation is compared, and later ones that
/// can be understood alone. Answers do not matter.
///
/// # Panics
/// A similarity that is not above 0, or above 1.
pub fn find_leaks(rows: &[Row], others: &[Row], similarity: f64) -> Vec<Leak> {
    let mut index = AskedIndex::new(similarity);
    others.iter().flat_map(Asked::all_of).for_each(|asked| index.insert(asked));
    let mut leaks = Vec::new();
    for asked in rows.iter().flat_map(Asked::all_of) {
        leaks.extend(index.same_as(&asked).into_iter().map(|same| Leak {
            source: asked.source.clone(),
            question: asked.text.clone(),
            other_source: same.asked.source.clone(),
            other_question: same.asked.text.clone(),
            similarity: same.similarity,
        }));
    }
    leaks
}
