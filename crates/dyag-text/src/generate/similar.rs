//! Which chunks a search by words would find: BM25 (Robertson and Zaragoza, 2009) over titles and contents, for choosing passages that are near a question and do not answer it.

use std::collections::{BTreeMap, HashMap};

use super::wording::fold;
use crate::chunk::Chunk;

/// How soon a word that is repeated counts no more.
const K1: f64 = 1.2;
/// How much long chunks are held back.
const B: f64 = 0.75;

/// Chunks by their words.
#[derive(Debug)]
pub(super) struct Similar {
    /// For each word the chunks that hold it, and how often.
    postings: HashMap<String, Vec<(usize, u32)>>,
    /// Words of each chunk.
    lengths: Vec<u32>,
    mean_length: f64,
}

impl Similar {
    pub(super) fn new(chunks: &[Chunk]) -> Self {
        let mut postings: HashMap<String, Vec<(usize, u32)>> = HashMap::new();
        let mut lengths = Vec::with_capacity(chunks.len());
        for (index, Chunk { title, content, .. }) in chunks.iter().enumerate() {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for word in fold(title).split(' ').chain(fold(content).split(' ')).filter(|word| !word.is_empty()) {
                *counts.entry(word.to_owned()).or_default() += 1;
            }
            lengths.push(counts.values().sum());
            for (word, n) in counts {
                postings.entry(word).or_default().push((index, n));
            }
        }
        let total: f64 = lengths.iter().map(|length| f64::from(*length)).sum();
        Self { postings, mean_length: (total / lengths.len().max(1) as f64).max(1.0), lengths }
    }

    /// What a word weighs that so many chunks hold (its inverse document frequency).
    fn weight(&self, n_holders: usize) -> f64 {
        let (n_chunks, n_holders) = (self.lengths.len() as f64, n_holders as f64);
        (1.0 + (n_chunks - n_holders + 0.5) / (n_holders + 0.5)).ln()
    }

    /// The different words of a question that a chunk holds, and what each weighs.
    pub(super) fn weighed(&self, question: &str) -> BTreeMap<String, f64> {
        let weighed = |word: &str| Some((word.to_owned(), self.weight(self.postings.get(word)?.len())));
        fold(question).split(' ').filter_map(weighed).collect()
    }

    /// Chunks that share a word with `text` and that `may` lets through, the best first, at most `n`; of two that fit equally well the earlier.
    pub(super) fn nearest(&self, text: &str, n: usize, may: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
        for word in fold(text).split(' ') {
            let Some(holders) = self.postings.get(word) else { continue };
            let rare = self.weight(holders.len());
            for (chunk, count) in holders {
                let (count, length) = (f64::from(*count), f64::from(self.lengths[*chunk]));
                let held_back = K1 * (1.0 - B + B * length / self.mean_length);
                *scores.entry(*chunk).or_default() += rare * count * (K1 + 1.0) / (count + held_back);
            }
        }
        let mut found: Vec<(usize, f64)> = scores.into_iter().filter(|(chunk, _)| may(*chunk)).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(n);
        found.into_iter().map(|(chunk, _)| chunk).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_and_short_chunks_come_first() {
        let chunk = |content: &str| Chunk {
            id: content.to_owned(),
            source_id: String::new(),
            title: String::new(),
            content: content.to_owned(),
            metadata: serde_json::Map::new(),
            chunk_type: String::new(),
        };
        let texts = ["le port de Géo", "le port est le port", "le statut de Geo est bon et long et large", "rien", "le statut"];
        let chunks: Vec<Chunk> = texts.iter().map(|text| chunk(text)).collect();
        let similar = Similar::new(&chunks);
        assert_eq!(similar.nearest("Quel est le statut de GÉO ?", 2, &|_| true), [2, 0]);
        let weighed = similar.weighed("Le statut, le STATUT de rien ni de personne");
        assert_eq!(weighed.keys().collect::<Vec<_>>(), ["de", "le", "rien", "statut"]);
        assert!(weighed["rien"] > weighed["statut"] && weighed["statut"] > weighed["le"]);
        assert_eq!(similar.nearest("statut", 9, &|chunk| chunk != 4), [2]);
        assert!(similar.nearest("inconnu", 9, &|_| true).is_empty() && Similar::new(&[]).nearest("a", 1, &|_| true).is_empty());
    }
}
