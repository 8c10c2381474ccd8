//! The threads that compute. Async code hands work over and waits; where as much waits as is taken, that is an answer.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{error, warn};

use super::active::Active;
use super::pass::{Pass, first};
use super::queue::{Queue, Work};
use crate::machine::stay_on;
use crate::protocol::{ApiError, Tensor};

/// Images that are computed together at most. On a processor more of them gain nothing and make the first wait.
pub(super) const MAX_BATCH: usize = 16;
/// Images that wait or are computed at most, for each thread, where nothing else is said.
pub(super) const ROOM: usize = 64;

/// Threads, and what waits for them. They end with it.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Images that may still be admitted.
    admission: Arc<Semaphore>,
    room: usize,
}

struct Shared {
    queues: Mutex<Queues>,
    wake: Condvar,
    /// Images that wait for a thread.
    waiting: Gauge,
}

struct Queues {
    first: Queue<Ask>,
    /// What was admitted before, and is computed before what is new, since its clients have waited longest.
    late: VecDeque<Late>,
    ended: bool,
}

/// A request for the first pass.
struct Ask {
    active: Arc<Active>,
    inputs: Vec<Tensor>,
    images: usize,
    reply: oneshot::Sender<Result<Pass, ApiError>>,
    admitted: OwnedSemaphorePermit,
}

type Late = Box<dyn FnOnce() + Send>;

impl Work for Ask {
    fn images(&self) -> usize {
        self.images
    }

    fn fits(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.active, &other.active)
    }
}

impl Pool {
    /// Starts the threads, each on one of `processors` in turn where some are named; `room` images may wait or be computed at once.
    pub(super) fn start(
        threads: usize,
        processors: &[usize],
        room: usize,
        waiting: Gauge,
    ) -> io::Result<Self> {
        let room = room.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let pool = Self {
            shared: Arc::new(Shared {
                queues: Mutex::new(Queues {
                    first: Queue::new(threads, MAX_BATCH),
                    late: VecDeque::new(),
                    ended: false,
                }),
                wake: Condvar::new(),
                waiting,
            }),
            admission: Arc::new(Semaphore::new(room)),
            room,
        };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let processor = processors.get(number % processors.len().max(1)).copied();
            thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || {
                    if let Some(Err(error)) = processor.map(stay_on) {
                        // It computes the same anywhere.
                        warn!(%error, number, "a compute thread could not be kept on its processor");
                    }
                    work(&shared);
                })?;
        }
        Ok(pool)
    }

    /// Whether there is room for one image.
    ///
    /// # Errors
    /// 429 where there is none.
    pub(super) fn admits(&self) -> Result<(), ApiError> {
        if self.admission.available_permits() > 0 {
            Ok(())
        } else {
            Err(self.full())
        }
    }

    fn full(&self) -> ApiError {
        ApiError::busy(format!(
            "as many images wait as are taken, which is {}: send again later",
            self.room
        ))
    }

    /// The first pass over the images of a request by `active`, unless nobody waits for it any more when its turn comes.
    ///
    /// # Errors
    /// 429 at once where there is no room; else what is wrong with the images.
    pub(super) async fn first(
        &self,
        active: Arc<Active>,
        inputs: Vec<Tensor>,
        images: usize,
    ) -> Result<Pass, ApiError> {
        // A request larger than all room takes all of it.
        let permits = images.clamp(1, self.room) as u32;
        let admitted = Arc::clone(&self.admission)
            .try_acquire_many_owned(permits)
            .map_err(|_| self.full())?;
        let (reply, answer) = oneshot::channel();
        self.shared.push(Ask {
            active,
            inputs,
            images,
            reply,
            admitted,
        });
        self.shared.wake.notify_one();
        answer.await.map_err(|_| crashed())?
    }

    /// Runs more work for a request that was admitted before, unless nobody waits for it any more when its turn comes.
    ///
    /// # Errors
    /// When it crashed.
    pub(super) async fn late<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.shared.lock().late.push_back(Box::new(move || {
            if !reply.is_closed() {
                // A receiver that left in the meantime is no error.
                let _ = reply.send(job());
            }
        }));
        self.shared.wake.notify_one();
        answer.await.map_err(|_| crashed())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_all();
    }
}

fn crashed() -> ApiError {
    ApiError::internal("the computation crashed: see the log of this edge")
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, ask: Ask) {
        let mut queues = self.lock();
        queues.first.push(ask);
        self.waiting.set(queues.first.images() as i64);
    }

    /// What a thread does next; `None` in the end.
    fn next(&self) -> Option<Job> {
        let mut queues = self.lock();
        loop {
            if let Some(late) = queues.late.pop_front() {
                return Some(Job::Late(late));
            }
            let batch = queues.first.take();
            if !batch.is_empty() {
                self.waiting.set(queues.first.images() as i64);
                return Some(Job::First(batch));
            }
            if queues.ended {
                return None;
            }
            queues = self.wake.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

enum Job {
    First(Vec<Ask>),
    Late(Late),
}

fn work(shared: &Shared) {
    while let Some(job) = shared.next() {
        // A crash costs these requests their answer, not the edge a thread.
        if catch_unwind(AssertUnwindSafe(|| run(job))).is_err() {
            error!("a computation crashed: its requests get an error");
        }
    }
}

fn run(job: Job) {
    match job {
        Job::First(batch) => {
            let batch: Vec<Ask> = batch.into_iter().filter(|ask| !ask.reply.is_closed()).collect();
            let Some(active) = batch.first().map(|ask| Arc::clone(&ask.active)) else {
                return;
            };
            let (replies, inputs): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .map(|ask| ((ask.reply, ask.admitted), ask.inputs))
                .unzip();
            for ((reply, admitted), pass) in replies.into_iter().zip(first(&active, inputs)) {
                // Its room is free before its client hears of it and asks again.
                drop(admitted);
                // A receiver that left in the meantime is no error.
                let _ = reply.send(pass);
            }
        }
        Job::Late(job) => job(),
    }
}

#[cfg(test)]
mod tests {
    use warp::http::StatusCode;

    use super::*;
    use crate::machine::processors;

    #[tokio::test]
    async fn threads_are_kept_where_they_are_told_to() {
        let all = processors().unwrap();
        let last = &all[all.len() - 1..];
        let pool = Pool::start(1, last, 1, Gauge::default()).unwrap();
        assert_eq!(pool.late(|| processors().unwrap()).await.unwrap(), last);
    }

    #[tokio::test]
    async fn a_crash_costs_one_request_its_answer() {
        let pool = Pool::start(1, &[], 1, Gauge::default()).unwrap();
        let crashed: Result<(), ApiError> = pool.late(|| panic!("as a test")).await;
        assert_eq!(crashed.unwrap_err().status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(pool.late(|| 7).await, Ok(7));
    }
}
