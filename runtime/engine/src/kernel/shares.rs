//! How threads share a job: who takes what, and when a step is done. Nobody waits for a thread that has taken nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::threads::Patience;

/// What is taken of a job.
#[derive(Default)]
pub(crate) struct Shares {
    /// Images that are taken.
    pub(crate) images: AtomicUsize,
    /// The step in work plus one, in the upper half, and its parts that are taken.
    taken: AtomicU64,
    /// Parts of it that are done.
    done: AtomicUsize,
}

const STEP: u64 = 1 << 32;

impl Shares {
    /// Runs the steps in turn, with whoever helps. `parts` says in how many parts a step is; one is not offered.
    pub(crate) fn lead(
        &self,
        steps: usize,
        parts: impl Fn(usize) -> usize,
        perform: impl Fn(usize, usize),
        lost: impl Fn() -> bool,
    ) {
        for step in 0..steps {
            let parts = parts(step);
            if parts == 1 {
                perform(step, 0);
                continue;
            }
            self.done.store(0, Ordering::Relaxed);
            self.taken.store((step as u64 + 1) * STEP, Ordering::Release);
            loop {
                // Helpers take parts of this step only as long as it is the one in work.
                let part = (self.taken.fetch_add(1, Ordering::Acquire) % STEP) as usize;
                if part >= parts {
                    break;
                }
                perform(step, part);
                self.done.fetch_add(1, Ordering::Release);
            }
            let mut patience = Patience::default();
            while self.done.load(Ordering::Acquire) < parts {
                if lost() {
                    return;
                }
                patience.wait();
            }
        }
        self.taken.store((steps as u64 + 1) * STEP, Ordering::Release);
    }

    /// Takes parts of the steps in work until the last is done.
    pub(crate) fn help(
        &self,
        steps: usize,
        parts: impl Fn(usize) -> usize,
        perform: impl Fn(usize, usize),
        lost: impl Fn() -> bool,
    ) {
        let mut patience = Patience::default();
        while !lost() {
            let taken = self.taken.load(Ordering::Acquire);
            let (step, part) = ((taken / STEP) as usize, (taken % STEP) as usize);
            if step > steps {
                return;
            }
            if step == 0 || part >= parts(step - 1) {
                patience.wait();
                continue;
            }
            // The step is part of what is compared, so that nothing is taken of one that has come to an end.
            let mine = self
                .taken
                .compare_exchange(taken, taken + 1, Ordering::Acquire, Ordering::Relaxed);
            if mine.is_ok() {
                perform(step - 1, part);
                self.done.fetch_add(1, Ordering::Release);
                patience = Patience::default();
            }
        }
    }
}
