//! What requests may take, and what they have taken: rate, number, tokens, cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::clock::Clock;
use crate::language::say;

/// What the requests of a run may take together. None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// Requests a minute; they are sent evenly.
    pub(super) requests_per_minute: Option<f64>,
    /// Requests in all, repeated ones included.
    pub(super) max_requests: Option<u64>,
    /// Tokens of prompts and answers in all.
    pub(super) max_total_tokens: Option<u64>,
    /// Cost in all, in the currency of the prices.
    pub(super) max_cost: Option<f64>,
    /// Price of a million tokens of prompts, and of answers.
    pub(super) prices: Option<Prices>,
}

/// Prices of a million tokens, in any currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prices {
    /// Of prompts.
    pub(super) prompt: f64,
    /// Of answers.
    pub(super) answer: f64,
}

/// What the requests of a run have taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Requests that were sent, or given to the model of this process; repeated ones included.
    pub(crate) n_requests: u64,
    /// Those of them that repeated one that had failed.
    pub(crate) n_retries: u64,
    /// Tokens of prompts.
    pub(crate) n_prompt_tokens: u64,
    /// Tokens of answers.
    pub(crate) n_answer_tokens: u64,
    /// Whether some of these tokens were guessed from the length of texts, because a server did not say them.
    pub(crate) tokens_are_estimated: bool,
    /// Cost, where prices are known.
    pub(crate) cost: Option<f64>,
    /// Answers that came from the cache.
    pub(crate) n_cache_hits: u64,
    /// Answers that were looked for in the cache and not found.
    pub(crate) n_cache_misses: u64,
}

impl Usage {
    /// In words, for a message or a report.
    pub(crate) fn sentence(&self) -> String {
        let Self { n_requests, n_retries, n_prompt_tokens, n_answer_tokens, tokens_are_estimated, cost, n_cache_hits, n_cache_misses } =
            self;
        let about = if *tokens_are_estimated { say!("about ", "environ ") } else { String::new() };
        let mut text = say!("{n_requests} requests", "{n_requests} requêtes");
        if *n_retries > 0 {
            text.push_str(&say!(" ({n_retries} of them repeated)", " (dont {n_retries} répétées)"));
        }
        text.push_str(&say!(
            ", {about}{n_prompt_tokens} tokens of prompts and {about}{n_answer_tokens} of answers",
            ", {about}{n_prompt_tokens} jetons d'invites et {about}{n_answer_tokens} de réponses"
        ));
        if let Some(cost) = cost {
            text.push_str(&say!(", {about}{cost:.4} spent", ", {about}{cost:.4} dépensés"));
        }
        if n_cache_hits + n_cache_misses > 0 {
            text.push_str(&say!(", {n_cache_hits} answers from the cache", ", {n_cache_hits} réponses du cache"));
        }
        text
    }
}

/// Counts what is used and holds it against the limits. Copies count together.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    limits: Limits,
    /// How a run that stopped at a limit goes on.
    resume: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    usage: Usage,
    /// When the next request may be sent.
    next_slot: Duration,
}

impl Meter {
    /// A meter at zero. `resume` says how to go on after a limit stopped the run.
    pub(super) fn new(limits: Limits, resume: &str) -> Self {
        let usage = Usage { cost: limits.prices.map(|_| 0.0), ..Usage::default() };
        Self { limits, resume: resume.into(), state: Arc::new(Mutex::new(State { usage, next_slot: Duration::ZERO })) }
    }

    /// What has been used so far.
    pub(crate) fn usage(&self) -> Usage {
        self.state().usage
    }

    /// Counts a request that is about to be sent, after waiting for its turn.
    ///
    /// # Errors
    /// The limit that is reached, what was used and how to go on.
    pub(super) fn admit(&self, clock: &dyn Clock, is_retry: bool) -> Result<(), String> {
        let wait = {
            let mut state = self.state();
            if let Some(limit) = self.reached(&state.usage) {
                return Err(format!("{limit} is reached: {}. {}", state.usage.sentence(), self.resume));
            }
            state.usage.n_requests += 1;
            state.usage.n_retries += u64::from(is_retry);
            self.turn(&mut state, clock.elapsed())
        };
        clock.sleep(wait);
        Ok(())
    }

    /// How long the request has to wait for its turn.
    fn turn(&self, state: &mut State, now: Duration) -> Duration {
        let Some(rate) = self.limits.requests_per_minute else { return Duration::ZERO };
        let slot = state.next_slot.max(now);
        state.next_slot = slot + Duration::from_secs_f64(60.0 / rate);
        slot - now
    }

    /// Counts the tokens of an answer.
    pub(super) fn record(&self, tokens: TokenCounts) {
        let usage = &mut self.state().usage;
        usage.n_prompt_tokens += tokens.prompt;
        usage.n_answer_tokens += tokens.answer;
        usage.tokens_are_estimated |= tokens.estimated;
        if let (Some(cost), Some(prices)) = (&mut usage.cost, self.limits.prices) {
            *cost = (usage.n_prompt_tokens as f64 * prices.prompt + usage.n_answer_tokens as f64 * prices.answer) / 1e6;
        }
    }

    /// Counts a look into the cache.
    pub(super) fn record_look(&self, found: bool) {
        let usage = &mut self.state().usage;
        if found {
            usage.n_cache_hits += 1;
        } else {
            usage.n_cache_misses += 1;
        }
    }

    /// How a run goes on that has to stop.
    pub(super) fn resume(&self) -> &str {
        &self.resume
    }

    /// The limit that is reached, as a flag and its value.
    fn reached(&self, usage: &Usage) -> Option<String> {
        let Limits { requests_per_minute: _, max_requests, max_total_tokens, max_cost, prices: _ } = self.limits;
        if let Some(limit) = max_requests.filter(|limit| usage.n_requests >= *limit) {
            return Some(format!("the limit --max-requests {limit}"));
        }
        if let Some(limit) = max_total_tokens.filter(|limit| usage.n_prompt_tokens + usage.n_answer_tokens >= *limit) {
            return Some(format!("the limit --max-total-tokens {limit}"));
        }
        max_cost.filter(|limit| usage.cost.is_some_and(|cost| cost >= *limit)).map(|limit| format!("the limit --max-cost {limit}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers stay right when a thread that counted fails elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenCounts {
    /// Of the prompt.
    pub(super) prompt: u64,
    /// Of the answer.
    pub(super) answer: u64,
    /// Whether one of them is a guess.
    pub(super) estimated: bool,
}

impl TokenCounts {
    /// What the server said, or else a guess from the lengths of the texts: a token for three bytes.
    pub(super) fn of(prompt: Option<usize>, answer: Option<usize>, prompt_bytes: usize, answer_bytes: usize) -> Self {
        Self {
            prompt: prompt.unwrap_or(prompt_bytes.div_ceil(3)) as u64,
            answer: answer.unwrap_or(answer_bytes.div_ceil(3)) as u64,
            estimated: prompt.is_none() || answer.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::testing::FakeClock;
    use super::*;

    fn meter(limits: Limits) -> Meter {
        Meter::new(limits, "To go on, do this.")
    }

    #[test]
    fn requests_are_sent_evenly() {
        let clock = FakeClock::default();
        let meter = meter(Limits { requests_per_minute: Some(30.0), ..Limits::default() });
        for _ in 0..4 {
            meter.admit(&clock, false).expect("no limit");
        }
        assert_eq!(clock.sleeps(), [Duration::from_secs(2); 3]);
        // A pause of one's own counts.
        clock.sleep(Duration::from_secs(50));
        meter.admit(&clock, false).expect("no limit");
        assert_eq!(clock.sleeps().len(), 4);
    }

    #[test]
    fn limits_stop_and_say_what_was_used() {
        let clock = FakeClock::default();
        let used = TokenCounts { prompt: 900_000, answer: 100_000, estimated: false };
        let prices = Some(Prices { prompt: 1.0, answer: 10.0 });
        for (limits, flag) in [
            (Limits { max_requests: Some(1), ..Limits::default() }, "--max-requests 1"),
            (Limits { max_total_tokens: Some(1_000_000), ..Limits::default() }, "--max-total-tokens 1000000"),
            (Limits { max_cost: Some(1.9), prices, ..Limits::default() }, "--max-cost 1.9"),
        ] {
            let meter = meter(limits);
            meter.admit(&clock, false).expect("nothing used yet");
            meter.record(used);
            let message = meter.admit(&clock, false).expect_err("used up");
            assert!(message.contains(flag) && message.contains("900000") && message.contains("do this"), "{message}");
            assert_eq!(message.contains("1.9000 spent"), limits.prices.is_some(), "{message}");
            assert_eq!(meter.usage().n_requests, 1);
        }
    }

    #[test]
    fn a_limit_that_is_not_reached_lets_pass() {
        let meter = meter(Limits { max_total_tokens: Some(11), ..Limits::default() });
        meter.record(TokenCounts { prompt: 5, answer: 5, estimated: false });
        meter.admit(&FakeClock::default(), false).expect("one token is left");
    }

    #[test]
    fn tokens_that_are_not_told_are_guessed_and_marked() {
        assert_eq!(TokenCounts::of(Some(3), None, 100, 7), TokenCounts { prompt: 3, answer: 3, estimated: true });
        let meter = meter(Limits::default());
        meter.record(TokenCounts::of(None, Some(2), 9, 9));
        assert!(meter.usage().sentence().contains("about 3 tokens"), "{}", meter.usage().sentence());
    }
}
