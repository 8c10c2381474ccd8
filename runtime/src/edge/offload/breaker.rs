//! When the cloud is asked, and when it is left alone.

use std::time::{Duration, Instant};

/// Failures in a row after which the cloud is left alone for a while, so that a dead cloud does not cost every unsure
/// input the whole timeout.
const PATIENCE: u32 = 5;
/// How long it is left alone before one input tries again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Failed,
    /// The cloud is well and asked to be left alone for so long.
    Busy(Duration),
}

#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    closed_until: Option<Instant>,
}

impl Breaker {
    /// Whether a request may go out at `now`. After the pause one may; the next follow its outcome.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        match self.closed_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.closed_until = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    pub(super) fn record(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Answered => *self = Self::default(),
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= PATIENCE {
                    self.closed_until = Some(now + PAUSE);
                }
            }
            Outcome::Busy(pause) => self.closed_until = self.closed_until.max(Some(now + pause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_cloud_is_left_alone_and_tried_again() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..PATIENCE {
            assert!(breaker.admit(start));
            breaker.record(Outcome::Failed, start);
        }
        assert!(!breaker.admit(start + PAUSE / 2));
        assert!(breaker.admit(start + PAUSE), "one may try");
        assert!(!breaker.admit(start + PAUSE), "the others wait for its outcome");
        breaker.record(Outcome::Answered, start + PAUSE);
        assert!(breaker.admit(start + PAUSE));
    }

    #[test]
    fn a_busy_cloud_is_left_alone_for_as_long_as_it_asks() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let pause = Duration::from_millis(40);
        assert!(breaker.admit(start));
        breaker.record(Outcome::Busy(pause), start);
        assert!(!breaker.admit(start + pause / 2));
        assert!(breaker.admit(start + pause));
        breaker.record(Outcome::Answered, start + pause);
        assert!(breaker.admit(start + pause));
    }
}
