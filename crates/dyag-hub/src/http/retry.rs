//! What is tried again, after how long, and when enough was tried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Pace, Reply};
use crate::error::HubError;
use crate::event::{Event, Listener};

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It will fail again.
    Final(HubError),
    /// It may pass.
    Again {
        /// Which request.
        what: String,
        /// To whom.
        host: String,
        /// What went wrong.
        problem: String,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    pub(crate) fn again(what: &str, host: &str, problem: String) -> Self {
        Self::Again { what: what.to_owned(), host: host.to_owned(), problem, wait: None }
    }

    /// A status that may pass.
    pub(crate) fn of_status(what: &str, reply: &Reply) -> Self {
        let problem = match reply.status {
            429 => "too many requests (status 429)".to_owned(),
            status => format!("it has trouble of its own (status {status})"),
        };
        Self::Again { what: what.to_owned(), host: reply.server.clone(), problem, wait: reply.retry_after() }
    }

    /// How long to wait before the next attempt, after so many without progress; the error where enough was tried.
    pub(crate) fn wait(self, attempts: usize, pace: &Pace, listener: Listener<'_>) -> Result<Duration, HubError> {
        let (what, host, problem, asked) = match self {
            Self::Final(error) => return Err(error),
            Self::Again { what, host, problem, wait } => (what, host, problem, wait),
        };
        if attempts >= pace.attempts {
            return Err(HubError::Http { what, host, problem, attempts });
        }
        if let Some(asked) = asked.filter(|asked| *asked > pace.patience) {
            return Err(HubError::TooManyRequests { host, seconds: asked.as_secs() });
        }
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let own = pace.first_wait.saturating_mul(1 << doublings).min(pace.longest_wait);
        let wait = asked.unwrap_or(own);
        listener(Event::Retry { problem: format!("{what} from {host}: {problem}"), wait });
        Ok(wait)
    }
}

/// Sleeps, but not on when `stop` is set.
pub(crate) fn sleep_unless(stop: &AtomicBool, wait: Duration) {
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match wait.checked_sub(start.elapsed()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(Duration::from_millis(50))),
            _ => return,
        }
    }
}

/// Tries until it succeeds, fails for good, or enough was tried.
pub(crate) fn with_retries<T>(pace: &Pace, listener: Listener<'_>, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, HubError> {
    let mut attempts = 0;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => {
                attempts += 1;
                let wait = failure.wait(attempts, pace, listener)?;
                sleep_unless(&AtomicBool::new(false), wait);
            }
        }
    }
}
