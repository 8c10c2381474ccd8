//! A fixed set of threads that run one job together: awake at once when the next comes soon, asleep when it does not.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use snafu::ResultExt;

use crate::error::{EngineError, PanickedSnafu, ThreadSnafu};

/// Looks for work before a thread goes to sleep; some 50 µs.
const LOOKS: usize = 2_000;
/// Looks before a thread that waits for others offers its core.
const LOOKS_BEFORE_YIELD: usize = 4_000;

type Task<'a> = dyn Fn(&Member) + Sync + 'a;

/// The caller's thread and those started for it.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Threads, the caller among them.
    count: usize,
    /// Raised by one for each job.
    job: AtomicUsize,
    /// What to run; written by the caller while no other thread runs, and read after `job` was raised.
    task: UnsafeCell<Option<*const Task<'static>>>,
    /// Threads that have not finished the job.
    running: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    asleep: Vec<AtomicBool>,
    arrived: AtomicUsize,
    phase: AtomicUsize,
}

// SAFETY: `task` is the only field that is not `Sync`, or `Send`; `Threads::run` says who touches it when.
unsafe impl Sync for Shared {}
// SAFETY: see above.
unsafe impl Send for Shared {}

/// One of the threads, as a job sees it.
pub(crate) struct Member<'a> {
    pub(crate) index: usize,
    pub(crate) count: usize,
    shared: &'a Shared,
}

/// Waits until `done`; gives up with `false` when a thread has panicked.
fn wait(shared: &Shared, done: impl Fn() -> bool) -> bool {
    let mut looks = 0;
    while !done() {
        if shared.panicked.load(Ordering::Relaxed) {
            return done();
        }
        looks += 1;
        if looks < LOOKS_BEFORE_YIELD {
            spin_loop();
        } else {
            thread::yield_now();
        }
    }
    true
}

impl Member<'_> {
    /// Returns when all threads have come here. `false` when one has panicked and never will.
    #[must_use]
    pub(crate) fn meet(&self) -> bool {
        let shared = self.shared;
        if self.count == 1 {
            return true;
        }
        let phase = shared.phase.load(Ordering::Acquire);
        if shared.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.count {
            shared.arrived.store(0, Ordering::Relaxed);
            shared.phase.store(phase.wrapping_add(1), Ordering::Release);
            return true;
        }
        wait(shared, || shared.phase.load(Ordering::Acquire) != phase)
    }
}

impl Threads {
    pub(crate) fn new(count: usize) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            count,
            job: AtomicUsize::new(0),
            task: UnsafeCell::new(None),
            running: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
            arrived: AtomicUsize::new(0),
            phase: AtomicUsize::new(0),
        });
        let mut threads = Self {
            shared,
            handles: Vec::with_capacity(count - 1),
        };
        for index in 1..count {
            let shared = Arc::clone(&threads.shared);
            let handle = thread::Builder::new()
                .name(format!("engine-{index}"))
                .spawn(move || work(&shared, index))
                .context(ThreadSnafu { index })?;
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    /// Runs `task` once on every thread and returns when all are done.
    pub(crate) fn run(&mut self, task: &Task<'_>) -> Result<(), EngineError> {
        let shared = &*self.shared;
        if shared.panicked.load(Ordering::Acquire) {
            return PanickedSnafu.fail();
        }
        let caller = Member {
            index: 0,
            count: shared.count,
            shared,
        };
        if shared.count > 1 {
            let task: *const Task<'_> = task;
            // SAFETY: only the lifetime is changed. No thread uses the task after `running` has come to zero, which is
            // awaited below, also when this thread's share panics.
            let task: *const Task<'static> = unsafe { std::mem::transmute(task) };
            // SAFETY: `running` is zero: no thread reads the field until `job` is raised below, and `&mut self` keeps other
            // callers out.
            unsafe { *shared.task.get() = Some(task) };
            shared.running.store(shared.count - 1, Ordering::Relaxed);
            shared.job.fetch_add(1, Ordering::SeqCst);
            for (index, handle) in self.handles.iter().enumerate() {
                if shared.asleep[index + 1].load(Ordering::SeqCst) {
                    handle.thread().unpark();
                }
            }
        }
        run_share(task, &caller);
        let mut looks = 0;
        while shared.running.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks < LOOKS_BEFORE_YIELD {
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
        if shared.panicked.load(Ordering::Acquire) {
            PanickedSnafu.fail()
        } else {
            Ok(())
        }
    }
}

/// A panic must neither leave others waiting nor free memory that they use.
fn run_share(task: &Task<'_>, member: &Member) {
    let result: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| task(member)));
    if result.is_err() {
        member.shared.panicked.store(true, Ordering::Release);
    }
}

fn work(shared: &Shared, index: usize) {
    let member = Member {
        index,
        count: shared.count,
        shared,
    };
    let mut seen = 0;
    loop {
        let mut looks = 0;
        while shared.job.load(Ordering::Acquire) == seen {
            looks += 1;
            if looks < LOOKS {
                spin_loop();
                continue;
            }
            // The caller raises `job` before it looks at `asleep`, this thread the other way round: one sees the other.
            shared.asleep[index].store(true, Ordering::SeqCst);
            if shared.job.load(Ordering::SeqCst) == seen {
                thread::park();
            }
            shared.asleep[index].store(false, Ordering::SeqCst);
        }
        seen = seen.wrapping_add(1);
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: `job` was raised after the task was written, and the caller keeps it alive and unchanged until `running`,
        // which this thread lowers last, is zero.
        let task = unsafe { (*shared.task.get()).map(|task| &*task) };
        if let Some(task) = task {
            run_share(task, &member);
        }
        shared.running.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.job.fetch_add(1, Ordering::SeqCst);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            // A thread that panicked has been reported by the job.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_every_job_once() {
        for count in [1, 2, 5] {
            let mut threads = Threads::new(count).unwrap();
            let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..500 {
                threads
                    .run(&|m: &Member| {
                        runs[m.index].fetch_add(1, Ordering::Relaxed);
                    })
                    .unwrap();
            }
            assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 500));
        }
    }

    #[test]
    fn nobody_leaves_a_meeting_before_all_have_come() {
        let mut threads = Threads::new(3).unwrap();
        let steps = AtomicUsize::new(0);
        threads
            .run(&|m: &Member| {
                for step in 1..=200 {
                    steps.fetch_add(1, Ordering::SeqCst);
                    assert!(m.meet());
                    assert!(steps.load(Ordering::SeqCst) >= 3 * step);
                    assert!(m.meet());
                }
            })
            .unwrap();
    }

    #[test]
    fn a_panic_is_an_error_and_blocks_nobody() {
        let mut threads = Threads::new(3).unwrap();
        let result = threads.run(&|m: &Member| {
            assert!(m.index != 1, "on purpose");
            let _ = m.meet();
        });
        assert!(matches!(result, Err(EngineError::Panicked)));
        assert!(matches!(
            threads.run(&|_: &Member| {}),
            Err(EngineError::Panicked)
        ));
    }

    #[test]
    fn sleepers_wake_up() {
        let mut threads = Threads::new(2).unwrap();
        while !threads.shared.asleep[1].load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let ran = AtomicUsize::new(0);
        threads
            .run(&|_: &Member| {
                ran.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        assert_eq!(ran.into_inner(), 2);
    }
}
