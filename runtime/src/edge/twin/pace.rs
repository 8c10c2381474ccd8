use std::time::Duration;

use tokio::time::Instant;

/// Pause between reports of counters; a change of revision is reported at once.
const REPORT: Duration = Duration::from_secs(30);
/// Pause before a report that did not reach the API server is made again.
const REPORT_AGAIN: Duration = Duration::from_secs(5);
/// First and longest pause before what failed is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// When the follower acts next, and whether it then still has a wish to fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) due: Instant,
    pub(super) fulfilled: bool,
    failures: u32,
}

impl Pace {
    /// A new wish is acted on at once, whatever was waited for before.
    pub(super) fn asked(now: Instant) -> Self {
        Self {
            due: now,
            fulfilled: false,
            failures: 0,
        }
    }

    /// Nothing that was done for this wish has failed.
    pub(super) fn first(&self) -> bool {
        self.failures == 0
    }

    pub(super) fn fulfilled(&mut self, now: Instant) {
        *self = Self {
            due: now + REPORT,
            fulfilled: true,
            failures: 0,
        };
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.due = now + pause(self.failures);
    }

    pub(super) fn reported(&mut self, reached: bool, now: Instant) {
        self.due = now + if reached { REPORT } else { REPORT_AGAIN };
    }
}

/// The pause after the `failures`th failure in a row.
fn pause(failures: u32) -> Duration {
    (PAUSES.0 * 2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(PAUSES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert_eq!(
            [0, 1, 2, 3, 7, 100].map(|n| pause(n).as_secs()),
            [1, 1, 2, 4, 60, 60]
        );
    }

    #[test]
    fn a_new_wish_does_not_wait_out_the_pause_of_the_old_one() {
        let now = Instant::now();
        let mut pace = Pace::asked(now);
        for _ in 0..10 {
            pace.failed(now);
        }
        assert_eq!((pace.due - now, pace.fulfilled), (PAUSES.1, false));
        assert_eq!(Pace::asked(now).due, now);
        pace.fulfilled(now);
        assert_eq!((pace.due - now, pace.fulfilled), (REPORT, true));
        pace.reported(false, now);
        assert_eq!((pace.due - now, pace.fulfilled), (REPORT_AGAIN, true));
    }
}
