//! The threads that compute what several edges sent, in batches that the queue forms.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use meanet_net::{CloudNetwork, ImageBatch};
use tokio::sync::oneshot;
use tracing::error;

use super::metrics::Metrics;
use super::queue::{Item, Queue, Refusal, Settings, Step};
use crate::protocol::{ApiError, Caller};

type Logits = Result<Vec<Vec<f32>>, ApiError>;

/// How one request is answered.
struct Ticket {
    /// `[n, 3, height, width]`
    pixels: Vec<u8>,
    reply: oneshot::Sender<Logits>,
}

/// The network behind its queue. The threads end with it.
pub(super) struct Batcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// The network on each device; at least one.
    networks: Vec<CloudNetwork>,
    max_batch: usize,
    metrics: Metrics,
}

struct State {
    queue: Queue<Ticket>,
    ended: bool,
}

impl Batcher {
    /// Starts the workers that `settings` says, which take turns with `networks`: the same one on each device.
    pub(super) fn start(
        networks: Vec<CloudNetwork>,
        settings: Settings,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::new(settings),
                ended: false,
            }),
            wake: Condvar::new(),
            networks,
            max_batch: settings.max_batch.max(1),
            metrics: metrics.clone(),
        });
        let mut batcher = Self {
            shared,
            threads: Vec::new(),
        };
        for number in 0..settings.workers.max(1) {
            let shared = Arc::clone(&batcher.shared);
            let thread = thread::Builder::new()
                .name(format!("model-{number}"))
                .spawn(move || shared.work(number))?;
            batcher.threads.push(thread);
        }
        Ok(batcher)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Whether a request of `caller` may be admitted.
    ///
    /// # Errors
    /// Those of [`Self::logits`], where they are certain.
    pub(super) fn admits(&self, caller: &Caller) -> Result<(), ApiError> {
        let state = self.shared.lock();
        let refusal = state.queue.refuses(&caller.edge, caller.deadline, Instant::now());
        drop(state);
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Logits of `images` images, `[n][classes]`.
    ///
    /// # Errors
    /// 429 without room, 503 where the answer would be too late for the caller; both at once.
    pub(super) async fn logits(&self, pixels: Vec<u8>, images: usize, caller: Caller) -> Logits {
        let (reply, answer) = oneshot::channel();
        let item = Item {
            edge: caller.edge,
            images,
            deadline: caller.deadline,
            ticket: Ticket { pixels, reply },
        };
        refuse(self.shared.admit(item));
        self.shared.wake.notify_one();
        answer
            .await
            .map_err(|_| ApiError::internal("the computation crashed: see the log of the cloud tier"))?
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_all();
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full(wait) => {
                Self::busy("the cloud has as much to compute as it takes: send again later").again_after(wait)
            }
            Refusal::Late(by) => Self::unavailable(format!(
                "the answer would come {by:?} later than the caller waits: send again later, or wait longer"
            ))
            .again_after(by),
        }
    }
}

fn refuse(refused: Vec<(Ticket, Refusal)>) {
    for (ticket, refusal) in refused {
        // A receiver that left in the meantime is no error.
        let _ = ticket.reply.send(Err(refusal.into()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, item: Item<Ticket>) -> Vec<(Ticket, Refusal)> {
        let mut state = self.lock();
        let refused = state.queue.admit(item, Instant::now());
        self.metrics.queue.set(state.queue.images() as i64);
        refused
    }

    fn work(&self, worker: usize) {
        let network = &self.networks[worker % self.networks.len()];
        while let Some(batch) = self.next(worker) {
            // A crash costs these requests their answer, not the cloud a thread.
            if catch_unwind(AssertUnwindSafe(|| self.answer(network, batch))).is_err() {
                error!("a computation crashed: its requests get an error");
            }
            self.lock().queue.done(worker, Instant::now());
        }
    }

    /// The next batch of a worker; `None` in the end.
    fn next(&self, worker: usize) -> Option<Vec<(usize, Ticket)>> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            let now = Instant::now();
            let (step, late, left) = state.queue.next(worker, now, |ticket| ticket.reply.is_closed());
            self.metrics.queue.set(state.queue.images() as i64);
            self.metrics.cancelled.inc_by(left as u64);
            refuse(late);
            state = match step {
                Step::Batch(batch) => {
                    // What is left may be enough for another worker.
                    self.wake.notify_one();
                    return Some(batch);
                }
                Step::Wait(None) => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Step::Wait(Some(until)) => {
                    let wait = until.saturating_duration_since(now);
                    let woken = self.wake.wait_timeout(state, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn answer(&self, network: &CloudNetwork, batch: Vec<(usize, Ticket)>) {
        let input = network.input();
        let (counts, tickets): (Vec<usize>, Vec<Ticket>) = batch.into_iter().unzip();
        let pixels: Vec<u8> = tickets
            .iter()
            .flat_map(|ticket| &ticket.pixels)
            .copied()
            .collect();
        let mut all = Vec::new();
        let mut failed = None;
        for chunk in pixels.chunks(input.values() * self.max_batch) {
            self.metrics.batch.observe((chunk.len() / input.values()) as f64);
            let logits = ImageBatch::from_bytes(input.height, input.width, chunk.to_vec())
                .map_err(|e| e.to_string())
                .and_then(|images| network.logits(&images).map_err(|e| e.to_string()));
            match logits {
                Ok(logits) => all.extend(logits),
                Err(error) => {
                    failed = Some(ApiError::internal(error));
                    break;
                }
            }
        }
        let mut rows = all.into_iter();
        for (count, ticket) in counts.into_iter().zip(tickets) {
            let result = failed
                .clone()
                .map_or_else(|| Ok(rows.by_ref().take(count).collect()), Err);
            // A receiver that left in the meantime is no error.
            let _ = ticket.reply.send(result);
        }
    }
}
