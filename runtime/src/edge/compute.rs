//! The threads that compute. Async code hands work over and waits; a full queue is an answer, not a wait.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;
use tracing::error;
use warp::http::StatusCode;

use crate::protocol::ApiError;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that wait for a thread at most, for each thread.
const QUEUE: usize = 32;

pub(super) struct Pool(SyncSender<Job>);

impl Pool {
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(QUEUE * threads);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || work(&receiver))?;
        }
        Ok(Self(sender))
    }

    /// Runs `job` on a compute thread, unless nobody waits for it any more when its turn comes.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !reply.is_closed() {
                // A receiver that left in the meantime is no error.
                let _ = reply.send(job());
            }
        });
        match self.0.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(ApiError::busy("all compute threads are busy: send again later"));
            }
            Err(TrySendError::Disconnected(_)) => {
                return Err(ApiError::unavailable(
                    "the compute threads have ended: the process must be restarted",
                ));
            }
        }
        answer.await.map_err(|_| ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "the computation crashed: see the log of this edge".to_owned(),
        })
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting, not while computing.
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A crash costs the one request its answer, not the edge a thread.
            Ok(job) => {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    error!("a computation crashed: its request gets an error");
                }
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_crash_costs_one_request_its_answer() {
        let pool = Pool::start(1).unwrap();
        let crashed = pool.run(|| panic!("as a test")).await;
        let crashed: Result<(), ApiError> = crashed;
        assert_eq!(crashed.unwrap_err().status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
