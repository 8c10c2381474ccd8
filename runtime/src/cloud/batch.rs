//! The thread that computes: gathers what several edges send into one batch.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use meanet_net::{CloudNetwork, ImageBatch};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use warp::http::StatusCode;

use super::metrics::Metrics;
use crate::protocol::ApiError;

/// Requests that wait for the thread at most.
const QUEUE: usize = 256;

type Logits = Result<Vec<Vec<f32>>, String>;

struct Job {
    /// `[n, 3, height, width]`
    pixels: Vec<u8>,
    images: usize,
    reply: oneshot::Sender<Logits>,
}

pub(super) struct Batcher {
    sender: SyncSender<Job>,
    /// Requests that wait for the thread.
    waiting: Gauge,
    thread: JoinHandle<()>,
}

impl Batcher {
    pub(super) fn start(
        network: CloudNetwork,
        max_batch: usize,
        max_delay: Duration,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let counted = metrics.clone();
        let thread = thread::Builder::new()
            .name("compute".to_owned())
            .spawn(move || work(&network, &receiver, max_batch.max(1), max_delay, &counted))?;
        Ok(Self {
            sender,
            waiting: metrics.queue.clone(),
            thread,
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Logits of `images` images, `[n][classes]`.
    pub(super) async fn logits(&self, pixels: Vec<u8>, images: usize) -> Result<Vec<Vec<f32>>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.waiting.inc();
        self.sender
            .try_send(Job {
                pixels,
                images,
                reply,
            })
            .inspect_err(|_| {
                self.waiting.dec();
            })
            .map_err(|error| match error {
                TrySendError::Full(_) => {
                    ApiError::busy("the cloud has as much to compute as it takes: send again later")
                }
                TrySendError::Disconnected(_) => ApiError::unavailable("the compute thread has ended"),
            })?;
        let internal = |message| ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message,
        };
        answer
            .await
            .map_err(|_| ApiError::unavailable("the compute thread has ended"))?
            .map_err(internal)
    }
}

fn work(
    network: &CloudNetwork,
    receiver: &Receiver<Job>,
    max_batch: usize,
    max_delay: Duration,
    metrics: &Metrics,
) {
    while let Ok(first) = receiver.recv() {
        let until = Instant::now() + max_delay;
        let mut count = first.images;
        let mut jobs = vec![first];
        while count < max_batch {
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    count += job.images;
                    jobs.push(job);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        metrics.queue.dec_by(jobs.len() as i64);
        // An edge whose patience is over has already answered by itself.
        jobs.retain(|job| !job.reply.is_closed());
        answer(network, jobs, max_batch, metrics);
    }
}

fn answer(network: &CloudNetwork, jobs: Vec<Job>, max_batch: usize, metrics: &Metrics) {
    let input = network.input();
    let pixels: Vec<u8> = jobs.iter().flat_map(|job| &job.pixels).copied().collect();
    let mut all = Vec::new();
    let mut failed = None;
    for chunk in pixels.chunks(input.values() * max_batch) {
        metrics.batch.observe((chunk.len() / input.values()) as f64);
        let logits = ImageBatch::from_bytes(input.height, input.width, chunk.to_vec())
            .map_err(|e| e.to_string())
            .and_then(|images| network.logits(&images).map_err(|e| e.to_string()));
        match logits {
            Ok(logits) => all.extend(logits),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let mut rows = all.into_iter();
    for job in jobs {
        let result = failed
            .clone()
            .map_or_else(|| Ok(rows.by_ref().take(job.images).collect()), Err);
        // A receiver that left in the meantime is no error.
        let _ = job.reply.send(result);
    }
}
