//! `dyag ask` and `dyag query-rag`: a question to a model, alone or with passages that a search found, and to a fine-tuned model likewise.

use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::ValueEnum;
use dyag_retrieval::{Analyzer, Citation, citations};
use dyag_text::passages::{Language, abstention};
use dyag_text::{Message, Role};
use serde_json::{Value, json};

use crate::answerer::{Answerer, Given, Writing};
use crate::engine::EngineArgs;
use crate::language::say;
use crate::language_models::LanguageModelArgs;
use crate::loaded_model::{LoadSettings, ModelArgs, SystemChoice};
use crate::retrieval::{self, AnsweredFrom, Choice, HybridChoice, Prepared, Rival, SearchArgs, Searching, StoreArgs};
use crate::terminal;

/// Who answers from what, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The base model, alone
    Base,
    /// The base model, shown passages
    Rag,
    /// The fine-tuned model, alone
    Finetuned,
    /// The fine-tuned model, shown passages
    Hybrid,
}

impl Mode {
    const fn retrieves(self) -> bool {
        matches!(self, Self::Rag | Self::Hybrid)
    }

    const fn is_finetuned(self) -> bool {
        matches!(self, Self::Finetuned | Self::Hybrid)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Rag => "rag",
            Self::Finetuned => "finetuned",
            Self::Hybrid => "hybrid",
        }
    }
}

/// Arguments of `dyag ask` as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who answers from what [default: rag; hybrid with --model]
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<Mode>,

    #[command(flatten)]
    asking: AskingArgs,
}

/// What both commands take.
#[derive(Debug, clap::Args)]
pub(crate) struct AskingArgs {
    /// The question; without one, a conversation: a question a line on standard input, an empty line ends it
    query: Option<String>,

    #[command(flatten)]
    which: ModelArgs,

    /// Search only, and print what was found
    #[arg(long, conflicts_with_all = ["model", "base_model", "llm_provider"])]
    passages_only: bool,

    /// Print the ranks and scores of every stage of the search
    #[arg(long)]
    explain: bool,

    /// Spread of the sampling; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,

    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// Seed of the sampling
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// System message, in place of the one the adapter was trained with
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// No system message, though the adapter was trained with one
    #[arg(long, conflicts_with = "system")]
    no_system: bool,

    /// Language of the prompt around passages, fr or en; that of the question when absent
    #[arg(long, value_name = "CODE")]
    language: Option<String>,

    /// In a conversation, search for each question as it is typed; without this, a model first makes a question of its own of one that leans on those before
    #[arg(long)]
    no_rewrite: bool,

    /// Answer even where the search found nothing relevant
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
    language_model: LanguageModelArgs,

    #[command(flatten)]
    engine: EngineArgs,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    /// Say what is loaded and searched, on standard error
    #[arg(short, long)]
    verbose: bool,
}

/// Runs `dyag ask`.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { mode, asking } = args;
    let mode = mode.unwrap_or(default_mode(&asking));
    ask(mode, asking)
}

/// Runs `dyag query-rag`.
pub(crate) fn run_query_rag(asking: AskingArgs) -> anyhow::Result<ExitCode> {
    ask(default_mode(&asking), asking)
}

fn default_mode(asking: &AskingArgs) -> Mode {
    if asking.which.model.is_some() { Mode::Hybrid } else { Mode::Rag }
}

/// Everything that a question needs.
struct Asking {
    mode: Mode,
    searching: Option<Searching>,
    answerer: Option<Answerer>,
    writing: Writing,
    language: Option<Language>,
    explain: bool,
    rewrite: bool,
    always_answer: bool,
    hybrid: HybridChoice,
    json: bool,
}

fn ask(mode: Mode, args: AskingArgs) -> anyhow::Result<ExitCode> {
    let AskingArgs {
        query,
        which: ModelArgs { model, base_model, quantize },
        passages_only,
        explain,
        temperature,
        max_tokens,
        seed,
        system,
        no_system,
        language,
        no_rewrite,
        always_answer,
        hybrid,
        place,
        search,
        language_model,
        engine,
        json,
        verbose,
    } = args;
    ensure!((0.0..=100.0).contains(&temperature), "--temperature: expected a number from 0 to 100, found {temperature}");
    if query.as_ref().is_some_and(|query| query.trim().is_empty()) {
        bail!("the question is empty: expected a text, or no argument for a conversation");
    }
    let language = match language {
        None => None,
        Some(code) => match Language::from_code(&code) {
            Some(language) => Some(language),
            None => bail!("--language: expected fr or en, found {code:?}"),
        },
    };
    match (mode.is_finetuned(), &model) {
        (true, None) => bail!("--mode {}: expected the fine-tuned model with --model DIR, found none", mode.name()),
        (false, Some(model)) if mode == Mode::Base || mode == Mode::Rag => {
            bail!(
                "--mode {} asks the base model: expected no --model, found {}; use --mode hybrid or finetuned",
                mode.name(),
                model.display()
            )
        }
        _ => {}
    }
    ensure!(!passages_only || mode.retrieves(), "--passages-only: expected --mode rag, found {}", mode.name());
    let system = match (system, no_system) {
        (Some(text), _) => SystemChoice::Text(text),
        (None, true) => SystemChoice::None,
        (None, false) => SystemChoice::AsTrained,
    };
    let searching = mode.retrieves().then(|| search.open(&place, engine)).transpose()?;
    if let (true, Some(searching)) = (verbose, &searching) {
        terminal::note(searching.summary());
    }
    let answerer = match (passages_only, language_model.llm_provider) {
        (true, _) => None,
        (false, Some(_)) if model.is_some() || base_model.is_some() => {
            bail!("--llm-provider asks another model: expected it without --model and --base-model")
        }
        (false, Some(_)) => Some(Answerer::Remote(language_model.open(engine)?)),
        (false, None) if model.is_none() && base_model.is_none() => {
            bail!("expected a model to answer: --base-model PATH, --model DIR, or --llm-provider; or --passages-only to search alone")
        }
        (false, None) => {
            Some(Answerer::local(LoadSettings { adapter: model, base_model, quantize, system: system.clone(), engine }, verbose)?)
        }
    };
    let writing = Writing { temperature, seed, max_tokens: max_tokens as usize, system };
    let asking = Asking { mode, searching, answerer, writing, language, explain, rewrite: !no_rewrite, always_answer, hybrid, json };
    match query {
        Some(question) => {
            asking.one(&[], question.trim())?;
        }
        None => asking.conversation()?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Asking {
    /// Questions from standard input, each with what was said before, until an empty line or the end.
    fn conversation(&self) -> anyhow::Result<()> {
        let person = terminal::stdin_is_terminal();
        if person {
            terminal::note(say!(
                "One question a line; an empty line ends the conversation.",
                "Une question par ligne ; une ligne vide termine la conversation."
            ));
        }
        let mut turns: Vec<Message> = Vec::new();
        loop {
            if person {
                terminal::prompt("> ");
            }
            let Some(question) = super::query_finetuned::next_line()? else { return Ok(()) };
            let answer = self.one(&turns, &question)?;
            turns.push(Message::new(Role::User, question));
            turns.push(Message::new(Role::Assistant, answer));
        }
    }

    /// Answers a question that follows `before`, and prints the answer.
    fn one(&self, before: &[Message], question: &str) -> anyhow::Result<String> {
        let language = self.language.unwrap_or_else(|| Language::of_texts([question].into_iter()));
        let searched = self.standalone(before, question, language)?;
        let mut turns = before.to_vec();
        turns.push(Message::new(Role::User, question));
        let Some(searching) = &self.searching else {
            let Some(answerer) = &self.answerer else { return Ok(String::new()) };
            let given = self.write(answerer, &turns)?;
            if self.json {
                self.print_json(question, &searched, &given, None, &[])?;
            }
            return Ok(given.text);
        };
        let found = searching.search(&searched)?;
        let Some(answerer) = &self.answerer else {
            self.print_passages(question, &searched, &found)?;
            return Ok(String::new());
        };
        let prepared = retrieval::prepare(searching, found, &turns, language, answerer, self.writing.max_tokens)?;
        if let Some(problem) = &prepared.without_room {
            bail!("{problem}");
        }
        if self.explain && !self.json {
            retrieval::explain(&prepared.found)?;
            terminal::print_line("")?;
        }
        let given = if prepared.is_answerable() || self.always_answer {
            match (self.mode, self.hybrid) {
                (Mode::Hybrid, HybridChoice::Surer) => self.write_surer(answerer, &prepared, &turns)?,
                _ => self.write(answerer, &prepared.turns)?,
            }
        } else {
            let text = abstention(language).to_owned();
            if !self.json {
                terminal::print_line(&text)?;
            }
            Given { text, tokens_in: None, tokens_out: None, seconds: 0.0, choice: None }
        };
        let shown: Vec<_> = prepared.found.hits[..prepared.shown.len()].iter().map(|hit| &hit.chunk).collect();
        let cited = if given.text.trim() == abstention(language) {
            Vec::new()
        } else {
            citations(&Analyzer::new(), &searched, &given.text, &shown, &searching.description().languages)
        };
        if self.json {
            self.print_json(question, &searched, &given, Some(&prepared), &cited)?;
        } else if given.text.trim() == abstention(language) {
            terminal::print_line(retrieval::sureness(&prepared.found))?;
        } else {
            terminal::print_line("")?;
            if let Some(choice) = &given.choice {
                terminal::print_line(told(choice))?;
            }
            retrieval::print_citations(&prepared.found, &cited)?;
        }
        Ok(given.text)
    }

    /// The answer, printed as it comes unless JSON is asked for.
    fn write(&self, answerer: &Answerer, turns: &[Message]) -> anyhow::Result<Given> {
        if self.json {
            return answerer.answer(turns, &self.writing, &mut |_| Ok(()));
        }
        let given = answerer.answer(turns, &self.writing, &mut |text| terminal::print(&terminal::printable(text)))?;
        terminal::print_line("")?;
        Ok(given)
    }

    /// The surer of two answers, printed when both are there.
    fn write_surer(&self, answerer: &Answerer, prepared: &Prepared, alone: &[Message]) -> anyhow::Result<Given> {
        let shown: Vec<&str> = prepared.shown.iter().map(|passage| passage.content.as_str()).collect();
        let given = answerer.surer_answer(&prepared.turns, alone, &shown, &self.writing)?;
        if !self.json {
            terminal::print_line(terminal::printable(&given.text))?;
        }
        Ok(given)
    }

    /// The question as it is searched for: in a conversation, one that can be understood alone.
    fn standalone(&self, before: &[Message], question: &str, language: Language) -> anyhow::Result<String> {
        let (Some(answerer), true, true) = (&self.answerer, self.rewrite && self.searching.is_some(), !before.is_empty()) else {
            return Ok(question.to_owned());
        };
        let rewritten = retrieval::rewrite(answerer, before, question, language)?;
        if rewritten != question {
            terminal::note(say!("searching for: {}", "recherche de : {}", terminal::printable(&rewritten)));
        }
        Ok(rewritten)
    }

    fn print_passages(&self, question: &str, searched: &str, found: &dyag_retrieval::Found) -> anyhow::Result<()> {
        if self.json {
            return terminal::print_json(&json!({
                "question": question, "searched": searched, "confidence": found.confidence, "passages": retrieval::hits_json(found, 0),
                "corrections": found.corrections, "timing": timing(found),
            }));
        }
        if self.explain {
            retrieval::explain(found)?;
        }
        for (n, hit) in found.hits.iter().enumerate() {
            terminal::print_line(format!(
                "[{}] {} ({})",
                n + 1,
                terminal::printable(&hit.chunk.title),
                terminal::printable(&hit.chunk.id)
            ))?;
            for line in hit.chunk.content.lines() {
                terminal::print_line(format!("    {}", terminal::printable(line)))?;
            }
        }
        terminal::print_line(retrieval::sureness(found))
    }

    fn print_json(
        &self,
        question: &str,
        searched: &str,
        given: &Given,
        prepared: Option<&Prepared>,
        cited: &[Citation],
    ) -> anyhow::Result<()> {
        let Given { text, tokens_in, tokens_out, seconds, choice } = given;
        let mut document = json!({
            "question": question, "mode": self.mode.name(), "model": self.answerer.as_ref().map(Answerer::name), "answer": text,
            "n_prompt_tokens": tokens_in, "n_answer_tokens": tokens_out,
        });
        document["timing"] = json!({ "answer_s": seconds });
        for (key, value) in choice.iter().flat_map(|choice| choice.to_json()) {
            document[key] = value;
        }
        if let Some(prepared) = prepared {
            document["searched"] = searched.into();
            document["answerable"] = prepared.is_answerable().into();
            document["confidence"] = serde_json::to_value(&prepared.found.confidence)?;
            document["passages"] = retrieval::hits_json(&prepared.found, prepared.shown.len()).into();
            document["citations"] = serde_json::to_value(cited)?;
            document["corrections"] = serde_json::to_value(&prepared.found.corrections)?;
            document["timing"]["search"] = timing(&prepared.found);
        }
        terminal::print_json(&document)
    }
}

/// Where an answer is from, in a line.
fn told(choice: &Choice) -> String {
    let Choice { from, passages, memory, other_answer: _ } = choice;
    let share = |rival: &Rival| format!("{:.0} %", 100.0 * rival.sureness);
    let (of_passages, of_memory) = (share(passages), share(memory));
    match from {
        AnsweredFrom::Passages if memory.sureness > passages.sureness => say!(
            "Answered from the passages ({of_passages} a token): what the model would say from memory ({of_memory}) stands in the text of none.",
            "Réponse tirée des passages ({of_passages} par jeton) : ce que le modèle dirait de mémoire ({of_memory}) ne figure dans le texte d'aucun."
        ),
        AnsweredFrom::Passages => say!(
            "Answered from the passages, of which the model was surer ({of_passages} a token; from memory {of_memory}).",
            "Réponse tirée des passages, dont le modèle était plus sûr ({of_passages} par jeton ; de mémoire {of_memory})."
        ),
        AnsweredFrom::Memory => say!(
            "Answered from what the model was taught, of which it was surer ({of_memory} a token; from the passages {of_passages}).",
            "Réponse tirée de ce que le modèle a appris, dont il était plus sûr ({of_memory} par jeton ; des passages {of_passages})."
        ),
    }
}

fn timing(found: &dyag_retrieval::Found) -> Value {
    found.seconds.iter().map(|(stage, seconds)| ((*stage).to_owned(), Value::from(*seconds))).collect::<serde_json::Map<_, _>>().into()
}
