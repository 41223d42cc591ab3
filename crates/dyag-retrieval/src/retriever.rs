//! A question to a collection: rankings by terms and vectors, fused, reranked, with what each stage said.

use std::collections::HashMap;
use std::time::Instant;

use dyag_text::chunk::Chunk;
use dyag_text::passages::Passage;
use dyag_text::{Embedder, Reranker, TextRole};
use serde::Serialize;

use crate::analysis::{Analyzer, QueryTerm, searched_text};
use crate::confidence::{Confidence, UNKNOWN_SHARE, Verdict, WeighedWord, coverage, inverse_document_frequency, verdict};
use crate::description::EmbedderRecord;
use crate::error::RetrievalError;
use crate::filter::Filter;
use crate::focus::Focus;
use crate::fusion::fuse;
use crate::local::unit;
use crate::store::{LexicalQuery, Scored, Store};

/// What a correction's terms count, beside those of a word that is there.
const CORRECTION_SHARE: f32 = 0.8;

/// By what passages are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ranking {
    /// By their words.
    Lexical,
    /// By their vectors.
    Vector,
    /// By both.
    Fused,
}

/// How a question is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Passages that are given.
    pub k: usize,
    /// Passages of each ranking that are fused.
    pub candidates: usize,
    /// By what.
    pub ranking: Ranking,
    /// Which may be found.
    pub filter: Filter,
    /// Passages that the reranker sees, where there is one.
    pub reranked: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { k: 5, candidates: 50, ranking: Ranking::Fused, filter: Filter::default(), reranked: 20 }
    }
}

/// A passage's rank (from 1) and score in one ranking.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// From 1.
    pub rank: usize,
    /// What the ranking is by.
    pub score: f64,
}

/// Where each stage had a passage; none where it did not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stages {
    /// By BM25.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lexical: Option<Place>,
    /// By cosine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Place>,
    /// By reciprocal ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused: Option<Place>,
    /// By the reranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<Place>,
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The passage.
    pub chunk: Chunk,
    /// The score of the last stage.
    pub score: f64,
    /// All of them.
    pub stages: Stages,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The passages, best first.
    pub hits: Vec<Hit>,
    /// How sure that is.
    pub confidence: Confidence,
    /// Words of the question that the collection does not have, and what was searched for instead.
    pub corrections: Vec<(String, Vec<String>)>,
    /// What the question is about, to choose the part of a passage that is shown.
    pub focus: Focus,
    /// Seconds of each stage: `lexical`, `embed`, `vector`, `rerank`, `all`.
    pub seconds: Vec<(&'static str, f64)>,
}

/// Searches one collection.
pub struct Retriever<'a> {
    store: &'a dyn Store,
    embedder: Option<&'a dyn Embedder>,
    reranker: Option<&'a dyn Reranker>,
    analyzer: Analyzer,
}

/// The question as the lexical ranking asks it.
struct Asked {
    query: LexicalQuery,
    words: Vec<WeighedWord>,
    corrections: Vec<(String, Vec<String>)>,
    unknown: Vec<String>,
}

/// A question and its passages before a reranker has looked at them.
struct Candidates {
    question: String,
    asked: Asked,
    hits: Vec<Hit>,
    /// Cosine of the nearest passage.
    cosine: Option<f64>,
    /// Seconds of each stage, that of all of them last.
    seconds: Vec<(&'static str, f64)>,
}

impl<'a> Retriever<'a> {
    /// A search over `store`; by vectors with the embedder that made them.
    ///
    /// # Errors
    /// Another embedder than the collection's.
    pub fn new(
        store: &'a dyn Store,
        embedder: Option<&'a dyn Embedder>,
        reranker: Option<&'a dyn Reranker>,
    ) -> Result<Self, RetrievalError> {
        if let Some(embedder) = embedder {
            let found = EmbedderRecord { name: embedder.name(), signature: embedder.signature(), dimension: embedder.dimension() };
            store.description().expect_embedder(Some(&found))?;
        }
        Ok(Self { store, embedder, reranker, analyzer: Analyzer::new() })
    }

    /// The collection.
    pub fn store(&self) -> &dyn Store {
        self.store
    }

    /// The passages that bear on a question.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    pub fn search(&self, question: &str, options: &SearchOptions) -> Result<Found, RetrievalError> {
        let mut candidates = self.candidates(question, options)?;
        if let Some(reranker) = self.reranker {
            rerank(reranker, std::slice::from_mut(&mut candidates), &mut |_| {})?;
        }
        Ok(self.found(candidates, options.k))
    }

    /// The same for each of several questions. The reranker, where there is one, is asked once for all of them: a language model then reads a passage once for all questions that found it.
    /// `on_done` is told how many questions are done; with a reranker, whose work is the most of it, how many pairs of a question and a passage it scored, in questions.
    ///
    /// # Errors
    /// See [`RetrievalError`].
    pub fn search_all(
        &self,
        questions: &[&str],
        options: &SearchOptions,
        on_done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Found>, RetrievalError> {
        let mut candidates = Vec::with_capacity(questions.len());
        for question in questions {
            candidates.push(self.candidates(question, options)?);
            if self.reranker.is_none() {
                on_done(candidates.len());
            }
        }
        if let Some(reranker) = self.reranker {
            let n_pairs = candidates.iter().map(|one| one.hits.len()).sum::<usize>().max(1);
            rerank(reranker, &mut candidates, &mut |n| on_done(n * questions.len() / n_pairs))?;
        }
        Ok(candidates.into_iter().map(|candidates| self.found(candidates, options.k)).collect())
    }

    /// What the rankings say of a question, before a reranker looks: its passages, those for a reranker among them.
    fn candidates(&self, question: &str, options: &SearchOptions) -> Result<Candidates, RetrievalError> {
        let SearchOptions { k, candidates, ranking, filter, reranked } = options;
        let start = Instant::now();
        let mut seconds = Vec::new();
        let reranked = if self.reranker.is_some() { (*reranked).max(*k) } else { 0 };
        let depth = (*candidates).max(*k).max(reranked);
        let asked = self.asked(question)?;
        let mut timed = |stage: &'static str, from: Instant| seconds.push((stage, from.elapsed().as_secs_f64()));
        let from = Instant::now();
        let lexical = match ranking {
            Ranking::Vector => Vec::new(),
            Ranking::Lexical | Ranking::Fused => self.store.lexical(&asked.query, depth, filter)?,
        };
        timed("lexical", from);
        let nearest = match ranking {
            Ranking::Lexical => Vec::new(),
            Ranking::Vector | Ranking::Fused => {
                self.store.description().expect_embedder(self.embedder.map(record).as_ref())?;
                let from = Instant::now();
                let vector = self.embedded(question)?;
                timed("embed", from);
                let from = Instant::now();
                let nearest = match vector {
                    Some(vector) => self.store.nearest(&vector, depth, filter)?,
                    None => Vec::new(),
                };
                timed("vector", from);
                nearest
            }
        };
        let fused = match ranking {
            Ranking::Lexical => ordered(&lexical),
            Ranking::Vector => ordered(&nearest),
            Ranking::Fused => fuse(&[ids(&lexical), ids(&nearest)]),
        };
        let (of_lexical, of_vector) = (places(&lexical), places(&nearest));
        let kept = &fused[..fused.len().min((*k).max(reranked))];
        let chunks = self.store.chunks(&kept.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>())?;
        let mut hits: Vec<Hit> = Vec::with_capacity(kept.len());
        for (rank, ((id, score), chunk)) in kept.iter().zip(chunks).enumerate() {
            let fused = (*ranking == Ranking::Fused).then_some(Place { rank: rank + 1, score: *score });
            let stages =
                Stages { lexical: of_lexical.get(id.as_str()).copied(), vector: of_vector.get(id.as_str()).copied(), fused, rerank: None };
            hits.push(Hit { chunk, score: *score, stages });
        }
        timed("all", start);
        let cosine = nearest.first().map(|best| f64::from(best.score));
        Ok(Candidates { question: question.to_owned(), asked, hits, cosine, seconds })
    }

    /// The best `k` of them, and how sure that is.
    fn found(&self, candidates: Candidates, k: usize) -> Found {
        let Candidates { question: _, asked, mut hits, cosine, seconds } = candidates;
        hits.truncate(k);
        let confidence = self.confidence(&asked, &hits, cosine);
        let focus = Focus { words: asked.words, languages: self.store.description().languages.clone() };
        Found { hits, confidence, corrections: asked.corrections, focus, seconds }
    }

    /// What is shown of a passage that was found, in at most `max_chars` characters.
    pub fn passage(&self, found: &Found, hit: &Hit, max_chars: usize) -> Passage {
        found.focus.passage(&self.analyzer, &hit.chunk, max_chars)
    }

    /// The question's terms: words that the collection does not have are replaced by similar ones that it has.
    fn asked(&self, question: &str) -> Result<Asked, RetrievalError> {
        let description = self.store.description();
        let (languages, n) = (&description.languages, description.n_chunks);
        let mut terms = self.analyzer.question(question, languages);
        let words = self.analyzer.question_words(question, languages);
        let of_word: Vec<Vec<QueryTerm>> = words.iter().map(|word| self.analyzer.terms_of_word(word, languages, 1.0)).collect();
        let frequencies = self.store.document_frequencies(&of_word.concat())?;
        let (mut at, mut weighed, mut corrections, mut unknown) = (0, Vec::new(), Vec::new(), Vec::new());
        for (word, of_word) in words.into_iter().zip(of_word) {
            let frequency = frequencies[at..at + of_word.len()].iter().copied().max().unwrap_or(0);
            at += of_word.len();
            let mut forms = vec![word.clone()];
            let mut known = frequency;
            if frequency == 0 {
                let similar = self.store.similar_words(&word)?;
                let of_similar: Vec<QueryTerm> =
                    similar.iter().flat_map(|word| self.analyzer.terms_of_word(word, languages, CORRECTION_SHARE)).collect();
                known = self.store.document_frequencies(&of_similar)?.into_iter().max().unwrap_or(0);
                for term in of_similar {
                    if !terms.iter().any(|known| known.field == term.field && known.text == term.text) {
                        terms.push(term);
                    }
                }
                match similar.is_empty() {
                    true => unknown.push(word.clone()),
                    false => corrections.push((word, similar.clone())),
                }
                forms.extend(similar);
            }
            let share = if known == 0 { UNKNOWN_SHARE } else { 1.0 };
            weighed.push(WeighedWord { forms, weight: share * inverse_document_frequency(known.max(1), n) });
        }
        Ok(Asked { query: LexicalQuery { terms }, words: weighed, corrections, unknown })
    }

    /// The unit vector of a question, or none where the question has no token that counts.
    fn embedded(&self, question: &str) -> Result<Option<Vec<f32>>, RetrievalError> {
        let Some(embedder) = self.embedder else { return Ok(None) };
        let vectors = embedder.embed(&[question], TextRole::Query)?;
        let wrong =
            |found: &str| RetrievalError::Chunk { id: String::new(), expected: "a vector of the question", found: found.to_owned() };
        let vector = vectors.first().ok_or_else(|| wrong("none"))?;
        if vector.len() != embedder.dimension() {
            return Err(wrong("one of another size"));
        }
        unit(vector).map(Some).map_err(wrong)
    }

    fn confidence(&self, asked: &Asked, hits: &[Hit], cosine: Option<f64>) -> Confidence {
        let description = self.store.description();
        let chunks: Vec<Chunk> = hits.iter().map(|hit| hit.chunk.clone()).collect();
        let coverage = coverage(&self.analyzer, &asked.words, &description.languages, &chunks);
        let deviations = cosine.zip(description.unrelated_cosine).filter(|(_, (_, deviation))| *deviation > 0.0);
        let deviations = deviations.map(|(cosine, (mean, deviation))| (cosine - mean) / deviation);
        let verdict = if hits.is_empty() { Verdict::Nothing } else { verdict(coverage, deviations) };
        Confidence { verdict, coverage, cosine, deviations, unknown_words: asked.unknown.clone() }
    }
}

fn record(embedder: &dyn Embedder) -> EmbedderRecord {
    EmbedderRecord { name: embedder.name(), signature: embedder.signature(), dimension: embedder.dimension() }
}

fn ids(ranking: &[Scored]) -> Vec<&str> {
    ranking.iter().map(|scored| scored.id.as_str()).collect()
}

fn ordered(ranking: &[Scored]) -> Vec<(String, f64)> {
    ranking.iter().map(|scored| (scored.id.clone(), f64::from(scored.score))).collect()
}

fn places(ranking: &[Scored]) -> HashMap<&str, Place> {
    let places = ranking.iter().enumerate();
    places.map(|(rank, scored)| (scored.id.as_str(), Place { rank: rank + 1, score: f64::from(scored.score) })).collect()
}

/// Orders the hits of each question by the reranker's scores; equal ones stay in the order they had. Its seconds are shared out evenly among the pairs it scored.
fn rerank(reranker: &dyn Reranker, questions: &mut [Candidates], on_pairs: &mut dyn FnMut(usize)) -> Result<(), RetrievalError> {
    let from = Instant::now();
    let texts: Vec<Vec<String>> = questions.iter().map(|one| one.hits.iter().map(|hit| searched_text(&hit.chunk)).collect()).collect();
    let asked: Vec<(&str, Vec<&str>)> =
        questions.iter().zip(&texts).map(|(one, texts)| (one.question.as_str(), texts.iter().map(String::as_str).collect())).collect();
    let scores = reranker.score_all(&asked, on_pairs)?;
    let n_pairs = texts.iter().map(Vec::len).sum::<usize>().max(1);
    let share = from.elapsed().as_secs_f64() / n_pairs as f64;
    let fits = |(one, scores): (&Candidates, &Vec<f32>)| scores.len() == one.hits.len() && scores.iter().all(|score| score.is_finite());
    if scores.len() != questions.len() || !questions.iter().zip(&scores).all(fits) {
        let found = "others, or numbers that are not finite".to_owned();
        return Err(RetrievalError::Chunk { id: String::new(), expected: "a score for each passage from the reranker", found });
    }
    for (Candidates { hits, seconds, .. }, scores) in questions.iter_mut().zip(scores) {
        for (hit, score) in hits.iter_mut().zip(scores) {
            hit.score = f64::from(score);
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        for (rank, hit) in hits.iter_mut().enumerate() {
            hit.stages.rerank = Some(Place { rank: rank + 1, score: hit.score });
        }
        let took = share * hits.len() as f64;
        if let Some((_, all)) = seconds.last_mut() {
            *all += took;
        }
        seconds.insert(seconds.len().saturating_sub(1), ("rerank", took));
    }
    Ok(())
}
