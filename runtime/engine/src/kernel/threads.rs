//! Threads that help a caller. A helper that has not come in time is not waited for: on a busy machine it may not run for
//! milliseconds, while the caller goes on alone.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use snafu::ResultExt;

use crate::error::{EngineError, PanickedSnafu, ThreadSnafu};

/// Looks for work before a thread goes to sleep; some 50 µs.
const LOOKS: usize = 2_000;
/// Looks before a thread that waits for others offers its core.
const LOOKS_BEFORE_YIELD: usize = 1_000;

/// In [`Shared::door`]: helpers may come in.
const OPEN: u64 = 1 << 16;
/// In [`Shared::door`]: how many helpers are in.
const INSIDE: u64 = OPEN - 1;
/// In [`Shared::door`]: the number of the job, in steps of this.
const JOB: u64 = OPEN << 1;

type Task<'a> = dyn Fn(&Member) + Sync + 'a;

/// The caller's thread and those started for it.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Threads, the caller among them.
    count: usize,
    /// Number of the job, whether helpers may come in, and how many are in.
    door: AtomicU64,
    /// What to run; written by the caller while the door is shut and nobody is in, read by helpers that are in.
    task: UnsafeCell<Option<*const Task<'static>>>,
    stop: AtomicBool,
    panicked: AtomicBool,
    asleep: Vec<AtomicBool>,
}

// SAFETY: `task` is the only field that is not `Sync`, or `Send`; `Threads::run` says who touches it when.
unsafe impl Sync for Shared {}
// SAFETY: see above.
unsafe impl Send for Shared {}

/// One of the threads, as a job sees it.
pub(crate) struct Member<'a> {
    /// 0 for the caller.
    pub(crate) index: usize,
    pub(crate) count: usize,
    shared: &'a Shared,
}

/// Waits for others, and offers its core to them if that takes long.
#[derive(Default)]
pub(crate) struct Patience(usize);

impl Patience {
    pub(crate) fn wait(&mut self) {
        self.0 += 1;
        if self.0 < LOOKS_BEFORE_YIELD {
            spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

impl Member<'_> {
    /// Whether a thread has panicked: what it was to do is never done.
    pub(crate) fn is_lost(&self) -> bool {
        self.shared.panicked.load(Ordering::Relaxed)
    }
}

impl Threads {
    pub(crate) fn new(count: usize) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            count,
            door: AtomicU64::new(0),
            task: UnsafeCell::new(None),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            asleep: (0..count).map(|_| AtomicBool::new(false)).collect(),
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

    /// Runs `task` on the caller's thread, and at most once on each of the others: on those that come in before the caller has
    /// done. So a task must hand out its work such that the caller can do all of it. Returns when all have left.
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
        if shared.count == 1 {
            run_share(task, &caller);
        } else {
            let task: *const Task<'_> = task;
            #[allow(
                clippy::transmute_ptr_to_ptr,
                reason = "a cast cannot change what a pointer's target may borrow"
            )]
            // SAFETY: only the lifetime is changed. Helpers use the task only while they are in, and all have left before this
            // function returns, also when this thread's share panics.
            let task: *const Task<'static> = unsafe { std::mem::transmute(task) };
            // SAFETY: the door is shut and nobody is in, since the last job has ended and `&mut self` keeps other callers out.
            unsafe { *shared.task.get() = Some(task) };
            let job = (shared.door.load(Ordering::Relaxed) & !(JOB - 1)).wrapping_add(JOB);
            shared.door.store(job | OPEN, Ordering::SeqCst);
            for (index, handle) in self.handles.iter().enumerate() {
                if shared.asleep[index + 1].load(Ordering::SeqCst) {
                    handle.thread().unpark();
                }
            }
            // SAFETY: the task is still borrowed.
            run_share(unsafe { &*task }, &caller);
            shared.door.fetch_and(!OPEN, Ordering::AcqRel);
            let mut patience = Patience::default();
            while shared.door.load(Ordering::Acquire) & INSIDE > 0 {
                patience.wait();
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

/// Goes in if the door is open for a job other than `seen`; gives the job.
fn enter(shared: &Shared, seen: u64) -> Option<u64> {
    let mut door = shared.door.load(Ordering::SeqCst);
    while door & OPEN > 0 && door & !(JOB - 1) != seen {
        let inside = shared
            .door
            .compare_exchange_weak(door, door + 1, Ordering::SeqCst, Ordering::SeqCst);
        match inside {
            Ok(_) => return Some(door & !(JOB - 1)),
            Err(now) => door = now,
        }
    }
    None
}

fn work(shared: &Shared, index: usize) {
    let member = Member {
        index,
        count: shared.count,
        shared,
    };
    let (mut seen, mut looks) = (0, 0);
    loop {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if let Some(job) = enter(shared, seen) {
            (seen, looks) = (job, 0);
            // SAFETY: the task was written before the door was opened, and the caller keeps it alive and unchanged until this
            // thread has left.
            let task = unsafe { (*shared.task.get()).map(|task| &*task) };
            if let Some(task) = task {
                run_share(task, &member);
            }
            shared.door.fetch_sub(1, Ordering::AcqRel);
        } else if looks < LOOKS {
            looks += 1;
            spin_loop();
        } else {
            // The caller opens the door before it looks at `asleep`, this thread the other way round: one sees the other.
            shared.asleep[index].store(true, Ordering::SeqCst);
            let door = shared.door.load(Ordering::SeqCst);
            let news = door & OPEN > 0 && door & !(JOB - 1) != seen;
            if !news && !shared.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.asleep[index].store(false, Ordering::SeqCst);
            looks = 0;
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            // A thread that panicked has been reported by the job.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn all_work_is_done_once_whoever_comes() {
        for count in [1, 2, 5] {
            let mut threads = Threads::new(count).unwrap();
            for round in 0..500 {
                let units: Vec<AtomicUsize> = (0..20).map(|_| AtomicUsize::new(0)).collect();
                let next = AtomicUsize::new(0);
                threads
                    .run(&|_: &Member| {
                        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                            unit.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                    .unwrap();
                assert!(units.iter().all(|u| u.load(Ordering::Relaxed) == 1));
                // Sometimes long enough for helpers to fall asleep.
                if round % 100 == 0 {
                    thread::sleep(std::time::Duration::from_millis(2));
                }
            }
        }
    }

    #[test]
    fn nobody_is_in_when_the_caller_goes_on() {
        let mut threads = Threads::new(4).unwrap();
        for _ in 0..2_000 {
            let inside = AtomicUsize::new(0);
            let task = |m: &Member| {
                inside.fetch_add(1, Ordering::SeqCst);
                for _ in 0..m.index * 50 {
                    spin_loop();
                }
                inside.fetch_sub(1, Ordering::SeqCst);
            };
            threads.run(&task).unwrap();
            assert_eq!(inside.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn a_panic_is_an_error_and_blocks_nobody() {
        let mut threads = Threads::new(3).unwrap();
        let came = AtomicBool::new(false);
        let result = threads.run(&|m: &Member| {
            if m.index == 0 {
                while !came.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
            came.store(true, Ordering::SeqCst);
            assert!(m.index == 0, "on purpose");
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
                while ran.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
            })
            .unwrap();
        assert_eq!(ran.into_inner(), 2);
    }
}
