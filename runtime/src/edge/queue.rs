//! What waits to be computed, and which of it is computed together.

use std::collections::VecDeque;

/// What can be computed together with its like.
pub(super) trait Work {
    /// Images in it.
    fn images(&self) -> usize;
    /// Whether both can be one batch.
    fn fits(&self, other: &Self) -> bool;
}

/// First in, first out. A batch is formed only of what waits anyway: nothing waits to be batched.
pub(super) struct Queue<W> {
    waiting: VecDeque<W>,
    images: usize,
    threads: usize,
}

impl<W: Work> Queue<W> {
    /// A queue that so many threads empty.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            images: 0,
            threads: threads.max(1),
        }
    }

    pub(super) fn push(&mut self, work: W) {
        self.images += work.images();
        self.waiting.push_back(work);
    }

    /// Images that wait.
    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// What one thread computes next: no more than its share of what waits, so that the others get theirs at once, and no
    /// more than `at_once` images, but for a single work that is larger.
    pub(super) fn take(&mut self, at_once: usize) -> Vec<W> {
        let share = self.images.div_ceil(self.threads).min(at_once);
        let mut batch: Vec<W> = Vec::new();
        let mut images = 0;
        while let Some(next) = self.waiting.front() {
            let first = batch.first();
            if first.is_some_and(|first| images + next.images() > share || !first.fits(next)) {
                break;
            }
            images += next.images();
            batch.extend(self.waiting.pop_front());
        }
        self.images -= images;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A revision and images.
    impl Work for (u8, usize) {
        fn images(&self) -> usize {
            self.1
        }

        fn fits(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    fn batches(threads: usize, max_batch: usize, works: &[(u8, usize)]) -> Vec<Vec<(u8, usize)>> {
        let mut queue = Queue::new(threads);
        for &work in works {
            queue.push(work);
        }
        let mut batches = Vec::new();
        while queue.images() > 0 {
            batches.push(queue.take(max_batch));
        }
        assert!(queue.take(max_batch).is_empty());
        batches
    }

    #[test]
    fn what_waits_is_shared_by_the_threads() {
        assert_eq!(batches(1, 8, &[(1, 1)]), [[(1, 1)]], "nothing waits for others");
        assert_eq!(batches(1, 8, &[(1, 1); 3]), [vec![(1, 1); 3]]);
        assert_eq!(
            batches(2, 8, &[(1, 1); 4]),
            [vec![(1, 1); 2], vec![(1, 1)], vec![(1, 1)]]
        );
    }

    #[test]
    fn a_batch_has_one_revision_and_a_size() {
        assert_eq!(
            batches(1, 8, &[(1, 1), (2, 1), (2, 1), (1, 1)]),
            [vec![(1, 1)], vec![(2, 1), (2, 1)], vec![(1, 1)]]
        );
        assert_eq!(
            batches(1, 4, &[(1, 3), (1, 3), (1, 1)]),
            [vec![(1, 3)], vec![(1, 3), (1, 1)]]
        );
        assert_eq!(batches(1, 4, &[(1, 9), (1, 1)]), [vec![(1, 9)], vec![(1, 1)]]);
    }
}
