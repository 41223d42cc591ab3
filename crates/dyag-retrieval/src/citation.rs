//! What an answer rests on: for each of its sentences the sentence of a passage that says most of it, with its place. Nothing is read out of the answer but its words.

use std::collections::{HashMap, HashSet};

use dyag_text::chunk::Chunk;
use serde::Serialize;

use crate::analysis::{Analyzer, Language, searched_text};

/// Share of a sentence's weight that must stand in a passage's sentence for that to be cited.
const SUPPORT: f64 = 0.5;

/// Where something that an answer says stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Citation {
    /// The passage's place in what was shown, from 1.
    pub passage: usize,
    /// Its chunk.
    pub chunk_id: String,
    /// First character of the sentence in the chunk's content, counted in characters.
    pub start: usize,
    /// The character behind its last.
    pub end: usize,
    /// The sentence.
    pub sentence: String,
    /// The part of the answer that it supports.
    pub answer: String,
    /// Share of that part's words that stand in it, rare words counting more: 1 for all.
    pub support: f64,
}

/// A sentence or line: characters `start..end` of its text.
struct Span<'a> {
    start: usize,
    end: usize,
    text: &'a str,
}

/// Sentences and lines of a text, those with a letter or digit.
fn spans(text: &str) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let (mut from, mut from_chars) = (0, 0);
    let mut characters = text.char_indices().enumerate().peekable();
    while let Some((count, (at, c))) = characters.next() {
        let next = characters.peek().map(|(_, (_, next))| *next);
        let ends = c == '\n' || next.is_none() || (matches!(c, '.' | '!' | '?' | '…') && next.is_some_and(char::is_whitespace));
        if !ends {
            continue;
        }
        let to = at + c.len_utf8();
        let whole = &text[from..to];
        let trimmed = whole.trim();
        if trimmed.chars().any(char::is_alphanumeric) {
            let before = whole.len() - whole.trim_start().len();
            let start = from_chars + whole[..before].chars().count();
            found.push(Span { start, end: start + trimmed.chars().count(), text: trimmed });
        }
        (from, from_chars) = (to, count + 1);
    }
    found
}

/// The citations of an answer from the passages that were shown, in the order of its sentences. Of sentences that support it equally, the one in the passage that has most of the question counts.
pub fn citations(analyzer: &Analyzer, question: &str, answer: &str, chunks: &[&Chunk], languages: &[Language]) -> Vec<Citation> {
    let fallback = languages.first().copied().unwrap_or(Language::French);
    let language = |text: &str| analyzer.language(text).unwrap_or(fallback);
    let stems = |text: &str, language: Language| -> HashSet<String> { analyzer.stems(text, language).into_iter().collect() };
    // Sentences of all passages with their stems, and how many have each stem.
    let mut sentences: Vec<(usize, Span<'_>, HashSet<String>)> = Vec::new();
    let mut n_with: HashMap<String, usize> = HashMap::new();
    let mut relevance = Vec::with_capacity(chunks.len());
    for (place, chunk) in chunks.iter().enumerate() {
        let of_chunk = language(&chunk.content);
        let asked = stems(question, of_chunk);
        let all = stems(&searched_text(chunk), of_chunk);
        relevance.push(asked.intersection(&all).count());
        for span in spans(&chunk.content) {
            let stems = stems(span.text, of_chunk);
            stems.iter().for_each(|stem| *n_with.entry(stem.clone()).or_default() += 1);
            sentences.push((place, span, stems));
        }
    }
    let n = sentences.len() as f64;
    let weight = |stem: &String| {
        let df = n_with.get(stem).copied().unwrap_or(0) as f64;
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    };
    let mut cited: Vec<Citation> = Vec::new();
    for part in spans(answer) {
        let said = stems(part.text, language(answer));
        let all: f64 = said.iter().map(weight).sum();
        if all <= 0.0 {
            continue;
        }
        let best = sentences
            .iter()
            .map(|(place, span, stems)| (said.intersection(stems).map(weight).sum::<f64>() / all, *place, span))
            .max_by(|(a, place_a, span_a), (b, place_b, span_b)| {
                let rounded = |support: f64| (support * 1e6).round() as i64;
                // Shorter sentences say it more plainly; the first of equals counts.
                let key = |support: f64, place: usize, span: &Span<'_>| {
                    (rounded(support), relevance[place], std::cmp::Reverse(span.text.len()), std::cmp::Reverse((place, span.start)))
                };
                key(*a, *place_a, span_a).cmp(&key(*b, *place_b, span_b))
            });
        let Some((support, place, span)) = best.filter(|(support, ..)| *support >= SUPPORT) else { continue };
        cited.push(Citation {
            passage: place + 1,
            chunk_id: chunks[place].id.clone(),
            start: span.start,
            end: span.end,
            sentence: span.text.to_owned(),
            answer: part.text.to_owned(),
            support,
        });
    }
    cited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(id: &str, title: &str, content: &str) -> Chunk {
        Chunk {
            id: id.into(),
            source_id: id.into(),
            title: title.into(),
            content: content.into(),
            metadata: serde_json::Map::new(),
            chunk_type: String::new(),
        }
    }

    fn cite(question: &str, answer: &str, chunks: &[Chunk]) -> Vec<Citation> {
        citations(&Analyzer::new(), question, answer, &chunks.iter().collect::<Vec<_>>(), &[Language::French])
    }

    #[test]
    fn an_answer_is_cited_where_it_stands_in_characters() {
        let chunks = [
            chunk("a", "GIDAF", "# GIDAF\nÉtat : créé en 2009. Statut : En production"),
            chunk("b", "OASIS", "Le statut d'OASIS est En production."),
        ];
        let found = cite("Quel est le statut d'OASIS ?", "En production", &chunks);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].chunk_id.as_str(), found[0].passage, found[0].support), ("b", 2, 1.0));
        let found = cite("Quand GIDAF fut-elle créée ?", "Elle a été créée en 2009.", &chunks);
        let content: Vec<char> = chunks[0].content.chars().collect();
        assert_eq!(content[found[0].start..found[0].end].iter().collect::<String>(), found[0].sentence);
        assert_eq!(found[0].sentence, "État : créé en 2009.");
    }

    #[test]
    fn what_no_passage_says_has_no_citation() {
        let chunks = [chunk("a", "GIDAF", "Statut : En production")];
        assert!(cite("Qui ?", "Le ministère de l'agriculture et des forêts domaniales", &chunks).is_empty());
        assert!(cite("Qui ?", "", &chunks).is_empty());
        assert!(cite("Qui ?", "[3] voir le passage 3", &chunks).is_empty(), "numbers that a model writes are not believed");
        assert!(cite("Qui ?", "Statut", &[]).is_empty());
    }

    #[test]
    fn every_sentence_has_its_own() {
        let chunks = [chunk("a", "x", "Le port est 8080. Le délai vaut 30 secondes."), chunk("b", "y", "La licence est libre.")];
        let found = cite("?", "La licence est libre. Le délai vaut 30 secondes.", &chunks);
        assert_eq!(found.iter().map(|c| (c.passage, c.start)).collect::<Vec<_>>(), [(2, 0), (1, 18)]);
    }
}
