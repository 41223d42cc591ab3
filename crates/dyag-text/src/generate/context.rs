//! Training examples that show passages, as a search will at query time (the recipe of RAFT, Zhang et al. 2024).
//!
//! Most examples show the passages that bear the answer among distractors, of which half are near the question: what a search by words would find. Some show none, so that facts are also learned by
//! heart. In some the bearing passages are withheld, and the answer says that the documents do not say: a model that never sees this answers from whatever it is shown. The prompt is that of
//! [`crate::passages`], which the query side uses too. Every choice is drawn from the seed and the question.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::parts::Part;
use super::quality::is_supported;
use super::random::Random;
use super::similar::Similar;
use super::training::{Kind, TrainingItem, TrainingSet};
use super::wording::fold;
use crate::chunk::Chunk;
use crate::passages::{Language, Passage, abstention, prompt_with_passages};

/// Near distractors are drawn from so many times as many nearest chunks.
const NEAR_POOL: usize = 3;

/// How examples show passages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContextOptions {
    /// Passages of an example; more where more bear the answer, fewer where there are no more chunks.
    pub n_passages: usize,
    /// Share of the examples that show none, in `0..=1`.
    pub context_free: f64,
    /// Share of the examples whose passages do not bear the answer, in `0..=1`.
    pub unanswerable: f64,
    /// Longest passage, in characters: of longer chunks the part with the question's words, or with the answer; none: whole chunks.
    pub max_passage_chars: Option<usize>,
    /// The language of the prompt.
    pub language: Language,
    /// Seed of every choice.
    pub seed: u64,
}

/// What an example's passages are to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextKind {
    /// They bear the answer.
    Bearing,
    /// There are none.
    None,
    /// Those that bear the answer were left out.
    Withheld,
    /// No chunk bears the answer.
    Unanswerable,
}

impl ContextKind {
    /// As it stands in rows and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bearing => "bearing",
            Self::None => "none",
            Self::Withheld => "withheld",
            Self::Unanswerable => "unanswerable",
        }
    }
}

/// What an example shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// What the passages are to the question.
    pub kind: ContextKind,
    /// The language of the prompt.
    pub language: Language,
    /// Chunk ids and passages, in the order shown.
    pub passages: Vec<(String, Passage)>,
    /// Chunks that bear the answer and were left out, with the parts of the answer.
    pub withheld: Option<(Vec<String>, Vec<String>)>,
}

impl Context {
    /// The user's turn.
    pub fn prompt(&self, question: &str) -> String {
        let passages: Vec<Passage> = self.passages.iter().map(|(_, passage)| passage.clone()).collect();
        prompt_with_passages(self.language, question, &passages)
    }
}

impl TrainingSet {
    /// Gives every example passages of `chunks`, from which the set was made. The shares hold in each part by itself, to the nearest example; what is asked of a test is still taught: a fact is
    /// withheld in training only where it is not tested or another example teaches it. The report says how many examples of which kind there are, and why there are fewer where there are.
    pub fn add_context(&mut self, chunks: &[Chunk], options: &ContextOptions) {
        let kinds = kinds(&self.items, options);
        let pool = Pool::new(chunks, options);
        for (item, kind) in self.items.iter_mut().zip(&kinds) {
            pool.show(item, *kind);
        }
        let mut wanted = 0;
        for part in [Part::Train, Part::Val, Part::Test] {
            wanted += share_of(self.part(part).count(), options.unanswerable);
        }
        self.report.recount(&self.items);
        let made = kinds.iter().filter(|kind| matches!(kind, ContextKind::Withheld | ContextKind::Unanswerable)).count();
        if made < wanted {
            self.report.shortfall.push(format!(
                "{made} of {wanted} examples without an answer in their passages: a fact that is tested is not withheld from the only example that teaches it"
            ));
        }
    }

    /// What is wrong with the passages of the examples, in sentences.
    pub(super) fn context_problems(&self, chunks: &[Chunk]) -> Vec<String> {
        let sources: HashMap<&str, &Chunk> = chunks.iter().map(|chunk| (chunk.id.as_str(), chunk)).collect();
        let mut problems = Vec::new();
        for TrainingItem { question, answer, kind, values, chunk_ids, document, name, context, .. } in &self.items {
            let Some(Context { kind: context_kind, language, passages, withheld }) = context else { continue };
            let mut problem = |what: String| problems.push(format!("\"{question}\" ({}): {what}", context_kind.name()));
            let shown: BTreeSet<&str> = passages.iter().map(|(id, _)| id.as_str()).collect();
            if shown.len() != passages.len() || shown.iter().any(|id| !sources.contains_key(id)) {
                problem("its passages are not different chunks that are there".to_owned());
            }
            let says_no = answer == abstention(*language);
            if (*kind == Kind::Unanswerable) != says_no || (*context_kind == ContextKind::Bearing && says_no) {
                problem(format!("the answer \"{answer}\" does not go with its kind"));
            }
            match context_kind {
                ContextKind::None if !passages.is_empty() => problem("it shows passages".to_owned()),
                ContextKind::Bearing => {
                    let of_sources = || passages.iter().filter(|(id, _)| chunk_ids.contains(id)).map(|(_, passage)| &passage.content);
                    if !chunk_ids.iter().all(|id| shown.contains(id.as_str()))
                        || !values.iter().all(|value| of_sources().any(|content| is_supported(value, content)))
                    {
                        problem("its passages do not bear the answer".to_owned());
                    }
                }
                ContextKind::Withheld => {
                    let (ids, values) = withheld.clone().unwrap_or_default();
                    let tells = |(id, passage): &(String, Passage)| {
                        ids.contains(id)
                            || sources.get(id.as_str()).is_some_and(|chunk| tells(chunk, &passage.content, document, name, &values))
                    };
                    if passages.iter().any(tells) {
                        problem("its passages bear the answer".to_owned());
                    }
                }
                _ => {}
            }
        }
        problems
    }
}

/// Whether a part of a chunk may answer: it holds one of the answer's values, and is of the document or speaks of it by name. What other documents have the same value for does not answer.
fn tells(chunk: &Chunk, content: &str, document: &str, name: &str, values: &[String]) -> bool {
    let speaks_of_it = || {
        let text = format!(" {} {} ", fold(&chunk.title), fold(content));
        text.contains(&format!(" {} ", fold(name)))
    };
    values.iter().any(|value| is_supported(value, content)) && (chunk.source_id == document || speaks_of_it())
}

/// A share of `n`, to the nearest whole number.
fn share_of(n: usize, share: f64) -> usize {
    (n as f64 * share).round() as usize
}

/// Which items show what.
fn kinds(items: &[TrainingItem], options: &ContextOptions) -> Vec<ContextKind> {
    let asked =
        |item: &TrainingItem| -> Vec<(String, String)> { item.fields.iter().map(|field| (item.document.clone(), field.clone())).collect() };
    let tested: BTreeSet<(String, String)> = items.iter().filter(|item| item.part != Part::Train).flat_map(asked).collect();
    let mut n_teaching: BTreeMap<(String, String), usize> = BTreeMap::new();
    for fact in items.iter().filter(|item| item.part == Part::Train).flat_map(asked) {
        *n_teaching.entry(fact).or_default() += 1;
    }
    let of_item = |item: &TrainingItem| if item.kind == Kind::Unanswerable { ContextKind::Unanswerable } else { ContextKind::Bearing };
    let mut kinds: Vec<ContextKind> = items.iter().map(of_item).collect();
    for part in [Part::Train, Part::Val, Part::Test] {
        let members: Vec<usize> = (0..items.len()).filter(|index| items[*index].part == part).collect();
        let mut order: Vec<usize> = members.iter().copied().filter(|index| kinds[*index] == ContextKind::Bearing).collect();
        Random::new(options.seed, &format!("context {}", part.name())).shuffle(&mut order);
        let already = members.len() - order.len();
        let mut n_withheld = share_of(members.len(), options.unanswerable).saturating_sub(already);
        for index in &order {
            let facts = asked(&items[*index]);
            let may =
                part != Part::Train || facts.iter().all(|fact| !tested.contains(fact) || n_teaching.get(fact).is_some_and(|n| *n > 1));
            if n_withheld > 0 && may {
                kinds[*index] = ContextKind::Withheld;
                n_withheld -= 1;
                for fact in facts.iter().filter(|_| part == Part::Train) {
                    n_teaching.entry(fact.clone()).and_modify(|n| *n -= 1);
                }
            }
        }
        let rest = order.iter().filter(|index| kinds[**index] == ContextKind::Bearing).copied().collect::<Vec<_>>();
        for index in rest.into_iter().take(share_of(members.len(), options.context_free)) {
            kinds[index] = ContextKind::None;
        }
    }
    kinds
}

/// What passages are drawn from.
struct Pool<'a> {
    chunks: &'a [Chunk],
    places: HashMap<&'a str, usize>,
    similar: Similar,
    options: &'a ContextOptions,
}

impl<'a> Pool<'a> {
    fn new(chunks: &'a [Chunk], options: &'a ContextOptions) -> Self {
        let places = chunks.iter().enumerate().map(|(place, chunk)| (chunk.id.as_str(), place)).collect();
        Self { chunks, places, similar: Similar::new(chunks), options }
    }

    /// Gives an item its passages, and the answer that goes with them.
    fn show(&self, item: &mut TrainingItem, kind: ContextKind) {
        let ContextOptions { language, .. } = *self.options;
        let mut context = Context { kind, language, passages: Vec::new(), withheld: None };
        if kind != ContextKind::None {
            context.passages = self.passages(item, kind);
        }
        if kind == ContextKind::Withheld {
            item.kind = Kind::Unanswerable;
            item.category = "unanswerable".to_owned();
            context.withheld = Some((std::mem::take(&mut item.chunk_ids), std::mem::take(&mut item.values)));
        }
        if item.kind == Kind::Unanswerable {
            item.answer = abstention(language).to_owned();
        }
        item.context = Some(context);
    }

    fn passages(&self, item: &TrainingItem, kind: ContextKind) -> Vec<(String, Passage)> {
        let ContextOptions { n_passages, max_passage_chars, seed, .. } = *self.options;
        let mut random = Random::new(seed, &format!("passages {}", item.question));
        let bearing: Vec<usize> = item.chunk_ids.iter().filter_map(|id| self.places.get(id.as_str()).copied()).collect();
        let tells = |place: usize| {
            let chunk = &self.chunks[place];
            kind == ContextKind::Withheld && tells(chunk, &chunk.content, &item.document, &item.name, &item.values)
        };
        let may = |place: usize| !bearing.contains(&place) && !tells(place);
        let mut shown = if kind == ContextKind::Bearing { bearing.clone() } else { Vec::new() };
        let wanted = n_passages.saturating_sub(shown.len());
        let n_near = wanted.div_ceil(2);
        let mut near = self.similar.nearest(&item.question, NEAR_POOL * n_near, &may);
        // The nearest of all is always there: it is what a search would find first.
        if let Some(rest) = near.get_mut(1..) {
            random.shuffle(rest);
        }
        near.truncate(n_near);
        shown.extend(&near);
        let mut others: Vec<usize> = Vec::new();
        let n_others = wanted - near.len();
        for _ in 0..16 * n_others {
            let place = random.below(self.chunks.len());
            if others.len() < n_others && may(place) && !shown.contains(&place) && !others.contains(&place) {
                others.push(place);
            }
        }
        // Few chunks: what is left, in order.
        let left = (0..self.chunks.len()).filter(|place| may(*place) && !shown.contains(place) && !others.contains(place));
        let left: Vec<usize> = left.take(n_others - others.len()).collect();
        shown.extend(others.into_iter().chain(left));
        random.shuffle(&mut shown);
        let (words, weights): (Vec<String>, Vec<f64>) = self.similar.weighed(&item.question).into_iter().unzip();
        let mut passage = |place: &usize| {
            let Chunk { id, title, content, .. } = &self.chunks[*place];
            let whole = Passage::new(title.clone(), content.clone());
            let Some(limit) = max_passage_chars else { return (id.clone(), whole) };
            // The part that a search would show; of one that is to bear the answer, one that does.
            let part = whole.shortened_for(limit, &weights, &mut |text| words_in(&words, text));
            let bears = kind == ContextKind::Bearing && bearing.contains(place);
            let values: Vec<String> = item.values.iter().filter(|value| bears && is_supported(value, content)).cloned().collect();
            let is_whole = values.iter().all(|value| is_supported(value, &part.content));
            (id.clone(), if is_whole { part } else { whole.shortened_around(limit, &values) })
        };
        shown.iter().map(&mut passage).collect()
    }
}

/// Places of the words that stand in a text.
fn words_in(words: &[String], text: &str) -> Vec<usize> {
    let folded = fold(text);
    let stand: BTreeSet<&str> = folded.split(' ').collect();
    (0..words.len()).filter(|place| stand.contains(words[*place].as_str())).collect()
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
