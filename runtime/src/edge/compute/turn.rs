//! When a task that computes lets those run that take requests in and send answers out on the same threads, and what is too long for them to
//! wait for. State that is told the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long is computed before others have their turn, where that is more than one image.
const SLOT: Duration = Duration::from_micros(250);
/// The longest that others are kept waiting: about as long as a scheduler would.
const LONG: Duration = Duration::from_millis(5);
/// The longest turn of the others after which they are still waited for.
const CROWDED: Duration = Duration::from_millis(2);
/// The longest that is computed for having waited that long oneself.
const MOST: Duration = Duration::from_millis(20);
/// One part in so many is what the newest measurement counts.
const NEWEST: u64 = 5;

/// How long an image takes: a moving average of those that were computed.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    pub(super) fn record(&self, images: usize, took: Duration) {
        let each = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / (images as u64).max(1);
        let known = self.0.load(Ordering::Relaxed);
        let now = if known == 0 {
            each
        } else {
            known - known / NEWEST + each / NEWEST
        };
        // Another thread's that gets lost between is no great loss.
        self.0.store(now.max(1), Ordering::Relaxed);
    }

    /// How long so many images take. Nothing is known at first, which may be for ever.
    fn expects(&self, images: usize) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            each => Duration::from_nanos(each.saturating_mul(images as u64)),
        }
    }

    /// Images to compute together: as many as fit into a slot, and at least one.
    pub(super) fn at_once(&self) -> usize {
        let slot = SLOT.as_nanos() as u64;
        let each = self.0.load(Ordering::Relaxed);
        usize::try_from(slot.checked_div(each).unwrap_or(1)).map_or(1, |images| images.max(1))
    }
}

/// One computing task's place among the others.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// How long the others had their turn while this task had work to do.
    waited: Duration,
}

impl Turn {
    /// The others ran for so long since this task gave way to them.
    pub(super) fn begins(&mut self, waited: Duration) {
        self.waited = waited;
    }

    /// Whether so many images can be computed before others run. Else they are computed beside them: where they take long, and where the
    /// others are so busy that this task would not come to its share.
    pub(super) fn fits(&self, pace: &Pace, images: usize) -> bool {
        self.waited <= CROWDED && pace.expects(images) <= LONG
    }

    /// How long is computed beside the others: as long as they ran.
    pub(super) fn share(&self) -> Duration {
        self.waited.min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Duration = Duration::from_micros(100);

    fn known(each: Duration) -> Pace {
        let pace = Pace::default();
        pace.record(4, 4 * each);
        pace
    }

    #[test]
    fn the_pace_is_an_average_that_forgets() {
        let pace = Pace::default();
        assert_eq!((pace.expects(1), pace.at_once()), (Duration::MAX, 1));
        let pace = known(IMAGE);
        assert_eq!((pace.expects(3), pace.at_once()), (3 * IMAGE, 2));
        for _ in 0..40 {
            pace.record(1, Duration::from_micros(5));
        }
        assert!(pace.expects(1) < Duration::from_micros(10) && pace.at_once() >= 25);
        pace.record(0, Duration::MAX);
        assert_eq!(pace.at_once(), 1, "a network that takes for ever");
    }

    #[test]
    fn what_is_short_is_computed_between_others() {
        let turn = Turn::default();
        assert!(turn.fits(&known(IMAGE), 16));
        assert!(!turn.fits(&known(IMAGE), 64), "others would wait for long");
        assert!(!turn.fits(&Pace::default(), 1), "nothing is known of it");
    }

    #[test]
    fn who_is_kept_waiting_computes_beside_the_others_as_long() {
        let mut turn = Turn::default();
        turn.begins(Duration::from_millis(1));
        assert!(turn.fits(&known(IMAGE), 1));
        turn.begins(Duration::from_millis(12));
        assert!(!turn.fits(&known(IMAGE), 1));
        assert_eq!(turn.share(), Duration::from_millis(12));
        turn.begins(Duration::from_secs(1));
        assert_eq!(turn.share(), MOST);
    }
}
