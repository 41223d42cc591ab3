//! `--with-context`: the flags of examples that show passages.

use anyhow::{Context as _, bail};
use dyag_text::generate::{ContextOptions, Rules};
use dyag_text::passages::Language;

/// Flags as typed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Examples with passages")]
pub(super) struct ContextArgs {
    /// Show passages in the examples, as a search will when the model is asked: those that bear the answer, and others
    #[arg(long)]
    with_context: bool,

    /// Passages of an example
    #[arg(long, value_name = "N", default_value_t = 5, requires = "with_context", value_parser = clap::value_parser!(u32).range(1..=100))]
    passages: u32,

    /// Share of the examples that show no passage, so that facts are learned by heart too
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, requires = "with_context")]
    context_free: f64,

    /// Share of the examples whose passages do not bear the answer, and whose answer says so
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, requires = "with_context")]
    unanswerable: f64,

    /// Longest passage, in characters; of a longer one the part with the question's words is shown, or the part with the answer
    #[arg(long, value_name = "N", default_value_t = 800, requires = "with_context", value_parser = clap::value_parser!(u32).range(40..))]
    max_passage_chars: u32,
}

impl ContextArgs {
    /// The settings; none where examples show no passages.
    pub(super) fn resolve(self, rules: &Rules, seed: u64) -> anyhow::Result<Option<ContextOptions>> {
        let Self { with_context, passages, context_free, unanswerable, max_passage_chars } = self;
        if !with_context {
            return Ok(None);
        }
        for (flag, share) in [("--context-free", context_free), ("--unanswerable", unanswerable)] {
            if !(0.0..=1.0).contains(&share) {
                bail!("{flag}: expected a share from 0 to 1, found {share}");
            }
        }
        if context_free + unanswerable > 1.0 {
            bail!(
                "--context-free and --unanswerable: expected two shares that are at most 1 together, found {context_free} and {unanswerable}"
            );
        }
        let language = Language::from_code(rules.language()).with_context(|| {
            format!(
                "--with-context: expected rules for fr or en, whose wording of a prompt with passages ships, found the language {:?}",
                rules.language()
            )
        })?;
        Ok(Some(ContextOptions {
            n_passages: passages as usize,
            context_free,
            unanswerable,
            max_passage_chars: Some(max_passage_chars as usize),
            language,
            seed,
        }))
    }
}
