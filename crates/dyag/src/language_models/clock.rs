//! Time as retries and rates see it; tests put one of their own in its place and never wait.

use std::time::{Duration, Instant, SystemTime};

/// A clock that can be waited on.
pub(crate) trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
    /// The date and time of day, for dates that servers send.
    fn utc(&self) -> SystemTime;
    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that begins now.
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn utc(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        if !duration.is_zero() {
            std::thread::sleep(duration);
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! A clock for tests.

    use std::sync::Mutex;

    use super::*;

    /// A clock that moves only when it is waited on.
    #[derive(Debug, Default)]
    pub(crate) struct FakeClock {
        sleeps: Mutex<Vec<Duration>>,
    }

    impl FakeClock {
        /// Every wait, in order, without those of no length.
        pub(crate) fn sleeps(&self) -> Vec<Duration> {
            self.sleeps.lock().expect("not poisoned").clone()
        }
    }

    impl Clock for FakeClock {
        fn elapsed(&self) -> Duration {
            self.sleeps().iter().sum()
        }

        fn utc(&self) -> SystemTime {
            // 2024-01-01 00:00:00.
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200) + self.elapsed()
        }

        fn sleep(&self, duration: Duration) {
            if !duration.is_zero() {
                self.sleeps.lock().expect("not poisoned").push(duration);
            }
        }
    }
}
