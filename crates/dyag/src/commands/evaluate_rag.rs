//! `dyag evaluate-rag`: asks the questions of a set with passages found for each, and scores answers and search.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use dyag_eval::metrics::{Abstention, Hit, Language as EvalLanguage};
use dyag_eval::results::{Results, Row, Source};
use dyag_eval::retrieval::run_file::{Qrels, Run, write_qrels, write_run};
use dyag_model::files::write_bytes_atomically;
use dyag_retrieval::Found;
use dyag_text::dataset::Question;
use dyag_text::passages::{Language, Passage, abstention};
use serde_json::{Map, Value, json};

use crate::answerer::Answerer;
use crate::evaluation::{self, Evaluation, EvaluationArgs, Preparation, Task};
use crate::language::say;
use crate::retrieval::{self, HybridChoice, SearchArgs, Searching, StoreArgs};
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Questions: rows with `question` and `expected_answer`, `messages`, ShareGPT, Alpaca or prompt/completion; `gold_chunk_ids` are the chunks that bear the answer
    dataset: PathBuf,

    /// File to write
    #[arg(long, value_name = "FILE.json", default_value = "results_rag.json")]
    output: PathBuf,

    /// Ask only so many of the first questions
    #[arg(long, visible_alias = "limit", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_questions: Option<u64>,

    /// Search only: no model is asked, and the search alone is scored
    #[arg(long, conflicts_with_all = ["model", "base_model", "llm_provider", "always_answer"])]
    passages_only: bool,

    /// Write the ranked passages of each question in the format of trec_eval, for other tools
    #[arg(long, value_name = "FILE.run")]
    run_file: Option<PathBuf>,

    /// Write the judgements in the format of trec_eval
    #[arg(long, value_name = "FILE.qrels")]
    qrels_file: Option<PathBuf>,

    /// Ask the model even where the search found nothing relevant; without this, the answer is that the documents do not say
    #[arg(long)]
    always_answer: bool,

    /// How a fine-tuned model and passages are put together
    #[arg(long, value_enum, value_name = "WAY", default_value = "surer")]
    hybrid: HybridChoice,

    #[command(flatten)]
    place: StoreArgs,

    #[command(flatten)]
    search: SearchArgs,

    #[command(flatten)]
    evaluation: EvaluationArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { dataset, output, max_questions, passages_only, run_file, qrels_file, always_answer, hybrid, place, search, evaluation } =
        args;
    if let Some(path) = &run_file {
        crate::output_file::check(path, "the run", &[&dataset, &output])?;
    }
    if let Some(path) = &qrels_file {
        let others: Vec<&Path> = [&dataset, &output].into_iter().chain(&run_file).map(PathBuf::as_path).collect();
        crate::output_file::check(path, "the judgements", &others)?;
    }
    let searching = search.open(&place, evaluation.engine)?;
    terminal::note(searching.summary());
    let preparation = WithPassages { searching, always_answer, hybrid, passages_only, run_file, qrels_file };
    evaluation::run(Evaluation { dataset, output, limit: max_questions, args: evaluation }, Some(&preparation))
}

/// Passages found for each question.
struct WithPassages {
    searching: Searching,
    always_answer: bool,
    hybrid: HybridChoice,
    passages_only: bool,
    run_file: Option<PathBuf>,
    qrels_file: Option<PathBuf>,
}

impl Preparation for WithPassages {
    fn identity(&self) -> Value {
        let mut identity = self.searching.identity();
        identity["always_answer"] = self.always_answer.into();
        identity["hybrid"] = self.hybrid.name().into();
        if self.hybrid == HybridChoice::Surer {
            identity["nearly_certain"] = retrieval::NEARLY_CERTAIN.into();
        }
        identity
    }

    fn needs_model(&self) -> bool {
        !self.passages_only
    }

    fn tasks<'a>(
        &self,
        questions: &'a [Question],
        answerer: Option<&Answerer>,
        language: &'static str,
        max_tokens: usize,
    ) -> anyhow::Result<Vec<Task<'a>>> {
        let language = Language::from_code(language).unwrap_or_default();
        self.tell_of_missing(questions)?;
        let asked: Vec<&str> = questions.iter().map(|question| question.turns.last().map_or("", |turn| turn.content.as_str())).collect();
        let mut tasks = Vec::with_capacity(questions.len());
        let mut left = questions.iter();
        let (mut n_without_room, mut first_without_room) = (0, None);
        self.searching.search_all(&asked, &mut |found| {
            let Some(question) = left.next() else { return Ok(()) };
            let task = match answerer {
                None => {
                    let sources = Some(sources(&found, &[]));
                    Task { sources, other: search_keys(&found), ..Task::plain(question) }
                }
                Some(answerer) => {
                    let competes = self.hybrid == HybridChoice::Surer && answerer.is_finetuned();
                    let prepared = retrieval::prepare(&self.searching, found, &question.turns, language, answerer, max_tokens)?;
                    if let Some(problem) = &prepared.without_room {
                        n_without_room += 1;
                        first_without_room.get_or_insert_with(|| format!("{}: {problem}", question.source));
                    }
                    let given = (!prepared.is_answerable() && !self.always_answer).then(|| abstention(language).to_owned());
                    Task {
                        question,
                        sources: Some(sources(&prepared.found, &prepared.shown)),
                        given,
                        other: search_keys(&prepared.found),
                        turns: prepared.turns.into(),
                        alone: competes.then_some(Cow::Borrowed(question.turns.as_slice())),
                    }
                }
            };
            tasks.push(task);
            Ok(())
        })?;
        if let Some(first) = first_without_room {
            terminal::note(say!(
                "note: {n_without_room} of {} questions leave no room for a passage and are answered as if nothing had been found ({first})",
                "note : {n_without_room} des {} questions ne laissent de place à aucun passage et reçoivent la réponse de celles pour lesquelles rien n'est trouvé ({first})",
                questions.len()
            ));
        }
        Ok(tasks)
    }

    fn finish(&self, results: &mut Results, language: EvalLanguage) -> anyhow::Result<()> {
        results.add_retrieval_metrics();
        let abstention = Abstention::default();
        results.add_groundedness(language, &|answer| abstention.abstains(answer));
        let mut times: HashMap<&str, usize> = HashMap::new();
        results.results.iter().filter_map(|row| row.id.as_deref()).for_each(|id| *times.entry(id).or_default() += 1);
        // An id that two questions have names neither.
        let query = |place: usize, row: &Row| match &row.id {
            Some(id) if times[id.as_str()] == 1 => id.replace(char::is_whitespace, "_"),
            Some(id) => format!("{}_{}", id.replace(char::is_whitespace, "_"), place + 1),
            None => (place + 1).to_string(),
        };
        if let Some(path) = &self.run_file {
            let run: Run = results.results.iter().enumerate().map(|(place, row)| (query(place, row), hits(row))).collect();
            let mut text = Vec::new();
            write_run(&run, "dyag", &mut text)?;
            write_bytes_atomically(path, &text)?;
        }
        if let Some(path) = &self.qrels_file {
            let judged = |row: &Row| row.gold_chunk_ids.iter().map(|id| (id.clone(), 1)).collect();
            let qrels: Qrels = results.results.iter().enumerate().map(|(place, row)| (query(place, row), judged(row))).collect();
            let mut text = Vec::new();
            write_qrels(&qrels, &mut text)?;
            write_bytes_atomically(path, &text)?;
        }
        Ok(())
    }
}

impl WithPassages {
    /// Says how many of the chunks that bear answers the collection does not have.
    fn tell_of_missing(&self, questions: &[Question]) -> anyhow::Result<()> {
        let mut wanted = BTreeSet::new();
        for question in questions {
            wanted.extend(evaluation::gold_chunk_ids(&question.row).with_context(|| question.source.to_string())?);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let missing = self.searching.missing(&wanted)?;
        if let Some(first) = missing.first() {
            let (n, all) = (missing.len(), wanted.len());
            terminal::note(say!(
                "note: {n} of the {all} chunks that gold_chunk_ids name are not in the collection ({first:?} for one) and count as not found: were the documents cut anew?",
                "note : {n} des {all} passages que nomment les gold_chunk_ids ne sont pas dans la collection ({first:?} par exemple) et comptent comme non trouvés : les documents ont-ils été redécoupés ?"
            ));
        }
        Ok(())
    }
}

/// The ranking of a row. Scores of the last stage fall with the rank, but those of fused ranks may be equal, which another tool would order by id: ranks themselves are given.
fn hits(row: &Row) -> Vec<Hit> {
    let sources = row.sources.iter().flatten();
    sources.enumerate().map(|(rank, source)| Hit { id: source.id.clone().unwrap_or_default(), score: 1.0 / (rank + 1) as f64 }).collect()
}

/// The hits, best first: the text of those that were shown as it was shown, of others the whole.
fn sources(found: &Found, shown: &[Passage]) -> Vec<Source> {
    let source = |(place, hit): (usize, &dyag_retrieval::Hit)| {
        let cut = shown.get(place).is_some_and(|passage| passage.content != hit.chunk.content.trim());
        let other = json!({ "shown": place < shown.len(), "cut": cut, "stages": hit.stages });
        Source {
            id: Some(hit.chunk.id.clone()),
            source_id: Some(hit.chunk.source_id.clone()),
            text: Some(shown.get(place).map_or_else(|| hit.chunk.content.clone(), |passage| passage.content.clone())),
            score: Some(hit.score),
            other: other.as_object().cloned().unwrap_or_default(),
        }
    };
    found.hits.iter().enumerate().map(source).collect()
}

fn search_keys(found: &Found) -> Map<String, Value> {
    let corrections: Map<String, Value> = found.corrections.iter().map(|(word, instead)| (word.clone(), json!(instead))).collect();
    let seconds: Map<String, Value> = found.seconds.iter().map(|(stage, seconds)| ((*stage).to_owned(), json!(seconds))).collect();
    let other = json!({ "confidence": found.confidence, "corrections": corrections, "search_seconds": seconds });
    other.as_object().cloned().unwrap_or_default()
}
