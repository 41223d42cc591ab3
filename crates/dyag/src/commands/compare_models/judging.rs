//! A language model as a judge.

use std::sync::atomic::Ordering;

use anyhow::bail;
use dyag_eval::comparison::{Contestant, Judgement, Options, judge as judge_answers};

use super::output::Output;
use crate::engine::EngineArgs;
use crate::interruption;
use crate::language::say;
use crate::language_models::{LanguageModelArgs, OpenModel};
use crate::progress::Progress;
use crate::terminal;

/// Opens the judge. Its words are kept beside the output unless another folder is named, so that a run that stops can go on.
pub(super) fn open(mut args: LanguageModelArgs, engine: EngineArgs, output: Option<&Output>) -> anyhow::Result<OpenModel> {
    if args.llm_provider.is_none() {
        bail!("--judge needs --llm-provider openai, anthropic, ollama or local, and --llm-model NAME");
    }
    if let (None, Some(path)) = (&args.llm_cache, output.and_then(|output| output.paths().next())) {
        args.llm_cache = Some(path.with_extension("llm-cache"));
    }
    args.open(engine)
}

/// Asks it about all questions.
pub(super) fn judge(model: &OpenModel, contestants: &[Contestant], options: &Options) -> anyhow::Result<Judgement> {
    let interrupted = interruption::flag();
    let mut progress: Option<Progress> = None;
    let mut before = 0;
    let judgement = judge_answers(contestants, options, model, &mut |done, n| {
        let progress = progress.get_or_insert_with(|| Progress::new(n, say!("questions judged", "questions jugées")));
        progress.done(done - before);
        progress.tell();
        before = done;
        !interrupted.load(Ordering::Relaxed)
    });
    if let Some(progress) = progress {
        progress.end();
    }
    let judgement = judgement?;
    terminal::note(format!("the judge: {}", model.usage().sentence()));
    Ok(judgement)
}
