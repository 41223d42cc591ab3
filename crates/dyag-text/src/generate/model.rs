//! Facts found by a language model. Either it is shown a passage and asked for questions, an answer and the words that support it, and what the passage does not say is left out;
//! or values are taken from the passage first, and it is asked only for questions to which they are the answers: that a small model can do.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::document::Document;
use super::entries::parse;
use super::facts::{Fact, FactKind};
use super::fields::RuleLabels;
use super::quality::{DropReason, Drops, is_supported, plain, sentences, squeezed};
use super::random::Random;
use super::rules::Rules;
use super::wording::{fill, fold, representatives};
use crate::conversation::{Message, Role};
use crate::language_model::{LanguageModel, ModelFailure, Request};

/// Wordings of each fact that the model is asked for.
const WORDINGS: usize = 3;
/// Share of an answer's words that the quoted words must hold when the answer is not in the passage as it stands.
const SHARE_OF_WORDS: f64 = 0.8;
/// Failures one after another after which there is no use in going on.
const MAX_FAILURES: usize = 5;

/// Lengths of a sentence that is asked for, in characters.
const SENTENCE_CHARS: std::ops::RangeInclusive<usize> = 30..=300;

/// Where a model's answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelAnswers {
    /// Values and sentences are taken from the passage, and the model words questions for them: one request for each.
    Copied,
    /// The model finds the facts of a passage: one request for each passage.
    Written,
}

/// Settings of the work with a model.
#[derive(Clone, Copy, Debug)]
pub struct ModelOptions {
    /// Wordings wanted; when there are as many, only documents without a fact are shown on.
    pub count: usize,
    /// Where answers come from.
    pub answers: ModelAnswers,
    /// Facts asked for in each passage.
    pub facts_per_chunk: usize,
    /// Longest reply, in tokens.
    pub max_tokens: usize,
    /// Spread of the sampling.
    pub temperature: f32,
    /// Seed of the order of passages and of the sampling.
    pub seed: u64,
    /// Longest answer, in characters.
    pub max_answer_chars: usize,
}

/// How far the work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelWork {
    /// Passages shown.
    pub shown: usize,
    /// Passages there are.
    pub passages: usize,
    /// Facts found so far.
    pub facts: usize,
    /// Wordings found so far.
    pub wordings: usize,
    /// Requests without a usable reply.
    pub failures: usize,
}

/// What a model found: facts, what was left out, and the failure that ended the work before its time, if one did.
#[derive(Debug)]
pub struct ModelFacts {
    /// The facts.
    pub facts: Vec<Fact>,
    /// What was left out.
    pub drops: Drops,
    /// How far the work went.
    pub work: ModelWork,
    /// Why it ended early.
    pub failure: Option<ModelFailure>,
}

/// Shows passages to a model, those of all documents in turns, until there are enough wordings. `watch` is told after each passage; it ends the work by returning false.
pub fn facts_by_model(
    documents: &[Document<'_>],
    model: &dyn LanguageModel,
    rules: &Rules,
    options: &ModelOptions,
    watch: &mut dyn FnMut(ModelWork) -> bool,
) -> ModelFacts {
    let order = passages(documents, options.seed);
    let mut found = ModelFacts {
        facts: Vec::new(),
        drops: Drops::default(),
        work: ModelWork { passages: order.len(), ..ModelWork::default() },
        failure: None,
    };
    let mut places: HashMap<(usize, String), usize> = HashMap::new();
    let mut failed_in_a_row = 0;
    for (document, place) in order {
        // With wordings enough, only documents that nothing was found in are shown on.
        if found.work.wordings >= options.count && found.facts.iter().any(|fact| fact.document == document) {
            continue;
        }
        let chunk = documents[document].chunks[place];
        let passage = Passage { document, name: &documents[document].name, chunk_id: &chunk.id, content: &chunk.content };
        found.work.shown += 1;
        for asked in passage.requests(rules, options) {
            match passage.facts(&asked, model, rules, options) {
                Ok(outcomes) => {
                    failed_in_a_row = 0;
                    for outcome in outcomes {
                        match outcome {
                            Ok(fact) => add(&mut found.facts, &mut places, fact),
                            Err(reason) => found.drops.count(reason, "model"),
                        }
                    }
                }
                Err(failure) => {
                    found.work.failures += 1;
                    failed_in_a_row += 1;
                    if failure.fatal || failed_in_a_row == MAX_FAILURES {
                        found.failure = Some(failure);
                        return found;
                    }
                }
            }
            found.work.facts = found.facts.len();
            found.work.wordings = found.facts.iter().map(|fact| fact.questions.len()).sum();
            if !watch(found.work) {
                return found;
            }
        }
    }
    found
}

/// Documents and places of their chunks: the first chunk of each document in an order of chance, then the second of each, and so on.
fn passages(documents: &[Document<'_>], seed: u64) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..documents.len()).collect();
    Random::new(seed, "passages").shuffle(&mut order);
    let most = documents.iter().map(|document| document.chunks.len()).max().unwrap_or(0);
    (0..most)
        .flat_map(|place| {
            order.iter().filter(move |document| place < documents[**document].chunks.len()).map(move |document| (*document, place))
        })
        .collect()
}

/// A chunk and its document.
struct Passage<'a> {
    document: usize,
    name: &'a str,
    chunk_id: &'a str,
    content: &'a str,
}

/// What a model is asked, and the value it is asked for where that is known.
struct Asked {
    request: Request,
    value: Option<String>,
}

impl Passage<'_> {
    fn requests(&self, rules: &Rules, options: &ModelOptions) -> Vec<Asked> {
        if plain(self.content).is_empty() {
            return Vec::new();
        }
        let ask = |prompt: String, schema: Value, value: Option<String>| Asked {
            request: Request {
                messages: vec![Message::new(Role::System, rules.model.system.clone()), Message::new(Role::User, prompt)],
                max_tokens: options.max_tokens,
                temperature: options.temperature,
                seed: options.seed,
                schema: Some(schema),
            },
            value,
        };
        match options.answers {
            ModelAnswers::Written => {
                let n = options.facts_per_chunk.to_string();
                let prompt = fill(&rules.model.prompt, &[("name", self.name), ("content", self.content), ("n", &n)]);
                vec![ask(prompt, schema(options.facts_per_chunk), None)]
            }
            ModelAnswers::Copied => {
                let mut values = self.values(rules, options.max_answer_chars);
                Random::new(options.seed, self.chunk_id).shuffle(&mut values);
                values.truncate(options.facts_per_chunk);
                let worded = |(value, line): (String, String)| {
                    let given = [("name", self.name), ("content", self.content), ("value", value.as_str()), ("line", line.as_str())];
                    ask(fill(&rules.model.copied, &given), questions_schema(), Some(value.clone()))
                };
                values.into_iter().map(worded).collect()
            }
        }
    }

    /// Asks the model, and makes facts of its reply: each a fact, or why it is none.
    fn facts(
        &self,
        asked: &Asked,
        model: &dyn LanguageModel,
        rules: &Rules,
        options: &ModelOptions,
    ) -> Result<Vec<Result<Fact, DropReason>>, ModelFailure> {
        let reply = model.answer(&asked.request)?;
        let proposals = asked.proposals(&reply.text, self.name);
        if proposals.is_empty() {
            return Ok(vec![Err(DropReason::Malformed)]);
        }
        let mut outcomes = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            outcomes.push(match (proposal.into_fact(self, rules, options.max_answer_chars), options.answers) {
                (Ok(fact), ModelAnswers::Copied) => self.answered_again(fact, model, rules, options)?,
                (outcome, _) => outcome,
            });
        }
        Ok(outcomes)
    }

    /// The fact with those of its wordings to which the model, shown the passage, gives its answer or most of it.
    fn answered_again(
        &self,
        mut fact: Fact,
        model: &dyn LanguageModel,
        rules: &Rules,
        options: &ModelOptions,
    ) -> Result<Result<Fact, DropReason>, ModelFailure> {
        let answer = format!(" {} ", fold(&fact.answer()));
        let mut kept = Vec::with_capacity(fact.questions.len());
        for question in std::mem::take(&mut fact.questions) {
            let prompt = fill(&rules.model.check, &[("content", self.content), ("question", &question)]);
            let messages = vec![Message::new(Role::User, prompt)];
            let schema = Some(texts_schema(&["answer".to_owned()]));
            let reply =
                model.answer(&Request { messages, max_tokens: options.max_tokens, temperature: 0.0, seed: options.seed, schema })?;
            let object = json_object(&reply.text);
            let text = object.as_ref().and_then(|object| object.get("answer")).and_then(Value::as_str).unwrap_or_default();
            let found = format!(" {} ", fold(text));
            if found.contains(&answer) || (answer.contains(&found) && 2 * found.len() >= answer.len()) {
                kept.push(question);
            }
        }
        fact.questions = kept;
        Ok(if fact.questions.is_empty() { Err(DropReason::NotFoundAgain) } else { Ok(fact) })
    }

    /// Values of labelled lines and sentences of running text, each with the line it stands in; no placeholders, nothing that names the document.
    fn values(&self, rules: &Rules, max_chars: usize) -> Vec<(String, String)> {
        let labels = RuleLabels::new(rules);
        let parsed = parse(self.content, &labels);
        let mut values: Vec<(String, String)> = Vec::new();
        let mut running: Vec<&str> = parsed.parts.iter().flat_map(|part| &part.paragraphs).map(String::as_str).collect();
        for entry in &parsed.entries {
            let named = entry.label.as_deref().is_some_and(|label| rules.name_labels.contains(&fold(label)));
            if entry.value.chars().count() > *SENTENCE_CHARS.end() {
                running.push(&entry.value);
            } else if !named {
                values.push((plain(&entry.value), squeezed(&plain(&entry.raw))));
            }
        }
        for sentence in running
            .into_iter()
            .flat_map(sentences)
            .map(|sentence| plain(&sentence))
            .filter(|text| SENTENCE_CHARS.contains(&text.chars().count()))
        {
            values.push((sentence.clone(), sentence));
        }
        let mut seen = BTreeSet::new();
        let fits = |value: &str| {
            !fold(value).is_empty() && value.chars().count() <= max_chars && !rules.has_placeholder(value) && fold(value) != fold(self.name)
        };
        values.retain(|(value, _)| fits(value) && seen.insert(fold(value)));
        values
    }
}

impl Asked {
    /// The proposals of a reply; none when it is not what was asked for.
    fn proposals(&self, reply: &str, name: &str) -> Vec<Proposal> {
        let Some(object) = json_object(reply) else { return Vec::new() };
        match &self.value {
            None => {
                object.get("facts").and_then(Value::as_array).map(|facts| facts.iter().map(Proposal::of_fact).collect()).unwrap_or_default()
            }
            Some(value) => {
                let mut proposal = Proposal { answer: value.clone(), ..Proposal::of_fact(&object) };
                // A question that holds the answer asks for nothing, and one that does not name the document was not asked of it: small models wander off.
                let (answer, name) = (fold(value), fold(name));
                proposal.questions.retain(|question| {
                    let folded = format!(" {} ", fold(question));
                    question.ends_with(['?', '.']) && folded.contains(&format!(" {name} ")) && !folded.contains(&format!(" {answer} "))
                });
                vec![proposal]
            }
        }
    }
}

/// JSON Schema of a reply.
fn schema(facts: usize) -> Value {
    let keys: Vec<String> = (1..=WORDINGS).map(|n| format!("question_{n}")).chain(["answer".to_owned(), "quote".to_owned()]).collect();
    json!({
        "type": "object",
        "properties": {
            "facts": {
                "type": "array",
                "minItems": 1,
                "maxItems": facts,
                "items": texts_schema(&keys),
            },
        },
        "required": ["facts"],
        "additionalProperties": false,
    })
}

/// JSON Schema of wordings.
fn questions_schema() -> Value {
    texts_schema(&(1..=WORDINGS).map(|n| format!("question_{n}")).collect::<Vec<_>>())
}

/// JSON Schema of an object of texts.
fn texts_schema(keys: &[String]) -> Value {
    let properties: serde_json::Map<String, Value> = keys.iter().map(|key| (key.clone(), json!({ "type": "string" }))).collect();
    json!({ "type": "object", "properties": properties, "required": keys, "additionalProperties": false })
}

/// What a model proposes as a fact.
#[derive(Clone, Debug, PartialEq)]
struct Proposal {
    questions: Vec<String>,
    answer: String,
    quote: String,
}

/// The JSON object of a reply, which other text may surround.
fn json_object(reply: &str) -> Option<Value> {
    let text = reply.get(reply.find('{')?..=reply.rfind('}')?)?;
    serde_json::from_str(text).ok()
}

impl Proposal {
    fn of_fact(fact: &Value) -> Self {
        let text = |key: &str| fact.get(key).and_then(Value::as_str).map(|text| text.trim().to_owned()).unwrap_or_default();
        let questions = (1..=WORDINGS).map(|n| squeezed(&text(&format!("question_{n}"))));
        Self { questions: questions.filter(|question| !fold(question).is_empty()).collect(), answer: text("answer"), quote: text("quote") }
    }

    /// The fact, when it is one: worded, not a placeholder, not too long, and said by the passage.
    fn into_fact(self, passage: &Passage<'_>, rules: &Rules, max_answer_chars: usize) -> Result<Fact, DropReason> {
        let Self { questions, answer, quote } = self;
        let answer = answer.trim().trim_matches('"').trim().to_owned();
        if questions.is_empty() || fold(&answer).is_empty() {
            return Err(DropReason::Malformed);
        }
        if rules.has_placeholder(&answer) || questions.iter().any(|question| rules.has_placeholder(question)) {
            return Err(DropReason::Placeholder);
        }
        if answer.chars().count() > max_answer_chars {
            return Err(DropReason::TooLong);
        }
        let support = support(&answer, &quote, passage.content).ok_or(DropReason::Unsupported)?;
        let name = passage.name;
        let named = |question: &String| {
            if fold(question).contains(&fold(name)) {
                question.clone()
            } else {
                fill(&rules.model.about, &[("question", question), ("name", name)])
            }
        };
        let questions: Vec<String> = questions.iter().map(named).collect();
        let kept = representatives(&questions, |_| 0);
        Ok(Fact {
            document: passage.document,
            field: format!("model:{}", fold(&answer).chars().take(80).collect::<String>()),
            kind: FactKind::Model,
            category: "model".to_owned(),
            difficulty: "medium".to_owned(),
            label: String::new(),
            phrase: None,
            values: vec![support],
            answer_text: Some(answer),
            chunk_id: passage.chunk_id.to_owned(),
            questions: kept.into_iter().map(|index| questions[index].clone()).collect(),
        })
    }
}

/// The words of the passage that support an answer: the answer itself, or the quoted words where they hold nearly all words of the answer and every figure.
fn support(answer: &str, quote: &str, content: &str) -> Option<String> {
    let bare = answer.trim_end_matches(['.', '!', ' ']);
    if !bare.is_empty() && is_supported(bare, content) {
        return Some(bare.to_owned());
    }
    if quote.trim().is_empty() || !is_supported(quote, content) {
        return None;
    }
    let (answer, quoted) = (fold(answer), fold(quote));
    let quoted: BTreeSet<&str> = quoted.split(' ').collect();
    let words: Vec<&str> = answer.split(' ').collect();
    let held = words.iter().filter(|word| quoted.contains(**word)).count();
    let figures = words.iter().filter(|word| word.contains(|c: char| c.is_ascii_digit())).all(|word| quoted.contains(word));
    (figures && held as f64 >= SHARE_OF_WORDS * words.len() as f64).then(|| quote.trim().to_owned())
}

/// Adds a fact, or its wordings to those of the fact that the document has already.
fn add(facts: &mut Vec<Fact>, places: &mut HashMap<(usize, String), usize>, fact: Fact) {
    match places.get(&(fact.document, fact.field.clone())) {
        Some(place) => {
            let known = &mut facts[*place].questions;
            known.extend(fact.questions);
            let kept = representatives(known, |_| 0);
            *known = kept.into_iter().map(|index| known[index].clone()).collect();
        }
        None => {
            places.insert((fact.document, fact.field.clone()), facts.len());
            facts.push(fact);
        }
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
