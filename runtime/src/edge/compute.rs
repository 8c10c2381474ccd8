//! What computes: as many tasks as there are threads, on the threads that also take requests in and send answers out. A processor that computes
//! for some 100 µs and then sees to its connections answers sooner than one that threads take from each other for milliseconds. Requests hand
//! their work over and wait; where as much waits as is taken, that is an answer.

mod turn;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{block_in_place, yield_now};
use tracing::error;

use super::active::Active;
use super::pass::{Pass, first};
use super::queue::{Queue, Work};
use crate::protocol::{ApiError, Tensor};
use turn::{Pace, Turn};

/// Images that are computed together at most. On a processor more of them gain nothing and make the first wait.
pub(super) const MAX_BATCH: usize = 16;
/// Images that wait or are computed at most, for each thread, where nothing else is said.
pub(super) const ROOM: usize = 64;

/// Tasks that compute, and what waits for them. They end with it.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Images that may still be admitted.
    admission: Arc<Semaphore>,
    room: usize,
}

struct Shared {
    queues: Mutex<Queues>,
    news: Notify,
    pace: Pace,
    /// Images that wait for a thread.
    waiting: Gauge,
}

struct Queues {
    first: Queue<Ask>,
    /// What was admitted before, and is computed before what is new, since its clients have waited longest.
    late: VecDeque<(usize, Late)>,
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

/// Gives whether anybody waited for it.
type Late = Box<dyn FnOnce() -> bool + Send>;

impl Work for Ask {
    fn images(&self) -> usize {
        self.images
    }

    fn fits(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.active, &other.active)
    }
}

impl Pool {
    /// Starts so many tasks on the runtime that this is called on, which has as many threads; `room` images may wait or be computed at once.
    pub(super) fn start(tasks: usize, room: usize, waiting: Gauge) -> Self {
        let room = room.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let shared = Arc::new(Shared {
            queues: Mutex::new(Queues {
                first: Queue::new(tasks),
                late: VecDeque::new(),
                ended: false,
            }),
            news: Notify::new(),
            pace: Pace::default(),
            waiting,
        });
        for _ in 0..tasks.max(1) {
            tokio::spawn(work(Arc::clone(&shared)));
        }
        Self {
            shared,
            admission: Arc::new(Semaphore::new(room)),
            room,
        }
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
        self.shared.news.notify_one();
        answer.await.map_err(|_| crashed())?
    }

    /// Runs more work, for `images` images of a request that was admitted before, unless nobody waits for it any more when its turn comes.
    ///
    /// # Errors
    /// When it crashed.
    pub(super) async fn late<T: Send + 'static>(
        &self,
        images: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let job = move || {
            let wanted = !reply.is_closed();
            if wanted {
                // A receiver that left in the meantime is no error.
                let _ = reply.send(job());
            }
            wanted
        };
        self.shared.lock().late.push_back((images, Box::new(job)));
        self.shared.news.notify_one();
        answer.await.map_err(|_| crashed())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.news.notify_waiters();
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

    /// What is computed next.
    fn next(&self) -> Next {
        let mut queues = self.lock();
        if let Some((images, late)) = queues.late.pop_front() {
            return Next::Job(Job::Late(images, late));
        }
        let batch = queues.first.take(self.pace.at_once().min(MAX_BATCH));
        if !batch.is_empty() {
            self.waiting.set(queues.first.images() as i64);
            return Next::Job(Job::First(batch));
        }
        if queues.ended { Next::End } else { Next::Nothing }
    }

    fn compute(&self, job: Job) {
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| run(job))) {
            Ok(0) => {}
            Ok(images) => self.pace.record(images, began.elapsed()),
            // It costs these requests their answer, not the edge a task.
            Err(_) => error!("a computation crashed: its requests get an error"),
        }
    }

    /// Computes a job, and more of them for `share`.
    fn compute_for(&self, job: Job, share: Duration) {
        let began = Instant::now();
        self.compute(job);
        while began.elapsed() < share
            && let Next::Job(job) = self.next()
        {
            self.compute(job);
        }
    }
}

enum Next {
    Job(Job),
    /// Waits for news.
    Nothing,
    End,
}

enum Job {
    First(Vec<Ask>),
    /// For so many images.
    Late(usize, Late),
}

impl Job {
    fn images(&self) -> usize {
        match self {
            Self::First(batch) => batch.iter().map(Ask::images).sum(),
            Self::Late(images, _) => *images,
        }
    }
}

async fn work(shared: Arc<Shared>) {
    let mut turn = Turn::default();
    loop {
        let news = shared.news.notified();
        match shared.next() {
            Next::End => return,
            Next::Nothing => {
                news.await;
                turn = Turn::default();
            }
            Next::Job(job) => {
                if turn.fits(&shared.pace, job.images()) {
                    shared.compute(job);
                } else {
                    beside(|| shared.compute_for(job, turn.share()));
                }
                let gave_way = Instant::now();
                yield_now().await;
                turn.begins(gave_way.elapsed());
            }
        }
    }
}

/// Runs what takes long, while another thread runs what this one would have.
fn beside(run: impl FnOnce()) {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        block_in_place(run);
    } else {
        run();
    }
}

/// Gives the images that it was computed for.
fn run(job: Job) -> usize {
    match job {
        Job::First(batch) => {
            let batch: Vec<Ask> = batch.into_iter().filter(|ask| !ask.reply.is_closed()).collect();
            let Some(active) = batch.first().map(|ask| Arc::clone(&ask.active)) else {
                return 0;
            };
            let images = batch.iter().map(Ask::images).sum();
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
            images
        }
        Job::Late(images, job) => {
            if job() {
                images
            } else {
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use warp::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_crash_costs_one_request_its_answer() {
        let pool = Pool::start(1, 1, Gauge::default());
        let crashed: Result<(), ApiError> = pool.late(1, || panic!("as a test")).await;
        assert_eq!(crashed.unwrap_err().status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(pool.late(1, || 7).await, Ok(7));
    }
}
