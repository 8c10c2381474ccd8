use std::time::Duration;

/// Weight of the newest batch.
const NEWEST: f64 = 0.2;
/// Sizes told apart: 1, 2, up to 4, up to 8, …
const SIZES: usize = 12;

/// How long batches take, by size: a moving average of those that were computed.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    seconds: [Option<f64>; SIZES],
}

fn size(images: usize) -> usize {
    (images.max(1).next_power_of_two().trailing_zeros() as usize).min(SIZES - 1)
}

impl Estimate {
    pub(super) fn record(&mut self, images: usize, took: Duration) {
        let took = took.as_secs_f64();
        let known = &mut self.seconds[size(images)];
        *known = Some(known.map_or(took, |known| known + NEWEST * (took - known)));
    }

    /// The least that [`Self::batch`] says, whatever the size.
    pub(super) fn least(&self) -> Duration {
        let known = self.seconds.iter().flatten().copied();
        Duration::from_secs_f64(known.reduce(f64::min).unwrap_or_default())
    }

    /// Of a size never seen, that of the next smaller one, else of the next larger one: a guess that is too good costs a late
    /// answer and is corrected by it, one that is too bad would never be tried. Nothing is known at first, which is zero.
    pub(super) fn batch(&self, images: usize) -> Duration {
        let at = size(images);
        let smaller = self.seconds[..=at].iter().rev().flatten().next();
        let larger = self.seconds[at..].iter().flatten().next();
        Duration::from_secs_f64(smaller.or(larger).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_apart_and_guessed_from_their_neighbours() {
        let ms = Duration::from_millis;
        let mut estimate = Estimate::default();
        assert_eq!(estimate.batch(8), Duration::ZERO);
        estimate.record(4, ms(10));
        assert_eq!(
            (estimate.batch(1), estimate.batch(3), estimate.batch(32)),
            (ms(10), ms(10), ms(10))
        );
        estimate.record(32, ms(40));
        assert_eq!(
            (estimate.batch(16), estimate.batch(20), estimate.batch(1000)),
            (ms(10), ms(40), ms(40))
        );
        estimate.record(4, ms(20));
        assert_eq!(estimate.batch(4), ms(12));
        assert_eq!(estimate.least(), ms(12));
        estimate.record(usize::MAX / 2, ms(1));
        assert_eq!(estimate.least(), ms(1));
    }
}
