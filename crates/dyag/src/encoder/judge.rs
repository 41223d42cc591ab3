//! A language model as a reranker: how likely it finds the question after it has read a passage, or, of a model that was trained for it, how likely its yes is.
//!
//! The likelihood of the question needs no training (Sachan et al. 2022, "Improving Passage Retrieval with Zero-Shot Question Generation"); what a passage makes of the model is computed once for all questions
//! that are asked about it. Yes or no is asked in the prompt that Qwen3-Reranker was trained with (its model card).

use std::collections::HashMap;
use std::path::Path;

use dyag_model::decoder::Continuations;
use dyag_text::language_model::ModelFailure;
use dyag_text::{Message, Reranker, Role, SourceLine, Unit};

use crate::engine::EngineArgs;
use crate::loaded_model::{LoadSettings, LoadedModel, SystemChoice};

/// What a reranker is asked for yes or no.
const SYSTEM: &str = "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \"yes\" or \"no\".";
const INSTRUCTION: &str = "Given a web search query, retrieve relevant passages that answer the query";
const ANSWERS: [&str; 2] = ["yes", "no"];
/// What stands after a passage whose question is scored.
const QUESTION_WANTED: &str = "Write a question that this passage answers, in its language.";
/// Longest prompt with what is scored after it, in tokens; longer passages are cut at their end. Phi-3 reads texts of up to so many in one way, whatever is beside them.
const MAX_TOKENS: usize = 4096;
/// Of these, so many at most are the question's, and no more than a quarter of what the model can read; the rest of a longer one is not scored.
const MAX_QUESTION_TOKENS: usize = 512;
/// Questions of one passage that are scored together have so many tokens in all, or are one.
const TOKENS_TOGETHER: usize = 2048;

/// What is made a score of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// Its yes and no.
    YesNo,
    /// The question's likelihood.
    Question,
}

impl Asks {
    /// Rerankers say what they are in their name: their weights and their files are those of any language model.
    fn of(path: &Path, name: &str) -> Self {
        let parts: Vec<&str> = path.components().filter_map(|part| part.as_os_str().to_str()).collect();
        // A file may be called after its format alone; the hub's cache has a model's name above its files.
        let of_path = parts.iter().rev().take(if path.is_file() { 2 } else { 1 });
        let names = of_path.chain(parts.iter().filter(|part| part.starts_with("models--"))).copied();
        match names.chain([name]).any(|name| name.to_lowercase().contains("rerank")) {
            true => Self::YesNo,
            false => Self::Question,
        }
    }

    /// What signatures call it.
    const fn name(self) -> &'static str {
        match self {
            Self::YesNo => "yes-no",
            Self::Question => "question",
        }
    }
}

/// A decoder with its tokenizer and template.
pub(super) struct JudgingModel {
    name: String,
    /// The beginning of the hash of all weights.
    hash: String,
    model: LoadedModel,
    max_tokens: usize,
    asks: Asks,
    /// Tokens that the template writes at the head of an answer, such as an empty thought: no part of a question.
    n_before_answer: usize,
}

impl JudgingModel {
    /// Loads the model: a folder or a GGUF file.
    pub(super) fn open(path: &Path, engine: EngineArgs) -> anyhow::Result<Self> {
        let settings = LoadSettings {
            adapter: None,
            base_model: Some(path.display().to_string()),
            quantize: None,
            system: SystemChoice::AsTrained,
            engine,
        };
        let model = LoadedModel::open(settings, false)?;
        let files = model.files();
        let max_tokens = files.config().max_positions.min(MAX_TOKENS);
        let source = &files.model().source;
        let (name, hash) = (source.name.clone(), source.content_hash()[..12].to_owned());
        let asks = Asks::of(path, &name);
        let mut judge = Self { name, hash, model, max_tokens, asks, n_before_answer: 0 };
        // A template that refuses such a conversation does so before a search.
        let probe = match asks {
            Asks::YesNo => judge.both("a", "b", 0)?,
            Asks::Question => {
                let (one, other) = (judge.question("a", "", 0)?, judge.question("1", "", 0)?);
                judge.n_before_answer = one.continuations[0].iter().zip(&other.continuations[0]).take_while(|(a, b)| a == b).count();
                judge.question("a", "", 0)?
            }
        };
        let needed = probe.context.len() + judge.max_question_tokens();
        anyhow::ensure!(
            needed <= max_tokens,
            "{}: expected a model that reads {needed} tokens and a passage, found one that reads {max_tokens}",
            path.display()
        );
        Ok(judge)
    }

    fn failure(&self, problem: String) -> ModelFailure {
        ModelFailure { model: self.name.clone(), problem, fatal: true }
    }

    /// Most tokens of a question that are scored.
    fn max_question_tokens(&self) -> usize {
        MAX_QUESTION_TOKENS.min(self.max_tokens / 4)
    }

    /// The prompt for a passage with both answers.
    fn both(&self, query: &str, passage: &str, place: usize) -> anyhow::Result<Continuations> {
        let turns = [
            Message::new(Role::System, SYSTEM),
            Message::new(Role::User, format!("<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {passage}")),
        ];
        let [yes, no] = ANSWERS.map(|answer| self.model.answered(&turns, answer, &source_line(place)));
        let (mut both, no) = (yes?, no?);
        anyhow::ensure!(
            both.context == no.context,
            "expected one prompt before both answers, found two: the model's template looks at the answer"
        );
        both.continuations.extend(no.continuations);
        Ok(both)
    }

    /// The prompt for a passage, with the question as its answer.
    fn question(&self, query: &str, passage: &str, place: usize) -> anyhow::Result<Continuations> {
        let turns = [Message::new(Role::User, format!("{passage}\n\n{QUESTION_WANTED}"))];
        let mut asked = self.model.answered(&turns, query, &source_line(place))?;
        for question in &mut asked.continuations {
            asked.context.extend(question.drain(..self.n_before_answer.min(question.len())));
            question.truncate(self.max_question_tokens());
        }
        Ok(asked)
    }

    /// How likely the model finds yes, for each passage.
    fn yes_or_no(&self, query: &str, passages: &[&str]) -> anyhow::Result<Vec<f32>> {
        let length = |both: &Continuations| both.context.len() + both.continuations.iter().map(Vec::len).max().unwrap_or(0);
        let prompt =
            |(place, passage): (usize, &&str)| Ok(fitting(passage, self.max_tokens, length, |part| self.both(query, part, place))?.1);
        let prompts = passages.iter().enumerate().map(prompt).collect::<anyhow::Result<Vec<_>>>()?;
        let likelihoods = self.model.log_likelihoods(&prompts, &mut |_| {})?;
        Ok(likelihoods.iter().map(|both| (1.0 / (1.0 + (both[1].log_likelihood - both[0].log_likelihood).exp())) as f32).collect())
    }

    /// The mean log-likelihood of a token of each query after each of its passages; 0 for a blank query. A passage is read once for all of its queries, or for as many as fit together.
    fn questions(&self, asked: &[(&str, Vec<&str>)], on_pairs: &mut dyn FnMut(usize)) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut askers: Vec<(&str, Vec<Pair>)> = Vec::new();
        let mut number_of: HashMap<&str, usize> = HashMap::new();
        let mut n_blank = 0;
        for (query, (text, passages)) in asked.iter().enumerate() {
            if text.trim().is_empty() {
                n_blank += passages.len();
                continue;
            }
            for (place, passage) in passages.iter().enumerate() {
                let number = *number_of.entry(passage).or_insert(askers.len());
                if number == askers.len() {
                    askers.push((passage, Vec::new()));
                }
                askers[number].1.push(Pair { query, place });
            }
        }
        let (mut groups, mut pairs): (Vec<Continuations>, Vec<Vec<Pair>>) = (Vec::new(), Vec::new());
        for (passage, of_passage) in askers {
            // What is read of a passage does not depend on who asks.
            let room = self.max_tokens - self.max_question_tokens();
            let (part, _) = fitting(passage, room, |prompt| prompt.context.len(), |part| self.question("?", part, of_passage[0].place))?;
            let mut tokens = TOKENS_TOGETHER;
            for pair in of_passage {
                let prompt = self.question(asked[pair.query].0, part, pair.place)?;
                let n_tokens = prompt.continuations.iter().map(Vec::len).sum::<usize>();
                tokens += n_tokens;
                match (groups.last_mut(), pairs.last_mut()) {
                    (Some(group), Some(pairs)) if tokens <= TOKENS_TOGETHER && group.context == prompt.context => {
                        group.continuations.extend(prompt.continuations);
                        pairs.push(pair);
                    }
                    _ => {
                        groups.push(prompt);
                        pairs.push(vec![pair]);
                        tokens = n_tokens;
                    }
                }
            }
        }
        let mut on_group = |n_groups: usize| on_pairs(n_blank + pairs[..n_groups].iter().map(Vec::len).sum::<usize>());
        on_group(0);
        let likelihoods = self.model.log_likelihoods(&groups, &mut on_group)?;
        let mut scores: Vec<Vec<f32>> = asked.iter().map(|(_, passages)| vec![0.0; passages.len()]).collect();
        for (pair, likelihood) in pairs.concat().iter().zip(likelihoods.concat()) {
            scores[pair.query][pair.place] = (likelihood.log_likelihood / likelihood.n_tokens.max(1) as f64) as f32;
        }
        Ok(scores)
    }
}

/// A query, and which of its passages.
#[derive(Clone, Copy, Debug)]
struct Pair {
    query: usize,
    place: usize,
}

fn source_line(place: usize) -> SourceLine {
    SourceLine { path: Path::new("passages").into(), line: place + 1, unit: Unit::Item }
}

/// As much of a passage as makes a prompt of at most `room` tokens, and that prompt.
fn fitting(
    passage: &str,
    room: usize,
    length: impl Fn(&Continuations) -> usize,
    prompt: impl Fn(&str) -> anyhow::Result<Continuations>,
) -> anyhow::Result<(&str, Continuations)> {
    let mut chars = passage.chars().count();
    loop {
        let end = passage.char_indices().nth(chars).map_or(passage.len(), |(end, _)| end);
        let part = &passage[..end];
        let prompt = prompt(part)?;
        let n_tokens = length(&prompt);
        if n_tokens <= room || chars == 0 {
            return Ok((part, prompt));
        }
        // As many characters less as tokens too many, by the tokens a character has; at least one.
        chars -= (chars * (n_tokens - room)).div_ceil(n_tokens).clamp(1, chars);
    }
}

impl Reranker for JudgingModel {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn signature(&self) -> String {
        format!("model:{}@{}|score:{}|longest:{}|computed:{}", self.name, self.hash, self.asks.name(), self.max_tokens, self.model.kernel())
    }

    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, ModelFailure> {
        let mut scores = self.score_all(&[(query, passages.to_vec())], &mut |_| {})?;
        Ok(scores.pop().unwrap_or_default())
    }

    fn score_all(&self, asked: &[(&str, Vec<&str>)], on_pairs: &mut dyn FnMut(usize)) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let scores = match self.asks {
            Asks::Question => self.questions(asked, on_pairs),
            Asks::YesNo => {
                let mut n_scored = 0;
                let mut scored = |(query, passages): &(&str, Vec<&str>)| {
                    let scores = self.yes_or_no(query, passages)?;
                    n_scored += passages.len();
                    on_pairs(n_scored);
                    Ok(scores)
                };
                asked.iter().map(&mut scored).collect()
            }
        };
        let scores = scores.map_err(|error| self.failure(format!("{error:#}")))?;
        match scores.iter().find_map(|scores| scores.iter().position(|score| !score.is_finite())) {
            None => Ok(scores),
            Some(place) => Err(self.failure(format!("expected a finite score, found none, for passage {place}: the weights are damaged"))),
        }
    }
}
