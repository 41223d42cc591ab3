//! `dyag evaluate-rag`: asks the questions of a set with passages found for each, and scores answers and search.

use std::path::PathBuf;
use std::process::ExitCode;

use dyag_eval::results::{Results, Source};
use dyag_text::dataset::Question;
use dyag_text::passages::{Language, abstention};
use serde_json::{Map, Value, json};

use crate::answerer::Answerer;
use crate::evaluation::{self, Evaluation, EvaluationArgs, Preparation, Task};
use crate::progress::Progress;
use crate::retrieval::{self, SearchArgs, Searching, StoreArgs};
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

    /// Ask the model even where the search found nothing relevant; without this, the answer is that the documents do not say
    #[arg(long)]
    always_answer: bool,

    #[command(flatten)]
    place: StoreArgs,

    #[command(flatten)]
    search: SearchArgs,

    #[command(flatten)]
    evaluation: EvaluationArgs,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { dataset, output, max_questions, always_answer, place, search, evaluation } = args;
    let searching = search.open(&place, evaluation.engine)?;
    terminal::note(searching.summary());
    let preparation = WithPassages { searching, always_answer };
    evaluation::run(Evaluation { dataset, output, limit: max_questions, args: evaluation }, Some(&preparation))
}

/// Passages found for each question.
struct WithPassages {
    searching: Searching,
    always_answer: bool,
}

impl Preparation for WithPassages {
    fn identity(&self) -> Value {
        let mut identity = self.searching.identity();
        identity["always_answer"] = self.always_answer.into();
        identity
    }

    fn tasks<'a>(
        &self,
        questions: &'a [Question],
        answerer: &Answerer,
        language: &'static str,
        max_tokens: usize,
    ) -> anyhow::Result<Vec<Task<'a>>> {
        let language = Language::from_code(language).unwrap_or_default();
        let progress = Progress::new(questions.len(), "questions searched for");
        let mut tasks = Vec::with_capacity(questions.len());
        for question in questions {
            let asked = question.turns.last().map(|turn| turn.content.as_str()).unwrap_or_default();
            let prepared = retrieval::prepare(&self.searching, asked, &question.turns, language, answerer, max_tokens)?;
            let given = (!prepared.is_answerable() && !self.always_answer).then(|| abstention(language).to_owned());
            let sources = prepared.found.hits.iter().enumerate().map(|(place, hit)| {
                let mut other = Map::new();
                other.insert("source_id".to_owned(), hit.chunk.source_id.clone().into());
                other.insert("shown".to_owned(), (place < prepared.shown).into());
                Source { id: Some(hit.chunk.id.clone()), text: Some(hit.chunk.content.clone()), score: Some(hit.score), other }
            });
            let other = json!({ "confidence": prepared.found.confidence });
            tasks.push(Task {
                question,
                sources: Some(sources.collect()),
                given,
                other: other.as_object().cloned().unwrap_or_default(),
                turns: prepared.turns.into(),
            });
            progress.done(1);
            progress.tell();
        }
        progress.end();
        Ok(tasks)
    }

    fn finish(&self, _results: &mut Results) -> anyhow::Result<()> {
        Ok(())
    }
}
