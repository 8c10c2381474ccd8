//! Which unsure images go to the cloud together: those that wait while enough requests are under way already.

use std::collections::VecDeque;

/// Requests under way at once; what comes in the meantime waits, and goes together.
const UNDER_WAY: usize = 4;
/// Images in a request at most, but for a single one that has more.
const MAX_IMAGES: usize = 32;
/// Images that wait at most.
const ROOM: usize = 1024;

/// What can go to the cloud with its like.
pub(super) trait Part {
    fn images(&self) -> usize;
    /// Whether both can go in one request.
    fn fits(&self, other: &Self) -> bool;
    /// Whether nobody waits for its answer any more.
    fn is_over(&self) -> bool;
}

#[derive(Debug)]
pub(super) struct Gather<P> {
    waiting: VecDeque<P>,
    under_way: usize,
}

impl<P> Default for Gather<P> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            under_way: 0,
        }
    }
}

impl<P: Part> Gather<P> {
    /// Takes a part in, or gives it back where too much waits.
    pub(super) fn push(&mut self, part: P) -> Result<(), P> {
        let waiting: usize = self.waiting.iter().map(Part::images).sum();
        if waiting > 0 && waiting + part.images() > ROOM {
            return Err(part);
        }
        self.waiting.push_back(part);
        Ok(())
    }

    /// The next request, if one may go out; it counts as under way until [`Self::done`].
    pub(super) fn take(&mut self) -> Option<Vec<P>> {
        if self.under_way >= UNDER_WAY {
            return None;
        }
        self.waiting.retain(|part| !part.is_over());
        let mut parts: Vec<P> = Vec::new();
        let mut images = 0;
        while let Some(next) = self.waiting.front() {
            let first = parts.first();
            if first.is_some_and(|first| images + next.images() > MAX_IMAGES || !first.fits(next)) {
                break;
            }
            images += next.images();
            parts.extend(self.waiting.pop_front());
        }
        if parts.is_empty() {
            return None;
        }
        self.under_way += 1;
        Some(parts)
    }

    /// A request has its outcome.
    pub(super) fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes, images, and whether its time is over.
    impl Part for (usize, usize, bool) {
        fn images(&self) -> usize {
            self.1
        }

        fn fits(&self, other: &Self) -> bool {
            self.0 == other.0
        }

        fn is_over(&self) -> bool {
            self.2
        }
    }

    #[test]
    fn what_waits_meanwhile_goes_together() {
        let mut gather = Gather::default();
        for _ in 0..UNDER_WAY {
            gather.push((10, 1, false)).unwrap();
            assert_eq!(gather.take().map(|parts| parts.len()), Some(1), "nothing waits without need");
        }
        for part in [(10, 1, false), (10, 2, true), (10, 3, false), (100, 1, false)] {
            gather.push(part).unwrap();
        }
        assert_eq!(gather.take(), None);
        gather.done();
        assert_eq!(gather.take(), Some(vec![(10, 1, false), (10, 3, false)]));
        gather.done();
        assert_eq!(gather.take(), Some(vec![(100, 1, false)]));
        gather.done();
        assert_eq!(gather.take(), None);
    }

    #[test]
    fn a_request_and_what_waits_are_bounded() {
        let mut gather = Gather::default();
        gather.push((10, 4 * ROOM, false)).unwrap();
        assert_eq!(gather.push((10, 1, false)), Err((10, 1, false)));
        assert_eq!(gather.take().map(|parts| parts.len()), Some(1), "one may be larger");
        for _ in 0..MAX_IMAGES {
            gather.push((10, 2, false)).unwrap();
        }
        assert_eq!(gather.take().map(|parts| parts.len()), Some(MAX_IMAGES / 2));
    }
}
