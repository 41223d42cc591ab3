//! What a question is about, as its search saw it: the part of a long passage that is shown is chosen by it.

use dyag_text::chunk::Chunk;
use dyag_text::passages::Passage;

use crate::analysis::{Analyzer, Language};
use crate::confidence::WeighedWord;

/// The words of a question, what each may stand for in the collection, and what it weighs (by inverse document frequency).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Focus {
    pub(crate) words: Vec<WeighedWord>,
    /// Of the collection, the most frequent first.
    pub(crate) languages: Vec<Language>,
}

impl Focus {
    /// What is shown of a passage, in at most `max_chars` characters ([`Passage::shortened_for`]).
    pub fn passage(&self, analyzer: &Analyzer, chunk: &Chunk, max_chars: usize) -> Passage {
        let whole = Passage::new(&chunk.title, &chunk.content);
        let Some(first) = self.languages.first() else { return whole.shortened(max_chars) };
        let language = analyzer.language(&chunk.content).unwrap_or(*first);
        let stems: Vec<Vec<String>> =
            self.words.iter().map(|word| word.forms.iter().flat_map(|form| analyzer.stems(form, language)).collect()).collect();
        let weights: Vec<f64> = self.words.iter().map(|word| word.weight).collect();
        whole.shortened_for(max_chars, &weights, &mut |text| {
            let found = analyzer.stems(text, language);
            (0..stems.len()).filter(|word| stems[*word].iter().any(|stem| found.contains(stem))).collect()
        })
    }
}
