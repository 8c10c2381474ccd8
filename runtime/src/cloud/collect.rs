//! Keeps hard samples without ever holding up an answer: what does not fit the queue is dropped and counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use meanet_store::{Sample, SampleWriter};
use tracing::warn;

/// Samples that wait for the disk at most.
const QUEUE: usize = 1024;

#[derive(Default)]
pub(super) struct Counts {
    pub(super) kept: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) failed: AtomicU64,
}

pub(super) struct Collector {
    sender: SyncSender<Sample>,
    thread: JoinHandle<()>,
    pub(super) counts: Arc<Counts>,
}

impl Collector {
    pub(super) fn start(mut writer: SampleWriter) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Sample>(QUEUE);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let thread = thread::Builder::new().name("samples".to_owned()).spawn(move || {
            for sample in receiver {
                if let Err(error) = writer.add(&sample) {
                    if counted
                        .failed
                        .fetch_add(1, Ordering::Relaxed)
                        .is_multiple_of(1000)
                    {
                        warn!("failed to keep a sample: {}", crate::report::words(&error));
                    }
                } else {
                    counted.kept.fetch_add(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Self {
            sender,
            thread,
            counts,
        })
    }

    /// Whether the sample found room in the queue.
    pub(super) fn offer(&self, sample: Sample) -> bool {
        let taken = self.sender.try_send(sample).is_ok();
        if !taken {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}
