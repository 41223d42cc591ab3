//! How often a request is tried again, and how long is waited before.

use std::time::{Duration, SystemTime};

use dyag_kernels::random;

/// How often and how soon a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RetryPolicy {
    /// Requests that are sent for one answer at most.
    pub(super) max_attempts: u32,
    /// Replies that cannot be understood, after which an answer is given up.
    pub(super) max_unreadable: u32,
    /// Requests that are not answered in time, after which an answer is given up: each takes as long as the whole timeout.
    pub(super) max_timeouts: u32,
    /// The wait before the second request, which doubles each time.
    pub(super) first_delay: Duration,
    /// The longest wait of our own choice.
    pub(super) max_delay: Duration,
    /// The longest wait that a server's `Retry-After` is followed for.
    pub(super) max_retry_after: Duration,
    /// Seed of the jitter, so that many programs that were refused together do not come back together.
    pub(super) seed: u64,
}

impl RetryPolicy {
    /// The policy with a seed: six requests, of which three may be answered with garbage or two not at all, half a minute of waiting in all.
    pub(super) const fn with_seed(seed: u64) -> Self {
        Self {
            max_attempts: 6,
            max_unreadable: 3,
            max_timeouts: 2,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(120),
            seed,
        }
    }

    /// How long to wait after the `n_failed`-th failure in a row (from 1). `asked` is what the server asked for, `draw` numbers the jitter.
    pub(super) fn delay(&self, n_failed: u32, asked: Option<Duration>, draw: u64) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.max_retry_after);
        }
        let doubled = self.first_delay.saturating_mul(1 << n_failed.saturating_sub(1).min(16)).min(self.max_delay);
        let unit = (random::bits(self.seed, draw) >> 11) as f64 / (1_u64 << 53) as f64;
        doubled.mul_f64(0.5 + 0.5 * unit)
    }
}

/// The wait that the headers `Retry-After` (seconds or a date) or `Retry-After-Ms` ask for.
pub(super) fn retry_after(seconds_or_date: Option<&str>, milliseconds: Option<&str>, now: SystemTime) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && (0.0..1e9).contains(n));
    if let Some(n) = milliseconds.and_then(number) {
        return Some(Duration::from_secs_f64(n / 1e3));
    }
    let text = seconds_or_date?;
    if let Some(n) = number(text) {
        return Some(Duration::from_secs_f64(n));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::super::clock::Clock as _;
    use super::super::clock::testing::FakeClock;
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_jitter_by_the_seed() {
        let policy = RetryPolicy::with_seed(7);
        for (n, longest) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (40, 60.0)] {
            for draw in 0..50 {
                let delay = policy.delay(n, None, draw).as_secs_f64();
                assert!(delay >= longest / 2.0 && delay <= longest, "failure {n}: {delay}");
                assert_eq!(policy.delay(n, None, draw), policy.delay(n, None, draw));
            }
        }
        assert_ne!(policy.delay(1, None, 0), policy.delay(1, None, 1));
        assert_ne!(policy.delay(1, None, 0), RetryPolicy::with_seed(8).delay(1, None, 0));
    }

    #[test]
    fn what_the_server_asks_for_is_followed_up_to_a_limit() {
        let policy = RetryPolicy::with_seed(7);
        assert_eq!(policy.delay(1, Some(Duration::from_secs(9)), 0), Duration::from_secs(9));
        assert_eq!(policy.delay(1, Some(Duration::from_secs(9999)), 0), policy.max_retry_after);
    }

    #[test]
    fn seconds_dates_and_milliseconds() {
        let now = FakeClock::default().utc();
        let read = |text: &str| retry_after(Some(text), None, now);
        assert_eq!(read("20"), Some(Duration::from_secs(20)));
        assert_eq!(read(" 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(read("Mon, 01 Jan 2024 00:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun, 31 Dec 2023 23:59:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after(Some("20"), Some("1500"), now), Some(Duration::from_millis(1500)));
        for wrong in ["soon", "-3", "inf", "NaN", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(retry_after(None, None, now), None);
    }
}
